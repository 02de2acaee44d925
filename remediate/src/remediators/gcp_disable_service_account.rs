//! Disables a whole service account: all keys and all tokens of it, also those already issued. Reversible.

use keytrail_model::{Call, Refusal, Target, Undo};

use crate::gcp;
use crate::remediator::{Plan, Remediator};

pub struct DisableServiceAccount;

impl Remediator for DisableServiceAccount {
    fn name(&self) -> &'static str {
        "gcp.disable_service_account"
    }

    fn permissions(&self) -> &'static [&'static str] {
        &["iam.serviceAccounts.disable", "iam.serviceAccounts.enable"]
    }

    fn plan(&self, target: &Target) -> Result<Plan, Refusal> {
        let name = gcp::service_account(target, self.name())?;
        Ok(Plan {
            summary: format!("disable service account {}", name.rsplit('/').next().unwrap_or(&name)),
            calls: vec![switch("disable", &name)],
            undo: Undo::Calls(vec![switch("enable", &name)]),
            limits: vec![
                "every workload that runs as the account stops, also those that use no key".to_owned(),
                "enabling it again makes tokens issued before valid again: disable the key as well".to_owned(),
            ],
            target: name,
        })
    }
}

fn switch(verb: &str, name: &str) -> Call {
    let operation = format!("iam.projects.serviceAccounts.{verb}");
    gcp::call(&operation, name, &format!("iam.serviceAccounts.{verb}"))
}
