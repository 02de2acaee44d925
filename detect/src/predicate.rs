//! A rule's predicate as a tree over tests of one column each, read out of the DataFusion expression that it was planned
//! as: what the index looks into, and what is checked row by row.
//!
//! Says what must hold for a row to match. Whether it does is decided by `check` or by the expression itself.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::scalar::ScalarValue;

use crate::sigma::{Matches, Tests};

/// What one column is asked.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    /// Values of a Sigma item.
    Sigma(Arc<Tests>),
    /// SQL equality with one of these, letter by letter; null when the column is.
    Equal(Vec<String>),
    /// The flag of a column is set.
    Set,
}

#[derive(Clone, Debug)]
pub(crate) struct Atom {
    pub(crate) column: String,
    pub(crate) ask: Ask,
}

#[derive(Clone, Debug)]
pub(crate) enum Predicate {
    All(Vec<Predicate>),
    Any(Vec<Predicate>),
    Not(Box<Predicate>),
    Test(Atom),
    /// Anything else; only the expression as a whole can answer.
    Other,
}

impl Atom {
    /// The texts that the column must equal, in lower case; `None` when it asks something else.
    pub(crate) fn equalities(&self) -> Option<Vec<String>> {
        match &self.ask {
            Ask::Sigma(tests) => tests.equalities().map(|texts| texts.into_iter().map(str::to_owned).collect()),
            Ask::Equal(texts) => Some(texts.iter().map(|text| text.to_lowercase()).collect()),
            Ask::Set => None,
        }
    }

    /// Whether a row can only pass because of a value that the column has there.
    fn wants_a_value(&self) -> bool {
        match &self.ask {
            Ask::Sigma(tests) => !tests.holds_without_value(),
            Ask::Equal(_) => true,
            Ask::Set => false,
        }
    }
}

impl Predicate {
    pub(crate) fn of(expr: &Expr) -> Self {
        match expr {
            Expr::BinaryExpr(BinaryExpr { op: Operator::And, .. }) => Self::All(flat(expr, Operator::And)),
            Expr::BinaryExpr(BinaryExpr { op: Operator::Or, .. }) => Self::Any(flat(expr, Operator::Or)),
            Expr::Not(inner) => Self::Not(Box::new(Self::of(inner))),
            Expr::IsTrue(inner) => flag(inner),
            Expr::IsNotTrue(inner) => Self::Not(Box::new(flag(inner))),
            other => atom(other).map_or(Self::Other, Self::Test),
        }
    }

    /// Whether the tree alone decides: only tests that are never null. SQL equality is null on null, so `NOT` of it
    /// must be left to the expression.
    pub(crate) fn is_two_valued(&self) -> bool {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().all(Self::is_two_valued),
            Self::Not(part) => part.is_two_valued(),
            Self::Test(atom) => !matches!(atom.ask, Ask::Equal(_)),
            Self::Other => false,
        }
    }

    /// Every atom that can stand in a pivot, for counting.
    pub(crate) fn visit<'a>(&'a self, seen: &mut dyn FnMut(&'a Atom)) {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.visit(seen)),
            Self::Test(atom) => seen(atom),
            Self::Not(_) | Self::Other => {}
        }
    }

    /// The cheapest set of atoms of which at least one holds wherever the predicate does.
    pub(crate) fn pivot<'a>(&'a self, weigh: &dyn Fn(&Atom) -> u64) -> Option<(u64, Vec<&'a Atom>)> {
        match self {
            Self::Test(atom) if atom.wants_a_value() => Some((weigh(atom), vec![atom])),
            Self::All(parts) => parts.iter().filter_map(|part| part.pivot(weigh)).min_by_key(|(weight, _)| *weight),
            Self::Any(parts) => {
                let each = parts.iter().map(|part| part.pivot(weigh)).collect::<Option<Vec<_>>>()?;
                let weight = each.iter().map(|(weight, _)| *weight).sum();
                Some((weight, each.into_iter().flat_map(|(_, atoms)| atoms).collect()))
            }
            Self::Test(_) | Self::Not(_) | Self::Other => None,
        }
    }
}

fn flat(expr: &Expr, op: Operator) -> Vec<Predicate> {
    match expr {
        Expr::BinaryExpr(binary) if binary.op == op => {
            let mut parts = flat(&binary.left, op);
            parts.extend(flat(&binary.right, op));
            parts
        }
        other => vec![Predicate::of(other)],
    }
}

fn flag(expr: &Expr) -> Predicate {
    match expr {
        Expr::Column(column) => Predicate::Test(Atom { column: column.name.clone(), ask: Ask::Set }),
        _ => Predicate::Other,
    }
}

fn atom(expr: &Expr) -> Option<Atom> {
    match expr {
        Expr::ScalarFunction(call) => {
            let matches = call.func.inner().downcast_ref::<Matches>()?;
            let [Expr::Column(column)] = call.args.as_slice() else { return None };
            Some(Atom { column: column.name.clone(), ask: Ask::Sigma(Arc::clone(&matches.tests)) })
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            let (column, value) = (name(left).or_else(|| name(right))?, text(right).or_else(|| text(left))?);
            Some(Atom { column, ask: Ask::Equal(vec![value]) })
        }
        Expr::InList(InList { expr, list, negated: false }) => {
            let values = list.iter().map(text).collect::<Option<Vec<_>>>()?;
            Some(Atom { column: name(expr)?, ask: Ask::Equal(values) })
        }
        _ => None,
    }
}

fn name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Column(column) => Some(column.name.clone()),
        _ => None,
    }
}

fn text(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Literal(ScalarValue::Utf8View(text) | ScalarValue::Utf8(text), _) => text.clone(),
        _ => None,
    }
}

/// How often each literal and each column stands in a set of predicates: what makes one pivot better than another.
#[derive(Default)]
pub(crate) struct Census {
    literals: HashMap<(String, String), u64>,
    columns: HashMap<String, u64>,
}

impl Census {
    pub(crate) fn of<'a>(predicates: impl Iterator<Item = &'a Predicate>) -> Self {
        let mut census = Self::default();
        for predicate in predicates {
            predicate.visit(&mut |atom| census.count(atom));
        }
        census
    }

    fn count(&mut self, atom: &Atom) {
        *self.columns.entry(atom.column.clone()).or_default() += 1;
        for text in atom.equalities().unwrap_or_default() {
            *self.literals.entry((atom.column.clone(), text)).or_default() += 1;
        }
    }

    /// Low is good. A literal that few predicates share sends few rows to each; a column that many predicates ask is
    /// looked up once for all of them; a test that is no equality is tried against every value not met before.
    pub(crate) fn weight(&self, atom: &Atom) -> u64 {
        let busier = |count: u64| self.columns.values().filter(|other| **other > count).count() as u64;
        let column = 4 * busier(self.columns.get(&atom.column).copied().unwrap_or_default());
        let Some(texts) = atom.equalities() else { return 8 + column };
        let uses = |text: String| self.literals.get(&(atom.column.clone(), text)).copied().unwrap_or_default();
        column + texts.into_iter().map(uses).max().unwrap_or_default()
    }
}
