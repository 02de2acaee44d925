//! Every call that the demo and the rules' own test records lead to is one that its provider's published model knows.
//!
//! `tests/provider-models/check.py` fetches the models once and checks; where they cannot be had, this says so.

use std::io::Write;
use std::process::{Command, Stdio};

use indicatif::ProgressBar;
use keytrail::pack::{Pack, samples};
use keytrail::pipeline::{Input, Pipeline};
use keytrail_detect::RuleTest;
use keytrail_ingest::Limits;
use keytrail_model::{Action, Undo};

use crate::golden::{root, skipped};

#[test]
fn planned_calls_are_what_the_providers_publish() {
    let lines = calls(&planned());
    // GitHub's logs give hashes where its calls need ids, so most plans there end in a look-up for the owner.
    for provider in ["aws.", "azure.", "gcp."] {
        let planned = lines.iter().any(|line| line.contains(&format!("\"service\":\"{provider}")));
        assert!(planned, "no call to {provider} is planned");
    }
    let Some((code, said)) = check(&lines) else { return };
    match code {
        Some(0) => {}
        Some(2) => skipped(&format!("models of providers cannot be had:\n{}", bad(&said))),
        _ => panic!("calls that the provider's model does not know:\n{}", bad(&said)),
    }
    assert_eq!(said.lines().count(), lines.len(), "one answer a call");
}

/// A check that finds nothing wrong with a wrong call would prove nothing.
#[test]
fn a_misspelt_call_is_refused() {
    let lines = calls(&planned());
    let aws = lines.iter().find(|line| line.contains("\"UpdateAccessKey\"")).expect("a planned UpdateAccessKey");
    let Some((code, said)) = check(&[aws.replace("AccessKeyId", "AccessKeyID")]) else { return };
    if said.starts_with("not checked") {
        skipped(&said);
        return;
    }
    assert_eq!(code, Some(1), "{said}");
}

fn planned() -> Vec<Action> {
    let pack = Pack::demo();
    let mut pipeline = Pipeline::build(&pack, Limits::default()).expect("the pack");
    let mut inputs: Vec<Input> = samples().into_iter().map(|(name, bytes)| Input::Embedded(name, bytes)).collect();
    let mut records = tempfile::Builder::new().suffix(".jsonl").tempfile().expect("a file");
    for rule in pack.rules().expect("rules") {
        for record in rule.tests.iter().flat_map(RuleTest::all_records) {
            writeln!(records, "{record}").expect("a written record");
        }
    }
    inputs.push(Input::File(records.path().to_owned()));
    pipeline.run(&inputs, &ProgressBar::hidden(), &mut |_| {}).expect("a run").actions
}

/// The calls and those that undo them, each once.
fn calls(actions: &[Action]) -> Vec<String> {
    let undo = |action: &Action| match &action.undo {
        Undo::Calls(calls) => calls.clone(),
        Undo::Irreversible(_) => Vec::new(),
    };
    let all = actions.iter().flat_map(|action| action.calls.iter().cloned().chain(undo(action)));
    let mut lines: Vec<String> = all.map(|call| serde_json::to_string(&call).expect("JSON")).collect();
    lines.sort();
    lines.dedup();
    lines
}

/// Exit code and answers; `None`, said aloud, without Python.
fn check(lines: &[String]) -> Option<(Option<i32>, String)> {
    let mut command = Command::new("python3");
    let command = command.arg(root().join("tests/provider-models/check.py")).stdin(Stdio::piped());
    let mut child = match command.stdout(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => {
            skipped(&format!("python3 cannot be started: {error}"));
            return None;
        }
    };
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(format!("{}\n", lines.join("\n")).as_bytes()).expect("all lines");
    drop(stdin);
    let out = child.wait_with_output().expect("an answer");
    Some((out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned()))
}

fn bad(said: &str) -> String {
    said.lines().filter(|line| !line.starts_with("ok ")).collect::<Vec<_>>().join("\n")
}
