//! The lake: what a scan keeps is what `query` and `rule backtest` read later, once, and until it is pruned.

use crate::run::{Folder, Ran, repository};

const EVERYTHING: &str = "SELECT log, day, event_id, actor, action, resources FROM events ORDER BY 1, 2, 3, 4, 5";

/// All samples, kept in the folder `lake`.
fn kept() -> Folder {
    let folder = Folder::new();
    let samples = repository("sample-events").display().to_string();
    let ran = folder.run(&["scan", &samples, "--lake", "lake"]).ok();
    assert!(ran.stderr.contains("592 events kept in the lake: "), "{}", ran.stderr);
    folder
}

fn files(folder: &Folder) -> Vec<String> {
    let found = walkdir::WalkDir::new(folder.path("lake")).sort_by_file_name().into_iter().flatten();
    found.filter(|entry| entry.file_type().is_file()).map(|entry| entry.path().display().to_string()).collect()
}

fn count(ran: &Ran) -> i64 {
    ran.rows()[0]["n"].as_i64().unwrap()
}

#[test]
fn rules_find_in_the_lake_what_they_find_in_the_files() {
    let folder = kept();
    let samples = repository("sample-events").display().to_string();
    let backtest = |more: &[&str]| folder.run(&[&["rule", "backtest", "--findings"], more].concat()).ok().rows();
    let from_files = backtest(&["--data", &samples]);
    assert!(from_files.len() > 100);
    assert_eq!(backtest(&["--lake", "lake"]), from_files);
    assert_eq!(backtest(&["--lake", "lake", "--threads", "3"]), from_files);
    let day = ["--since", "2026-11-04", "--until", "2026-11-05"];
    let of_a_day = backtest(&[&["--data", &samples], day.as_slice()].concat());
    assert!(!of_a_day.is_empty() && of_a_day.len() < from_files.len());
    // What is learnt of earlier days is not in the folder of that day: rules that need no memory find the same.
    let memoryless = ["--rule", "github-classic-token-used"];
    assert_eq!(
        backtest(&[&["--lake", "lake"], day.as_slice(), &memoryless].concat()),
        backtest(&[&["--data", &samples], day.as_slice(), &memoryless].concat())
    );
}

#[test]
fn events_are_asked_for_by_log_source_and_day() {
    let folder = kept();
    let ask = |sql: &str| folder.run(&["query", "--lake", "lake", sql]).ok();
    assert_eq!(count(&ask("SELECT count(*) n FROM events")), 592);
    let some = ask("SELECT count(*) n FROM events WHERE log = 'github.audit' AND day < '2026-11-04'");
    let same = ask("SELECT count(*) n FROM events WHERE source = 'github.audit' AND time < '2026-11-04T00:00:00Z'");
    assert!(count(&some) > 0 && count(&some) == count(&same));
    // The store stands beside it, where there is one.
    assert_eq!(count(&ask("SELECT count(*) n FROM findings")), 132);
    std::fs::remove_dir_all(folder.path("keytrail-out")).unwrap();
    assert_eq!(count(&ask("SELECT count(*) n FROM findings")), 0);
    assert_eq!(count(&ask("SELECT count(*) n FROM events")), 592);
}

#[test]
fn what_is_kept_twice_is_there_once() {
    let folder = kept();
    let (names, events) = (files(&folder), folder.run(&["query", "--lake", "lake", EVERYTHING]).ok().stdout);
    let samples = repository("sample-events").display().to_string();
    folder.run(&["scan", &samples, "--lake", "lake"]).ok();
    assert_eq!(files(&folder), names);
    assert_eq!(folder.run(&["query", "--lake", "lake", EVERYTHING]).ok().stdout, events);
}

#[test]
fn what_was_cut_otherwise_is_there_once_after_compacting() {
    let folder = kept();
    let events = folder.run(&["query", "--lake", "lake", EVERYTHING]).ok().stdout;
    let samples = repository("sample-events/github.audit/organisation-week.jsonl").display().to_string();
    let one_line = std::fs::read_to_string(&samples).unwrap().lines().next().unwrap().to_owned();
    folder.write("one.jsonl", one_line + "\n");
    folder.run(&["scan", "one.jsonl", "--lake", "lake"]).ok();
    assert_eq!(count(&folder.run(&["query", "--lake", "lake", "SELECT count(*) n FROM events"]).ok()), 593);
    folder.run(&["lake", "compact", "--lake", "lake"]).ok().says(&["2 small files became 1; 1 copies of records"]);
    assert_eq!(folder.run(&["query", "--lake", "lake", EVERYTHING]).ok().stdout, events);
}

