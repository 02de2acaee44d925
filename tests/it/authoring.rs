//! What a rule's author meets: test reports, lints and their fixes, coverage, lists, schemas.

use serde_json::Value;

use crate::run::{Folder, repository};

const STATIC_KEY: &str = "rules/detections/aws/aws-static-key-used.yaml";

fn shipped() -> String {
    std::fs::read_to_string(repository(STATIC_KEY)).unwrap()
}

/// A rule with one test that holds and one that fails, and one without tests.
fn with_rules() -> Folder {
    let folder = Folder::new();
    folder.write("mine/small.yaml", SMALL);
    folder.write("mine/untested.yaml", SMALL.replace("small", "untested").split("tests:").next().unwrap());
    folder
}

const SMALL: &str = r#"id: small
title: A small rule
severity: low
source: aws.cloudtrail
tags: [attack.t1078.004, owasp.nhi7]
description: A console session looked at something that only machines look at.
summary: "{actor_name} <did> {action}"
where: action = 'ec2:DescribeInstances'
group_by: [actor]
tests:
  - name: "finds & tells"
    record: {eventVersion: "1.11", userIdentity: {type: IAMUser, principalId: AIDACKCEVSQ6C2EXAMPLE,
      arn: arn:aws:iam::111122223333:user/maya.ito, accountId: "111122223333", userName: maya.ito},
      eventTime: "2026-03-02T09:14:02Z", eventSource: ec2.amazonaws.com, eventName: DescribeInstances,
      awsRegion: eu-west-1, sourceIPAddress: "203.0.113.24", userAgent: console.amazonaws.com, requestParameters: {},
      responseElements: null, requestID: r-1, eventID: e-1, readOnly: true, eventType: AwsApiCall,
      recipientAccountId: "111122223333", eventCategory: Management}
    findings: 1
  - name: is told what was found
    record: {eventVersion: "1.11", userIdentity: {type: IAMUser, principalId: AIDACKCEVSQ6C2EXAMPLE,
      arn: arn:aws:iam::111122223333:user/maya.ito, accountId: "111122223333", userName: maya.ito},
      eventTime: "2026-03-02T09:14:02Z", eventSource: ec2.amazonaws.com, eventName: DescribeInstances,
      awsRegion: eu-west-1, sourceIPAddress: "203.0.113.24", userAgent: console.amazonaws.com, requestParameters: {},
      responseElements: null, requestID: r-1, eventID: e-1, readOnly: true, eventType: AwsApiCall,
      recipientAccountId: "111122223333", eventCategory: Management}
    findings: 0
  - name: is told what was read
    record: {eventVersion: "1.11", userIdentity: {type: IAMUser, principalId: AIDACKCEVSQ6C2EXAMPLE,
      arn: arn:aws:iam::111122223333:user/maya.ito, accountId: "111122223333", userName: maya.ito},
      eventTime: "2026-03-02T09:14:02Z", eventSource: ec2.amazonaws.com, eventName: DescribeVolumes,
      awsRegion: eu-west-1, sourceIPAddress: "203.0.113.24", userAgent: console.amazonaws.com, requestParameters: {},
      responseElements: null, requestID: r-2, eventID: e-2, readOnly: true, eventType: AwsApiCall,
      recipientAccountId: "111122223333", eventCategory: Management}
    findings: 1
"#;

#[test]
fn test_results_are_written_as_junit() {
    let folder = with_rules();
    folder
        .run(&["rule", "test", "mine", "--junit", "junit.xml"])
        .ends(1)
        .says(&["2 rules: 1 passed, 2 failed, 1 without"]);
    let first = folder.read("junit.xml");
    insta::assert_snapshot!("junit", first);
    folder.run(&["rule", "test", "mine", "--junit", "junit.xml"]).ends(1);
    assert_eq!(folder.read("junit.xml"), first);
    well_formed(&first);
}

