//! The scan against `serde_json` on every path that a record has, and against bytes that are no record.

use keytrail_model::{RawPath, Segment, Want};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn plan(paths: &[&str]) -> FieldPlan {
    FieldPlan::new(&paths.iter().map(|path| RawPath::parse(path).expect(path)).collect::<Vec<_>>())
}

fn run(record: &str, paths: &[&str]) -> Result<Row, Fault> {
    let plan = plan(paths);
    let mut row = Row::new(&plan);
    scan(record.as_bytes(), 0..record.len(), &plan, &Limits::default(), &mut row).map(|()| row)
}

fn text(record: &str, slot: Slot) -> Option<String> {
    let bytes = record.as_bytes().get(slot.range()?)?;
    let mut out = Vec::new();
    match slot {
        Slot::Escaped { .. } => unescape(bytes, &mut out),
        _ => out.extend_from_slice(bytes),
    }
    String::from_utf8(out).ok()
}

fn texts(record: &str, path: &str) -> Option<Vec<Option<String>>> {
    let row = run(record, &[path]).expect(record);
    (row.slot(0) == Slot::Reached).then(|| row.items(0).map(|slot| text(record, slot)).collect())
}

fn fault(record: &str) -> String {
    let fault = run(record, &["a.b"]).expect_err(record);
    format!("{} {}", fault.byte, fault.reason)
}

