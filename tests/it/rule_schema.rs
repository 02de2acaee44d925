//! The JSON Schemas for editors know what the readers know, and hold for every shipped file.

use std::collections::BTreeSet;

use keytrail::cli::FileKind;
use keytrail::pack::Pack;
use keytrail::rule_schema::schema;
use keytrail_detect::{Exception, Overlay, Rule, SETTABLE};
use keytrail_model::{FileError, read_yaml};
use serde_json::Value;

use crate::run::{Folder, repository};

const KINDS: [(FileKind, &str); 3] =
    [(FileKind::Rule, "rule"), (FileKind::Exception, "exception"), (FileKind::Overlay, "overlay")];

/// `UPDATE_GOLDEN=1` rewrites them.
#[test]
fn the_schemas_in_docs_are_current() {
    for (kind, name) in KINDS {
        let path = repository(&format!("docs/schema/{name}.schema.json"));
        let text = format!("{}\n", serde_json::to_string_pretty(&schema(kind)).unwrap());
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(written == text, "{name}: run UPDATE_GOLDEN=1 tests/run rule_schema");
        assert_eq!(Folder::new().run(&["rule", "schema", name]).ok().stdout, text);
    }
}

#[test]
fn every_shipped_rule_is_valid() {
    let root = serde_json::to_value(schema(FileKind::Rule)).unwrap();
    let files = Pack::embedded().detections;
    for (file, text) in files.iter().filter(|(file, _)| file.ends_with(".yaml")) {
        let value: Value = read_yaml(file, text).unwrap();
        let faults = faults(&root, &root, &value);
        assert!(faults.is_empty(), "{file}: {faults:?}");
    }
    assert!(files.len() >= 100);
}

#[test]
fn the_schema_refuses_what_the_reader_refuses() {
    let root = serde_json::to_value(schema(FileKind::Rule)).unwrap();
    let base =
        "id: r\ntitle: t\nseverity: high\nsource: any\ndescription: d\nsummary: s\ngroup_by: [actor]\nwhere: a\n";
    let says = |more: &str| faults(&root, &root, &read_yaml("r.yaml", &format!("{base}{more}")).unwrap());
    assert!(says("").is_empty());
    for (more, said) in [
        ("playbok: x\n", "playbok"),
        ("state: sometimes\n", "sometimes"),
        ("tests: [{name: a, findings: many}]\n", "findings"),
        ("window: {within: 10m, count: {least: 3}}\n", "least"),
    ] {
        assert!(says(more).iter().any(|fault| fault.contains(said)), "{more}: {:?}", says(more));
    }
    let missing = faults(&root, &root, &read_yaml("r.yaml", "id: r\n").unwrap());
    assert!(missing.iter().any(|fault| fault.contains("severity")), "{missing:?}");
}

/// The readers' own lists of keys, taken from what they say to an unknown one.
#[test]
fn schemas_and_readers_know_the_same_keys() {
    let rule = Rule::read("r.yaml", "zzz: 1\n").expect_err("an unknown key");
    assert_eq!(known(&rule), keys(FileKind::Rule, "RuleFile"));
    let test = Rule::read("r.yaml", "tests: [{zzz: 1}]\n").expect_err("an unknown key");
    assert_eq!(known(&test), keys(FileKind::Rule, "Test"));
    let window = Rule::read("r.yaml", "window: {zzz: 1}\n").expect_err("an unknown key");
    assert_eq!(known(&window), keys(FileKind::Rule, "Window"));
    let step = Rule::read("r.yaml", "steps: {a: {zzz: 1}}\n").expect_err("an unknown key");
    assert_eq!(known(&step), keys(FileKind::Rule, "Step"));
    let exception = Exception::read("e.yaml", "zzz: 1\n").expect_err("an unknown key");
    assert_eq!(known(&exception), keys(FileKind::Exception, "Exception"));
    let overlay = Overlay::read("o.yaml", "zzz: 1\n").expect_err("an unknown key");
    assert_eq!(known(&overlay), keys(FileKind::Overlay, "Overlay"));
    assert_eq!(SETTABLE.map(str::to_owned).into_iter().collect::<BTreeSet<_>>(), keys(FileKind::Overlay, "Set"));
}

fn known(errors: &[FileError]) -> BTreeSet<String> {
    let message = errors[0].to_string();
    let (_, list) = message.split_once("(known here: ").unwrap_or_else(|| panic!("{message}"));
    list.trim_end_matches(')').split(", ").map(str::to_owned).collect()
}

fn keys(kind: FileKind, name: &str) -> BTreeSet<String> {
    let root = serde_json::to_value(schema(kind)).unwrap();
    let part = root["$defs"].get(name).unwrap_or(&root);
    part["properties"].as_object().unwrap_or_else(|| panic!("{name}")).keys().cloned().collect()
}

/// What of a value the schema refuses: as much of JSON Schema as these schemas use.
fn faults(root: &Value, schema: &Value, value: &Value) -> Vec<String> {
    if let Some(name) = schema["$ref"].as_str() {
        return faults(root, root.pointer(name.trim_start_matches('#')).expect("a definition"), value);
    }
    for choice in ["anyOf", "oneOf"] {
        if let Some(all) = schema[choice].as_array() {
            let each: Vec<Vec<String>> = all.iter().map(|one| faults(root, one, value)).collect();
            return if each.iter().any(Vec::is_empty) { Vec::new() } else { each.concat() };
        }
    }
    if let Some(constant) = schema.get("const") {
        return if constant == value { Vec::new() } else { vec![format!("{value} is not {constant}")] };
    }
    if let Some(values) = schema["enum"].as_array() {
        return if values.contains(value) { Vec::new() } else { vec![format!("{value} is none of {values:?}")] };
    }
    if !has_type(&schema["type"], value) {
        return vec![format!("{value} is no {}", schema["type"])];
    }
    let mut found = Vec::new();
    for item in value.as_array().into_iter().flatten() {
        found.extend(faults(root, &schema["items"], item));
    }
    if let (Some(object), Some(known)) = (value.as_object(), schema["properties"].as_object()) {
        let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        found.extend(required.filter(|key| !object.contains_key(*key)).map(|key| format!("{key} is missing")));
        for (key, inner) in object {
            match known.get(key) {
                Some(schema) => found.extend(faults(root, schema, inner).iter().map(|fault| format!("{key}: {fault}"))),
                None if schema["additionalProperties"] == false => found.push(format!("{key} is unknown")),
                None => {}
            }
        }
    }
    found
}

fn has_type(kind: &Value, value: &Value) -> bool {
    let is = |name: &str| match name {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "null" => value.is_null(),
        _ => false,
    };
    match kind {
        Value::String(name) => is(name),
        Value::Array(names) => names.iter().filter_map(Value::as_str).any(is),
        _ => true,
    }
}
