//! Findings, actions, credentials, owners, edges, tickets and rejects as rows: for printing and for SQL.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use keytrail_model::{Action, Finding, Micros, Owner, Reject, Undo};
use keytrail_store::CredentialRow;
use serde_json::{Value, json};

use crate::output::{Rows, plain};

/// A ticket as rows show it.
pub struct TicketRow {
    pub key: String,
    pub to: Vec<String>,
    pub sent: String,
    pub findings: Vec<String>,
}

/// Everything that can be queried beside `events`.
#[derive(Default)]
pub struct Known {
    pub findings: Vec<Finding>,
    pub actions: Vec<Action>,
    pub credentials: Vec<CredentialRow>,
    pub owners: Vec<Owner>,
    pub tickets: Vec<TicketRow>,
    pub rejects: Vec<Reject>,
}

impl Known {
    /// Name and content of each table.
    pub fn tables(&self) -> Result<Vec<(&'static str, RecordBatch)>> {
        Ok(vec![
            ("findings", batch(&findings(&self.findings))?),
            ("actions", batch(&actions(&self.actions))?),
            ("credentials", batch(&credentials(&self.credentials))?),
            ("owners", batch(&owners(&self.owners))?),
            ("edges", batch(&edges(&self.findings))?),
            ("tickets", batch(&tickets(&self.tickets))?),
            ("rejects", batch(&rejects(&self.rejects))?),
        ])
    }
}

pub fn findings(findings: &[Finding]) -> Rows {
    let mut rows = Rows::new(&[
        "id",
        "severity",
        "rule",
        "title",
        "source",
        "credential",
        "credential_kind",
        "credential_lifetime",
        "actor",
        "agent",
        "owner",
        "owner_confidence",
        "count",
        "first_seen",
        "last_seen",
        "summary",
        "shadow",
    ]);
    for finding in findings {
        let target = &finding.target;
        rows.push([
            json!(finding.id),
            json!(finding.severity.name()),
            json!(finding.rule),
            json!(finding.title),
            json!(finding.source),
            json!(target.credential),
            json!(target.kind),
            json!(target.lifetime),
            json!(target.actor),
            json!(target.agent),
            json!(owner_of(finding)),
            json!(finding.ownership.as_ref().map(|ownership| ownership.confidence)),
            json!(finding.count),
            json!(finding.first_seen),
            json!(finding.last_seen),
            json!(finding.summary),
            json!(finding.shadow),
        ]);
    }
    rows
}

/// The summary, with a mark where the rule is on trial.
#[must_use]
pub fn marked(finding: &Finding) -> String {
    if finding.shadow { format!("(shadow) {}", finding.summary) } else { finding.summary.clone() }
}

/// The short table that `scan`, `demo` and `finding list` print.
pub fn finding_list(findings: &[Finding]) -> Rows {
    let mut rows =
        Rows::new(&["id", "severity", "rule", "source", "credential", "owner", "count", "first_seen", "summary"]);
    for finding in findings {
        rows.push([
            json!(short_id(&finding.id)),
            json!(finding.severity.name()),
            json!(finding.rule),
            json!(finding.source),
            json!(finding.target.credential),
            json!(owner_of(finding)),
            json!(finding.count),
            json!(finding.first_seen),
            json!(marked(finding)),
        ]);
    }
    rows
}

