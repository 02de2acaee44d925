//! `|fieldref`: the values of two columns compared with each other. Never null.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::DataType;
use datafusion::common::Result as PlanResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use rsigma_parser::Modifier;

use super::fold;
use super::matches::rows;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Refers {
    by: Option<Modifier>,
    cased: bool,
    signature: Signature,
}

impl Refers {
    pub(super) fn between(left: Expr, right: Expr, by: Option<Modifier>, cased: bool) -> Expr {
        let signature = Signature::any(2, Volatility::Immutable);
        ScalarUDF::from(Self { by, cased, signature }).call(vec![left, right])
    }

    fn holds(&self, left: &str, right: &str) -> bool {
        let lower;
        let right = if self.cased {
            right
        } else {
            lower = right.to_lowercase();
            &lower
        };
        match (self.by, self.cased) {
            (Some(Modifier::Contains), true) => left.contains(right),
            (Some(Modifier::Contains), false) => fold::contains(left, right),
            (Some(Modifier::StartsWith), true) => left.starts_with(right),
            (Some(Modifier::StartsWith), false) => fold::starts_with(left, right),
            (Some(Modifier::EndsWith), true) => left.ends_with(right),
            (Some(Modifier::EndsWith), false) => fold::ends_with(left, right),
            (_, true) => left == right,
            (_, false) => fold::equals(left, right),
        }
    }
}

/// The values of each row.
fn values(array: &ArrayRef) -> Vec<Vec<&str>> {
    let Some(lists) = array.as_list_opt::<i32>() else {
        return array.as_string_view().iter().map(|text| text.into_iter().collect()).collect();
    };
    let texts = lists.values().as_string_view();
    let text = |at: usize| texts.is_valid(at).then(|| texts.value(at));
    rows(lists).map(|row| row.filter_map(text).collect()).collect()
}

impl ScalarUDFImpl for Refers {
    fn name(&self) -> &'static str {
        "sigma_refers"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> PlanResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [left, right] = arrays.as_slice() else {
            return datafusion::common::exec_err!("sigma_refers takes two columns");
        };
        let pairs = values(left).into_iter().zip(values(right));
        let any = |(left, right): (Vec<&str>, Vec<&str>)| {
            left.iter().any(|left| right.iter().any(|right| self.holds(left, right)))
        };
        let flags: BooleanArray = pairs.map(|pair| Some(any(pair))).collect();
        Ok(ColumnarValue::Array(Arc::new(flags)))
    }
}
