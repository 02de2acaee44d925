//! Counts what was read: events by log source, credentials in use. Feeds the totals, the report and the store.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use keytrail_model::{EventBatch, Micros};

/// Credentials beyond this are counted but not listed.
const CREDENTIALS_MAX: usize = 100_000;
/// Addresses listed for a credential.
const IPS_MAX: usize = 20;

/// One credential in use.
#[derive(Clone, Debug, Default)]
pub struct Use {
    pub kind: Option<String>,
    pub lifetime: Option<String>,
    pub provider: Option<String>,
    pub account: Option<String>,
    pub actor: Option<String>,
    pub owner: Option<String>,
    pub first: Option<Micros>,
    pub last: Option<Micros>,
    pub events: u64,
    pub ips: BTreeSet<String>,
    ip_seen: HashSet<String>,
}

impl Use {
    #[must_use]
    pub fn ip_count(&self) -> u64 {
        self.ip_seen.len() as u64
    }
}

#[derive(Debug, Default)]
pub struct Census {
    pub events: BTreeMap<String, u64>,
    pub credentials: BTreeMap<String, Use>,
    pub unlisted: u64,
    pub range: Option<(Micros, Micros)>,
}

impl Census {
    pub fn observe(&mut self, batch: &EventBatch) {
        *self.events.entry(batch.source.to_string()).or_default() += batch.rows() as u64;
        for row in 0..batch.rows() {
            self.time(batch.time(row));
            if let Some(credential) = batch.text("credential", row).filter(|id| !id.is_empty()) {
                self.credential(credential, batch, row);
            }
        }
    }

    #[must_use]
    pub fn total(&self) -> u64 {
        self.events.values().sum()
    }

    fn time(&mut self, time: Micros) {
        let (first, last) = self.range.unwrap_or((time, time));
        self.range = Some((first.min(time), last.max(time)));
    }

    fn credential(&mut self, id: &str, batch: &EventBatch, row: usize) {
        if !self.credentials.contains_key(id) {
            if self.credentials.len() >= CREDENTIALS_MAX {
                self.unlisted += 1;
                return;
            }
            self.credentials.insert(id.to_owned(), Use::default());
        }
        if let Some(seen) = self.credentials.get_mut(id) {
            seen.observe(batch, row);
        }
    }
}

impl Use {
    fn observe(&mut self, batch: &EventBatch, row: usize) {
        let time = batch.time(row);
        let newest = self.last.is_none_or(|last| time >= last);
        self.first = Some(self.first.map_or(time, |first| first.min(time)));
        self.last = Some(self.last.map_or(time, |last| last.max(time)));
        self.events += 1;
        if newest {
            self.describe(batch, row);
        }
        if let Some(ip) = batch.text("ip", row) {
            self.address(ip);
        }
    }

    fn describe(&mut self, batch: &EventBatch, row: usize) {
        let text = |name: &str, old: &Option<String>| batch.text(name, row).map(str::to_owned).or_else(|| old.clone());
        self.kind = text("credential_kind", &self.kind);
        self.lifetime = text("credential_lifetime", &self.lifetime);
        self.provider = text("provider", &self.provider);
        self.account = text("account", &self.account);
        self.actor = text("actor", &self.actor);
        self.owner = text("owner", &self.owner);
    }

    fn address(&mut self, ip: &str) {
        if self.ip_seen.contains(ip) || self.ip_seen.len() >= CREDENTIALS_MAX {
            return;
        }
        self.ip_seen.insert(ip.to_owned());
        self.ips.insert(ip.to_owned());
        if self.ips.len() > IPS_MAX {
            self.ips.pop_last();
        }
    }
}
