//! Every modifier and every form of condition against records, by way of the expression that rules run as.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, ListBuilder, RecordBatch, RecordBatchOptions, StringViewArray, StringViewBuilder,
};
use arrow::datatypes::{Field, Schema};
use datafusion::common::DFSchema;
use datafusion::prelude::SessionContext;
use keytrail_model::{RawPath, Want};
use keytrail_sql::{Name, Planner, evaluate_flags};
use rsigma_parser::parse_sigma_yaml;
use serde_json::{Value, json};

use super::{Place, Resolver, SigmaBody, expression};
use crate::dialect::Dialect;

fn body(detection: &str) -> SigmaBody {
    let text = format!("title: t\nlogsource: {{product: p}}\ndetection:\n{detection}\n");
    let mut parsed = parse_sigma_yaml(&text).expect("YAML");
    assert!(parsed.errors.is_empty(), "{detection}: {:?}", parsed.errors);
    SigmaBody::new(parsed.rules.remove(0).detection, Place::new("x.yml", &text))
}

fn any(_: &RawPath) -> Result<(), String> {
    Ok(())
}

fn resolver(dialect: Option<&Dialect>) -> Resolver<'_> {
    Resolver { source: "test", dialect, knows: &any }
}

/// What the scanner would deliver.
fn reached(record: &Value, path: &RawPath) -> Vec<String> {
    fn walk(value: &Value, keys: &[String], found: &mut Vec<String>) {
        match (value, keys) {
            (Value::Array(items), _) => items.iter().for_each(|item| walk(item, keys, found)),
            (Value::Object(object), [key, rest @ ..]) => {
                object.get(key).into_iter().for_each(|value| walk(value, rest, found));
            }
            (Value::Null, _) | (_, [_, ..]) => {}
            (Value::String(text), []) => found.push(text.clone()),
            (other, []) => found.push(other.to_string()),
        }
    }
    let keys: Vec<String> = path.segments.iter().map(|segment| segment.key.clone()).collect();
    let mut found = Vec::new();
    walk(record, &keys, &mut found);
    found
}

fn present(record: &Value, path: &RawPath) -> bool {
    path.segments.iter().try_fold(record, |value, segment| value.get(&segment.key)).is_some()
}

