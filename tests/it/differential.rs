//! The same question asked twice: every public rule over every public event, by index and plainly, and by another engine.
//!
//! The other engine is rsigma-eval, in `tests/rsigma`, a package outside the workspace that `tests/run` builds into the
//! cache. It knows no dialect, so it is asked only for rules whose fields are raw paths.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use keytrail::pack::plan;
use keytrail_detect::{Body, Detector, Dialects, Plan, Rule, Sources};
use keytrail_ingest::{Limits, Mapping, Needed, Normalised, Normaliser, Reader, expand};
use keytrail_model::{EventBatch, RawPath, Want, schema};
use serde_json::Value;

use crate::golden::skipped;
use crate::public_rules::{Public, short};
use crate::reference::data;
use crate::run::Folder;

/// Rule, events that only Keytrail finds, events that only rsigma-eval finds, and who is right.
type Disagreement = (&'static str, usize, usize, &'static str);

const DISAGREEMENTS: &[Disagreement] = &[];

/// Sigma's names that mean only some events of a log source; the other engine is not told which.
const NARROWED: [&str; 4] = ["google_workspace", "pim", "riskdetection", "exchange"];

#[test]
fn optimised_and_plain_evaluation_agree_on_every_public_event() {
    let Some(asked) = Asked::all() else { return };
    let plan = asked.plan(asked.public.rules.clone());
    let batches = asked.events(&plan);
    let mut detector = Detector::over(plan);
    let (mut events, mut matched) = (0, 0);
    for batch in &batches {
        let optimised = detector.matches(batch);
        assert_eq!(optimised, detector.matches_plainly(batch), "{} of {:?}", batch.source, batch.origins);
        events += batch.rows();
        matched += optimised.rows().len();
    }
    assert!(events > 3500 && matched > 300, "{events} events, of which {matched} match");
}

/// The shipped rules ask more than Sigma can: SQL, columns that lineage fills, windows.
#[test]
fn the_shipped_rules_agree_with_themselves_too() {
    let Some(asked) = Asked::all() else { return };
    let plan = asked.plan(keytrail::pack::Pack::embedded().rules().expect("the pack"));
    let batches = asked.events(&plan);
    let mut detector = Detector::over(plan);
    for batch in &batches {
        assert_eq!(detector.matches(batch), detector.matches_plainly(batch), "{} of {:?}", batch.source, batch.origins);
    }
}

#[test]
fn another_engine_finds_the_same_events() {
    let Some(program) = rsigma() else { return };
    let Some(asked) = Asked::all() else { return };
    let plan = asked.plan(asked.public.rules.clone());
    let batches = asked.events(&plan);
    let mut found: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut examples = Vec::new();
    let (mut compared, mut agreed) = (0, 0);
    let sources: BTreeSet<&Arc<str>> = batches.iter().map(|batch| &batch.source).collect();
    for source in sources {
        let of: Vec<&EventBatch> = batches.iter().filter(|batch| batch.source == *source).collect();
        let rules = asked.raw_rules(source);
        let theirs = theirs(&program, &of, &rules);
        for rule in &rules {
            let ours = asked.ours(rule, &of);
            let theirs = &theirs[&rule.file];
            let (only_ours, only_theirs) = (ours.difference(theirs).count(), theirs.difference(&ours).count());
            compared += 1;
            agreed += ours.intersection(theirs).count();
            if only_ours + only_theirs > 0 {
                let entry = found.entry(short(&rule.file).to_owned()).or_default();
                *entry = (entry.0 + only_ours, entry.1 + only_theirs);
                examples.extend(report(rule, &of, &ours, theirs));
            }
        }
    }
    let listed = DISAGREEMENTS.iter().map(|(rule, ours, theirs, _)| ((*rule).to_owned(), (*ours, *theirs)));
    let told = format!("{compared} rules compared, {agreed} matches in common\n{}", examples.join("\n"));
    assert_eq!(found, listed.collect(), "{told}");
    assert!(compared > 90 && agreed > 300, "{told}");
}

/// The rules, and what they are asked over.
struct Asked {
    public: Public,
    mappings: Vec<Arc<Mapping>>,
    dialects: Dialects,
    files: Vec<PathBuf>,
}

impl Asked {
    fn all() -> Option<Self> {
        let data = data()?;
        let public = Public::load(&data, &[])?;
        let mappings = public.pack.mappings().expect("mappings");
        let dialects = public.pack.vocabulary().expect("a vocabulary").dialects;
        let mut files = expand(&[data.display().to_string()]).expect("the reference logs").files;
        files.retain(|file| file.extension().is_some_and(|ending| ending == "jsonl") && !file.ends_with("index.jsonl"));
        Some(Self { public, mappings, dialects, files })
    }

    fn plan(&self, rules: Vec<Rule>) -> Arc<Plan> {
        Arc::new(plan(rules, &self.mappings, &self.dialects).expect("rules that plan"))
    }

    /// Every event of every file, complete: learnt from, then enriched.
    fn events(&self, plan: &Plan) -> Vec<EventBatch> {
        let (limits, needed) = (Limits::default(), Needed { columns: None, paths: plan.paths().clone() });
        let mut normaliser = Normaliser::new(&self.mappings, &needed, limits.clone()).expect("mappings that plan");
        let mut found = Normalised::default();
        for file in &self.files {
            let chunks = Reader::open(file, &limits).expect("a readable file");
            chunks.flatten().for_each(|chunk| normaliser.normalise(chunk, &mut found));
        }
        let mut enricher = self.public.pack.enricher().expect("guardrails");
        found.batches.iter().for_each(|batch| enricher.observe(batch));
        found.batches.into_iter().map(|batch| enricher.enrich(batch).expect("columns")).collect()
    }

