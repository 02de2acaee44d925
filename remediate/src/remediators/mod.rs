//! The list of remediators, one file each. To add one: a file, and two lines here.

mod aws_deny_one_session;
mod aws_deny_sessions_issued_before;
mod aws_disable_access_key;
mod aws_disable_bedrock_api_key;
mod aws_disable_parent_access_key;
mod aws_revoke_role_sessions;
mod aws_start_logging;
mod azure_disable_service_principal;
mod azure_remove_client_secret;
mod gcp_disable_service_account;
mod gcp_disable_service_account_key;
mod github_remove_deploy_key;
mod github_revoke_credential_authorization;
mod github_revoke_fine_grained_pat;
mod github_suspend_installation;
mod owner_notify;

use crate::remediator::Remediator;

pub const REMEDIATORS: &[&dyn Remediator] = &[
    &aws_deny_one_session::DenyOneSession,
    &aws_deny_sessions_issued_before::DenySessionsIssuedBefore,
    &aws_disable_access_key::DisableAccessKey,
    &aws_disable_bedrock_api_key::DisableBedrockApiKey,
    &aws_disable_parent_access_key::DisableParentAccessKey,
    &aws_revoke_role_sessions::RevokeRoleSessions,
    &aws_start_logging::StartLogging,
    &azure_disable_service_principal::DisableServicePrincipal,
    &azure_remove_client_secret::RemoveClientSecret,
    &gcp_disable_service_account::DisableServiceAccount,
    &gcp_disable_service_account_key::DisableServiceAccountKey,
    &github_remove_deploy_key::RemoveDeployKey,
    &github_revoke_credential_authorization::RevokeCredentialAuthorization,
    &github_revoke_fine_grained_pat::RevokeFineGrainedPat,
    &github_suspend_installation::SuspendInstallation,
    &owner_notify::Notify,
];

pub fn find(name: &str) -> Option<&'static dyn Remediator> {
    REMEDIATORS.iter().copied().find(|remediator| remediator.name() == name)
}

pub fn names() -> impl Iterator<Item = &'static str> {
    REMEDIATORS.iter().map(|remediator| remediator.name())
}

#[cfg(test)]
pub mod contract;
