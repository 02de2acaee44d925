//! A request as Cedar wants it: entities, context, and which resources need not be told apart.

use std::collections::{BTreeSet, HashSet};

use cedar_policy::{
    Context, Decision as CedarDecision, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, Response,
    RestrictedExpression,
};

use super::{Decision, Guardrails};
use crate::memo;

/// Where a guardrail is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Point {
    /// An event was observed.
    #[default]
    Use,
    Lease,
    CallTool,
    EffectiveAccess,
}

impl Point {
    fn name(self) -> &'static str {
        match self {
            Self::Use => "use",
            Self::Lease => "lease",
            Self::CallTool => "call_tool",
            Self::EffectiveAccess => "effective_access",
        }
    }
}

/// A resource and its tags from the inventory, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tagged {
    pub id: String,
    pub tags: Vec<String>,
}

/// One call, as guardrails see it.
#[derive(Clone, Copy, Debug, Default)]
pub struct GuardrailRequest<'a> {
    pub point: Point,
    /// Inventory id of the agent; without one the actor is the principal.
    pub agent: Option<&'a str>,
    pub actor: Option<&'a str>,
    /// Agent groups that the principal is in.
    pub groups: &'a [String],
    /// Empty: the event names none.
    pub resources: &'a [Tagged],
    pub operation: &'a str,
    pub outcome: &'a str,
    pub provider: &'a str,
    pub account: Option<&'a str>,
    pub tool: Option<&'a str>,
    pub ip: Option<&'a str>,
    pub credential_kind: Option<&'a str>,
    /// `None` is `unknown`.
    pub credential_lifetime: Option<&'a str>,
    pub owner_known: bool,
    pub delegated: bool,
    pub in_scope: Option<bool>,
}

/// Cedar refused a request or an entity: its message.
pub(super) struct Refused;

/// Cedar's own errors say nothing that a reader of findings could act on; that there was one is what counts.
fn refused<E>(_: E) -> Refused {
    Refused
}

impl Guardrails {
    /// Resources that a policy could tell apart: by name where one names them, else by their tags.
    pub(super) fn distinct(&self, resources: &[Tagged]) -> BTreeSet<Tagged> {
        let anonymous = || Tagged { id: "*".to_owned(), tags: Vec::new() };
        if resources.is_empty() {
            return BTreeSet::from([anonymous()]);
        }
        resources.iter().map(|resource| self.told_apart(resource)).collect()
    }

    fn told_apart(&self, resource: &Tagged) -> Tagged {
        let id = if self.named.contains(&resource.id) { resource.id.clone() } else { "*".to_owned() };
        Tagged { id, tags: resource.tags.clone() }
    }

    /// Everything of a request that can reach a decision.
    pub(super) fn key(&self, request: &GuardrailRequest<'_>) -> String {
        let mut flags = String::from(request.point.name());
        flags.extend([request.owner_known, request.delegated].map(|flag| if flag { '1' } else { '0' }));
        flags.push(request.in_scope.map_or('-', |scope| if scope { '1' } else { '0' }));
        let GuardrailRequest { agent, actor, account, tool, credential_kind, credential_lifetime, .. } = *request;
        let actor = if agent.is_some() { None } else { actor };
        let ip = request.ip.filter(|_| self.reads_ip);
        let (operation, outcome, provider) = (request.operation, request.outcome, request.provider);
        let mut parts = vec![Some(flags.as_str()), Some(operation), Some(outcome), Some(provider)];
        parts.extend([agent, actor, account, tool, ip, credential_kind, credential_lifetime]);
        parts.extend(request.groups.iter().map(|group| Some(group.as_str())));
        let resources = self.distinct(request.resources);
        for resource in &resources {
            parts.push(None);
            parts.push(Some(&resource.id));
            parts.extend(resource.tags.iter().map(|tag| Some(tag.as_str())));
        }
        memo::key(&parts)
    }

    pub(super) fn ask(&self, request: &GuardrailRequest<'_>, resource: &Tagged) -> Result<Decision, Refused> {
        let principal = match request.agent {
            Some(agent) => uid("Agent", agent),
            None => uid("Principal", request.actor.unwrap_or("unknown")),
        }?;
        let (action, target) = (uid("Action", request.point.name())?, uid("Resource", &resource.id)?);
        let entities = entities(&principal, request.groups, &target, &resource.tags)?;
        let context = Context::from_pairs(self.context(request)).map_err(refused)?;
        let question = Request::new(principal, action, target, context, Some(&self.schema)).map_err(refused)?;
        Ok(read(&self.authorizer.is_authorized(&question, &self.policies, &entities)))
    }

    fn context(&self, request: &GuardrailRequest<'_>) -> Vec<(String, RestrictedExpression)> {
        let text = |name: &str, value: &str| (name.to_owned(), RestrictedExpression::new_string(value.to_owned()));
        let flag = |name: &str, value: bool| (name.to_owned(), RestrictedExpression::new_bool(value));
        let optional = [
            ("account", request.account),
            ("tool", request.tool),
            ("ip", request.ip.filter(|_| self.reads_ip)),
            ("credential_kind", request.credential_kind),
        ];
        let mut pairs = vec![
            text("operation", request.operation),
            text("operation_lower", &request.operation.to_lowercase()),
            text("outcome", request.outcome),
            text("provider", request.provider),
            text("credential_lifetime", request.credential_lifetime.unwrap_or("unknown")),
            flag("owner_known", request.owner_known),
            flag("delegated", request.delegated),
        ];
        pairs.extend(optional.into_iter().filter_map(|(name, value)| value.map(|value| text(name, value))));
        pairs.extend(request.in_scope.map(|scope| flag("in_scope", scope)));
        pairs
    }
}

/// Built from parts, never from text, so that no id can close a quote.
pub(super) fn uid(kind: &str, id: &str) -> Result<EntityUid, Refused> {
    let kind: EntityTypeName = kind.parse().map_err(refused)?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

fn entities(
    principal: &EntityUid,
    groups: &[String],
    resource: &EntityUid,
    tags: &[String],
) -> Result<Entities, Refused> {
    let parents = |kind: &str, ids: &[String]| ids.iter().map(|id| uid(kind, id)).collect::<Result<HashSet<_>, _>>();
    let principal = Entity::new_no_attrs(principal.clone(), parents("AgentGroup", groups)?);
    let resource = Entity::new_no_attrs(resource.clone(), parents("Tag", tags)?);
    Entities::from_entities([principal, resource], None).map_err(refused)
}

fn read(response: &Response) -> Decision {
    let denied = response.decision() == CedarDecision::Deny;
    let reasons = response.diagnostics().reason().map(ToString::to_string);
    let mut broken: Vec<String> = if denied { reasons.collect() } else { Vec::new() };
    if denied && broken.is_empty() {
        broken.push("no-permit".to_owned());
    }
    let errors = response.diagnostics().errors().map(|error| match error {
        cedar_policy::AuthorizationError::PolicyEvaluationError(error) => format!("error:{}", error.policy_id()),
    });
    Decision { broken, errors: errors.collect() }
}
