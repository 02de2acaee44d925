//! A real server on loopback, started by one of the scripts beside this file and gone when it is dropped. Shared by the
//! tests of several crates, which name this file by its path.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Server {
    /// `None` where it cannot be had: what was not tested then is said.
    pub(crate) fn start(script: &str, arguments: &[&OsStr], untested: &str) -> Option<Self> {
        let skipped = |why: &str| {
            eprintln!("skipped: {untested}: {why}");
            None
        };
        let script = format!("{}/../tests/servers/{script}", env!("CARGO_MANIFEST_DIR"));
        let command =
            Command::new("python3").arg(&script).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let Ok(mut child) = command else { return skipped("python3 is not there") };
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let port = line.trim().strip_prefix("port ").and_then(|port| port.parse().ok());
        let server = Self { child, port: port.unwrap_or_default() };
        let Some(why) = line.trim().strip_prefix("skipped: ") else {
            assert!(port.is_some(), "{script} said `{}`", line.trim());
            return Some(server);
        };
        skipped(why)
    }
}
