//! The service as its users run it: the binary over real files, a real port and a real store.
#![expect(clippy::disallowed_methods, reason = "a test waits for a process by the clock on the wall")]

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::running::*;

const FILES: &str = "sources: {drop: {lateness: 2s, files: {at: logs, every: 50ms, settle: 300ms}}}\n";

fn samples(into: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sample-events");
    for entry in walkdir::WalkDir::new(&from).into_iter().map(|entry| entry.expect("a file")) {
        let to = into.join(entry.path().strip_prefix(&from).expect("inside"));
        if entry.file_type().is_dir() {
            fs::create_dir_all(to).expect("a folder");
        } else {
            fs::copy(entry.path(), to).expect("a copy");
        }
    }
}

#[test]
fn a_run_over_what_is_there_finds_what_a_scan_finds() {
    let folder = place(FILES);
    samples(&folder.path().join("logs"));
    let ran = keytrail_in(folder.path(), &["run", "--once"]);
    let log = String::from_utf8_lossy(&ran.stderr);
    done(&ran);
    let run = findings(folder.path(), &["finding", "list", "-o", "ndjson"]);
    let lake = done(&keytrail_in(
        folder.path(),
        &["query", "--lake", "lake", "SELECT count(*) AS n FROM events", "-o", "csv"],
    ));
    let read = done(&keytrail_in(folder.path(), &["source", "list", "-o", "ndjson"]));
    let read: Value = serde_json::from_str(&read).expect("a row");
    assert_eq!(lake.lines().nth(1), Some(read["events"].to_string().as_str()), "the lake holds each event once");
    let scan = findings(folder.path(), &["scan", "logs", "--out", "scanned", "-q", "-o", "ndjson"]);
    assert!(scan.len() > 100, "{} findings", scan.len());
    for (id, wanted) in &scan {
        let status = || done(&keytrail_in(folder.path(), &["status", "-o", "csv"]));
        assert_eq!(run.get(id), Some(wanted), "{id}\n{log}\n{}", status());
    }
    assert_eq!(run.len(), scan.len());
    // Once more finds nothing new, and what was found stays.
    done(&keytrail_in(folder.path(), &["run", "--once", "-q"]));
    assert_eq!(findings(folder.path(), &["finding", "list", "-o", "ndjson"]), run);
    assert!(fs::read_dir(folder.path().join("out/tickets")).expect("tickets").count() > 10);
}

