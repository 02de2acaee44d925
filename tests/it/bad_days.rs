//! What happens to the service, and to nobody else: a full disk, records that could not be read at first.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::running::*;

/// A service in a namespace of its own, whose folder `disk` is a small disk; `None` where that cannot be made.
fn on_a_small_disk(folder: &Path) -> Option<(Running, PathBuf)> {
    fs::create_dir(folder.join("disk")).expect("a folder");
    let made = "mount -t tmpfs -o size=32m tmpfs disk";
    let tried = Command::new("unshare").args(["-rm", "sh", "-c", made]).current_dir(folder).output();
    if !tried.is_ok_and(|tried| tried.status.success()) {
        eprintln!("skipped: a full disk: no disk can be made here (unshare -rm, mount)");
        return None;
    }
    let start = format!("{made} && exec \"$0\" run --log json");
    let mut command = Command::new("unshare");
    let running = Running::spawn(folder, command.args(["-rm", "sh", "-c", &start, env!("CARGO_BIN_EXE_keytrail")]));
    // Its own view of the disk.
    let disk = PathBuf::from(format!("/proc/{}/root{}/disk", running.0.id(), folder.display()));
    Some((running, disk))
}

/// Writes until nothing more can be written.
fn fill(path: &Path) {
    let mut ballast = fs::File::create(path).expect("a file");
    let block = vec![0_u8; 64 << 10];
    while ballast.write_all(&block).is_ok() {}
    while ballast.write_all(&block[..512]).is_ok() {}
}

/// The samples, each with an event id of its own.
fn numbered(turn: usize) -> String {
    let lines = sample_lines().into_iter().map(|line| {
        let mut event: Value = serde_json::from_str(&line).expect("JSON");
        let id = event["eventID"].as_str().map(|id| format!("{id}-{turn}"));
        id.into_iter().for_each(|id| event["eventID"] = id.into());
        format!("{event}\n")
    });
    lines.collect()
}

fn taken(port: u16) -> u64 {
    let figures = get(port, "/metrics").map_or(String::new(), |(_, figures)| figures);
    let records =
        figures.lines().find_map(|line| line.strip_prefix("keytrail_events_received_total{source=\"push\"} "));
    records.and_then(|count| count.parse().ok()).unwrap_or(0)
}

#[test]
fn while_its_database_is_away_the_service_waits_and_answers_who_asks() {
    let (nobody, asks) = (free_port(), free_port());
    let folder = place(&format!(
        "store: 'postgres://keytrail@127.0.0.1:{nobody}/keytrail'\nsources:\n  drop: {{files: {{at: logs}}}}\nrun: {{listen: '127.0.0.1:{asks}'}}\n"
    ));
    let running = Running::start(folder.path());
    wait_for("an answer", || get(asks, "/healthz").is_some_and(|(status, _)| status == 200));
    let (status, said) = get(asks, "/readyz").expect("an answer");
    assert!(status == 503 && said.contains("the store has not answered yet"), "{status} {said}");
    let tried = || fs::read_to_string(folder.path().join("log")).is_ok_and(|log| log.contains("it is tried again"));
    wait_for("a second attempt", tried);
    assert_eq!(running.end(), Some(143));
}

#[test]
fn on_a_full_disk_senders_are_asked_to_wait_and_nothing_that_was_answered_is_lost() {
    let (sends, asks) = (free_port(), free_port());
    let folder = place("");
    let config = format!(
        "out: disk/out\nlake: {{at: disk/lake}}\nsources:\n  push: {{lateness: 1s, http: {{listen: '127.0.0.1:{sends}', spool: disk/spool}}}}\nrun: {{listen: '127.0.0.1:{asks}', checkpoint_every: 1s, lease: 2s}}\n"
    );
    fs::write(folder.path().join("keytrail.yaml"), config).expect("a file");
    let Some((mut running, disk)) = on_a_small_disk(folder.path()) else { return };
    let each = sample_lines().len() as u64;
    let mut answered = String::new();
    let mut send = |turn: usize| {
        let body = numbered(turn);
        let status = push(sends, &body);
        if status == Some(200) {
            answered.push_str(&body);
        }
        status
    };
    wait_for("a listener", || send(0) == Some(200));
    wait_for("the first records", || taken(asks) == each);
    fill(&disk.join("ballast"));
    let mut turn = 1;
    wait_for("a refusal", || {
        turn += 1;
        send(turn) == Some(503)
    });
    std::thread::sleep(Duration::from_secs(3));
    assert!(running.0.try_wait().expect("a process").is_none(), "it has ended: {}", log(folder.path()));
    assert_ne!(get(asks, "/readyz").map(|(status, _)| status), None, "it answers");
    fs::remove_file(disk.join("ballast")).expect("a file");
    wait_for("room", || {
        turn += 1;
        send(turn) == Some(200)
    });
    let total = answered.lines().count() as u64;
    wait_for("every record that was answered", || taken(asks) >= total);
    assert!(log(folder.path()).contains("no space left"), "{}", log(folder.path()));
    assert_eq!(running.end(), Some(143));
}

