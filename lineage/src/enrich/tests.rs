//! Enrichment from raw columns to verdicts, over the inventory and guardrails that ship.

use arrow::array::Array;
use keytrail_model::{Example, Finding, Severity};
use proptest::prelude::*;

use super::testing::{Row, batch};
use super::*;

const ORDERS: &str = "arn:aws:rds:eu-west-1:111122223333:cluster:orders";
const CUSTOMERS: &str = "arn:aws:rds:eu-west-1:111122223333:cluster:customers";
const SESSION: &str = "arn:aws:sts::111122223333:assumed-role/refund-agent/task-1";
const LAPTOP: &str = "arn:aws:iam::111122223333:user/dev-laptop";

fn files(folder: &str, extension: &str) -> Vec<(String, String)> {
    let folder = format!("{}/../rules/{folder}", env!("CARGO_MANIFEST_DIR"));
    let paths = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|end| end == extension)).collect();
    paths.sort();
    paths.iter().map(|path| (path.display().to_string(), std::fs::read_to_string(path).expect("text"))).collect()
}

fn shipped() -> Enricher {
    let inventory = Inventory::load(&files("inventory", "yaml")).unwrap_or_else(|errors| panic!("{errors:#?}"));
    let guardrails = Guardrails::load(&files("guardrails", "cedar")).unwrap_or_else(|errors| panic!("{errors:#?}"));
    Enricher::new(inventory, guardrails)
}

fn row(seconds: i64, id: &str) -> Row {
    Row::new((1_793_700_000 + seconds) * Micros::SECOND, id)
        .with("provider", "aws")
        .with("account", "111122223333")
        .with("outcome", "allowed")
}

fn agent_call(seconds: i64, id: &str, resource: &str) -> Row {
    let row = row(seconds, id).with("actor", SESSION).with("session", SESSION).with("credential", "ASIACHILDEXAMPLE");
    row.with("action", "rds-data:ExecuteStatement")
        .with("credential_lifetime", "ephemeral")
        .list("resources", &[resource])
}

fn enriched(enricher: &mut Enricher, rows: &[Row]) -> EventBatch {
    let events = batch("aws.cloudtrail", rows);
    enricher.observe(&events);
    enricher.enrich(events).expect("a batch")
}

#[test]
fn the_bedrock_agent_that_reaches_for_a_second_cluster() {
    let mut enricher = shipped();
    let prompt = row(-60, "p").with("actor", SESSION).with("prompt_ref", "bedrock:req-1");
    enricher.observe(&batch("aws.bedrock.invocation", &[prompt]));
    let issue = row(-90, "i").with("action", "sts:AssumeRole").with("issued_credential", "ASIACHILDEXAMPLE");
    let issue = issue
        .with("credential", "ASIAPARENTEXAMPLE")
        .with("actor", "arn:aws:sts::111122223333:assumed-role/agent-runner/x");
    let out = enriched(&mut enricher, &[issue, agent_call(0, "a", ORDERS), agent_call(5, "b", CUSTOMERS)]);
    for row in [1, 2] {
        assert_eq!(out.text("agent", row), Some("refund-agent"));
        assert_eq!(out.text("agent_evidence", row), Some("principal"));
        assert_eq!(out.text("owner", row), Some("maya.ito"));
        assert_eq!(out.text("credential_parent", row), Some("ASIAPARENTEXAMPLE"));
        assert_eq!(out.text("prompt_ref", row), Some("bedrock:req-1"));
        assert_eq!(out.flag("in_scope", row), Some(row == 1));
    }
    assert_eq!(out.texts("guardrails", 1), Vec::<String>::new());
    assert_eq!(out.texts("guardrails", 2), ["ai-agents-stay-off-customer-data"]);
    assert_eq!(out.number("credential_age", 1), Some(90.0 / 86_400.0));
}

#[test]
fn the_coding_agent_outside_its_repository() {
    let call = |id, repository: &str, user_agent: &str| {
        let row = row(0, id).with("provider", "github").with("actor", "maya-ito").with("account", "example-org");
        let row =
            row.with("user_agent", user_agent).with("credential_lifetime", "static").with("credential", "1182001");
        row.with("action", "git.clone").list("resources", &[repository])
    };
    let rows = [
        call("a", "example-org/storefront", "claude-code/2.1.202 (cli)"),
        call("b", "example-org/platform-secrets", "claude-code/2.1.202 (cli)"),
        call("c", "example-org/platform-secrets", "Mozilla/5.0"),
    ];
    let out = enriched(&mut shipped(), &rows);
    assert_eq!([0, 1, 2].map(|row| out.flag("in_scope", row)), [Some(true), Some(false), None]);
    assert_eq!(out.texts("guardrails", 0), ["agents-use-no-static-credentials"]);
    assert_eq!(out.text("agent", 2), None);
    assert_eq!([0, 1, 2].map(|row| out.text("owner", row)), [Some("maya.ito"); 3]);
}

