//! The service's figures, by the names in `deploy/metrics.txt`. Labels are sources, rules and kinds: never an identity.

use std::time::Duration;

use keytrail_ingest::sources::Lag;
use keytrail_model::{Finding, Micros};
use keytrail_store::{InboxDepth, Intake};
use metrics::{counter, gauge, histogram};

use super::engine::{Counts, Engine};
use super::reconcile::Found;

/// Metrics of which something is known before anything happened, so that a rate over them starts at nothing.
pub fn begin(sources: &[String]) {
    for source in sources {
        for name in [
            "keytrail_events_received_total",
            "keytrail_events_parse_errors_total",
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
        for name in [
            "keytrail_source_objects_expected",
            "keytrail_source_objects_processed",
            "keytrail_source_reconcile_gap_objects",
        ] {
            gauge!(name, "source" => source.clone()).set(0.0);
        }
    }
    for name in ["keytrail_events_late_total", "keytrail_events_deduplicated_total"] {
        counter!(name).absolute(0);
    }
    for outcome in ["delivered", "undelivered"] {
        counter!("keytrail_delivery_attempts_total", "outcome" => outcome).absolute(0);
    }
    undelivered(0, None, Micros(0));
    for name in ["keytrail_reloads_total", "keytrail_reloads_failed_total"] {
        counter!(name).absolute(0);
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

/// How much waits at the provider, and for how long, where it tells.
pub fn lag(source: &str, lag: Lag) {
    if let Some(waiting) = lag.waiting {
        gauge!("keytrail_source_backlog_events", "source" => source.to_owned()).set(waiting as f64);
    }
    if let Some(oldest) = lag.oldest {
        gauge!("keytrail_source_lag_seconds", "source" => source.to_owned()).set(oldest.as_secs_f64());
    }
}

/// What the provider lists, what of it was taken in, and what is missing.
pub fn reconciled(source: &str, found: &Found, gaps: usize) {
    gauge!("keytrail_source_objects_expected", "source" => source.to_owned()).set(found.listed as f64);
    gauge!("keytrail_source_objects_processed", "source" => source.to_owned()).set(found.taken as f64);
    gauge!("keytrail_source_reconcile_gap_objects", "source" => source.to_owned()).set(gaps as f64);
}

/// A delivery that was committed before.
pub fn repeated(source: &str) {
    counter!("keytrail_source_repeated_total", "source" => source.to_owned()).increment(1);
}

/// Positions that were gone before they were read.
pub fn hole(source: &str) {
    counter!("keytrail_events_parse_errors_total", "source" => source.to_owned()).increment(1);
}

pub fn set_aside(source: &str, ignored: u64) {
    counter!("keytrail_source_ignored_total", "source" => source.to_owned()).increment(ignored);
}

pub fn taken(source: &str, events: u64, intake: &Intake) {
    let rejects = intake.marks.iter().map(|mark| mark.rejects).sum();
    let bytes = intake.held.iter().map(|held| held.body.len() as u64).sum();
    counter!("keytrail_events_received_total", "source" => source.to_owned()).increment(events);
    counter!("keytrail_events_parse_errors_total", "source" => source.to_owned()).increment(rejects);
    counter!("keytrail_source_bytes_total", "source" => source.to_owned()).increment(bytes);
    if let Some(last) = intake.held.iter().map(|held| held.last).max() {
        gauge!("keytrail_source_last_event_timestamp_seconds", "source" => source.to_owned()).set(last.0 as f64 / 1e6);
    }
}

/// A finding as it is first known; what is later known of it is not counted.
pub fn found(finding: &Finding) {
    let (rule, severity) = (finding.rule.clone(), finding.severity.name());
    counter!("keytrail_findings_total", "rule_id" => rule, "severity" => severity).increment(1);
}

/// From arrival to the finding's commit, for each of so many.
pub fn latency(since: Duration, findings: usize) {
    histogram!("keytrail_detect_latency_seconds").record_many(since.as_secs_f64(), findings);
}

pub fn committed(stage: &'static str, took: Duration) {
    histogram!("keytrail_pipeline_stage_duration_seconds", "stage" => stage).record(took.as_secs_f64());
}

pub fn inbox(depth: InboxDepth) {
    gauge!("keytrail_inbox_rows").set(depth.rows as f64);
    gauge!("keytrail_inbox_events").set(depth.events as f64);
    gauge!("keytrail_inbox_bytes").set(depth.bytes as f64);
}

pub fn engine(engine: &mut Engine) {
    let Counts { events, late, duplicates } = std::mem::take(&mut engine.counts);
    for (log, count) in events {
        counter!("keytrail_events_processed_total", "log" => log).increment(count);
    }
    counter!("keytrail_events_late_total").increment(late);
    counter!("keytrail_events_deduplicated_total").increment(duplicates);
    if let Some(watermark) = engine.watermark().filter(|watermark| watermark.0 < i64::MAX) {
        gauge!("keytrail_watermark_timestamp_seconds").set(watermark.0 as f64 / 1e6);
    }
    let (groups, lanes) = engine.held();
    gauge!("keytrail_rule_state_entries", "state" => "groups").set(groups as f64);
    gauge!("keytrail_rule_state_entries", "state" => "lanes").set(lanes as f64);
    gauge!("keytrail_rule_state_entries", "state" => "seen").set(engine.seen.len() as f64);
    for failure in engine.failures() {
        counter!("keytrail_detection_rule_errors_total", "rule_id" => failure.rule.clone()).absolute(1);
    }
}

pub fn checkpoint(at: f64) {
    gauge!("keytrail_checkpoint_timestamp_seconds").set(at);
}

pub fn lease(name: &str, held: bool) {
    gauge!("keytrail_lease_held", "lease" => name.to_owned()).set(f64::from(u8::from(held)));
}

pub fn ticket(delivered: bool) {
    let outcome = if delivered { "delivered" } else { "undelivered" };
    counter!("keytrail_delivery_attempts_total", "outcome" => outcome).increment(1);
}

/// Tickets that did not reach their owner, and for how long the oldest of them waits.
pub fn undelivered(count: usize, oldest: Option<Micros>, now: Micros) {
    let pending = oldest.map_or(0, |oldest| now.0.saturating_sub(oldest.0).max(0));
    gauge!("keytrail_delivery_undelivered").set(count as f64);
    gauge!("keytrail_delivery_oldest_pending_seconds").set(pending as f64 / 1e6);
}

pub fn rules(count: usize) {
    gauge!("keytrail_rules_loaded").set(count as f64);
}

pub fn reload(done: bool) {
    counter!("keytrail_reloads_total").increment(1);
    counter!("keytrail_reloads_failed_total").increment(u64::from(!done));
}
