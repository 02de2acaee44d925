//! The service's figures, by the names in `deploy/metrics.txt`. Labels are sources, rules and kinds: never an identity.

use std::time::Duration;

use keytrail_model::Finding;
use keytrail_store::{InboxDepth, Intake};
use metrics::{counter, gauge, histogram};

use super::engine::{Counts, Engine};

/// Metrics of which something is known before anything happened, so that a rate over them starts at nothing.
pub fn begin(sources: &[String]) {
    for source in sources {
        for name in [
            "keytrail_source_records_total",
            "keytrail_source_rejects_total",
            "keytrail_source_bytes_total",
            "keytrail_source_repeated_total",
            "keytrail_source_ignored_total",
        ] {
            counter!(name, "source" => source.clone()).absolute(0);
        }
        for result in ["acknowledged", "given_back"] {
            counter!("keytrail_source_deliveries_total", "source" => source.clone(), "result" => result).absolute(0);
        }
        counter!("keytrail_source_errors_total", "source" => source.clone(), "kind" => "unreachable").absolute(0);
        gauge!("keytrail_source_stalled", "source" => source.clone()).set(0.0);
        gauge!("keytrail_source_gaps", "source" => source.clone()).set(0.0);
    }
    for name in ["keytrail_events_late_total", "keytrail_events_duplicate_total"] {
        counter!(name).absolute(0);
    }
    for result in ["delivered", "undelivered"] {
        counter!("keytrail_tickets_total", "result" => result).absolute(0);
    }
    for result in ["done", "failed"] {
        counter!("keytrail_reloads_total", "result" => result).absolute(0);
    }
    gauge!("keytrail_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

pub fn source_error(source: &str, kind: &'static str) {
    counter!("keytrail_source_errors_total", "source" => source.to_owned(), "kind" => kind).increment(1);
}

pub fn delivery(source: &str, done: bool) {
    let result = if done { "acknowledged" } else { "given_back" };
    counter!("keytrail_source_deliveries_total", "source" => source.to_owned(), "result" => result).increment(1);
}

/// How much waits at the provider, where it tells.
pub fn lag(source: &str, waiting: Option<u64>) {
    if let Some(waiting) = waiting {
        gauge!("keytrail_source_lag_records", "source" => source.to_owned()).set(waiting as f64);
    }
}

/// What the provider lists and was not taken in.
pub fn gaps(source: &str, gaps: usize) {
    gauge!("keytrail_source_gaps", "source" => source.to_owned()).set(gaps as f64);
}

/// A delivery that was committed before.
pub fn repeated(source: &str) {
    counter!("keytrail_source_repeated_total", "source" => source.to_owned()).increment(1);
}

pub fn set_aside(source: &str, ignored: u64) {
    counter!("keytrail_source_ignored_total", "source" => source.to_owned()).increment(ignored);
}

pub fn taken(source: &str, events: u64, intake: &Intake) {
    let rejects = intake.marks.iter().map(|mark| mark.rejects).sum();
    let bytes = intake.held.iter().map(|held| held.body.len() as u64).sum();
    counter!("keytrail_source_records_total", "source" => source.to_owned()).increment(events);
    counter!("keytrail_source_rejects_total", "source" => source.to_owned()).increment(rejects);
    counter!("keytrail_source_bytes_total", "source" => source.to_owned()).increment(bytes);
}

/// A finding as it is first known; what is later known of it is not counted.
pub fn found(finding: &Finding) {
    let (rule, severity) = (finding.rule.clone(), finding.severity.name());
    counter!("keytrail_findings_total", "rule" => rule, "severity" => severity).increment(1);
}

/// From arrival to the finding's commit, for each of so many.
pub fn latency(since: Duration, findings: usize) {
    histogram!("keytrail_finding_latency_seconds").record_many(since.as_secs_f64(), findings);
}

pub fn committed(what: &'static str, took: Duration) {
    histogram!("keytrail_commit_seconds", "what" => what).record(took.as_secs_f64());
}

pub fn inbox(depth: InboxDepth) {
    gauge!("keytrail_inbox_rows").set(depth.rows as f64);
    gauge!("keytrail_inbox_events").set(depth.events as f64);
    gauge!("keytrail_inbox_bytes").set(depth.bytes as f64);
}

pub fn engine(engine: &mut Engine) {
    let Counts { events, late, duplicates } = std::mem::take(&mut engine.counts);
    for (log, count) in events {
        counter!("keytrail_events_total", "log" => log).increment(count);
    }
    counter!("keytrail_events_late_total").increment(late);
    counter!("keytrail_events_duplicate_total").increment(duplicates);
    if let Some(watermark) = engine.watermark().filter(|watermark| watermark.0 < i64::MAX) {
        gauge!("keytrail_watermark_timestamp_seconds").set(watermark.0 as f64 / 1e6);
    }
    let (groups, lanes) = engine.held();
    gauge!("keytrail_state_entries", "kind" => "groups").set(groups as f64);
    gauge!("keytrail_state_entries", "kind" => "lanes").set(lanes as f64);
    gauge!("keytrail_state_entries", "kind" => "seen").set(engine.seen.len() as f64);
    for failure in engine.failures() {
        counter!("keytrail_rule_failures_total", "rule" => failure.rule.clone()).absolute(1);
    }
}

pub fn checkpoint(at: f64) {
    gauge!("keytrail_checkpoint_timestamp_seconds").set(at);
}

pub fn lease(name: &str, held: bool) {
    gauge!("keytrail_lease_held", "lease" => name.to_owned()).set(f64::from(u8::from(held)));
}

pub fn ticket(delivered: bool) {
    let result = if delivered { "delivered" } else { "undelivered" };
    counter!("keytrail_tickets_total", "result" => result).increment(1);
}

pub fn reload(done: bool) {
    counter!("keytrail_reloads_total", "result" => if done { "done" } else { "failed" }).increment(1);
}
