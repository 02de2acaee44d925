//! Who answers for a credential: a ranked list of evidence, never a bare name.

use serde::{Deserialize, Serialize};

use crate::Micros;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OwnerKind {
    Person,
    Team,
    /// A CI or bot identity: may be evidence, is never the final owner.
    Bot,
}

/// Someone who can be told. `email` is where the ticket goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    pub id: String,
    pub name: String,
    pub email: String,
    pub kind: OwnerKind,
}

/// One reason to think that `owner` answers for the credential.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Owner id.
    pub owner: String,
    /// `lease`, `inventory`, `tag`, `creator`, `principal_creator`, `delegation`, `fallback`.
    pub source: String,
    /// A sentence that a person can check: what was seen, where.
    pub detail: String,
    /// The event that shows it, where there is one.
    pub event_id: Option<String>,
    pub observed_at: Option<Micros>,
    /// 0 to 1.
    pub confidence: f64,
}

/// The answer: whom the ticket goes to, and all the evidence behind it, best first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ownership {
    /// Never empty: the fallback owner stands in when nothing else is known. Two when contested.
    pub owners: Vec<Owner>,
    pub confidence: f64,
    pub contested: bool,
    /// No evidence but the fallback.
    pub orphan: bool,
    pub evidence: Vec<Evidence>,
}
