//! A made-up report for the tests: an agent that reaches too far, a pipeline's old key, a client secret without owner.

use std::collections::BTreeMap;

use keytrail_model::{
    Action, Call, Evidence, Example, Finding, Hop, Micros, Mode, Owner, OwnerKind, Ownership, Position, Refusal,
    Reject, Severity, Target, Undo,
};

use super::{Report, SourceTotals, StaticKey, TicketLine, UnknownSchema};

const KEY: &str = "AKIAIOSFODNN7EXAMPLE";
const SESSION: &str = "ASIAIOSFODNN7EXAMPLE";
const ROLE: &str = "arn:aws:sts::111122223333:assumed-role/refund-agent/i-0abc";
const ORDERS: &str = "arn:aws:rds:eu-west-1:111122223333:cluster:orders";
const CUSTOMERS: &str = "arn:aws:rds:eu-west-1:111122223333:cluster:customers-eu";

fn at(text: &str) -> Micros {
    Micros::parse(text).unwrap_or_default()
}

fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

fn some(value: &str) -> Option<String> {
    Some(value.to_owned())
}

pub(super) fn report() -> Report {
    let source =
        |source: &str, events, rejects, skipped| SourceTotals { source: source.to_owned(), events, rejects, skipped };
    Report {
        title: "Credential misuse, 1 to 5 November".to_owned(),
        generated_for: "sample-events (made up), shadow mode".to_owned(),
        sources: vec![
            source("aws.cloudtrail", 12_404, 2, 31),
            source("azure.signin", 311, 0, 0),
            source("gcp.audit", 822, 0, 0),
            source("github.audit", 97, 1, 0),
        ],
        time_range: Some((at("2026-11-01T00:02:11Z"), at("2026-11-05T23:58:40Z"))),
        findings: vec![pipeline_key(), out_of_scope(), client_secret(), new_key(), inventory_gap()],
        actions: vec![disable(), refused()],
        tickets: vec![TicketLine {
            key: "KT-7c1b90aa".to_owned(),
            to: texts(&["maya.ito@example.com"]),
            sent: some("file:out/tickets/KT-7c1b90aa.eml"),
            findings: texts(&["fnd-5f2d9c1e7a6b4c3d"]),
        }],
        static_keys: static_keys(),
        unknown_schemas: vec![UnknownSchema {
            what: "records with fields `ts`, `msg`, `level`".to_owned(),
            records: 14,
            example: "app/debug.jsonl:1".to_owned(),
        }],
        rejects: vec![Reject {
            position: Position { origin: "cloudtrail/1103.json.gz".into(), line: None, record: Some(212), byte: 0 },
            reason: "no `eventTime`: a record without a time cannot be placed".to_owned(),
            record: "{}".to_owned(),
        }],
    }
}

fn static_keys() -> Vec<StaticKey> {
    let key = |credential: &str, kind: &str, actor: &str, owner: Option<&str>, events| StaticKey {
        credential: credential.to_owned(),
        kind: some(kind),
        account: some("111122223333"),
        actor: some(actor),
        owner: owner.map(str::to_owned),
        first_seen: at("2026-11-01T02:00:00Z"),
        last_seen: at("2026-11-05T22:41:09Z"),
        events,
        ips: texts(&["198.51.100.7", "203.0.113.44"]),
        ip_count: 5,
    };
    vec![
        key(KEY, "aws_access_key", "arn:aws:iam::111122223333:user/ci-deploy", Some("Ben Okafor"), 2_182),
        key("b1946ac9-2f4e-4c0d-8a7e-000000000000", "azure_client_secret", "billing-export", None, 14),
    ]
}

pub(super) fn finding(id: &str, title: &str, severity: Severity, first: &str, target: Target) -> Finding {
    Finding {
        id: id.to_owned(),
        rule: "aws-static-key-used".to_owned(),
        title: title.to_owned(),
        severity,
        source: "aws.cloudtrail".to_owned(),
        tags: texts(&["owasp.nhi7", "attack.t1078.004"]),
        summary: title.to_owned(),
        group: Vec::new(),
        period_start: at("2026-11-03"),
        first_seen: at(first),
        last_seen: Micros(at(first).0 + 760 * Micros::SECOND),
        count: 1,
        outcomes: BTreeMap::from([("allowed".to_owned(), 1)]),
        target,
        guardrails: Vec::new(),
        examples: Vec::new(),
        ips: texts(&["198.51.100.7"]),
        ip_count: 1,
        resources: Vec::new(),
        resource_count: 0,
        ownership: None,
        lineage: Vec::new(),
        playbook: None,
        runbook: None,
        false_positives: Vec::new(),
        references: Vec::new(),
        shadow: false,
    }
}

