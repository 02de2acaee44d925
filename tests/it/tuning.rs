//! What users change about shipped rules: states, exceptions, overlays; seen in what a scan gives.

use crate::run::{Folder, Ran};

const SAMPLE: &str = "aws.cloudtrail/mcp-ambient-key.jsonl";

/// A folder with one log file in which a static key is used.
fn with_log() -> Folder {
    let folder = Folder::new();
    folder.sample("a.jsonl", SAMPLE);
    folder
}

fn scan(folder: &Folder) -> Ran {
    folder.run(&["scan", "--dry-run", "--rules", "mine", "a.jsonl"])
}

fn of_rule(ran: &Ran, rule: &str) -> usize {
    ran.rows().iter().filter(|row| row["rule"] == rule).count()
}

fn exception(expires: &str) -> String {
    format!(
        "id: known-key\nrule: aws-static-key-used\nwhere: \"credential LIKE 'AKIA%' AND userIdentity.type = 'IAMUser'\"\n\
         owner: ben.okafor\nreason: moved to a role in spring\nexpires: {expires}\n"
    )
}

#[test]
fn an_excepted_event_does_not_count_until_the_exception_expires() {
    let folder = with_log();
    folder.write("mine/exceptions/known.yaml", exception("2020-01-01"));
    assert!(of_rule(&scan(&folder).ok(), "aws-static-key-used") > 0, "expired before the events");
    folder.write("mine/exceptions/known.yaml", exception("2100-01-01"));
    let ran = scan(&folder).ok().says(&[" events excepted by known-key"]);
    assert_eq!(of_rule(&ran, "aws-static-key-used"), 0);
    assert!(!ran.rows().is_empty(), "other rules still count the events");
    folder
        .run(&["rule", "explain", "aws-static-key-used", "--rules", "mine"])
        .ok()
        .shows(&["excepted    known-key until 2100-01-01T00:00:00Z", "(ben.okafor: moved to a role in spring)"]);
}

#[test]
fn an_exception_for_any_rule_covers_where_its_fields_exist() {
    let folder = with_log();
    folder.sample("b.jsonl", "github.audit/organisation-week.jsonl");
    folder.write("mine/exceptions/all.yaml", exception("2100-01-01").replace("rule: aws-static-key-used", "rule: any"));
    let ran = folder.run(&["scan", "--dry-run", "--rules", "mine", "a.jsonl", "b.jsonl"]).ok();
    assert!(ran.rows().iter().all(|row| row["source"] != "aws.cloudtrail" || row["credential_lifetime"] != "static"));
    assert!(ran.rows().iter().any(|row| row["source"] == "github.audit"));
}

#[test]
fn what_is_wrong_with_an_exception_or_overlay_stops_the_run_with_its_place() {
    let folder = with_log();
    let stopped = |name: &str, text: &str, said: &[&str]| {
        folder.write(&format!("mine/{name}"), text);
        scan(&folder).ends(2).says(said);
        std::fs::remove_file(folder.path(&format!("mine/{name}"))).unwrap();
    };
    let good = exception("2100-01-01");
    stopped(
        "exceptions/e.yaml",
        &good.replace("aws-static-key-used", "aws-static-key-usd"),
        &[
            "exceptions/e.yaml:1: exception `known-key` is for rule `aws-static-key-usd`, which does not exist, did you mean `aws-static-key-used`?",
        ],
    );
    stopped(
        "exceptions/e.yaml",
        &good.replace("userIdentity.type", "userIdentity.typ"),
        &["exceptions/e.yaml:1: `userIdentity.typ` is neither an event column nor a field of aws.cloudtrail"],
    );
    stopped("exceptions/e.yaml", &good.replace("owner: ben.okafor\n", ""), &["missing key `owner`"]);
    stopped(
        "overlays/o.yaml",
        "rule: aws-static-key-used\nand: userIdentity.typ = 'x'\n",
        &["overlays/o.yaml:2: `userIdentity.typ` is neither an event column"],
    );
    stopped(
        "overlays/o.yaml",
        "rule: aws-static-key-used\nset: {playbok: x}\n",
        &["overlays/o.yaml:2: an overlay cannot set `playbok`, did you mean `playbook`?"],
    );
    scan(&folder).ends(0);
}

