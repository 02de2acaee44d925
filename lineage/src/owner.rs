//! Who answers for a credential: every piece of evidence, ranked, and the owners that follow from it.
//!
//! A bot is never the answer, and an address is written to only if the inventory knows it or its domain.

use keytrail_model::{Evidence, Micros, Owner, OwnerKind, Ownership, Target};

use crate::arn;
use crate::facts::{Creation, Facts};
use crate::inventory::Inventory;

// Ranks as in the reference on owner attribution; the figures are a proposal and order the evidence, no more.
const LEASE: f64 = 0.97;
const DELEGATION: f64 = 0.95;
const CREDENTIAL: f64 = 0.9;
const TAG: f64 = 0.85;
const PRINCIPAL: f64 = 0.8;
const AGENT: f64 = 0.75;
const CREATOR: f64 = 0.7;
const PRINCIPAL_CREATOR: f64 = 0.55;
/// What each step away from the credential or principal itself costs.
const STEP: f64 = 0.05;
/// Two sources this near to each other are of similar rank.
const SIMILAR: f64 = 0.1;

/// Whose owner is asked for, as far as the event says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subject<'a> {
    pub credential: Option<&'a str>,
    pub session: Option<&'a str>,
    pub actor: Option<&'a str>,
    pub actor_name: Option<&'a str>,
    pub account: Option<&'a str>,
    /// Inventory id of the agent.
    pub agent: Option<&'a str>,
    pub on_behalf_of: Option<&'a str>,
    pub time: Micros,
}

impl<'a> From<&'a Target> for Subject<'a> {
    fn from(target: &'a Target) -> Self {
        Self {
            credential: target.credential.as_deref(),
            session: target.session.as_deref(),
            actor: target.actor.as_deref(),
            actor_name: target.actor_name.as_deref(),
            account: target.account.as_deref(),
            agent: target.agent.as_deref(),
            on_behalf_of: target.on_behalf_of.as_deref(),
            time: target.time,
        }
    }
}

/// The owners of a subject, with all the evidence behind them, best first.
pub fn ownership(inventory: &Inventory, facts: &Facts, subject: &Subject<'_>) -> Ownership {
    ownership_known(inventory, facts, subject, Micros(i64::MAX))
}

/// The same by what the logs showed up to a time. What is declared has always been known.
pub fn ownership_known(inventory: &Inventory, facts: &Facts, subject: &Subject<'_>, known: Micros) -> Ownership {
    let mut asking = Asking { inventory, facts, known, found: Vec::new() };
    asking.lease(subject);
    asking.delegation(subject);
    asking.declared_credential(subject);
    asking.declared_principal(subject);
    asking.agent(subject);
    asking.creators(subject);
    asking.answer()
}

impl Inventory {
    /// The owner that a name, address or principal id stands for, if it stands for one that can be told.
    #[must_use]
    pub fn resolve(&self, name: &str) -> Option<Owner> {
        self.person(name).or_else(|| self.owner_of_principal(name)).or_else(|| {
            let person = arn::identity_center_user(name).or_else(|| arn::name_of(name))?;
            self.person(person)
        })
    }

    /// By owner id or address. An address that no entry has is taken only in a domain that some owner's address is in:
    /// a caller who chooses his own name must not choose where the ticket goes.
    fn person(&self, name: &str) -> Option<Owner> {
        let known = self.owners.get(name);
        let known = known.or_else(|| self.owners.values().find(|owner| owner.email.eq_ignore_ascii_case(name)));
        if let Some(known) = known {
            return Some(known.clone());
        }
        let domain = arn::mail_domain(name)?;
        let ours = |owner: &Owner| arn::mail_domain(&owner.email).is_some_and(|own| own.eq_ignore_ascii_case(domain));
        let mail = name.to_lowercase();
        let owner = || Owner { id: mail.clone(), name: mail.clone(), email: mail.clone(), kind: OwnerKind::Person };
        self.owners.values().any(ours).then(owner)
    }

    fn owner_of_principal(&self, actor: &str) -> Option<Owner> {
        let entries = self.principals_of(actor);
        let declared = entries.iter().find_map(|entry| entry.owner.as_deref());
        let tagged = || entries.iter().find_map(|entry| entry.tags.get("owner").map(String::as_str));
        let of_agent = || self.agents.values().find(|agent| agent.is_principal(actor))?.owner.as_deref();
        self.person(declared.or_else(tagged).or_else(of_agent)?)
    }
}

