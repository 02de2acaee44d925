//! The ranking of owner evidence, and everything that must not become an owner.

use super::*;
use crate::enrich::testing::{Row, batch};

const INVENTORY: &str = "
fallback_owner: triage
owners:
  - {id: triage, name: Triage, email: triage@example.com, kind: team}
  - {id: maya.ito, name: Maya Ito, email: maya.ito@example.com}
  - {id: ben.okafor, name: Ben Okafor, email: ben.okafor@example.com}
  - {id: ci, name: CI, email: ci@example.com, kind: bot}
agents:
  - {id: refund-agent, owner: maya.ito, principals: ['arn:aws:sts::111122223333:assumed-role/refund-agent/*']}
principals:
  - {id: 'arn:aws:iam::111122223333:user/ci-deploy', owner: ci}
  - {id: 'arn:aws:iam::111122223333:user/reports', owner: ben.okafor, tags: {owner: maya.ito@example.com}}
credentials:
  - {id: AKIAIOSFODNN7EXAMPLE, owner: ben.okafor}
  - {id: AKIAI44QH8DHBEXAMPLE, tags: {owner: nobody-known}}
leases:
  - {id: l-1, credential: ASIALEASEDEXAMPLE, agent: refund-agent, from: 2026-01-01, until: 2026-01-02}
";
const CI: &str = "arn:aws:iam::111122223333:user/ci-deploy";

fn inventory() -> Inventory {
    Inventory::load(&[("i.yaml".to_owned(), INVENTORY.to_owned())]).expect("an inventory")
}

fn facts(rows: &[Row]) -> Facts {
    let mut facts = Facts::default();
    facts.observe(&batch("aws.cloudtrail", rows));
    facts
}

fn issued(child: &str, parent: &str, actor: &str) -> Row {
    let row = Row::new(5, "e-1").with("outcome", "allowed").with("action", "iam:CreateAccessKey");
    row.with("issued_credential", child).with("credential", parent).with("actor", actor)
}

fn created(actor: &str, principal: &str) -> Row {
    let row = Row::new(6, "e-2").with("outcome", "allowed").with("action", "iam:CreateUser").with("actor", actor);
    row.with("account", "111122223333").list("resources", &[principal])
}

fn ask(facts: &Facts, subject: Subject<'_>) -> Ownership {
    ownership(&inventory(), facts, &subject)
}

fn ids(ownership: &Ownership) -> Vec<&str> {
    ownership.owners.iter().map(|owner| owner.id.as_str()).collect()
}

#[test]
fn nothing_known_goes_to_the_fallback_as_an_orphan() {
    let found = ask(&Facts::default(), Subject { credential: Some("AKIAUNKNOWNEXAMPLE"), ..Subject::default() });
    assert_eq!(ids(&found), ["triage"]);
    assert!(found.orphan && !found.contested && found.confidence == 0.0);
    assert_eq!(found.evidence.len(), 1);
    assert_eq!(found.evidence[0].source, "fallback");
}

#[test]
fn the_inventory_of_the_credential_goes_before_its_creator() {
    let facts = facts(&[issued("AKIAIOSFODNN7EXAMPLE", "ASIAEXAMPLE", "maya.ito@example.com")]);
    let found = ask(&facts, Subject { credential: Some("AKIAIOSFODNN7EXAMPLE"), ..Subject::default() });
    assert_eq!(ids(&found), ["ben.okafor"]);
    assert!((found.confidence - 0.9).abs() < 1e-9);
    let sources: Vec<_> = found.evidence.iter().map(|evidence| evidence.source.as_str()).collect();
    assert_eq!(sources, ["inventory", "creator"]);
    assert_eq!(found.evidence[1].event_id.as_deref(), Some("e-1"));
    assert_eq!(found.evidence[1].observed_at, Some(Micros(5)));
}

