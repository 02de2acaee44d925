//! Disables one service account key. Reversible; access tokens already issued from it live on for up to an hour.

use keytrail_model::{Call, Refusal, Target, Undo};

use crate::gcp;
use crate::remediator::{Plan, Remediator};

pub struct DisableServiceAccountKey;

impl Remediator for DisableServiceAccountKey {
    fn name(&self) -> &'static str {
        "gcp.disable_service_account_key"
    }

    fn permissions(&self) -> &'static [&'static str] {
        &["iam.serviceAccountKeys.disable", "iam.serviceAccountKeys.enable"]
    }

    fn plan(&self, target: &Target) -> Result<Plan, Refusal> {
        let key = gcp::key(target, self.name())?;
        Ok(Plan {
            target: key.name(),
            summary: format!("disable key {} of service account {}", key.id, key.account),
            calls: vec![switch("disable", &key.name())],
            undo: Undo::Calls(vec![switch("enable", &key.name())]),
            limits: vec![
                "access tokens already issued from the key live on for up to an hour: gcp.disable_service_account \
                 rejects them, and stops every other user of the account"
                    .to_owned(),
                "a key that Google itself disabled as exposed must not be enabled again".to_owned(),
            ],
        })
    }
}

fn switch(verb: &str, name: &str) -> Call {
    let operation = format!("iam.projects.serviceAccounts.keys.{verb}");
    gcp::call(&operation, name, &format!("iam.serviceAccountKeys.{verb}"))
}
