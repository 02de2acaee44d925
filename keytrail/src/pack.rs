//! What Keytrail knows without being told: embedded mappings, rules, guardrails, playbooks, samples; and what a user's
//! folders add or replace.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use include_dir::{Dir, include_dir};
use keytrail_detect::{Dialects, Loaded, Placeholders, Plan, Rule, SourceFields, State, Vocabulary};
use keytrail_ingest::Mapping;
use keytrail_lineage::{Enricher, Guardrails, Inventory};
use keytrail_model::{FileError, RawPath, did_you_mean};
use keytrail_remediate::Playbooks;

use crate::cli::RuleSet;
use crate::failure::Failure;
use crate::output::warn;
use crate::tuning::Tuning;

static RULES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../rules");
static MAPPINGS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../ingest/mappings");
static SAMPLES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../sample-events");

/// Stands in until the user names owners, so that every finding still has somewhere to go.
const NO_INVENTORY: &str = "fallback_owner: security-triage
owners:
  - {id: security-triage, name: Security triage (no inventory given), email: security-triage@no-inventory.invalid, kind: team}
";

/// File name and text.
pub type Texts = Vec<(String, String)>;

/// The texts of all files, by kind.
#[derive(Clone, Debug, Default)]
pub struct Pack {
    pub mappings: Texts,
    pub detections: Texts,
    pub guardrails: Texts,
    pub playbooks: Texts,
    pub inventory: Texts,
    pub exceptions: Texts,
    pub overlays: Texts,
    /// What the rules promise to cover.
    pub coverage: Texts,
    pub dialects: Texts,
    /// Values for `%placeholders%` of Sigma rules.
    pub placeholders: Texts,
    /// Rules that do not load are left out instead of ending the run.
    pub skip_bad_rules: bool,
}

/// The folders of a `--rules` folder.
#[rustfmt::skip]
const KINDS: [&str; 9] = [
    "detections", "guardrails", "playbooks", "inventory", "mappings", "dialects", "placeholders", "exceptions", "overlays",
];
const COVERAGE: &str = "coverage.yaml";

impl Pack {
    /// What is embedded; the inventory is the placeholder that only names a fallback.
    #[must_use]
    pub fn embedded() -> Self {
        Self {
            mappings: texts(&MAPPINGS, "", &["yaml"]),
            detections: texts(&RULES, "detections", &["yaml", "yml"]),
            guardrails: texts(&RULES, "guardrails", &["cedar"]),
            playbooks: texts(&RULES, "playbooks", &["yaml"]),
            inventory: vec![("built-in inventory".to_owned(), NO_INVENTORY.to_owned())],
            exceptions: texts(&RULES, "exceptions", &["yaml"]),
            overlays: texts(&RULES, "overlays", &["yaml"]),
            coverage: texts(&RULES, COVERAGE, &["yaml"]),
            dialects: texts(&RULES, "dialects", &["yaml"]),
            ..Self::default()
        }
    }

    /// The embedded pack with the example inventory that belongs to the samples.
    #[must_use]
    pub fn demo() -> Self {
        Self { inventory: texts(&RULES, "inventory", &["yaml"]), ..Self::embedded() }
    }

    /// The embedded pack with the user's additions.
    pub fn with(set: &RuleSet) -> Result<Self> {
        let mut pack = Self { skip_bad_rules: set.skip_bad_rules, ..Self::embedded() };
        if set.no_builtin_rules {
            pack.detections.clear();
        }
        for folder in &set.rules {
            pack.add_folder(folder)?;
        }
        let mut inventory = Vec::new();
        for path in &set.inventory {
            inventory.extend(read_files(path, &["yaml", "yml"])?);
        }
        pack.add_inventory(inventory);
        Ok(pack)
    }

    fn add_inventory(&mut self, files: Texts) {
        if !files.is_empty() {
            self.inventory.retain(|(name, _)| name != "built-in inventory");
            self.inventory.extend(files);
        }
    }

    /// Adds a folder laid out like `rules/`, or one of plain rule files with the other folders beside them.
    fn add_folder(&mut self, folder: &Path) -> Result<()> {
        if !folder.exists() {
            anyhow::bail!("no such folder `{}`", folder.display());
        }
        if folder.join("detections").is_dir() {
            merge(&mut self.detections, read_kind(folder, "detections", &["yaml", "yml"])?);
        } else {
            merge(&mut self.detections, files_of(std::slice::from_ref(&folder.to_path_buf()))?.detections);
        }
        merge(&mut self.guardrails, read_kind(folder, "guardrails", &["cedar"])?);
        merge(&mut self.playbooks, read_kind(folder, "playbooks", &["yaml", "yml"])?);
        merge(&mut self.mappings, read_kind(folder, "mappings", &["yaml", "yml"])?);
        merge(&mut self.dialects, read_kind(folder, "dialects", &["yaml"])?);
        merge(&mut self.placeholders, read_kind(folder, "placeholders", &["yaml", "yml"])?);
        merge(&mut self.exceptions, read_kind(folder, "exceptions", &["yaml", "yml"])?);
        merge(&mut self.overlays, read_kind(folder, "overlays", &["yaml", "yml"])?);
        if folder.join(COVERAGE).is_file() {
            merge(&mut self.coverage, read_files(&folder.join(COVERAGE), &["yaml"])?);
        }
        self.add_inventory(read_kind(folder, "inventory", &["yaml", "yml"])?);
        Ok(())
    }

