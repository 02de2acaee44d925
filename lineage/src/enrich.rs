//! Fills the columns of an event that its record does not hold: agent, parent, age, owner, lease, scope, guardrails.
//!
//! All facts must be observed before the first batch is enriched, or answers would depend on arrival order.

mod columns;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use keytrail_model::tables::{Asked, Row, Table};
use keytrail_model::{EventBatch, Finding, Hop, Micros, Ownership, Target};

use crate::facts::{Facts, ToolCall, Use, Uses};
use crate::guardrail::{GuardrailRequest, Guardrails, Tagged};
use crate::hops;
use crate::inventory::{Agent, Inventory};
use crate::memo::{self, Memo};
use crate::owner::{self, Subject};
use crate::scope::Done;
use crate::tables;
use columns::Columns;
pub use columns::ENRICHED;

/// The actions that turn a static key into a session key of the same user.
const FROM_STATIC: [&str; 2] = ["sts:GetSessionToken", "sts:GetFederationToken"];
const UNKNOWN_PARENT: &str = "console_or_unknown_parent";
const DAY: f64 = 86_400.0 * Micros::SECOND as f64;

/// Inventory, facts and guardrails together. Answers for equal requests are remembered.
#[derive(Clone, Debug)]
pub struct Enricher {
    inventory: Inventory,
    /// Shared by the workers: nothing is learnt while they enrich.
    facts: Arc<Facts>,
    guardrails: Guardrails,
    agents: Memo<Option<(String, &'static str)>>,
    owners: Memo<(String, f64)>,
    tags: Memo<Vec<String>>,
    /// Whether it is learnt who uses which credential.
    uses: bool,
}

/// What enrichment says of one event. `None` leaves the column null, or as the mapping filled it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Verdict {
    agent: Option<String>,
    agent_evidence: Option<String>,
    tool: Option<String>,
    prompt_ref: Option<String>,
    parent: Option<String>,
    age: Option<f64>,
    owner: Option<String>,
    owner_confidence: Option<f64>,
    lease: Option<String>,
    in_scope: Option<bool>,
    guardrails: Vec<String>,
    /// A static key was seen to have made this session key.
    from_static: bool,
}

impl Enricher {
    #[must_use]
    pub fn new(inventory: Inventory, guardrails: Guardrails) -> Self {
        let (agents, owners, tags) = (Memo::default(), Memo::default(), Memo::default());
        Self { inventory, facts: Arc::default(), guardrails, agents, owners, tags, uses: false }
    }

    /// Learns who uses which credential too, for rules that join reference tables. It costs a little of every event.
    pub fn learn_uses(&mut self) {
        self.uses = true;
    }

    /// Forgets who used which credential, once the reference tables are made: nothing else asks.
    pub fn forget_uses(&mut self) {
        Arc::make_mut(&mut self.facts).uses = Uses::default();
    }

    /// Gives out the rows of a reference table that are asked for, one by one, and perhaps others.
    pub fn rows(&self, table: &Table, asked: &Asked, take: &mut dyn FnMut(Row)) {
        tables::rows(tables::Known { inventory: &self.inventory, facts: &self.facts, asked }, table, take);
    }

    #[must_use]
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    #[must_use]
    pub fn guardrails(&self) -> &Guardrails {
        &self.guardrails
    }

    /// Learns from a batch; see `Facts::observe`.
    pub fn observe(&mut self, batch: &EventBatch) {
        Arc::make_mut(&mut self.facts).observe(batch);
        self.owners.clear();
        for row in 0..if self.uses { batch.rows() } else { 0 } {
            self.observe_use(&Event { batch, row });
        }
    }

    fn observe_use(&mut self, event: &Event<'_>) {
        let Some(credential) = event.text("credential") else { return };
        let (actor, tool, at) = (event.text("actor"), event.text("tool"), event.time());
        let agents = !self.inventory.agents.is_empty();
        let agent = agents.then(|| self.agent_of([actor, Some(credential), event.text("user_agent")])).flatten();
        let uses = &mut Arc::make_mut(&mut self.facts).uses;
        uses.first(credential, at);
        let by = [("principal", actor), ("tool", tool), ("agent", agent.as_ref().map(|(agent, _)| agent.as_str()))];
        for (kind, id) in by.into_iter().filter_map(|(kind, id)| Some((kind, id?))) {
            uses.by(&Use { kind, credential, id }, at);
        }
    }

    /// Takes over what another worker learnt.
    pub fn learn(&mut self, facts: Facts) {
        Arc::make_mut(&mut self.facts).merge(facts);
        self.owners.clear();
    }

