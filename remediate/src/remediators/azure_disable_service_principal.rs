//! Disables a service principal. An Entra client secret cannot be disabled by itself, so that the reversible lever
//! is the whole application in this tenant.

use keytrail_model::{Call, Refusal, Target, Undo};
use serde_json::{Map, Value};

use crate::refusal::{missing_field, unsupported_principal};
use crate::remediator::{Plan, Remediator};

pub struct DisableServicePrincipal;

impl Remediator for DisableServicePrincipal {
    fn name(&self) -> &'static str {
        "azure.disable_service_principal"
    }

    fn permissions(&self) -> &'static [&'static str] {
        &["Application.ReadWrite.All"]
    }

    fn plan(&self, target: &Target) -> Result<Plan, Refusal> {
        if target.actor_kind.as_deref() == Some("user") {
            return Err(unsupported_principal(
                "a user is no service principal: revoke the user's sign-in sessions instead",
            ));
        }
        let Some(id) = target.actor.as_deref().filter(|id| is_guid(id)) else {
            return Err(missing_field("actor", "it is the service principal's object id"));
        };
        let name = target.actor_name.as_deref().map(|name| format!(" ({name})")).unwrap_or_default();
        Ok(Plan {
            target: id.to_owned(),
            summary: format!("disable service principal {id}{name}"),
            calls: vec![enable(id, false)],
            undo: Undo::Calls(vec![enable(id, true)]),
            limits: vec![
                "it stops the whole application in this tenant, with all its secrets and certificates".to_owned(),
                "access tokens already issued live on for up to 90 minutes, except where continuous access \
                 evaluation is on"
                    .to_owned(),
                "other tenants in which the application is installed are not reached".to_owned(),
            ],
        })
    }
}

fn enable(id: &str, enabled: bool) -> Call {
    Call {
        service: "azure.graph".to_owned(),
        operation: "servicePrincipal.update".to_owned(),
        http: Some(format!("PATCH https://graph.microsoft.com/v1.0/servicePrincipals/{id}")),
        parameters: Map::from_iter([("accountEnabled".to_owned(), Value::Bool(enabled))]),
        permission: "Application.ReadWrite.All".to_owned(),
    }
}

/// Object and key ids of Entra: 8-4-4-4-12 hexadecimal digits.
pub fn is_guid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