    pub fn mappings(&self) -> Result<Vec<Arc<Mapping>>> {
        let (mappings, errors) = read_each(&self.mappings, |file, text| Mapping::read(file, text).map(Arc::new));
        if errors.is_empty() { Ok(mappings) } else { Err(Failure::rules(errors)) }
    }

    /// Rules that are switched on or on trial, with overlays and exceptions; all errors at once.
    pub fn rules(&self) -> Result<Vec<Rule>> {
        let mut rules = self.all_rules()?;
        rules.retain(|rule| rule.state != State::Off);
        Ok(rules)
    }

    /// The same with those that are switched off. What was left out, and why, is said on stderr.
    pub fn all_rules(&self) -> Result<Vec<Rule>> {
        let Loaded { mut rules, errors, skipped, .. } = self.load()?;
        skipped.iter().for_each(|skipped| warn(&skipped.to_string()));
        if !errors.is_empty() {
            self.skip(errors)?;
        }
        // A rule that does not read would be missed by its overlay as well.
        let errors = Tuning::read(self).apply(&mut rules);
        if errors.is_empty() { Ok(rules) } else { Err(Failure::rules(errors)) }
    }

    /// What the names in Sigma rules mean.
    pub fn vocabulary(&self) -> Result<Vocabulary> {
        let dialects = Dialects::load(&self.dialects).map_err(Failure::rules)?;
        let placeholders = Placeholders::load(&self.placeholders).map_err(Failure::rules)?;
        Ok(Vocabulary { dialects, placeholders })
    }

    /// Everything that the rule files hold, and every error.
    pub fn load(&self) -> Result<Loaded> {
        Ok(keytrail_detect::load(&self.detections, &self.vocabulary()?))
    }

    /// Plans the rules; those that cannot be planned end the run, or are left out where that was asked for.
    pub fn plan(&self, mut rules: Vec<Rule>, mappings: &[Arc<Mapping>]) -> Result<Plan> {
        let dialects = self.vocabulary()?.dialects;
        loop {
            let errors = match plan(rules.clone(), mappings, &dialects) {
                Ok(plan) => return Ok(plan),
                Err(errors) => errors,
            };
            let before = rules.len();
            rules.retain(|rule| errors.iter().all(|error| error.file != rule.file));
            self.skip(errors.clone())?;
            if rules.len() == before {
                return Err(Failure::rules(errors));
            }
        }
    }

    fn skip(&self, errors: Vec<FileError>) -> Result<()> {
        if self.skip_bad_rules {
            errors.iter().for_each(|error| warn(&format!("rule left out: {error}")));
            return Ok(());
        }
        let mut texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        if let Some(last) = texts.last_mut() {
            last.push_str("\n  (`--skip-bad-rules` leaves such rules out and goes on)");
        }
        Err(Failure::Rules(texts).into())
    }

    pub fn playbooks(&self) -> Result<Playbooks> {
        Playbooks::load(&self.playbooks).map_err(Failure::rules)
    }

    pub fn enricher(&self) -> Result<Enricher> {
        let inventory = Inventory::load(&self.inventory).map_err(|errors| {
            let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
            anyhow::anyhow!("the inventory cannot be used:\n  {}", text.join("\n  "))
        })?;
        Ok(Enricher::new(inventory, self.guardrails()?))
    }

    pub fn guardrails(&self) -> Result<Guardrails> {
        Guardrails::load(&self.guardrails).map_err(Failure::rules)
    }

    /// Whether anyone but the placeholder stands in the inventory.
    #[must_use]
    pub fn has_inventory(&self) -> bool {
        self.inventory.iter().any(|(name, _)| name != "built-in inventory")
    }
}

/// Plans rules over the log sources that the mappings give.
pub fn plan(rules: Vec<Rule>, mappings: &[Arc<Mapping>], dialects: &Dialects) -> Result<Plan, Vec<FileError>> {
    over_sources(mappings, dialects, |sources| Plan::new(rules, sources))
}

/// The fields that rules name and the log sources that they read do not have.
pub fn unknown_fields(rules: &[Rule], mappings: &[Arc<Mapping>], dialects: &Dialects) -> Vec<FileError> {
    over_sources(mappings, dialects, |sources| keytrail_detect::unknown_fields(rules, sources))
}

