//! What an actor's id says by itself: the role behind a session ARN, the name at its end, an e-mail address.
//!
//! Not an ARN parser; only the forms that owner and agent look-ups need.

/// `(partition, account, role name, session name)` of an `sts` assumed-role ARN.
fn assumed_role(actor: &str) -> Option<(&str, &str, &str, &str)> {
    let mut parts = actor.splitn(6, ':');
    let (_arn, partition, service) = (parts.next()?, parts.next()?, parts.next()?);
    let (_region, account, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let (role, session) = rest.strip_prefix("assumed-role/")?.split_once('/')?;
    (service == "sts").then_some((partition, account, role, session))
}

/// ARN of the role behind a session: `arn:aws:iam::111122223333:role/refund-agent`, without the role's path.
pub fn role_of(actor: &str) -> Option<String> {
    assumed_role(actor).map(|(partition, account, role, _)| format!("arn:{partition}:iam::{account}:role/{role}"))
}

/// Name of the person behind a session, where IAM Identity Center set it. Elsewhere the caller chooses it: no evidence.
pub fn identity_center_user(actor: &str) -> Option<&str> {
    assumed_role(actor).filter(|(_, _, role, _)| role.starts_with("AWSReservedSSO_")).map(|(.., session)| session)
}

/// The short name at the end of a user or role ARN.
pub fn name_of(principal: &str) -> Option<&str> {
    let (_, rest) = principal.split_once(":user/").or_else(|| principal.split_once(":role/"))?;
    rest.rsplit('/').next()
}

/// Domain of what looks like a person's e-mail address. Service accounts have addresses too, but nobody reads them.
pub fn mail_domain(text: &str) -> Option<&str> {
    let (local, domain) = text.split_once('@')?;
    let machine = domain.ends_with("gserviceaccount.com") || domain.contains('@') || local.ends_with("[bot]");
    let whole = !local.is_empty() && domain.contains('.') && !text.contains([' ', '/', '<', '>', ',', '\n', '\r']);
    (whole && !machine).then_some(domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_names_its_role_and_sometimes_its_person() {
        let session = "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Admin_ab12/maya@example.com";
        assert_eq!(role_of(session).as_deref(), Some("arn:aws:iam::111122223333:role/AWSReservedSSO_Admin_ab12"));
        assert_eq!(identity_center_user(session), Some("maya@example.com"));
        let chosen = "arn:aws:sts::111122223333:assumed-role/deploy/maya@example.com";
        assert_eq!(identity_center_user(chosen), None);
        assert_eq!(role_of("arn:aws:iam::111122223333:user/x"), None);
    }

    #[test]
    fn names_and_addresses() {
        assert_eq!(name_of("arn:aws:iam::111122223333:user/ops/ci-deploy"), Some("ci-deploy"));
        assert_eq!(name_of("octocat"), None);
        assert_eq!(mail_domain("maya@example.com"), Some("example.com"));
        for no in ["reporting@p.iam.gserviceaccount.com", "maya", "a@b", "@example.com", "x y@example.com"] {
            assert_eq!(mail_domain(no), None, "{no}");
        }
    }
}
