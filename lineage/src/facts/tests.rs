//! Facts must not depend on the order in which batches, or facts of other workers, come in.

use keytrail_model::{EventBatch, Micros};
use proptest::prelude::*;

use super::Facts;
use crate::enrich::testing::{Row, batch};

fn row(at: i64, id: &str) -> Row {
    Row::new(at, id).with("outcome", "allowed").with("account", "111122223333")
}

fn learnt(batches: &[EventBatch]) -> Facts {
    let mut facts = Facts::default();
    batches.iter().for_each(|batch| facts.observe(batch));
    facts
}

#[test]
fn an_issuance_gives_parent_and_creator_and_the_earliest_stands() {
    let issue = |at, id: &str, parent: &str| {
        row(at, id).with("issued_credential", "ASIAEXAMPLE").with("credential", parent).with("actor", "maya")
    };
    let late = batch("aws.cloudtrail", &[issue(20, "b", "AKIALATEEXAMPLE")]);
    let early = batch("aws.cloudtrail", &[issue(10, "a", "AKIAEARLYEXAMPLE")]);
    let facts = learnt(&[late, early]);
    assert_eq!(facts.chain("ASIAEXAMPLE"), ["ASIAEXAMPLE", "AKIAEARLYEXAMPLE"]);
    assert_eq!(facts.issuance("ASIAEXAMPLE").and_then(|issued| issued.actor.as_deref()), Some("maya"));
}

#[test]
fn a_denied_call_issued_nothing_and_a_loop_ends() {
    let mut denied = row(1, "a").with("issued_credential", "x").with("credential", "y");
    denied = denied.with("outcome", "denied");
    assert_eq!(learnt(&[batch("aws.cloudtrail", &[denied])]), Facts::default());
    let there = row(1, "a").with("issued_credential", "x").with("credential", "y");
    let back = row(2, "b").with("issued_credential", "y").with("credential", "x");
    assert_eq!(learnt(&[batch("aws.cloudtrail", &[there, back])]).chain("x"), ["x", "y"]);
}

#[test]
fn a_principal_is_found_by_id_role_session_and_name() {
    let user = row(1, "a").with("action", "iam:CreateUser").with("issued_for", "ci-deploy").with("actor", "maya");
    let role = row(2, "b")
        .with("action", "iam:CreateRole")
        .list("resources", &["arn:aws:iam::111122223333:role/refund-agent"])
        .with("actor", "ben");
    let facts = learnt(&[batch("aws.cloudtrail", &[user, role])]);
    let creator = |actor: &str| facts.creation(actor, Some("111122223333"), None).map(|made| made.actor.as_str());
    assert_eq!(creator("arn:aws:iam::111122223333:user/ci-deploy"), Some("maya"));
    assert_eq!(creator("arn:aws:sts::111122223333:assumed-role/refund-agent/s"), Some("ben"));
    assert_eq!(facts.creation("arn:aws:iam::444455556666:user/ci-deploy", Some("444455556666"), None), None);
}

#[test]
fn a_prompt_counts_for_an_hour_and_the_session_goes_first() {
    let prompt = |at, id: &str, session: &str, reference: &str| {
        row(at, id).with("session", session).with("actor", "agent").with("prompt_ref", reference)
    };
    let second = Micros::SECOND;
    let rows = [prompt(0, "a", "s1", "p1"), prompt(60 * second, "b", "s2", "p2")];
    let facts = learnt(&[batch("aws.bedrock.invocation", &rows)]);
    let at = |seconds: i64| Micros(seconds * second);
    assert_eq!(facts.prompt(Some("s1"), Some("agent"), at(70)), Some("p1"));
    assert_eq!(facts.prompt(None, Some("agent"), at(70)), Some("p2"));
    assert_eq!(facts.prompt(None, Some("agent"), at(59)), Some("p1"));
    assert_eq!(facts.prompt(Some("s1"), None, at(3_601)), None);
    let mut later = facts.clone();
    later.forget_before(at(3_630));
    assert_eq!(later.prompt(None, Some("agent"), at(3_630)), Some("p2"));
    assert_eq!(later.prompt(Some("s1"), None, at(3_600)), None);
    assert_eq!(learnt(&[batch("aws.cloudtrail", &rows)]).prompt(None, Some("agent"), at(70)), None);
}