fn owned(id: &str, name: &str, confidence: f64, evidence: &[(&str, &str, f64)]) -> Option<Ownership> {
    let owner =
        Owner { id: id.to_owned(), name: name.to_owned(), email: format!("{id}@example.com"), kind: OwnerKind::Person };
    let evidence = evidence.iter().map(|(source, detail, confidence)| Evidence {
        owner: id.to_owned(),
        source: (*source).to_owned(),
        detail: (*detail).to_owned(),
        event_id: None,
        observed_at: Some(at("2026-06-01T09:30:00Z")),
        confidence: *confidence,
    });
    let orphan = confidence == 0.0;
    Some(Ownership { owners: vec![owner], confidence, contested: false, orphan, evidence: evidence.collect() })
}

fn hop(from: (&str, &str), edge: &str, to: (&str, &str), basis: &str) -> Hop {
    let [(from_kind, from), (to_kind, to)] = [from, to].map(|(kind, name)| (kind.to_owned(), name.to_owned()));
    Hop { from_kind, from, edge: edge.to_owned(), to_kind, to, basis: basis.to_owned() }
}

fn example(time: &str, action: &str, outcome: &str, resource: &str) -> Example {
    Example {
        time: at(time),
        event_id: "8a1d5c0e-0000-4000-8000-000000000001".into(),
        action: action.into(),
        outcome: outcome.into(),
        actor: Some(ROLE.into()),
        ip: Some("198.51.100.7".into()),
        user_agent: Some("Boto3/1.40 md/Botocore#1.40 claude-agent/1.2".into()),
        tool: Some("mcp:orders-db/run_sql".into()),
        resources: vec![resource.into()],
        prompt_ref: Some("bedrock:req-7d1f".into()),
        position: "sample-events/aws.cloudtrail/refund-agent.jsonl:17".into(),
        selected: [("region".into(), "eu-west-1".into())].into_iter().collect(),
    }
}

fn out_of_scope() -> Finding {
    let target = Target {
        credential: some(SESSION),
        kind: some("aws_session_key"),
        lifetime: some("ephemeral"),
        quality: some("exact"),
        provider: some("aws"),
        account: some("111122223333"),
        actor: some(ROLE),
        actor_kind: some("role"),
        agent: some("refund-agent"),
        ..Target::default()
    };
    let (owner, agent) = (("owner", "maya.ito"), ("agent", "refund-agent"));
    let (role, session) = (("principal", ROLE), ("credential", SESSION));
    let customers = ("resource", CUSTOMERS);
    Finding {
        rule: "agent-out-of-scope".to_owned(),
        summary: "refund-agent called rds-data:ExecuteStatement on customers-eu, which no declared task covers"
            .to_owned(),
        count: 4,
        outcomes: BTreeMap::from([("allowed".to_owned(), 1), ("denied".to_owned(), 3)]),
        guardrails: texts(&["customer-data-only-for-support"]),
        examples: vec![
            example("2026-11-03T10:12:04Z", "rds-data:ExecuteStatement", "denied", CUSTOMERS),
            example("2026-11-03T10:12:31Z", "rds-data:ExecuteStatement", "allowed", CUSTOMERS),
        ],
        resources: texts(&[CUSTOMERS]),
        resource_count: 1,
        ownership: owned(
            "maya.ito",
            "Maya Ito",
            0.95,
            &[
                ("inventory", "agent `refund-agent` is maya.ito's in rules/inventory/agents.yaml", 0.95),
                ("creator", "role `refund-agent` was made by maya.ito (iam:CreateRole)", 0.6),
            ],
        ),
        lineage: vec![
            hop(owner, "owns", agent, "declared"),
            hop(agent, "uses", role, "declared"),
            hop(role, "issued", session, "observed"),
            hop(session, "called", ("tool", "mcp:orders-db/run_sql"), "observed"),
            hop(session, "reached", ("resource", ORDERS), "observed"),
            hop(session, "denied", customers, "observed"),
            hop(session, "reached", customers, "observed"),
            hop(customers, "breaks", ("guardrail", "customer-data-only-for-support"), "allowed"),
        ],
        playbook: some("contain-agent-session"),
        runbook: some("Ask the owner which task needed it. If none did, end the session and narrow the role's policy."),
        false_positives: texts(&["a task that was agreed but not yet declared in the inventory"]),
        references: texts(&["https://genai.owasp.org/llmrisk/llm062025-excessive-agency/", "internal wiki: agents"]),
        shadow: false,
        ..finding(
            "fnd-5f2d9c1e7a6b4c3d",
            "AI agent reached outside its declared task",
            Severity::Critical,
            "2026-11-03T10:12:04Z",
            target,
        )
    }
}

