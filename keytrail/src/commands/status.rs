//! `keytrail status` and `keytrail tail`: how the service does and what it finds, as its store tells.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use keytrail_model::Finding;
use keytrail_store::{FindingFilter, Store, TicketState};
use serde_json::json;

use super::kept;
use crate::cli::{Format, Global, Status, Tail};
use crate::config::Config;
use crate::output::{self, Rows};
use crate::tables;

const EVERY: Duration = Duration::from_millis(500);
const PAGE: u32 = 1_000;

pub async fn status(global: &Global, status: &Status) -> Result<()> {
    let store = kept::open(&Config::load(global)?, status.store.store.as_deref()).await?;
    let mut rows = Rows::new(&["what", "of", "value"]);
    let depth = store.inbox_depth().await?;
    rows.push([json!("inbox"), json!("events that wait for their turn"), json!(depth.events)]);
    rows.push([json!("inbox"), json!("bytes"), json!(depth.bytes)]);
    for lease in store.leases().await? {
        let holder = if lease.is_free() { "nobody".to_owned() } else { lease.holder };
        rows.push([json!("lease"), json!(lease.name), json!(format!("{holder}, epoch {}", lease.epoch))]);
    }
    for total in store.ledger_totals().await? {
        let said = format!("{} events, {} rejects, last at {}", total.events, total.rejects, total.last);
        rows.push([json!("source"), json!(total.source), json!(said)]);
    }
    for (severity, count) in by_severity(&store).await? {
        rows.push([json!("findings"), json!(severity), json!(count)]);
    }
    let tickets = store.tickets().await?;
    let undelivered = tickets.iter().filter(|ticket| matches!(ticket.state, TicketState::Undelivered(_))).count();
    rows.push([json!("tickets"), json!("delivered"), json!(tickets.len() - undelivered)]);
    rows.push([json!("tickets"), json!("undelivered"), json!(undelivered)]);
    output::print(&rows, global)
}

async fn by_severity(store: &Store) -> Result<BTreeMap<&'static str, usize>> {
    let mut counts = BTreeMap::new();
    for finding in store.findings(&FindingFilter::default()).await? {
        *counts.entry(finding.severity.name()).or_default() += 1;
    }
    Ok(counts)
}

pub async fn tail(global: &Global, tail: &Tail) -> Result<()> {
    let store = kept::open(&Config::load(global)?, tail.store.store.as_deref()).await?;
    let mut cursor = 0;
    let mut latest = Vec::new();
    while let Some(page) = page(&store, cursor).await? {
        cursor = page.0;
        latest.extend(page.1);
        latest.drain(..latest.len().saturating_sub(tail.last));
    }
    show(global, tail, &store, &latest).await?;
    if tail.no_follow {
        return Ok(());
    }
    loop {
        match page(&store, cursor).await? {
            Some((last, ids)) => {
                cursor = last;
                show(global, tail, &store, &ids).await?;
            }
            None => tokio::time::sleep(EVERY).await,
        }
    }
}

async fn page(store: &Store, cursor: i64) -> Result<Option<(i64, Vec<String>)>> {
    let rows = store.finding_entries_after(cursor, PAGE).await?;
    let last = rows.last().map(|(seq, _)| *seq);
    Ok(last.map(|last| (last, rows.into_iter().map(|(_, id)| id).collect())))
}

async fn show(global: &Global, tail: &Tail, store: &Store, ids: &[String]) -> Result<()> {
    let mut findings: Vec<Finding> = Vec::new();
    for id in ids {
        let wanted = |finding: &Finding| {
            tail.severity.is_none_or(|least| finding.severity >= least) && findings.iter().all(|known| known.id != *id)
        };
        let found = store.finding(id).await?.filter(wanted);
        findings.extend(found);
    }
    match output::format(global) {
        _ if findings.is_empty() => Ok(()),
        Format::Table => output::print(&tables::finding_list(&findings), global),
        _ => output::print(&tables::findings(&findings), global),
    }
}
