//! Suspends a GitHub App's installation in one organisation. Reversible; every token of the installation stops.

use keytrail_model::{Call, Refusal, Target, Undo};

use crate::github;
use crate::refusal::{needs_look_up, present};
use crate::remediator::{Plan, Remediator};

const PERMISSION: &str = "app:jwt";

pub struct SuspendInstallation;

impl Remediator for SuspendInstallation {
    fn name(&self) -> &'static str {
        "github.suspend_installation"
    }

    fn permissions(&self) -> &'static [&'static str] {
        &[PERMISSION]
    }

    fn plan(&self, target: &Target) -> Result<Plan, Refusal> {
        let app = present(target.actor.as_ref(), "actor", "it is the app's name")?;
        let Some(id) = github::resolved_number(target, "app/installations/") else {
            let org = target.account.as_deref().unwrap_or("{org}");
            return Err(needs_look_up(format!(
                "the log names app `{app}` and not its installation: `GET /orgs/{org}/installations` gives the \
                 installation's id by `app_slug`, then `PUT /app/installations/{{installation_id}}/suspended` \
                 with the app's own JWT; an organisation owner does the same under Settings, GitHub Apps"
            )));
        };
        Ok(Plan {
            target: format!("installation {id}"),
            summary: format!("suspend installation {id} of app {app}"),
            calls: vec![suspended("PUT", "apps/suspend-installation", id)],
            undo: Undo::Calls(vec![suspended("DELETE", "apps/unsuspend-installation", id)]),
            limits: vec![
                "every token of the installation stops, for all repositories that it covers".to_owned(),
                "only the app's own JWT may make this call: for someone else's app, an organisation owner \
                 suspends it under Settings, GitHub Apps"
                    .to_owned(),
                "the app's user tokens (`ghu_`) act for users, not for the installation: revoke those \
                 apart"
                    .to_owned(),
            ],
        })
    }
}

fn suspended(method: &str, operation: &str, id: &str) -> Call {
    let http = format!("{method} https://api.github.com/app/installations/{id}/suspended");
    github::call(operation, http, &[], PERMISSION)
}
