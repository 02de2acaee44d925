//! Findings as the detector makes them, for the tests of plans, tickets and notifiers. Tests only.

use std::collections::BTreeMap;

use keytrail_model::{
    Evidence, Example, Finding, Hop, Micros, Owner, OwnerKind, Ownership, Severity, Target, stable_id,
};

pub fn at(text: &str) -> Micros {
    Micros::parse(text).expect("a time")
}

pub fn owner(id: &str, name: &str, kind: OwnerKind) -> Owner {
    Owner { id: id.to_owned(), name: name.to_owned(), email: format!("{id}@example.com"), kind }
}

pub fn ben() -> Owner {
    owner("ben.okafor", "Ben Okafor", OwnerKind::Person)
}

pub fn maya() -> Owner {
    owner("maya.ito", "Maya Ito", OwnerKind::Person)
}

pub fn triage() -> Owner {
    owner("security-triage", "Security triage", OwnerKind::Team)
}

pub fn owned_by(owners: &[Owner]) -> Ownership {
    let said = |owner: &Owner| Evidence {
        owner: owner.id.clone(),
        source: "inventory".to_owned(),
        detail: format!("the inventory names {} as owner of arn:aws:iam::111122223333:user/ci-deploy", owner.name),
        event_id: None,
        observed_at: None,
        confidence: 0.85,
    };
    let mut evidence: Vec<Evidence> = owners.iter().map(said).collect();
    if let Some(first) = owners.first() {
        evidence.push(Evidence {
            source: "creator".to_owned(),
            detail: "created the access key".to_owned(),
            event_id: Some("5b1f0c1e-0000-4000-8000-00000000c0de".to_owned()),
            observed_at: Some(at("2024-01-10T08:00:00Z")),
            confidence: 0.7,
            owner: first.id.clone(),
        });
    }
    Ownership { owners: owners.to_vec(), confidence: 0.85, contested: owners.len() > 1, orphan: false, evidence }
}

fn example(time: &str, action: &str, outcome: &str, line: u32) -> Example {
    Example {
        time: at(time),
        event_id: format!("8a6e0b52-0000-4000-8000-{line:012}").into(),
        action: action.into(),
        outcome: outcome.into(),
        actor: None,
        ip: Some("198.51.100.7".into()),
        user_agent: Some("aws-cli/2.15.0 md/awscrt#0.19.19 ua/2.0 os/linux lang/python#3.11.6 m/g".into()),
        tool: None,
        resources: Vec::new(),
        prompt_ref: None,
        position: format!("sample-events/aws.cloudtrail/ci-key.jsonl:{line}"),
        selected: [("credential_age".into(), "1028.4".into())].into_iter().collect(),
    }
}

/// A long-term key of a pipeline, used from an address that it should not come from.
pub fn static_key() -> Finding {
    let target = Target {
        credential: Some("AKIAIOSFODNN7EXAMPLE".to_owned()),
        kind: Some("aws_access_key".to_owned()),
        lifetime: Some("static".to_owned()),
        quality: Some("exact".to_owned()),
        provider: Some("aws".to_owned()),
        account: Some("111122223333".to_owned()),
        actor: Some("arn:aws:iam::111122223333:user/ci-deploy".to_owned()),
        actor_kind: Some("user".to_owned()),
        actor_name: Some("ci-deploy".to_owned()),
        time: at("2026-11-03T10:00:00Z"),
        ..Target::default()
    };
    Finding {
        id: stable_id("fnd", &["aws-static-key-used", "AKIAIOSFODNN7EXAMPLE", "2026-11-03"]),
        rule: "aws-static-key-used".to_owned(),
        title: "Static AWS access key in use".to_owned(),
        severity: Severity::High,
        source: "aws.cloudtrail".to_owned(),
        tags: vec!["attack.t1078.004".to_owned(), "owasp.nhi7".to_owned()],
        summary: "ci-deploy uses the long-term key AKIAIOSFODNN7EXAMPLE from 198.51.100.7".to_owned(),
        group: vec![("credential".to_owned(), "AKIAIOSFODNN7EXAMPLE".to_owned())],
        period_start: at("2026-11-03"),
        first_seen: at("2026-11-03T10:00:00Z"),
        last_seen: at("2026-11-03T11:42:10.500Z"),
        count: 12,
        outcomes: BTreeMap::from([("allowed".to_owned(), 11), ("denied".to_owned(), 1)]),
        target,
        guardrails: Vec::new(),
        examples: vec![
            example("2026-11-03T10:00:00Z", "s3:GetObject", "allowed", 1),
            example("2026-11-03T11:42:10.500Z", "iam:ListUsers", "denied", 12),
        ],
        ips: vec!["198.51.100.7".to_owned(), "203.0.113.40".to_owned()],
        ip_count: 2,
        resources: (1..=7).map(|n| format!("arn:aws:s3:::example-artifacts/build-{n}")).collect(),
        resource_count: 31,
        ownership: Some(owned_by(&[ben()])),
        lineage: Vec::new(),
        playbook: Some("contain-aws-access-key".to_owned()),
        runbook: Some(
            "Ask the owner whether the pipeline still needs the key. If it does, move it to an assumed role by web \
            identity; if not, leave the key Inactive for a week and delete it."
                .to_owned(),
        ),
        false_positives: vec!["a build that has not been moved to a role yet".to_owned()],
        references: vec!["https://docs.aws.amazon.com/IAM/latest/UserGuide/best-practices.html".to_owned()],
        shadow: false,
    }
}

