//! Sets the long-term key that a user's session was minted from to Inactive, where the logs show which key it was.

use keytrail_model::{Refusal, Target};

use super::aws_disable_access_key::{disable, is_long_term};
use crate::aws;
use crate::refusal::{needs_look_up, no_remediator};
use crate::remediator::{Plan, Remediator};

pub struct DisableParentAccessKey;

impl Remediator for DisableParentAccessKey {
    fn name(&self) -> &'static str {
        "aws.disable_parent_access_key"
    }

    fn permissions(&self) -> &'static [&'static str] {
        &["iam:UpdateAccessKey"]
    }

    fn plan(&self, target: &Target) -> Result<Plan, Refusal> {
        let user = aws::user(target)?;
        let Some(parent) = target.parent.as_deref().filter(|parent| !parent.is_empty()) else {
            return Err(needs_look_up(format!(
                "the logs read do not show which key minted the session: find the GetSessionToken call of user \
                 {user} whose answer names `{}`, and act on the key that signed it",
                target.credential.as_deref().unwrap_or("the session's key")
            )));
        };
        if !is_long_term(parent) {
            return Err(no_remediator(self.name(), "sessions minted from a long-term key (`AKIA…`)", parent));
        }
        Ok(disable(target, user, parent))
    }
}
