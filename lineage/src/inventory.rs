//! What people declare: owners, agents and their tasks, principals, credentials, resource tags, leases.
//!
//! The files are read in `inventory/file.rs` and checked in `inventory/check.rs`; this is what the rest asks.

mod check;
mod file;
mod place;

use std::collections::BTreeMap;

use keytrail_model::{FileError, Micros, Owner};

use crate::arn;
use crate::glob::{self, Glob};

/// An AI agent or another autonomous workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Agent {
    pub id: String,
    pub title: String,
    /// Owner id.
    pub owner: Option<String>,
    /// Globs over the event's `actor`.
    pub principals: Vec<Glob>,
    /// Exact credential ids.
    pub credentials: Vec<String>,
    /// Globs over `user_agent`; where principals or credentials are given too, both must match.
    pub user_agents: Vec<Glob>,
    /// Agent groups for guardrails: `ai` …
    pub tags: Vec<String>,
    /// Empty: nothing is declared, so nothing is out of scope.
    pub tasks: Vec<Task>,
}

/// What an agent is declared to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    pub id: String,
    pub actions: Vec<Glob>,
    /// Empty: any resource.
    pub resources: Vec<Glob>,
    /// Empty: any tool or none.
    pub tools: Vec<Glob>,
    pub until: Option<Micros>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Principal {
    pub id: Glob,
    pub owner: Option<String>,
    pub tags: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Credential {
    pub id: String,
    pub owner: Option<String>,
    pub created: Option<Micros>,
    pub tags: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    pub id: Glob,
    pub tags: Vec<String>,
}

/// A credential or session that was given out for a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Lease {
    pub id: String,
    pub credential: Option<String>,
    pub session: Option<String>,
    pub agent: Option<String>,
    pub owner: Option<String>,
    pub from: Micros,
    pub until: Micros,
}

/// All inventory files, merged and checked: every reference in it holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Inventory {
    pub(crate) owners: BTreeMap<String, Owner>,
    pub(crate) fallback: Owner,
    pub(crate) agents: BTreeMap<String, Agent>,
    pub(crate) principals: Vec<Principal>,
    pub(crate) credentials: BTreeMap<String, Credential>,
    pub(crate) resources: Vec<Resource>,
    pub(crate) leases: Vec<Lease>,
    pub(crate) protected: Vec<Glob>,
    /// Instants at which a lease or a task begins or ends, sorted; between two of them declared answers do not change.
    pub(crate) boundaries: Vec<Micros>,
}

impl Inventory {
    /// Reads and merges inventory files, given as (file name, text).
    ///
    /// # Errors
    /// Everything that is wrong with them, in file and line order.
    pub fn load(files: &[(String, String)]) -> Result<Self, Vec<FileError>> {
        check::merge(files, None)
    }

    /// As `load`, but `fallback` stands in where no file names one: for inventories written inside a rule's test.
    ///
    /// # Errors
    /// As `load`.
    pub fn load_fragment(files: &[(String, String)], fallback: Owner) -> Result<Self, Vec<FileError>> {
        check::merge(files, Some(fallback))
    }

    #[must_use]
    pub fn fallback(&self) -> &Owner {
        &self.fallback
    }

    #[must_use]
    pub fn owner(&self, id: &str) -> Option<&Owner> {
        self.owners.get(id)
    }

    pub fn owners(&self) -> impl Iterator<Item = &Owner> {
        self.owners.values()
    }

    #[must_use]
    pub fn agent(&self, id: &str) -> Option<&Agent> {
        self.agents.get(id)
    }

    pub fn agents(&self) -> impl Iterator<Item = &Agent> {
        self.agents.values()
    }

    #[must_use]
    pub fn credential(&self, id: &str) -> Option<&Credential> {
        self.credentials.get(id)
    }

    /// The principal entries that cover an actor, exact ids before globs. A session is covered by its role's entry.
    #[must_use]
    pub fn principals_of(&self, actor: &str) -> Vec<&Principal> {
        let role = arn::role_of(actor);
        let covers = |id: &Glob| id.matches(actor) || role.as_deref().is_some_and(|role| id.matches(role));
        let mut found: Vec<_> = self.principals.iter().filter(|principal| covers(&principal.id)).collect();
        found.sort_by_key(|principal| (!principal.id.is_exact(), principal.id.as_str()));
        found
    }

    /// Tags of a resource, sorted.
    #[must_use]
    pub fn tags_of(&self, resource: &str) -> Vec<String> {
        let covering = self.resources.iter().filter(|entry| entry.id.matches(resource));
        let mut tags: Vec<String> = covering.flat_map(|entry| entry.tags.iter().cloned()).collect();
        tags.sort_unstable();
        tags.dedup();
        tags
    }

    /// Whether an actor or credential is never to be contained.
    #[must_use]
    pub fn is_protected(&self, id: &str) -> bool {
        glob::any(&self.protected, id)
    }

    /// The globs of what is never contained, as written.
    pub fn protected(&self) -> impl Iterator<Item = &str> {
        self.protected.iter().map(Glob::as_str)
    }

    /// Number of boundaries that have passed: two instants of one period get the same declared answers.
    pub(crate) fn period(&self, time: Micros) -> usize {
        self.boundaries.partition_point(|boundary| *boundary <= time)
    }
}
