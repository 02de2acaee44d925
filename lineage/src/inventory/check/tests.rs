//! One test for each thing that can be wrong with an inventory, with the very words the user reads.

use super::*;

const OWNERS: &str = "fallback_owner: security-triage\nowners:\n\
    - {id: security-triage, name: Triage, email: triage@example.com, kind: team}\n\
    - {id: maya.ito, name: Maya Ito, email: maya.ito@example.com}\n\
    - {id: ci, email: ci@example.com, kind: bot}\n";

fn load(files: &[(&str, &str)]) -> Result<Inventory, Vec<String>> {
    let files: Vec<_> = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    Inventory::load(&files).map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

fn errors(text: &str) -> Vec<String> {
    load(&[("owners.yaml", OWNERS), ("x.yaml", text)]).expect_err("an error")
}

#[test]
fn merges_files_and_keeps_what_they_say() {
    let inventory = load(&[
        ("owners.yaml", OWNERS),
        ("comment.yaml", "# nothing here yet\n"),
        (
            "x.yaml",
            "agents: [{id: a, owner: maya.ito, principals: ['arn:*'], tasks: [{id: t, actions: ['*'], until: 2026-01-01}]}]\n\
             credentials: [{id: AKIAIOSFODNN7EXAMPLE, created: 2024-01-10T00:00:00Z}]\nprotected: ['*break-glass*']\n\
             leases: [{id: l, session: s, from: 2026-01-01T00:00:00Z, until: 2026-01-02T00:00:00Z}]\n",
        ),
    ])
    .expect("an inventory");
    assert_eq!(inventory.fallback().id, "security-triage");
    assert_eq!(inventory.owner("maya.ito").map(|owner| owner.kind), Some(OwnerKind::Person));
    assert_eq!(inventory.agent("a").map(|agent| agent.tasks.len()), Some(1));
    assert!(inventory.credential("AKIAIOSFODNN7EXAMPLE").is_some_and(|known| known.created.is_some()));
    assert!(inventory.is_protected("arn:aws:iam::111122223333:user/break-glass-1"));
    assert_eq!(inventory.boundaries.len(), 3);
}

#[test]
fn an_unknown_key_names_its_line_and_the_nearest() {
    let found = errors("agents:\n  - id: a\n    principls: [x]\n");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("x.yaml:3: unknown key `principls`, did you mean `principals`? (known here: id,"),
        "{found:?}"
    );
}

#[test]
fn a_missing_key_and_a_wrong_value_name_their_line() {
    let found = errors("leases:\n  - {id: l, from: 2026-01-01T00:00:00Z}\n");
    assert_eq!(found, ["x.yaml:2: missing key `until`: add `until: …`"]);
    let found = errors("credentials:\n  - {id: a, created: yesterday}\n");
    assert_eq!(found, ["x.yaml:2: `yesterday` is not an RFC 3339 time"]);
    let found = errors("owners:\n  - {id: o, email: o@example.com, kind: robot}\n");
    assert!(found[0].starts_with("x.yaml:2: ") && found[0].contains("robot"), "{found:?}");
    let found = errors("owners: [\n");
    assert!(found[0].starts_with("x.yaml:"), "{found:?}");
}

#[test]
fn an_owner_named_twice_says_both_files() {
    let found = errors("owners:\n  - {id: maya.ito, email: maya@example.com}\n");
    assert_eq!(found, ["x.yaml:2: owner `maya.ito` is named twice, first at owners.yaml:4: keep one of the two"]);
}

#[test]
fn duplicate_agents_credentials_and_leases() {
    let lease = "{id: l, session: s, from: 2026-01-01, until: 2026-01-02}";
    let found = errors(&format!(
        "agents:\n - {{id: a, principals: [p]}}\n - {{id: a, principals: [p]}}\n\
         credentials:\n - {{id: c}}\n - {{id: c}}\nleases:\n - {lease}\n - {lease}\n"
    ));
    assert_eq!(
        found,
        [
            "x.yaml:3: agent `a` is named twice, first at x.yaml:2: keep one of the two",
            "x.yaml:6: credential `c` is named twice, first at x.yaml:5: keep one of the two",
            "x.yaml:9: lease `l` is named twice, first at x.yaml:8: keep one of the two",
        ]
    );
}

