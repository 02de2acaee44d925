//! Removes one deploy key from its repository. Irreversible: the same public key can be added again, under a new id.

use keytrail_model::{Refusal, Target, Undo};

use crate::github;
use crate::refusal::{needs_look_up, present};
use crate::remediator::{Plan, Remediator};

const PERMISSION: &str = "administration:write";

pub struct RemoveDeployKey;

impl Remediator for RemoveDeployKey {
    fn name(&self) -> &'static str {
        "github.remove_deploy_key"
    }

    fn permissions(&self) -> &'static [&'static str] {
        &[PERMISSION]
    }

    fn plan(&self, target: &Target) -> Result<Plan, Refusal> {
        let key = present(target.credential.as_ref(), "credential", "it is the deploy key's id")?;
        let repository = github::repository(target)?;
        if !github::is_number(key) {
            return Err(needs_look_up(format!(
                "the log gives a fingerprint or hash of the deploy key and no id: `GET /repos/{repository}/keys` \
                 lists the ids with their public keys"
            )));
        }
        let http = format!("DELETE https://api.github.com/repos/{repository}/keys/{key}");
        Ok(Plan {
            target: key.to_owned(),
            summary: format!("remove deploy key {key} from repository {repository}"),
            calls: vec![github::call("repos/delete-deploy-key", http, &[], PERMISSION)],
            undo: Undo::Irreversible(format!(
                "note the public key and its read_only flag first (`GET /repos/{repository}/keys/{key}`): it can \
                 be added again, under a new id"
            )),
            limits: vec!["clones already made and connections already open live on".to_owned()],
        })
    }
}