#[test]
fn the_mcp_server_with_an_ambient_key() {
    let key = |id: &str| {
        row(0, id)
            .with("actor", LAPTOP)
            .with("credential", "AKIAI44QH8DHBEXAMPLE")
            .with("credential_lifetime", "static")
    };
    let tool = key("t")
        .with("tool", "billing-mcp/call_aws")
        .with("agent_evidence", "mcp")
        .with("user_agent", "claude-code/2.1.202 (cli)");
    let tool = tool.with("action", "aws-mcp:CallReadWriteTool").list("downstream_ids", &["req-9"]);
    let call = key("d")
        .with("user_agent", "aws-mcp.amazonaws.com")
        .with("request_id", "req-9")
        .with("action", "iam:PutRolePolicy");
    let by_hand = key("h").with("user_agent", "aws-cli/2").with("action", "s3:ListBuckets");
    let out = enriched(&mut shipped(), &[call, tool, by_hand]);
    assert_eq!(out.text("tool", 0), Some("billing-mcp/call_aws"));
    assert_eq!(out.text("agent_evidence", 0), Some("mcp"));
    assert_eq!(out.text("agent", 0), Some("billing-mcp"));
    assert_eq!(out.texts("guardrails", 0), ["agents-do-not-administer-identity", "agents-use-no-static-credentials"]);
    assert_eq!(out.text("agent", 2), None);
    assert_eq!(out.texts("guardrails", 2), Vec::<String>::new());
}

#[test]
fn what_looks_like_an_agent_and_is_undeclared_is_held_to_the_same() {
    let call = row(0, "a")
        .with("actor", "someone")
        .with("agent_evidence", "actor_is_agent")
        .with("credential_lifetime", "static");
    let out = enriched(&mut shipped(), &[call]);
    assert_eq!(out.text("agent", 0), None);
    assert_eq!(out.texts("guardrails", 0), ["agents-use-no-static-credentials"]);
    assert_eq!(out.text("owner", 0), Some("security-triage"));
    assert_eq!(out.number("owner_confidence", 0), Some(0.0));
}

#[test]
fn an_observed_static_parent_upgrades_the_lifetime_and_nothing_else_does() {
    let issue = |child: &str, action: &str| {
        row(0, child).with("action", action).with("issued_credential", child).with("credential", "AKIAIOSFODNN7EXAMPLE")
    };
    let used = |credential: &str, note: &str| {
        row(9, "u")
            .with("credential", credential)
            .with("credential_lifetime", "ephemeral")
            .with("credential_note", note)
    };
    let rows = [
        issue("ASIAONEEXAMPLE", "sts:GetSessionToken"),
        issue("ASIATWOEXAMPLE", "sts:AssumeRole"),
        used("ASIAONEEXAMPLE", UNKNOWN_PARENT),
        used("ASIATWOEXAMPLE", UNKNOWN_PARENT),
        used("ASIAONEEXAMPLE", "other"),
        used("ASIAUNSEENEXAMPLE", UNKNOWN_PARENT),
    ];
    let out = enriched(&mut shipped(), &rows);
    let lifetimes = [2, 3, 4, 5].map(|row| out.text("credential_lifetime", row));
    assert_eq!(lifetimes, [Some("derived_from_static"), Some("ephemeral"), Some("ephemeral"), Some("ephemeral")]);
    let notes = [2, 3, 4, 5].map(|row| out.text("credential_note", row));
    assert_eq!(notes, [None, Some(UNKNOWN_PARENT), Some("other"), Some(UNKNOWN_PARENT)]);
}

#[test]
fn columns_stand_in_the_schemas_order_and_raw_paths_stay() {
    let out = enriched(&mut shipped(), &[row(0, "a").with("userIdentity.type", "IAMUser")]);
    let schema = out.batch.schema();
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let known: Vec<_> =
        keytrail_model::schema::FIELDS.iter().map(|field| field.name).filter(|name| names.contains(name)).collect();
    assert_eq!(names[..known.len()], known[..]);
    assert_eq!(names.last(), Some(&"userIdentity.type"));
    assert_eq!(out.text("userIdentity.type", 0), Some("IAMUser"));
    assert!(
        keytrail_model::schema::FIELDS
            .iter()
            .filter(|field| field.filled == keytrail_model::schema::Filled::Enrichment)
            .all(|field| names.contains(&field.name))
    );
    let empty = enriched(&mut shipped(), &[]);
    assert_eq!(empty.rows(), 0);
}

#[test]
fn a_batch_with_nothing_but_a_time_is_enriched() {
    let events = batch("aws.cloudtrail", &[row(0, "a")]);
    let bare = EventBatch { batch: events.batch.project(&[0]).expect("a column"), ..events };
    let out = shipped().enrich(bare).expect("a batch");
    assert_eq!(out.text("owner", 0), Some("security-triage"));
    assert!(out.column("agent").is_some_and(|column| column.is_null(0)));
}

