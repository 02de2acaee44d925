//! `rule explain --event`: what it tells of an event, and that it never tells another story than evaluation.

use std::sync::Arc;

use keytrail::pack::{Pack, plan};
use keytrail_detect::{Detector, Explainer, SourceFields, reads};
use keytrail_ingest::{Limits, Needed, Normalised, Normaliser, Reader};
use keytrail_model::RawPath;
use serde_json::{Value, json};

use crate::run::{Folder, Ran};

/// Rows of a batch that are explained here: planning each clause anew has its price.
const ROWS: usize = 6;

fn record(user: &str, event: &str, parameters: &Value) -> Value {
    json!({
        "eventVersion": "1.11", "eventTime": "2026-03-02T09:14:02Z", "eventType": "AwsApiCall",
        "userIdentity": {"type": "IAMUser", "principalId": "AIDACKCEVSQ6C2EXAMPLE", "userName": user,
            "arn": format!("arn:aws:iam::111122223333:user/{user}"), "accountId": "111122223333",
            "accessKeyId": "AKIAIOSFODNN7EXAMPLE"},
        "eventSource": "iam.amazonaws.com", "eventName": event, "awsRegion": "us-east-1",
        "sourceIPAddress": "203.0.113.24", "userAgent": "aws-cli/2.27.50", "requestParameters": parameters,
        "responseElements": null, "requestID": "9f5dd96d-f8bd-351a-0749-dfe4fed9cd81",
        "eventID": format!("{user}-{event}"), "readOnly": false, "recipientAccountId": "111122223333",
    })
}

