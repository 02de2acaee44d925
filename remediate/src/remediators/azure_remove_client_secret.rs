//! Removes one client secret from an application. Irreversible: always waits for approval.

use keytrail_model::{Call, Refusal, Target, Undo};
use serde_json::{Map, Value};

use super::azure_disable_service_principal::is_guid;
use crate::refusal::{needs_look_up, no_remediator, present};
use crate::remediator::{Plan, Remediator};

pub struct RemoveClientSecret;

impl Remediator for RemoveClientSecret {
    fn name(&self) -> &'static str {
        "azure.remove_client_secret"
    }

    fn permissions(&self) -> &'static [&'static str] {
        &["Application.ReadWrite.All"]
    }

    fn plan(&self, target: &Target) -> Result<Plan, Refusal> {
        let key = present(target.credential.as_ref(), "credential", "it is the secret's key id")?;
        if !is_guid(key) || target.kind.as_deref().is_some_and(|kind| kind != "azure_client_secret") {
            return Err(no_remediator(self.name(), "client secrets, by their key id", key));
        }
        let holder = holder(target).ok_or_else(|| look_up(target, key))?;
        Ok(Plan {
            target: key.to_owned(),
            summary: format!("remove client secret {key} from /{holder}"),
            calls: vec![remove(holder, key)],
            undo: Undo::Irreversible(format!(
                "a removed secret is gone: add a new one to /{holder} (addPassword) and give it to the workload"
            )),
            limits: vec!["access tokens already issued from the secret live on for up to 90 minutes".to_owned()],
        })
    }
}

/// The object that holds the secret, as Graph's path, once a look-up has put it among the resources. The sign-in log
/// gives the service principal, and most secrets hang on the application.
fn holder(target: &Target) -> Option<&str> {
    let is_holder = |path: &&str| {
        path.split_once('/')
            .is_some_and(|(kind, id)| matches!(kind, "applications" | "servicePrincipals") && is_guid(id))
    };
    let mut found = target.resources.iter().map(|path| path.trim_start_matches('/')).filter(is_holder);
    found.next().filter(|_| found.next().is_none())
}

fn look_up(target: &Target, key: &str) -> Refusal {
    let actor = target.actor.as_deref().filter(|id| is_guid(id));
    needs_look_up(format!(
        "the log does not say which object holds secret `{key}`: `GET /v1.0/servicePrincipals/{}` gives its appId \
         and its own secrets, and `GET /v1.0/applications(appId='…')` those of the application",
        actor.unwrap_or("{id}")
    ))
}

fn remove(holder: &str, key: &str) -> Call {
    let kind = if holder.starts_with("applications") { "application" } else { "servicePrincipal" };
    Call {
        service: "azure.graph".to_owned(),
        operation: format!("{kind}.removePassword"),
        http: Some(format!("POST https://graph.microsoft.com/v1.0/{holder}/removePassword")),
        parameters: Map::from_iter([("keyId".to_owned(), Value::from(key))]),
        permission: "Application.ReadWrite.All".to_owned(),
    }
}
