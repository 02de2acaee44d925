//! Denies everything to one named session of a role. Other sessions of the role go on. Reversible.

use keytrail_model::{Refusal, Target, Undo};
use serde_json::{Map, json};

use crate::aws;
use crate::refusal::missing_field;
use crate::remediator::{Plan, Remediator};

pub struct DenyOneSession;

impl Remediator for DenyOneSession {
    fn name(&self) -> &'static str {
        "aws.deny_one_session"
    }

    fn permissions(&self) -> &'static [&'static str] {
        &["iam:PutRolePolicy", "iam:DeleteRolePolicy"]
    }

    fn plan(&self, target: &Target) -> Result<Plan, Refusal> {
        let (role, session) = aws::role(target)?;
        let Some(session) = session else {
            return Err(missing_field(
                "session",
                "the actor names the role and not which of its sessions made the call",
            ));
        };
        let at = aws::cut_off(target.time);
        // `aws:userid` is `<role id>:<session name>`; in this role's own policy the role id can only be this role's.
        let mut this_session = Map::new();
        this_session.insert("StringLike".to_owned(), json!({ "aws:userid": format!("*:{session}") }));
        let policy = aws::deny_issued_before(at, this_session);
        let name = aws::policy_name(&format!("DenySession-{session}"), at);
        let put = [("RoleName", role), ("PolicyName", name.as_str()), ("PolicyDocument", policy.as_str())];
        Ok(Plan {
            target: format!("session {session} of role {role}"),
            summary: format!("deny everything to session {session} of role {role}{}", aws::in_account(target)),
            calls: vec![aws::call("iam", "PutRolePolicy", &put)],
            undo: Undo::Calls(vec![aws::call("iam", "DeleteRolePolicy", &[("RoleName", role), ("PolicyName", &name)])]),
            limits: vec![
                format!(
                    "it reaches sessions named {session} issued before {at}: the caller chose that name, and a new \
                         session, or one of another name, is free"
                ),
                "sessions of other roles that were assumed from it live on, up to one hour".to_owned(),
            ],
        })
    }
}
