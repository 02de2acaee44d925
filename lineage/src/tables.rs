//! The reference tables that rules join, made of inventory and facts: each row with the time from which it is known.
//!
//! As many rows as credentials, principals and agents are declared or were seen issued or created, each anew when more
//! is known of it, and of uses as many as `Uses` keeps. Sorted, so that the same facts give the same rows.

use std::collections::{BTreeMap, BTreeSet};

use keytrail_model::Micros;
use keytrail_model::tables::{Cell, Row, SINCE, Table};

use crate::facts::{Facts, Issuance};
use crate::inventory::{Credential, Inventory};
use crate::owner::{Subject, ownership_known};

const BEGINNING: Micros = Micros(i64::MIN);
const END: Micros = Micros(i64::MAX);

/// Gets rows one by one.
type Take<'a> = &'a mut dyn FnMut(Row);

pub fn rows(inventory: &Inventory, facts: &Facts, table: &Table, take: Take<'_>) {
    match table.name {
        "credentials" => credentials(inventory, facts, table, take),
        "owners" => owners(inventory, facts, table, take),
        "edges" => edges(inventory, facts, table, take),
        _ => {}
    }
}

/// A row, written column by column.
struct Writing<'a> {
    table: &'a Table,
    row: Row,
}

impl<'a> Writing<'a> {
    fn new(table: &'a Table) -> Self {
        Self { table, row: vec![None; table.columns.len()] }
    }

    fn set(&mut self, column: &str, cell: Option<Cell>) {
        if let Some((place, cell)) = self.table.column(column).and_then(|(at, _)| self.row.get_mut(at)).zip(cell) {
            *place = Some(cell);
        }
    }

    fn text(&mut self, column: &str, text: Option<&str>) {
        self.set(column, text.map(|text| Cell::Text(text.into())));
    }

    fn time(&mut self, column: &str, time: Micros) {
        self.set(column, (time != BEGINNING).then_some(Cell::Time(time)));
    }
}

/// Something that became known of a credential.
enum Learnt<'a> {
    Declared(&'a Credential),
    Issued(&'a Issuance),
    Used(Micros),
}

fn credentials(inventory: &Inventory, facts: &Facts, table: &Table, take: Take<'_>) {
    let mut learnt: BTreeMap<&str, Vec<(Micros, Learnt<'_>)>> = BTreeMap::new();
    for (id, declared) in &inventory.credentials {
        learnt.entry(id).or_default().push((BEGINNING, Learnt::Declared(declared)));
    }
    for (id, issuance) in facts.issuances() {
        learnt.entry(id).or_default().push((issuance.at, Learnt::Issued(issuance)));
    }
    for (id, at) in facts.uses.credentials() {
        learnt.entry(id).or_default().push((at, Learnt::Used(at)));
    }
    for (id, mut learnt) in learnt {
        learnt.sort_by_key(|(at, _)| *at);
        let mut writing = Writing::new(table);
        writing.text("credential", Some(id));
        for (at, one) in &learnt {
            one.write(&mut writing);
            writing.time(SINCE, *at);
            take(writing.row.clone());
        }
    }
}

impl Learnt<'_> {
    /// Adds to what was known before.
    fn write(&self, writing: &mut Writing<'_>) {
        match self {
            Self::Declared(declared) => {
                writing.set("created", declared.created.map(Cell::Time));
                writing.text("owner", declared.owner.as_deref().or(declared.tags.get("owner").map(String::as_str)));
            }
            Self::Issued(issuance) => {
                writing.text("kind", issuance.kind.as_deref());
                writing.text("lifetime", issuance.lifetime.as_deref());
                writing.time("created", issuance.at);
                writing.text("created_by", issuance.actor.as_deref());
                writing.text("parent", issuance.parent.as_deref());
                writing.text("issued_for", issuance.issued_for.as_deref());
            }
            Self::Used(at) => writing.time("first_seen", *at),
        }
    }
}

fn owners(inventory: &Inventory, facts: &Facts, table: &Table, take: Take<'_>) {
    let mut owned = Owned { inventory, facts, table, take };
    for agent in inventory.agents.keys() {
        owned.subject(("agent", agent), &Subject { agent: Some(agent), ..Subject::default() });
    }
    let leased = inventory.leases.iter().filter_map(|lease| lease.credential.as_ref());
    let issued = facts.issuances().map(|(id, _)| id);
    let credentials: BTreeSet<&String> = inventory.credentials.keys().chain(leased).chain(issued).collect();
    for id in credentials {
        owned.subject(("credential", id), &Subject { credential: Some(id), ..Subject::default() });
    }
    let created = facts.creations().map(|(id, _)| id.as_str());
    let principals: BTreeSet<&str> = principals(inventory).map(|(id, _)| id).chain(created).collect();
    for id in principals {
        owned.subject(("principal", id), &Subject { actor: Some(id), ..Subject::default() });
    }
}

/// Principals that are declared one by one, with their owners.
fn principals(inventory: &Inventory) -> impl Iterator<Item = (&str, Option<&String>)> {
    let exact = inventory.principals.iter().filter(|principal| principal.id.is_exact());
    exact.map(|principal| (principal.id.as_str(), principal.owner.as_ref()))
}

struct Owned<'a> {
    inventory: &'a Inventory,
    facts: &'a Facts,
    table: &'a Table,
    take: Take<'a>,
}

