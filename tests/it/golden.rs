//! What every log source's records become through its mapping alone, held column by column in `tests/golden`.
//! Besides the samples it reads `tests/golden/shapes`: the other envelopes, and records that prove a column.
//!
//! `UPDATE_GOLDEN=1 cargo test -p keytrail --test it golden` writes the files anew; read the diff before committing it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keytrail_ingest::{Limits, Mapping, Needed, Normalised, Normaliser, Reader, expand};
use keytrail_model::EventBatch;
use keytrail_model::schema::{FIELDS, Kind};
use serde_json::{Map, Value, json};

/// Differing columns that a failure shows.
const SHOWN: usize = 20;

#[test]
fn aws_bedrock_invocation() {
    compare("aws.bedrock.invocation");
}

#[test]
fn aws_cloudtrail() {
    compare("aws.cloudtrail");
}

#[test]
fn azure_activity() {
    compare("azure.activity");
}

#[test]
fn azure_storage() {
    compare("azure.storage");
}

#[test]
fn bitbucket_audit() {
    compare("bitbucket.audit");
}

#[test]
fn duo_admin() {
    compare("duo.admin");
}

#[test]
fn entra_audit() {
    compare("entra.audit");
}

#[test]
fn entra_risk() {
    compare("entra.risk");
}

#[test]
fn entra_signin() {
    compare("entra.signin");
}

#[test]
fn gcp_audit() {
    compare("gcp.audit");
}

#[test]
fn github_audit() {
    compare("github.audit");
}

#[test]
fn github_server_audit() {
    compare("github.server_audit");
}

#[test]
fn google_workspace() {
    compare("google.workspace");
}

#[test]
fn kubernetes_audit() {
    compare("kubernetes.audit");
}

#[test]
fn m365_audit() {
    compare("m365.audit");
}

#[test]
fn okta_system() {
    compare("okta.system");
}

#[test]
fn onelogin_events() {
    compare("onelogin.events");
}

/// The named tests above and the mappings are the same list.
#[test]
fn every_mapping_has_a_golden_test() {
    let written = std::fs::read_to_string(root().join("tests/it/golden.rs")).expect("this file");
    for mapping in mappings().iter().filter(|mapping| mapping.ignore.is_none()) {
        let (source, test) = (&mapping.source, mapping.source.replace('.', "_"));
        assert!(written.contains(&format!("fn {test}() {{\n    compare(\"{source}\");")), "add the test `{test}`");
    }
}

/// A column that could be blanked in a mapping without a golden test failing would be a column that nothing proves.
#[test]
fn each_blanked_column_fails_the_golden_test_of_its_source() {
    let mut unproven = Vec::new();
    for mapping in mappings().iter().filter(|mapping| mapping.ignore.is_none()) {
        let golden = golden(&mapping.source);
        let files = inputs(&mapping.source);
        for (name, ..) in &mapping.columns {
            let mut blanked = mapping.as_ref().clone();
            blanked.columns.retain(|(column, ..)| column != name);
            let found = normalise(&[Arc::new(blanked)], &files);
            let text = lines(&mapping.source, &found);
            let proven = match *name {
                "time" => text.is_empty() && found.rejects.len() == golden.lines().count(),
                name => difference(&golden, &text).contains(&format!("`{name}`")),
            };
            if !proven {
                unproven.push(format!("{}: {name}", mapping.source));
            }
        }
    }
    assert!(unproven.is_empty(), "no sample proves these columns; add one to tests/golden/shapes: {unproven:#?}");
}

/// Says that a test had nothing to work on. Past libtest, which keeps what a passing test prints to itself.
pub(crate) fn skipped(why: &str) {
    writeln!(std::io::stderr(), "skipped: {why}").expect("stderr");
}

/// The folder that holds `Cargo.lock`.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// The mappings as they lie in the tree, so that editing one needs no build; `rules` holds them equal to the embedded.
pub(crate) fn mappings() -> Vec<Arc<Mapping>> {
    let files = keytrail::pack::read_files(&root().join("ingest/mappings"), &["yaml"]).expect("mappings");
    let read = |(file, text): &(String, String)| Arc::new(Mapping::read(file, text).expect("a mapping that reads"));
    files.iter().map(read).collect()
}

/// Every sample and every shape of a log source.
fn inputs(source: &str) -> Vec<PathBuf> {
    let folders = [format!("sample-events/{source}"), format!("tests/golden/shapes/{source}.jsonl")];
    let there = folders.iter().map(|path| root().join(path)).filter(|path| path.exists());
    let paths: Vec<String> = there.map(|path| path.display().to_string()).collect();
    expand(&paths).expect("inputs").files
}

