//! Keywords: tests over every value of the redacted record, wherever it stands. Never null.
//!
//! Walks the record's JSON once, value by value, and stops at the first that decides. Keys are no values.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray};
use arrow::datatypes::DataType;
use datafusion::common::Result as PlanResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::matches::Tests;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Keywords {
    tests: Arc<Tests>,
    signature: Signature,
}

impl Keywords {
    /// The function called on the column that holds the record.
    pub(super) fn on(tests: Arc<Tests>, record: Expr) -> Expr {
        let signature = Signature::any(1, Volatility::Immutable);
        ScalarUDF::from(Self { tests, signature }).call(vec![record])
    }

    fn hold(&self, record: &str) -> bool {
        if self.tests.wants_all() {
            let mut missing: Vec<_> = self.tests.tests.iter().collect();
            values(record, &mut |value| {
                missing.retain(|test| !test.holds(value));
                missing.is_empty()
            });
            return missing.is_empty();
        }
        values(record, &mut |value| self.tests.hold_one(value))
    }
}

impl ScalarUDFImpl for Keywords {
    fn name(&self) -> &'static str {
        "sigma_keywords"
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
            return datafusion::common::exec_err!("sigma_keywords takes one column");
        };
        let records = array.as_string_view().iter();
        let flags: BooleanArray = records.map(|record| Some(record.is_some_and(|record| self.hold(record)))).collect();
        Ok(ColumnarValue::Array(Arc::new(flags)))
    }
}

/// Shows every string, number and bool of a JSON text until one is enough; whether one was. What is no JSON gives the
/// values that can be made out.
fn values(json: &str, enough: &mut dyn FnMut(&str) -> bool) -> bool {
    let mut rest = json;
    while let Some(start) = rest.find(|letter: char| !matches!(letter, ' ' | '\t' | '\n' | '\r' | ',' | ':')) {
        rest = rest.get(start..).unwrap_or_default();
        if let Some(inner) = rest.strip_prefix('"') {
            let (text, after) = string(inner);
            let is_key = after.trim_start().starts_with(':');
            if !is_key && enough(&text) {
                return true;
            }
            rest = after;
        } else if let Some(after) = rest.strip_prefix(['{', '}', '[', ']']) {
            rest = after;
        } else {
            let end = rest.find([',', '}', ']', ' ', '\n', '\r', '\t', '"']).unwrap_or(rest.len()).max(1);
            let (word, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
            if word != "null" && enough(word) {
                return true;
            }
            rest = after;
        }
    }
    false
}

/// A string's text without escapes, and what comes after its closing quote.
fn string(inner: &str) -> (Cow<'_, str>, &str) {
    let bytes = inner.as_bytes();
    let mut at = 0;
    let mut escaped = false;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => break,
            b'\\' => {
                escaped = true;
                at += 2;
            }
            _ => at += 1,
        }
    }
    let end = at.min(bytes.len());
    let text = inner.get(..end).unwrap_or_default();
    let after = inner.get(end + 1..).unwrap_or_default();
    if !escaped {
        return (Cow::Borrowed(text), after);
    }
    let plain: Option<String> = serde_json::from_str(&format!("\"{text}\"")).ok();
    (plain.map_or(Cow::Borrowed(text), Cow::Owned), after)
}

#[cfg(test)]
mod tests {
    use super::values;

    fn all(json: &str) -> Vec<String> {
        let mut found = Vec::new();
        values(json, &mut |value| {
            found.push(value.to_owned());
            false
        });
        found
    }

    #[test]
    fn every_value_and_no_key() {
        let json = r#"{"a": "x:y", "b" : [1, -2.5e3, true, null, {"c": ""}], "d": {"e": "tab\t \"q\" \u00e9 \\"}}"#;
        assert_eq!(all(json), ["x:y", "1", "-2.5e3", "true", "", "tab\t \"q\" é \\"]);
        assert_eq!(all("\"one\""), ["one"]);
        assert_eq!(all(""), Vec::<String>::new());
        assert_eq!(all(r#"{"a":"cut"#), ["cut"]);
    }

    #[test]
    fn stops_when_it_knows() {
        let mut seen = 0;
        assert!(values(r#"["a","b","c"]"#, &mut |value| {
            seen += 1;
            value == "b"
        }));
        assert_eq!(seen, 2);
    }
}
