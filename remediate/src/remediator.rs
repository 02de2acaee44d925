//! What every remediator is: a name, the permissions it needs, and a pure way from a target to provider calls.

use keytrail_model::{Call, Refusal, Target, Undo};

/// The calls of one remediator for one target, before the guard has looked at them.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The one credential, principal or session that it acts on.
    pub target: String,
    /// One sentence for people, without a full stop.
    pub summary: String,
    pub calls: Vec<Call>,
    pub undo: Undo,
    /// What stays alive after it, and what else it hits.
    pub limits: Vec<String>,
}

/// One way of containing or restoring something. Pure: the same target gives the same plan.
pub trait Remediator: Sync {
    /// `provider.verb_object`, as playbooks name it.
    fn name(&self) -> &'static str;

    /// Every permission that its calls and its undo need.
    fn permissions(&self) -> &'static [&'static str];

    /// Whether it takes something from whoever holds the credential. What only restores or tells does not, and is
    /// held back by neither the protected list nor the exactness of the credential.
    fn contains(&self) -> bool {
        true
    }

    /// # Errors
    /// When a field is missing, the principal cannot be reached this way, or a look-up has to come first.
    fn plan(&self, target: &Target) -> Result<Plan, Refusal>;
}
