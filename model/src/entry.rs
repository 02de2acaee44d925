//! The journal's entries. Findings, actions and tickets are views of them.

use serde::{Deserialize, Serialize};

use crate::{Action, Finding, Micros, Reject};

/// One thing that happened or was decided. The same id twice is once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub id: String,
    /// Event time or the virtual clock's; never read from a clock by a stage.
    pub at: Micros,
    pub body: EntryBody,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EntryBody {
    /// A finding opened, or its counts moved on.
    Finding(Box<Finding>),
    /// An action was planned (or refused).
    Planned(Box<Action>),
    /// A ticket was written: key, owner e-mails, where it went (`file:…`, `smtp:…`), findings it carries.
    Ticket { key: String, to: Vec<String>, sent: String, findings: Vec<String> },
    /// A ticket could not be delivered; it is listed and retried.
    Undelivered {
        key: String,
        to: Vec<String>,
        reason: String,
        #[serde(default)]
        findings: Vec<String>,
    },
    /// A record that could not be read.
    Rejected(Reject),
    /// A finding no longer holds after late events; a newer version of it would lift this.
    Superseded { finding: String, reason: String },
}