#[test]
fn the_configuration_names_the_lake() {
    let folder = Folder::new();
    folder.write("etc/keytrail.yaml", "lake:\n  at: kept\n");
    let samples = repository("sample-events/github.audit").display().to_string();
    folder.run(&["-c", "etc/keytrail.yaml", "scan", &samples]).ok();
    assert!(folder.path("etc/kept/events").is_dir(), "a path in the file is relative to the file");
    let ran = folder.run(&["-c", "etc/keytrail.yaml", "lake", "list"]).ok();
    assert_eq!(ran.rows()[0]["log"], "github.audit");
    assert!(!folder.run(&["-c", "etc/keytrail.yaml", "rule", "backtest"]).ok().rows().is_empty());
    folder.run(&["rule", "backtest"]).ends(3).says(&["over which logs? name them with --data, or a lake with --lake"]);
    assert!(count(&folder.run(&["-c", "etc/keytrail.yaml", "query", "SELECT count(*) n FROM events"]).ok()) > 0);
    // Nothing is kept of a look that leaves nothing.
    std::fs::remove_dir_all(folder.path("etc/kept")).unwrap();
    folder.run(&["-c", "etc/keytrail.yaml", "scan", "--dry-run", &samples]).ok();
    assert!(!folder.path("etc/kept").exists());
}

#[test]
fn old_days_go_first_and_a_dry_run_keeps_them() {
    let folder = kept();
    let prune = |more: &[&str]| folder.run(&[&["lake", "prune", "--lake", "lake"], more].concat());
    let before = files(&folder);
    prune(&["--before", "2026-11-04", "--dry-run"]).ok().says(&["would be deleted"]);
    assert_eq!(files(&folder), before);
    prune(&["--before", "2026-11-04"]).ok();
    let days = folder.run(&["query", "--lake", "lake", "SELECT min(day) first, count(*) n FROM events"]).ok().rows();
    assert_eq!(days[0]["first"], "2026-11-04");
    prune(&["--bytes-max", "400000"]).ok();
    let bytes: u64 = files(&folder).iter().map(|file| std::fs::metadata(file).unwrap().len()).sum();
    assert!(bytes > 0 && bytes <= 400_000, "{bytes}");
    prune(&[]).ends(3).says(&["--before"]);
    folder.run(&["lake", "list"]).ends(3).says(&["which lake? name it with --lake, or as `lake.at`"]);
}

#[test]
fn a_lake_that_cannot_be_used_says_why() {
    let folder = Folder::new();
    folder.write("file", "no folder");
    let samples = repository("sample-events/github.audit").display().to_string();
    let scan = |place: &str| folder.run(&["scan", &samples, "--lake", place]);
    scan("file/lake").ends(3).says(&["the lake's folder `", "/file/lake/` cannot be used: Not a directory"]);
    scan("ftp://host/lake").ends(3).says(&["in a folder, or at an s3://, gs:// or az:// URL, not at ftp://"]);
    for reads in [
        &["query", "--lake", "laek", "SELECT 1"][..],
        &["rule", "backtest", "--lake", "laek"],
        &["lake", "list", "--lake", "laek"],
    ] {
        folder.run(reads).ends(3).says(&["no lake at `", "laek/`: `keytrail scan PATH --lake PLACE` makes one"]);
        assert!(!folder.path("laek").exists(), "a typo makes no folder");
    }
    let key = "export AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x AWS_REGION=eu-west-1";
    let ran = folder.shell(&format!("{key}; keytrail lake list --lake s3://bucket/lake")).ends(3);
    ran.says(&["AWS_SECRET_ACCESS_KEY is a key that does not expire", "lake.allow_static_key: true"]);
}

#[test]
fn what_was_found_is_written_whatever_becomes_of_the_lake() {
    let folder = Folder::new();
    folder.write("lake/events", "a file where a folder should be");
    let samples = repository("sample-events/github.audit").display().to_string();
    let ran = folder.run(&["scan", &samples, "--lake", "lake"]).ends(3);
    let ran = ran.says(&["cannot be written"]);
    assert!(!ran.rows().is_empty() && !folder.read("keytrail-out/findings.ndjson").is_empty());
}
