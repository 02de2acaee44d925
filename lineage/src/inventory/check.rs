//! Merging inventory files into one inventory, and everything that can be wrong with them: all of it is said at once.

use std::collections::BTreeMap;

use keytrail_model::{FileError, Micros, Owner, OwnerKind, did_you_mean, read_yaml};

use super::file::{
    AgentEntry, CredentialEntry, InventoryFile, LeaseEntry, OwnerEntry, PrincipalEntry, TaskEntry, Text,
};
use super::place::Place;
use super::{Agent, Credential, Inventory, Lease, Principal, Resource, Task};
use crate::arn;
use crate::glob::Glob;

/// Merges and checks. `stand_in` is the fallback owner where no file names one.
pub fn merge(files: &[(String, String)], stand_in: Option<Owner>) -> Result<Inventory, Vec<FileError>> {
    let mut merging = Merging::default();
    for (name, text) in files {
        match read(name, text) {
            Ok(file) => merging.take(name, file),
            Err(error) => {
                merging.errors.push(error);
                merging.unread = true;
            }
        }
    }
    merging.finish(stand_in)
}

fn read(name: &str, text: &str) -> Result<InventoryFile, FileError> {
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(InventoryFile::default());
    }
    read_yaml(name, text)
}

/// A reference to check once every file has been read: what, where, in which list.
struct Reference {
    kind: &'static str,
    id: String,
    place: Place,
}

#[derive(Default)]
struct Merging {
    errors: Vec<FileError>,
    /// A file could not be read, so that references into it would be called unknown.
    unread: bool,
    fallback: Option<(String, Place)>,
    /// First place of every (kind, id).
    places: BTreeMap<(&'static str, String), Place>,
    references: Vec<Reference>,
    owners: BTreeMap<String, Owner>,
    agents: BTreeMap<String, Agent>,
    principals: Vec<Principal>,
    credentials: BTreeMap<String, Credential>,
    resources: Vec<Resource>,
    leases: Vec<Lease>,
    protected: Vec<Glob>,
}

impl Merging {
    fn take(&mut self, name: &str, file: InventoryFile) {
        if let Some(fallback) = file.fallback_owner {
            self.take_fallback(name, &fallback);
        }
        file.owners.into_iter().for_each(|entry| self.take_owner(name, entry));
        file.agents.into_iter().for_each(|entry| self.take_agent(name, entry));
        file.principals.into_iter().for_each(|entry| self.take_principal(name, entry));
        file.credentials.into_iter().for_each(|entry| self.take_credential(name, entry));
        file.leases.into_iter().for_each(|entry| self.take_lease(name, entry));
        let resources = file.resources.into_iter();
        self.resources.extend(resources.map(|entry| Resource { id: Glob::new(&entry.id), tags: entry.tags }));
        self.protected.extend(globs(&file.protected));
    }

    fn wrong(&mut self, place: &Place, message: String) {
        self.errors.push(FileError::new(&place.file, Some(place.line), message));
    }

    /// Notes where an id is declared; false, with an error, when it was declared before.
    fn declare(&mut self, kind: &'static str, name: &str, id: &Text) -> bool {
        let place = place_of(name, id);
        let Some(first) = self.places.insert((kind, id.value.clone()), place.clone()) else { return true };
        self.places.insert((kind, id.value.clone()), first.clone());
        self.wrong(&place, format!("{kind} `{}` is named twice, first at {first}: keep one of the two", id.value));
        false
    }

    fn refer(&mut self, kind: &'static str, name: &str, id: Option<&Text>) -> Option<String> {
        let id = id?;
        self.references.push(Reference { kind, id: id.value.clone(), place: place_of(name, id) });
        Some(id.value.clone())
    }

    fn take_fallback(&mut self, name: &str, id: &Text) {
        let place = place_of(name, id);
        if let Some((before, first)) = &self.fallback {
            let message = format!("fallback_owner is given twice, first as `{before}` at {first}: keep one of the two");
            return self.wrong(&place, message);
        }
        self.refer("owner", name, Some(id));
        self.fallback = Some((id.value.clone(), place));
    }

    fn take_owner(&mut self, name: &str, entry: OwnerEntry) {
        let OwnerEntry { id, name: full_name, email, kind } = entry;
        if arn::mail_domain(&email.value).is_none() {
            let message = format!("`{}` is no e-mail address a person reads: tickets go there", email.value);
            self.wrong(&place_of(name, &email), message);
        }
        if self.declare("owner", name, &id) {
            let full_name = full_name.unwrap_or_else(|| id.value.clone());
            let owner = Owner { id: id.value.clone(), name: full_name, email: email.value, kind };
            self.owners.insert(id.value, owner);
        }
    }

    fn take_agent(&mut self, name: &str, entry: AgentEntry) {
        let owner = self.refer("owner", name, entry.owner.as_ref());
        if entry.principals.is_empty() && entry.credentials.is_empty() && entry.user_agents.is_empty() {
            let message = format!(
                "agent `{}` can never be recognised: give it principals, credentials or user_agents",
                entry.id.value
            );
            self.wrong(&place_of(name, &entry.id), message);
        }
        let tasks = self.take_tasks(name, &entry.id.value, entry.tasks);
        if self.declare("agent", name, &entry.id) {
            let agent = Agent {
                title: entry.title.unwrap_or_else(|| entry.id.value.clone()),
                id: entry.id.value.clone(),
                owner,
                principals: globs(&entry.principals),
                credentials: entry.credentials,
                user_agents: globs(&entry.user_agents),
                tags: entry.tags,
                tasks,
            };
            self.agents.insert(entry.id.value, agent);
        }
    }