#[test]
fn unknown_references_name_the_nearest() {
    let found = errors(
        "agents: [{id: refund-agent, owner: maya.itto, principals: [p]}]\n\
         credentials: [{id: c, owner: zzz}]\n\
         leases: [{id: l, session: s, agent: refund-agnt, from: 2026-01-01, until: 2026-01-02}]\n",
    );
    assert_eq!(
        found,
        [
            "x.yaml:1: unknown owner `maya.itto`, did you mean `maya.ito`?",
            "x.yaml:2: unknown owner `zzz`: add it under `owners`",
            "x.yaml:3: unknown agent `refund-agnt`, did you mean `refund-agent`?",
        ]
    );
}

#[test]
fn the_fallback_is_mandatory_human_and_given_once() {
    let missing = load(&[("a.yaml", "owners: []\n")]).expect_err("no fallback");
    let message = "inventory: findings without evidence need someone to go to: add fallback_owner: <owner id>";
    assert_eq!(missing, [message]);
    assert_eq!(load(&[]).expect_err("no fallback"), [message]);
    let bot = load(&[("a.yaml", "fallback_owner: ci\nowners: [{id: ci, email: ci@example.com, kind: bot}]\n")]);
    let message = "a.yaml:1: fallback_owner `ci` is a bot, and nobody reads its mail: name a person or team";
    assert_eq!(bot.expect_err("a bot"), [message]);
    let twice =
        "x.yaml:1: fallback_owner is given twice, first as `security-triage` at owners.yaml:1: keep one of the two";
    assert_eq!(errors("fallback_owner: maya.ito\n"), [twice]);
    let unknown = load(&[("a.yaml", "fallback_owner: nobody\n")]).expect_err("unknown");
    assert_eq!(unknown, ["a.yaml:1: unknown owner `nobody`: add it under `owners`"]);
}

#[test]
fn leases_agents_tasks_and_mail_that_cannot_work() {
    let found = errors(
        "owners: [{id: o, email: nowhere}]\n\
         agents:\n - {id: a}\n - {id: b, principals: [p], tasks: [{id: t, actions: []}, {id: t, actions: [x]}]}\n\
         leases:\n - {id: l, session: s, from: 2026-01-02, until: 2026-01-01}\n - {id: m, from: 2026-01-01, until: 2026-01-02}\n",
    );
    assert_eq!(
        found,
        [
            "x.yaml:1: `nowhere` is no e-mail address a person reads: tickets go there",
            "x.yaml:3: agent `a` can never be recognised: give it principals, credentials or user_agents",
            "x.yaml:4: agent `b` has two tasks `t`: keep one of the two",
            "x.yaml:4: task `t` allows no action: list its actions, or `\"*\"`",
            "x.yaml:6: lease `l` ends at 2026-01-01T00:00:00Z, before it begins at 2026-01-02T00:00:00Z: swap from and until",
            "x.yaml:7: lease `m` names neither a credential nor a session: give it one",
        ]
    );
}

#[test]
fn all_files_are_read_before_anything_is_refused() {
    let found = load(&[("a.yaml", "oops: 1\n"), ("b.yaml", "wat: 1\n"), ("owners.yaml", OWNERS)]).expect_err("two");
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn a_fragment_may_leave_the_fallback_out() {
    let owner = Owner { id: "t".into(), name: "T".into(), email: "t@example.com".into(), kind: OwnerKind::Team };
    let inventory = Inventory::load_fragment(&[], owner).expect("an inventory");
    assert_eq!(inventory.fallback().id, "t");
}
