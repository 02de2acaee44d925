//! Sigma detections to one DataFusion expression over list columns: every value reached along a field's path, any of
//! which may match.
//!
//! Never null: a field that is not there matches nothing, so `not` means what its author meant.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, ListArray};
use arrow::datatypes::DataType;
use datafusion::common::{Column, Result as PlanResult};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::prelude::lit;
use keytrail_model::{RawPath, Want};
use keytrail_sql::Name;
use rsigma_parser::{
    ConditionExpr, Detection, DetectionItem, Detections, Modifier, Quantifier, SelectorPattern, SigmaValue,
    detection_name_matches, parse_sigma_yaml,
};
use serde_json::{Value, json};

use crate::matcher::Test;

/// Reads a `sigma:` block (named selections and a condition) with Sigma's own parser.
pub(crate) fn parse_block(block: &Value) -> Result<Detections, String> {
    let document = json!({"title": "rule", "logsource": {"product": "keytrail"}, "detection": block});
    let collection = parse_sigma_yaml(&document.to_string()).map_err(|error| error.to_string())?;
    if let Some(error) = collection.errors.first() {
        return Err(format!("sigma: {error}"));
    }
    let rule = collection.rules.into_iter().next().ok_or("sigma: no detection found")?;
    Ok(rule.detection)
}

/// The expression and the columns that it reads.
pub(crate) fn expression(detections: &Detections) -> Result<(Expr, BTreeSet<Name>), String> {
    let mut build = Build { detections, names: BTreeSet::new() };
    let mut any = None;
    for condition in &detections.conditions {
        let one = build.condition(condition)?;
        any = Some(any.map_or(one.clone(), |any: Expr| any.or(one)));
    }
    let expr = any.ok_or("sigma: condition is missing")?;
    Ok((expr, build.names))
}

struct Build<'a> {
    detections: &'a Detections,
    names: BTreeSet<Name>,
}

impl Build<'_> {
    fn condition(&mut self, condition: &ConditionExpr) -> Result<Expr, String> {
        match condition {
            ConditionExpr::And(parts) => self.all(parts, Build::condition),
            ConditionExpr::Or(parts) => self.any(parts, Build::condition),
            ConditionExpr::Not(part) => Ok(!self.condition(part)?),
            ConditionExpr::Identifier(name) => self.named(name),
            ConditionExpr::Selector { quantifier, pattern } => self.selector(quantifier, pattern),
        }
    }

    fn named(&mut self, name: &str) -> Result<Expr, String> {
        let detection = self.detections.named.get(name);
        let detection = detection.ok_or_else(|| format!("sigma: condition names `{name}`, which is not defined"))?;
        self.detection(detection)
    }

    fn selector(&mut self, quantifier: &Quantifier, pattern: &SelectorPattern) -> Result<Expr, String> {
        let mut names: Vec<&String> = self.detections.named.keys().filter(|name| selected(name, pattern)).collect();
        names.sort();
        if names.is_empty() {
            return Err(format!("sigma: `{quantifier} of {pattern}` selects nothing"));
        }
        match quantifier {
            Quantifier::Any => self.any(&names, |build, name| build.named(name)),
            Quantifier::All => self.all(&names, |build, name| build.named(name)),
            Quantifier::Count(count) => {
                Err(format!("sigma: `{count} of {pattern}` is not supported: use 1 of or all of"))
            }
        }
    }

    fn detection(&mut self, detection: &Detection) -> Result<Expr, String> {
        match detection {
            Detection::AllOf(items) => self.all(items, Self::item),
            Detection::AnyOf(parts) => self.any(parts, Self::detection),
            Detection::And(parts) => self.all(parts, Self::detection),
            Detection::Keywords(words) => self.any(words, Self::keyword),
            Detection::ArrayMatch { field, .. } => Err(format!("sigma: array matching on `{field}` is not supported")),
            Detection::Conditional { .. } => Err("sigma: nested conditions are not supported".to_owned()),
        }
    }

    fn item(&mut self, item: &DetectionItem) -> Result<Expr, String> {
        let Some(field) = &item.field.name else {
            return self.any(&item.values, Self::keyword);
        };
        if item.field.has_modifier(Modifier::Exists) {
            return self.exists(field, &item.values);
        }
        let tests =
            item.values.iter().map(|value| Test::new(value, &item.field.modifiers)).collect::<Result<_, _>>()?;
        let all = item.field.has_modifier(Modifier::All);
        let column = self.column(field, Want::Any)?;
        let written = format!("{:?}{:?}", item.field.modifiers, item.values);
        Ok(ScalarUDF::from(Matches { tests: Arc::new(Tests { tests, all, written }), signature: signature() })
            .call(vec![column]))
    }

    fn exists(&mut self, field: &str, values: &[SigmaValue]) -> Result<Expr, String> {
        let column = self.column(field, Want::Present)?;
        match values {
            [SigmaValue::Bool(true)] => Ok(column.is_true()),
            [SigmaValue::Bool(false)] => Ok(column.is_not_true()),
            _ => Err(format!("sigma: `{field}|exists` wants true or false")),
        }
    }

    /// A keyword is looked for in the whole redacted record.
    fn keyword(&mut self, word: &SigmaValue) -> Result<Expr, String> {
        let test = Test::new(word, &[Modifier::Contains])?;
        let written = format!("keyword {word:?}");
        self.names.insert(Name::Event("raw"));
        let tests = Arc::new(Tests { tests: vec![test], all: false, written });
        Ok(ScalarUDF::from(Matches { tests, signature: signature() }).call(vec![named_column("raw")]))
    }

    fn column(&mut self, field: &str, want: Want) -> Result<Expr, String> {
        let mut path = RawPath::parse(field).ok_or_else(|| format!("sigma: `{field}` is not a field path"))?;
        path.want = want;
        path.segments.iter_mut().for_each(|segment| segment.each = false);
        let name = Name::Raw(path);
        let column = named_column(&name.column());
        self.names.insert(name);
        Ok(column)
    }

    fn all<T>(&mut self, parts: &[T], build: impl Fn(&mut Self, &T) -> Result<Expr, String>) -> Result<Expr, String> {
        let parts = parts.iter().map(|part| build(self, part)).collect::<Result<Vec<_>, _>>()?;
        Ok(parts.into_iter().reduce(Expr::and).unwrap_or_else(|| lit(true)))
    }

    fn any<T>(&mut self, parts: &[T], build: impl Fn(&mut Self, &T) -> Result<Expr, String>) -> Result<Expr, String> {
        let parts = parts.iter().map(|part| build(self, part)).collect::<Result<Vec<_>, _>>()?;
        Ok(parts.into_iter().reduce(Expr::or).unwrap_or_else(|| lit(false)))
    }
}

