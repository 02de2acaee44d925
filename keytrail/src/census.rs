//! Counts what was read: events by log source, credentials in use. Feeds the totals, the report and the store.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use keytrail_model::{EventBatch, Micros};

/// Credentials beyond this are counted but not listed.
const CREDENTIALS_MAX: usize = 100_000;
/// Addresses listed for a credential.
const IPS_MAX: usize = 20;

/// What the latest event that says so says; of several at one time the greatest, so that no order of reading matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latest(Option<(Micros, String)>);

impl Latest {
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.0.as_ref().map(|(_, text)| text.as_str())
    }

    #[must_use]
    pub fn owned(&self) -> Option<String> {
        self.text().map(str::to_owned)
    }

    fn learn(&mut self, (time, text): (Micros, Option<&str>)) {
        let Some(text) = text else { return };
        if self.0.as_ref().is_none_or(|(at, known)| (time, text) > (*at, known.as_str())) {
            self.0 = Some((time, text.to_owned()));
        }
    }

    fn merge(&mut self, other: Self) {
        if other.0 > self.0 {
            self.0 = other.0;
        }
    }
}

/// One credential in use.
#[derive(Clone, Debug, Default)]
pub struct Use {
    pub kind: Latest,
    pub lifetime: Latest,
    pub provider: Latest,
    pub account: Latest,
    pub actor: Latest,
    pub owner: Latest,
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

    /// Takes over what another thread counted.
    pub fn merge(&mut self, other: Self) {
        for (source, count) in other.events {
            *self.events.entry(source).or_default() += count;
        }
        for (id, seen) in other.credentials {
            if let Some(known) = self.credentials.get_mut(&id) {
                known.merge(seen);
            } else if self.credentials.len() < CREDENTIALS_MAX {
                self.credentials.insert(id, seen);
            } else {
                self.unlisted += seen.events;
            }
        }
        self.unlisted += other.unlisted;
        if let Some((first, last)) = other.range {
            self.time(first);
            self.time(last);
        }
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
    fn merge(&mut self, other: Self) {
        self.kind.merge(other.kind);
        self.lifetime.merge(other.lifetime);
        self.provider.merge(other.provider);
        self.account.merge(other.account);
        self.actor.merge(other.actor);
        self.owner.merge(other.owner);
        self.first = [self.first, other.first].into_iter().flatten().min();
        self.last = self.last.max(other.last);
        self.events += other.events;
        other.ip_seen.iter().for_each(|ip| self.address(ip));
    }

    fn observe(&mut self, batch: &EventBatch, row: usize) {
        let time = batch.time(row);
        self.first = Some(self.first.map_or(time, |first| first.min(time)));
        self.last = Some(self.last.map_or(time, |last| last.max(time)));
        self.events += 1;
        let text = |name: &str| (time, batch.text(name, row));
        self.kind.learn(text("credential_kind"));
        self.lifetime.learn(text("credential_lifetime"));
        self.provider.learn(text("provider"));
        self.account.learn(text("account"));
        self.actor.learn(text("actor"));
        self.owner.learn(text("owner"));
        if let Some(ip) = batch.text("ip", row) {
            self.address(ip);
        }
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
