//! Which files are meant by what the user named: files, folders walked in order, globs.
//!
//! Opens nothing; `frame` reads.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use keytrail_model::did_you_mean;
use walkdir::WalkDir;

/// In a folder, files with other extensions are passed by (and listed). A file that is named is always read.
const EXTENSIONS: &[&str] = &["json", "jsonl", "ndjson", "log", "txt", "gz", "zst"];

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("no such file or folder `{path}`{near}")]
    Unknown { path: String, near: String },
    #[error("no file matches `{0}`; quote the pattern if the shell should leave it alone")]
    NoMatch(String),
    #[error("`{pattern}` is not a glob pattern: {fault}")]
    Pattern { pattern: String, fault: glob::PatternError },
    #[error("cannot read `{path}`: {fault}")]
    Io { path: String, fault: io::Error },
}

/// In the order given, each file once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    pub files: Vec<PathBuf>,
    /// In a folder but of no kind that logs come in; not read.
    pub passed_by: Vec<PathBuf>,
}

pub fn expand(paths: &[String]) -> Result<Files, ReadError> {
    let mut out = Files::default();
    let mut seen = BTreeSet::new();
    for path in paths {
        expand_one(path, &mut out)?;
    }
    out.files.retain(|file| seen.insert(file.clone()));
    Ok(out)
}

fn expand_one(path: &str, out: &mut Files) -> Result<(), ReadError> {
    let place = Path::new(path);
    if place.is_dir() {
        walk(place, out)
    } else if place.exists() {
        out.files.push(place.to_owned());
        Ok(())
    } else if path.contains(['*', '?', '[']) {
        matches(path, out)
    } else {
        Err(ReadError::Unknown { path: path.to_owned(), near: neighbours(place) })
    }
}

fn walk(folder: &Path, out: &mut Files) -> Result<(), ReadError> {
    for entry in WalkDir::new(folder).follow_links(true).sort_by_file_name() {
        // A link to nowhere or in a circle must not end the scan of everything beside it.
        let entry = match entry {
            Ok(entry) => entry,
            Err(fault) if fault.depth() > 0 => {
                out.passed_by.push(fault.path().unwrap_or(folder).to_owned());
                continue;
            }
            Err(fault) => return Err(ReadError::Io { path: folder.display().to_string(), fault: fault.into() }),
        };
        if entry.file_type().is_file() {
            let path = entry.into_path();
            let list = if is_log(&path) { &mut out.files } else { &mut out.passed_by };
            list.push(path);
        }
    }
    Ok(())
}

/// Objects of some exporters have no extension at all.
fn is_log(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let known = path.extension().is_none_or(|has| EXTENSIONS.iter().any(|known| has.eq_ignore_ascii_case(known)));
    known && !hidden
}

fn matches(pattern: &str, out: &mut Files) -> Result<(), ReadError> {
    let found = glob::glob(pattern).map_err(|fault| ReadError::Pattern { pattern: pattern.to_owned(), fault })?;
    let before = out.files.len();
    for path in found {
        let path =
            path.map_err(|fault| ReadError::Io { path: fault.path().display().to_string(), fault: fault.into() })?;
        if path.is_dir() {
            walk(&path, out)?;
        } else {
            out.files.push(path);
        }
    }
    if out.files.len() == before {
        return Err(ReadError::NoMatch(pattern.to_owned()));
    }
    Ok(())
}

/// The nearest name in the same folder, for a typo.
fn neighbours(path: &Path) -> String {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return String::new() };
    let names = WalkDir::new(parent).min_depth(1).max_depth(1).sort_by_file_name().into_iter().flatten();
    let names: Vec<String> = names.take(1000).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    did_you_mean(name, names.iter().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &Path) -> String {
        path.display().to_string()
    }

    #[test]
    fn folders_files_and_globs_in_order_and_once() {
        let dir = tempfile::tempdir().expect("dir");
        for name in ["b.jsonl", "a.json.gz", "notes.md", "sub/c.log", "sub/plain", ".hidden.json"] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
            std::fs::write(path, "").expect("file");
        }
        let glob = text(&dir.path().join("*.jsonl"));
        let files = expand(&[text(dir.path()), glob]).expect("files");
        let names: Vec<_> =
            files.files.iter().map(|file| text(file.strip_prefix(dir.path()).expect("inside"))).collect();
        assert_eq!(names, ["a.json.gz", "b.jsonl", "sub/c.log", "sub/plain"]);
        assert_eq!(files.passed_by.len(), 2);
    }

    #[test]
    fn what_is_not_there_is_named_with_its_neighbour() {
        let dir = tempfile::tempdir().expect("dir");
        std::fs::write(dir.path().join("trail.jsonl"), "").expect("file");
        let missing = expand(&[text(&dir.path().join("trial.jsonl"))]).expect_err("missing").to_string();
        assert!(missing.contains("trial.jsonl`, did you mean `trail.jsonl`?"), "{missing}");
        let none = expand(&[text(&dir.path().join("*.gz"))]).expect_err("none").to_string();
        assert!(none.starts_with("no file matches `"), "{none}");
    }
}
