//! A credential as everything after detection knows it: its id and whose it is, never its value.

use serde::{Deserialize, Serialize};

use crate::Micros;

/// The one credential a finding is about, copied from the event. Empty strings never stand for unknown: `None` does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// `AKIA…`, a GCP key name, an Entra key id, a GitHub token id or hashed token …
    pub credential: Option<String>,
    /// `aws_access_key`, `aws_bedrock_api_key`, `gcp_service_account_key`, `azure_client_secret`, …
    pub kind: Option<String>,
    /// `static`, `derived_from_static`, `ephemeral`, `unknown`.
    pub lifetime: Option<String>,
    /// `exact`, `group`, `none`.
    pub quality: Option<String>,
    /// The credential that this one was minted from.
    pub parent: Option<String>,
    pub provider: Option<String>,
    /// AWS account, Azure tenant or subscription, GCP project, GitHub organisation.
    pub account: Option<String>,
    /// Stable id of the principal: ARN, object id, e-mail, login.
    pub actor: Option<String>,
    /// `user`, `root`, `role`, `service_principal`, `managed_identity`, `service_account`, `app`, `anonymous` …
    pub actor_kind: Option<String>,
    /// Short name as the provider's API wants it: user name, role name, service account e-mail, app display name.
    pub actor_name: Option<String>,
    /// Session id or session ARN, where the credential is a session's.
    pub session: Option<String>,
    /// The human that the caller acted for, where the record says.
    pub on_behalf_of: Option<String>,
    /// Inventory id of the agent that used it.
    pub agent: Option<String>,
    /// Resources of the example event, for actions that need one (a deploy key's repository).
    pub resources: Vec<String>,
    /// Time of the event, for actions that cut off what was issued before it.
    pub time: Micros,
}
