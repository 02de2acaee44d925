//! `finding`, `action`, `credential`: what the store keeps.

use std::path::Path;

use anyhow::{Result, anyhow, bail};
use keytrail_store::{FindingFilter, Store, Ticket, TicketState};

use super::show;
use crate::cli::{Action, Credential, Finding, Format, Global};
use crate::config::Config;
use crate::output::{self, format};
use crate::pack::Pack;
use crate::tables;

/// Opens a store that must exist already.
pub async fn open(path: &Path) -> Result<Store> {
    if !path.exists() {
        bail!("no store at `{}`: run `keytrail scan` first, or name one with --store", path.display());
    }
    Ok(Store::open(path).await?)
}

pub async fn finding(global: &Global, command: Finding) -> Result<()> {
    let config = Config::load(global)?;
    match command {
        Finding::List { store, severity, rule, owner, credential } => {
            let store = open(&config.store_path(store.store.as_deref())).await?;
            let filter = FindingFilter { severity_min: severity, rule, owner, credential };
            let findings = store.findings(&filter).await?;
            match format(global) {
                Format::Table => output::print(&tables::finding_list(&findings), global),
                _ => output::print(&tables::findings(&findings), global),
            }
        }
        Finding::Show { id, store } => {
            let store = open(&config.store_path(store.store.as_deref())).await?;
            one(global, &store, &id).await
        }
        Finding::Explain { id, store, rule_set } => {
            let store = open(&config.store_path(store.store.as_deref())).await?;
            let finding = known(&store, &id).await?;
            let rules = Pack::with(&config.rule_set(&rule_set))?.rules()?;
            let rule = rules.iter().find(|rule| rule.id == finding.rule);
            output::text(&show::explained(&finding, rule, &store.actions(Some(&finding.id)).await?))
        }
    }
}

async fn known(store: &Store, id: &str) -> Result<keytrail_model::Finding> {
    let found = store.finding(id).await?;
    found.ok_or_else(|| anyhow!("no finding `{id}` in the store: `keytrail finding list` shows them"))
}

async fn one(global: &Global, store: &Store, id: &str) -> Result<()> {
    let finding = known(store, id).await?;
    let actions = store.actions(Some(&finding.id)).await?;
    if format(global) == Format::Table {
        return output::text(&show::finding(&finding, &actions));
    }
    let value = crate::ocsf::finding(&finding, &actions.iter().collect::<Vec<_>>());
    output::text(&format!("{value}\n"))
}

pub async fn action(global: &Global, command: Action) -> Result<()> {
    let Action::List { store, finding } = command;
    let store = open(&Config::load(global)?.store_path(store.store.as_deref())).await?;
    let id = match finding {
        Some(prefix) => Some(known(&store, &prefix).await?.id),
        None => None,
    };
    output::print(&tables::actions(&store.actions(id.as_deref()).await?), global)
}

pub async fn credential(global: &Global, command: Credential) -> Result<()> {
    let Credential::List { store, lifetime } = command;
    let store = open(&Config::load(global)?.store_path(store.store.as_deref())).await?;
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
