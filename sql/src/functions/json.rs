//! JSON inside a text: a column that some shapes of a log source write as an object and others as a JSON string.
//! Reads both the same way. The record itself is read by the field plan, never here.

use std::borrow::Cow;

use serde_json::Value;

use super::text_function::{Call, Function, Row, text};

pub const FUNCTIONS: &[Function] = &[
    Function {
        name: "json_text",
        arguments: &["json", "path…"],
        doc: "the value under the keys given (one argument a key, a number for an array position), as text; an object \
              or array as its JSON; null when absent or not JSON",
        call: Call::Text(json_text),
    },
    Function {
        name: "json_texts",
        arguments: &["json", "path…"],
        doc: "every value under the keys given, crossing arrays on the way, as a list of texts",
        call: Call::Texts(json_texts),
    },
    Function {
        name: "json_first",
        arguments: &["key", "documents…"],
        doc: "the value under the key in the first of the JSON texts that has one: a field that each shape of a log \
              source keeps in another place",
        call: Call::Text(json_first),
    },
];

/// The document; a JSON string that itself holds a document is opened once more.
pub fn document(text: &str) -> Option<Value> {
    match serde_json::from_str(text).ok()? {
        Value::String(inner) => serde_json::from_str(&inner).ok(),
        value => Some(value),
    }
}

/// A scalar as plain text, anything else as JSON; null and empty text are nothing.
pub fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => (!text.is_empty()).then(|| text.clone()),
        other => Some(other.to_string()),
    }
}

/// Every value under the keys, crossing arrays wherever they are.
pub fn reached<'v>(value: &'v Value, keys: &[&str]) -> Vec<&'v Value> {
    match (value, keys.split_first()) {
        (Value::Array(elements), _) => elements.iter().flat_map(|element| reached(element, keys)).collect(),
        (_, None) => vec![value],
        (_, Some((key, rest))) => value.get(key).map(|value| reached(value, rest)).unwrap_or_default(),
    }
}

fn json_text<'a>(row: Row<'_, 'a>) -> Option<Cow<'a, str>> {
    let mut value = &document(text(row, 0)?)?;
    for key in row.iter().skip(1) {
        let key = (*key)?;
        value = key.parse::<usize>().ok().and_then(|index| value.get(index)).or_else(|| value.get(key))?;
    }
    plain(value).map(Cow::Owned)
}

fn json_texts<'a>(row: Row<'_, 'a>) -> Option<Vec<Cow<'a, str>>> {
    let document = document(text(row, 0)?)?;
    let keys = row.iter().skip(1).copied().collect::<Option<Vec<_>>>()?;
    let found: Vec<_> = reached(&document, &keys).into_iter().filter_map(plain).map(Cow::Owned).collect();
    (!found.is_empty()).then_some(found)
}

fn json_first<'a>(row: Row<'_, 'a>) -> Option<Cow<'a, str>> {
    let (key, documents) = row.split_first()?;
    let key = (*key)?;
    documents.iter().flatten().find_map(|text| plain(document(text)?.get(key)?)).map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_document_that_has_it() {
        let row = |key| [Some(key), None, Some("not json"), Some(r#"{"b":2}"#), Some(r#"{"a":1,"b":3}"#)];
        assert_eq!(json_first(&row("a")).as_deref(), Some("1"));
        assert_eq!(json_first(&row("b")).as_deref(), Some("2"));
        assert_eq!(json_first(&row("c")), None);
    }

    #[test]
    fn reads_one_value() {
        let claims = r#"{"appid":"a-1","http://x.example/oid":"o-1","n":7,"list":[{"k":"v"}],"e":"","z":null}"#;
        for (keys, want) in [
            (vec!["appid"], Some("a-1")),
            (vec!["http://x.example/oid"], Some("o-1")),
            (vec!["n"], Some("7")),
            (vec!["list", "0", "k"], Some("v")),
            (vec!["list"], Some(r#"[{"k":"v"}]"#)),
            (vec!["e"], None),
            (vec!["z"], None),
            (vec!["appid", "deeper"], None),
        ] {
            let row: Vec<_> = [claims].into_iter().chain(keys.clone()).map(Some).collect();
            assert_eq!(json_text(&row).as_deref(), want, "{keys:?}");
        }
        assert_eq!(json_text(&[Some("not json"), Some("a")]), None);
        assert_eq!(json_text(&[Some(r#""{\"a\":1}""#), Some("a")]).as_deref(), Some("1"));
    }

    #[test]
    fn reads_every_value_across_arrays() {
        let targets = r#"[{"id":"a","p":[{"n":"1"},{"n":"2"}]},{"id":"b"}]"#;
        let got = |keys: &[&str]| {
            let row: Vec<_> = [targets].iter().chain(keys).copied().map(Some).collect();
            json_texts(&row).map(|list| list.join(","))
        };
        assert_eq!(got(&["id"]).as_deref(), Some("a,b"));
        assert_eq!(got(&["p", "n"]).as_deref(), Some("1,2"));
        assert_eq!(got(&["q"]), None);
    }
}
