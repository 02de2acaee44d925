//! `keytrail rule explain --event`: why rules find an event, and why not, by the way of a scan: learnt from the whole
//! file, normalised, enriched, then asked clause by clause.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use indicatif::ProgressBar;
use keytrail_detect::{Dialects, Explained, Explainer, Rule, SourceFields, State, Verdict, reads};
use keytrail_ingest::Mapping;
use keytrail_model::{EventBatch, Micros, RawPath, did_you_mean};
use serde::Serialize;

use super::{explain, explained_text, pack};
use crate::cli::{Explain, Format, Global};
use crate::config::Config;
use crate::output::{self, note};
use crate::pack::Pack;
use crate::pipeline::{Extent, Input, Outcome, Pipeline};

/// One event and what rules say of it.
#[derive(Serialize)]
pub struct About {
    pub at: String,
    pub source: String,
    pub time: Micros,
    pub event_id: Option<String>,
    pub action: Option<String>,
    pub rules: Vec<Said>,
    /// Rules that read the log source and are not listed, because they are further from matching.
    pub further: usize,
}

#[derive(Serialize)]
pub struct Said {
    #[serde(flatten)]
    pub explained: Explained,
    /// What decides when events have entered it.
    pub window: Option<String>,
}

pub fn run(global: &Global, asked: &Explain, event: &str) -> Result<()> {
    if global.output == Some(Format::Csv) {
        return Err(anyhow!("an explanation is a tree and no row: say `-o table`, `-o json` or `-o ndjson`"));
    }
    let config = Config::load(global)?;
    let pack = pack(global, &asked.rule_set)?;
    let (input, line) = input(event)?;
    let mut pipeline = Pipeline::over(&pack, rules(&pack, asked.id.as_deref())?, config.limits.limits())?;
    let mut chosen = Chosen { line, limit: asked.limit, events: Vec::new(), more: 0 };
    let extent = Extent { conclude: false, ..Extent::FULL };
    let mut keep = |batch: EventBatch| chosen.take(&batch);
    let outcome = pipeline.run_to(extent, &[input], &ProgressBar::hidden(), Some(&mut keep))?;
    if chosen.events.is_empty() {
        return Err(nothing(event, line, &outcome));
    }
    if chosen.more > 0 {
        note(global, &format!("not shown: {} more (raise --limit, or name one as {event}:LINE)", chosen.more));
    }
    let book = Book::new(&pack, &pipeline, asked)?;
    let abouts = chosen.events.iter().map(|event| book.about(event)).collect::<Result<Vec<_>>>()?;
    print(global, &abouts)
}

fn print(global: &Global, abouts: &[About]) -> Result<()> {
    match output::format(global) {
        Format::Json => output::text(&format!("{}\n", serde_json::to_string_pretty(abouts)?)),
        Format::Ndjson => {
            abouts.iter().try_for_each(|about| output::text(&format!("{}\n", serde_json::to_string(about)?)))
        }
        Format::Table | Format::Csv => output::text(&explained_text::page(abouts)),
    }
}

/// Those in force; of those that are switched off only the one that is asked for.
fn rules(pack: &Pack, id: Option<&str>) -> Result<Vec<Rule>> {
    let mut rules = pack.all_rules()?;
    if let Some(id) = id.filter(|id| rules.iter().all(|rule| rule.id != *id)) {
        return Err(anyhow!("no rule `{id}`{}", did_you_mean(id, rules.iter().map(|rule| rule.id.as_str()))));
    }
    rules.retain(|rule| rule.state != State::Off || Some(rule.id.as_str()) == id);
    Ok(rules)
}

/// What to read, and which line of it: `FILE`, `FILE:LINE`, or `-`.
fn input(event: &str) -> Result<(Input, Option<u64>)> {
    if event == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).context("cannot read stdin")?;
        // It is read twice and lives as long as the command.
        return Ok((Input::Embedded("stdin".to_owned(), Vec::leak(bytes)), None));
    }
    let split = event.rsplit_once(':').and_then(|(file, line)| Some((file, line.parse::<u64>().ok()?)));
    let (file, line) = match split {
        Some((file, line)) if !Path::new(event).exists() => (file, Some(line)),
        _ => (event, None),
    };
    if !Path::new(file).is_file() {
        return Err(anyhow!("no such file `{file}`: give a log file, FILE:LINE, or `-` for stdin"));
    }
    Ok((Input::File(file.into()), line))
}

