//! The reference tables that rules join, made of inventory and facts: each row with the time from which it is known.
//!
//! As many rows as credentials, principals and agents are declared or were seen issued or created, each anew when more
//! is known of it, and of uses as many as `Uses` keeps. Sorted, so that the same facts give the same rows.

use std::collections::{BTreeMap, BTreeSet};

use keytrail_model::Micros;
use keytrail_model::tables::{Asked, Cell, Row, SINCE, Table};

use crate::facts::{Facts, Issuance};
use crate::inventory::{Credential, Inventory};
use crate::owner::{Subject, ownership_known};

const BEGINNING: Micros = Micros(i64::MIN);
const END: Micros = Micros(i64::MAX);

/// Gets rows one by one.
type Take<'a> = &'a mut dyn FnMut(Row);

/// What the rows are made of, and which of them are asked for.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    pub inventory: &'a Inventory,
    pub facts: &'a Facts,
    pub asked: &'a Asked,
}

pub fn rows(known: Known<'_>, table: &Table, take: Take<'_>) {
    match table.name {
        "credentials" => known.credentials(table, take),
        "owners" => Owned { known, table, take }.all(),
        "edges" => known.edges(table, take),
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

impl<'a> Known<'a> {
    fn credentials(self, table: &Table, take: Take<'_>) {
        let declared = self.declared_credentials().map(|(id, declared)| (id, (BEGINNING, Learnt::Declared(declared))));
        let issued = self.issuances().map(|(id, issuance)| (id, (issuance.at, Learnt::Issued(issuance))));
        let used = self.facts.uses.credentials(self.asked).into_iter().map(|(id, at)| (id, (at, Learnt::Used(at))));
        let mut learnt: BTreeMap<&str, Vec<(Micros, Learnt<'_>)>> = BTreeMap::new();
        for (id, one) in declared.chain(issued).chain(used) {
            learnt.entry(id).or_default().push(one);
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

    fn declared_credentials(self) -> impl Iterator<Item = (&'a str, &'a Credential)> {
        let declared = self.inventory.credentials.iter().map(|(id, declared)| (id.as_str(), declared));
        declared.filter(move |(id, _)| self.asked.wants("credential", id))
    }

    /// Found one by one where some are asked for: there may be very many.
    fn issuances(self) -> Box<dyn Iterator<Item = (&'a str, &'a Issuance)> + 'a> {
        match self.asked.of("credential") {
            None => Box::new(self.facts.issuances().map(|(id, issuance)| (id.as_str(), issuance))),
            Some(ids) => Box::new(ids.into_iter().filter_map(move |id| Some((id, self.facts.issuance(id)?)))),
        }
    }

    /// Principals that are declared one by one, with their owners.
    fn principals(self) -> impl Iterator<Item = (&'a str, Option<&'a String>)> {
        let exact = self.inventory.principals.iter().filter(|principal| principal.id.is_exact());
        exact.map(|principal| (principal.id.as_str(), principal.owner.as_ref()))
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

struct Owned<'a> {
    known: Known<'a>,
    table: &'a Table,
    take: Take<'a>,
}

impl Owned<'_> {
    fn all(&mut self) {
        let known = self.known;
        for agent in known.inventory.agents.keys().filter(|agent| known.asked.wants("agent", agent)) {
            self.subject(("agent", agent), &Subject { agent: Some(agent), ..Subject::default() });
        }
        let leased = known.inventory.leases.iter().filter_map(|lease| lease.credential.as_deref());
        let leased = leased.filter(|id| known.asked.wants("credential", id));
        let declared = known.declared_credentials().map(|(id, _)| id);
        let credentials: BTreeSet<&str> = declared.chain(leased).chain(known.issuances().map(|(id, _)| id)).collect();
        for id in credentials {
            self.subject(("credential", id), &Subject { credential: Some(id), ..Subject::default() });
        }
        let created = known.facts.creations().map(|(id, _)| id.as_str());
        let principals = known.principals().map(|(id, _)| id).chain(created);
        for id in principals.filter(|id| known.asked.wants("principal", id)).collect::<BTreeSet<&str>>() {
            self.subject(("principal", id), &Subject { actor: Some(id), ..Subject::default() });
        }
    }

    /// Whose it is, and from when on, as far as anything but the fallback says.
    fn subject(&mut self, (kind, id): (&str, &str), subject: &Subject<'_>) {
        let mut before: Option<Row> = None;
        for at in self.moments(subject) {
            let then = Subject { time: at, ..*subject };
            let known = ownership_known(self.known.inventory, self.known.facts, &then, at);
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
        let chain = credential.map(|credential| self.known.facts.chain(credential)).unwrap_or_default();
        let issued = chain.iter().filter_map(|id| self.known.facts.issuance(id));
        moments.extend(issued.clone().map(|issuance| issuance.at));
        let actors = issued.filter_map(|issuance| issuance.actor.as_deref()).chain(subject.actor);
        moments.extend(actors.filter_map(|actor| self.known.facts.creation(actor, None, None)).map(|made| made.at));
        let last = ownership_known(self.known.inventory, self.known.facts, &Subject { time: END, ..*subject }, END);
        moments.extend(last.evidence.iter().filter_map(|evidence| evidence.observed_at));
        let leases = self
            .known
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

/// The edges from or to something that is asked for.
struct Edges<'a> {
    asked: &'a Asked,
    all: BTreeSet<Edge<'a>>,
}

impl<'a> Edges<'a> {
    fn extend(&mut self, edges: impl IntoIterator<Item = Edge<'a>>) {
        let wanted = |(from, _, to, ..): &Edge<'a>| [from, to].iter().any(|(kind, id)| self.asked.wants(kind, id));
        self.all.extend(edges.into_iter().filter(wanted));
    }
}

impl<'a> Known<'a> {
    fn edges(self, table: &Table, take: Take<'_>) {
        if *self.asked == Asked::nothing() {
            return;
        }
        let mut edges = Edges { asked: self.asked, all: BTreeSet::new() };
        self.declared(&mut edges);
        self.observed(&mut edges);
        let row = |(from, edge, to, basis, since): &Edge<'_>| {
            let mut writing = Writing::new(table);
            let cells = [from.0, from.1, *edge, to.0, to.1, *basis];
            for (column, text) in ["from_kind", "from_id", "edge", "to_kind", "to_id", "basis"].into_iter().zip(cells) {
                writing.text(column, Some(text));
            }
            writing.time(SINCE, *since);
            writing.row
        };
        edges.all.iter().map(row).for_each(take);
    }

    fn declared(self, edges: &mut Edges<'a>) {
        for agent in self.inventory.agents.values() {
            let me = ("agent", agent.id.as_str());
            let credentials = agent.credentials.iter().map(|id| ("credential", id.as_str()));
            let exact = agent.principals.iter().filter(|principal| principal.is_exact());
            let used = credentials.chain(exact.map(|principal| ("principal", principal.as_str())));
            edges.extend(used.map(|used| (me, "uses", used, "declared", BEGINNING)));
            edges
                .extend(agent.owner.iter().map(|owner| (("owner", owner.as_str()), "owns", me, "declared", BEGINNING)));
        }
        let credentials = self
            .inventory
            .credentials
            .values()
            .filter_map(|one| Some((("credential", one.id.as_str()), one.owner.as_ref()?)));
        let principals = self.principals().filter_map(|(id, owner)| Some((("principal", id), owner?)));
        let owned = credentials.chain(principals);
        edges.extend(owned.map(|(what, owner)| (("owner", owner.as_str()), "owns", what, "declared", BEGINNING)));
        for lease in &self.inventory.leases {
            let Some(credential) = lease.credential.as_deref().map(|id| ("credential", id)) else { continue };
            let agent = lease.agent.as_deref().map(|id| (("agent", id), "uses"));
            let owner = lease.owner.as_deref().map(|id| (("owner", id), "owns"));
            let both = agent.into_iter().chain(owner);
            edges.extend(both.map(|(from, edge)| (from, edge, credential, "declared", lease.from)));
        }
    }

    fn observed(self, edges: &mut Edges<'a>) {
        // There may be very many, and agents issue nothing.
        let issued = ["credential", "principal"].iter().any(|kind| self.asked.wants_any(kind));
        for (id, issuance) in self.facts.issuances().filter(|_| issued) {
            let parent = issuance.parent.as_deref().map(|parent| ("credential", parent));
            let makers = parent.into_iter().chain(issuance.actor.as_deref().map(|actor| ("principal", actor)));
            edges.extend(makers.map(|maker| (maker, "issued", ("credential", id.as_str()), "observed", issuance.at)));
        }
        for (id, creation) in self.facts.creations() {
            let maker = ("principal", creation.actor.as_str());
            edges.extend([(maker, "created", ("principal", id.as_str()), "observed", creation.at)]);
        }
        for (one, at) in self.facts.uses.users(self.asked) {
            let (user, credential) = ((one.kind, one.id), ("credential", one.credential));
            edges.extend([match one.kind {
                "tool" => (credential, "called", user, "observed", at),
                _ => (user, "uses", credential, "observed", at),
            }]);
        }
    }
}

#[cfg(test)]
mod tests;
