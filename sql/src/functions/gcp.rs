//! GCP names and answers: methods, service-account keys, denials and the impersonation chain of an audit log entry.

use std::borrow::Cow;

use serde_json::Value;

use super::{
    json::{document, plain, reached},
    text_function::{Call, Function, Row, is_true, text},
};

pub const FUNCTIONS: &[Function] = &[
    Function {
        name: "gcp_service",
        arguments: &["serviceName"],
        doc: "the short service name: iam, storage, bigquery",
        call: Call::Text(|row| Some(Cow::Borrowed(service(text(row, 0)?)))),
    },
    Function {
        name: "gcp_action",
        arguments: &["serviceName", "methodName"],
        doc: "service and short method: iam:CreateServiceAccountKey from google.iam.admin.v1.CreateServiceAccountKey, \
              storage:objects.get from storage.objects.get, compute:networks.insert from v1.compute.networks.insert",
        call: Call::Text(action),
    },
    Function {
        name: "gcp_outcome",
        arguments: &["status.code", "authorizationInfo?", "policyViolationInfo?"],
        doc: "allowed, denied or error. Denied is status 7, an organisation policy violation, or a successful status with \
              permissions of which none was granted; `granted` false is left out of the JSON, so absent means refused",
        call: Call::Text(|row| Some(Cow::Borrowed(outcome(row)))),
    },
    Function {
        name: "gcp_key",
        arguments: &["serviceAccountKeyName"],
        doc: "a service-account key as the IAM API names it, with `-` for the project, so that its creation and its use \
              give the same text: projects/-/serviceAccounts/SA/keys/KEY",
        call: Call::Text(|row| key(text(row, 0)?).map(Cow::Owned)),
    },
    Function {
        name: "gcp_key_account",
        arguments: &["serviceAccountKeyName"],
        doc: "the service account that a key belongs to",
        call: Call::Text(|row| key_parts(text(row, 0)?).map(|(account, _)| Cow::Borrowed(account))),
    },
    Function {
        name: "gcp_delegator",
        arguments: &["serviceAccountDelegationInfo"],
        doc: "who stands at the root of an impersonation chain",
        call: Call::Text(|row| delegator(text(row, 0)?).map(Cow::Owned)),
    },
    Function {
        name: "gcp_project",
        arguments: &["name"],
        doc: "the project, folder or organisation in a resource or log name",
        call: Call::Text(|row| container(text(row, 0)?).map(Cow::Borrowed)),
    },
    Function {
        name: "gcp_actor_kind",
        arguments: &["principalEmail", "principalSubject?", "authoritySelector?"],
        doc: "user, service_account, federated_user (workforce and workload identities) or anonymous",
        call: Call::Text(|row| actor_kind(row).map(Cow::Borrowed)),
    },
];

fn service(name: &str) -> &str {
    let short = name.strip_suffix(".googleapis.com").unwrap_or(name);
    if short == "k8s.io" { "k8s" } else { short }
}

fn action<'a>(row: Row<'_, 'a>) -> Option<Cow<'a, str>> {
    let method = text(row, 1)?;
    let Some(service) = text(row, 0).map(service) else { return Some(Cow::Borrowed(method)) };
    Some(Cow::Owned(format!("{service}:{}", short_method(service, method))))
}

fn short_method<'a>(service: &str, method: &'a str) -> &'a str {
    let last = method.rsplit('.').next().unwrap_or(method);
    if method.starts_with("google.") && last.starts_with(|c: char| c.is_ascii_uppercase()) {
        return last;
    }
    let method = method.strip_prefix("google.").or(method.strip_prefix("io.k8s.")).unwrap_or(method);
    let unversioned = match method.split_once('.') {
        Some((first, rest)) if is_version(first) => rest,
        _ => method,
    };
    unversioned.strip_prefix(service).and_then(|rest| rest.strip_prefix('.')).unwrap_or(unversioned)
}

fn is_version(part: &str) -> bool {
    matches!(part, "alpha" | "beta" | "ga")
        || part.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

const PERMISSION_DENIED: &str = "7";

fn outcome(row: Row<'_, '_>) -> &'static str {
    match text(row, 0) {
        Some(PERMISSION_DENIED) => "denied",
        _ if text(row, 2).is_some_and(|violation| violation != "{}") => "denied",
        Some(code) if code != "0" => "error",
        _ if text(row, 1).is_some_and(none_granted) => "denied",
        _ => "allowed",
    }
}

fn none_granted(authorization: &str) -> bool {
    let Some(Value::Array(checks)) = document(authorization) else { return false };
    let asked: Vec<_> = checks.iter().filter(|check| check.get("permission").is_some()).collect();
    let granted = |check: &Value| check.get("granted").and_then(plain);
    !asked.is_empty() && !asked.iter().any(|check| is_true(granted(check).as_deref()))
}

fn key_parts(name: &str) -> Option<(&str, &str)> {
    let (_, after) = name.split_once("/serviceAccounts/")?;
    let (account, key) = after.split_once("/keys/")?;
    (!account.is_empty() && !key.is_empty()).then_some((account, key))
}

fn key(name: &str) -> Option<String> {
    key_parts(name).map(|(account, key)| format!("projects/-/serviceAccounts/{account}/keys/{key}"))
}

