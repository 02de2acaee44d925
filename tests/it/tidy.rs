//! The shape of the repository itself: who imports whom, how long things are, what may stand in no file.
//!
//! Reads text and manifests only. What the compiler or clippy can hold is held there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use walkdir::WalkDir;

use crate::golden::{root, skipped};

/// Longest file and longest function, in lines.
const FILE_MAX: usize = 600;
const FUNCTION_MAX: usize = 70;
const FUNCTION_MEDIAN: usize = 10;

/// The one registry that the lock file may name.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

#[test]
fn stages_never_import_each_other() {
    let allowed: [(&str, &[&str]); 7] = [
        ("model", &[]),
        ("sql", &["model"]),
        ("ingest", &["model", "sql"]),
        ("detect", &["model", "sql"]),
        ("lineage", &["model"]),
        ("remediate", &["model"]),
        ("store", &["model"]),
    ];
    for (stage, allowed) in allowed {
        let manifest = read(&root().join(stage).join("Cargo.toml"));
        for other in manifest.lines().filter_map(|line| line.trim().strip_prefix("keytrail-")) {
            let other = other.split(['.', ' ', '=']).next().unwrap_or_default();
            assert!(allowed.contains(&other), "{stage}/Cargo.toml names keytrail-{other}: only `keytrail` sees all");
        }
    }
    let sees: BTreeSet<String> = read(&root().join("keytrail/Cargo.toml"))
        .lines()
        .filter_map(|line| Some(line.strip_prefix("keytrail-")?.split('.').next()?.to_owned()))
        .collect();
    assert_eq!(sees.len(), 7, "keytrail wires every stage: {sees:?}");
}

#[test]
fn every_source_file_says_what_it_is_for() {
    for file in sources() {
        let text = read(&file);
        let lines = text.lines().take_while(|line| line.starts_with("//!")).count();
        assert!((1..=6).contains(&lines), "{}: opens with {lines} lines of `//!`, not one to six", short(&file));
    }
}

#[test]
fn files_and_functions_are_short() {
    let mut lengths = Vec::new();
    let mut long = Vec::new();
    for file in sources() {
        let text = read(&file);
        if text.lines().count() > FILE_MAX && !is_test(&file) {
            long.push(format!("{}: {} lines", short(&file), text.lines().count()));
        }
        for (line, name, length) in functions(&text) {
            if length > FUNCTION_MAX {
                long.push(format!("{}:{line}: fn {name} has {length} lines", short(&file)));
            }
            lengths.extend((!is_test(&file)).then_some(length));
        }
    }
    assert!(long.is_empty(), "split these:\n{}", long.join("\n"));
    lengths.sort_unstable();
    let median = lengths.get(lengths.len() / 2).copied().unwrap_or_default();
    assert!(lengths.len() > 500 && median <= FUNCTION_MEDIAN, "{} functions, median {median} lines", lengths.len());
}

#[test]
fn functions_are_measured_rightly() {
    let text = "fn one() {}\n\nimpl A {\n    pub(crate) async fn two(\n        a: u8,\n    ) {\n        let x = {\n        };\n    }\n\
                \n    fn three();\n}\n#[cfg(test)]\nmod tests {\n    fn four() {\n    }\n}\n";
    assert_eq!(functions(text), [(1, "one".to_owned(), 1), (4, "two".to_owned(), 6)]);
}

#[test]
fn nothing_unfinished_is_left() {
    let marks = ["todo!", "unimplemented!", "dbg!", "FIXME", "XXX:"];
    let here = |file: &PathBuf| !file.ends_with("tests/it/tidy.rs");
    for file in texts().into_iter().filter(here).filter(|file| has(file, &["rs", "py", "yaml", "cedar", "md", "sql"])) {
        for (number, line) in read(&file).lines().enumerate() {
            let found = marks.iter().find(|mark| line.contains(*mark));
            assert!(found.is_none(), "{}:{}: {}", short(&file), number + 1, found.unwrap_or(&""));
        }
    }
}

#[test]
fn the_lists_of_remediators_and_notifiers_are_their_folders() {
    let remediators = listed("remediate/src/remediators");
    let text = read(&root().join("remediate/src/remediators/mod.rs"));
    let run = text.lines().filter_map(|line| line.trim().strip_prefix('&')?.split("::").next().map(str::to_owned));
    assert_eq!(run.collect::<BTreeSet<_>>(), remediators, "`mod x;` without `&x::X,`, or the other way round");
    let notifiers = listed("remediate/src/notifiers");
    let text = read(&root().join("remediate/src/notifiers/mod.rs"));
    let told = text.lines().filter_map(|line| Some(line.strip_prefix("pub use ")?.split("::").next()?.to_owned()));
    assert_eq!(told.collect::<BTreeSet<_>>(), notifiers);
}

/// `cargo run -- demo` and the tests share one build only while no test dependency adds a feature to anything.
#[test]
fn tests_and_demo_build_the_same_dependencies() {
    let Some(run) = tree(&["-p", "keytrail", "-e", "normal,build"]) else { return };
    let Some(test) = tree(&["--workspace", "-e", "normal,dev,build"]) else { return };
    let differing: Vec<String> = run
        .iter()
        .filter(|(package, features)| test.get(*package) != Some(features))
        .map(|(package, features)| format!("{package}: run {features:?}, test {:?}", test.get(package)))
        .collect();
    assert!(run.len() > 100, "only {} packages", run.len());
    assert!(differing.is_empty(), "these would be built twice:\n{}", differing.join("\n"));
}