impl Owned<'_> {
    /// Whose it is, and from when on, as far as anything but the fallback says.
    fn subject(&mut self, (kind, id): (&str, &str), subject: &Subject<'_>) {
        let mut before: Option<Row> = None;
        for at in self.moments(subject) {
            let then = Subject { time: at, ..*subject };
            let known = ownership_known(self.inventory, self.facts, &then, at);
            let Some(owner) = known.owners.first().filter(|_| !known.orphan) else { continue };
            let best = known.evidence.iter().find(|evidence| evidence.owner == owner.id);
            let mut writing = Writing::new(self.table);
            writing.text("subject_kind", Some(kind));
            writing.text("subject", Some(id));
            writing.text("owner", Some(&owner.id));
            writing.text("name", Some(&owner.name));
            writing.text("email", Some(&owner.email));
            writing.text("basis", best.map(|best| best.source.as_str()));
            writing.set("confidence", Some(Cell::Number(known.confidence)));
            if before.as_ref() != Some(&writing.row) {
                before = Some(writing.row.clone());
                writing.time(SINCE, at);
                (self.take)(writing.row);
            }
        }
    }

    /// When the answer may change.
    fn moments(&self, subject: &Subject<'_>) -> BTreeSet<Micros> {
        let mut moments = BTreeSet::from([BEGINNING]);
        let credential = subject.credential;
        let chain = credential.map(|credential| self.facts.chain(credential)).unwrap_or_default();
        let issued = chain.iter().filter_map(|id| self.facts.issuance(id));
        moments.extend(issued.clone().map(|issuance| issuance.at));
        let actors = issued.filter_map(|issuance| issuance.actor.as_deref()).chain(subject.actor);
        moments.extend(actors.filter_map(|actor| self.facts.creation(actor, None, None)).map(|made| made.at));
        let last = ownership_known(self.inventory, self.facts, &Subject { time: END, ..*subject }, END);
        moments.extend(last.evidence.iter().filter_map(|evidence| evidence.observed_at));
        let leases = self
            .inventory
            .leases
            .iter()
            .filter(|lease| credential.is_some() && lease.credential.as_deref() == credential);
        moments.extend(leases.map(|lease| lease.from));
        moments
    }
}

/// From kind and id, edge, to kind and id, basis, since.
type Edge<'a> = ((&'a str, &'a str), &'a str, (&'a str, &'a str), &'a str, Micros);

fn edges(inventory: &Inventory, facts: &Facts, table: &Table, take: Take<'_>) {
    let mut edges: BTreeSet<Edge<'_>> = BTreeSet::new();
    declared(inventory, &mut edges);
    observed(facts, &mut edges);
    let row = |(from, edge, to, basis, since): &Edge<'_>| {
        let mut writing = Writing::new(table);
        let cells = [from.0, from.1, *edge, to.0, to.1, *basis];
        for (column, text) in ["from_kind", "from_id", "edge", "to_kind", "to_id", "basis"].into_iter().zip(cells) {
            writing.text(column, Some(text));
        }
        writing.time(SINCE, *since);
        writing.row
    };
    edges.iter().map(row).for_each(take);
}

fn declared<'a>(inventory: &'a Inventory, edges: &mut BTreeSet<Edge<'a>>) {
    for agent in inventory.agents.values() {
        let me = ("agent", agent.id.as_str());
        let credentials = agent.credentials.iter().map(|id| ("credential", id.as_str()));
        let exact = agent.principals.iter().filter(|principal| principal.is_exact());
        let used = credentials.chain(exact.map(|principal| ("principal", principal.as_str())));
        edges.extend(used.map(|used| (me, "uses", used, "declared", BEGINNING)));
        edges.extend(agent.owner.iter().map(|owner| (("owner", owner.as_str()), "owns", me, "declared", BEGINNING)));
    }
    let credentials =
        inventory.credentials.values().filter_map(|one| Some((("credential", one.id.as_str()), one.owner.as_ref()?)));
    let principals = principals(inventory).filter_map(|(id, owner)| Some((("principal", id), owner?)));
    let owned = credentials.chain(principals);
    edges.extend(owned.map(|(what, owner)| (("owner", owner.as_str()), "owns", what, "declared", BEGINNING)));
    for lease in &inventory.leases {
        let Some(credential) = lease.credential.as_deref().map(|id| ("credential", id)) else { continue };
        let agent = lease.agent.as_deref().map(|id| (("agent", id), "uses"));
        let owner = lease.owner.as_deref().map(|id| (("owner", id), "owns"));
        let both = agent.into_iter().chain(owner);
        edges.extend(both.map(|(from, edge)| (from, edge, credential, "declared", lease.from)));
    }
}

fn observed<'a>(facts: &'a Facts, edges: &mut BTreeSet<Edge<'a>>) {
    for (id, issuance) in facts.issuances() {
        let parent = issuance.parent.as_deref().map(|parent| ("credential", parent));
        let makers = parent.into_iter().chain(issuance.actor.as_deref().map(|actor| ("principal", actor)));
        edges.extend(makers.map(|maker| (maker, "issued", ("credential", id.as_str()), "observed", issuance.at)));
    }
    for (id, creation) in facts.creations() {
        let maker = ("principal", creation.actor.as_str());
        edges.insert((maker, "created", ("principal", id), "observed", creation.at));
    }
    for (one, at) in facts.uses.users() {
        let (user, credential) = ((one.kind, one.id), ("credential", one.credential));
        edges.insert(match one.kind {
            "tool" => (credential, "called", user, "observed", at),
            _ => (user, "uses", credential, "observed", at),
        });
    }
}

#[cfg(test)]
mod tests;
