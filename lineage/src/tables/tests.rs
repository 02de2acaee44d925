//! What the tables hold, and from when on: nothing that became known later.

use keytrail_model::tables::{Asked, Cell, Row, find};
use keytrail_model::{Micros, Owner, OwnerKind};

use crate::enrich::testing::{Row as Event, batch};
use crate::{Enricher, Guardrails, Inventory};

const INVENTORY: &str = "fallback_owner: sec\n\
    owners:\n- {id: sec, email: sec@example.com, kind: team}\n- {id: maya, name: Maya, email: maya@example.com}\n\
    - {id: ben, email: ben@example.com}\n\
    agents:\n- {id: refund-agent, owner: ben, credentials: [AKIAAGENTEXAMPLE]}\n\
    credentials:\n- {id: AKIAKNOWNEXAMPLE, owner: maya, created: 2026-01-01}\n";

fn enricher() -> Enricher {
    let (id, email) = ("sec".to_owned(), "sec@example.com".to_owned());
    let fallback = Owner { name: id.clone(), id, email, kind: OwnerKind::Team };
    let inventory = Inventory::load_fragment(&[("i.yaml".to_owned(), INVENTORY.to_owned())], fallback);
    let mut enricher = Enricher::new(inventory.expect("an inventory"), Guardrails::load(&[]).expect("no guardrails"));
    enricher.learn_uses();
    enricher
}

/// The named columns of the rows that hold a text in a column, times in microseconds.
fn told(enricher: &Enricher, table: &str, (column, text): (&str, &str), shown: &[&str]) -> Vec<Vec<String>> {
    let table = find(table).expect("a table");
    let at = |name: &str| table.column(name).expect(name).0;
    let word = |row: &Row, name: &str| match &row[at(name)] {
        None => "-".to_owned(),
        Some(Cell::Text(text)) => text.to_string(),
        Some(Cell::Number(number)) => number.to_string(),
        Some(Cell::Time(Micros(time))) => time.to_string(),
    };
    let mut rows = Vec::new();
    enricher.rows(table, &Asked::All, &mut |row| rows.push(row));
    let rows = rows.iter().filter(|row| word(row, column) == text);
    rows.map(|row| shown.iter().map(|name| word(row, name)).collect()).collect()
}

fn issue(at: i64, child: &str) -> Event {
    let event = Event::new(at, "issue").with("outcome", "allowed").with("action", "iam:CreateAccessKey");
    event.with("issued_credential", child).with("actor", "maya@example.com").with("issued_kind", "aws_access_key")
}

fn used(at: i64, credential: &str) -> Event {
    Event::new(at, "use").with("outcome", "denied").with("credential", credential).with("actor", "ci")
}

#[test]
fn a_credential_gets_a_row_whenever_more_is_known() {
    let mut enricher = enricher();
    let events = [used(30, "AKIANEWEXAMPLE"), used(20, "AKIANEWEXAMPLE"), issue(10, "AKIANEWEXAMPLE")];
    enricher.observe(&batch("aws.cloudtrail", &events));
    let shown = ["created", "created_by", "first_seen", "since"];
    let rows = told(&enricher, "credentials", ("credential", "AKIANEWEXAMPLE"), &shown);
    assert_eq!(rows, [["10", "maya@example.com", "-", "10"], ["10", "maya@example.com", "20", "20"]]);
    let rows = told(&enricher, "credentials", ("credential", "AKIAKNOWNEXAMPLE"), &["owner", "since"]);
    assert_eq!(rows, [["maya", "-"]]);
}

#[test]
fn an_owner_is_known_from_the_event_that_shows_it() {
    let mut enricher = enricher();
    enricher.observe(&batch("aws.cloudtrail", &[issue(10, "AKIANEWEXAMPLE")]));
    let shown = ["owner", "basis", "since"];
    let of = |id: &str| told(&enricher, "owners", ("subject", id), &shown);
    assert_eq!(of("AKIANEWEXAMPLE"), [["maya", "creator", "10"]]);
    assert_eq!(of("AKIAKNOWNEXAMPLE"), [["maya", "inventory", "-"]]);
    assert_eq!(of("refund-agent"), [["ben", "inventory", "-"]]);
}