    /// What was learnt, for another to take over.
    #[must_use]
    pub fn into_facts(self) -> Facts {
        Arc::unwrap_or_clone(self.facts)
    }

    /// Drops facts that no event at or after `watermark` can refer to.
    pub fn forget_before(&mut self, watermark: Micros) {
        Arc::make_mut(&mut self.facts).forget_before(watermark);
    }

    /// Keeps the number of session keys that are known within its bound, unless events at or after `watermark` need them.
    pub fn forget_sessions(&mut self, watermark: Micros) {
        Arc::make_mut(&mut self.facts).forget_sessions(watermark);
    }

    /// The batch with its enrichment columns filled. Columns that it does not have are taken as null, and added.
    ///
    /// # Errors
    /// Only if the batch's columns and rows do not fit together.
    pub fn enrich(&mut self, batch: EventBatch) -> Result<EventBatch, arrow::error::ArrowError> {
        let mut columns = Columns::default();
        for row in 0..batch.rows() {
            columns.push(&batch, row, self.verdict(&batch, row));
        }
        let record_batch = columns.finish(&batch)?;
        Ok(EventBatch { batch: record_batch, ..batch })
    }

    /// Whose the credential of a finding is.
    #[must_use]
    pub fn ownership(&self, target: &Target) -> Ownership {
        owner::ownership(&self.inventory, &self.facts, &Subject::from(target))
    }

    /// The lineage behind a finding: who owns, issued, used and reached what. At most twelve hops.
    #[must_use]
    pub fn lineage(&self, finding: &Finding) -> Vec<Hop> {
        hops::lineage(&self.inventory, &self.facts, finding)
    }

    fn verdict(&mut self, batch: &EventBatch, row: usize) -> Verdict {
        let event = Event { batch, row };
        let call = event.text("request_id").and_then(|id| self.facts.tool_call(id)).cloned();
        let mut verdict = self.told_by_facts(&event, call.as_ref());
        let lease = self.inventory.lease_of(event.text("credential"), event.text("session"), batch.time(row));
        verdict.lease = lease.map(|(_, state)| state.to_owned());
        let leased_to = lease.and_then(|(lease, _)| lease.agent.clone()).map(|agent| (agent, "inventory"));
        if let Some((agent, evidence)) = leased_to.or_else(|| self.agent(&event, call.as_ref())) {
            verdict.agent = Some(agent);
            verdict.agent_evidence.get_or_insert_with(|| evidence.to_owned());
        }
        let (owner, confidence) = self.owner(&event, verdict.agent.as_deref());
        (verdict.owner, verdict.owner_confidence) = (Some(owner), Some(confidence));
        self.judge(&event, &mut verdict);
        verdict
    }

    fn told_by_facts(&self, event: &Event<'_>, call: Option<&ToolCall>) -> Verdict {
        let (credential, time) = (event.text("credential"), event.time());
        let issuance = credential.and_then(|credential| self.facts.issuance(credential));
        let declared = || self.inventory.credential(credential?)?.created;
        let made = issuance.map(|issuance| issuance.at).or_else(declared).filter(|made| *made <= time);
        let unknown_parent = event.text("credential_note") == Some(UNKNOWN_PARENT);
        let from_static = issuance.is_some_and(|issuance| FROM_STATIC.contains(&issuance.action.as_str()));
        let prompt = || self.facts.prompt(event.text("session"), event.text("actor"), time).map(str::to_owned);
        Verdict {
            agent_evidence: event.owned("agent_evidence").or_else(|| call?.agent_evidence.clone()),
            tool: event.owned("tool").or_else(|| call?.tool.clone()),
            prompt_ref: event.owned("prompt_ref").or_else(prompt),
            parent: issuance.and_then(|issuance| issuance.parent.as_deref().map(str::to_owned)),
            age: made.map(|made| (time.0.saturating_sub(made.0)) as f64 / DAY),
            from_static: from_static && unknown_parent && event.text("credential_lifetime") == Some("ephemeral"),
            ..Verdict::default()
        }
    }

    /// The agent behind the call itself, else behind the tool call that made it.
    fn agent(&mut self, event: &Event<'_>, call: Option<&ToolCall>) -> Option<(String, &'static str)> {
        let own = [event.text("actor"), event.text("credential"), event.text("user_agent")];
        self.agent_of(own).or_else(|| {
            let call = call?;
            self.agent_of([call.actor.as_deref(), call.credential.as_deref(), call.user_agent.as_deref()])
        })
    }

