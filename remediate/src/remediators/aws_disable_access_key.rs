//! Sets one long-term access key to Inactive. Reversible; does not reach the sessions minted from the key.

use keytrail_model::{Call, Refusal, Target, Undo};

use crate::aws;
use crate::refusal::{no_remediator, present};
use crate::remediator::{Plan, Remediator};

pub struct DisableAccessKey;

impl Remediator for DisableAccessKey {
    fn name(&self) -> &'static str {
        "aws.disable_access_key"
    }

    fn permissions(&self) -> &'static [&'static str] {
        &["iam:UpdateAccessKey"]
    }

    fn plan(&self, target: &Target) -> Result<Plan, Refusal> {
        let user = aws::user(target)?;
        let key = present(target.credential.as_ref(), "credential", "it is the access key's id")?;
        if !is_long_term(key) {
            return Err(no_remediator(self.name(), "long-term keys (`AKIA…`)", key));
        }
        Ok(disable(target, user, key))
    }
}

pub fn is_long_term(key: &str) -> bool {
    key.starts_with("AKIA") && key.len() >= 16 && key.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

pub fn disable(target: &Target, user: &str, key: &str) -> Plan {
    Plan {
        target: key.to_owned(),
        summary: format!("set access key {key} of user {user}{} to Inactive", aws::in_account(target)),
        calls: vec![set_status(user, key, "Inactive")],
        undo: Undo::Calls(vec![set_status(user, key, "Active")]),
        limits: vec![
            "temporary credentials that the key minted with GetSessionToken or GetFederationToken live on, up to \
             36 hours: aws.deny_sessions_issued_before ends them"
                .to_owned(),
            "sessions of roles that it assumed live on until they expire, up to 12 hours".to_owned(),
            "IAM is eventually consistent: some calls may still succeed for a few minutes".to_owned(),
        ],
    }
}

/// `UserName` is always given: without it, IAM would act on the caller's own key.
fn set_status(user: &str, key: &str, status: &str) -> Call {
    aws::call("iam", "UpdateAccessKey", &[("UserName", user), ("AccessKeyId", key), ("Status", status)])
}
