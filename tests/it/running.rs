//! The binary as a service, and how tests talk to it.
#![expect(clippy::disallowed_methods, reason = "a test waits for a process by the clock on the wall")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

pub fn keytrail_in(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_keytrail")).args(arguments).current_dir(folder).output().expect("the binary")
}

/// A folder with a configuration that reads `logs` and what is pushed.
pub fn place(more: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("logs")).expect("a folder");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let inventory = root.join("rules/inventory");
    let config = format!("out: out\nlake: {{at: lake}}\ninventory: ['{}']\n{more}", inventory.display());
    fs::write(folder.path().join("keytrail.yaml"), config).expect("a file");
    folder
}

pub fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Findings by id, what depends on where the records stood left out.
pub fn findings(folder: &Path, arguments: &[&str]) -> BTreeMap<String, Value> {
    let text = done(&keytrail_in(folder, arguments));
    let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    rows.map(|row| (row["id"].as_str().expect("an id").to_owned(), row)).collect()
}

/// A service that is killed when the test is over.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Running {
    pub fn start(folder: &Path) -> Self {
        Self::spawn(folder, Command::new(env!("CARGO_BIN_EXE_keytrail")).args(["run", "--log", "json"]))
    }

    /// The same by a command that becomes the service.
    pub fn spawn(folder: &Path, command: &mut Command) -> Self {
        let log = fs::File::options().create(true).append(true).open(folder.join("log")).expect("a log");
        Self(command.current_dir(folder).stderr(log).spawn().expect("the binary"))
    }

    pub fn signal(&self, signal: &str) {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().expect("kill").success());
    }

    /// Its exit code, once it is through.
    pub fn end(mut self) -> Option<i32> {
        self.signal("-TERM");
        let mut code = None;
        wait_for("its end", || {
            code = self.0.try_wait().expect("a process");
            code.is_some()
        });
        code.expect("an end").code()
    }
}

pub fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(30), "{what} did not come");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Status and body.
pub fn ask(port: u16, request: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut rest = String::new();
    reader.read_to_string(&mut rest).ok()?;
    Some((first.split(' ').nth(1)?.parse().ok()?, rest))
}

pub fn get(port: u16, path: &str) -> Option<(u16, String)> {
    ask(port, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
}

pub fn push(port: u16, body: &str) -> Option<u16> {
    let length = body.len();
    let request =
        format!("POST /v1/push HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    ask(port, &request).map(|(status, _)| status)
}

pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

pub fn with_push() -> (tempfile::TempDir, u16, u16) {
    let (sends, asks) = (free_port(), free_port());
    let folder = place(&format!(
        "sources:\n  push: {{lateness: 1s, http: {{listen: '127.0.0.1:{sends}', spool: spool}}}}\nrun: {{listen: '127.0.0.1:{asks}', checkpoint_every: 1s, lease: 2s}}\n"
    ));
    (folder, sends, asks)
}

pub fn sample_lines() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sample-events/aws.cloudtrail");
    let mut lines = Vec::new();
    for entry in fs::read_dir(path).expect("samples").map(|entry| entry.expect("a file").path()) {
        if entry.extension().is_some_and(|ending| ending == "jsonl") {
            lines.extend(fs::read_to_string(entry).expect("a text").lines().map(str::to_owned));
        }
    }
    lines
}

/// Waits until the service has found in its own store what a scan of the same lines finds, each with the same count.
pub fn finds_what_a_scan_finds(folder: &Path, lines: &[String]) {
    fs::write(folder.join("all.jsonl"), lines.join("\n")).expect("a file");
    let counts = |found: &BTreeMap<String, Value>| -> BTreeMap<String, Value> {
        found.iter().map(|(id, finding)| (id.clone(), finding["count"].clone())).collect()
    };
    let scan = counts(&findings(folder, &["scan", "all.jsonl", "--dry-run", "-q", "-o", "ndjson"]));
    let began = Instant::now();
    loop {
        let run = counts(&findings(folder, &["finding", "list", "-o", "ndjson"]));
        if run == scan {
            return;
        }
        let log = || fs::read_to_string(folder.join("log")).expect("a log");
        assert!(began.elapsed() < Duration::from_secs(30), "{scan:#?}\n{run:#?}\n{}", log());
        std::thread::sleep(Duration::from_millis(200));
    }
}