/// A text as it is, anything else as JSON.
fn text(record: &Value, path: &RawPath) -> Option<String> {
    match path.segments.iter().try_fold(record, |value, segment| value.get(&segment.key))? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn column(record: &Value, name: &Name) -> ArrayRef {
    match name {
        Name::Event("raw") => Arc::new(StringViewArray::from_iter([Some(record.to_string())])),
        Name::Event(_) | Name::Joined { .. } => Arc::new(StringViewArray::from_iter([None::<String>])),
        Name::Raw(path) if path.want == Want::Text => Arc::new(StringViewArray::from_iter([text(record, path)])),
        Name::Raw(path) if path.want == Want::Present => Arc::new(BooleanArray::from(vec![present(record, path)])),
        Name::Raw(path) => {
            let mut lists = ListBuilder::new(StringViewBuilder::new());
            let values = reached(record, path);
            values.iter().for_each(|value| lists.values().append_value(value));
            lists.append(!values.is_empty());
            Arc::new(lists.finish())
        }
    }
}

fn matches_with(body: &SigmaBody, record: &Value, dialect: Option<&Dialect>) -> bool {
    let (expr, names) = expression(body, &resolver(dialect)).expect("an expression");
    let columns: Vec<ArrayRef> = names.iter().map(|name| column(record, name)).collect();
    let fields =
        names.iter().zip(&columns).map(|(name, array)| Field::new(name.column(), array.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options).expect("a batch");
    let schema = DFSchema::try_from(schema.as_ref().clone()).expect("a schema");
    let planned = SessionContext::new().create_physical_expr(expr, &schema).expect("plans");
    let flags = evaluate_flags(&planned, &batch).expect("evaluates");
    assert!(flags.is_valid(0), "never null");
    flags.value(0)
}

use arrow::array::Array;

fn matches(detection: &str, record: &Value) -> bool {
    matches_with(&body(detection), record, None)
}

/// Whether `f` with such a value (or key and value) matches a record.
#[track_caller]
fn check(item: &str, record: &Value, wanted: bool) {
    let detection = format!("  s: {{{item}}}\n  condition: s");
    assert_eq!(matches(&detection, record), wanted, "{item} on {record}");
}

#[test]
fn each_modifier_means_what_the_specification_says() {
    for (item, hit, miss) in [
        ("f: CreateUser", json!("createuser"), json!("CreateUsers")),
        ("f: [a, b]", json!("B"), json!("c")),
        ("f|cased: CreateUser", json!("CreateUser"), json!("createuser")),
        ("f: 'Delete*'", json!("deleteTrail"), json!("xDelete")),
        ("f: '*Tr?il'", json!("StopTrail"), json!("StopTril")),
        ("f: 'a\\*b'", json!("a*b"), json!("axb")),
        ("f: 'C:\\Temp'", json!("c:\\temp"), json!("c:temp")),
        ("f: ''", json!(""), json!(" ")),
        ("f: '*'", json!(""), Value::Null),
        ("f: 5", json!(5), json!(55)),
        ("f: 5", json!("5"), json!("5a")),
        ("f: 1.5", json!(1.50), json!(1.51)),
        ("f: true", json!(true), json!(false)),
        ("f: true", json!("True"), json!("yes")),
        ("f: null", Value::Null, json!("")),
        ("f|contains: rail", json!("StopTrails"), json!("StopTrial")),
        ("f|startswith: stop", json!("StopTrail"), json!("UnStop")),
        ("f|endswith: TRAIL", json!("StopTrail"), json!("Trails")),
        ("f|contains|all: [a, b]", json!("xbxa"), json!("xbx")),
        ("f|contains|cased: Rail", json!("tRail"), json!("Trail")),
        ("f|re: '^a.c$'", json!("abc"), json!("ABC")),
        ("f|re: b", json!("abc"), json!("ac")),
        ("f|re|i: '^A.C$'", json!("abc"), json!("abd")),
        ("f|re|m: '^b$'", json!("a\nb"), json!("a\nbc")),
        ("f|re|s: 'a.b'", json!("a\nb"), json!("ab")),
        ("f|cidr: 192.0.2.0/24", json!("192.0.2.77"), json!("192.0.3.1")),
        ("f|cidr: [192.0.2.0/28, '2001:db8::/32']", json!("2001:db8:1::1"), json!("192.0.2.16")),
        ("f|cidr: 192.0.2.1", json!("192.0.2.1"), json!("192.0.2.2")),
        ("f|cidr: 0.0.0.0/0", json!("198.51.100.1"), json!("::1")),
        ("f|cidr: '::/0'", json!("::1"), json!("198.51.100.1")),
        ("f|gt: 4", json!(5), json!(4)),
        ("f|gte: 4", json!("4"), json!(3.9)),
        ("f|lt: 4", json!(3), json!("x")),
        ("f|lte: '4.5'", json!(4.5), json!(5)),
        ("f|neq: a", json!("b"), json!("A")),
        ("f|neq: [a, b]", json!("c"), json!("b")),
        ("f|contains|neq: a", json!("b"), json!("cab")),
        ("f|neq: a", json!("b"), Value::Null),
        ("f|windash|contains: ' -x'", json!("run /x"), json!("run x")),
        ("f|windash: '-a /b'", json!("–A —b"), json!("a b")),
        ("f|base64: foo", json!("Zm9v"), json!("foo")),
        ("f|base64offset|contains: /bin/bash", json!("xxL2Jpbi9iYXNoyy"), json!("/bin/bash")),
        ("f|wide|base64offset|contains: hi", json!("aABpAA=="), json!("hi")),
        ("f|utf16le|base64: hi", json!("aABpAA=="), json!("AGgAaQ==")),
        ("f|utf16be|base64: hi", json!("AGgAaQ=="), json!("aABpAA==")),
        ("f|utf16|base64: hi", json!("//5oAGkA"), json!("aABpAA==")),
        ("f|hour: 22", json!("2026-11-03T22:10:00Z"), json!("2026-11-03T21:10:00Z")),
        ("f|hour|gte: 22", json!("2026-11-03T23:10:00Z"), json!("2026-11-03T21:10:00Z")),
        ("f|month: [10, 11]", json!("2026-11-03"), json!("2026-12-03T00:00:00Z")),
    ] {
        check(item, &json!({"f": hit}), true);
        check(item, &json!({"f": miss}), false);
        let among = if item.contains("neq") { miss.is_null() } else { !hit.is_null() };
        check(item, &json!({"f": ["zz", miss, hit]}), among);
    }
}

#[test]
fn absent_and_null_are_alike_but_for_exists() {
    for (item, absent, null, empty, full) in [
        ("f: null", true, true, false, false),
        ("f: ''", false, false, true, false),
        ("f: '*'", false, false, true, true),
        ("f|exists: true", false, true, true, true),
        ("f|exists: false", true, false, false, false),
        ("f|exists: 'yes'", false, true, true, true),
        ("f: [null, x]", true, true, false, true),
        ("f|neq: null", false, false, true, true),
    ] {
        check(item, &json!({}), absent);
        check(item, &json!({"f": null}), null);
        check(item, &json!({"f": ""}), empty);
        check(item, &json!({"f": "x"}), full);
    }
}

#[test]
fn fields_cross_arrays_and_show_objects_as_text() {
    let record = json!({"list": [{"name": "a", "no": 1}, {"name": "b"}], "object": {"k": "v"}, "none": []});
    check("list.name: B", &record, true);
    check("list.name|contains|all: [a, b]", &record, true);
    check("list.no|exists: true", &record, true);
    check("list.other|exists: true", &record, false);
    check("object: '*'", &record, true);
    check("object|contains: '\"k\":\"v\"'", &record, true);
    check("none: '*'", &record, false);
    check("none: null", &record, true);
}

#[test]
fn fieldref_compares_two_fields() {
    let record = json!({"a": "Ann", "b": ["x", "ann"], "c": "annabel", "d": null});
    check("a|fieldref: b", &record, true);
    check("a|fieldref|cased: b", &record, false);
    check("a|fieldref: c", &record, false);
    check("c|fieldref|startswith: a", &record, true);
    check("c|fieldref|endswith: a", &record, false);
    check("c|fieldref|contains: b", &record, true);
    check("a|fieldref|neq: c", &record, true);
    check("a|fieldref|neq: b", &record, false);
    check("a|fieldref: d", &record, false);
    check("d|fieldref: d", &record, false);
}

#[test]
fn conditions_of_every_form() {
    let sections =
        "  sel_a: {a: 1}\n  sel_b: {b: 1}\n  sel_c: {c: 1}\n  other: {d: 1}\n  _hidden: {e: 1}\n  condition: ";
    let one = |keys: &str| Value::Object(keys.chars().map(|key| (key.to_string(), json!(1))).collect());
    for (condition, hits, misses) in [
        ("sel_a and sel_b", vec!["ab"], vec!["a", "b", ""]),
        ("sel_a or sel_b", vec!["a", "b"], vec!["c", ""]),
        ("not sel_a", vec!["b", ""], vec!["a"]),
        ("sel_a and not (sel_b or sel_c)", vec!["a", "ad"], vec!["ab", "ac", ""]),
        ("sel_a or sel_b and sel_c", vec!["a", "bc"], vec!["b", "c"]),
        ("1 of sel_*", vec!["a", "c"], vec!["d", ""]),
        ("any of sel_*", vec!["b"], vec!["d"]),
        ("all of sel_*", vec!["abc"], vec!["ab", "d"]),
        ("2 of sel_*", vec!["ab", "bc", "abc"], vec!["a", "ad", ""]),
        ("1 of them", vec!["d"], vec!["e", ""]),
        ("all of them", vec!["abcd"], vec!["abce"]),
        ("1 of *_b", vec!["b"], vec!["a"]),
        ("not 1 of sel_*", vec!["d"], vec!["a"]),
        ("[sel_a and sel_b, other]", vec!["ab", "d"], vec!["a", "c"]),
        ("_hidden", vec!["e"], vec!["a"]),
    ] {
        for (keys, wanted) in hits.iter().map(|hit| (hit, true)).chain(misses.iter().map(|miss| (miss, false))) {
            assert_eq!(matches(&format!("{sections}{condition}"), &one(keys)), wanted, "{condition} on {keys}");
        }
    }
}

#[test]
fn lists_of_maps_are_alternatives_and_maps_are_not() {
    let detection = "  s:\n    - {a: 1, b: 2}\n    - c: 3\n  condition: s";
    for (record, wanted) in [
        (json!({"a": 1, "b": 2}), true),
        (json!({"c": 3}), true),
        (json!({"a": 1}), false),
        (json!({"b": 2, "d": 3}), false),
    ] {
        assert_eq!(matches(detection, &record), wanted, "{record}");
    }
}

#[test]
fn keywords_look_at_every_value_and_at_no_key() {
    let record = json!({"Secret": {"list": ["Say \"hello\"\n", 4711, true]}, "path": "C:\\Temp\\evil.exe"});
    let check = |keywords: &str, wanted: bool| {
        let detection = format!("  keywords:\n{keywords}\n  condition: keywords");
        assert_eq!(matches(&detection, &record), wanted, "{keywords}");
    };
    check("    - evil", true);
    check("    - secret", false);
    check("    - list", false);
    check("    - 'say \"HELLO\"'", true);
    check("    - 'temp\\evil'", true);
    check("    - 4711", true);
    check("    - true", true);
    check("    - nothing\n    - evil", true);
    check("    - 'c:*exe'", true);
    check("    - 'c:*dll'", false);
    check("    '|all':\n      - evil\n      - hello", true);
    check("    '|all':\n      - evil\n      - nothing", false);
    check("    '|re': 'evil\\.[a-z]+$'", true);
    check("    '|re': 'Evil'", false);
    check("    '|cased':\n      - evil", true);
    check("    '|cased':\n      - Evil", false);
    check("    '|startswith': 'c:'", true);
    check("    '|startswith': 'temp'", false);
}

#[test]
fn a_dialect_gives_a_name_one_place_or_several() {
    let text = "source: test\nfields:\n  Old: new.place\n  Two: [a, b.c]\n";
    let dialect = Dialect::read("test.yaml", text, &Planner::new()).expect("reads");
    let check = |item: &str, record: Value, wanted: bool| {
        let body = body(&format!("  s: {{{item}}}\n  condition: s"));
        assert_eq!(matches_with(&body, &record, Some(&dialect)), wanted, "{item} on {record}");
    };
    check("Old: x", json!({"new": {"place": "X"}}), true);
    check("Old: x", json!({"Old": "x"}), false);
    check("Two: x", json!({"b": {"c": "x"}}), true);
    check("Two: x", json!({"a": "x"}), true);
    check("Two|contains|all: [x, y]", json!({"a": "x", "b": {"c": "y"}}), true);
    check("Two|contains|all: [x, y]", json!({"a": "x"}), false);
    check("Two: null", json!({}), true);
    check("Two: null", json!({"a": "x"}), false);
    check("Two: [null, x]", json!({"a": "y", "b": {"c": "x"}}), true);
    check("Two|neq: x", json!({"a": "y", "b": {"c": "x"}}), false);
    check("Two|exists: true", json!({"b": {"c": null}}), true);
    check("Two|exists: false", json!({"c": 1}), true);
    check("Two|fieldref: Old", json!({"b": {"c": "q"}, "new": {"place": "q"}}), true);
}

#[test]
fn a_dialect_computes_what_no_field_says() {
    let text = "source: test\nfields:\n  Service: {sql: \"app || '.example.com'\"}\n  \
                State: [word, {sql: \"CASE WHEN code = '0' THEN 'good' WHEN code IS NOT NULL THEN 'bad' END\"}]\n  \
                New:\n    sql: >-\n      named_values('NEW', 'value', pairs)\n";
    let dialect = Dialect::read("test.yaml", text, &Planner::new()).expect("reads");
    let check = |item: &str, record: Value, wanted: bool| {
        let body = body(&format!("  s: {{{item}}}\n  condition: s"));
        assert_eq!(matches_with(&body, &record, Some(&dialect)), wanted, "{item} on {record}");
    };
    check("Service: ADMIN.example.com", json!({"app": "admin"}), true);
    check("Service: admin", json!({"app": "admin"}), false);
    check("Service: null", json!({}), true);
    check("Service: null", json!({"app": "admin"}), false);
    check("Service|exists: true", json!({"app": "admin"}), true);
    check("Service|exists: false", json!({"app": null}), true);
    check("Service|neq: login.example.com", json!({"app": "admin"}), true);
    check("Service|neq: login.example.com", json!({}), false);
    check("Service|fieldref: other", json!({"app": "admin", "other": ["x", "admin.example.com"]}), true);
    check("State: good", json!({"code": 0}), true);
    check("State: good", json!({"code": 7}), false);
    check("State: good", json!({"word": "Good", "code": 7}), true);
    check("State|contains|all: [oo, ad]", json!({"word": "good", "code": 7}), true);
    check("State: null", json!({"code": 7}), false);
    check("State: null", json!({}), true);
    let pairs =
        |name: &str| json!({"pairs": [{"name": "OLD", "value": "x"}, {"name": name, "multiValue": ["y", "z"]}]});
    check("New: z", pairs("NEW"), true);
    check("New: x", pairs("NEW"), false);
    check("New|exists: true", pairs("NEW"), true);
    check("New: null", pairs("OTHER"), true);
    check("New|contains|all: [y, z]", pairs("NEW"), true);
}

#[test]
fn a_correlation_wants_columns() {
    let text = "source: test\nfields:\n  Service: {sql: \"app || 'x'\"}\n  Plain: [a, ip]\n";
    let dialect = Dialect::read("test.yaml", text, &Planner::new()).expect("reads");
    let names = resolver(Some(&dialect)).names("Plain").expect("names");
    assert_eq!(names.iter().map(Name::column).collect::<Vec<_>>(), ["a[*]", "ip[*]"]);
    let error = resolver(Some(&dialect)).names("Service").expect_err("no column");
    assert!(error.starts_with("the dialect of test computes `Service` (`app || 'x'`): a correlation takes columns"));
}

#[test]
fn errors_name_the_line_and_the_remedy() {
    for (detection, wanted) in [
        ("  s:\n    a: 1\n    f|re: '('\n  condition: s", "6: sigma: `f`: `(` is not a regular expression"),
        (
            "  s:\n    f|re: '(?=a)b'\n  condition: s",
            "5: sigma: `f`: `(?=a)b` is not a regular expression that can be run",
        ),
        (
            "  s:\n    f|cidr:\n      - 192.0.2.0/24\n      - 192.0.2.0/33\n  condition: s",
            "7: sigma: `f`: `192.0.2.0/33` is not a network",
        ),
        ("  s:\n    f|gt: x\n  condition: s", "5: sigma: `f`: `x` cannot be compared with"),
        (
            "  s:\n    f|contains|re: x\n  condition: s",
            "5: sigma: `f`: modifiers `contains` and `re` cannot stand together",
        ),
        ("  s:\n    f|contains|i: x\n  condition: s", "5: sigma: `f`: modifier `i` belongs behind `re`"),
        ("  s:\n    f|re|base64: x\n  condition: s", "5: sigma: `f`: modifier `base64` changes texts"),
        ("  s:\n    f|utf16: x\n  condition: s", "5: sigma: `f`: `x` is no text once it is encoded"),
        ("  s:\n    f|base64: 'x*'\n  condition: s", "5: sigma: `f`: a wildcard cannot be encoded"),
        ("  s:\n    f|exists: maybe\n  condition: s", "5: sigma: `f|exists` wants true or false"),
        (
            "  selection:\n    f: x\n  condition: selektion",
            "6: sigma: condition names `selektion`, which is not defined, did you mean `selection`?",
        ),
        ("  s:\n    f: x\n  condition: 1 of filter_*", "6: sigma: `1 of filter_*` selects nothing"),
        ("  s:\n    f: x\n  condition: 2 of s*", "6: sigma: `2 of` selects only 1"),
        ("  s:\n    '|gt': 4\n  condition: s", "5: sigma: keywords: they take no comparison"),
    ] {
        let fault = expression(&body(detection), &resolver(None)).expect_err(detection);
        let text = format!("{}: {}", fault.line.unwrap_or_default(), fault.message);
        assert!(text.starts_with(wanted), "{text}\nwanted {wanted}");
    }
}

#[test]
fn an_unknown_name_is_refused_with_the_nearest() {
    let knows = |path: &RawPath| match path.to_string().as_str() {
        "eventName[*]" | "eventName" => Ok(()),
        other => Err(keytrail_model::did_you_mean(other.trim_end_matches("[*]"), ["eventName"])),
    };
    let dialect = {
        let text =
            "source: test\nfields:\n  operation: eventNam\n  status:\n    - eventName\n    - sql: upper(eventNam)\n";
        Dialect::read("test.yaml", text, &Planner::new()).expect("reads")
    };
    let fault = |item: &str| {
        let resolver = Resolver { source: "test", dialect: Some(&dialect), knows: &knows };
        let fault = expression(&body(&format!("  s:\n    {item}\n  condition: s")), &resolver).expect_err(item);
        format!("{}: {}", fault.line.unwrap_or_default(), fault.message)
    };
    let wanted = "5: `eventNme` is neither an event column nor a field of test, did you mean `eventName`?";
    assert_eq!(fault("eventNme: x"), wanted);
    let wanted = "5: test.yaml:3 takes `operation` for `eventNam`: `eventNam` is neither an event column nor a field of \
                  test, did you mean `eventName`?";
    assert_eq!(fault("operation: x"), wanted);
    let wanted = "5: test.yaml:6 computes `status`: `eventNam` is neither an event column nor a field of test, did you \
                  mean `eventName`?";
    assert_eq!(fault("status: x"), wanted);
    assert_eq!(
        fault("operatin: x"),
        "5: `operatin` is neither an event column nor a field of test, did you mean `operation`?"
    );
}
