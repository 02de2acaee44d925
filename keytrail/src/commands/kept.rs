//! `finding`, `action`, `credential`: what the store keeps.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, anyhow, bail};
use keytrail_store::{FindingFilter, Store, Ticket, TicketState};

use super::show;
use crate::cli::{Action, Credential, Finding, Format, Global};
use crate::config::Config;
use crate::output::{self, format};
use crate::pack::Pack;
use crate::tables;

/// Whether the configuration's store is there; of one on a server it is taken for granted.
pub fn is_there(config: &Config) -> bool {
    let place = config.store_place(None);
    place.contains("://") || Path::new(&place).exists()
}

/// Opens a store that must exist already.
pub async fn open(config: &Config, said: Option<&Path>) -> Result<Store> {
    let place = config.store_place(said);
    if !place.contains("://") && !Path::new(&place).exists() {
        bail!("no store at `{place}`: run `keytrail scan` first, or name one with --store");
    }
    config.open_store(said).await
}

pub async fn finding(global: &Global, command: Finding) -> Result<()> {
    let config = Config::load(global)?;
    match command {
        Finding::List { store, severity, rule, owner, credential, superseded } => {
            let store = open(&config, store.store.as_deref()).await?;
            let filter = FindingFilter { severity_min: severity, rule, owner, credential, superseded, since: None };
            let mut findings = store.findings(&filter).await?;
            if superseded {
                mark(&mut findings, &store.superseded().await?);
            }
            match format(global) {
                Format::Table => output::print(&tables::finding_list(&findings), global),
                _ => output::print(&tables::findings(&findings), global),
            }
        }
        Finding::Show { id, store } => {
            let store = open(&config, store.store.as_deref()).await?;
            one(global, &store, &id).await
        }
        Finding::Explain { id, store, rule_set } => {
            let store = open(&config, store.store.as_deref()).await?;
            let finding = known(&store, &id).await?;
            let rules = Pack::with(&config.rule_set(&rule_set))?.rules()?;
            let rule = rules.iter().find(|rule| rule.id == finding.rule);
            let superseded = superseded(&store, &finding.id).await?;
            let actions = store.actions(Some(&finding.id)).await?;
            output::text(&show::explained(&finding, superseded.as_deref(), rule, &actions))
        }
    }
}

/// In a list of both, the summary says which findings no longer hold.
fn mark(findings: &mut [keytrail_model::Finding], superseded: &BTreeMap<String, String>) {
    for finding in findings {
        if let Some(reason) = superseded.get(&finding.id) {
            finding.summary = format!("superseded ({reason}): {}", finding.summary);
        }
    }
}

async fn known(store: &Store, id: &str) -> Result<keytrail_model::Finding> {
    let found = store.finding(id).await?;
    found.ok_or_else(|| anyhow!("no finding `{id}` in the store: `keytrail finding list` shows them"))
}

/// Why a finding no longer holds, in words.
async fn superseded(store: &Store, id: &str) -> Result<Option<String>> {
    Ok(store.superseded().await?.remove(id).map(|reason| format!("superseded: {reason}")))
}

async fn one(global: &Global, store: &Store, id: &str) -> Result<()> {
    let finding = known(store, id).await?;
    let actions = store.actions(Some(&finding.id)).await?;
    let superseded = superseded(store, &finding.id).await?;
    if format(global) == Format::Table {
        return output::text(&show::finding(&finding, superseded.as_deref(), &actions));
    }
    let mut value = crate::ocsf::finding(&finding, &actions.iter().collect::<Vec<_>>());
    if let (Some(superseded), Some(value)) = (superseded, value.as_object_mut()) {
        value.insert("status_detail".to_owned(), superseded.into());
    }
    output::text(&format!("{value}\n"))
}

pub async fn action(global: &Global, command: Action) -> Result<()> {
    let Action::List { store, finding } = command;
    let store = open(&Config::load(global)?, store.store.as_deref()).await?;
    let id = match finding {
        Some(prefix) => Some(known(&store, &prefix).await?.id),
        None => None,
    };
    output::print(&tables::actions(&store.actions(id.as_deref()).await?), global)
}

pub async fn credential(global: &Global, command: Credential) -> Result<()> {
    let Credential::List { store, lifetime } = command;
    let store = open(&Config::load(global)?, store.store.as_deref()).await?;
    let mut rows = store.credentials().await?;
    if let Some(lifetime) = lifetime {
        rows.retain(|row| row.lifetime.as_deref() == Some(lifetime.as_str()));
    }
    output::print(&tables::credentials(&rows), global)
}

/// A stored ticket as a row.
pub fn ticket_row(ticket: Ticket) -> tables::TicketRow {
    let sent = match ticket.state {
        TicketState::Sent(place) => place,
        TicketState::Undelivered(reason) => format!("undelivered: {reason}"),
    };
    tables::TicketRow { key: ticket.key, to: ticket.to, sent, findings: ticket.findings }
}
