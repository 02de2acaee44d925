//! What the logs show, learnt from events: who issued which credential, who made which principal, what a tool led to.
//!
//! The same events give the same facts in any order. Memory grows with issued keys that do not expire and with created
//! principals, which are few, and up to a bound with uses of credentials (`uses`). A service that goes on drops tool calls,
//! prompts and spent session keys by `forget_before` once the watermark has passed them, and session keys beyond a bound by
//! `forget_sessions`.

mod observe;
mod uses;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};

use keytrail_model::{Micros, Text};
use serde::{Deserialize, Serialize};

use crate::arn;
pub(crate) use uses::{Use, Uses};

/// How long after a prompt a call may still be put down to it.
const PROMPT_WINDOW: i64 = 3_600 * Micros::SECOND;
/// How long after its end a session key is still known.
const SPENT: i64 = 7 * 86_400 * Micros::SECOND;
/// No session lasts longer: a key that does not say when it ends is taken to live so long.
pub const LIFE: i64 = 36 * 3_600 * Micros::SECOND;
/// How many session keys `forget_sessions` leaves, unless more are in use, and how many more may gather before it does.
const SESSIONS: usize = 65_536;
const SLACK: usize = SESSIONS / 8;
/// How many issuances are followed upwards; longer chains are cut, and loops end.
const CHAIN: usize = 5;

/// A credential was issued or created. Ordered by time and event id first, so that the earliest is the smallest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Issuance {
    pub at: Micros,
    pub event_id: Box<str>,
    pub action: Text,
    /// The credential that was used to issue it.
    pub parent: Option<Text>,
    pub actor: Option<Text>,
    pub kind: Option<Text>,
    pub lifetime: Option<Text>,
    pub until: Option<Box<str>>,
    pub issued_for: Option<Text>,
}

/// A principal (user, role, service account, application) was created.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Creation {
    pub at: Micros,
    pub event_id: String,
    pub action: String,
    pub actor: String,
}

/// A tool call made other calls.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ToolCall {
    pub at: Micros,
    pub event_id: String,
    pub tool: Option<String>,
    pub agent_evidence: Option<String>,
    pub actor: Option<String>,
    pub credential: Option<String>,
    pub user_agent: Option<String>,
}

/// Texts that many facts hold, each once: of two it makes no difference which.
#[derive(Clone, Debug, Default)]
struct Pool(HashSet<Text>);

impl PartialEq for Pool {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Pool {}

impl Pool {
    fn share(&mut self, text: &mut Text) {
        match self.0.get(text.as_str()) {
            Some(known) => *text = known.clone(),
            None => drop(self.0.insert(text.clone())),
        }
    }

    /// Those that somebody still holds stay.
    fn forget(&mut self) {
        self.0.retain(Text::is_shared);
    }
}

/// Prompts of one session or actor by time and event id.
type Prompts = BTreeMap<(Micros, String), String>;

/// Everything learnt so far. For one id that several events tell of, the earliest by (time, event id) stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    issued: BTreeMap<String, Issuance>,
    created: BTreeMap<String, Creation>,
    tools: BTreeMap<String, ToolCall>,
    #[serde(with = "pairs")]
    prompts: BTreeMap<String, Prompts>,
    /// When credentials were first used, and who used them, where somebody asks for it.
    pub(crate) uses: Uses,
    /// Session keys that ended before this may have been forgotten.
    #[serde(default)]
    forgotten: Option<Micros>,
    #[serde(skip)]
    shared: Pool,
}

impl Facts {
    /// Whether there is anything but who used what.
    #[must_use]
    pub fn tell_more_than_uses(&self) -> bool {
        !(self.issued.is_empty() && self.created.is_empty() && self.tools.is_empty() && self.prompts.is_empty())
    }

    /// Whether the others know of no use, and of none earlier, that is not known here.
    #[must_use]
    pub fn know_uses_of(&self, other: &Self) -> bool {
        self.uses.know(&other.uses)
    }

    #[must_use]
    pub fn issuance(&self, credential: &str) -> Option<&Issuance> {
        self.issued.get(credential)
    }

    /// The credential and what it was issued from, nearest first, itself included.
    #[must_use]
    pub fn chain<'a>(&'a self, credential: &'a str) -> Vec<&'a str> {
        self.chain_known(credential, Micros(i64::MAX))
    }

    /// The same as it was known at a time.
    pub(crate) fn chain_known<'a>(&'a self, credential: &'a str, known: Micros) -> Vec<&'a str> {
        let mut chain = vec![credential];
        while chain.len() < CHAIN {
            let issued = chain.last().and_then(|last| self.issued.get(*last)).filter(|issued| issued.at <= known);
            match issued.and_then(|issued| issued.parent.as_deref()) {
                Some(parent) if !chain.contains(&parent) => chain.push(parent),
                _ => break,
            }
        }
        chain
    }

    /// Who created the principal behind an actor. `name` is the short name, unique within `account`.
    #[must_use]
    pub fn creation(&self, actor: &str, account: Option<&str>, name: Option<&str>) -> Option<&Creation> {
        let role = arn::role_of(actor);
        let short = name.or_else(|| arn::name_of(role.as_deref().unwrap_or(actor)));
        let by_id = self.created.get(actor).or_else(|| self.created.get(role.as_deref()?));
        by_id.or_else(|| self.created.get(&name_key(account?, short?)))
    }

    /// Every issuance, by credential.
    pub(crate) fn issuances(&self) -> impl Iterator<Item = (&String, &Issuance)> {
        self.issued.iter()
    }

    /// Every principal that was seen created, by its id.
    pub(crate) fn creations(&self) -> impl Iterator<Item = (&String, &Creation)> {
        self.created.iter().filter(|(id, _)| !id.contains('\t'))
    }

