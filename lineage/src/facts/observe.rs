//! Reading facts out of the columns of an event batch. What counts as a fact is decided here, row by row.

use keytrail_model::{EventBatch, Text};

use super::{Creation, Facts, Issuance, ToolCall, actor_key, keep_earliest, name_key, session_key};
use crate::arn;

/// Log source whose events are prompts.
const PROMPT_SOURCE: &str = "aws.bedrock.invocation";
/// Last word of the actions that create a principal, in lower case.
const CREATES_PRINCIPAL: [&str; 7] = [
    "createuser",
    "createrole",
    "createserviceaccount",
    "createapplication",
    "createserviceprincipal",
    "add application",
    "add service principal",
];

impl Facts {
    /// Learns from every event of a batch. Only an allowed event issued or created anything; what a tool led to, and
    /// which prompt went before, is known of denied ones as well.
    pub fn observe(&mut self, batch: &EventBatch) {
        for row in 0..batch.rows() {
            if batch.text("outcome", row) == Some("allowed") {
                self.observe_issuance(batch, row);
                self.observe_creation(batch, row);
            }
            self.observe_tool_call(batch, row);
            self.observe_prompt(batch, row);
        }
    }

    fn observe_issuance(&mut self, batch: &EventBatch, row: usize) {
        let told = |column: &str| told(batch, column, row);
        let Some(child) = told("issued_credential") else { return };
        let shared = |column: &str| told(column).map(Text::from);
        let issuance = Issuance {
            at: batch.time(row),
            event_id: told("event_id").unwrap_or_default().into(),
            action: shared("action").unwrap_or_default(),
            parent: shared("credential").filter(|parent| parent.as_str() != child),
            actor: shared("actor"),
            kind: shared("issued_kind"),
            lifetime: shared("issued_lifetime"),
            until: told("issued_until").map(Into::into),
            issued_for: shared("issued_for"),
        };
        self.keep_issuance(child.to_owned(), issuance);
    }

    fn observe_creation(&mut self, batch: &EventBatch, row: usize) {
        let Some(action) = batch.text("action", row).filter(|action| creates_principal(action)) else { return };
        let Some(actor) = text(batch, "actor", row) else { return };
        let event_id = text(batch, "event_id", row).unwrap_or_default();
        let creation = Creation { at: batch.time(row), event_id, action: action.to_owned(), actor };
        for key in created_keys(batch, row) {
            keep_earliest(&mut self.created, key, creation.clone());
        }
    }

    fn observe_tool_call(&mut self, batch: &EventBatch, row: usize) {
        let downstream = batch.texts("downstream_ids", row);
        if downstream.is_empty() {
            return;
        }
        let call = ToolCall {
            at: batch.time(row),
            event_id: text(batch, "event_id", row).unwrap_or_default(),
            tool: text(batch, "tool", row),
            agent_evidence: text(batch, "agent_evidence", row),
            actor: text(batch, "actor", row),
            credential: text(batch, "credential", row),
            user_agent: text(batch, "user_agent", row),
        };
        for request in downstream {
            keep_earliest(&mut self.tools, request, call.clone());
        }
    }

    fn observe_prompt(&mut self, batch: &EventBatch, row: usize) {
        if batch.source.as_ref() != PROMPT_SOURCE {
            return;
        }
        let Some(reference) = text(batch, "prompt_ref", row) else { return };
        let at = (batch.time(row), text(batch, "event_id", row).unwrap_or_default());
        let session = batch.text("session", row).map(session_key);
        let actor = batch.text("actor", row).map(actor_key);
        for key in session.into_iter().chain(actor) {
            keep_earliest(self.prompts.entry(key).or_default(), at.clone(), reference.clone());
        }
    }
}

fn told<'a>(batch: &'a EventBatch, column: &str, row: usize) -> Option<&'a str> {
    batch.text(column, row).filter(|text| !text.is_empty())
}

fn text(batch: &EventBatch, column: &str, row: usize) -> Option<String> {
    told(batch, column, row).map(str::to_owned)
}

fn creates_principal(action: &str) -> bool {
    let last = action.rsplit([':', '.', '/']).next().unwrap_or_default();
    CREATES_PRINCIPAL.iter().any(|known| last.eq_ignore_ascii_case(known))
}

/// Under which keys a created principal is found again: its ids, and its short names within the account.
fn created_keys(batch: &EventBatch, row: usize) -> Vec<String> {
    let resources = batch.texts("resources", row);
    let named = batch.text("issued_for", row).into_iter();
    let names = named.chain(resources.iter().filter_map(|resource| arn::name_of(resource)));
    let account = batch.text("account", row);
    let mut keys: Vec<String> =
        account.map(|account| names.map(|name| name_key(account, name)).collect()).unwrap_or_default();
    keys.extend(resources.iter().filter(|resource| !resource.is_empty()).cloned());
    keys
}
