//! The command line: help that helps, exit codes, formats, and every command over files and over a store.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::run::{Folder, Ran, repository};

const SAMPLE: &str = "aws.cloudtrail/mcp-ambient-key.jsonl";
const STORE: &[&str] = &["--store", "out/keytrail.db"];

/// A folder with one log file.
fn with_log() -> Folder {
    let folder = Folder::new();
    folder.sample("a.jsonl", SAMPLE);
    folder
}

/// A folder in which the demo has run into `out`.
fn with_store() -> Folder {
    let folder = Folder::new();
    folder.run(&["-q", "demo", "--out", "out"]).ok();
    folder
}

fn stored(folder: &Folder, arguments: &[&str]) -> Ran {
    folder.run(&[arguments, STORE].concat())
}

fn words(row: &Value, key: &str) -> String {
    row[key].as_str().unwrap_or_default().to_owned()
}

#[test]
fn the_help_shows_everything_on_one_screen() {
    let help = Folder::new().run(&["--help"]).ok().stdout;
    assert!(help.lines().count() < 60, "{help}");
    insta::assert_snapshot!(help, @r#"
    Watches every credential that machines and AI agents consume, across clouds; finds misuse, names the
    owner, plans the exact containment and writes the ticket

    Usage: keytrail [OPTIONS] <COMMAND>

    Commands:
      demo        Replay the embedded sample events through the whole pipeline, in shadow mode; nothing
                  else is needed
      scan        Look through log files: .json, .jsonl, .gz, .zst, in every envelope; the log source is
                  recognised
      run         Run the service: read every source of the configuration as it comes, and tell owners
                  what is found
      source      Sources of the configuration: list, check, lag, reconcile, backfill, replay-rejects
      status      How the service does, as its store tells
      tail        Findings as they come
      query       Run SQL over scanned files or over the store: events, findings, actions, credentials,
                  owners, edges, tickets, rejects
      rule        Rules: list, test, lint, coverage, fields, functions, schema, explain
      finding     Findings in the store
      action      Planned actions in the store
      credential  Credentials seen in use
      lake        Events kept as Parquet: what is there, compacting, deleting what is old
      config      The configuration file
      version     Print the version
      completion  Print a shell completion script
      help        Print this message or the help of the given subcommand(s)

    Options:
      -c, --config <FILE>    Configuration file; without it `keytrail.yaml` in this folder, if there is
                             one [env: KEYTRAIL_CONFIG=]
      -o, --output <OUTPUT>  How to print data: table on a terminal and ndjson in a pipe, unless said
                             [possible values: table, ndjson, json, csv]
      -q, --quiet            Say nothing but data and errors
      -h, --help             Print help
      -V, --version          Print version

    Examples:
      keytrail demo                                   see what it does, on logs that it brings along
      keytrail scan cloudtrail/ --report report.html  look through your own logs
      keytrail query --data cloudtrail/ "SELECT credential, count(*) n FROM events GROUP BY 1"
      keytrail rule test my-rules/                    test your own rules, offline

    Exit codes: 0 done, 1 findings where --fail-on asked for none or failed rule tests,
    2 a rule does not compile, 3 configuration or usage, 4 a provider refused, 5 the guard stopped it.
    "#);
}

/// Command names that a help text lists.
fn commands(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
}

fn check_help(folder: &Folder, command: &[String]) {
    let arguments: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
    let help = folder.run(&arguments).ok().stdout;
    let first = help.lines().next().unwrap_or_default();
    assert!(first.len() > 10 && !first.starts_with("Usage"), "{command:?} does not say what it is for: {help}");
    let lines: Vec<&str> = help.lines().collect();
    for pair in lines.windows(2) {
        let entry = pair[0].trim_start();
        let is_value = entry.starts_with('<') || (entry.starts_with('[') && !entry.contains(':'));
        let is_entry = pair[0].starts_with("  ") && (entry.starts_with('-') || is_value);
        let indent = |line: &str| line.len() - line.trim_start().len();
        let explained = entry.contains("  ") || indent(pair[1]) > indent(pair[0]);
        assert!(!is_entry || explained, "{command:?} does not explain `{entry}`");
    }
    for name in commands(&help) {
        check_help(folder, &[command, &[name]].concat());
    }
}

#[test]
fn the_help_of_every_command_explains_each_option() {
    let folder = Folder::new();
    assert!(commands(&folder.run(&["--help"]).stdout).len() >= 10);
    check_help(&folder, &[]);
}

#[test]
fn usage_errors_end_with_3() {
    let folder = with_log();
    for arguments in [
        vec!["frobnicate"],
        vec!["scan"],
        vec!["scan", "--nonsense", "a.jsonl"],
        vec!["scan", "--fail-on", "hihg", "a.jsonl"],
        vec!["scan", "--dry-run", "--out", "x", "a.jsonl"],
        vec!["-o", "xml", "rule", "list"],
        vec!["credential", "list", "--lifetime", "stattic"],
        vec!["query"],
        vec!["completion", "tcsh"],
    ] {
        let ran = folder.run(&arguments).ends(3);
        assert!(ran.stderr.starts_with("error: ") && ran.stdout.is_empty(), "{arguments:?}: {}", ran.stderr);
    }
    folder.run(&["scna"]).ends(3).says(&["scan"]);
    folder.run(&["query", "SELECT 1"]).ends(3).says(&[
        "no store at `keytrail-out/keytrail.db`",
        "keytrail scan",
        "--store",
    ]);
}

#[test]
fn the_formats_hold_the_same_rows() {
    let folder = with_log();
    let scan = |format: &str| folder.run(&["-o", format, "scan", "--dry-run", "a.jsonl"]).ok();
    let rows = scan("ndjson").rows();
    assert!(!rows.is_empty());
    assert_eq!(serde_json::from_str::<Vec<Value>>(&scan("json").stdout).unwrap(), rows);
    let csv = scan("csv").stdout;
    assert_eq!(csv.lines().count(), rows.len() + 1);
    assert!(csv.lines().next().unwrap().starts_with("id,severity,rule,"), "{csv}");
    let table = scan("table").stdout;
    assert!(table.contains(&words(&rows[0], "id")[..12]), "{table}");
    assert_eq!(folder.run(&["scan", "--dry-run", "a.jsonl"]).ok().rows(), rows, "a pipe gets ndjson");
}

#[test]
fn no_colour_where_it_is_not_wanted() {
    let folder = with_log();
    let escape = '\u{1b}';
    let piped = folder.run(&["-o", "table", "scan", "--dry-run", "a.jsonl"]).ok();
    assert!(!piped.stdout.contains(escape) && !piped.stderr.contains(escape));
    // `script` gives a terminal; where it is not installed, only the pipe is tested.
    let terminal = |set: &str| {
        folder.shell(&format!(
            "{set} script -qec \"'{}' scan --dry-run a.jsonl\" /dev/null",
            env!("CARGO_BIN_EXE_keytrail")
        ))
    };
    let coloured = terminal("");
    if coloured.code != 0 {
        eprintln!("not run: no `script` to give a terminal");
        return;
    }
    assert!(coloured.stdout.contains("\u{1b}[1;31mHIGH"), "{}", coloured.stdout);
    let plain = terminal("NO_COLOR=1").ok();
    assert!(plain.stdout.contains("HIGH") && !plain.stdout.contains("\u{1b}[1;31m"), "{}", plain.stdout);
}

#[test]
fn fail_on_a_severity() {
    let folder = with_log();
    folder
        .run(&["scan", "--dry-run", "--fail-on", "high", "a.jsonl"])
        .ends(1)
        .says(&["findings of severity high or graver"]);
    folder.sample("calm.jsonl", "aws.cloudtrail/console-session.jsonl");
    let calm = folder.run(&["scan", "--dry-run", "--fail-on", "informational", "calm.jsonl"]).ok();
    assert!(calm.rows().is_empty());
}

#[test]
fn quiet_leaves_only_data() {
    let folder = with_log();
    let ran = folder.run(&["-q", "scan", "--dry-run", "a.jsonl"]).ok();
    assert_eq!(ran.stderr, "");
    assert!(!ran.rows().is_empty());
    assert!(!folder.path("keytrail-out").exists(), "--dry-run writes");
}

#[test]
fn queries_over_files() {
    let folder = with_log();
    folder.sample("b.jsonl", "github.audit/organisation-week.jsonl");
    let query = |sql: &str| folder.run(&["query", "--data", "a.jsonl", "--data", "b.jsonl", sql]);
    let sources = query("SELECT source, count(*) n FROM events GROUP BY 1 ORDER BY 1").ok().rows();
    assert_eq!(sources.iter().map(|row| words(row, "source")).collect::<Vec<_>>(), ["aws.cloudtrail", "github.audit"]);
    for table in ["events", "findings", "actions", "credentials", "owners", "edges", "tickets", "rejects"] {
        query(&format!("SELECT * FROM {table}")).ok();
    }
    query("SELECT credental FROM events").ends(3).says(&["credental", "credential"]);
    query("SELECT * FROM evnts").ends(3).says(&["evnts"]);
    query("SELECT FROM").ends(3).says(&["the query cannot be run"]);
}

#[test]
fn a_query_changes_nothing() {
    let folder = with_log();
    for sql in [
        "DROP TABLE events",
        "INSERT INTO owners VALUES ('a', 'b', 'c', 'd')",
        "COPY (SELECT 1 a) TO 'copy.csv'",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'a.jsonl'",
        "SET datafusion.execution.batch_size = 1",
    ] {
        folder.run(&["query", "--data", "a.jsonl", sql]).ends(3).says(&["the query cannot be run"]);
    }
    assert!(!folder.path("copy.csv").exists());
}

#[test]
fn queries_over_the_store() {
    let folder = with_store();
    for table in ["findings", "actions", "credentials", "owners", "edges", "tickets"] {
        let ran = stored(&folder, &["query", &format!("SELECT count(*) n FROM {table}")]).ok();
        assert!(ran.rows()[0]["n"].as_i64() > Some(0), "{table} is empty");
    }
    assert_eq!(stored(&folder, &["query", "SELECT count(*) n FROM rejects"]).ok().rows()[0]["n"], 0);
    let text = "SELECT owner, count(*) n FROM findings WHERE severity = 'critical' GROUP BY 1 ORDER BY n DESC";
    assert!(!stored(&folder, &["query", text]).ok().rows().is_empty());
    stored(&folder, &["query", "SELECT * FROM events"]).ends(3).says(&["add --data PATH"]);
    folder.write("half.jsonl", "{\"eventVersion\":\n").run(&["scan", "--out", "out", "half.jsonl"]).ok();
    let rejects = stored(&folder, &["query", "SELECT position, reason FROM rejects"]).ok().rows();
    assert_eq!(words(&rejects[0], "position"), "half.jsonl:1");
}

#[test]
fn findings_are_listed_shown_and_explained() {
    let folder = with_store();
    let all = stored(&folder, &["finding", "list"]).ok().rows();
    let grave = stored(&folder, &["finding", "list", "--severity", "critical"]).ok().rows();
    assert!(!grave.is_empty() && grave.len() < all.len());
    assert!(grave.iter().all(|row| row["severity"] == "critical"));
    let mine =
        stored(&folder, &["finding", "list", "--owner", "ben.okafor", "--rule", "aws-static-key-used"]).ok().rows();
    assert!(
        !mine.is_empty() && mine.iter().all(|row| row["owner"] == "ben.okafor" && row["rule"] == "aws-static-key-used")
    );
    let credential = words(&mine[0], "credential");
    let same = stored(&folder, &["finding", "list", "--credential", &credential]).ok().rows();
    assert!(same.iter().all(|row| row["credential"] == credential.as_str()));
    let id = words(&all[0], "id");
    let short = &id[..12];
    assert_eq!(stored(&folder, &["finding", "show", short]).ok().rows()[0]["finding_info"]["uid"], id.as_str());
    stored(&folder, &["-o", "table", "finding", "show", short]).ok().shows(&[
        &id,
        "\nowner\n",
        "\nplan\n",
        "\nevents\n",
    ]);
    stored(&folder, &["finding", "explain", short]).ok().shows(&["\nwhy\n", "the rule looks for: ", "grouped by "]);
    stored(&folder, &["finding", "show", "fnd-"]).ends(3).says(&["type more of the id"]);
    stored(&folder, &["finding", "show", "nonesuch"]).ends(3).says(&["no finding `nonesuch`", "keytrail finding list"]);
}

#[test]
fn actions_and_credentials_are_listed() {
    let folder = with_store();
    let actions = stored(&folder, &["action", "list"]).ok().rows();
    assert!(actions.iter().all(|row| row["mode"] == "shadow"));
    let finding = words(&actions[0], "finding");
    let some = stored(&folder, &["action", "list", "--finding", &finding]).ok().rows();
    assert!(!some.is_empty() && some.iter().all(|row| row["finding"] == finding.as_str()));
    let statics = stored(&folder, &["credential", "list", "--lifetime", "static"]).ok().rows();
    assert!(statics.len() >= 8 && statics.iter().all(|row| row["lifetime"] == "static"));
    let ids: BTreeSet<String> = statics.iter().map(|row| words(row, "credential")).collect();
    assert!(ids.contains("AKIAICIDEPLOYEXAMPLE") && ids.contains("AKIAIOSFODNN7EXAMPLE"), "{ids:?}");
    stored(&folder, &["credential", "list", "--lifetime", "stattic"]).ends(3).says(&["static"]);
}

#[test]
fn rules_are_listed_linted_and_explained() {
    let folder = Folder::new();
    let rules = folder.run(&["rule", "list"]).ok().rows();
    assert!(rules.len() >= 40, "{} rules", rules.len());
    folder.run(&["rule", "lint"]).ok().says(&[" 0 problems"]);
    folder.run(&["rule", "explain", "aws-static-key-used"]).ok().shows(&[
        "looks for",
        "credential_lifetime = 'static'",
        "runbook",
        "tests",
    ]);
    folder.run(&["rule", "explain", "aws-static-key-usd"]).ends(3).says(&["did you mean `aws-static-key-used`"]);
    let columns = folder.run(&["rule", "fields"]).ok().rows();
    assert!(columns.iter().any(|row| row["column"] == "credential_lifetime"));
    assert!(!folder.run(&["rule", "functions"]).ok().rows().is_empty());
    folder.run(&["rule", "fields", "aws.cloudtrail"]).ok().shows(&["userIdentity.accessKeyId"]);
    folder.run(&["rule", "fields", "aws.cloudtrial"]).ends(3).says(&["did you mean `aws.cloudtrail`"]);
}

#[test]
fn the_tests_of_a_rule_pass_or_say_what_was_found() {
    let folder = Folder::new();
    let shipped = std::fs::read_to_string(repository("rules/detections/aws/aws-static-key-used.yaml")).unwrap();
    folder.write("good/aws-static-key-used.yaml", &shipped);
    folder.write("bad/aws-static-key-used.yaml", shipped.replacen("findings: 1", "findings: 2", 1));
    let passed = folder.run(&["rule", "test", "good"]).ok().says(&["1 rules: ", " 0 failed"]);
    assert!(passed.rows().iter().all(|row| row["result"] == "passed"));
    let failed = folder.run(&["rule", "test", "bad"]).ends(1).says(&["1 rule tests failed"]);
    assert!(failed.rows().iter().any(|row| words(row, "reason").starts_with("2 findings wanted, 1 found")));
    folder
        .write("worse/mine.yaml", "id: mine\nnonsense: 1\n")
        .run(&["rule", "test", "worse"])
        .ends(2)
        .says(&["worse/mine.yaml:2"]);
    let untested = shipped.split("tests:").next().unwrap();
    folder.write("bare/aws-static-key-used.yaml", untested);
    folder
        .run(&["rule", "lint", "bare"])
        .ends(1)
        .shows(&["a rule needs a test that finds something and one that finds nothing"]);
}

#[test]
fn a_configuration_is_started_validated_and_shown() {
    let folder = with_log();
    folder.run(&["config", "init"]).ok().says(&["keytrail.yaml", "keytrail-inventory.yaml", "keytrail.schema.json"]);
    folder.run(&["config", "validate"]).ok().says(&["valid: ", " rules, 2 owners, 1 agents"]);
    folder.run(&["config", "show"]).ok().shows(&["keytrail-inventory.yaml"]);
    folder
        .write("keytrail.yaml", "out: mine\n")
        .run(&["config", "init"])
        .ends(3)
        .says(&["`keytrail.yaml` is there already", "--force"]);
    assert_eq!(folder.read("keytrail.yaml"), "out: mine\n");
    folder.run(&["-q", "scan", "a.jsonl"]).ok();
    assert!(folder.path("mine/keytrail.db").is_file(), "the configuration's `out` is not used");
    folder.run(&["config", "init", "--force"]).ok();
    folder
        .write("keytrail.yaml", "inventory: [nowhere.yaml]\n")
        .run(&["config", "validate"])
        .ends(3)
        .says(&["nowhere.yaml"]);
}

/// The keys of a value that a schema does not know.
fn unknown_keys(schema: &Value, whole: &Value, value: &Value, unknown: &mut Vec<String>) {
    let name = schema["$ref"].as_str().and_then(|path| path.strip_prefix('#'));
    let schema = name.and_then(|path| whole.pointer(path)).unwrap_or(schema);
    for (key, inner) in value.as_object().into_iter().flatten() {
        match schema["properties"].get(key) {
            Some(known) => unknown_keys(known, whole, inner, unknown),
            None => unknown.push(key.clone()),
        }
    }
}

#[test]
fn the_schema_knows_the_starter_and_refuses_other_keys() {
    let folder = Folder::new();
    folder.run(&["config", "init"]).ok();
    let schema: Value = serde_json::from_str(&folder.run(&["config", "schema"]).ok().stdout).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&folder.read("keytrail.schema.json")).unwrap(), schema);
    assert_eq!(schema["additionalProperties"], false);
    // With what the starter only shows.
    let text = folder.read("keytrail.yaml").replace("  # smtp:", "  smtp:").replace("  #   ", "    ");
    let starter: Value = serde_saphyr::from_str(&text).unwrap();
    assert!(starter["tickets"]["smtp"]["host"].is_string(), "{text}");
    let mut unknown = Vec::new();
    unknown_keys(&schema, &schema, &starter, &mut unknown);
    assert_eq!(unknown, [""; 0]);
    unknown_keys(&schema, &schema, &serde_json::json!({"rules": {"builtn": true}}), &mut unknown);
    assert_eq!(unknown, ["builtn"]);
}