fn pipeline_key() -> Finding {
    let actor = "arn:aws:iam::111122223333:user/ci-deploy";
    let target = Target {
        credential: some(KEY),
        kind: some("aws_access_key"),
        lifetime: some("static"),
        provider: some("aws"),
        account: some("111122223333"),
        actor: some(actor),
        actor_kind: some("user"),
        actor_name: some("ci-deploy"),
        ..Target::default()
    };
    let (owner, user, key) = (("owner", "ben.okafor"), ("principal", actor), ("credential", KEY));
    Finding {
        summary: "ci-deploy uses the long-term key AKIAIOSFODNN7EXAMPLE from 198.51.100.7".to_owned(),
        count: 2_182,
        outcomes: BTreeMap::from([("allowed".to_owned(), 2_101), ("denied".to_owned(), 81)]),
        ip_count: 5,
        examples: vec![example(
            "2026-11-02T02:00:00Z",
            "s3:PutObject",
            "allowed",
            "arn:aws:s3:::example-artefacts/web.zip",
        )],
        ownership: owned(
            "ben.okafor",
            "Ben Okafor",
            0.8,
            &[("tag", "user `ci-deploy` is tagged owner=ben.okafor", 0.8)],
        ),
        lineage: vec![
            hop(owner, "owns", user, "declared"),
            hop(user, "uses", key, "observed"),
            hop(key, "reached", ("resource", "arn:aws:s3:::example-artefacts"), "observed"),
        ],
        runbook: some("Move the pipeline to OIDC federation, then set the key to Inactive."),
        ..finding(
            "fnd-a91c03e2f4d58b67",
            "Static AWS access key in use",
            Severity::High,
            "2026-11-02T02:00:00Z",
            target,
        )
    }
}

fn client_secret() -> Finding {
    let target = Target {
        credential: some("b1946ac9-2f4e-4c0d-8a7e-000000000000"),
        kind: some("azure_client_secret"),
        lifetime: some("static"),
        provider: some("azure"),
        actor: some("billing-export"),
        actor_kind: some("service_principal"),
        ..Target::default()
    };
    Finding {
        rule: "azure-client-secret-used".to_owned(),
        source: "azure.signin".to_owned(),
        count: 14,
        ownership: owned("security-triage", "Security triage", 0.0, &[("fallback", "no evidence names an owner", 0.0)]),
        ..finding(
            "fnd-17be55d0c9a84e20",
            "Client secret signs in without a known owner",
            Severity::Medium,
            "2026-11-04T14:20:00Z",
            target,
        )
    }
}

fn new_key() -> Finding {
    let target =
        Target { credential: some(KEY), actor: some("arn:aws:iam::111122223333:user/ci-deploy"), ..Target::default() };
    Finding {
        ownership: owned("ben.okafor", "Ben Okafor", 0.8, &[]),
        ..finding(
            "fnd-c0ffee1122334455",
            "Access key made for another user",
            Severity::High,
            "2026-11-02T03:11:00Z",
            target,
        )
    }
}

fn inventory_gap() -> Finding {
    let target = Target { actor: some("octo-example[bot]"), ..Target::default() };
    finding("fnd-0d15ea5e00000001", "Deploy key with write access used", Severity::Low, "2026-11-05T08:45:00Z", target)
}

fn call(operation: &str, status: &str) -> Call {
    let parameters = [("UserName", "ci-deploy"), ("AccessKeyId", KEY), ("Status", status)];
    Call {
        service: "aws.iam".to_owned(),
        operation: operation.to_owned(),
        http: None,
        parameters: parameters.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect(),
        permission: format!("iam:{operation}"),
    }
}

fn disable() -> Action {
    Action {
        id: "act-1".to_owned(),
        finding: "fnd-a91c03e2f4d58b67".to_owned(),
        playbook: "contain-aws-access-key".to_owned(),
        remediator: "aws.disable_access_key".to_owned(),
        mode: Mode::Shadow,
        target: KEY.to_owned(),
        summary: "set access key AKIAIOSFODNN7EXAMPLE of user ci-deploy to Inactive".to_owned(),
        calls: vec![call("UpdateAccessKey", "Inactive")],
        undo: Undo::Calls(vec![call("UpdateAccessKey", "Active")]),
        limits: texts(&["sessions that the key has already issued live until they end, at most 36 hours"]),
        refused: None,
    }
}

fn refused() -> Action {
    let refused = Refusal { code: "needs_look_up".to_owned(), reason: "the log names no role id".to_owned() };
    Action {
        id: "act-2".to_owned(),
        finding: "fnd-5f2d9c1e7a6b4c3d".to_owned(),
        remediator: "aws.revoke_sessions".to_owned(),
        target: ROLE.to_owned(),
        summary: "deny every session of role refund-agent issued before 2026-11-03T10:12:31Z".to_owned(),
        calls: Vec::new(),
        undo: Undo::Irreversible("the agent signs in again".to_owned()),
        refused: Some(refused),
        ..disable()
    }
}
