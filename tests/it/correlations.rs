//! Windows by their findings: one file of Sigma correlations for each type, with its cases beside it in `tests/sigma`,
//! and one question over public logs, asked in Sigma's words and in ours.

use std::collections::BTreeSet;
use std::path::PathBuf;

use indicatif::ProgressBar;
use keytrail::pack::Pack;
use keytrail::pipeline::{Input, Pipeline};
use keytrail_ingest::Limits;
use keytrail_model::Finding;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::golden::root;
use crate::reference::data;
use crate::run::Folder;

/// Every type of the specification has a file of its own.
const TYPES: [&str; 8] = [
    "event_count",
    "value_count",
    "temporal",
    "temporal_ordered",
    "value_sum",
    "value_avg",
    "value_percentile",
    "value_median",
];

#[derive(Deserialize)]
struct Case {
    name: String,
    findings: usize,
    records: Vec<Value>,
}

#[test]
fn each_type_of_correlation_finds_what_its_cases_say() {
    let folder = root().join("tests/sigma");
    let files = keytrail::pack::read_files(&folder, &["yml"]).expect("the correlations");
    let missing = |kind: &str| files.iter().all(|(file, _)| !file.ends_with(&format!("correlation_{kind}.yml")));
    assert_eq!(TYPES.iter().filter(|kind| missing(kind)).count(), 0, "a type has no file in tests/sigma");
    let mut failed = Vec::new();
    let mut count = 0;
    for (file, text) in &files {
        let beside = file.replace(".yml", ".json");
        let cases = std::fs::read_to_string(&beside).expect("cases beside the rules");
        let cases: Vec<Case> = serde_json::from_str(&cases).expect("cases");
        let some = |wanted: bool| cases.iter().any(|case| (case.findings > 0) == wanted);
        assert!(some(true) && some(false), "{beside}: a case that finds something, and one that finds nothing");
        for case in &cases {
            let found = findings(text, &lines(&case.records));
            count += 1;
            if found.len() != case.findings {
                let found: Vec<&str> = found.iter().map(|finding| finding.title.as_str()).collect();
                failed.push(format!("{beside}: {}: {} wanted, found {found:?}", case.name, case.findings));
            }
        }
    }
    assert!(failed.is_empty(), "{count} cases: {failed:#?}");
}

const DENIED: &str = "title: Denied call
name: denied
logsource: {product: aws, service: cloudtrail}
detection:
  selection: {errorCode: [AccessDenied, Client.UnauthorizedOperation]}
  condition: selection
---
title: Ten denied calls within ten minutes
id: denied-often
correlation:
  type: event_count
  rules: [denied]
  group-by: [sourceIPAddress, userIdentity.accessKeyId]
  timespan: 10m
  condition: {gte: 10}
";

const DENIED_OURS: &str = "id: denied-often
title: Ten denied calls within ten minutes
severity: high
source: aws.cloudtrail
description: A key is tried at many things that it may not do.
summary: '{credential} was denied ten times from {ip}'
where: outcome = 'denied'
window: {within: 10m, count: {gte: 10}}
group_by: [ip, credential]
";

#[test]
fn ten_denied_calls_in_ten_minutes_are_three_groups_in_either_language() {
    let Some(file) = data().map(|data| data.join("invictus/aws_cloudtrail.jsonl")) else { return };
    let theirs = groups(&scan(DENIED, "denied.yml", file.clone()));
    let ours = groups(&scan(DENIED_OURS, "denied-often.yaml", file));
    assert_eq!((theirs.len(), ours.len()), (3, 3), "{theirs:?} {ours:?}");
    assert_eq!(theirs, ours);
    assert!(ours.iter().flatten().all(|value| !value.is_empty() && value != "(none)"), "{ours:?}");
}

#[test]
fn a_null_key_forms_no_group() {
    let without = |key: &str| -> Vec<Value> {
        let strip = |mut record: Value| {
            match key {
                "sourceIPAddress" => record.as_object_mut().and_then(|record| record.remove(key)),
                key => record["userIdentity"].as_object_mut().and_then(|user| user.remove(key)),
            };
            record
        };
        (0..12).map(|second| strip(denied(second))).collect()
    };
    for (key, wanted) in [("none of it", 1), ("accessKeyId", 0), ("sourceIPAddress", 0)] {
        for (rules, name) in [(DENIED, "denied.yml"), (DENIED_OURS, "denied-often.yaml")] {
            let folder = Folder::new();
            folder.write("events.jsonl", lines(&without(key)));
            let found = scan(rules, name, folder.path("events.jsonl"));
            assert_eq!(found.len(), wanted, "without {key}, {name}");
        }
    }
}

fn denied(second: u32) -> Value {
    json!({
        "eventVersion": "1.11", "eventTime": format!("2026-03-02T09:00:{second:02}Z"), "eventType": "AwsApiCall",
        "userIdentity": {"type": "IAMUser", "principalId": "AIDACKCEVSQ6C2EXAMPLE", "userName": "ann",
            "arn": "arn:aws:iam::111122223333:user/ann", "accountId": "111122223333",
            "accessKeyId": "AKIAIOSFODNN7EXAMPLE"},
        "eventSource": "s3.amazonaws.com", "eventName": "ListBuckets", "awsRegion": "eu-west-1",
        "sourceIPAddress": "203.0.113.24", "userAgent": "aws-cli/2.27.50", "errorCode": "AccessDenied",
        "errorMessage": "Access Denied", "eventID": format!("denied-{second}"), "recipientAccountId": "111122223333",
    })
}

fn lines(records: &[Value]) -> String {
    records.iter().map(|record| format!("{record}\n")).collect()
}

/// The values of each group, however each language calls its keys.
fn groups(findings: &[Finding]) -> BTreeSet<Vec<String>> {
    findings.iter().map(|finding| finding.group.iter().map(|(_, value)| value.clone()).collect()).collect()
}

fn findings(rules: &str, records: &str) -> Vec<Finding> {
    let folder = Folder::new();
    folder.write("events.jsonl", records);
    scan(rules, "rules.yml", folder.path("events.jsonl"))
}

/// What these rules alone find.
fn scan(rules: &str, name: &str, file: PathBuf) -> Vec<Finding> {
    let mut pack = Pack::embedded();
    pack.detections = vec![(name.to_owned(), rules.to_owned())];
    pack.exceptions.clear();
    pack.overlays.clear();
    let mut pipeline = Pipeline::build(&pack, Limits::default()).expect("rules that load");
    let outcome = pipeline.run(&[Input::File(file)], &ProgressBar::hidden(), &mut |_| {}).expect("a scan");
    assert_eq!((outcome.reject_count, outcome.unknown.len()), (0, 0), "{:?}", outcome.rejects);
    outcome.findings
}
