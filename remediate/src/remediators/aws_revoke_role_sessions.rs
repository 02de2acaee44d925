//! Denies everything to all sessions of a role issued before the cut-off, as the console's "revoke sessions" does.
//! The blast radius is the role: playbooks name it only where one session cannot be told from another.

use keytrail_model::{Refusal, Target, Undo};
use serde_json::Map;

use crate::aws;
use crate::remediator::{Plan, Remediator};

pub struct RevokeRoleSessions;

impl Remediator for RevokeRoleSessions {
    fn name(&self) -> &'static str {
        "aws.revoke_role_sessions"
    }

    fn permissions(&self) -> &'static [&'static str] {
        &["iam:PutRolePolicy", "iam:DeleteRolePolicy"]
    }

    fn plan(&self, target: &Target) -> Result<Plan, Refusal> {
        let (role, _) = aws::role(target)?;
        let at = aws::cut_off(target.time);
        // The console's own `AWSRevokeOlderSessions` is left alone: overwriting it could lift its deny, and undoing
        // ours would delete it.
        let (name, policy) = (aws::policy_name("AWSRevokeOlderSessions", at), aws::deny_issued_before(at, Map::new()));
        let put = [("RoleName", role), ("PolicyName", name.as_str()), ("PolicyDocument", policy.as_str())];
        Ok(Plan {
            target: format!("sessions of role {role}"),
            summary: format!("revoke all sessions of role {role}{} issued before {at}", aws::in_account(target)),
            calls: vec![aws::call("iam", "PutRolePolicy", &put)],
            undo: Undo::Calls(vec![aws::call("iam", "DeleteRolePolicy", &[("RoleName", role), ("PolicyName", &name)])]),
            limits: vec![
                format!(
                    "it ends every session of role {role}, also those of other workloads, until they assume it again"
                ),
                "whoever the role trusts can assume it again: close the trust policy if the caller itself is in doubt"
                    .to_owned(),
                "sessions of other roles that were assumed from it live on, up to one hour".to_owned(),
            ],
        })
    }
}
