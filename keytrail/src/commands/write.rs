//! What a run leaves behind: findings.ndjson, tickets, the store, the report.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use keytrail_model::{Action, EntryBody, Micros};
use keytrail_remediate::{Eml, Notifier, Smtp, Ticket};
use keytrail_store::{CredentialRow, Store, entry};

use crate::census::Census;
use crate::config::{Config, environment};
use crate::pipeline::Outcome;
use crate::report::{self, Report, SourceTotals, StaticKey, TicketLine, UnknownSchema};
use crate::{ocsf, tables};

pub struct Written<'a> {
    config: &'a Config,
    about: String,
    files: Vec<PathBuf>,
    sent: Vec<EntryBody>,
    ticket_lines: Vec<TicketLine>,
}

impl<'a> Written<'a> {
    #[must_use]
    pub fn new(config: &'a Config, about: &str) -> Self {
        Self { config, about: about.to_owned(), files: Vec::new(), sent: Vec::new(), ticket_lines: Vec::new() }
    }

    /// Findings, tickets and the journal.
    pub async fn all(mut self, outcome: &Outcome) -> Result<Self> {
        let out = self.config.out.clone();
        std::fs::create_dir_all(&out).with_context(|| format!("cannot make the folder `{}`", out.display()))?;
        let place = self.config.store_place(None);
        let store = self.config.open_store(None).await?;
        self.findings(outcome, &out.join("findings.ndjson"))?;
        // The journal knows of findings and plans before anything leaves: no effect without an entry before it.
        commit(&store, outcome, found(outcome)).await?;
        self.tickets(outcome, &out.join("tickets")).await?;
        commit(&store, outcome, std::mem::take(&mut self.sent)).await?;
        store.upsert_credentials(&credential_rows(outcome)).await?;
        store.close().await;
        self.files.extend((!place.contains("://")).then(|| PathBuf::from(place)));
        Ok(self)
    }

    fn findings(&mut self, outcome: &Outcome, path: &Path) -> Result<()> {
        let mut text = String::new();
        let mut planned: BTreeMap<&str, Vec<&Action>> = BTreeMap::new();
        for action in &outcome.actions {
            planned.entry(&action.finding).or_default().push(action);
        }
        for finding in &outcome.findings {
            let actions = planned.remove(finding.id.as_str()).unwrap_or_default();
            text.push_str(&ocsf::finding(finding, &actions).to_string());
            text.push('\n');
        }
        self.file(path, &text)
    }

    fn file(&mut self, path: &Path, text: &str) -> Result<()> {
        std::fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
        self.files.push(path.to_path_buf());
        Ok(())
    }

    async fn tickets(&mut self, outcome: &Outcome, folder: &Path) -> Result<()> {
        let mut notifiers: Vec<Box<dyn Notifier>> = vec![Box::new(Eml::new(folder, &self.config.tickets.from))];
        if let Some(smtp) = &self.config.tickets.smtp {
            notifiers.push(Box::new(Smtp::new(smtp, smtp.password(environment)?)?));
        }
        for ticket in &outcome.tickets {
            for notifier in &notifiers {
                let result = notifier.upsert(ticket).await.map_err(|error| error.to_string());
                self.told(ticket, result);
            }
        }
        if !outcome.tickets.is_empty() {
            self.files.push(folder.to_path_buf());
        }
        Ok(())
    }

    fn told(&mut self, ticket: &Ticket, result: Result<String, String>) {
        let (key, to, findings) = (ticket.key.clone(), vec![ticket.to.email.clone()], ticket.findings.clone());
        // The report is passed on: it names a file by its place in the folder, and reads the same wherever that stood.
        let out = format!("file:{}/", self.config.out.display());
        let sent = result.as_ref().ok().map(|sent| sent.strip_prefix(&out).unwrap_or(sent).to_owned());
        self.ticket_lines.push(TicketLine { key: key.clone(), to: to.clone(), sent, findings: findings.clone() });
        self.sent.push(match result {
            Ok(sent) => EntryBody::Ticket { key, to, sent, findings },
            Err(reason) => EntryBody::Undelivered { key, to, reason, findings },
        });
    }

    /// The HTML page.
    pub fn report(mut self, outcome: &Outcome, path: &Path) -> Result<Self> {
        let page = report::render(&Report {
            title: "Keytrail report".to_owned(),
            generated_for: self.about.clone(),
            sources: source_totals(outcome),
            time_range: outcome.census.range,
            findings: outcome.findings.clone(),
            actions: outcome.actions.clone(),
            tickets: self.ticket_lines.clone(),
            static_keys: static_keys(outcome),
            unknown_schemas: unknown(outcome),
            rejects: outcome.rejects.iter().take(50).cloned().collect(),
        });
        self.file(path, &page)?;
        Ok(self)
    }