#[test]
fn missing_null_and_empty_differ() {
    let row = run(r#"{"a":null,"b":"","c":{}}"#, &["a", "b", "c", "d", "a?", "d?", "c.x"]).expect("row");
    assert_eq!((row.slot(0), row.slot(3), row.slot(6)), (Slot::Null, Slot::Missing, Slot::Missing));
    assert_eq!((row.slot(4), row.slot(5)), (Slot::Reached, Slot::Missing));
    assert!(matches!(row.slot(1), Slot::Plain { len: 0, .. }) && matches!(row.slot(2), Slot::Plain { len: 2, .. }));
}

#[test]
fn lists_have_one_item_for_each_element() {
    let record = r#"{"r":[{"n":"a","x":1},{"x":2},{"n":null}],"e":[],"s":"no array"}"#;
    assert_eq!(texts(record, "r[].n"), Some(vec![Some("a".to_owned()), None, None]));
    assert_eq!(texts(record, "e[].n"), Some(vec![]));
    assert_eq!(texts(record, "s[].n"), None);
    assert_eq!(texts(record, "zzz[].n"), None);
}

#[test]
fn any_crosses_every_array() {
    let record = r#"{"a":[{"b":[1,[2,"x"],{"c":3}]},{"b":"y"},[[{"b":null}]]]}"#;
    let all: Vec<_> = texts(record, "a.b[*]").expect("reached").into_iter().map(Option::unwrap_or_default).collect();
    assert_eq!(all, ["1", "2", "x", r#"{"c":3}"#, "y", ""]);
    assert_eq!(texts(record, "a.zzz[*]"), None);
}

#[test]
fn a_whole_and_its_parts_are_planned_together() {
    let record = r#"{"a": {"b": [1, {"c": "d"}]} }"#;
    let row = run(record, &["a", "a.b", "a.b[].c", "a.b[*]"]).expect("row");
    assert_eq!(text(record, row.slot(0)).as_deref(), Some(r#"{"b": [1, {"c": "d"}]}"#));
    assert_eq!(text(record, row.slot(1)).as_deref(), Some(r#"[1, {"c": "d"}]"#));
    assert_eq!(row.items(2).count(), 2);
    assert_eq!(row.items(3).count(), 2);
}

#[test]
fn escapes_in_keys_and_values() {
    let record = r#"{"\u0061":{"b\"":"q\"\\\/\b\f\n\r\t\u00e9\uD83D\uDE00\uD800x\uDC00"}}"#;
    let row = run(record, &["a.\"b\"", "a"]).expect("row");
    assert_eq!(row.slot(0), Slot::Missing);
    let path =
        RawPath { segments: ["a", "b\""].map(|key| Segment { key: key.into(), each: false }).into(), want: Want::Text };
    let plan = FieldPlan::new(&[path]);
    let mut row = Row::new(&plan);
    scan(record.as_bytes(), 0..record.len(), &plan, &Limits::default(), &mut row).expect("row");
    assert_eq!(text(record, row.slot(0)).as_deref(), Some("q\"\\/\u{8}\u{c}\n\r\té😀\u{fffd}x\u{fffd}"));
}

#[test]
fn faults_say_where_and_what() {
    for (record, start) in [
        ("", "0 truncated: expected a JSON value"),
        ("hello", "0 not JSON: expected a JSON value, found `h`"),
        (r#"{"a":{"b":"#, "10 truncated: expected a JSON value"),
        (r#"{"a":{"b":"x"#, "12 truncated: expected a closing `\"`"),
        (r#"{"a":{"b":1}"#, "12 truncated: expected `,` or `}`"),
        (r#"{"x":[1,{"#, "9 truncated: expected a closing bracket"),
        (r#"{"x":[1}}"#, "7 not JSON: expected the other kind of bracket"),
        (r#"{"a":1} {"a":2}"#, "8 the record ends before this `{`"),
        (r#"{"a":1,"a":2}"#, "7 duplicate key `a`"),
        (r#"{"a":1,}"#, "7 not JSON: expected a key in quotes"),
        (r#"{"a":01}"#, "5 not JSON: expected a JSON value"),
        (r#"{"a":"\x"}"#, "7 not JSON: expected an escape"),
        (r#"{"a" 1}"#, "5 not JSON: expected `:`"),
        (r"{'a':1}", "1 not JSON: expected a key in quotes, found `\\'`"),
    ] {
        assert!(fault(record).starts_with(start), "{record}: {}", fault(record));
    }
}

#[test]
fn duplicates_matter_only_where_they_are_planned() {
    assert!(run(r#"{"x":1,"x":2,"a":{"b":1}}"#, &["a.b"]).is_ok());
    assert!(run(r#"{"a":[{"b":1},{"b":2}]}"#, &["a[].b", "a.b[*]"]).is_ok());
    assert!(run(r#"{"a":[{"b":1,"b":2}]}"#, &["a.b[*]"]).is_err());
    assert!(run(r#"{"a":1,"\u0061":2}"#, &["a"]).is_err());
}

#[test]
fn depth_has_a_bound_wherever_it_is() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}"), (r#"{"x":"#, "}")] {
        let record = |depth| format!("{}1{}", open.repeat(depth), close.repeat(depth));
        for path in ["a.b", "a[*]", "a"] {
            assert!(run(&record(128), &[path]).is_ok());
            let fault = run(&record(10_000), &[path]).expect_err("deep");
            assert!(fault.reason.starts_with("nested deeper than 128 levels"), "{}", fault.reason);
        }
    }
}

#[test]
fn latin_1_is_told_by_position() {
    let fault = check_text(b"{\"a\":\"caf\xE9\"}").expect_err("latin 1");
    assert_eq!(fault.byte, 9);
    assert!(fault.reason.contains("iconv"));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[ -~]{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-cé\"\\\\\n]{1,2}", inner, 0..5).prop_map(|map| json!(map)),
        ]
    })
}

/// Every way to a value through objects only, with what `serde_json` finds there.
fn walk(value: &Value, keys: &mut Vec<String>, out: &mut Vec<(Vec<String>, Value)>) {
    if !keys.is_empty() {
        out.push((keys.clone(), value.clone()));
    }
    for (key, value) in value.as_object().into_iter().flatten() {
        keys.push(key.clone());
        walk(value, keys, out);
        keys.pop();
    }
}

/// What `[*]` means, the slow way.
fn reach<'a>(value: &'a Value, keys: &[String], out: &mut Vec<&'a Value>) {
    match (value, keys.split_first()) {
        (Value::Array(items), _) => items.iter().for_each(|item| reach(item, keys, out)),
        (value, None) => out.push(value),
        (Value::Object(map), Some((first, rest))) => {
            if let Some(value) = map.get(first) {
                reach(value, rest, out);
            }
        }
        _ => {}
    }
}

fn same(slot: Slot, record: &str, value: &Value) -> bool {
    match (slot, value) {
        (Slot::Null, Value::Null) => true,
        (Slot::Null, _) | (_, Value::Null) => false,
        (slot, Value::String(want)) => text(record, slot).as_ref() == Some(want),
        (slot, want) => text(record, slot).and_then(|text| serde_json::from_str(&text).ok()).as_ref() == Some(want),
    }
}

fn path(keys: &[String], want: Want) -> RawPath {
    RawPath { segments: keys.iter().map(|key| Segment { key: key.clone(), each: false }).collect(), want }
}

proptest! {
    #[test]
    fn agrees_with_serde_json_on_every_path(value in any_json(), pretty in any::<bool>()) {
        let record = if pretty { format!("{value:#}") } else { value.to_string() };
        // Through a parse, as printing a float may change it.
        let value: Value = serde_json::from_str(&record).expect("value");
        let mut all = Vec::new();
        walk(&value, &mut Vec::new(), &mut all);
        let wants = [Want::Text, Want::Any, Want::Present];
        let paths: Vec<_> = all.iter().flat_map(|(keys, _)| wants.map(|want| path(keys, want))).collect();
        let plan = FieldPlan::new(&paths);
        let mut row = Row::new(&plan);
        for _ in 0..2 {
            scan(record.as_bytes(), 0..record.len(), &plan, &Limits::default(), &mut row).expect("scan");
        }
        for (index, (keys, want)) in all.iter().enumerate() {
            prop_assert!(same(row.slot(index * 3), &record, want), "{record} {keys:?}");
            let mut reached = Vec::new();
            reach(&value, keys, &mut reached);
            let items: Vec<_> = row.items(index * 3 + 1).collect();
            prop_assert_eq!(items.len(), reached.len());
            let agree = items.iter().zip(&reached).all(|(item, want)| same(*item, &record, want));
            prop_assert!(agree, "{record} {keys:?}");
            prop_assert_eq!(row.slot(index * 3 + 2), Slot::Reached);
        }
    }

    #[test]
    fn any_bytes_and_any_cut_are_survived(
        value in any_json(),
        junk in prop::collection::vec(any::<u8>(), 0..40),
        at in 0usize..400,
    ) {
        let plan = plan(&["a", "a.b", "b[].a", "c[*]", "a.b[*]", "c?"]);
        let mut row = Row::new(&plan);
        let mut bytes = value.to_string().into_bytes();
        let at = at.min(bytes.len());
        let cut = scan(&bytes, 0..at, &plan, &Limits::default(), &mut row);
        let cut_is_whole = serde_json::from_slice::<Value>(&bytes[..at]).is_ok();
        prop_assert!(cut_is_whole || cut.is_err());
        bytes.splice(at..at, junk);
        scan(&bytes, 0..bytes.len(), &plan, &Limits::default(), &mut row).ok();
    }
}
