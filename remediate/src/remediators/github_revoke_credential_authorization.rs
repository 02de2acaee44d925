//! Takes the single sign-on authorisation of a classic token or SSH key for one organisation away. Irreversible for
//! this very credential; the log's id has to be matched with the API's first.

use keytrail_model::{Refusal, Target, Undo};

use crate::github;
use crate::refusal::{needs_look_up, present};
use crate::remediator::{Plan, Remediator};

const PERMISSION: &str = "admin:org";

pub struct RevokeCredentialAuthorization;

impl Remediator for RevokeCredentialAuthorization {
    fn name(&self) -> &'static str {
        "github.revoke_credential_authorization"
    }

    fn permissions(&self) -> &'static [&'static str] {
        &[PERMISSION]
    }

    fn plan(&self, target: &Target) -> Result<Plan, Refusal> {
        let org = github::organisation(target)?;
        let credential = present(target.credential.as_ref(), "credential", "it is the token's id or hash")?;
        let Some(id) = github::resolved_number(target, &format!("orgs/{org}/credential-authorizations/")) else {
            return Err(look_up(org, target));
        };
        let http = format!("DELETE https://api.github.com/orgs/{org}/credential-authorizations/{id}");
        Ok(Plan {
            target: credential.to_owned(),
            summary: format!("remove credential authorization {id} of {credential} from organisation {org}"),
            calls: vec![github::call("orgs/remove-saml-sso-authorization", http, &[], PERMISSION)],
            undo: Undo::Irreversible(format!("the owner makes a new, fine-grained token and authorises it for {org}")),
            limits: vec![
                format!("it reaches organisation {org} and those behind its single sign-on, nothing else"),
                "it needs SAML single sign-on on Enterprise Cloud; without it, no call stops one classic token"
                    .to_owned(),
            ],
        })
    }
}

fn look_up(org: &str, target: &Target) -> Refusal {
    let login = target.actor.as_deref().unwrap_or("{login}");
    needs_look_up(format!(
        "the log does not give the authorisation's id: `GET /orgs/{org}/credential-authorizations?login={login}` \
         lists those of the user, match `authorized_credential_id` or the token's last eight characters with the \
         owner, then `DELETE /orgs/{org}/credential-authorizations/{{credential_id}}`; without single sign-on no \
         call stops one classic token: ask the owner to delete it"
    ))
}
