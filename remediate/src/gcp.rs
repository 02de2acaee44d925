//! What the GCP remediators share: service account and key names as the audit log writes them, and REST calls.

use keytrail_model::{Call, Refusal, Target};
use serde_json::Map;

use crate::refusal::{missing_field, no_remediator, present};

/// `projects/P/serviceAccounts/SA/keys/K`, or the account's part of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Key<'a> {
    pub project: &'a str,
    pub account: &'a str,
    pub id: &'a str,
}

impl Key<'_> {
    pub fn account_name(&self) -> String {
        format!("projects/{}/serviceAccounts/{}", self.project, self.account)
    }

    pub fn name(&self) -> String {
        format!("{}/keys/{}", self.account_name(), self.id)
    }
}

pub fn key<'a>(target: &'a Target, remediator: &str) -> Result<Key<'a>, Refusal> {
    let text = present(target.credential.as_ref(), "credential", "it is the key's full name")?;
    let name = text.strip_prefix("//iam.googleapis.com/").unwrap_or(text);
    let parts: Vec<&str> = name.split('/').collect();
    match parts.as_slice() {
        ["projects", project, "serviceAccounts", account, "keys", id]
            if [project, account, id].iter().all(|part| is_segment(part)) =>
        {
            Ok(Key { project, account, id })
        }
        _ => Err(no_remediator(remediator, "service account keys (`projects/…/serviceAccounts/…/keys/…`)", text)),
    }
}

/// Resource name of the service account that made the call.
pub fn service_account(target: &Target, remediator: &str) -> Result<String, Refusal> {
    if let Ok(key) = key(target, remediator) {
        return Ok(key.account_name());
    }
    let actor = present(target.actor.as_ref(), "actor", "it is the service account's e-mail")?;
    let email = actor.strip_prefix("serviceAccount:").unwrap_or(actor);
    let Some((_, domain)) = email.split_once('@').filter(|_| is_segment(email)) else {
        return Err(missing_field("actor", "no service account e-mail"));
    };
    let Some(project) = domain.strip_suffix(".iam.gserviceaccount.com") else {
        return Err(no_remediator(
            remediator,
            "service accounts of a project (`…@PROJECT.iam.gserviceaccount.com`)",
            email,
        ));
    };
    Ok(format!("projects/{project}/serviceAccounts/{email}"))
}

fn is_segment(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.@:-".contains(c))
}

/// `POST` to a custom verb of a resource; the request body of all of them is empty.
pub fn call(operation: &str, name: &str, permission: &str) -> Call {
    let verb = operation.rsplit('.').next().unwrap_or_default();
    Call {
        service: "gcp.iam".to_owned(),
        operation: operation.to_owned(),
        http: Some(format!("POST https://iam.googleapis.com/v1/{name}:{verb}")),
        parameters: Map::new(),
        permission: permission.to_owned(),
    }
}