/// Enough of an id to name it on the command line.
#[must_use]
pub fn short_id(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// Ids of the owners; two when contested.
#[must_use]
pub fn owner_of(finding: &Finding) -> String {
    let owners = finding.ownership.as_ref().map(|ownership| ownership.owners.as_slice()).unwrap_or_default();
    owners.iter().map(|owner| owner.id.as_str()).collect::<Vec<_>>().join(", ")
}

pub fn actions(actions: &[Action]) -> Rows {
    let mut rows = Rows::new(&[
        "id",
        "finding",
        "mode",
        "playbook",
        "remediator",
        "target",
        "summary",
        "calls",
        "undo",
        "refused",
    ]);
    for action in actions {
        let calls: Vec<String> =
            action.calls.iter().map(|call| format!("{}:{}", call.service, call.operation)).collect();
        let undo = match &action.undo {
            Undo::Calls(calls) => calls.iter().map(|call| call.operation.clone()).collect::<Vec<_>>().join(", "),
            Undo::Irreversible(why) => format!("cannot be undone: {why}"),
        };
        rows.push([
            json!(short_id(&action.id)),
            json!(short_id(&action.finding)),
            json!(action.mode.to_string()),
            json!(action.playbook),
            json!(action.remediator),
            json!(action.target),
            json!(action.summary),
            json!(calls),
            json!(undo),
            json!(action.refused.as_ref().map(|refusal| format!("{}: {}", refusal.code, refusal.reason))),
        ]);
    }
    rows
}

pub fn credentials(credentials: &[CredentialRow]) -> Rows {
    let mut rows = Rows::new(&[
        "credential",
        "kind",
        "lifetime",
        "provider",
        "account",
        "actor",
        "owner",
        "events",
        "findings",
        "first_seen",
        "last_seen",
    ]);
    for row in credentials {
        rows.push([
            json!(row.credential),
            json!(row.kind),
            json!(row.lifetime),
            json!(row.provider),
            json!(row.account),
            json!(row.actor),
            json!(row.owner),
            json!(row.events),
            json!(row.findings),
            json!(row.first_seen),
            json!(row.last_seen),
        ]);
    }
    rows
}

fn owners(owners: &[Owner]) -> Rows {
    let mut rows = Rows::new(&["id", "name", "email", "kind"]);
    for owner in owners {
        rows.push([json!(owner.id), json!(owner.name), json!(owner.email), json!(owner.kind)]);
    }
    rows
}

/// The lineage of all findings, each edge once.
fn edges(findings: &[Finding]) -> Rows {
    let mut rows = Rows::new(&["from_kind", "from", "edge", "to_kind", "to", "basis"]);
    let mut seen = std::collections::BTreeSet::new();
    for hop in findings.iter().flat_map(|finding| &finding.lineage) {
        let row = [&hop.from_kind, &hop.from, &hop.edge, &hop.to_kind, &hop.to, &hop.basis];
        if seen.insert(row.map(String::clone)) {
            rows.push(row.map(|value| json!(value)));
        }
    }
    rows
}

fn tickets(tickets: &[TicketRow]) -> Rows {
    let mut rows = Rows::new(&["key", "to", "sent", "findings"]);
    for ticket in tickets {
        rows.push([json!(ticket.key), json!(ticket.to), json!(ticket.sent), json!(ticket.findings)]);
    }
    rows
}

fn rejects(rejects: &[Reject]) -> Rows {
    let mut rows = Rows::new(&["position", "reason", "record"]);
    for reject in rejects {
        rows.push([json!(reject.position.to_string()), json!(reject.reason), json!(reject.record)]);
    }
    rows
}

/// Rows as an Arrow batch: numbers and times typed, everything else text.
fn batch(rows: &Rows) -> Result<RecordBatch> {
    let mut fields = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for name in &rows.columns {
        let values: Vec<&Value> = rows.rows.iter().map(|row| row.get(name).unwrap_or(&Value::Null)).collect();
        let column = column(name, &values);
        fields.push(Field::new(name, column.data_type().clone(), true));
        columns.push(column);
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn column(name: &str, values: &[&Value]) -> ArrayRef {
    match name {
        "count" | "events" | "findings" if values.iter().all(|value| value.is_number()) => {
            Arc::new(values.iter().map(|value| value.as_i64()).collect::<Int64Array>())
        }
        "first_seen" | "last_seen" => times(values),
        _ => Arc::new(values.iter().map(|value| (!value.is_null()).then(|| plain(value))).collect::<StringArray>()),
    }
}

fn times(values: &[&Value]) -> ArrayRef {
    let micros = values.iter().map(|value| value.as_str().and_then(Micros::parse).map(|at| at.0));
    let data_type = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(micros.collect::<TimestampMicrosecondArray>().with_data_type(data_type))
}
