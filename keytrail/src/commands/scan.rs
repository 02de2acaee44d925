//! `keytrail scan`: the whole pipeline over a user's files.

use anyhow::Result;
use indicatif::ProgressBar;
use keytrail_model::{Finding, Severity};
use keytrail_store::{Lake, Wrote};

use super::{digest, lake, write::Written};
use crate::cli::{Format, Global, Scan};
use crate::config::Config;
use crate::failure::Failure;
use crate::output::{self, note};
use crate::pack::Pack;
use crate::pipeline::{Extent, Input, Outcome, Pipeline, inputs, threads};
use crate::{progress, tables};

/// More than a screen of them is for `finding list` and the report.
const MATTERS_SHOWN: usize = 40;

pub async fn run(global: &Global, scan: &Scan) -> Result<()> {
    let mut config = Config::load(global)?;
    if let Some(out) = &scan.out {
        config.out.clone_from(out);
        config.store = None;
    }
    let pack = Pack::with(&config.rule_set(&scan.rule_set))?;
    config.check_mail(pack.has_inventory())?;
    let mut pipeline = Pipeline::build(&pack, config.limits.limits())?;
    let (inputs, passed_by) = inputs(&scan.paths)?;
    let extent = Extent { threads: threads(scan.threads), ..Extent::FULL };
    let lake = if scan.dry_run { None } else { lake::open(&config, scan.lake.as_deref())? };
    let bar = progress::bytes(0, global.quiet);
    let (mut outcome, kept) = run_and_keep(&mut pipeline, extent, &inputs, &bar, lake)?;
    outcome.passed_by = passed_by;
    match output::format(global) {
        Format::Table => output::text(&digest::text(&outcome, MATTERS_SHOWN, output::colourful()))?,
        _ => output::print(&tables::findings(&outcome.findings), global)?,
    }
    note(global, &summary(&outcome));
    if let Some(Ok(Wrote { events, files, bytes })) = &kept {
        note(global, &format!("{events} events kept in the lake: {files} files, {bytes} bytes"));
    }
    if !pack.has_inventory() {
        note(
            global,
            "no inventory: owners come from the logs alone, agents and declared tasks are unknown; start one with `keytrail config init`",
        );
    }
    if !scan.dry_run {
        let mut written = Written::new(&config, &scan.paths.join(" ")).all(&outcome).await?;
        if let Some(path) = &scan.report {
            written = written.report(&outcome, path)?;
        }
        note(global, &written.say());
    }
    // What was found is told and written whatever became of the lake.
    kept.transpose()?;
    fail_on(scan.fail_on, &outcome.findings)
}

/// A run whose events are kept where there is a lake.
fn run_and_keep(
    pipeline: &mut Pipeline,
    extent: Extent,
    inputs: &[Input],
    bar: &ProgressBar,
    lake: Option<Lake>,
) -> Result<(Outcome, Option<Result<Wrote>>)> {
    let Some(lake) = lake else { return Ok((pipeline.run_to(extent, inputs, bar, None)?, None)) };
    let sink = lake::Sink::start(lake)?;
    let outcome = pipeline.run_to(extent, inputs, bar, Some(&mut |batch| sink.keep(batch)));
    let wrote = sink.finish();
    Ok((outcome?, Some(wrote)))
}

fn fail_on(limit: Option<Severity>, findings: &[Finding]) -> Result<()> {
    let Some(limit) = limit else { return Ok(()) };
    match findings.iter().filter(|finding| finding.severity >= limit && !finding.shadow).count() {
        0 => Ok(()),
        count => Err(Failure::Found(format!("{count} findings of severity {limit} or graver")).into()),
    }
}

/// What was read and what was found, in a few lines.
pub fn summary(outcome: &Outcome) -> String {
    let mut lines = vec![found(outcome), read(outcome)];
    for (reason, count) in &outcome.ignored {
        lines.push(format!("{count} records left aside: {reason}"));
    }
    for (shape, unknown) in &outcome.unknown {
        lines.push(format!(
            "{} records of no known log source, first at {} (keys: {shape})",
            unknown.count, unknown.first
        ));
    }
    if let Some(first) = outcome.rejects.first() {
        let count = outcome.reject_count;
        lines.push(format!("{count} rejects, first at {}: {}", first.position, first.reason));
    }
    if let Some(first) = outcome.passed_by.first() {
        let count = outcome.passed_by.len();
        lines.push(format!(
            "{count} files in folders passed by, first `{}`: not of a kind that logs come in; name one to read it",
            first.display()
        ));
    }
    for (exception, count) in &outcome.excepted {
        lines.push(format!("{count} events excepted by {exception}"));
    }
    lines.extend(outcome.trouble());
    lines.join("\n")
}

fn found(outcome: &Outcome) -> String {
    let mut counts = Vec::new();
    for severity in Severity::ALL.into_iter().rev() {
        let count = outcome.findings.iter().filter(|finding| finding.severity == severity).count();
        if count > 0 {
            counts.push(format!("{count} {severity}"));
        }
    }
    let refused = outcome.actions.iter().filter(|action| action.refused.is_some()).count();
    let (findings, actions, tickets) = (outcome.findings.len(), outcome.actions.len(), outcome.tickets.len());
    let shadow = match outcome.findings.iter().filter(|finding| finding.shadow).count() {
        0 => String::new(),
        count => format!(", {count} of them of rules on trial"),
    };
    let kinds = if counts.is_empty() { String::new() } else { format!(" ({})", counts.join(", ")) };
    format!(
        "{findings} findings{kinds}{shadow}, {actions} actions planned of which {refused} refused, {tickets} tickets"
    )
}

/// How many events of which log sources.
pub fn read(outcome: &Outcome) -> String {
    let total: u64 = outcome.events.values().sum();
    if total == 0 {
        return "0 events read: nothing here is a record that a mapping knows".to_owned();
    }
    let sources: Vec<String> = outcome.events.iter().map(|(source, count)| format!("{source} {count}")).collect();
    let secrets = match outcome.redacted {
        0 => String::new(),
        count => format!(", {count} secrets overwritten"),
    };
    format!("{total} events read: {}{secrets}", sources.join(", "))
}