    fn agent_of(&mut self, shown: [Option<&str>; 3]) -> Option<(String, &'static str)> {
        let key = memo::key(&shown);
        if let Some(known) = self.agents.get(&key) {
            return known;
        }
        let [actor, credential, user_agent] = shown;
        let found = self.inventory.agent_of(actor, credential, user_agent);
        let found = found.map(|(agent, evidence)| (agent.id.clone(), evidence));
        self.agents.put(key, found)
    }

    fn owner(&mut self, event: &Event<'_>, agent: Option<&str>) -> (String, f64) {
        let subject = event.subject(agent);
        let period = self.inventory.period(subject.time).to_string();
        let Subject { credential, session, actor, actor_name, account, on_behalf_of, .. } = subject;
        let key = memo::key(&[credential, session, actor, actor_name, account, agent, on_behalf_of, Some(&period)]);
        if let Some(known) = self.owners.get(&key) {
            return known;
        }
        let ownership = owner::ownership(&self.inventory, &self.facts, &subject);
        let owner = ownership.owners.into_iter().next().map(|owner| owner.id).unwrap_or_default();
        self.owners.put(key, (owner, ownership.confidence))
    }

    fn judge(&mut self, event: &Event<'_>, verdict: &mut Verdict) {
        let ids = event.batch.texts("resources", event.row);
        let (action, time) = (event.text("action").unwrap_or_default(), event.time());
        let agent = verdict.agent.as_deref().and_then(|id| self.inventory.agent(id));
        let done = Done { action, resources: &ids, tool: verdict.tool.as_deref(), time };
        verdict.in_scope = agent.and_then(|agent| agent.in_scope(&done));
        let groups = groups(agent, verdict);
        let resources: Vec<Tagged> = ids.into_iter().map(|id| Tagged { tags: self.tags_of(&id), id }).collect();
        let lifetime =
            if verdict.from_static { Some("derived_from_static") } else { event.text("credential_lifetime") };
        let request = GuardrailRequest {
            agent: verdict.agent.as_deref(),
            groups: &groups,
            resources: &resources,
            tool: verdict.tool.as_deref(),
            credential_lifetime: lifetime,
            owner_known: verdict.owner_confidence.is_some_and(|confidence| confidence > 0.0),
            in_scope: verdict.in_scope,
            ..event.request(action)
        };
        let decision = self.guardrails.decide(&request);
        verdict.guardrails = decision.broken.into_iter().chain(decision.errors).collect();
    }

    fn tags_of(&mut self, resource: &str) -> Vec<String> {
        if let Some(known) = self.tags.get(resource) {
            return known;
        }
        self.tags.put(resource.to_owned(), self.inventory.tags_of(resource))
    }
}

/// Groups of the principal: the agent's tags. What looks like an agent but is undeclared is held to the rules for AI.
fn groups(agent: Option<&Agent>, verdict: &Verdict) -> Vec<String> {
    match agent {
        Some(agent) => agent.tags.clone(),
        None if verdict.agent_evidence.is_some() => vec!["ai".to_owned(), "undeclared".to_owned()],
        None => Vec::new(),
    }
}

/// One row of a batch.
struct Event<'a> {
    batch: &'a EventBatch,
    row: usize,
}

impl<'a> Event<'a> {
    fn text(&self, column: &str) -> Option<&'a str> {
        self.batch.text(column, self.row).filter(|text| !text.is_empty())
    }

    fn owned(&self, column: &str) -> Option<String> {
        self.text(column).map(str::to_owned)
    }

    fn time(&self) -> Micros {
        self.batch.time(self.row)
    }

    fn subject<'b>(&'b self, agent: Option<&'b str>) -> Subject<'b> {
        Subject {
            credential: self.text("credential"),
            session: self.text("session"),
            actor: self.text("actor"),
            actor_name: self.text("actor_name"),
            account: self.text("account"),
            agent,
            on_behalf_of: self.text("on_behalf_of"),
            time: self.time(),
        }
    }

    /// The part of a guardrail request that the record itself gives.
    fn request(&self, operation: &'a str) -> GuardrailRequest<'a> {
        GuardrailRequest {
            actor: self.text("actor"),
            operation,
            outcome: self.text("outcome").unwrap_or("unknown"),
            provider: self.text("provider").unwrap_or("unknown"),
            account: self.text("account"),
            ip: self.text("ip"),
            credential_kind: self.text("credential_kind"),
            delegated: self.text("on_behalf_of").is_some(),
            ..GuardrailRequest::default()
        }
    }
}
