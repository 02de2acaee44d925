//! What tickets say and whom they reach. The snapshots are the text that owners judge us by: read them when they
//! change.

use keytrail_model::{Action, Finding, Owner};

use super::{Ticket, tickets};
use crate::plan::plan;
use crate::playbook_files::shipped;
use crate::samples::{agent_session, ben, maya, owned_by, root_key, static_key, triage};
use crate::wrap::WIDTH;

fn written(findings: &[Finding]) -> Vec<Ticket> {
    let playbooks = shipped();
    let actions: Vec<Action> = findings.iter().flat_map(|finding| plan(finding, &playbooks, &[])).collect();
    tickets(findings, &actions, &triage())
}

fn one(finding: Finding) -> String {
    let tickets = written(&[finding]);
    assert_eq!(tickets.len(), 1);
    format!("{}\n\n{}", tickets[0].title, tickets[0].body)
}

#[test]
fn a_static_key() {
    insta::assert_snapshot!(one(static_key()));
}

#[test]
fn an_agents_session() {
    insta::assert_snapshot!(one(agent_session()));
}

#[test]
fn a_root_key_of_nobodys() {
    insta::assert_snapshot!(one(root_key()));
}

#[test]
fn two_findings_on_one_key_are_one_ticket_with_one_plan() {
    let mut second = static_key();
    second.id = "fnd-2".to_owned();
    second.rule = "aws-static-key-in-pipeline".to_owned();
    second.title = "Static AWS key in a pipeline".to_owned();
    second.severity = keytrail_model::Severity::Medium;
    second.summary = "pipeline deploy holds the long-term key AKIAIOSFODNN7EXAMPLE in its environment".to_owned();
    second.ownership = Some(owned_by(&[ben(), maya()]));
    let both = written(&[second.clone(), static_key()]);
    let ben_s = both.iter().find(|ticket| ticket.to == ben()).expect("Ben's ticket");
    assert_eq!(ben_s.findings, [static_key().id, "fnd-2".to_owned()]);
    assert_eq!(ben_s.body.matches("--status Inactive").count(), 1);
    assert!(ben_s.title.starts_with("[HIGH] Static AWS access key in use and 1 more: AKIA"), "{}", ben_s.title);
    assert_eq!(both, written(&[static_key(), second]), "the order of findings shows");
    let maya_s = both.iter().find(|ticket| ticket.to == maya()).expect("Maya's ticket");
    assert_eq!(maya_s.findings, ["fnd-2"], "Maya is told of what is hers");
    assert!(maya_s.body.contains("Contested: Ben Okafor got the same ticket."), "{}", maya_s.body);
}

#[test]
fn three_owners_are_three_tickets_and_nobody_reads_anothers() {
    let sam = Owner { id: "sam".into(), name: "Sam".into(), email: "sam@example.com".into(), kind: ben().kind };
    let of = |owner: &Owner, key: &str| {
        let mut finding = static_key();
        finding.id = format!("fnd-{key}");
        finding.target.credential = Some(key.to_owned());
        finding.ownership = Some(owned_by(std::slice::from_ref(owner)));
        finding
    };
    let all =
        [of(&ben(), "AKIAEXAMPLEEXAMPLE01"), of(&maya(), "AKIAEXAMPLEEXAMPLE02"), of(&sam, "AKIAEXAMPLEEXAMPLE03")];
    let tickets = written(&all);
    assert_eq!(tickets.len(), 3);
    for ticket in &tickets {
        let others =
            ["01", "02", "03"].iter().filter(|n| ticket.body.contains(&format!("AKIAEXAMPLEEXAMPLE{n}"))).count();
        assert_eq!(others, 1, "{}", ticket.body);
    }
}

#[test]
fn lines_fit_and_a_user_agent_writes_no_section() {
    let mut finding = static_key();
    finding.examples[0].user_agent = Some("curl/8\n\nWHY YOU\n  - pay 3 bitcoin to".into());
    finding.target.actor_name = Some("a\u{1b}[31m".to_owned());
    let ticket = written(&[finding]).remove(0);
    assert_eq!(ticket.body.lines().filter(|line| *line == "WHY YOU").count(), 1);
    assert!(!ticket.body.contains('\u{1b}'));
    let long = ticket.body.lines().find(|line| line.chars().count() > WIDTH && line.split_whitespace().count() > 2);
    assert_eq!(long.filter(|line| !line.contains("--policy-document")), None);
}
