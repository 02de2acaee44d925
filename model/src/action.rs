//! What would be done about a finding: exact provider calls, how to undo them, and what they do not reach.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How far a playbook may go. `Shadow` plans and journals, and does nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    #[default]
    Shadow,
    Approve,
    Enforce,
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Shadow => "shadow",
            Self::Approve => "approve",
            Self::Enforce => "enforce",
        })
    }
}

/// One provider call, complete enough to be sent or to be typed by hand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// `aws.iam`, `gcp.iam`, `azure.graph`, `github.rest`.
    pub service: String,
    /// Operation as the provider's published model names it: `UpdateAccessKey`, `iam.projects.serviceAccounts.keys.disable`.
    pub operation: String,
    /// HTTP method and path with every id filled in, for REST providers; `None` for AWS query APIs.
    pub http: Option<String>,
    /// Parameters or JSON body, named as the provider names them.
    pub parameters: Map<String, Value>,
    /// The permission that the caller needs for it.
    pub permission: String,
}

/// Whether and how an action can be taken back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Undo {
    /// The calls that restore the former state.
    Calls(Vec<Call>),
    /// Cannot be undone; says what the owner does instead.
    Irreversible(String),
}

/// The plan for one finding by one remediator. Planned in every mode; carried out only outside `shadow`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// `stable_id("act", [finding, remediator])`.
    pub id: String,
    pub finding: String,
    pub playbook: String,
    /// `aws.disable_access_key` …
    pub remediator: String,
    pub mode: Mode,
    /// The one credential, principal or session that it acts on.
    pub target: String,
    /// One sentence for people: "set access key AKIA… of user ci-deploy to Inactive".
    pub summary: String,
    pub calls: Vec<Call>,
    pub undo: Undo,
    /// What stays alive after it: "sessions already issued from the key live until …".
    pub limits: Vec<String>,
    /// Set when the guard or the remediator refused to plan it: nothing will be called.
    pub refused: Option<Refusal>,
}

/// Why nothing will be called. Refusals are journalled and visible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// `not_exact`, `protected`, `no_remediator`, `missing_field`, `unsupported_principal`, `needs_look_up`.
    pub code: String,
    pub reason: String,
}