/// Tags are closed in order, attributes are quoted and stand once.
fn well_formed(xml: &str) {
    let mut open = Vec::new();
    for tag in xml.split('<').skip(1) {
        let (tag, text) = tag.split_once('>').expect("a tag ends");
        assert!(!text.contains('"') && text.matches('&').count() == text.matches(';').count(), "{text}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.starts_with('?') {
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            let name = tag.split_whitespace().next().unwrap_or_default();
            if !tag.ends_with('/') {
                open.push(name);
            }
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn tests_run_with_the_user_s_inventory() {
    let folder = Folder::new();
    let rule = SMALL.split("  - name: is told what was found").next().unwrap();
    let rule = rule.replace("where: action = 'ec2:DescribeInstances'", "where: agent = 'console-agent'");
    folder.write("mine/small.yaml", &rule);
    let inventory = "fallback_owner: ops\nowners: [{id: ops, name: Ops, email: ops@example.com, kind: team}]\n\
                     agents: [{id: console-agent, title: A, principals: ['arn:aws:iam::111122223333:user/maya.ito']}]\n";
    folder.write("inventory.yaml", inventory);
    folder.run(&["rule", "test", "mine"]).ends(1);
    folder.run(&["rule", "test", "mine", "--inventory", "inventory.yaml"]).ok();
}

/// One mistake of each kind.
fn with_mistakes() -> Folder {
    let folder = Folder::new();
    let write =
        |name: &str, text: &str| folder.write(&format!("bad/{name}.yaml"), text.replace("small", name)).path("");
    let rule = SMALL.replace("findings: 0", "findings: 1");
    write("all-alike", &rule.replace("is told what was read", "is told what was found"));
    write("always", &SMALL.replace("where: action = 'ec2:DescribeInstances'", "where: 1 = 1"));
    write("never", &SMALL.replace("where: action = 'ec2:DescribeInstances'", "where: action = NULL"));
    write("words", &SMALL.replace("A console session looked at something that only machines look at.", "bad"));
    write("column", &SMALL.replace("{actor_name}", "{region}").replace("aws.cloudtrail", "github.audit"));
    write("names", &SMALL.replace("group_by: [actor]", "group_by: []\nplaybook: contain-aws-acces-key"));
    write("field", &SMALL.replace("action = 'ec2:", "userIdentity.typ = 'ec2:").replace("owasp.nhi7", "owasp.nhi17"));
    write("form", &SMALL.replace("attack.t1078.004", "attack.T1078.004").replace("severity: low", "severity: low "));
    write("key", &SMALL.replace("severity:", "sevrity:"));
    folder.write(
        "bad/sigma.yml",
        "title: S\nlogsource: {product: aws, service: cloudtrail}\ndetection:\n  \
                                   s: {eventNme: X}\n  condition: s\n",
    );
    let exception = "id: old\nrule: smal\nwhere: action = 'x'\nowner: maya.ito\nreason: old\nexpires: 2026-03-01\n";
    folder.write("bad/exceptions/old.yaml", exception);
    folder.write("bad/exceptions/half.yaml", "id: half\nrule: any\nwhere: action = 'x'\nexpires: 2026-03-01\n");
    folder.write("bad/overlays/mine.yaml", "rule: small\nset: {severty: low}\n");
    folder.write("bad/overlays/none.yaml", "rule: aws-static-key-usd\nset: {severity: low}\n");
    folder.write("bad/playbooks/any.yaml", "this is not looked at");
    folder
}

#[test]
fn each_lint_names_file_line_and_remedy() {
    let folder = with_mistakes();
    let ran = folder.run(&["rule", "lint", "bad", "--as-of", "2026-11-01", "--sarif", "lint.sarif"]).ends(1);
    let line = |row: &Value| {
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        format!("{}:{}: {} [{} {}]", text("file"), row["line"], text("problem"), text("level"), text("lint"))
    };
    insta::assert_snapshot!("lints", ran.rows().iter().map(line).collect::<Vec<_>>().join("\n"));
    let log: Value = serde_json::from_str(&folder.read("lint.sarif")).unwrap();
    assert_eq!(log["runs"][0]["results"].as_array().map(Vec::len), Some(ran.rows().len()));
    let printed =
        folder.run(&["-q", "rule", "lint", "bad", "--as-of", "2026-11-01", "--format", "sarif"]).ends(1).stdout;
    assert_eq!(serde_json::from_str::<Value>(&printed).unwrap(), log);
}

#[test]
fn without_a_date_expiry_is_not_looked_at_and_that_is_said() {
    let folder = Folder::new();
    let text =
        "id: old\nrule: aws-static-key-used\nwhere: ip = '192.0.2.1'\nowner: a\nreason: b\nexpires: 2026-03-01\n";
    folder.write("exceptions/old.yaml", text);
    folder.run(&["rule", "lint", "exceptions"]).ok().says(&["--as-of DATE"]);
    folder.run(&["rule", "lint", "exceptions", "--as-of", "2026-02-28"]).ok();
    let ran = folder.run(&["rule", "lint", "exceptions", "--as-of", "2026-03-01"]).ends(1);
    ran.shows(&["exception `old` expired at 2026-03-01T00:00:00Z: delete it, or ask a for a new date"]);
    folder.run(&["rule", "lint", "exceptions", "--as-of", "soon"]).ends(3).says(&["2027-03-31"]);
}

/// What code scanning services ask of a log, and the parts of the schema that apply to ours.
#[test]
fn problems_are_sarif() {
    let folder = Folder::new();
    folder.write("bad/small.yaml", SMALL.replace("attack.t1078.004", "attack.T1078.004"));
    folder.run(&["rule", "lint", "bad", "--sarif", "lint.sarif"]).ends(1);
    let log: Value = serde_json::from_str(&folder.read("lint.sarif")).unwrap();
    assert_eq!((log["version"].as_str(), log["runs"].as_array().map(Vec::len)), (Some("2.1.0"), Some(1)));
    assert!(log["$schema"].as_str().unwrap().ends_with("sarif-schema-2.1.0.json"));
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    assert!(
        run["tool"]["driver"]["name"].is_string()
            && rules.iter().all(|rule| rule["shortDescription"]["text"].is_string())
    );
    for result in run["results"].as_array().unwrap() {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert!(["none", "note", "warning", "error"].contains(&result["level"].as_str().unwrap()));
        let place = &result["locations"][0]["physicalLocation"];
        assert!(!place["artifactLocation"]["uri"].as_str().unwrap().starts_with(['/', '.']));
        assert!(place["region"]["startLine"].as_u64() >= Some(1));
        assert!(result["message"]["text"].is_string() && result["partialFingerprints"].is_object());
    }
    insta::assert_snapshot!("sarif", serde_json::to_string_pretty(&run["results"]).unwrap());
}

#[test]
fn fixes_are_made_in_the_text_and_only_once() {
    let folder = Folder::new();
    let messy =
        SMALL.replacen("id: small\n", "# Why this rule: see the wiki.\n", 1).replace("severity: low", "level: low   ");
    let messy = messy.replace("attack.t1078.004", "attack.T1078.004").replace("tests:\n", "tests:   # both kinds\n");
    folder.write("mine/small.yaml", &messy);
    folder.run(&["rule", "lint", "mine"]).ends(1).shows(&["`rule lint --fix` puts it right"]);
    let ran = folder.run(&["rule", "lint", "mine", "--fix"]).ok();
    insta::assert_snapshot!("fixes", ran.stderr);
    let fixed = folder.read("mine/small.yaml");
    assert!(fixed.starts_with("id: small\n# Why this rule: see the wiki.\ntitle:"), "{fixed:.200}");
    assert!(fixed.contains("tests:   # both kinds\n"));
    let again = folder.run(&["rule", "lint", "mine", "--fix"]).ok();
    assert!(!again.stderr.contains("fixed "), "{}", again.stderr);
    assert_eq!(folder.read("mine/small.yaml"), fixed);
    folder.run(&["rule", "lint", "mine", "--fix", "--editor-header", "schemas"]).ok();
    let header = "# yaml-language-server: $schema=../schemas/rule.schema.json\nid: small\n";
    assert!(folder.read("mine/small.yaml").starts_with(header));
    folder.run(&["rule", "lint", "mine"]).ok();
    folder.run(&["rule", "lint", "--fix"]).ends(3);
}

/// The shipped files are as `--fix` would write them.
#[test]
fn nothing_shipped_wants_fixing() {
    let pack = keytrail::pack::Pack::embedded();
    let problems = keytrail::lint::fix::problems(&pack);
    assert!(problems.is_empty(), "{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
}

#[test]
fn rules_are_listed_by_state_source_tag_and_severity() {
    let folder = Folder::new();
    folder.write("mine/trial.yaml", SMALL.replace("small", "trial").replace("source:", "state: shadow\nsource:"));
    folder.write("mine/sleeping.yaml", SMALL.replace("small", "sleeping").replace("source:", "state: off\nsource:"));
    let stateful = "window: {within: 10m, count: {gte: 3}}\ngroup_by: [actor]";
    folder.write("mine/stateful.yaml", SMALL.replace("small", "stateful").replace("group_by: [actor]", stateful));
    let set = ["--rules", "mine", "--no-builtin-rules"];
    let list = |more: &[&str]| {
        let rows = folder.run(&[&["rule", "list"], &set[..], more].concat()).ok().rows();
        rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(list(&[]), ["sleeping", "stateful", "trial"]);
    assert_eq!(list(&["--state", "shadow"]), ["trial"]);
    assert_eq!(list(&["--state", "on", "--source", "aws.cloudtrail", "--tag", "attack.T1078"]), ["stateful"]);
    assert!(list(&["--severity", "medium"]).is_empty() && list(&["--source", "gcp.audit"]).is_empty());
    let rows = folder.run(&[&["rule", "list"], &set[..]].concat()).ok().rows();
    assert_eq!(
        (rows[1]["kind"].as_str(), rows[1]["window"].as_str()),
        (Some("settled"), Some("count within 10m, sliding"))
    );
    assert_eq!((rows[0]["kind"].as_str(), rows[0]["state"].as_str()), (Some("immediate"), Some("off")));
    folder.run(&["rule", "list", "--state", "on trial"]).ends(3).says(&["shadow"]);
}

#[test]
fn coverage_is_shown_exported_and_held_to_what_is_promised() {
    let folder = Folder::new();
    folder.run(&["rule", "coverage", "--fail-on-gaps", "--navigator", "layer.json"]).ok();
    let layer: Value = serde_json::from_str(&folder.read("layer.json")).unwrap();
    assert_eq!(layer["versions"]["layer"], "4.5");
    assert!(layer["techniques"].as_array().unwrap().len() > 20);
    folder.write("mine/detections/small.yaml", SMALL).write("mine/coverage.yaml", PROMISES);
    let set = ["rule", "coverage", "--rules", "mine", "--no-builtin-rules", "--navigator", "layer.json"];
    let ran = folder.run(&set).ok().says(&["log sources without a rule of their own: ", "github.audit"]);
    let owasp: Vec<Value> = ran.rows().into_iter().filter(|row| row["kind"] != "source").collect();
    insta::assert_snapshot!("coverage", owasp.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    insta::assert_snapshot!("navigator", folder.read("layer.json"));
    folder.run(&[&set[..], &["--fail-on-gaps"]].concat()).ends(1).says(&[
        "2 promised and without a rule that is on: T1528 Steal Application Access Token (tokens work from anywhere); \
         NHI1 Improper Offboarding (identities outlive their use)",
    ]);
    folder.write("mine/coverage.yaml", "atack: []\n").run(&set).ends(2).says(&["coverage.yaml:1: unknown key `atack`"]);
}

const PROMISES: &str = "attack:
  - {id: T1078.004, name: Cloud Accounts, reason: sign-in}
  - {id: T1528, name: Steal Application Access Token, reason: tokens work from anywhere}
owasp:
  - {id: NHI1, name: Improper Offboarding, reason: identities outlive their use}
";

#[test]
fn fields_show_an_example_and_know_the_user_s_mappings() {
    let folder = Folder::new();
    let columns = folder.run(&["rule", "fields"]).ok().rows();
    let example = |name: &str| columns.iter().find(|row| row["column"] == name).unwrap()["example"].clone();
    assert_eq!(example("outcome"), "outcome = 'denied'");
    assert_eq!(example("resources"), "array_has(resources, '…')");
    let mapping = std::fs::read_to_string(repository("ingest/mappings/github.audit.yaml")).unwrap();
    folder.write("mine/mappings/own.audit.yaml", mapping.replace("source: github.audit", "source: own.audit"));
    folder.run(&["rule", "fields", "own.audit", "--rules", "mine"]).ok();
    folder.run(&["rule", "fields", "own.audit"]).ends(3).says(&["no mapping for log source `own.audit`"]);
}

/// Pre-commit hands over whatever files changed, one name each.
#[test]
fn the_hooks_of_pre_commit_run() {
    let hooks = std::fs::read_to_string(repository(".pre-commit-hooks.yaml")).unwrap();
    let folder = Folder::new();
    folder.write("rules/detections/aws-static-key-used.yaml", shipped());
    let entries: Vec<&str> = hooks.lines().filter_map(|line| line.trim().strip_prefix("entry: ")).collect();
    assert_eq!(entries.len(), 2);
    for entry in entries {
        folder.shell(&format!("export -f keytrail; {entry} rules/detections/aws-static-key-used.yaml")).ok();
    }
}
