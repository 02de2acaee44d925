//! Which agent is behind a call, whether its declared tasks cover the call, and whether a lease of ours still holds.

use keytrail_model::Micros;

use crate::arn;
use crate::glob;
use crate::inventory::{Agent, Inventory, Lease, Task};

impl Agent {
    /// Whether an actor, or the role behind its session, is one of the agent's principals.
    #[must_use]
    pub fn is_principal(&self, actor: &str) -> bool {
        let role = || arn::role_of(actor).is_some_and(|role| glob::any(&self.principals, &role));
        glob::any(&self.principals, actor) || role()
    }

    /// How the agent shows itself in a call, strongest first.
    fn evidence(
        &self,
        actor: Option<&str>,
        credential: Option<&str>,
        user_agent: Option<&str>,
    ) -> Option<&'static str> {
        let named = self.user_agents.is_empty() || user_agent.is_some_and(|name| glob::any(&self.user_agents, name));
        if !named {
            return None;
        }
        if credential.is_some_and(|credential| self.credentials.iter().any(|known| known == credential)) {
            return Some("inventory");
        }
        if actor.is_some_and(|actor| self.is_principal(actor)) {
            return Some("principal");
        }
        let by_name_only = self.principals.is_empty() && self.credentials.is_empty();
        (by_name_only && !self.user_agents.is_empty()).then_some("user_agent")
    }
}

fn rank(evidence: &str) -> u8 {
    match evidence {
        "inventory" => 0,
        "principal" => 1,
        _ => 2,
    }
}

impl Inventory {
    /// The agent behind a call, and why it is taken for it: `inventory` (its credential), `principal` or `user_agent`.
    /// Where several fit, the strongest evidence wins, then the one that also asks for a user agent, then the first id.
    #[must_use]
    pub fn agent_of(
        &self,
        actor: Option<&str>,
        credential: Option<&str>,
        user_agent: Option<&str>,
    ) -> Option<(&Agent, &'static str)> {
        let fits = |agent| Agent::evidence(agent, actor, credential, user_agent).map(|evidence| (agent, evidence));
        let found = self.agents.values().filter_map(fits);
        found.min_by_key(|(agent, evidence)| (rank(evidence), agent.user_agents.is_empty(), agent.id.clone()))
    }

    /// The lease that covers a credential or session, and its state: an active one, else the one that ended last.
    #[must_use]
    pub fn lease_of(
        &self,
        credential: Option<&str>,
        session: Option<&str>,
        time: Micros,
    ) -> Option<(&Lease, &'static str)> {
        let same = |ours: &Option<String>, theirs: Option<&str>| ours.is_some() && ours.as_deref() == theirs;
        let ours = |lease: &&Lease| same(&lease.credential, credential) || same(&lease.session, session);
        let begun = self.leases.iter().filter(ours).filter(|lease| lease.from <= time);
        let latest = begun.max_by_key(|lease| (lease.until, lease.id.clone()))?;
        Some((latest, if time <= latest.until { "active" } else { "ended" }))
    }

    /// `active` or `ended`, where a lease of ours covers the credential or session.
    #[must_use]
    pub fn lease_state(&self, credential: Option<&str>, session: Option<&str>, time: Micros) -> Option<&'static str> {
        self.lease_of(credential, session, time).map(|(_, state)| state)
    }
}

/// What a call did, as far as declared tasks speak of it.
#[derive(Clone, Copy, Debug)]
pub struct Done<'a> {
    pub action: &'a str,
    pub resources: &'a [String],
    pub tool: Option<&'a str>,
    pub time: Micros,
}

impl Agent {
    /// Whether a declared task covers the call; `None` where the agent declares none.
    #[must_use]
    pub fn in_scope(&self, done: &Done<'_>) -> Option<bool> {
        let covers = |task: &Task| task.failures(done).is_empty();
        (!self.tasks.is_empty()).then(|| self.tasks.iter().any(covers))
    }

    /// A sentence on which part of the nearest task does not cover the call; `None` when it is in scope or undeclared.
    #[must_use]
    pub fn why_out_of_scope(&self, done: &Done<'_>) -> Option<String> {
        let nearest =
            self.tasks.iter().map(|task| (task, task.failures(done))).min_by_key(|(_, failed)| failed.len())?;
        let (task, failed) = nearest;
        let action = done.action;
        let id = &task.id;
        Some(match failed.first()? {
            Failure::Action => format!("action {action} is declared for no task of agent {}", self.id),
            Failure::Resource(at) => format!("action {action} is declared for task {id}, but not on {at}"),
            Failure::Tool(None) => format!("action {action} is declared for task {id}, but only through its tools"),
            Failure::Tool(Some(tool)) => {
                format!("action {action} is declared for task {id}, but not through tool {tool}")
            }
            Failure::Ended(until) => format!("action {action} is declared for task {id}, which ended at {until}"),
        })
    }
}