    /// Where everything went.
    #[must_use]
    pub fn say(&self) -> String {
        let files: Vec<String> = self.files.iter().map(|file| format!("  {}", file.display())).collect();
        format!("written:\n{}", files.join("\n"))
    }
}

fn found(outcome: &Outcome) -> Vec<EntryBody> {
    let findings = outcome.findings.iter().map(|finding| EntryBody::Finding(Box::new(finding.clone())));
    let actions = outcome.actions.iter().map(|action| EntryBody::Planned(Box::new(action.clone())));
    let rejects = outcome.rejects.iter().map(|reject| EntryBody::Rejected(reject.clone()));
    findings.chain(actions).chain(rejects).collect()
}

/// Entries are dated by the last event read: a run over files has no other clock.
async fn commit(store: &Store, outcome: &Outcome, bodies: Vec<EntryBody>) -> Result<()> {
    let at = outcome.census.range.map_or(Micros(0), |(_, last)| last);
    let entries = bodies.into_iter().map(|body| entry(at, body)).collect::<Result<Vec<_>, _>>()?;
    store.commit(&entries, &[]).await?;
    Ok(())
}

/// The census as rows of the store.
pub fn credential_rows(outcome: &Outcome) -> Vec<CredentialRow> {
    let mut findings: BTreeMap<&str, u64> = BTreeMap::new();
    for credential in outcome.findings.iter().filter_map(|finding| finding.target.credential.as_deref()) {
        *findings.entry(credential).or_default() += 1;
    }
    let mut rows = counted(&outcome.census);
    for row in &mut rows {
        row.findings = findings.get(row.credential.as_str()).copied().unwrap_or_default();
    }
    rows
}

/// The same without their findings, which the store counts itself.
pub fn counted(census: &Census) -> Vec<CredentialRow> {
    let row = |(id, seen): (&String, &crate::census::Use)| CredentialRow {
        credential: id.clone(),
        kind: seen.kind.owned(),
        lifetime: seen.lifetime.owned(),
        provider: seen.provider.owned(),
        account: seen.account.owned(),
        actor: seen.actor.owned(),
        owner: seen.owner.owned(),
        first_seen: seen.first.unwrap_or_default(),
        last_seen: seen.last.unwrap_or_default(),
        events: seen.events,
        findings: 0,
    };
    census.credentials.iter().map(row).collect()
}

/// Tickets as rows for SQL.
pub fn ticket_rows(outcome: &Outcome) -> Vec<tables::TicketRow> {
    let row = |ticket: &Ticket| tables::TicketRow {
        key: ticket.key.clone(),
        to: vec![ticket.to.email.clone()],
        sent: "not sent".to_owned(),
        findings: ticket.findings.clone(),
    };
    outcome.tickets.iter().map(row).collect()
}

fn source_totals(outcome: &Outcome) -> Vec<SourceTotals> {
    let read = outcome.census.events.iter();
    let mut totals: Vec<SourceTotals> = read
        .map(|(source, events)| SourceTotals { source: source.clone(), events: *events, rejects: 0, skipped: 0 })
        .collect();
    let skipped: u64 = outcome.ignored.values().sum();
    if outcome.reject_count + skipped > 0 {
        let source = "set aside".to_owned();
        totals.push(SourceTotals { source, events: 0, rejects: outcome.reject_count, skipped });
    }
    totals
}

/// Static and derived credentials in use, busiest first.
fn static_keys(outcome: &Outcome) -> Vec<StaticKey> {
    let lasting = |seen: &crate::census::Use| matches!(seen.lifetime.text(), Some("static" | "derived_from_static"));
    let in_use = outcome.census.credentials.iter().filter(|(_, seen)| lasting(seen));
    let mut keys: Vec<StaticKey> = in_use
        .map(|(id, seen)| StaticKey {
            credential: id.clone(),
            kind: seen.kind.owned(),
            account: seen.account.owned(),
            actor: seen.actor.owned(),
            owner: seen.owner.owned(),
            first_seen: seen.first.unwrap_or_default(),
            last_seen: seen.last.unwrap_or_default(),
            events: seen.events,
            ips: seen.ips.iter().cloned().collect(),
            ip_count: seen.ip_count(),
        })
        .collect();
    keys.sort_by(|left, right| right.events.cmp(&left.events).then_with(|| left.credential.cmp(&right.credential)));
    keys
}

fn unknown(outcome: &Outcome) -> Vec<UnknownSchema> {
    let shape = |(keys, unknown): (&String, &keytrail_ingest::Unknown)| UnknownSchema {
        what: keys.clone(),
        records: unknown.count,
        example: unknown.first.to_string(),
    };
    outcome.unknown.iter().map(shape).collect()
}
