//! The shape of one inventory file, each id and reference with the line it stands on. Nothing is checked here.

use std::collections::BTreeMap;

use keytrail_model::{Micros, OwnerKind};
use serde::Deserialize;
use serde_saphyr::Spanned;

pub type Text = Spanned<String>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InventoryFile {
    pub fallback_owner: Option<Text>,
    pub owners: Vec<OwnerEntry>,
    pub agents: Vec<AgentEntry>,
    pub principals: Vec<PrincipalEntry>,
    pub credentials: Vec<CredentialEntry>,
    pub resources: Vec<ResourceEntry>,
    pub leases: Vec<LeaseEntry>,
    pub protected: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnerEntry {
    pub id: Text,
    pub name: Option<String>,
    pub email: Text,
    #[serde(default = "person")]
    pub kind: OwnerKind,
}

fn person() -> OwnerKind {
    OwnerKind::Person
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentEntry {
    pub id: Text,
    pub title: Option<String>,
    pub owner: Option<Text>,
    #[serde(default)]
    pub principals: Vec<String>,
    #[serde(default)]
    pub credentials: Vec<String>,
    #[serde(default)]
    pub user_agents: Vec<String>,
    #[serde(default)]
    pub tags: Vec<String>,
    #[serde(default)]
    pub tasks: Vec<TaskEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskEntry {
    pub id: Text,
    pub actions: Vec<String>,
    #[serde(default)]
    pub resources: Vec<String>,
    #[serde(default)]
    pub tools: Vec<String>,
    pub until: Option<Micros>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrincipalEntry {
    pub id: Text,
    pub owner: Option<Text>,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialEntry {
    pub id: Text,
    pub owner: Option<Text>,
    pub created: Option<Micros>,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourceEntry {
    pub id: String,
    pub tags: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseEntry {
    pub id: Text,
    pub credential: Option<String>,
    pub session: Option<String>,
    pub agent: Option<Text>,
    pub owner: Option<Text>,
    pub from: Micros,
    pub until: Micros,
}