#[test]
fn an_overlay_changes_a_shipped_rule_and_both_lists_say_so() {
    let folder = with_log();
    let before = scan_severity(&folder);
    assert!(!before.is_empty() && before.iter().all(|severity| severity != "critical"));
    folder.write("mine/overlays/graver.yaml", "rule: aws-static-key-used\nset: {severity: critical}\n");
    assert!(scan_severity(&folder).iter().all(|severity| severity == "critical"));
    folder.write("mine/overlays/graver.yaml", "rule: aws-static-key-used\nand: account = '444455556666'\n");
    assert!(scan_severity(&folder).is_empty());
    let list = folder.run(&["rule", "list", "--rules", "mine"]).ok().rows();
    let changed: Vec<_> = list.iter().filter(|row| row["changed_by"] != serde_json::json!([])).collect();
    assert_eq!((changed.len(), changed[0]["id"].as_str()), (1, Some("aws-static-key-used")));
    folder.run(&["rule", "explain", "aws-static-key-used", "--rules", "mine"]).ok().shows(&[
        "and         account = '444455556666'",
        "changed by  mine/overlays/graver.yaml:1: and account = '444455556666'",
    ]);
}

fn scan_severity(folder: &Folder) -> Vec<String> {
    folder.write("mine/overlays/.keep", "");
    let rows = scan(folder).ok().rows();
    let own = rows.iter().filter(|row| row["rule"] == "aws-static-key-used");
    own.map(|row| row["severity"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_rule_on_trial_is_listed_without_plan_and_ticket() {
    let folder = with_log();
    folder.write("mine/overlays/trial.yaml", "rule: aws-static-key-used\nset: {state: shadow}\n");
    let ran = folder.run(&["scan", "--rules", "mine", "--out", "out", "a.jsonl"]).ok();
    let ran = ran.says(&[" of them of rules on trial"]);
    let rows = ran.rows();
    let (trial, others): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row["rule"] == "aws-static-key-used");
    assert!(!trial.is_empty() && trial.iter().all(|row| row["shadow"] == true));
    assert!(others.iter().all(|row| row["shadow"] == false));
    let id = trial[0]["id"].as_str().unwrap();
    let store = ["--store", "out/keytrail.db"];
    let stored = |arguments: &[&str]| folder.run(&[arguments, &store[..]].concat()).ok();
    assert!(stored(&["action", "list", "--finding", id]).rows().is_empty());
    stored(&["-o", "table", "finding", "show", id]).shows(&["(shadow) ", "none: the rule is on trial (shadow)"]);
    assert!(stored(&["-o", "table", "finding", "list"]).stdout.contains("(shadow)"));
    for ticket in std::fs::read_dir(folder.path("out/tickets")).unwrap().flatten() {
        let text = std::fs::read_to_string(ticket.path()).unwrap();
        assert!(!text.contains(id), "a ticket tells of a finding on trial");
    }
    folder
        .run(&["-o", "table", "scan", "--rules", "mine", "--dry-run", "a.jsonl"])
        .ok()
        .shows(&["rules on trial (shadow: no plan, no ticket)", "aws-static-key-used: "]);
}

#[test]
fn a_rule_on_trial_fails_no_run_and_one_switched_off_finds_nothing() {
    let folder = with_log();
    let rule =
        std::fs::read_to_string(crate::run::repository("rules/detections/aws/aws-static-key-used.yaml")).unwrap();
    let run = ["scan", "--dry-run", "--rules", "mine", "--no-builtin-rules", "--fail-on", "low", "a.jsonl"];
    folder.write("mine/aws-static-key-used.yaml", rule.replace("source:", "state: shadow\nsource:"));
    assert!(!folder.run(&run).ok().rows().is_empty());
    folder.write("mine/aws-static-key-used.yaml", rule.replace("source:", "state: off\nsource:"));
    assert!(folder.run(&run).ok().rows().is_empty());
    folder.run(&["rule", "test", "mine"]).ok().says(&["1 rules: ", " 0 failed"]);
    folder.write("mine/aws-static-key-used.yaml", &rule);
    folder.run(&run).ends(1);
}
