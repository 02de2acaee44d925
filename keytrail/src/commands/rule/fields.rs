//! `keytrail rule fields` and `keytrail rule functions`: what a condition may name.

use anyhow::{Result, anyhow};
use keytrail_detect::Dialect;
use keytrail_ingest::Mapping;
use keytrail_model::schema::{self, Field, Kind};
use keytrail_model::{RawPath, Want, did_you_mean};
use serde_json::json;

use super::pack;
use crate::cli::{Global, RuleSet};
use crate::output::{self, Rows};

pub fn run(global: &Global, source: Option<&str>, set: &RuleSet) -> Result<()> {
    let Some(source) = source else { return output::print(&columns(), global) };
    let pack = pack(global, set)?;
    let mappings = pack.mappings()?;
    let mapping = mappings.iter().find(|mapping| mapping.source == source).ok_or_else(|| {
        let hint = did_you_mean(source, mappings.iter().map(|mapping| mapping.source.as_str()));
        let known: Vec<&str> = mappings.iter().map(|mapping| mapping.source.as_str()).collect();
        anyhow!("no mapping for log source `{source}`{hint} (known: {})", known.join(", "))
    })?;
    output::print(&fields_of(mapping, pack.vocabulary()?.dialects.get(source)), global)
}

fn columns() -> Rows {
    let mut rows = Rows::new(&["column", "type", "filled_by", "ocsf", "meaning", "example"]);
    for field in schema::FIELDS {
        let filled = format!("{:?}", field.filled).to_lowercase();
        rows.push([
            json!(field.name),
            json!(field.kind.name()),
            json!(filled),
            json!(field.ocsf),
            json!(field.doc),
            json!(example(field)),
        ]);
    }
    rows
}

fn fields_of(mapping: &Mapping, dialect: Option<&Dialect>) -> Rows {
    let mut rows = Rows::new(&["name", "kind", "from", "example"]);
    for (name, expression, _) in &mapping.columns {
        let example = schema::find(name).map(example);
        rows.push([json!(name), json!("event column"), json!(expression.text), json!(example)]);
    }
    for path in mapping.paths().iter().chain(&mapping.fields) {
        rows.push([json!(path.to_string()), json!("raw path"), json!("the record"), json!(example_path(path))]);
    }
    for (name, targets) in dialect.into_iter().flat_map(Dialect::fields) {
        let from = targets.iter().map(|target| target.split_whitespace().collect::<Vec<_>>().join(" "));
        let from = from.collect::<Vec<_>>().join("; ");
        rows.push([json!(name), json!("dialect name"), json!(from), json!(format!("sigma: {name}: '…'"))]);
    }
    rows
}

/// A condition over the column as an author would write it.
fn example(field: &Field) -> String {
    let name = field.name;
    let value = match name {
        "action" => "iam:CreateAccessKey",
        "actor_kind" => "root",
        "credential_lifetime" | "issued_lifetime" => "static",
        "outcome" => "denied",
        "provider" => "aws",
        "region" => "eu-west-1",
        "service" => "iam",
        "ip" => "192.0.2.41",
        _ => "…",
    };
    match field.kind {
        Kind::Time => format!("{name} >= TIMESTAMP '2026-11-01T00:00:00Z'"),
        Kind::Text if value == "…" => format!("{name} LIKE '%…%'"),
        Kind::Text => format!("{name} = '{value}'"),
        Kind::Texts => format!("array_has({name}, '…')"),
        Kind::Flag => format!("{name} = false"),
        Kind::Number if name == "owner_confidence" => format!("{name} < 0.5"),
        Kind::Number => format!("{name} > 90"),
    }
}

fn example_path(path: &RawPath) -> String {
    let text = path.to_string();
    if text.ends_with("**") {
        return format!("{} IS NOT NULL", text.trim_end_matches("**").to_owned() + "…");
    }
    match path.want {
        Want::Text => format!("{text} = '…'"),
        Want::Present => format!("\"{text}\""),
        Want::List | Want::Any => format!("array_has(\"{text}\", '…')"),
    }
}

pub fn functions(global: &Global) -> Result<()> {
    let mut rows = Rows::new(&["name", "arguments", "returns", "meaning"]);
    for function in keytrail_sql::functions::catalogue() {
        rows.push([json!(function.name), json!(function.args), json!(function.returns.name()), json!(function.doc)]);
    }
    output::print(&rows, global)
}
