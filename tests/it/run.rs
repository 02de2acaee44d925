//! Runs the binary as its user does: in a folder of its own, with a clean environment. Nothing else belongs here.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// A fresh folder that is gone when it is dropped.
pub struct Folder(tempfile::TempDir);

/// How a run ended.
pub struct Ran {
    pub stdout: String,
    pub stderr: String,
    pub code: i32,
}

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file, with the folders above it.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> &Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
        self
    }

    /// Copies a sample file of the repository to `name`.
    pub fn sample(&self, name: &str, sample: &str) -> &Self {
        self.write(name, std::fs::read(repository(&format!("sample-events/{sample}"))).unwrap())
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|fault| panic!("{name}: {fault}"))
    }

    /// `keytrail`, ready to be started here.
    pub fn command(&self) -> Command {
        self.here(env!("CARGO_BIN_EXE_keytrail"))
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        ended(self.command().args(arguments))
    }

    /// A shell line, in which `keytrail` is the binary.
    pub fn shell(&self, line: &str) -> Ran {
        let define = format!("keytrail() {{ '{}' \"$@\"; }}", env!("CARGO_BIN_EXE_keytrail"));
        ended(self.here("bash").arg("-c").arg(format!("{define}\n{line}")))
    }

    fn here(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.0.path()).stdin(Stdio::null());
        ["KEYTRAIL_CONFIG", "NO_COLOR", "CLICOLOR_FORCE", "COLUMNS"].into_iter().for_each(|name| {
            command.env_remove(name);
        });
        command
    }
}

impl Ran {
    /// Everything went well.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.ends(0)
    }

    #[track_caller]
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {:.2000}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// All of these stand in what it said on stderr.
    #[track_caller]
    pub fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.stderr.contains(part), "`{part}` is not in: {}", self.stderr);
        }
        self
    }

    /// All of these stand in its data.
    #[track_caller]
    pub fn shows(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.stdout.contains(part), "`{part}` is not in: {:.6000}", self.stdout);
        }
        self
    }

    /// stdout as ndjson.
    #[track_caller]
    pub fn rows(&self) -> Vec<Value> {
        ndjson(&self.stdout)
    }
}

#[track_caller]
pub fn ndjson(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|fault| panic!("{fault} in {line}"))).collect()
}

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn ended(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        code: output.status.code().unwrap_or(-1),
    }
}
