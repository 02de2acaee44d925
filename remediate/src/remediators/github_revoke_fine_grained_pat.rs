//! Takes a fine-grained personal access token's access to one organisation away. The audit log gives the token's
//! id, the API wants the grant's, so that a look-up comes first.

use keytrail_model::{Refusal, Target, Undo};

use crate::github;
use crate::refusal::{needs_look_up, present};
use crate::remediator::{Plan, Remediator};

const PERMISSION: &str = "organization_personal_access_tokens:write";

pub struct RevokeFineGrainedPat;

impl Remediator for RevokeFineGrainedPat {
    fn name(&self) -> &'static str {
        "github.revoke_fine_grained_pat"
    }

    fn permissions(&self) -> &'static [&'static str] {
        &[PERMISSION]
    }

    fn plan(&self, target: &Target) -> Result<Plan, Refusal> {
        let org = github::organisation(target)?;
        let token = present(target.credential.as_ref(), "credential", "it is the token's id")?;
        let Some(grant) = github::resolved_number(target, &format!("orgs/{org}/personal-access-tokens/")) else {
            return Err(look_up(org, token));
        };
        let http = format!("POST https://api.github.com/orgs/{org}/personal-access-tokens/{grant}");
        Ok(Plan {
            target: token.to_owned(),
            summary: format!("revoke the access of fine-grained token {token} (grant {grant}) to organisation {org}"),
            calls: vec![github::call("orgs/update-pat-access", http, &[("action", "revoke")], PERMISSION)],
            undo: Undo::Irreversible(format!(
                "the token's owner asks for access to {org} again, and an owner approves it"
            )),
            limits: vec![
                format!("the token itself lives: it loses organisation {org} and keeps its owner's other resources"),
                "SSH keys that were added with it keep working".to_owned(),
                "only a GitHub App may make this call".to_owned(),
            ],
        })
    }
}

fn look_up(org: &str, token: &str) -> Refusal {
    if github::is_number(token) {
        return needs_look_up(format!(
            "the log gives token id {token}, the call wants the grant's id: `GET /orgs/{org}/personal-access-tokens?\
             token_id[]={token}` (as a GitHub App) gives it, then `POST \
             /orgs/{org}/personal-access-tokens/{{pat_id}}` with action `revoke`"
        ));
    }
    needs_look_up(format!(
        "the log gives a hash of the token and no id: the token's other events in organisation {org} carry \
         `token_id`, by which `GET /orgs/{org}/personal-access-tokens` finds the grant"
    ))
}