const OURS: &str = "id: user-made
title: User made
severity: medium
source: aws.cloudtrail
description: An identity was made.
summary: '{actor} made a user'
where: >-
  action = 'iam:CreateUser' AND (requestParameters.userName LIKE 'tmp-%' OR responseElements.\"user\".userName = 'x')
  AND NOT (requestParameters.path = '/ci/' OR errorCode = 'AccessDenied')
group_by: [actor]
";

const SIGMA: &str = "title: User or key made
id: made
logsource: {product: aws, service: cloudtrail}
detection:
  selection_source:
    eventSource: iam.amazonaws.com
  selection_event:
    eventName|startswith: [CreateUser, CreateAccessKey]
    src_ip|cidr: 203.0.113.0/24
  filter_main:
    userIdentity.userName: ben
  filter_session:
    userIdentity.sessionContext|exists: true
  condition: all of selection_* and not 1 of filter_*
level: high
";

const STEPS: &str = "id: made-then-used
title: Key made and user made
severity: high
source: aws.cloudtrail
description: Both within an hour.
summary: '{actor} made both'
window: {within: 1h, sequence: [user, key]}
steps:
  user: {where: \"action = 'iam:CreateUser'\"}
  key: {where: \"action = 'iam:CreateAccessKey'\"}
group_by: [session, actor]
";

fn explained(rules: &[(&str, &str)], records: &[Value], more: &[&str]) -> Ran {
    let folder = Folder::new();
    let lines: String = records.iter().map(|record| format!("{record}\n")).collect();
    folder.write("events.jsonl", lines);
    for (name, text) in rules {
        folder.write(&format!("mine/{name}"), text);
    }
    let fixed = ["rule", "explain", "--no-builtin-rules", "--rules", "mine"];
    folder.run(&fixed.iter().chain(more).copied().collect::<Vec<_>>())
}

fn told(rules: &[(&str, &str)], records: &[Value]) -> String {
    explained(rules, records, &["-o", "table", "--event", "events.jsonl"]).ok().stdout
}

#[test]
fn a_rule_in_sql_is_told_clause_by_clause() {
    let made = |name: Value, path: Value| record("ann", "CreateUser", &json!({"userName": name, "path": path}));
    let records = [made(json!("tmp-1"), Value::Null), made(json!("eve"), json!("/ci/"))];
    insta::assert_snapshot!(told(&[("detections/user-made.yaml", OURS)], &records));
}

#[test]
fn a_sigma_rule_is_told_by_condition_selection_and_item() {
    let records = [record("ann", "CreateUser", &Value::Null), record("ben", "ListUsers", &Value::Null)];
    insta::assert_snapshot!(told(&[("detections/made.yml", SIGMA)], &records));
}

#[test]
fn a_step_is_told_with_its_group_and_a_null_key_keeps_out() {
    let grouped = STEPS.replace("[session, actor]", "[actor]").replace("made-then-used", "grouped");
    let rules = [("detections/made-then-used.yaml", STEPS), ("detections/grouped.yaml", grouped.as_str())];
    insta::assert_snapshot!(told(&rules, &[record("ann", "CreateUser", &Value::Null)]));
}

#[test]
fn overlays_and_exceptions_that_keep_an_event_out_are_told() {
    let exception = "id: onboarding\nrule: user-made\nwhere: \"actor_name = 'ann'\"\nowner: maya.ito\n\
                     reason: She takes people on.\nexpires: 2027-03-31\n";
    let overlay = "rule: user-made\nreason: Only our accounts.\nand: \"account = '444455556666'\"\n";
    let rules = [
        ("detections/user-made.yaml", OURS),
        ("exceptions/onboarding.yaml", exception),
        ("overlays/ours.yaml", overlay),
    ];
    insta::assert_snapshot!(told(&rules, &[record("ann", "CreateUser", &json!({"userName": "tmp-1"}))]));
}

#[test]
fn json_holds_the_same_and_tells_absent_from_null() {
    let records = [
        record("ann", "CreateUser", &json!({"userName": "tmp-1", "path": null})),
        record("ben", "ListUsers", &Value::Null),
    ];
    let rules = [("detections/user-made.yaml", OURS), ("detections/made.yml", SIGMA)];
    let ran = explained(&rules, &records, &["-o", "ndjson", "--event", "events.jsonl:1"]).ok();
    let [about] = ran.rows().try_into().expect("one event");
    assert_eq!(about["at"], "events.jsonl:1");
    let rules: Vec<&str> = about["rules"].as_array().unwrap().iter().map(|it| it["rule"].as_str().unwrap()).collect();
    assert_eq!(rules, ["made", "user-made"]);
    let text = ran.stdout;
    for part in [
        r#""name":"requestParameters.path","at":"requestParameters.path","found":"null""#,
        r#""name":"errorCode","at":"errorCode","found":"absent""#,
        r#""name":"src_ip","at":"sourceIPAddress","found":["203.0.113.24"]"#,
        r#""verdict":"matches""#,
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let one =
        explained(&[("detections/made.yml", SIGMA)], &records, &["made", "-o", "json", "--event", "events.jsonl"]);
    let both: Vec<Value> = serde_json::from_str(&one.ok().stdout).unwrap();
    let verdicts: Vec<&Value> = both.iter().map(|about| &about["rules"][0]["verdict"]).collect();
    assert_eq!(verdicts, ["matches", "misses"]);
}

#[test]
fn the_limit_and_what_is_no_event_are_said() {
    let records: Vec<Value> = (0..3).map(|number| record(&format!("u{number}"), "CreateUser", &Value::Null)).collect();
    let rules = [("detections/made.yml", SIGMA)];
    let ran = explained(&rules, &records, &["-o", "ndjson", "--limit", "2", "--event", "events.jsonl"]).ok();
    assert_eq!(ran.rows().len(), 2);
    ran.says(&["not shown: 1 more"]);
    explained(&rules, &records, &["--event", "events.jsonl:9"]).ends(3).says(&["events.jsonl:9 holds no event"]);
    explained(&rules, &records, &["--event", "event.jsonl"]).ends(3).says(&["no such file `event.jsonl`"]);
    explained(&rules, &records, &["mad", "--event", "events.jsonl"])
        .ends(3)
        .says(&["no rule `mad`, did you mean `made`"]);
    let broken = [json!({"eventVersion": "1.11", "eventSource": "iam.amazonaws.com", "eventName": "CreateUser"})];
    explained(&rules, &broken, &["--event", "events.jsonl"]).ends(3).says(&["events.jsonl"]);
}

/// Over every shipped rule: what the clauses add up to is what evaluation finds.
#[test]
fn explanations_agree_with_evaluation() {
    let pack = Pack::demo();
    let (mappings, dialects) = (pack.mappings().unwrap(), pack.vocabulary().unwrap().dialects);
    let rules = pack.rules().unwrap();
    let all = plan(rules.clone(), &mappings, &dialects).unwrap();
    let needed = Needed { columns: None, paths: all.paths().clone() };
    let mut normaliser = Normaliser::new(&mappings, &needed, Limits::default()).unwrap();
    let mut found = Normalised::default();
    for (name, bytes) in keytrail::pack::samples() {
        let chunks = Reader::over(&name, bytes.to_vec(), &Limits::default()).unwrap();
        chunks.flatten().for_each(|chunk| normaliser.normalise(chunk, &mut found));
    }
    let mut enricher = pack.enricher().unwrap();
    found.batches.iter().for_each(|batch| enricher.observe(batch));
    let batches: Vec<_> = found.batches.into_iter().map(|batch| enricher.enrich(batch).unwrap()).collect();
    let explainer = Explainer::default();
    let (mut held, mut missed) = (0, 0);
    for rule in &rules {
        let detector = Detector::over(Arc::new(plan(vec![rule.clone()], &mappings, &dialects).unwrap()));
        for batch in batches.iter().filter(|batch| reads(rule, &batch.source)) {
            let mapping = mappings.iter().find(|mapping| *mapping.source == *batch.source).unwrap();
            let knows = |path: &RawPath| mapping.knows(path);
            let source = SourceFields { name: &batch.source, knows: &knows, dialect: dialects.get(&batch.source) };
            let rows = detector.matches_plainly(batch).rows();
            // Those that match, and some of the others.
            let some = (0..batch.rows()).filter(|row| *row < ROWS || rows.contains(&u32::try_from(*row).unwrap()));
            for row in some.take(2 * ROWS) {
                let explained = explainer.explain(rule, &source, batch, row).unwrap();
                let holds = explained.parts.iter().any(|part| part.clause.holds == Some(true));
                let wanted = rows.contains(&u32::try_from(row).unwrap());
                assert_eq!(holds, wanted, "{} on {}: {explained:#?}", rule.id, batch.position(row));
                let near = explained.parts.iter().map(|part| part.clause.failing()).min();
                assert_eq!(near == Some(0), wanted, "{} on {}", rule.id, batch.position(row));
                held += usize::from(wanted);
                missed += usize::from(!wanted);
            }
        }
    }
    assert!(held > 100 && missed > 1000, "{held} held, {missed} missed");
}
