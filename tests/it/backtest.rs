//! What rules would have found: the same on any number of threads, by rule and day, and nothing written.

use serde_json::Value;

use crate::run::{Folder, repository};

/// Every sample in small files and one long one, so that several threads have something to do.
fn samples() -> Folder {
    let folder = Folder::new();
    let long: String = (0..40)
        .map(|_| std::fs::read_to_string(repository("sample-events/aws.cloudtrail/mcp-ambient-key.jsonl")).unwrap())
        .collect();
    folder.write("logs/long.jsonl", long);
    folder
}

fn all(folder: &Folder, command: &[&str]) -> Vec<Value> {
    let logs = folder.path("logs").display().to_string();
    let more = repository("sample-events").display().to_string();
    folder.run(&[command, &["--data", &logs, "--data", &more]].concat()).ok().rows()
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let folder = samples();
    let run = |threads| all(&folder, &["rule", "backtest", "--findings", "--threads", threads]);
    let one = run("1");
    assert!(one.len() > 50, "{} findings", one.len());
    for threads in ["2", "3", "8"] {
        assert!(run(threads) == one, "{threads} threads find otherwise");
    }
    let by_rule = |threads| all(&folder, &["rule", "backtest", "--threads", threads]);
    assert_eq!(by_rule("1"), by_rule("4"));
}

#[test]
fn a_scan_on_several_threads_is_the_same_scan() {
    let folder = samples();
    let (logs, more) = (folder.path("logs").display().to_string(), repository("sample-events").display().to_string());
    for threads in ["1", "3"] {
        folder.run(&["scan", &logs, &more, "--threads", threads, "--out", threads, "--report", "report.html"]).ok();
        folder.write(&format!("{threads}.html"), folder.read("report.html"));
    }
    assert!(folder.read("1/findings.ndjson") == folder.read("3/findings.ndjson"));
    assert!(folder.read("1.html") == folder.read("3.html"), "the report differs");
}

/// Completing only matched rows gives what completing every row gives.
#[test]
fn a_backtest_finds_what_a_scan_finds() {
    let folder = Folder::new();
    let more = repository("sample-events").display().to_string();
    let scanned = folder.run(&["scan", "--dry-run", &more]).ok().rows();
    let tested = folder.run(&["rule", "backtest", "--findings", "--data", &more]).ok().rows();
    assert!(scanned == tested);
    // Rules that read only what records say are matched before anything else is computed.
    let raw = "id: raw-only\ntitle: t\nseverity: low\nsource: aws.cloudtrail\ndescription: d\nsummary: '{actor_name} {credential}'\n\
               where: eventName LIKE '%Key%' OR userIdentity.type = 'Root'\ngroup_by: [credential, actor]\n";
    folder.write("mine/raw-only.yaml", raw);
    let mine = ["--no-builtin-rules", "--rules", "mine"];
    let scanned = folder.run(&[&["scan", "--dry-run", &more][..], &mine[..]].concat()).ok().rows();
    let tested =
        folder.run(&[&["rule", "backtest", "--findings", "--data", &more][..], &mine[..]].concat()).ok().rows();
    assert!(!scanned.is_empty() && scanned == tested);
}

#[test]
fn rows_tell_days_owners_and_actions_and_nothing_is_written() {
    let folder = samples();
    let rows = all(&folder, &["rule", "backtest", "--rule", "aws-static-key-used"]);
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!(row["rule"], "aws-static-key-used");
    for column in ["busiest_day", "owners", "actions", "first_seen", "last_seen"] {
        assert!(row[column].as_str().is_some_and(|text| !text.is_empty()), "{column}: {row}");
    }
    assert!(row["findings"].as_u64() > Some(0) && row["per_day"].as_f64() > Some(0.0), "{row}");
    let left: Vec<_> = std::fs::read_dir(folder.path("")).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["logs"]);
}

#[test]
fn times_and_rules_narrow_it() {
    let folder = Folder::new();
    let more = repository("sample-events").display().to_string();
    let run = |arguments: &[&str]| {
        folder.run(&[&["rule", "backtest", "--findings", "--detect-only", "--data", &more][..], arguments].concat())
    };
    let all = run(&[]).ok().rows();
    let times: Vec<&str> = all.iter().map(|row| row["first_seen"].as_str().unwrap()).collect();
    let middle = {
        let mut sorted = times.clone();
        sorted.sort_unstable();
        sorted[sorted.len() / 2].to_owned()
    };
    let since = run(&["--since", &middle]).ok().rows();
    assert!(!since.is_empty() && since.iter().all(|row| row["first_seen"].as_str().unwrap() >= middle.as_str()));
    let until = run(&["--until", &middle]).ok().rows();
    assert!(!until.is_empty() && until.iter().all(|row| row["last_seen"].as_str().unwrap() < middle.as_str()));
    run(&["--rule", "aws-static-key-usd"])
        .ends(3)
        .says(&["no rule `aws-static-key-usd`", "did you mean `aws-static-key-used`?"]);
    run(&["--since", "yesterday"]).ends(3).says(&["2027-03-31"]);
}
