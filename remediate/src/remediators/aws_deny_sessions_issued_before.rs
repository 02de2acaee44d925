//! Denies everything to a user's temporary credentials issued before the cut-off. Long-term keys carry no issue
//! time and are not touched. Reversible.

use keytrail_model::{Refusal, Target, Undo};
use serde_json::Map;

use crate::aws;
use crate::remediator::{Plan, Remediator};

pub struct DenySessionsIssuedBefore;

impl Remediator for DenySessionsIssuedBefore {
    fn name(&self) -> &'static str {
        "aws.deny_sessions_issued_before"
    }

    fn permissions(&self) -> &'static [&'static str] {
        &["iam:PutUserPolicy", "iam:DeleteUserPolicy"]
    }

    fn plan(&self, target: &Target) -> Result<Plan, Refusal> {
        let user = aws::user(target)?;
        let at = aws::cut_off(target.time);
        let (name, policy) = (aws::policy_name("DenyOlderSessions", at), aws::deny_issued_before(at, Map::new()));
        let put = [("UserName", user), ("PolicyName", name.as_str()), ("PolicyDocument", policy.as_str())];
        Ok(Plan {
            target: format!("sessions of user {user}"),
            summary: format!(
                "deny everything to sessions of user {user}{} issued before {at}",
                aws::in_account(target)
            ),
            calls: vec![aws::call("iam", "PutUserPolicy", &put)],
            undo: Undo::Calls(vec![aws::call("iam", "DeleteUserPolicy", &[("UserName", user), ("PolicyName", &name)])]),
            limits: vec![
                format!(
                    "it ends every session of user {user} issued before {at}, also console sessions and honest ones"
                ),
                "a key that is still active can mint new sessions: disable the key first".to_owned(),
                "sessions of roles that the user assumed live on until they expire, up to 12 hours".to_owned(),
                "keep it for 36 hours, the longest life of such a session; a user's inline policies hold 2,048 \
                 characters in all"
                    .to_owned(),
            ],
        })
    }
}