#[test]
fn edges_are_declared_or_observed() {
    let mut enricher = enricher();
    let events = [used(30, "AKIAAGENTEXAMPLE").with("tool", "mcp/run"), issue(10, "AKIANEWEXAMPLE")];
    enricher.observe(&batch("aws.cloudtrail", &events));
    let shown = ["from_kind", "edge", "to_id", "basis", "since"];
    let to = |id: &str| told(&enricher, "edges", ("to_id", id), &shown);
    let key = "AKIAAGENTEXAMPLE";
    let agent = [["agent", "uses", key, "declared", "-"], ["agent", "uses", key, "observed", "30"]];
    assert_eq!(to(key), [agent.to_vec(), vec![["principal", "uses", key, "observed", "30"]]].concat());
    assert_eq!(to("AKIANEWEXAMPLE"), [["principal", "issued", "AKIANEWEXAMPLE", "observed", "10"]]);
    assert_eq!(to("mcp/run"), [["credential", "called", "mcp/run", "observed", "30"]]);
}

#[test]
fn uses_are_learnt_only_where_somebody_asks() {
    let mut silent = Enricher::new(enricher().inventory().clone(), Guardrails::load(&[]).expect("no guardrails"));
    silent.observe(&batch("aws.cloudtrail", &[used(30, "AKIANEWEXAMPLE")]));
    assert!(told(&silent, "credentials", ("credential", "AKIANEWEXAMPLE"), &["since"]).is_empty());
}

#[test]
fn rows_that_are_asked_for_are_those_of_the_whole_table() {
    let mut enricher = enricher();
    let ids =
        ["AKIAAGENTEXAMPLE", "AKIAKNOWNEXAMPLE", "AKIANEWEXAMPLE", "AKIAOTHEREXAMPLE", "refund-agent", "ci", "none"];
    let events = [
        used(30, ids[0]).with("tool", "mcp/run"),
        issue(10, ids[2]),
        issue(12, ids[3]).with("credential", ids[2]),
        used(20, ids[2]),
        Event::new(5, "make")
            .with("outcome", "allowed")
            .with("action", "iam:CreateUser")
            .with("actor", "maya@example.com"),
    ];
    enricher.observe(&batch("aws.cloudtrail", &events));
    for table in keytrail_model::tables::TABLES {
        let rows = |asked: &Asked| {
            let mut rows = Vec::new();
            enricher.rows(table, asked, &mut |row| rows.push(row));
            rows
        };
        let text = |row: &Row, name: &str| match &row[table.column(name).expect("a column").0] {
            Some(Cell::Text(text)) => text.to_string(),
            other => panic!("{name}: {other:?}"),
        };
        let all = rows(&Asked::All);
        assert!(!all.is_empty());
        let kinds = [Asked::ANY, "agent", "credential", "principal", "tool"];
        for (chosen, of) in (0..1_usize << ids.len()).flat_map(|chosen| kinds.map(|of| (chosen, of))) {
            let mut asked = Asked::nothing();
            let chosen = ids.iter().enumerate().filter(|(bit, _)| chosen >> bit & 1 == 1);
            // One more, by its id alone.
            chosen.for_each(|(bit, id)| asked.ask(if bit == 0 { Asked::ANY } else { of }, id));
            let about = |row: &Row| {
                let mut names =
                    table.ids.iter().map(|(kind, id)| (kind.map_or("credential".into(), |kind| text(row, kind)), id));
                names.any(|(kind, id)| asked.wants(&kind, &text(row, id)))
            };
            let wanted: Vec<Row> = all.iter().filter(|row| about(row)).cloned().collect();
            assert_eq!(rows(&asked), wanted, "{}: {asked:?}", table.name);
        }
    }
}
