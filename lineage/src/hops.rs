//! The lineage of one finding as a short list of hops, in the order in which a person would tell it.

use std::collections::BTreeSet;

use keytrail_model::{Example, Finding, Hop};

use crate::facts::Facts;
use crate::inventory::Inventory;

/// Longer lineages are cut: a picture of more hops is not read.
const LIMIT: usize = 12;
/// How many resources, or tools, or guardrails are shown, so that the rest keeps its place.
const EACH: usize = 3;

type Node<'a> = (&'static str, &'a str);

/// Owner, agent and parents of the credential, what it called and reached, and which guardrails that breaks.
pub fn lineage(inventory: &Inventory, facts: &Facts, finding: &Finding) -> Vec<Hop> {
    let mut hops = Hops::default();
    let target = &finding.target;
    let credential = target.credential.as_deref().map(|id| ("credential", id));
    let Some(subject) = credential.or_else(|| target.actor.as_deref().map(|id| ("principal", id))) else {
        return hops.all;
    };
    hops.owned(finding, subject);
    if let Some(agent) = target.agent.as_deref() {
        let declared = inventory.agent(agent).is_some_and(|known| known.credentials.iter().any(|id| id == subject.1));
        hops.add(("agent", agent), "uses", subject, if declared { "declared" } else { "observed" });
    } else if let (Some(actor), "credential") = (target.actor.as_deref(), subject.0) {
        hops.add(("principal", actor), "uses", subject, "observed");
    }
    hops.issued(facts, target.parent.as_deref(), subject);
    for example in &finding.examples {
        hops.called(example, subject);
    }
    let breaker = target.agent.as_deref().map_or(subject, |agent| ("agent", agent));
    for guardrail in finding.guardrails.iter().take(EACH) {
        hops.add(breaker, "breaks", ("guardrail", guardrail), "observed");
    }
    hops.cut()
}

#[derive(Default)]
struct Hops {
    all: Vec<Hop>,
    reached: BTreeSet<String>,
    called: BTreeSet<String>,
}

impl Hops {
    fn add(&mut self, from: Node<'_>, edge: &str, to: Node<'_>, basis: &str) {
        let hop = Hop {
            from_kind: from.0.to_owned(),
            from: from.1.to_owned(),
            edge: edge.to_owned(),
            to_kind: to.0.to_owned(),
            to: to.1.to_owned(),
            basis: basis.to_owned(),
        };
        if !self.all.contains(&hop) {
            self.all.push(hop);
        }
    }

    fn owned(&mut self, finding: &Finding, subject: Node<'_>) {
        let Some(ownership) = finding.ownership.as_ref().filter(|ownership| !ownership.orphan) else { return };
        for owner in &ownership.owners {
            let best = ownership.evidence.iter().find(|evidence| evidence.owner == owner.id);
            let observed = best.is_some_and(|evidence| evidence.event_id.is_some() || evidence.source == "delegation");
            self.add(("owner", &owner.id), "owns", subject, if observed { "observed" } else { "declared" });
        }
    }

    /// Each issuance up the chain, and who made the first of it.
    fn issued(&mut self, facts: &Facts, parent: Option<&str>, subject: Node<'_>) {
        let chain = if subject.0 == "credential" { facts.chain(subject.1) } else { Vec::new() };
        if let (Some(parent), true) = (parent, chain.len() < 2) {
            return self.add(("credential", parent), "issued", subject, "observed");
        }
        for pair in chain.windows(2).take(EACH) {
            if let [child, parent] = pair {
                self.add(("credential", parent), "issued", ("credential", child), "observed");
            }
        }
        let maker = chain.last().and_then(|last| Some((*last, facts.issuance(last)?.actor.as_deref()?)));
        if let Some((made, maker)) = maker {
            self.add(("principal", maker), "issued", ("credential", made), "observed");
        }
    }

    fn called(&mut self, example: &Example, subject: Node<'_>) {
        let through = example.tool.as_deref().map_or(("action", example.action.as_str()), |tool| ("tool", tool));
        if self.called.contains(through.1) || self.called.len() < EACH {
            self.called.insert(through.1.to_owned());
            self.add(subject, "called", through, "observed");
        }
        let edge = if example.outcome == "allowed" { "reached" } else { "denied" };
        let from = if through.0 == "tool" { through } else { subject };
        for resource in &example.resources {
            if self.reached.contains(resource.as_str()) || self.reached.len() < EACH {
                self.reached.insert(resource.to_string());
                self.add(from, edge, ("resource", resource), "observed");
            }
        }
    }

    /// Guardrails stand last and are kept: they are what the finding is about.
    fn cut(self) -> Vec<Hop> {
        let (breaks, mut rest): (Vec<Hop>, Vec<Hop>) = self.all.into_iter().partition(|hop| hop.edge == "breaks");
        rest.truncate(LIMIT - breaks.len().min(LIMIT));
        rest.extend(breaks);
        rest
    }
}
