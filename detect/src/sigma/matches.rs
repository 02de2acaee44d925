//! The values of one detection item over one column: a DataFusion function that is never null.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, ListArray};
use arrow::datatypes::DataType;
use datafusion::common::Result as PlanResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::test::Test;

/// The values of one detection item.
#[derive(Debug)]
pub(crate) struct Tests {
    pub(crate) tests: Vec<Test>,
    /// `|all`: each value must match something; otherwise one is enough.
    pub(crate) all: bool,
    /// As the rule wrote it; two items that read the same are the same.
    pub(crate) written: String,
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
        if self.all { self.tests.iter().all(null) } else { self.tests.iter().any(null) }
    }

    pub(crate) fn wants_all(&self) -> bool {
        self.all
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

/// Two items that read the same are the same.
impl PartialEq for Tests {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Eq for Tests {}

impl Hash for Tests {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.written.hash(state);
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Matches {
    pub(crate) tests: Arc<Tests>,
    signature: Signature,
}

impl Matches {
    /// The function called on a column.
    pub(crate) fn on(tests: Arc<Tests>, column: Expr) -> Expr {
        let signature = Signature::any(1, Volatility::Immutable);
        ScalarUDF::from(Self { tests, signature }).call(vec![column])
    }

    /// Over the values of all rows at once: slicing each row's list out would allocate for every event.
    fn lists(&self, lists: &ListArray) -> BooleanArray {
        let values = lists.values().as_string_view();
        let text = |index: usize| values.is_valid(index).then(|| values.value(index));
        rows(lists).map(|row| Some(self.tests.hold(row.filter_map(text)))).collect()
    }
}

/// Where the values of each row stand.
pub(super) fn rows(lists: &ListArray) -> impl Iterator<Item = std::ops::Range<usize>> {
    lists.offsets().windows(2).map(|bounds| match bounds {
        [start, end] => index(*start)..index(*end),
        _ => 0..0,
    })
}

/// Arrow's offsets are never negative.
fn index(offset: i32) -> usize {
    usize::try_from(offset).unwrap_or_default()
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