#[test]
fn markdown_files_have_one_title() {
    for file in texts().into_iter().filter(|file| has(file, &["md"])) {
        let text = read(&file);
        let outside = text.split("\n```").step_by(2);
        let titles = outside.flat_map(str::lines).filter(|line| line.starts_with("# ")).count();
        assert_eq!(titles, 1, "{}: titles", short(&file));
        assert!(text.starts_with("# "), "{}: the title comes first", short(&file));
    }
}

#[test]
fn no_machine_and_no_mirror_is_named() {
    let marks = ["/work/", "/root/", "/home/", "/Users/", "artifactory", "index-url", "registry=", "replace-with"];
    let here = |file: &PathBuf| !file.ends_with("tests/it/tidy.rs");
    let mut found = Vec::new();
    for file in texts().into_iter().filter(here) {
        for (number, line) in read(&file).lines().enumerate() {
            let marks = marks.iter().filter(|mark| line.contains(*mark));
            found.extend(marks.map(|mark| format!("{}:{}: {mark}", short(&file), number + 1)));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    let lock = read(&root().join("Cargo.lock"));
    let others = lock.lines().filter(|line| line.starts_with("source = ") && !line.contains(REGISTRY));
    assert_eq!(others.collect::<Vec<_>>(), Vec::<&str>::new(), "Cargo.lock");
}

/// The modules that `mod.rs` names, which must be the files beside it.
fn listed(folder: &str) -> BTreeSet<String> {
    let folder = root().join(folder);
    let text = read(&folder.join("mod.rs"));
    let named: BTreeSet<String> =
        text.lines().filter_map(|line| Some(line.strip_prefix("mod ")?.strip_suffix(';')?.to_owned())).collect();
    let not_listed = ["mod", "contract"];
    let files = std::fs::read_dir(&folder).expect("a folder").flatten().map(|entry| entry.path());
    let stems = files.filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned()));
    let files: BTreeSet<String> = stems.filter(|stem| !not_listed.contains(&stem.as_str())).collect();
    let named: BTreeSet<String> = named.into_iter().filter(|name| !not_listed.contains(&name.as_str())).collect();
    assert_eq!(named, files, "{}", short(&folder));
    named
}

/// Packages and the feature sets that they are built with; `None`, said aloud, when Cargo cannot tell.
fn tree(arguments: &[&str]) -> Option<BTreeMap<String, BTreeSet<String>>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    let command = command.args(["tree", "--offline", "--locked", "--prefix", "none", "-f", "{p}|{f}"]);
    let out = command.args(arguments).current_dir(root()).output().expect("cargo");
    if !out.status.success() {
        skipped(&format!("cargo tree: {}", String::from_utf8_lossy(&out.stderr).trim()));
        return None;
    }
    let mut packages: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in String::from_utf8_lossy(&out.stdout).lines() {
        let (package, features) = line.split_once('|').unwrap_or((line, ""));
        let features = features.trim_end_matches("(*)").trim().to_owned();
        packages.entry(package.to_owned()).or_default().insert(features);
    }
    Some(packages)
}

/// Line, name and length of every function outside `#[cfg(test)]` modules; relies on rustfmt's indentation.
fn functions(text: &str) -> Vec<(usize, String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let inline_tests =
        |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{');
    let end = lines.windows(2).position(inline_tests).unwrap_or(lines.len());
    let mut found = Vec::new();
    for (start, line) in lines.iter().take(end).enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = line.len() - line.trim_start().len();
        let close = format!("{}}}", " ".repeat(indent));
        let signature = lines[start..].iter().position(|line| line.ends_with(['{', ';', '}']) && !line.ends_with(",}"));
        let ended = signature.map(|offset| lines[start + offset]).unwrap_or_default();
        if ended.ends_with(';') {
            continue;
        }
        let length = if ended.ends_with('}') {
            signature.unwrap_or_default() + 1
        } else {
            lines[start..].iter().position(|line| *line == close).unwrap_or_default() + 1
        };
        found.push((start + 1, name.to_owned(), length));
    }
    found
}

fn function_name(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    for word in ["pub(crate) ", "pub(super) ", "pub ", "const ", "async ", "unsafe "] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    rest.strip_prefix("fn ")?.split(['(', '<']).next()
}

/// Rust files of the product and its tests.
fn sources() -> Vec<PathBuf> {
    texts().into_iter().filter(|file| has(file, &["rs"])).collect()
}

/// Every text file of the tree except what builds and test runs leave behind.
fn texts() -> Vec<PathBuf> {
    let walk = WalkDir::new(root()).sort_by_file_name().into_iter();
    let left_behind = |name: &str| {
        let pending = name.ends_with(".pending-snap") || name.ends_with(".snap.new");
        name == "target" || name == ".git" || name.starts_with("keytrail-") || pending
    };
    let walk = walk.filter_entry(move |entry| !entry.file_name().to_str().is_some_and(left_behind));
    let files = walk.flatten().filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path);
    files.filter(|file| std::fs::read(file).is_ok_and(|bytes| std::str::from_utf8(&bytes).is_ok())).collect()
}

fn has(file: &Path, endings: &[&str]) -> bool {
    file.extension().is_some_and(|ending| endings.iter().any(|known| ending == *known))
}

fn is_test(file: &Path) -> bool {
    let path = short(file);
    path.starts_with("tests/") || path.contains("/tests") || path.contains("_tests.rs") || path.contains("/contract")
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn short(file: &Path) -> String {
    file.strip_prefix(root()).unwrap_or(file).display().to_string()
}