    #[must_use]
    pub fn tool_call(&self, request_id: &str) -> Option<&ToolCall> {
        self.tools.get(request_id)
    }

    /// The latest prompt of the same session, else of the same actor, within an hour before `time`.
    #[must_use]
    pub fn prompt(&self, session: Option<&str>, actor: Option<&str>, time: Micros) -> Option<&str> {
        let of_session = session.and_then(|session| self.latest_prompt(&session_key(session), time));
        of_session.or_else(|| self.latest_prompt(&actor_key(actor?), time))
    }

    fn latest_prompt(&self, key: &str, time: Micros) -> Option<&str> {
        let from = (Micros(time.0.saturating_sub(PROMPT_WINDOW)), String::new());
        let until = (Micros(time.0.saturating_add(1)), String::new());
        let (_, reference) = self.prompts.get(key)?.range(from..until).next_back()?;
        Some(reference)
    }

    /// Takes over what other facts know. The order of merging does not matter.
    pub fn merge(&mut self, other: Self) {
        other.issued.into_iter().for_each(|(key, fact)| self.keep_issuance(key, fact));
        other.created.into_iter().for_each(|(key, fact)| keep_earliest(&mut self.created, key, fact));
        other.tools.into_iter().for_each(|(key, fact)| keep_earliest(&mut self.tools, key, fact));
        self.uses.merge(other.uses);
        self.forgotten = self.forgotten.max(other.forgotten);
        for (key, prompts) in other.prompts {
            let known = self.prompts.entry(key).or_default();
            prompts.into_iter().for_each(|(at, reference)| keep_earliest(known, at, reference));
        }
    }

    /// There can be very many, of few actions and actors.
    fn keep_issuance(&mut self, credential: String, mut fact: Issuance) {
        let Issuance { action, parent, actor, kind, lifetime, issued_for, .. } = &mut fact;
        let texts = [parent, actor, kind, lifetime, issued_for].into_iter().flatten();
        texts.chain([action]).for_each(|text| self.shared.share(text));
        keep_earliest(&mut self.issued, credential, fact);
    }

    /// Drops tool calls and prompts that no event at or after `watermark` can refer to, and where session keys came from
    /// that are out of use for a week: otherwise memory would grow with every one that was ever issued.
    pub fn forget_before(&mut self, watermark: Micros) {
        self.forget_ended(Micros(watermark.0.saturating_sub(SPENT)));
        let oldest = Micros(watermark.0.saturating_sub(PROMPT_WINDOW));
        self.tools.retain(|_, call| call.at >= oldest);
        self.prompts.retain(|_, prompts| {
            prompts.retain(|(at, _), _| *at >= oldest);
            !prompts.is_empty()
        });
    }

    /// What is known of session keys that are in use at that time may not be all there was to know.
    #[must_use]
    pub fn forgot_since(&self, time: Micros) -> bool {
        self.forgotten.is_some_and(|forgotten| time <= forgotten)
    }

    /// Of more session keys than are kept, drops those that ended first, of those that ended before `watermark`.
    pub fn forget_sessions(&mut self, watermark: Micros) {
        self.keep_sessions(watermark, SESSIONS, SLACK);
    }

    fn keep_sessions(&mut self, watermark: Micros, count: usize, slack: usize) {
        if self.issued.len() <= count + slack {
            return;
        }
        let mut ends: Vec<Micros> = self.issued.values().filter_map(Issuance::end).collect();
        let many = ends.len().saturating_sub(count);
        if many > slack {
            let first = *ends.select_nth_unstable(many).1;
            self.forget_ended(first.min(watermark));
        }
    }

    fn forget_ended(&mut self, before: Micros) {
        let known = self.issued.len();
        self.issued.retain(|_, issued| issued.end().is_none_or(|end| end >= before));
        if self.issued.len() < known {
            self.forgotten = self.forgotten.max(Some(before));
            self.shared.forget();
        }
    }
}

impl Issuance {
    /// When it is of no use any more, where that is ever.
    fn end(&self) -> Option<Micros> {
        let ends = self.lifetime.as_deref() == Some("ephemeral");
        ends.then(|| self.until.as_deref().and_then(Micros::parse).unwrap_or(Micros(self.at.0.saturating_add(LIFE))))
    }
}

/// Prompts as lists: a key of two parts is none in JSON.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::Prompts;

    pub(super) fn serialize<S: Serializer>(all: &BTreeMap<String, Prompts>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(all.iter().map(|(key, prompts)| (key, prompts.iter().collect::<Vec<_>>())))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, Prompts>, D::Error> {
        type Pairs = Vec<(String, Vec<((keytrail_model::Micros, String), String)>)>;
        let pairs = Pairs::deserialize(from)?;
        Ok(pairs.into_iter().map(|(key, prompts)| (key, prompts.into_iter().collect())).collect())
    }
}

fn keep_earliest<K: Ord, V: Ord>(facts: &mut BTreeMap<K, V>, key: K, fact: V) {
    match facts.entry(key) {
        Entry::Vacant(place) => {
            place.insert(fact);
        }
        Entry::Occupied(mut known) if fact < *known.get() => {
            known.insert(fact);
        }
        Entry::Occupied(_) => {}
    }
}

// The key spaces of ids and of names cannot meet: no provider's id holds a tab.
fn name_key(account: &str, name: &str) -> String {
    format!("{account}\t{name}")
}

fn session_key(session: &str) -> String {
    format!("session\t{session}")
}

fn actor_key(actor: &str) -> String {
    format!("actor\t{actor}")
}

#[cfg(test)]
mod tests;