fn selected(name: &str, pattern: &SelectorPattern) -> bool {
    match pattern {
        SelectorPattern::Them => !name.starts_with('_'),
        SelectorPattern::Pattern(pattern) => detection_name_matches(pattern, name),
    }
}

fn named_column(name: &str) -> Expr {
    Expr::Column(Column::from_name(name))
}

fn signature() -> Signature {
    Signature::any(1, Volatility::Immutable)
}

/// The values of one detection item.
#[derive(Debug)]
pub(crate) struct Tests {
    tests: Vec<Test>,
    /// `|all`: each value must match something; otherwise one is enough.
    all: bool,
    /// As the rule wrote it; two items that read the same are the same.
    written: String,
}

impl Tests {
    pub(crate) fn hold<'a>(&self, values: impl Iterator<Item = &'a str> + Clone) -> bool {
        let one = |test: &Test| match test {
            Test::Null => values.clone().next().is_none(),
            test => values.clone().any(|value| test.holds(value)),
        };
        if self.all { self.tests.iter().all(one) } else { self.tests.iter().any(one) }
    }

    /// Whether one of the tests holds for a value: what must be so of some value before the item can hold.
    pub(crate) fn hold_one(&self, value: &str) -> bool {
        self.tests.iter().any(|test| test.holds(value))
    }

    /// Whether the item can hold where the field is absent.
    pub(crate) fn holds_without_value(&self) -> bool {
        let null = |test: &Test| matches!(test, Test::Null);
        if self.all { self.tests.iter().all(null) } else { self.tests.iter().any(null) || self.tests.is_empty() }
    }

    pub(crate) fn wants_all(&self) -> bool {
        self.all
    }

    /// Whether two items read the same, and so are the same.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.written == other.written
    }

    /// The texts in lower case, when every test is an equality without regard to case and one is enough.
    pub(crate) fn equalities(&self) -> Option<Vec<&str>> {
        if self.all || self.tests.is_empty() {
            return None;
        }
        self.tests.iter().map(plain_equality).collect()
    }
}

fn plain_equality(test: &Test) -> Option<&str> {
    match test {
        Test::Equals { text, cased: false } => Some(text),
        _ => None,
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Matches {
    pub(crate) tests: Arc<Tests>,
    signature: Signature,
}

impl PartialEq for Matches {
    fn eq(&self, other: &Self) -> bool {
        self.tests.written == other.tests.written
    }
}

impl Eq for Matches {}

impl Hash for Matches {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.tests.written.hash(state);
    }
}

impl ScalarUDFImpl for Matches {
    fn name(&self) -> &'static str {
        "sigma_matches"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> PlanResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let Some(array) = arrays.first() else {
            return datafusion::common::exec_err!("sigma_matches takes one column");
        };
        let flags: BooleanArray = match array.as_list_opt::<i32>() {
            Some(lists) => self.lists(lists),
            None => array.as_string_view().iter().map(|text| Some(self.tests.hold(text.into_iter()))).collect(),
        };
        Ok(ColumnarValue::Array(Arc::new(flags)))
    }
}

/// Arrow's offsets are never negative.
fn index(offset: i32) -> usize {
    usize::try_from(offset).unwrap_or_default()
}

impl Matches {
    /// Over the values of all rows at once: slicing each row's list out would allocate for every event.
    fn lists(&self, lists: &ListArray) -> BooleanArray {
        let values = lists.values().as_string_view();
        let text = |index: usize| values.is_valid(index).then(|| values.value(index));
        let rows = lists.offsets().windows(2).map(|bounds| match bounds {
            [start, end] => index(*start)..index(*end),
            _ => 0..0,
        });
        rows.map(|row| Some(self.tests.hold(row.filter_map(text)))).collect()
    }
}