fn nothing(event: &str, line: Option<u64>, outcome: &Outcome) -> anyhow::Error {
    let here = |at: Option<u64>| line.is_none() || at == line;
    if let Some(reject) = outcome.rejects.iter().find(|reject| here(reject.position.line)) {
        return anyhow!("{} is no event: {}", reject.position, reject.reason);
    }
    if let Some((keys, unknown)) = outcome.unknown.iter().next() {
        return anyhow!("{event} holds no event that is known: {} has the keys {keys}", unknown.first);
    }
    match outcome.ignored.keys().next() {
        Some(reason) => anyhow!("{event} holds no event: {reason}"),
        None => anyhow!("{event} holds no event"),
    }
}

/// The events that are meant, each as a batch of its own.
struct Chosen {
    line: Option<u64>,
    limit: usize,
    events: Vec<EventBatch>,
    more: usize,
}

impl Chosen {
    fn take(&mut self, batch: &EventBatch) {
        for row in 0..batch.rows() {
            let at = batch.position(row);
            // In a file that has no lines, the number is that of the record.
            if self.line.is_some() && at.line.or(at.record) != self.line {
                continue;
            }
            if self.events.len() == self.limit {
                self.more += 1;
                continue;
            }
            let places = batch.places.get(row).copied().into_iter().collect();
            self.events.push(EventBatch { batch: batch.batch.slice(row, 1), places, ..batch.clone() });
        }
    }
}

/// What is needed to explain them.
struct Book<'a> {
    rules: &'a [Rule],
    mappings: Vec<Arc<Mapping>>,
    dialects: Dialects,
    explainer: Explainer,
    asked: &'a Explain,
}

impl<'a> Book<'a> {
    fn new(pack: &Pack, pipeline: &'a Pipeline, asked: &'a Explain) -> Result<Self> {
        let explainer = Explainer::new(pipeline.reference()?);
        let (mappings, dialects) = (pack.mappings()?, pack.vocabulary()?.dialects);
        Ok(Self { rules: pipeline.rules(), mappings, dialects, explainer, asked })
    }

    fn about(&self, batch: &EventBatch) -> Result<About> {
        let row = 0;
        let name = batch.source.as_ref();
        let mapping = self.mappings.iter().find(|mapping| mapping.source == name);
        let knows = |path: &RawPath| mapping.map_or(Ok(()), |mapping| mapping.knows(path));
        let source = SourceFields { name, knows: &knows, dialect: self.dialects.get(name) };
        let meant = |rule: &&Rule| self.asked.id.as_ref().is_none_or(|id| *id == rule.id) && reads(rule, name);
        let mut rules = Vec::new();
        for rule in self.rules.iter().filter(meant) {
            let explained = self.explainer.explain(rule, &source, batch, row)?;
            rules.push(Said { window: explain::window(rule), explained });
        }
        if let (Some(id), true) = (&self.asked.id, rules.is_empty()) {
            return Err(anyhow!("rule `{id}` does not read {name}, of which {} is an event", batch.position(row)));
        }
        let rank = |said: &Said| (said.explained.verdict, said.explained.failing, said.explained.rule.clone());
        rules.sort_by_key(rank);
        let nearest = rules.iter().filter(|said| said.explained.verdict != Verdict::Misses).count() + self.asked.misses;
        let further = rules.len().saturating_sub(nearest);
        rules.truncate(nearest.max(usize::from(self.asked.id.is_some())));
        let text = |column: &str| batch.text(column, row).map(str::to_owned);
        Ok(About {
            at: batch.position(row).to_string(),
            source: name.to_owned(),
            time: batch.time(row),
            event_id: text("event_id"),
            action: text("action"),
            rules,
            further,
        })
    }
}
