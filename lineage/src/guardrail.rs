//! Guardrails: Cedar policies over who used what for what. Cedar decides; lineage says who and what.
//!
//! Reading and validating is in `guardrail/load.rs`, asking Cedar in `guardrail/request.rs`.

mod load;
mod request;

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{Authorizer, PolicySet, Schema};
use keytrail_model::{FileError, Severity};

use crate::memo::Memo;

pub use request::{GuardrailRequest, Point, Tagged};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Permit,
    Forbid,
}

/// One policy, as people speak of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guardrail {
    pub id: String,
    pub title: Option<String>,
    pub severity: Option<Severity>,
    pub effect: Effect,
    pub file: String,
    pub line: u64,
    pub text: String,
}

/// Which guardrails a request breaks. Both lists are sorted and without repeats.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    pub broken: Vec<String>,
    /// `error:<policy>`: Cedar skips a policy that fails at run time, and that must not pass in silence.
    pub errors: Vec<String>,
}

/// The loaded policies, ready to decide. Decisions are remembered by the whole request.
#[derive(Clone, Debug)]
pub struct Guardrails {
    policies: PolicySet,
    schema: Schema,
    authorizer: Authorizer,
    guardrails: BTreeMap<String, Guardrail>,
    /// Resources that a policy names one by one; all others are told apart by their tags only.
    named: BTreeSet<String>,
    /// Whether any policy reads `context.ip`: if not, addresses need not tell requests apart.
    reads_ip: bool,
    decided: Memo<Decision>,
}

impl Guardrails {
    /// Reads, checks and validates policy files, given as (file name, text). Without any policy nothing is ever broken.
    ///
    /// # Errors
    /// Everything that is wrong with them, in file and line order.
    pub fn load(policies: &[(String, String)]) -> Result<Self, Vec<FileError>> {
        load::load(policies)
    }

    /// The guardrails by id.
    pub fn iter(&self) -> impl Iterator<Item = &Guardrail> {
        self.guardrails.values()
    }

    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Guardrail> {
        self.guardrails.get(id)
    }

    /// What the request breaks, from memory where it was asked before.
    pub fn decide(&mut self, request: &GuardrailRequest<'_>) -> Decision {
        let key = self.key(request);
        if let Some(decision) = self.decided.get(&key) {
            return decision;
        }
        let decision = self.evaluate(request);
        self.decided.put(key, decision)
    }

    /// What the request breaks, asked of Cedar for each of its resources.
    #[must_use]
    pub fn evaluate(&self, request: &GuardrailRequest<'_>) -> Decision {
        if self.guardrails.is_empty() {
            return Decision::default();
        }
        let (mut broken, mut errors) = (BTreeSet::new(), BTreeSet::new());
        for resource in self.distinct(request.resources) {
            match self.ask(request, &resource) {
                Ok(answer) => {
                    broken.extend(answer.broken);
                    errors.extend(answer.errors);
                }
                Err(_) => {
                    errors.insert("error:request".to_owned());
                }
            }
        }
        Decision { broken: broken.into_iter().collect(), errors: errors.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests;
