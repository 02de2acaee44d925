//! One detection item, a field with its values or a list of keywords, as an expression.

use std::sync::Arc;

use datafusion::logical_expr::Expr;
use datafusion::prelude::lit;
use keytrail_model::schema::Kind;
use keytrail_model::{RawPath, Want};
use keytrail_sql::Name;
use rsigma_parser::{DetectionItem, Modifier, SigmaValue};

use super::build::Build;
use super::keywords::Keywords;
use super::matches::{Matches, Tests};
use super::modifiers::{Modifiers, Operator, written};
use super::place::Fault;
use super::refers::Refers;
use super::resolve::Target;
use super::test::Test;

impl Build<'_> {
    pub(super) fn item(&mut self, item: &DetectionItem) -> Result<Expr, Fault> {
        let Some(field) = &item.field.name else {
            return self.keywords(&item.field.modifiers, &item.values);
        };
        let blame = |message: String| self.place.fault(field, format!("sigma: `{field}`: {message}"));
        let modifiers = Modifiers::new(&item.field.modifiers).map_err(blame)?;
        let targets = self.resolver.targets(field).map_err(|message| self.place.fault(field, message))?;
        if modifiers.has(Modifier::Expand) {
            return Err(blame("the placeholder has no values here".to_owned()));
        }
        let holds = match modifiers.operator {
            Operator::Exists => return self.exists(field, &targets, &item.values),
            Operator::Field(by) => {
                let cased = modifiers.has(Modifier::Cased);
                let each = |build: &mut Self, value: &SigmaValue| build.refers(&targets, value, by, cased);
                if modifiers.has(Modifier::All) { self.all(&item.values, each)? } else { self.any(&item.values, each)? }
            }
            _ => {
                let tests = self.tests(field, &modifiers, &item.values)?;
                self.values(&targets, tests)
            }
        };
        if !modifiers.has(Modifier::Neq) {
            return Ok(holds);
        }
        let present = Tests { tests: vec![Test::Any], all: false, written: "present".to_owned() };
        Ok(self.values(&targets, present).and(!holds))
    }

    fn tests(&self, field: &str, modifiers: &Modifiers<'_>, values: &[SigmaValue]) -> Result<Tests, Fault> {
        let mut tests = Vec::new();
        for value in values {
            let made = modifiers.tests(value).map_err(|message| {
                let fault = self.place.fault(&written(value), format!("sigma: `{field}`: {message}"));
                Fault { line: fault.line.or_else(|| self.place.line_of(field)), ..fault }
            })?;
            tests.push(made);
        }
        let all = modifiers.has(Modifier::All);
        let written = format!("{:?}{values:?}", modifiers.written());
        if all && tests.iter().any(|forms| forms.len() != 1) {
            let message = format!("sigma: `{field}`: `all` cannot stand beside `base64offset`");
            return Err(self.place.fault(field, message));
        }
        Ok(Tests { tests: tests.into_iter().flatten().collect(), all, written })
    }

    /// Over one column as it is; over several, their values count together.
    fn values(&mut self, targets: &[Target], tests: Tests) -> Expr {
        let columns: Vec<Expr> = targets.iter().map(|target| self.any_value(target)).collect();
        if let [column] = columns.as_slice() {
            return Matches::on(Arc::new(tests), column.clone());
        }
        let nulls = tests.tests.iter().any(|test| matches!(test, Test::Null));
        if !tests.all && !nulls {
            let tests = Arc::new(tests);
            let each = columns.into_iter().map(|column| Matches::on(Arc::clone(&tests), column));
            return each.reduce(Expr::or).unwrap_or_else(|| lit(false));
        }
        let all = tests.all;
        let each = tests.tests.into_iter().map(|test| one_test(test, &columns));
        if all {
            each.reduce(Expr::and).unwrap_or_else(|| lit(true))
        } else {
            each.reduce(Expr::or).unwrap_or_else(|| lit(false))
        }
    }

    fn any_value(&mut self, target: &Target) -> Expr {
        match target {
            Target::Raw(path) => self.column(Name::Raw(path.clone())),
            Target::Event(column, kind) => {
                self.text_column(Name::Event(column), matches!(kind, Kind::Text | Kind::Texts))
            }
            Target::Sql(computed) => {
                self.names.extend(computed.names.iter().cloned());
                computed.expr.clone()
            }
        }
    }

    /// Whether the key is there, null or not. Inside arrays only values can be seen.
    fn exists(&mut self, field: &str, targets: &[Target], values: &[SigmaValue]) -> Result<Expr, Fault> {
        let wanted = match values {
            [SigmaValue::Bool(flag)] => Some(*flag),
            [SigmaValue::String(text)] => match text.original.to_lowercase().as_str() {
                "true" | "yes" => Some(true),
                "false" | "no" => Some(false),
                _ => None,
            },
            _ => None,
        };
        let Some(wanted) = wanted else {
            return Err(self.place.fault(field, format!("sigma: `{field}|exists` wants true or false")));
        };
        let exists = self.any(targets, |build, target| Ok(build.present(target)))?;
        Ok(if wanted { exists } else { !exists })
    }

    fn present(&mut self, target: &Target) -> Expr {
        let path = match target {
            Target::Raw(path) => path,
            Target::Event(column, _) => return self.column(Name::Event(column)).is_not_null(),
            Target::Sql(_) => return self.any_value(target).is_not_null(),
        };
        let there = self.column(Name::Raw(RawPath { want: Want::Present, ..path.clone() })).is_true();
        if path.segments.len() < 2 {
            return there;
        }
        let tests = Tests { tests: vec![Test::Any], all: false, written: "present".to_owned() };
        there.or(Matches::on(Arc::new(tests), self.any_value(target)))
    }

    fn refers(
        &mut self,
        left: &[Target],
        other: &SigmaValue,
        by: Option<Modifier>,
        cased: bool,
    ) -> Result<Expr, Fault> {
        let field = written(other);
        let right = self.resolver.targets(&field).map_err(|message| self.place.fault(&field, message))?;
        let mut any: Option<Expr> = None;
        for (left, right) in left.iter().flat_map(|left| right.iter().map(move |right| (left, right))) {
            let one = Refers::between(self.any_value(left), self.any_value(right), by, cased);
            any = Some(match any {
                Some(any) => any.or(one),
                None => one,
            });
        }
        Ok(any.unwrap_or_else(|| lit(false)))
    }

    /// Words that are looked for in every value of the redacted record: anywhere in it unless a modifier says where.
    pub(super) fn keywords(&mut self, modifiers: &[Modifier], words: &[SigmaValue]) -> Result<Expr, Fault> {
        let at = words.first().map(written).unwrap_or_default();
        let blame = |message: String| self.place.fault(&at, format!("sigma: keywords: {message}"));
        let mut own = modifiers.to_vec();
        let read = Modifiers::new(modifiers).map_err(blame)?;
        match read.operator {
            Operator::Text(None) => own.push(Modifier::Contains),
            Operator::Text(Some(_)) | Operator::Regex | Operator::Cidr => {}
            _ => return Err(blame("they take no comparison, `exists` or `fieldref`: name a field".to_owned())),
        }
        if words.iter().any(|word| matches!(word, SigmaValue::Null)) || words.is_empty() {
            return Err(blame("a keyword is missing".to_owned()));
        }
        let read = Modifiers::new(&own).map_err(blame)?;
        let negated = read.has(Modifier::Neq);
        let tests = self.tests("keywords", &read, words)?;
        let record = self.column(Name::Event("raw"));
        let found = Keywords::on(Arc::new(tests), record);
        Ok(if negated { !found } else { found })
    }
}

/// One test over several columns: null wants all of them empty, anything else one that holds.
fn one_test(test: Test, columns: &[Expr]) -> Expr {
    let written = format!("{test:?}");
    let null = matches!(test, Test::Null);
    let tests = Arc::new(Tests { tests: vec![test], all: false, written });
    let each = columns.iter().map(|column| Matches::on(Arc::clone(&tests), column.clone()));
    let joined = if null { each.reduce(Expr::and) } else { each.reduce(Expr::or) };
    joined.unwrap_or_else(|| lit(false))
}
