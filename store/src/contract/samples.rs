//! Made-up findings, actions and rejects for the suite.

use std::collections::BTreeMap;

use keytrail_model::{
    Action, Entry, EntryBody, Finding, Micros, Mode, Owner, OwnerKind, Ownership, Position, Reject, Severity, Target,
    Undo,
};

use crate::entry;

pub const KEY: &str = "AKIAIOSFODNN7EXAMPLE";

pub fn finding(id: &str, severity: Severity, first_seen: i64) -> Finding {
    Finding {
        id: id.to_owned(),
        rule: "aws-static-key-used".to_owned(),
        title: "Static AWS access key in use".to_owned(),
        severity,
        source: "aws.cloudtrail".to_owned(),
        tags: vec!["owasp.nhi7".to_owned()],
        summary: "ci-deploy uses the long-term key".to_owned(),
        group: vec![("credential".to_owned(), KEY.to_owned())],
        period_start: Micros(0),
        first_seen: Micros(first_seen),
        last_seen: Micros(first_seen + 7),
        count: 3,
        outcomes: BTreeMap::from([("allowed".to_owned(), 3)]),
        target: Target { credential: Some(KEY.to_owned()), provider: Some("aws".to_owned()), ..Target::default() },
        guardrails: Vec::new(),
        examples: Vec::new(),
        ips: vec!["192.0.2.1".to_owned()],
        ip_count: 1,
        resources: Vec::new(),
        resource_count: 0,
        ownership: Some(ownership(&["ben.okafor"])),
        lineage: Vec::new(),
        playbook: None,
        runbook: None,
        false_positives: Vec::new(),
        references: Vec::new(),
        shadow: false,
    }
}

pub fn ownership(ids: &[&str]) -> Ownership {
    let owner = |id: &&str| Owner {
        id: (*id).to_owned(),
        name: (*id).to_owned(),
        email: format!("{id}@example.com"),
        kind: OwnerKind::Person,
    };
    let owners = ids.iter().map(owner).collect();
    Ownership { owners, confidence: 0.85, contested: ids.len() > 1, orphan: false, evidence: Vec::new() }
}

pub fn found(finding: Finding) -> Entry {
    entry(finding.first_seen, EntryBody::Finding(Box::new(finding))).expect("an entry")
}

pub fn planned(id: &str, finding: &str) -> Entry {
    let action = Action {
        id: id.to_owned(),
        finding: finding.to_owned(),
        playbook: "contain-aws-access-key".to_owned(),
        remediator: "aws.disable_access_key".to_owned(),
        mode: Mode::Shadow,
        target: KEY.to_owned(),
        summary: "set the access key to Inactive".to_owned(),
        calls: Vec::new(),
        undo: Undo::Irreversible("make a new key".to_owned()),
        limits: Vec::new(),
        refused: None,
    };
    entry(Micros(5), EntryBody::Planned(Box::new(action))).expect("an entry")
}

pub fn rejected(line: u64) -> Entry {
    let position = Position { origin: "a.jsonl".into(), line: Some(line), record: None, byte: 0 };
    let reject = Reject { position, reason: "half a line".to_owned(), record: "{\"a".to_owned() };
    entry(Micros(0), EntryBody::Rejected(reject)).expect("an entry")
}