fn over_sources<T>(mappings: &[Arc<Mapping>], dialects: &Dialects, look: impl FnOnce(&[SourceFields<'_>]) -> T) -> T {
    let read: Vec<&Arc<Mapping>> = mappings.iter().filter(|mapping| mapping.ignore.is_none()).collect();
    let knows: Vec<_> = read.iter().map(|mapping| |path: &RawPath| mapping.knows(path)).collect();
    let sources = read.iter().zip(&knows).map(|(mapping, knows)| {
        let name = mapping.source.as_str();
        SourceFields { name, knows, dialect: dialects.get(name) }
    });
    look(&sources.collect::<Vec<_>>())
}

/// Reads every file with `read`; what went well, and every error.
pub fn read_each<T>(files: &Texts, read: impl Fn(&str, &str) -> Result<T, Vec<FileError>>) -> (Vec<T>, Vec<FileError>) {
    let mut good = Vec::new();
    let mut errors = Vec::new();
    for (file, text) in files {
        match read(file, text) {
            Ok(one) => good.push(one),
            Err(more) => errors.extend(more),
        }
    }
    (good, errors)
}

/// A sample file: path under `sample-events/` and its bytes.
pub fn samples() -> Vec<(String, &'static [u8])> {
    let mut files = Vec::new();
    walk(&SAMPLES, &mut |path, bytes| {
        if !path.ends_with(".md") {
            files.push((format!("sample-events/{path}"), bytes));
        }
    });
    files.sort_by(|left, right| left.0.cmp(&right.0));
    files
}

fn texts(dir: &'static Dir<'static>, under: &str, endings: &[&str]) -> Texts {
    let mut found = Vec::new();
    walk(dir, &mut |path, bytes| {
        let wanted = path.starts_with(under) && endings.iter().any(|ending| path.ends_with(&format!(".{ending}")));
        if let (true, Ok(text)) = (wanted, std::str::from_utf8(bytes)) {
            found.push((path.to_owned(), text.to_owned()));
        }
    });
    found.sort();
    found
}

fn walk(dir: &'static Dir<'static>, visit: &mut dyn FnMut(&str, &'static [u8])) {
    for file in dir.files() {
        visit(&file.path().to_string_lossy().replace('\\', "/"), file.contents());
    }
    for inner in dir.dirs() {
        walk(inner, visit);
    }
}

/// A file of the same name replaces; others are added.
fn merge(into: &mut Texts, files: Texts) {
    let name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    for file in files {
        into.retain(|(known, _)| name(known) != name(&file.0));
        into.push(file);
    }
}

fn read_kind(folder: &Path, kind: &str, endings: &[&str]) -> Result<Texts> {
    let inner = folder.join(kind);
    if inner.is_dir() { read_files(&inner, endings) } else { Ok(Vec::new()) }
}

/// A file, or all files under a folder with one of the endings, in sorted order.
pub fn read_files(path: &Path, endings: &[&str]) -> Result<Texts> {
    if path.is_file() {
        return Ok(vec![read_file(path)?]);
    }
    if !path.is_dir() {
        anyhow::bail!("no such file or folder `{}`{}", path.display(), neighbours(path));
    }
    let mut files = Vec::new();
    for entry in walkdir::WalkDir::new(path).sort_by_file_name() {
        let entry = entry.with_context(|| format!("cannot read folder `{}`", path.display()))?;
        let wanted = entry.path().extension().is_some_and(|have| endings.iter().any(|ending| have == *ending));
        if entry.file_type().is_file() && wanted {
            files.push(read_file(entry.path())?);
        }
    }
    Ok(files)
}

fn read_file(path: &Path) -> Result<(String, String)> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok((path.display().to_string(), text))
}

fn neighbours(path: &Path) -> String {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let names: Vec<String> = std::fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    did_you_mean(&name, names.iter().map(String::as_str))
}

/// Rules, exceptions and overlays of the given files and folders; other kinds of files in them are passed over.
pub fn files_of(paths: &[PathBuf]) -> Result<Pack> {
    let mut pack = Pack::default();
    for path in paths {
        for (file, text) in read_files(path, &["yaml", "yml"])? {
            match kind_of(path, Path::new(&file)) {
                None | Some("detections") => pack.detections.push((file, text)),
                Some("exceptions") => pack.exceptions.push((file, text)),
                Some("overlays") => pack.overlays.push((file, text)),
                Some(_) => {}
            }
        }
    }
    Ok(pack)
}

/// The innermost folder that says what a file is, from the given path on.
fn kind_of(given: &Path, file: &Path) -> Option<&'static str> {
    let from = if given.is_file() { given.parent().and_then(Path::parent) } else { given.parent() };
    let inner = from.and_then(|from| file.strip_prefix(from).ok()).unwrap_or(file);
    if inner.file_name().is_some_and(|name| name == COVERAGE) {
        return Some("coverage");
    }
    let folders = inner.parent()?.components().rev();
    folders.into_iter().find_map(|folder| KINDS.into_iter().find(|kind| folder.as_os_str() == *kind))
}