#[test]
fn what_is_pushed_is_found_at_once_and_told_on_the_way() {
    let (folder, sends, asks) = with_push();
    let running = Running::start(folder.path());
    wait_for("a listener", || push(sends, &format!("{}\n", sample_lines().join("\n"))) == Some(200));
    wait_for("a finding", || {
        let output = keytrail_in(folder.path(), &["finding", "list", "-o", "ndjson"]);
        output.status.success() && !output.stdout.is_empty()
    });
    wait_for("readiness", || get(asks, "/readyz").is_some_and(|(status, _)| status == 200));
    assert_eq!(get(asks, "/healthz").expect("an answer").0, 200);
    let (_, figures) = get(asks, "/metrics").expect("figures");
    let read = format!("keytrail_events_received_total{{source=\"push\"}} {}", sample_lines().len());
    assert!(figures.contains(&read), "{figures}");
    for identity in ["AKIA", "ASIA", "arn:aws", "@example.com"] {
        assert!(!figures.contains(identity), "{identity} in the figures");
    }
    let tail = done(&keytrail_in(folder.path(), &["tail", "--no-follow", "--last", "5", "-o", "ndjson"]));
    assert!(!tail.is_empty());
    let status = done(&keytrail_in(folder.path(), &["status", "-o", "table"]));
    assert!(status.contains("detector") && status.contains("push"), "{status}");
    assert_eq!(running.end(), Some(143));
    let log = fs::read_to_string(folder.path().join("log")).expect("a log");
    assert!(log.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{log}");
    assert!(log.contains("stopped with everything committed"), "{log}");
}

#[test]
fn a_service_that_is_killed_again_and_again_loses_nothing_and_finds_nothing_twice() {
    let (folder, sends, _) = with_push();
    let lines = sample_lines();
    let mut running = Running::start(folder.path());
    for (turn, part) in lines.chunks(lines.len() / 6 + 1).enumerate() {
        let body = format!("{}\n", part.join("\n"));
        wait_for("an answer", || push(sends, &body) == Some(200));
        std::thread::sleep(Duration::from_millis(120 * (turn as u64 % 4)));
        running.0.kill().expect("a kill");
        running.0.wait().expect("an end");
        running = Running::start(folder.path());
    }
    let total = lines.len() as u64;
    wait_for("every record", || {
        let output = keytrail_in(folder.path(), &["source", "list", "-o", "ndjson"]);
        let row = serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default();
        row["events"].as_u64().is_some_and(|events| events >= total)
    });
    finds_what_a_scan_finds(folder.path(), &lines);
    assert_eq!(running.end(), Some(143));
}

#[test]
fn rules_that_do_not_load_leave_the_old_ones_in_force() {
    let (folder, sends, _) = with_push();
    let rules = folder.path().join("more/detections");
    fs::create_dir_all(&rules).expect("a folder");
    let config = fs::read_to_string(folder.path().join("keytrail.yaml")).expect("a file");
    fs::write(folder.path().join("keytrail.yaml"), format!("{config}rules: {{folders: [more]}}\n")).expect("a file");
    let running = Running::start(folder.path());
    wait_for("a listener", || push(sends, "{}\n") == Some(200));
    fs::write(rules.join("bad.yaml"), "id: [\n").expect("a file");
    running.signal("-HUP");
    let says = |what: &str| fs::read_to_string(folder.path().join("log")).is_ok_and(|log| log.contains(what));
    wait_for("a refusal", || says("the old ones stay in force"));
    fs::remove_file(rules.join("bad.yaml")).expect("a file");
    running.signal("-HUP");
    wait_for("new rules", || says("evaluates with the new rules"));
    assert_eq!(running.end(), Some(143));
}

#[test]
fn a_check_and_a_wrong_configuration_say_what_to_do() {
    let folder = place("sources: {drop: {files: {at: nowhere}}}\n");
    let output = keytrail_in(folder.path(), &["run", "--check"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("missing drop: read") && said.contains("no such file or folder"), "{said}");
    for (config, wanted) in [
        ("", "no source is configured"),
        ("sources: {drop: {lateness: 5, files: {at: logs}}}\n", "is no duration; write one such as 30s"),
        ("sources: {drop: {}}\n", "exactly one of `files`"),
        ("sources: {push: {http: {listen: '0.0.0.0:1', spool: s}}}\n", "name a `token_file`"),
        ("sources: {drop: {files: {at: logs}}}\nrun: {listen: '0.0.0.0:1'}\n", "listen_token_file"),
    ] {
        let folder = place(config);
        let output = keytrail_in(folder.path(), &["run", "--once"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{config}: {said}");
        assert!(said.contains(wanted), "{config}: {said}");
    }
}

#[test]
fn a_run_over_what_is_there_ends_where_there_is_nothing_to_read_from() {
    let folder = place("sources: {drop: {files: {at: nowhere}}}\n");
    let output = keytrail_in(folder.path(), &["run", "--once"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("source `drop` gives nothing") && said.contains("nowhere"), "{said}");
}

#[test]
fn spans_go_to_a_collector_and_hold_no_identity() {
    let collector = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = collector.local_addr().expect("an address");
    let (sender, sent) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in collector.incoming() {
            let mut stream = stream.expect("a sender");
            stream.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout");
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).ok();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").ok();
            sender.send(String::from_utf8_lossy(&bytes).into_owned()).ok();
        }
    });
    let folder = place(&format!("{FILES}run: {{listen: null, traces: 'http://{at}/v1/traces'}}\n"));
    let lines = sample_lines().join("\n");
    fs::write(folder.path().join("logs/a.jsonl"), format!("{lines}\n")).expect("a file");
    done(&keytrail_in(folder.path(), &["run", "--once"]));
    let mut got = String::new();
    while let Ok(more) = sent.recv_timeout(Duration::from_secs(3)) {
        got.push_str(&more);
    }
    assert!(got.starts_with("POST /v1/traces") && got.contains("delivery") && got.contains("checkpoint"), "{got}");
    assert!(!got.contains("AKIA") && !got.contains("arn:aws"), "{got}");
}
