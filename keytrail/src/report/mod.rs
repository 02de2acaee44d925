//! The report: one self-contained HTML page that can be forwarded. Pure: a `Report` in, text out.
//!
//! No script, no font, no image and no address is loaded; filters and folding are done by HTML and CSS alone.

mod card;
mod charts;
mod escape;
mod lineage_layout;
mod lineage_svg;
mod page;
mod plan;
#[cfg(test)]
mod sample;
mod tables;
#[cfg(test)]
mod tests;
mod written;

use keytrail_model::{Action, Finding, Micros, Reject};

/// Everything that the page says. Findings may come in any order: the page puts the gravest first, then the oldest.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The page's heading: `Keytrail report`.
    pub title: String,
    /// What was looked at, in words: `sample-events (demo, shadow mode)`. Never the time of making: the page repeats.
    pub generated_for: String,
    pub sources: Vec<SourceTotals>,
    /// Times of the first and the last event read.
    pub time_range: Option<(Micros, Micros)>,
    pub findings: Vec<Finding>,
    pub actions: Vec<Action>,
    pub tickets: Vec<TicketLine>,
    /// Static credentials seen in use, in the order in which they shall stand; the page shows the first ones.
    pub static_keys: Vec<StaticKey>,
    /// Records that are of no known log source.
    pub unknown_schemas: Vec<UnknownSchema>,
    /// The first records that could not be read; how many there are stands in `sources`.
    pub rejects: Vec<Reject>,
}

/// What was read of one log source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceTotals {
    /// `aws.cloudtrail`, or the origin where no log source was recognised.
    pub source: String,
    pub events: u64,
    pub rejects: u64,
    /// Recognised and left aside by the mapping, such as digest files.
    pub skipped: u64,
}

/// One ticket as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TicketLine {
    pub key: String,
    pub to: Vec<String>,
    /// Where it went: `file:tickets/….eml`; `None` while undelivered.
    pub sent: Option<String>,
    /// Ids of the findings it carries.
    pub findings: Vec<String>,
}

/// One static credential in use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StaticKey {
    pub credential: String,
    pub kind: Option<String>,
    pub account: Option<String>,
    pub actor: Option<String>,
    /// Name of the owner as a person reads it.
    pub owner: Option<String>,
    pub first_seen: Micros,
    pub last_seen: Micros,
    pub events: u64,
    /// Distinct addresses, bounded; the exact number stands beside it.
    pub ips: Vec<String>,
    pub ip_count: u64,
}

/// Records that no mapping recognises.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnknownSchema {
    /// File, or the fields that such records have.
    pub what: String,
    pub records: u64,
    /// `file:line` of the first.
    pub example: String,
}

/// The page. The same report gives the same bytes.
#[must_use]
pub fn render(report: &Report) -> String {
    page::render(report)
}
