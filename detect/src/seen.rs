//! What a finding shows of one event, copied out of its batch. It has no time of its own, so that events which look the
//! same share one.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use keytrail_model::{EventBatch, Example, Micros, Selected, Target, Text};
use serde::{Deserialize, Serialize};

use crate::group::Moment;
use crate::rule::Rule;
use crate::shared::{self, hash_of};
use crate::values::Selection;

/// How many different ones are told apart before the pool starts anew.
const POOL_MAX: usize = 16_384;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    pub(crate) source: Text,
    pub(crate) action: Text,
    pub(crate) outcome: Text,
    pub(crate) actor: Option<Text>,
    pub(crate) ip: Option<Text>,
    pub(crate) user_agent: Option<Text>,
    pub(crate) tool: Option<Text>,
    pub(crate) resources: Vec<Text>,
    pub(crate) prompt_ref: Option<Text>,
    pub(crate) guardrails: Vec<Text>,
    /// What a containment would act on.
    pub(crate) acted_on: Option<Text>,
    /// The rule's evidence columns, by name.
    pub(crate) selected: Selected,
    pub(crate) summary: Text,
    /// Without the time and resources, which are the event's: so that many events share one.
    #[serde(with = "shared::one")]
    pub(crate) target: Arc<Target>,
}

impl Seen {
    /// A session's keys change while it lasts, and it is the session that is contained; of other credentials it is the
    /// key.
    pub(crate) fn acted_on(events: &EventBatch, row: usize) -> Option<&str> {
        let credential = events.text("credential", row);
        match events.text("credential_lifetime", row) {
            Some("ephemeral") => events.text("session", row).or(credential),
            _ => credential,
        }
    }

    pub(crate) fn example(&self, (time, event_id, position): &Moment) -> Example {
        Example {
            time: *time,
            event_id: event_id.clone(),
            action: self.action.clone(),
            outcome: self.outcome.clone(),
            actor: self.actor.clone(),
            ip: self.ip.clone(),
            user_agent: self.user_agent.clone(),
            tool: self.tool.clone(),
            resources: self.resources.clone(),
            prompt_ref: self.prompt_ref.clone(),
            position: position.to_string(),
            selected: self.selected.clone(),
        }
    }
}

fn target(events: &EventBatch, row: usize) -> Target {
    let text = |name: &str| events.text(name, row).filter(|text| !text.is_empty()).map(str::to_owned);
    Target {
        credential: text("credential"),
        kind: text("credential_kind"),
        lifetime: text("credential_lifetime"),
        quality: text("credential_quality"),
        parent: text("credential_parent"),
        provider: text("provider"),
        account: text("account"),
        actor: text("actor"),
        actor_kind: text("actor_kind"),
        actor_name: text("actor_name"),
        session: text("session"),
        on_behalf_of: text("on_behalf_of"),
        agent: text("agent"),
        resources: Vec::new(),
        time: Micros(0),
    }
}

/// Gives equal ones out as one, so that a window over many like events, and the findings of many like groups, stay small.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool {
    texts: HashSet<Text>,
    known: HashMap<u64, Arc<Seen>>,
    targets: HashMap<u64, Arc<Target>>,
}

impl Pool {
    /// What a rule shows of an event.
    pub(crate) fn seen(&mut self, rule: &Rule, events: &EventBatch, row: usize, selected: Selection) -> Arc<Seen> {
        let target = target(events, row);
        let key = hash_of(&(&target.credential, &target.session, &target.actor, &target.agent));
        let target = one(&mut self.targets, key, Arc::new(target));
        let mut text = |name: &str| events.text(name, row).map(|text| self.text(text));
        let seen = Seen {
            action: text("action").unwrap_or_default(),
            outcome: text("outcome").unwrap_or_else(|| "unknown".into()),
            actor: text("actor"),
            ip: text("ip"),
            user_agent: text("user_agent"),
            tool: text("tool"),
            prompt_ref: text("prompt_ref"),
            acted_on: Seen::acted_on(events, row).map(|text| self.text(text)),
            source: Text::from(&events.source),
            resources: self.texts(events.texts("resources", row)),
            guardrails: self.texts(events.texts("guardrails", row)),
            selected: selected.into_iter().map(|(name, value)| (self.text(name), self.text(&value))).collect(),
            summary: rule.summary.fill(events, row).into(),
            target,
        };
        let what = (&seen.summary, &seen.action, &seen.outcome);
        let key = hash_of(&(what, &seen.ip, &seen.resources, &seen.acted_on));
        one(&mut self.known, key, Arc::new(seen))
    }

    fn text(&mut self, text: &str) -> Text {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        if self.texts.len() >= POOL_MAX {
            self.texts.clear();
        }
        let new = Text::from(text);
        self.texts.insert(new.clone());
        new
    }

    fn texts(&mut self, texts: Vec<String>) -> Vec<Text> {
        texts.iter().map(|text| self.text(text)).collect()
    }
}

/// The one that is known under the key, if it is the same; otherwise this one takes its place.
fn one<T: PartialEq>(known: &mut HashMap<u64, Arc<T>>, key: u64, new: Arc<T>) -> Arc<T> {
    if known.len() >= POOL_MAX {
        known.clear();
    }
    let kept = known.entry(key).or_insert_with(|| Arc::clone(&new));
    if **kept != *new {
        *kept = new;
    }
    Arc::clone(kept)
}