    fn take_tasks(&mut self, name: &str, agent: &str, entries: Vec<TaskEntry>) -> Vec<Task> {
        let mut tasks: Vec<Task> = Vec::with_capacity(entries.len());
        for entry in entries {
            let place = place_of(name, &entry.id);
            if tasks.iter().any(|task| task.id == entry.id.value) {
                self.wrong(&place, format!("agent `{agent}` has two tasks `{}`: keep one of the two", entry.id.value));
            }
            if entry.actions.is_empty() {
                let message = format!("task `{}` allows no action: list its actions, or `\"*\"`", entry.id.value);
                self.wrong(&place, message);
            }
            tasks.push(task_of(entry));
        }
        tasks
    }

    fn take_principal(&mut self, name: &str, entry: PrincipalEntry) {
        let owner = self.refer("owner", name, entry.owner.as_ref());
        if self.declare("principal", name, &entry.id) {
            self.principals.push(Principal { id: Glob::new(&entry.id.value), owner, tags: entry.tags });
        }
    }

    fn take_credential(&mut self, name: &str, entry: CredentialEntry) {
        let owner = self.refer("owner", name, entry.owner.as_ref());
        if self.declare("credential", name, &entry.id) {
            let id = entry.id.value;
            let credential = Credential { id: id.clone(), owner, created: entry.created, tags: entry.tags };
            self.credentials.insert(id, credential);
        }
    }

    fn take_lease(&mut self, name: &str, entry: LeaseEntry) {
        let owner = self.refer("owner", name, entry.owner.as_ref());
        let agent = self.refer("agent", name, entry.agent.as_ref());
        let (id, place) = (entry.id.value.clone(), place_of(name, &entry.id));
        if entry.until < entry.from {
            let (from, until) = (entry.from, entry.until);
            self.wrong(
                &place,
                format!("lease `{id}` ends at {until}, before it begins at {from}: swap from and until"),
            );
        }
        if entry.credential.is_none() && entry.session.is_none() {
            self.wrong(&place, format!("lease `{id}` names neither a credential nor a session: give it one"));
        }
        if self.declare("lease", name, &entry.id) {
            let LeaseEntry { credential, session, from, until, .. } = entry;
            self.leases.push(Lease { id, credential, session, agent, owner, from, until });
        }
    }

    fn finish(mut self, stand_in: Option<Owner>) -> Result<Inventory, Vec<FileError>> {
        let fallback = self.find_fallback(stand_in);
        if !self.unread {
            self.check_references();
        }
        let errors = std::mem::take(&mut self.errors);
        match fallback {
            Some(fallback) if errors.is_empty() => Ok(self.into_inventory(fallback)),
            _ => Err(sorted(errors)),
        }
    }

    fn find_fallback(&mut self, stand_in: Option<Owner>) -> Option<Owner> {
        let Some((id, place)) = self.fallback.clone() else {
            if stand_in.is_none() && !self.unread {
                let message = "findings without evidence need someone to go to: add fallback_owner: <owner id>";
                let file = "inventory".to_owned();
                self.errors.push(FileError { file, line: None, message: message.to_owned() });
            }
            return stand_in;
        };
        let owner = self.owners.get(&id).cloned()?;
        if owner.kind == OwnerKind::Bot {
            self.wrong(
                &place,
                format!("fallback_owner `{id}` is a bot, and nobody reads its mail: name a person or team"),
            );
        }
        Some(owner)
    }

    fn check_references(&mut self) {
        for Reference { kind, id, place } in std::mem::take(&mut self.references) {
            let known = || self.places.keys().filter(|(of, _)| *of == kind).map(|(_, known)| known.as_str());
            if known().any(|known| known == id) {
                continue;
            }
            let message = match did_you_mean(&id, known()) {
                near if near.is_empty() => format!("unknown {kind} `{id}`: add it under `{kind}s`"),
                near => format!("unknown {kind} `{id}`{near}"),
            };
            self.wrong(&place, message);
        }
    }

    fn into_inventory(self, fallback: Owner) -> Inventory {
        let boundaries = boundaries(&self.leases, &self.agents);
        Inventory {
            owners: self.owners,
            fallback,
            agents: self.agents,
            principals: self.principals,
            credentials: self.credentials,
            resources: self.resources,
            leases: self.leases,
            protected: self.protected,
            boundaries,
        }
    }
}

fn place_of(name: &str, text: &Text) -> Place {
    Place { file: name.to_owned(), line: text.referenced.line() }
}

fn globs(texts: &[String]) -> Vec<Glob> {
    texts.iter().map(|text| Glob::new(text)).collect()
}

fn task_of(entry: TaskEntry) -> Task {
    Task {
        id: entry.id.value,
        actions: globs(&entry.actions),
        resources: globs(&entry.resources),
        tools: globs(&entry.tools),
        until: entry.until,
    }
}

/// `until` still belongs to a lease or task, so the change comes one microsecond after it.
fn boundaries(leases: &[Lease], agents: &BTreeMap<String, Agent>) -> Vec<Micros> {
    let after = |until: Micros| Micros(until.0.saturating_add(1));
    let tasks = agents.values().flat_map(|agent| &agent.tasks).filter_map(|task| task.until.map(after));
    let mut all: Vec<_> = leases.iter().flat_map(|lease| [lease.from, after(lease.until)]).chain(tasks).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn sorted(mut errors: Vec<FileError>) -> Vec<FileError> {
    errors.sort_by(|a, b| (&a.file, a.line, &a.message).cmp(&(&b.file, b.line, &b.message)));
    errors
}

#[cfg(test)]
mod tests;