    /// The rules of a log source that name raw paths only, and mean all of it.
    fn raw_rules(&self, source: &str) -> Vec<Rule> {
        let reads =
            |rule: &&Rule| matches!(&rule.sources, Sources::Named(names) if names.iter().any(|name| name == source));
        let rules = self.public.rules.iter().filter(reads);
        rules.filter(|rule| !self.is_narrowed(rule) && self.is_raw(rule, source)).cloned().collect()
    }

    fn is_narrowed(&self, rule: &Rule) -> bool {
        let text = self.public.pack.detections.iter().find(|(file, _)| *file == rule.file);
        text.is_some_and(|(_, text)| NARROWED.iter().any(|name| text.contains(&format!("service: {name}"))))
    }

    fn is_raw(&self, rule: &Rule, source: &str) -> bool {
        let Body::Sigma(body) = &rule.body else { return false };
        let mapping = self.mappings.iter().find(|mapping| mapping.source == source).expect("a mapping");
        let explained: BTreeSet<&str> = self.dialects.get(source).map(|it| it.names().collect()).unwrap_or_default();
        let raw = |field: &String| {
            let path = RawPath::parse(field).map(|path| RawPath { want: Want::Any, ..path });
            !explained.contains(field.as_str())
                && schema::find(field).is_none()
                && path.is_some_and(|path| mapping.knows(&path).is_ok())
        };
        let mut fields = Vec::new();
        names(&serde_json::to_value(body.detections()).expect("a detection"), &mut fields);
        fields.iter().all(raw)
    }

    /// The numbers of the events that one rule finds when it is asked alone and plainly.
    fn ours(&self, rule: &Rule, batches: &[&EventBatch]) -> BTreeSet<usize> {
        let detector = Detector::over(self.plan(vec![rule.clone()]));
        let mut before = 0;
        let mut found = BTreeSet::new();
        for batch in batches {
            found.extend(detector.matches_plainly(batch).rows().iter().map(|row| before + *row as usize));
            before += batch.rows();
        }
        found
    }
}

/// Every field that a detection names.
fn names(detection: &Value, fields: &mut Vec<String>) {
    match detection {
        Value::Object(keys) => {
            fields.extend(
                keys.get("field").and_then(|field| field.get("name")).and_then(Value::as_str).map(str::to_owned),
            );
            keys.values().for_each(|value| names(value, fields));
        }
        Value::Array(items) => items.iter().for_each(|item| names(item, fields)),
        _ => {}
    }
}

fn records<'a>(batches: &'a [&EventBatch]) -> impl Iterator<Item = &'a str> {
    batches.iter().flat_map(|batch| (0..batch.rows()).map(|row| batch.text("raw", row).unwrap_or("{}")))
}

/// By rule file: the numbers of the events that the other engine finds.
fn theirs(program: &PathBuf, batches: &[&EventBatch], rules: &[Rule]) -> BTreeMap<String, BTreeSet<usize>> {
    let folder = Folder::new();
    // A record may be written over several lines.
    let lines = records(batches).map(|record| record.replace('\n', " ") + "\n");
    folder.write("events.jsonl", lines.collect::<String>());
    let mut command = Command::new(program);
    let command = command.arg(folder.path("events.jsonl")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the other engine");
    let files: String = rules.iter().map(|rule| format!("{}\n", rule.file)).collect();
    child.stdin.take().expect("stdin").write_all(files.as_bytes()).expect("a pipe");
    let out = child.wait_with_output().expect("the other engine");
    assert!(out.status.success(), "{}", out.status);
    let text = String::from_utf8(out.stdout).expect("text");
    let line = |line: &str| {
        let (file, numbers) = line.split_once('\t')?;
        Some((file.to_owned(), numbers.split_whitespace().filter_map(|number| number.parse().ok()).collect()))
    };
    text.lines().filter_map(line).collect()
}

/// Where to look: the first event of each kind.
fn report(rule: &Rule, batches: &[&EventBatch], ours: &BTreeSet<usize>, theirs: &BTreeSet<usize>) -> Vec<String> {
    let firsts = [("keytrail", ours.difference(theirs).next()), ("rsigma", theirs.difference(ours).next())];
    let told = firsts.into_iter().filter_map(|(who, number)| {
        let record = records(batches).nth(*number?)?;
        Some(format!("{}: only {who} finds {record:.2000}", short(&rule.file)))
    });
    told.collect()
}

/// The other engine, where it was built.
fn rsigma() -> Option<PathBuf> {
    let from = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = from("KEYTRAIL_CACHE")
        .or_else(|| from("XDG_CACHE_HOME").map(|folder| folder.join("keytrail")))
        .or_else(|| from("HOME").map(|folder| folder.join(".cache/keytrail")))?;
    let program = cache.join("rsigma-target/release/keytrail-rsigma");
    if program.is_file() {
        return Some(program);
    }
    skipped(&format!("the other Sigma engine is not built: no {} (tests/run builds it)", program.display()));
    None
}