#[test]
fn version_and_completion() {
    let folder = Folder::new();
    let version = folder.run(&["version"]).ok().stdout;
    assert!(version.starts_with("keytrail ") && folder.run(&["--version"]).ok().stdout == version, "{version}");
    for shell in ["bash", "zsh", "fish"] {
        folder.run(&["completion", shell]).ok().shows(&["keytrail", "fail-on", "derived_from_static"]);
    }
    assert_eq!(folder.shell("eval \"$(keytrail completion bash)\" && complete -p keytrail").ok().stderr, "");
}

const MINE: &str = "id: mine\ntitle: Mine\nseverity: low\nsource: aws.cloudtrail\ndescription: one of my own\n\
                    summary: \"{actor_name} acts\"\nwhere: \"credential_kind = 'aws_access_key'\"\ngroup_by: [actor]\n";

#[test]
fn a_folder_of_rules_adds_and_replaces() {
    let folder = with_log();
    let shipped = std::fs::read_to_string(repository("rules/detections/aws/aws-static-key-used.yaml")).unwrap();
    folder.write("more/detections/mine.yaml", MINE);
    folder.write(
        "more/detections/aws-static-key-used.yaml",
        shipped.replacen("severity: medium", "severity: critical", 1),
    );
    let found = |arguments: &[&str]| folder.run(&[&["scan", "--dry-run", "a.jsonl"], arguments].concat()).ok().rows();
    let rows = found(&["--rules", "more"]);
    let severity = |rule: &str| rows.iter().find(|row| row["rule"] == rule).map(|row| words(row, "severity"));
    assert_eq!(severity("mine").as_deref(), Some("low"));
    assert_eq!(severity("aws-static-key-used").as_deref(), Some("critical"));
    assert_eq!(rows.len(), found(&[]).len() + 1);
    folder.write("plain/mine.yaml", MINE);
    let alone = found(&["--rules", "plain", "--no-builtin-rules"]);
    assert!(!alone.is_empty() && alone.iter().all(|row| row["rule"] == "mine"), "{alone:?}");
    let twice = folder.run(&["rule", "list", "--rules", "more"]).ok().rows();
    assert_eq!(twice.iter().filter(|row| row["id"] == "aws-static-key-used").count(), 1);
}