fn finding() -> Finding {
    let example = |resource: &str, outcome: &str| Example {
        time: Micros(1),
        event_id: "e".into(),
        action: "rds-data:ExecuteStatement".into(),
        outcome: outcome.into(),
        actor: Some(SESSION.into()),
        ip: None,
        user_agent: None,
        tool: None,
        resources: vec![resource.into()],
        prompt_ref: None,
        position: "x:1".into(),
        selected: keytrail_model::Selected::default(),
    };
    let examples =
        [(ORDERS, "allowed"), (CUSTOMERS, "denied"), (CUSTOMERS, "denied")].map(|(at, outcome)| example(at, outcome));
    let target = Target {
        credential: Some("ASIACHILDEXAMPLE".into()),
        actor: Some(SESSION.into()),
        agent: Some("refund-agent".into()),
        parent: Some("ASIAPARENTEXAMPLE".into()),
        ..Target::default()
    };
    Finding {
        id: "fnd-1".into(),
        rule: "r".into(),
        title: "t".into(),
        severity: Severity::High,
        source: "aws.cloudtrail".into(),
        tags: vec![],
        summary: String::new(),
        group: vec![],
        period_start: Micros(0),
        first_seen: Micros(0),
        last_seen: Micros(0),
        count: 3,
        outcomes: std::collections::BTreeMap::default(),
        target,
        guardrails: vec!["ai-agents-stay-off-customer-data".into()],
        examples: examples.into(),
        ips: vec![],
        ip_count: 0,
        resources: vec![],
        resource_count: 0,
        ownership: None,
        lineage: vec![],
        playbook: None,
        runbook: None,
        false_positives: vec![],
        references: vec![],
        shadow: false,
    }
}

#[test]
fn lineage_tells_who_owns_uses_issued_reached_and_breaks() {
    let enricher = shipped();
    let mut finding = finding();
    finding.ownership = Some(enricher.ownership(&finding.target));
    let told: Vec<String> = enricher
        .lineage(&finding)
        .iter()
        .map(|hop| format!("{} {} {} {} {} ({})", hop.from_kind, hop.from, hop.edge, hop.to_kind, hop.to, hop.basis))
        .collect();
    assert_eq!(
        told,
        [
            "owner maya.ito owns credential ASIACHILDEXAMPLE (declared)".to_owned(),
            "agent refund-agent uses credential ASIACHILDEXAMPLE (observed)".to_owned(),
            "credential ASIAPARENTEXAMPLE issued credential ASIACHILDEXAMPLE (observed)".to_owned(),
            "credential ASIACHILDEXAMPLE called action rds-data:ExecuteStatement (observed)".to_owned(),
            format!("credential ASIACHILDEXAMPLE reached resource {ORDERS} (observed)"),
            format!("credential ASIACHILDEXAMPLE denied resource {CUSTOMERS} (observed)"),
            "agent refund-agent breaks guardrail ai-agents-stay-off-customer-data (observed)".to_owned(),
        ]
    );
}

#[test]
fn lineage_is_bounded() {
    let mut finding = finding();
    let more: Vec<Example> = (0..50)
        .map(|number| Example {
            tool: Some(format!("t{number}").into()),
            resources: vec![format!("r{number}").into()],
            ..finding.examples[0].clone()
        })
        .collect();
    finding.examples.extend(more);
    finding.guardrails.extend((0..50).map(|number| format!("g{number}")));
    assert!(shipped().lineage(&finding).len() <= 12);
    let nobody = Finding { target: Target::default(), ..finding };
    assert!(shipped().lineage(&nobody).is_empty());
}

prop_compose! {
    fn any_row()(seconds in 0_i64..3, who in 0_usize..4, key in 0_usize..3, resource in 0_usize..3, lifetime in 0_usize..2) -> Row {
        let actor = [SESSION, LAPTOP, "maya-ito", "someone"][who];
        let row = row(seconds * 40_000_000, "e").with("actor", actor).with("user_agent", "claude-code/2");
        let row = row.with("credential", ["AKIAIOSFODNN7EXAMPLE", "AKIAI44QH8DHBEXAMPLE", "ASIACHILDEXAMPLE"][key]);
        let row = row.with("credential_lifetime", ["static", "ephemeral"][lifetime]).with("action", "rds-data:ExecuteStatement");
        row.list("resources", &[[ORDERS, CUSTOMERS, "x"][resource]])
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn memory_never_changes_a_verdict(rows in prop::collection::vec(any_row(), 1..20)) {
        let fresh = shipped();
        let mut warm = fresh.clone();
        let events = batch("aws.cloudtrail", &rows);
        for row in 0..events.rows() {
            prop_assert_eq!(warm.verdict(&events, row), fresh.clone().verdict(&events, row));
        }
    }
}