/// Files through mappings, and nothing else.
pub(crate) fn normalise(mappings: &[Arc<Mapping>], files: &[PathBuf]) -> Normalised {
    let limits = Limits::default();
    let mut normaliser = Normaliser::new(mappings, &Needed::default(), limits.clone()).expect("mappings that plan");
    let mut found = Normalised::default();
    for file in files {
        for chunk in Reader::open(file, &limits).expect("a readable file") {
            match chunk {
                Ok(chunk) => normaliser.normalise(chunk, &mut found),
                Err(reject) => found.rejects.push(reject),
            }
        }
    }
    found
}

fn compare(source: &str) {
    let found = normalise(&mappings(), &inputs(source));
    let rejects: Vec<String> = found.rejects.iter().map(|it| format!("{}: {}", it.position, it.reason)).collect();
    assert!(rejects.is_empty() && found.unknown.is_empty(), "{rejects:#?} {:#?}", found.unknown);
    let strangers: BTreeSet<&str> = found.batches.iter().map(|batch| batch.source.as_ref()).collect();
    assert_eq!(strangers, BTreeSet::from([source]), "each file under `{source}` holds that source and no other");
    let text = lines(source, &found);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path(source), &text).expect("a golden file");
    }
    let difference = difference(&golden(source), &text);
    assert!(difference.is_empty(), "mapping `{source}` gives other events (UPDATE_GOLDEN=1 accepts):\n{difference}");
}

fn path(source: &str) -> PathBuf {
    root().join(format!("tests/golden/{source}.ndjson"))
}

fn golden(source: &str) -> String {
    std::fs::read_to_string(path(source)).unwrap_or_default()
}

/// One line an event: where it stood, then the columns that say something.
fn lines(source: &str, found: &Normalised) -> String {
    let batches = found.batches.iter().filter(|batch| batch.source.as_ref() == source);
    let events = batches.flat_map(|batch| (0..batch.rows()).map(|row| Value::Object(event(batch, row))));
    events.map(|event| event.to_string() + "\n").collect()
}

fn event(batch: &EventBatch, row: usize) -> Map<String, Value> {
    let position = batch.position(row).to_string();
    let at = position.strip_prefix(&format!("{}/", root().display())).unwrap_or(&position);
    let mut event = Map::new();
    event.insert("at".to_owned(), json!(at));
    let told = FIELDS.iter().filter(|field| !["source", "provider", "raw"].contains(&field.name));
    for field in told {
        let value = match field.kind {
            Kind::Time => json!(batch.time(row)),
            Kind::Text => batch.text(field.name, row).map_or(Value::Null, Value::from),
            Kind::Texts => json!(batch.texts(field.name, row)),
            Kind::Flag => batch.flag(field.name, row).map_or(Value::Null, Value::from),
            Kind::Number => batch.number(field.name, row).map_or(Value::Null, Value::from),
        };
        if !value.is_null() && value != json!([]) {
            event.insert(field.name.to_owned(), value);
        }
    }
    event
}

/// What differs, column by column; empty when nothing does.
fn difference(golden: &str, text: &str) -> String {
    let (golden, now) = (by_position(golden), by_position(text));
    let mut out = Vec::new();
    for at in golden.keys().chain(now.keys()).collect::<BTreeSet<_>>() {
        match (golden.get(at), now.get(at)) {
            (Some(_), None) => out.push(format!("{at}: was an event and is none")),
            (None, Some(_)) => out.push(format!("{at}: is an event and was none")),
            (Some(was), Some(is)) => out.extend(columns(at, was, is)),
            (None, None) => {}
        }
    }
    let more = out.len().saturating_sub(SHOWN);
    out.truncate(SHOWN);
    if more > 0 {
        out.push(format!("and {more} more"));
    }
    out.join("\n")
}

fn columns(at: &str, was: &Value, is: &Value) -> Vec<String> {
    let names = FIELDS.iter().map(|field| field.name).filter(|name| was.get(name) != is.get(name));
    let say = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
    names.map(|name| format!("{at}: `{name}` was {} and is {}", say(was.get(name)), say(is.get(name)))).collect()
}

/// Several events may come out of one place: they are told apart by a number.
fn by_position(text: &str) -> BTreeMap<String, Value> {
    let mut events = BTreeMap::new();
    for line in text.lines() {
        let event: Value = serde_json::from_str(line).expect("a line of JSON");
        let at = event["at"].as_str().unwrap_or_default();
        let free = (1..).map(|number| if number == 1 { at.to_owned() } else { format!("{at} #{number}") });
        let key = free.into_iter().find(|key| !events.contains_key(key)).unwrap_or_default();
        events.insert(key, event);
    }
    events
}