/// A library that gives a process another clock than the machine's, where it is installed.
fn another_clock() -> Option<PathBuf> {
    let found = glob::glob("/usr/lib/*/faketime/libfaketimeMT.so.1").expect("a pattern").flatten().next();
    if found.is_none() {
        eprintln!("skipped: a clock that jumps: libfaketime is not here");
    }
    found
}

#[test]
fn a_clock_that_jumps_an_hour_forth_and_back_changes_no_finding() {
    let Some(library) = another_clock() else { return };
    let (folder, sends, asks) = with_push();
    let clock = folder.path().join("clock");
    let set = |offset: &str| fs::write(&clock, format!("{offset}\n")).expect("a file");
    set("+0");
    let mut command = Command::new(env!("CARGO_BIN_EXE_keytrail"));
    command.args(["run", "--log", "json"]).env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", &clock);
    command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let running = Running::spawn(folder.path(), &mut command);
    let lines = sample_lines();
    let mut sent = 0;
    for (part, offset) in lines.chunks(lines.len() / 3 + 1).zip(["+1h", "-1h", "+0"]) {
        let body = format!("{}\n", part.join("\n"));
        wait_for("an answer", || push(sends, &body) == Some(200));
        sent += part.len() as u64;
        wait_for("its records", || taken(asks) >= sent);
        set(offset);
        // Long enough for an idle source to move time on by that clock.
        std::thread::sleep(Duration::from_secs(3));
    }
    finds_what_a_scan_finds(folder.path(), &lines);
    assert_eq!(running.end(), Some(143));
}

fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).expect("a log")
}

#[test]
fn what_became_a_reject_is_read_again_once_a_mapping_knows_it() {
    let folder = place("sources: {drop: {lateness: 2s, files: {at: logs, every: 50ms, settle: 300ms}}}\n");
    let known = sample_lines().into_iter().next().expect("a sample");
    let unknown = r#"{"vendor":"acme","when":"2026-11-02T10:00:00Z","who":"svc-1","did":"login"}"#;
    fs::write(folder.path().join("logs/a.jsonl"), format!("{known}\n{unknown}\n")).expect("a file");
    done(&keytrail_in(folder.path(), &["run", "--once"]));
    let rows = |query: &str| done(&keytrail_in(folder.path(), &["query", query, "-o", "csv"]));
    assert!(rows("SELECT reason FROM rejects").contains("no known log source"), "{}", rows("SELECT * FROM rejects"));
    let mappings = folder.path().join("more/mappings");
    fs::create_dir_all(&mappings).expect("a folder");
    fs::write(mappings.join("acme.audit.yaml"), MAPPING).expect("a file");
    let config = fs::read_to_string(folder.path().join("keytrail.yaml")).expect("a file");
    fs::write(folder.path().join("keytrail.yaml"), format!("{config}rules: {{folders: [more]}}\n")).expect("a file");
    let said = keytrail_in(folder.path(), &["source", "replay-rejects", "drop"]);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    done(&keytrail_in(folder.path(), &["run", "--once"]));
    let logs = done(&keytrail_in(
        folder.path(),
        &["query", "--lake", "lake", "SELECT source, count(*) AS n FROM events GROUP BY 1 ORDER BY 1", "-o", "csv"],
    ));
    assert!(logs.contains("acme.audit,1") && logs.contains("aws.cloudtrail,1"), "{logs}");
}

const MAPPING: &str = "
source: acme.audit
provider: acme
title: Acme's audit log
recognise:
  vendor: acme
columns:
  time: event_time(\"when\")
  event_id: record_id(\"when\", who, did)
  service: first_of('acme')
  action: ('acme:' || did)
  outcome: first_of('allowed')
  actor: first_of(who)
  actor_kind: first_of('service_account')
";
