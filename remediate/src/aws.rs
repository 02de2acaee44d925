//! What the AWS remediators share: who an ARN names, the time-bound deny policies, and query-API calls.

use keytrail_model::{Call, Micros, Refusal, Target};
use serde_json::{Map, Value, json};

use crate::refusal::{missing_field, present, unsupported_principal};

/// What to do about a root key, in full, because nothing here can do it.
const ROOT: &str = "a root key answers to no IAM policy and to no other user's call: sign in as root and delete \
     the key under `Security credentials`; in a member account of an organisation, take root's credentials away \
     from the management account by `sts assume-root` with the task policy `IAMDeleteRootUserCredentials`, and \
     until then deny `*` to the account's root by a service control policy";

pub fn call(service: &str, operation: &str, parameters: &[(&str, &str)]) -> Call {
    let pairs = parameters.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value)));
    Call {
        service: format!("aws.{service}"),
        operation: operation.to_owned(),
        http: None,
        parameters: pairs.collect(),
        permission: format!("{service}:{operation}"),
    }
}

/// The part of an ARN after the account, split at the slashes: `user`, `path`, `ci-deploy`.
fn resource(arn: &str) -> Option<Vec<&str>> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let (Some(&"arn"), Some(resource)) = (parts.first(), parts.get(5)) else { return None };
    Some(resource.split('/').collect())
}

pub fn is_root(target: &Target) -> bool {
    let by_arn = target.actor.as_deref().and_then(resource).is_some_and(|parts| parts == ["root"]);
    by_arn || target.actor_kind.as_deref() == Some("root")
}

/// The IAM user that the target's credential belongs to.
pub fn user(target: &Target) -> Result<&str, Refusal> {
    if is_root(target) {
        return Err(unsupported_principal(ROOT));
    }
    let arn = present(target.actor.as_ref(), "actor", "the user's name is taken from the ARN")?;
    match resource(arn).as_deref() {
        Some(["user", .., name]) if is_name(name) => Ok(name),
        Some(["federated-user", ..]) => Err(missing_field(
            "actor",
            "a federated session names the federated user, not the IAM user whose key made it; that is the caller of \
             `GetFederationToken`",
        )),
        _ => Err(unsupported_principal(format!("`{arn}` is no IAM user"))),
    }
}

/// The role of an assumed-role session, and the session's name where the ARN has it.
pub fn role(target: &Target) -> Result<(&str, Option<&str>), Refusal> {
    if is_root(target) {
        return Err(unsupported_principal(ROOT));
    }
    let arn = present(target.actor.as_ref(), "actor", "the role's name is taken from the ARN")?;
    let (role, session) = match resource(arn).as_deref() {
        Some(["assumed-role", role, session]) => (*role, Some(*session)),
        Some(["role", .., role]) => (*role, None),
        _ => return Err(unsupported_principal(format!("`{arn}` is no role"))),
    };
    if role.starts_with("AWSReservedSSO_") {
        return Err(unsupported_principal(format!(
            "role `{role}` belongs to IAM Identity Center and takes no inline policy: end the user's session in \
             Identity Center and remove the assignment of the permission set"
        )));
    }
    if role.starts_with("AWSServiceRoleFor") || arn.contains(":role/aws-service-role/") {
        return Err(unsupported_principal(format!(
            "role `{role}` is service-linked: only its AWS service may change it, so change that service's \
             configuration"
        )));
    }
    if !is_name(role) || session.is_some_and(|name| !is_name(name)) {
        return Err(unsupported_principal(format!("`{arn}` is no role")));
    }
    Ok((role, session))
}

/// Names as IAM allows them. They come from logs, and go into policies and commands.
fn is_name(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c))
}

/// `user ci-deploy in account 111122223333`.
pub fn in_account(target: &Target) -> String {
    target.account.as_ref().map(|account| format!(" in account {account}")).unwrap_or_default()
}

/// The first whole second after the event: whatever made the call was issued before it.
pub fn cut_off(at: Micros) -> Micros {
    Micros((at.0.div_euclid(Micros::SECOND) + 1) * Micros::SECOND)
}

/// A policy name that no other cut-off shares, so that undoing one deny never lifts another.
pub fn policy_name(stem: &str, at: Micros) -> String {
    let stamp: String = at.to_string().chars().filter(|c| !matches!(c, '-' | ':')).collect();
    format!("{stem}-keytrail-{stamp}")
}

/// Denies everything to credentials issued before the cut-off that also fulfil `more`.
pub fn deny_issued_before(at: Micros, more: Map<String, Value>) -> String {
    let mut condition = Map::new();
    condition.insert("DateLessThan".to_owned(), json!({ "aws:TokenIssueTime": at.to_string() }));
    condition.extend(more);
    json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Deny", "Action": "*", "Resource": "*", "Condition": condition }],
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor(arn: &str) -> Target {
        Target { actor: Some(arn.to_owned()), ..Target::default() }
    }

    #[test]
    fn names_come_out_of_arns() {
        assert_eq!(user(&actor("arn:aws:iam::111122223333:user/ci/ci-deploy")), Ok("ci-deploy"));
        let session = "arn:aws:sts::111122223333:assumed-role/refund-agent/task-7";
        assert_eq!(role(&actor(session)), Ok(("refund-agent", Some("task-7"))));
        assert_eq!(role(&actor("arn:aws-cn:iam::111122223333:role/x/y")), Ok(("y", None)));
    }

    #[test]
    fn others_are_refused_with_what_to_do_instead() {
        for (arn, word) in [
            ("arn:aws:iam::111122223333:root", "sign in as root"),
            ("arn:aws:sts::111122223333:federated-user/bob", "GetFederationToken"),
            ("arn:aws:iam::111122223333:user/a;b", "no IAM user"),
            ("ci-deploy", "no IAM user"),
        ] {
            let refusal = user(&actor(arn)).expect_err(arn);
            assert!(refusal.reason.contains(word), "{refusal:?}");
        }
        for (name, word) in [
            ("assumed-role/AWSReservedSSO_Admin_0123456789abcdef/maya", "Identity Center"),
            ("assumed-role/AWSServiceRoleForSupport/x", "service-linked"),
            ("role/aws-service-role/support.amazonaws.com/Renamed", "service-linked"),
        ] {
            let refusal = role(&actor(&format!("arn:aws:sts::111122223333:{name}"))).expect_err(name);
            assert_eq!(refusal.code, "unsupported_principal");
            assert!(refusal.reason.contains(word), "{refusal:?}");
        }
    }

    #[test]
    fn the_cut_off_is_after_the_event() {
        let at = Micros::parse("2026-11-03T10:00:00.250Z").expect("a time");
        assert_eq!(cut_off(at).to_string(), "2026-11-03T10:00:01Z");
        assert_eq!(
            policy_name("AWSRevokeOlderSessions", cut_off(at)),
            "AWSRevokeOlderSessions-keytrail-20261103T100001Z"
        );
    }
}