const MAPPING: &str = r#"
source: door.access
provider: door
title: Doors of the example building
recognise: {badge: present, door: present}
envelopes: ["swipes[]"]
columns:
  time: event_time(at)
  event_id: record_id('door', at, badge, door)
  action: ('door:' || verb)
  outcome: first_of('allowed')
  actor: badge
  credential: badge
  credential_kind: first_of('badge')
  credential_lifetime: first_of('static')
  resources: texts(door)
"#;

const DOOR: &str = r#"
id: door-at-night
title: Door at night
severity: high
source: door.access
description: nobody works at night
summary: "{credential} opened a door"
where: "action = 'door:Open' AND floor = 'cellar'"
group_by: [credential]
"#;

#[test]
fn a_mapping_of_ones_own_reads_a_made_up_log_source() {
    let folder = Folder::new();
    folder.write("mine/mappings/door.access.yaml", MAPPING).write("mine/detections/door-at-night.yaml", DOOR);
    folder.write(
        "doors.json",
        r#"{"swipes":[
        {"at":"2026-11-03T01:00:00Z","badge":"badge-7","door":"d1","verb":"Open","floor":"cellar"},
        {"at":"2026-11-03T09:00:00Z","badge":"badge-8","door":"d2","verb":"Open","floor":"first"}]}"#,
    );
    folder.sample("a.jsonl", SAMPLE);
    let ran = folder.run(&["scan", "--dry-run", "--rules", "mine", "doors.json", "a.jsonl"]).ok();
    let ran = ran.says(&["aws.cloudtrail 32", "door.access 2"]);
    let door: Vec<Value> = ran.rows().into_iter().filter(|row| row["rule"] == "door-at-night").collect();
    assert_eq!(door.len(), 1);
    assert_eq!(door[0]["credential"], "badge-7");
    let rows = folder
        .run(&["query", "--rules", "mine", "--data", "doors.json", "SELECT actor FROM events ORDER BY 1"])
        .ok()
        .rows();
    assert_eq!(rows.iter().map(|row| words(row, "actor")).collect::<Vec<_>>(), ["badge-7", "badge-8"]);
    folder.write("typo/mappings/door.access.yaml", MAPPING.replace("event_time(at)", "evnt_time(at)"));
    let wrong = folder.run(&["scan", "--dry-run", "--rules", "typo", "doors.json"]).ends(2);
    wrong.says(&["typo/mappings/door.access.yaml:", "evnt_time", "event_time"]);
}