/// The part of a task that does not cover a call, in the order in which a person would look.
enum Failure<'a> {
    Action,
    Resource(&'a str),
    Tool(Option<&'a str>),
    Ended(Micros),
}

impl Task {
    /// An action that is not the task's makes the rest beside the point: it weighs more than all other failures.
    fn failures<'a>(&self, done: &Done<'a>) -> Vec<Failure<'a>> {
        if !glob::any(&self.actions, done.action) {
            return [(); 4].map(|()| Failure::Action).into();
        }
        let outside = |resource: &&String| !self.resources.is_empty() && !glob::any(&self.resources, resource);
        let resource = done.resources.iter().find(outside).map(|resource| Failure::Resource(resource));
        let tool_fits = self.tools.is_empty() || done.tool.is_some_and(|tool| glob::any(&self.tools, tool));
        let tool = (!tool_fits).then_some(Failure::Tool(done.tool));
        let ended = self.until.filter(|until| done.time > *until).map(Failure::Ended);
        resource.into_iter().chain(tool).chain(ended).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVENTORY: &str = "
fallback_owner: t
owners: [{id: t, email: t@example.com, kind: team}]
agents:
  - id: refund-agent
    principals: ['arn:aws:iam::111122223333:role/refund-agent']
    tasks:
      - {id: refunds, actions: ['rds-data:*'], resources: ['*:cluster:orders'], until: 2026-06-01T00:00:00Z}
      - {id: tools, actions: ['mcp:*'], tools: ['billing-mcp/*']}
  - {id: coding-agent, principals: [maya-ito], user_agents: ['claude-code/*']}
  - {id: by-name, user_agents: ['bot/*']}
  - {id: by-key, credentials: [AKIAIOSFODNN7EXAMPLE]}
leases:
  - {id: l-1, credential: ASIAEXAMPLE, from: 2026-01-01, until: 2026-01-02}
  - {id: l-2, session: s, from: 2026-01-01, until: 2026-01-03}
";

    fn inventory() -> Inventory {
        Inventory::load(&[("i.yaml".to_owned(), INVENTORY.to_owned())]).expect("an inventory")
    }

    fn at(text: &str) -> Micros {
        Micros::parse(text).expect("a time")
    }

    fn agent(actor: &str, credential: &str, user_agent: &str) -> Option<(String, &'static str)> {
        let inventory = inventory();
        let found = inventory.agent_of(Some(actor), Some(credential), Some(user_agent));
        found.map(|(agent, evidence)| (agent.id.clone(), evidence))
    }

    #[test]
    fn agents_are_known_by_role_credential_or_name() {
        let session = "arn:aws:sts::111122223333:assumed-role/refund-agent/s-1";
        assert_eq!(agent(session, "", ""), Some(("refund-agent".into(), "principal")));
        assert_eq!(agent("x", "AKIAIOSFODNN7EXAMPLE", ""), Some(("by-key".into(), "inventory")));
        assert_eq!(agent(session, "AKIAIOSFODNN7EXAMPLE", ""), Some(("by-key".into(), "inventory")));
        assert_eq!(agent("x", "", "bot/1"), Some(("by-name".into(), "user_agent")));
        assert_eq!(agent("maya-ito", "", "claude-code/2.1"), Some(("coding-agent".into(), "principal")));
        assert_eq!(agent("maya-ito", "", "Mozilla/5.0"), None);
        assert_eq!(agent("ben", "", "claude-code/2.1"), None);
    }

    fn judged(action: &str, resources: &[&str], tool: Option<&str>, time: &str) -> (Option<bool>, Option<String>) {
        let inventory = inventory();
        let resources: Vec<String> = resources.iter().map(|&text| text.to_owned()).collect();
        let done = Done { action, resources: &resources, tool, time: at(time) };
        let agent = inventory.agent("refund-agent").expect("an agent");
        (agent.in_scope(&done), agent.why_out_of_scope(&done))
    }

    #[test]
    fn scope_is_action_every_resource_tool_and_time() {
        let day = "2026-01-01T00:00:00Z";
        let orders = "arn:aws:rds:eu-west-1:111122223333:cluster:orders";
        assert_eq!(judged("rds-data:ExecuteStatement", &[orders], None, day), (Some(true), None));
        assert_eq!(judged("RDS-DATA:executestatement", &[], None, day), (Some(true), None));
        let because = |text: &str| (Some(false), Some(text.to_owned()));
        assert_eq!(
            judged("rds-data:ExecuteStatement", &[orders, "cluster:customers"], None, day),
            because("action rds-data:ExecuteStatement is declared for task refunds, but not on cluster:customers")
        );
        assert_eq!(
            judged("s3:GetObject", &[], None, day),
            because("action s3:GetObject is declared for no task of agent refund-agent")
        );
        assert_eq!(
            judged("rds-data:ExecuteStatement", &[], None, "2026-06-02T00:00:00Z"),
            because(
                "action rds-data:ExecuteStatement is declared for task refunds, which ended at 2026-06-01T00:00:00Z"
            )
        );
        assert_eq!(judged("mcp:call", &[], Some("billing-mcp/run"), day), (Some(true), None));
        assert_eq!(
            judged("mcp:call", &[], Some("x"), day),
            because("action mcp:call is declared for task tools, but not through tool x")
        );
        assert_eq!(
            judged("mcp:call", &[], None, day),
            because("action mcp:call is declared for task tools, but only through its tools")
        );
    }

    #[test]
    fn without_tasks_nothing_is_out_of_scope() {
        let inventory = inventory();
        let done = Done { action: "x", resources: &[], tool: None, time: Micros(0) };
        assert_eq!(inventory.agent("by-name").and_then(|agent| agent.in_scope(&done)), None);
    }

    #[test]
    fn a_lease_is_active_then_ended_and_unknown_before() {
        let inventory = inventory();
        let state = |credential, session, time| inventory.lease_state(credential, session, at(time));
        assert_eq!(state(Some("ASIAEXAMPLE"), None, "2026-01-02T00:00:00Z"), Some("active"));
        assert_eq!(state(Some("ASIAEXAMPLE"), None, "2026-01-02T00:00:01Z"), Some("ended"));
        assert_eq!(state(Some("ASIAEXAMPLE"), Some("s"), "2026-01-02T12:00:00Z"), Some("active"));
        assert_eq!(state(Some("ASIAEXAMPLE"), None, "2025-12-31T00:00:00Z"), None);
        assert_eq!(state(None, None, "2026-01-01T00:00:00Z"), None);
    }
}