#[test]
fn of_session_keys_those_that_end_last_are_kept_and_of_others_all() {
    let issue = |at: i64, lifetime: &str| {
        let event = row(at, "i").with("outcome", "allowed").with("action", "sts:AssumeRole");
        event.with("issued_credential", &format!("{lifetime}-{at}")).with("issued_lifetime", lifetime)
    };
    let rows: Vec<Row> = (0..20).flat_map(|at| [issue(at, "ephemeral"), issue(at, "static")]).collect();
    let mut facts = learnt(&[batch("aws.cloudtrail", &rows)]);
    let kept = |facts: &Facts| facts.issuances().map(|(id, _)| id.clone()).collect::<Vec<_>>();
    let sessions = |facts: &Facts| kept(facts).iter().filter(|id| id.starts_with('e')).count();
    // None of them says when it ends.
    let end = |at: i64| Micros(at + super::LIFE);
    facts.keep_sessions(end(99), 5, 15);
    assert_eq!((kept(&facts).len(), facts.forgot_since(Micros(0))), (40, false), "not yet too many");
    facts.keep_sessions(end(12), 5, 14);
    assert_eq!((sessions(&facts), kept(&facts).len()), (8, 28), "what may be in use stays");
    facts.keep_sessions(end(99), 5, 0);
    let last: Vec<String> = (15..20).map(|at| format!("ephemeral-{at}")).collect();
    assert_eq!(kept(&facts)[..5], last);
    assert!(facts.forgot_since(end(14)) && !facts.forgot_since(end(16)));
    facts.forget_before(Micros(end(17).0 + super::SPENT));
    assert_eq!((sessions(&facts), kept(&facts).len()), (3, 23), "spent for a week");
    assert!(facts.forgot_since(end(16)) && !facts.forgot_since(end(18)));
}

#[test]
fn downstream_calls_are_joined_to_their_tool() {
    let call =
        row(1, "a").with("tool", "billing-mcp/run").with("agent_evidence", "mcp").list("downstream_ids", &["r1"]);
    let facts = learnt(&[batch("aws.cloudtrail", &[call])]);
    assert_eq!(facts.tool_call("r1").and_then(|call| call.tool.as_deref()), Some("billing-mcp/run"));
    assert_eq!(facts.tool_call("r2"), None);
}

prop_compose! {
    fn any_row()(at in 0_i64..4, id in "[ab]", child in "[xyz]", parent in "[xyz]", actor in "[mn]", kind in 0..4) -> Row {
        let row = row(at, &id).with("actor", &actor).with("credential", &parent).with("session", &child);
        match kind {
            0 => row.with("issued_credential", &child),
            1 => row.with("action", "iam:CreateUser").with("issued_for", &child),
            2 => row.with("tool", &parent).list("downstream_ids", &[child.as_str()]),
            _ => row.with("prompt_ref", &parent),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn facts_do_not_depend_on_order(rows in prop::collection::vec(any_row(), 1..12), cut in 0_usize..12, turn in 0_usize..12) {
        let one = |row: &Row| batch("aws.bedrock.invocation", std::slice::from_ref(row));
        let mut batches: Vec<_> = rows.iter().map(one).collect();
        let whole = learnt(&[batch("aws.bedrock.invocation", &rows)]);
        prop_assert_eq!(&learnt(&batches), &whole);
        batches.reverse();
        let turn = turn % batches.len();
        batches.rotate_left(turn);
        prop_assert_eq!(&learnt(&batches), &whole);
        let (left, right) = batches.split_at(cut.min(batches.len()));
        let (mut ab, mut ba) = (learnt(left), learnt(right));
        ab.merge(learnt(right));
        ba.merge(learnt(left));
        prop_assert_eq!(&ab, &whole);
        prop_assert_eq!(&ba, &whole);
    }
}
