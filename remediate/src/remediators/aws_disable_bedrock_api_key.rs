//! Sets one Bedrock long-term API key to Inactive. CloudTrail names the user and not the key, so that the key's id
//! has to be looked up first; the access key id in such an event is another credential and is left alone.

use keytrail_model::{Call, Refusal, Target, Undo};

use crate::aws;
use crate::refusal::needs_look_up;
use crate::remediator::{Plan, Remediator};

pub struct DisableBedrockApiKey;

impl Remediator for DisableBedrockApiKey {
    fn name(&self) -> &'static str {
        "aws.disable_bedrock_api_key"
    }

    fn permissions(&self) -> &'static [&'static str] {
        &["iam:UpdateServiceSpecificCredential"]
    }

    fn plan(&self, target: &Target) -> Result<Plan, Refusal> {
        let user = aws::user(target)?;
        let Some(id) = target.credential.as_deref().filter(|id| is_service_specific(id)) else {
            return Err(needs_look_up(format!(
                "CloudTrail does not say which Bedrock API key of user {user} was used: `aws iam \
                 list-service-specific-credentials --user-name {user} --service-name bedrock.amazonaws.com` names \
                 the key, or two at most; if it names one, act on that one"
            )));
        };
        Ok(Plan {
            target: id.to_owned(),
            summary: format!("set Bedrock API key {id} of user {user}{} to Inactive", aws::in_account(target)),
            calls: vec![set_status(user, id, "Inactive")],
            undo: Undo::Calls(vec![set_status(user, id, "Active")]),
            limits: vec![
                format!("a second Bedrock API key and the access keys of user {user} go on working"),
                "short-term Bedrock keys made from a session live on until that session ends, up to 12 hours"
                    .to_owned(),
            ],
        })
    }
}

fn is_service_specific(id: &str) -> bool {
    id.starts_with("ACCA") && id.len() >= 20 && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn set_status(user: &str, id: &str, status: &str) -> Call {
    let parameters = [("UserName", user), ("ServiceSpecificCredentialId", id), ("Status", status)];
    aws::call("iam", "UpdateServiceSpecificCredential", &parameters)
}