#[test]
fn a_closed_pipe_is_no_error() {
    let folder = with_store();
    folder.sample("a.jsonl", SAMPLE);
    for command in [
        "completion bash",
        "--help",
        "rule list",
        "rule fields aws.cloudtrail",
        "rule explain aws-static-key-used",
        "finding list --store out/keytrail.db",
        "query --store out/keytrail.db 'SELECT * FROM edges'",
        "config schema",
        "version",
        "-q scan --dry-run a.jsonl",
        "-q demo --out again",
    ] {
        for reader in ["true", "head -c 1"] {
            let ran = folder.shell(&format!("keytrail {command} | {reader} > /dev/null; exit ${{PIPESTATUS[0]}}"));
            assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{command} | {reader}");
        }
    }
}

#[test]
fn it_works_from_any_folder() {
    let folder = with_log();
    std::fs::create_dir_all(folder.path("deep/below")).unwrap();
    let scan =
        "cd deep/below && keytrail -q scan ../../a.jsonl --out ../../there && cd / && keytrail rule list | wc -l";
    let ran = folder.shell(scan).ok();
    assert!(folder.path("there/findings.ndjson").is_file());
    assert!(ran.stdout.trim().lines().next_back().unwrap().trim().parse::<usize>().unwrap() >= 40);
    assert_eq!(std::fs::read_dir(folder.path("deep/below")).unwrap().count(), 0, "it writes where it was not told to");
}