#[test]
fn the_delegated_human_goes_before_the_inventory_and_two_near_sources_contest() {
    let subject = Subject {
        credential: Some("AKIAIOSFODNN7EXAMPLE"),
        on_behalf_of: Some("maya.ito@example.com"),
        ..Subject::default()
    };
    let found = ask(&Facts::default(), subject);
    assert_eq!(ids(&found), ["maya.ito", "ben.okafor"]);
    assert!(found.contested);
}

#[test]
fn a_lease_goes_first_and_gives_its_agents_owner() {
    let subject = Subject {
        credential: Some("ASIALEASEDEXAMPLE"),
        on_behalf_of: Some("maya.ito@example.com"),
        time: Micros::parse("2026-01-01T12:00:00Z").expect("a time"),
        ..Subject::default()
    };
    let found = ask(&Facts::default(), subject);
    assert_eq!((ids(&found), found.contested), (vec!["maya.ito"], false));
    assert_eq!(found.evidence[0].source, "lease");
}

#[test]
fn a_tag_and_an_entry_on_one_principal_contest() {
    let subject = Subject { actor: Some("arn:aws:iam::111122223333:user/reports"), ..Subject::default() };
    let found = ask(&Facts::default(), subject);
    assert_eq!(ids(&found), ["maya.ito", "ben.okafor"]);
}

#[test]
fn a_bot_is_evidence_and_its_creator_is_asked_for() {
    let subject = Subject { actor: Some(CI), account: Some("111122223333"), ..Subject::default() };
    let found = ask(&Facts::default(), subject);
    assert!(found.orphan);
    assert_eq!(found.evidence[0].owner, "ci");
    let found = ask(&facts(&[created("arn:aws:iam::111122223333:user/ben.okafor", CI)]), subject);
    assert_eq!((ids(&found), found.confidence), (vec!["ben.okafor"], 0.55));
    let key = facts(&[issued("AKIAX", "AKIAY", CI), created("maya.ito@example.com", CI)]);
    let found = ask(&key, Subject { credential: Some("AKIAX"), account: Some("111122223333"), ..Subject::default() });
    assert_eq!((ids(&found), found.confidence), (vec!["maya.ito"], 0.5));
}

#[test]
fn the_parents_owner_answers_for_what_was_issued_from_it() {
    let facts = facts(&[issued("ASIAEXAMPLE", "AKIAIOSFODNN7EXAMPLE", "someone")]);
    let found = ask(&facts, Subject { credential: Some("ASIAEXAMPLE"), ..Subject::default() });
    assert_eq!((ids(&found), found.confidence), (vec!["ben.okafor"], 0.85));
}

#[test]
fn the_agents_owner_answers() {
    let found = ask(&Facts::default(), Subject { agent: Some("refund-agent"), ..Subject::default() });
    assert_eq!((ids(&found), found.confidence), (vec!["maya.ito"], 0.75));
}

#[test]
fn only_addresses_of_our_own_domains_become_owners() {
    let inventory = inventory();
    assert_eq!(inventory.resolve("New.Hire@example.com").map(|owner| owner.email), Some("new.hire@example.com".into()));
    assert_eq!(inventory.resolve("attacker@evil.example.org"), None);
    assert_eq!(inventory.resolve("arn:aws:sts::111122223333:assumed-role/any/new.hire@example.com"), None);
    let person = inventory.resolve("arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_A_1/new.hire@example.com");
    assert_eq!(person.map(|owner| owner.id), Some("new.hire@example.com".into()));
}

#[test]
fn a_name_nobody_can_write_to_stays_evidence() {
    let found = ask(&Facts::default(), Subject { credential: Some("AKIAI44QH8DHBEXAMPLE"), ..Subject::default() });
    assert!(found.orphan);
    assert_eq!(found.evidence[0].owner, "nobody-known");
    assert_eq!(found.evidence[1].detail, "the evidence names nobody who can be told, so the fallback owner gets it");
}
