//! Every finding gets a plan, by name, by kind or at least a word to the owner; and nothing goes beyond its mode.

use keytrail_model::{Mode, Undo};

use super::plan;
use crate::playbook::Playbooks;
use crate::playbook_files::shipped;
use crate::samples::{agent_session, root_key, static_key};

fn one(yaml: &str) -> Playbooks {
    let id = yaml.lines().next().and_then(|line| line.strip_prefix("id: ")).expect("an id");
    Playbooks::load(&[(format!("{id}.yaml"), yaml.to_owned())]).expect("a playbook")
}

fn names(actions: &[keytrail_model::Action]) -> Vec<(&str, &str)> {
    actions.iter().map(|action| (action.playbook.as_str(), action.remediator.as_str())).collect()
}

#[test]
fn a_named_playbook_is_followed_in_order() {
    let actions = plan(&static_key(), &shipped(), &[]);
    let book = "contain-aws-access-key";
    assert_eq!(names(&actions), [(book, "aws.disable_access_key"), (book, "aws.deny_sessions_issued_before")]);
    assert!(actions.iter().all(|action| action.mode == Mode::Shadow && action.refused.is_none()));
    assert_eq!(actions, plan(&static_key(), &shipped(), &[]));
    // The cut-off reaches the last event, not only the first.
    assert!(actions[1].summary.ends_with("2026-11-03T11:42:11Z"), "{}", actions[1].summary);
}

#[test]
fn a_playbook_for_another_kind_gives_way_to_the_right_one() {
    let mut finding = agent_session();
    finding.playbook = Some("contain-aws-access-key".to_owned());
    assert_eq!(names(&plan(&finding, &shipped(), &[])), [("contain-aws-role-session", "aws.deny_one_session")]);
}

#[test]
fn the_root_key_is_refused_and_its_owner_told() {
    let actions = plan(&root_key(), &shipped(), &[]);
    let codes: Vec<_> =
        actions.iter().map(|action| action.refused.as_ref().map(|refusal| refusal.code.as_str())).collect();
    assert_eq!(codes, [Some("unsupported_principal"), None]);
    assert!(actions.iter().all(|action| action.calls.is_empty()));
}

#[test]
fn without_a_playbook_the_owner_is_told() {
    let mut finding = static_key();
    finding.playbook = None;
    assert_eq!(names(&plan(&finding, &Playbooks::default(), &[])), [("notify-owner", "owner.notify")]);
    finding.playbook = Some("contain-aws-acces-key".to_owned());
    let refusal = plan(&finding, &shipped(), &[]).remove(0).refused.expect("refused");
    assert!(refusal.reason.contains("did you mean `contain-aws-access-key`"), "{}", refusal.reason);
}

#[test]
fn the_protected_are_planned_as_refused() {
    let actions = plan(&static_key(), &shipped(), &["*:user/ci-*".to_owned()]);
    assert!(actions.iter().all(|action| action.calls.is_empty()));
    assert!(actions.iter().all(|action| action.refused.as_ref().is_some_and(|refusal| refusal.code == "protected")));
}

#[test]
fn of_two_keys_of_a_user_only_the_offending_one_appears() {
    let mut finding = static_key();
    finding.resources.push("AKIAEXAMPLEEXAMPLE02".to_owned());
    finding.target.resources.push("AKIAEXAMPLEEXAMPLE02".to_owned());
    finding.examples[0].resources.push("AKIAEXAMPLEEXAMPLE02".into());
    let text = serde_json::to_string(&plan(&finding, &shipped(), &[])).expect("actions");
    assert!(text.contains("AKIAIOSFODNN7EXAMPLE") && !text.contains("AKIAEXAMPLEEXAMPLE02"), "{text}");
}

#[test]
fn what_cannot_be_undone_waits_for_a_person_also_when_enforced() {
    let playbooks =
        one("id: x\ntitle: t\ndescription: d\nmode: enforce\nsteps:\n  - remediator: github.remove_deploy_key\n  - \
         remediator: owner.notify\n");
    let mut finding = static_key();
    finding.playbook = Some("x".to_owned());
    finding.target.credential = Some("44".to_owned());
    finding.target.resources = vec!["example-org/payments".to_owned()];
    let actions = plan(&finding, &playbooks, &[]);
    assert!(matches!(actions[0].undo, Undo::Irreversible(_)));
    assert_eq!(actions.iter().map(|action| action.mode).collect::<Vec<_>>(), [Mode::Approve, Mode::Enforce]);
    assert!(actions[0].limits.iter().any(|limit| limit.contains("approval")));
}