/// An agent's session that reaches for a second database.
pub fn agent_session() -> Finding {
    let actor = "arn:aws:sts::111122223333:assumed-role/refund-agent/task-7";
    let mut finding = static_key();
    finding.rule = "agent-out-of-scope-denied".to_owned();
    finding.id = stable_id("fnd", &[&finding.rule, actor]);
    finding.title = "Agent tried what no task of its covers".to_owned();
    finding.severity = Severity::Critical;
    finding.summary =
        "agent refund-agent tried rds-data:ExecuteStatement on cluster customers-eu and was denied".to_owned();
    finding.count = 1;
    finding.outcomes = BTreeMap::from([("denied".to_owned(), 1)]);
    finding.last_seen = finding.first_seen;
    finding.guardrails = vec!["agents-never-read-customer-data".to_owned()];
    finding.examples.truncate(1);
    finding.examples[0].action = "rds-data:ExecuteStatement".into();
    finding.examples[0].outcome = "denied".into();
    finding.examples[0].tool = Some("query_orders".into());
    finding.examples[0].prompt_ref = Some("bedrock:req-7f3a (input not stored)".into());
    finding.examples[0].selected = [("on_behalf_of".into(), "maya.ito@example.com".into())].into_iter().collect();
    finding.resources = vec!["arn:aws:rds:eu-west-1:111122223333:cluster:customers-eu".to_owned()];
    finding.resource_count = 1;
    finding.ips.truncate(1);
    finding.ip_count = 1;
    finding.ownership = Some(owned_by(&[maya()]));
    finding.playbook = None;
    finding.false_positives.clear();
    finding.references.clear();
    finding.runbook =
        Some("Read the prompt by its reference and decide whether the task has to be declared.".to_owned());
    finding.lineage = lineage();
    finding.target = Target {
        credential: Some("ASIAIOSFODNN7EXAMPLE".to_owned()),
        kind: Some("aws_session_key".to_owned()),
        lifetime: Some("ephemeral".to_owned()),
        actor: Some(actor.to_owned()),
        actor_kind: Some("role".to_owned()),
        actor_name: Some("refund-agent".to_owned()),
        session: Some(actor.to_owned()),
        agent: Some("refund-agent".to_owned()),
        ..finding.target
    };
    finding
}

fn lineage() -> Vec<Hop> {
    let hop = |from: [&str; 2], edge: &str, to: [&str; 2], basis: &str| Hop {
        from_kind: from[0].to_owned(),
        from: from[1].to_owned(),
        edge: edge.to_owned(),
        to_kind: to[0].to_owned(),
        to: to[1].to_owned(),
        basis: basis.to_owned(),
    };
    let (agent, key) = (["agent", "refund-agent"], ["credential", "ASIAIOSFODNN7EXAMPLE"]);
    vec![
        hop(["owner", "maya.ito"], "owns", agent, "declared"),
        hop(agent, "uses", key, "observed"),
        hop(key, "denied", ["resource", "cluster:customers-eu"], "observed"),
    ]
}

/// The root key, which nothing can contain.
pub fn root_key() -> Finding {
    let mut finding = static_key();
    finding.id = stable_id("fnd", &["aws-root-access-key-used"]);
    finding.rule = "aws-root-access-key-used".to_owned();
    finding.title = "Root access key in use".to_owned();
    finding.severity = Severity::Critical;
    finding.summary = "the root user of account 111122223333 uses an access key".to_owned();
    finding.playbook = Some("contain-root-key".to_owned());
    finding.ownership = None;
    finding.target.actor = Some("arn:aws:iam::111122223333:root".to_owned());
    finding.target.actor_kind = Some("root".to_owned());
    finding.target.actor_name = None;
    finding
}