fn delegator(chain: &str) -> Option<String> {
    let chain = document(chain)?;
    let root = chain.as_array()?.first()?;
    let paths: [&[&str]; 3] = [
        &["firstPartyPrincipal", "principalEmail"],
        &["principalSubject"],
        &["thirdPartyPrincipal", "thirdPartyClaims", "sub"],
    ];
    paths.iter().find_map(|path| reached(root, path).into_iter().find_map(plain))
}

fn container(name: &str) -> Option<&str> {
    let mut segments = name.split('/');
    segments.find(|segment| matches!(*segment, "projects" | "folders" | "organizations"))?;
    segments.next().filter(|id| !id.is_empty() && !matches!(*id, "-" | "_"))
}

fn actor_kind(row: Row<'_, '_>) -> Option<&'static str> {
    let (email, subject) = (text(row, 0).unwrap_or_default(), text(row, 1).unwrap_or_default());
    if email == "system:anonymous" || text(row, 2) == Some("system:anonymous") {
        return Some("anonymous");
    }
    if email.ends_with("gserviceaccount.com") || email.starts_with("system:") || subject.starts_with("serviceAccount:")
    {
        return Some("service_account");
    }
    if subject.starts_with("principal:") || subject.starts_with("principalSet:") {
        return Some("federated_user");
    }
    (email.contains('@') || subject.starts_with("user:")).then_some("user")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortens_methods() {
        for (service_name, method, want) in [
            ("iam.googleapis.com", "google.iam.admin.v1.CreateServiceAccountKey", "iam:CreateServiceAccountKey"),
            ("storage.googleapis.com", "storage.objects.get", "storage:objects.get"),
            ("storage.googleapis.com", "google.storage.objects.get", "storage:objects.get"),
            ("compute.googleapis.com", "v1.compute.networks.insert", "compute:networks.insert"),
            ("compute.googleapis.com", "beta.compute.networks.insert", "compute:networks.insert"),
            ("cloudresourcemanager.googleapis.com", "SetIamPolicy", "cloudresourcemanager:SetIamPolicy"),
            ("k8s.io", "io.k8s.core.v1.pods.list", "k8s:core.v1.pods.list"),
            ("vpcaccess.googleapis.com", "vpcaccess.connectors.get", "vpcaccess:connectors.get"),
        ] {
            assert_eq!(action(&[Some(service_name), Some(method)]).as_deref(), Some(want));
        }
        assert_eq!(action(&[None, Some("a.b")]).as_deref(), Some("a.b"));
    }

    #[test]
    fn an_absent_grant_is_a_refusal() {
        let granted = r#"[{"permission":"p","granted":true}]"#;
        for (code, authorization, want) in [
            ("", "", "allowed"),
            ("0", granted, "allowed"),
            ("", r#"[{"permission":"p","granted":"true"}]"#, "allowed"),
            ("7", granted, "denied"),
            ("", r#"[{"permission":"p"}]"#, "denied"),
            ("", r#"[{"permission":"p","granted":false}]"#, "denied"),
            ("", r#"[{"permission":"p"},{"permission":"q","granted":true}]"#, "allowed"),
            ("", r#"[{"resource":"r"}]"#, "allowed"),
            ("16", "", "error"),
            ("5", r#"[{"permission":"p"}]"#, "error"),
        ] {
            assert_eq!(outcome(&[Some(code), Some(authorization)]), want, "{code} {authorization}");
        }
        assert_eq!(outcome(&[None, None, Some(r#"{"orgPolicyViolationInfo":{}}"#)]), "denied");
    }

    #[test]
    fn one_name_for_a_key() {
        let used = "//iam.googleapis.com/projects/p/serviceAccounts/sa@p.iam.gserviceaccount.com/keys/k1";
        let made = "projects/-/serviceAccounts/sa@p.iam.gserviceaccount.com/keys/k1";
        assert_eq!(key(used).as_deref(), Some(made));
        assert_eq!(key(made).as_deref(), Some(made));
        assert_eq!(key("projects/p/serviceAccounts/sa"), None);
        assert_eq!(key_parts(used).map(|(account, _)| account), Some("sa@p.iam.gserviceaccount.com"));
    }

    #[test]
    fn the_root_of_a_chain() {
        let chain = r#"[{"firstPartyPrincipal":{"principalEmail":"maya@example.com"}},{"principalSubject":"x"}]"#;
        assert_eq!(delegator(chain).as_deref(), Some("maya@example.com"));
        assert_eq!(delegator(r#"[{"principalSubject":"principal://x"}]"#).as_deref(), Some("principal://x"));
        assert_eq!(delegator("[]"), None);
    }

    #[test]
    fn containers_and_actors() {
        assert_eq!(container("projects/shop/logs/x"), Some("shop"));
        assert_eq!(container("projects/-/serviceAccounts/1"), None);
        assert_eq!(container("//bigquery.googleapis.com/projects/shop/datasets/d"), Some("shop"));
        for (email, subject, want) in [
            ("maya@example.com", "", Some("user")),
            ("sa@p.iam.gserviceaccount.com", "", Some("service_account")),
            ("", "serviceAccount:sa@p.iam.gserviceaccount.com", Some("service_account")),
            ("", "principal://iam.googleapis.com/locations/global/x", Some("federated_user")),
            ("system:anonymous", "", Some("anonymous")),
            ("", "", None),
        ] {
            assert_eq!(actor_kind(&[Some(email), Some(subject)]), want, "{email} {subject}");
        }
    }
}