struct Found {
    evidence: Evidence,
    /// Whom the name stands for; `None` when it cannot be told.
    owner: Option<Owner>,
}

struct Asking<'a> {
    inventory: &'a Inventory,
    facts: &'a Facts,
    /// What the logs showed later is left out.
    known: Micros,
    found: Vec<Found>,
}

impl Asking<'_> {
    fn note(&mut self, source: &str, name: &str, confidence: f64, detail: String) {
        let owner = self.inventory.resolve(name);
        let id = owner.as_ref().map_or(name, |owner| &owner.id).to_owned();
        let confidence = (confidence.max(0.0) * 100.0).round() / 100.0;
        if self.found.iter().any(|known| known.evidence.source == source && known.evidence.owner == id) {
            return;
        }
        let evidence =
            Evidence { owner: id, source: source.to_owned(), detail, event_id: None, observed_at: None, confidence };
        self.found.push(Found { evidence, owner });
    }

    /// Adds the event that shows the piece of evidence noted last.
    fn note_seen(&mut self, (source, name): (&str, &str), confidence: f64, detail: String, seen: (&str, Micros)) {
        let before = self.found.len();
        self.note(source, name, confidence, detail);
        if let Some(added) = self.found.get_mut(before) {
            added.evidence.event_id = Some(seen.0.to_owned());
            added.evidence.observed_at = Some(seen.1);
        }
    }

    fn lease(&mut self, subject: &Subject<'_>) {
        let Some((lease, _)) = self.inventory.lease_of(subject.credential, subject.session, subject.time) else {
            return;
        };
        let of_agent = || self.inventory.agent(lease.agent.as_deref()?)?.owner.as_deref();
        let Some(owner) = lease.owner.as_deref().or_else(of_agent) else { return };
        self.note("lease", owner, LEASE, format!("lease `{}` was given to `{owner}`", lease.id));
    }

    fn delegation(&mut self, subject: &Subject<'_>) {
        if let Some(human) = subject.on_behalf_of {
            self.note("delegation", human, DELEGATION, format!("the event says that it acts for `{human}`"));
        }
    }

    fn declared_credential(&mut self, subject: &Subject<'_>) {
        let Some(credential) = subject.credential else { return };
        for (steps, id) in self.facts.chain_known(credential, self.known).into_iter().enumerate() {
            let Some(entry) = self.inventory.credential(id) else { continue };
            let away = STEP * steps as f64;
            let what = if steps == 0 {
                format!("credential `{id}`")
            } else {
                format!("credential `{id}`, from which it was issued")
            };
            if let Some(owner) = &entry.owner {
                self.note(
                    "inventory",
                    owner,
                    CREDENTIAL - away,
                    format!("the inventory names `{owner}` as owner of {what}"),
                );
            }
            if let Some(owner) = entry.tags.get("owner") {
                self.note("tag", owner, TAG - away, format!("tag owner=`{owner}` stands on {what}"));
            }
        }
    }

    fn declared_principal(&mut self, subject: &Subject<'_>) {
        let Some(actor) = subject.actor else { return };
        let inventory = self.inventory;
        let entries = inventory.principals_of(actor);
        if let Some(owner) = entries.iter().find_map(|entry| entry.tags.get("owner")) {
            self.note("tag", owner, TAG, format!("tag owner=`{owner}` stands on principal `{actor}`"));
        }
        if let Some(owner) = entries.iter().find_map(|entry| entry.owner.as_ref()) {
            self.note(
                "inventory",
                owner,
                PRINCIPAL,
                format!("the inventory names `{owner}` as owner of principal `{actor}`"),
            );
        }
        let is_person =
            inventory.person(arn::identity_center_user(actor).or_else(|| arn::name_of(actor)).unwrap_or(actor));
        if let Some(person) = is_person {
            self.note("principal", &person.id, PRINCIPAL, format!("principal `{actor}` is `{}`", person.id));
        }
    }

    fn agent(&mut self, subject: &Subject<'_>) {
        let agent = subject.agent.and_then(|id| self.inventory.agent(id));
        let Some((agent, owner)) = agent.and_then(|agent| Some((agent, agent.owner.as_deref()?))) else { return };
        self.note("inventory", owner, AGENT, format!("the inventory names `{owner}` as owner of agent `{}`", agent.id));
    }

    fn creators(&mut self, subject: &Subject<'_>) {
        let facts = self.facts;
        let known = self.known;
        let chain = subject.credential.map(|credential| facts.chain_known(credential, known)).unwrap_or_default();
        for (steps, id) in chain.into_iter().enumerate() {
            let issuance = facts.issuance(id).filter(|issuance| issuance.at <= known);
            let Some((issuance, actor)) = issuance.and_then(|made| Some((made, made.actor.as_deref()?))) else {
                continue;
            };
            let detail = format!("`{actor}` made credential `{id}` ({})", issuance.action);
            let confidence = CREATOR - STEP * steps as f64;
            self.note_seen(("creator", actor), confidence, detail, (&issuance.event_id, issuance.at));
            if !self.can_be_told(actor) {
                self.creator_of_principal(actor, subject.account, None, 1);
            }
        }
        if let Some(actor) = subject.actor {
            self.creator_of_principal(actor, subject.account, subject.actor_name, 0);
        }
    }

    /// A creator is often a CI role: its own creator is asked for once, and then no further.
    fn creator_of_principal(&mut self, actor: &str, account: Option<&str>, name: Option<&str>, step: u8) {
        let creation = self.facts.creation(actor, account, name).filter(|creation| creation.at <= self.known);
        let Some(Creation { at, event_id, action, actor: creator }) = creation else { return };
        let detail = format!("`{creator}` made principal `{actor}` ({action})");
        let confidence = PRINCIPAL_CREATOR - STEP * f64::from(step);
        self.note_seen(("principal_creator", creator), confidence, detail, (event_id, *at));
        if step == 0 && !self.can_be_told(creator) {
            self.creator_of_principal(creator, account, None, 1);
        }
    }

    fn can_be_told(&self, name: &str) -> bool {
        self.inventory.resolve(name).is_some_and(|owner| owner.kind != OwnerKind::Bot)
    }

    fn answer(mut self) -> Ownership {
        self.found.sort_by(|a, b| {
            let (a, b) = (&a.evidence, &b.evidence);
            b.confidence.total_cmp(&a.confidence).then_with(|| (&a.source, &a.owner).cmp(&(&b.source, &b.owner)))
        });
        let tellable = |found: &&Found| found.owner.as_ref().is_some_and(|owner| owner.kind != OwnerKind::Bot);
        let best: Vec<&Found> = self.found.iter().filter(tellable).take(2).collect();
        let mut owners: Vec<Owner> = best.first().and_then(|found| found.owner.clone()).into_iter().collect();
        let confidence = best.first().map_or(0.0, |found| found.evidence.confidence);
        if let Some(rival) = rival(&best) {
            owners.push(rival);
        }
        let orphan = owners.is_empty();
        let mut evidence: Vec<Evidence> = self.found.into_iter().map(|found| found.evidence).collect();
        if orphan {
            owners.push(self.inventory.fallback.clone());
            evidence.push(fallback_evidence(&self.inventory.fallback, evidence.is_empty()));
        }
        Ownership { contested: owners.len() > 1, owners, confidence, orphan, evidence }
    }
}

/// The owner that the second best source names, where it is of similar rank and names another one.
fn rival(best: &[&Found]) -> Option<Owner> {
    let [first, second] = best else { return None };
    let similar = first.evidence.confidence - second.evidence.confidence <= SIMILAR + f64::EPSILON;
    (similar && first.evidence.owner != second.evidence.owner).then(|| second.owner.clone()).flatten()
}

fn fallback_evidence(fallback: &Owner, nothing_seen: bool) -> Evidence {
    let why = if nothing_seen { "nothing says whose it is" } else { "the evidence names nobody who can be told" };
    Evidence {
        owner: fallback.id.clone(),
        source: "fallback".to_owned(),
        detail: format!("{why}, so the fallback owner gets it"),
        event_id: None,
        observed_at: None,
        confidence: 0.0,
    }
}

#[cfg(test)]
mod tests;
