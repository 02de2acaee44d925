//! AWS names and answers: ARNs, IAM's action names, what an error code says, and who acted. Credentials are in
//! `aws_credential`.

use std::borrow::Cow;

use super::text_function::{Call, Function, Row, text};

pub const FUNCTIONS: &[Function] = &[
    Function {
        name: "arn_account",
        arguments: &["arn"],
        doc: "the account in an ARN; null when it has none",
        call: Call::Text(|row| arn_part(text(row, 0)?, 4).map(Cow::Borrowed)),
    },
    Function {
        name: "arn_service",
        arguments: &["arn"],
        doc: "the service in an ARN: iam, sts, s3",
        call: Call::Text(|row| arn_part(text(row, 0)?, 2).map(Cow::Borrowed)),
    },
    Function {
        name: "arn_region",
        arguments: &["arn"],
        doc: "the region in an ARN; null when it has none",
        call: Call::Text(|row| arn_part(text(row, 0)?, 3).map(Cow::Borrowed)),
    },
    Function {
        name: "arn_name",
        arguments: &["arn"],
        doc: "the short name: the role of an assumed-role ARN, else what follows the last `/` or `:`",
        call: Call::Text(|row| arn_name(text(row, 0)?).map(Cow::Borrowed)),
    },
    Function {
        name: "aws_service",
        arguments: &["eventSource"],
        doc: "IAM's prefix of the service behind a CloudTrail eventSource: iam, cloudwatch (monitoring), rds-data",
        call: Call::Text(|row| Some(Cow::Borrowed(service(text(row, 0)?)))),
    },
    Function {
        name: "aws_action",
        arguments: &["eventSource", "eventName"],
        doc: "IAM's service prefix and the operation without its API date: iam:CreateAccessKey, lambda:CreateFunction. \
              The operation is CloudTrail's, which for a few S3 calls differs from the IAM action's name",
        call: Call::Text(|row| Some(Cow::Owned(format!("{}:{}", service(text(row, 0)?), undated(text(row, 1)?))))),
    },
    Function {
        name: "aws_outcome",
        arguments: &["errorCode", "errorMessage", "status…"],
        doc: "allowed, denied or error. Denied is a refused authorization only; failed authentication and throttling \
              are error. A status is an HTTP or JSON-RPC code, Success or Failure, for services without errorCode",
        call: Call::Text(|row| Some(Cow::Borrowed(outcome(row)))),
    },
    Function {
        name: "aws_layer",
        arguments: &["errorMessage", "errorCode?"],
        doc: "which kind of policy denied: session_policy, identity_policy, permissions_boundary, scp, rcp, \
              resource_policy, vpc_endpoint_policy; null when the message does not say",
        call: Call::Text(|row| layer(row).map(Cow::Borrowed)),
    },
    Function {
        name: "aws_denied_resource",
        arguments: &["errorMessage"],
        doc: "the resource that an AWS denial names after `on resource:`",
        call: Call::Text(|row| denied_resource(text(row, 0)?).map(Cow::Borrowed)),
    },
    Function {
        name: "aws_actor_kind",
        arguments: &["type", "accountId?", "principalId?"],
        doc: "root, user, role, federated_user, service, account (a caller of another account) or anonymous",
        call: Call::Text(|row| actor_kind(row).map(Cow::Borrowed)),
    },
    Function {
        name: "aws_principal_kind",
        arguments: &["arn"],
        doc: "the same from an ARN alone, for logs without a principal type",
        call: Call::Text(|row| principal_kind(text(row, 0)?).map(Cow::Borrowed)),
    },
];

fn arn_part(arn: &str, index: usize) -> Option<&str> {
    arn.starts_with("arn:").then(|| arn.splitn(6, ':').nth(index)).flatten().filter(|part| !part.is_empty())
}

fn arn_name(arn: &str) -> Option<&str> {
    if let Some((_, session)) = arn.split_once(":assumed-role/") {
        return session.split('/').next();
    }
    arn.rsplit(['/', ':']).next().filter(|name| !name.is_empty())
}

/// Where CloudTrail's eventSource is not IAM's service prefix.
const PREFIXES: &[(&str, &str)] = &[
    ("monitoring", "cloudwatch"),
    ("tagging", "tag"),
    ("rdsdata", "rds-data"),
    ("rdsdataapi", "rds-data"),
    ("bedrock-runtime", "bedrock"),
    ("bedrock-agent", "bedrock"),
    ("bedrock-agent-runtime", "bedrock"),
    ("application-insights", "applicationinsights"),
    ("transcribestreaming", "transcribe"),
];

fn service(source: &str) -> &str {
    let host = source.split_once(".amazonaws.com").map_or(source, |(host, _)| host);
    PREFIXES.iter().find(|(from, _)| *from == host).map_or(host, |(_, prefix)| prefix)
}

/// Drops the API date that Lambda and `CloudFront` append: `…20150331`, `…20150331v2`, `…2020_05_31`.
fn undated(operation: &str) -> &str {
    let unversioned = match operation.rsplit_once('v') {
        Some((head, version)) if version.bytes().all(|b| b.is_ascii_digit()) && dated(head) => head,
        _ => operation,
    };
    let stem = unversioned.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_');
    if dated(unversioned) && !stem.is_empty() { stem } else { operation }
}

fn dated(operation: &str) -> bool {
    let tail = operation.trim_start_matches(|c: char| !c.is_ascii_digit());
    let digits = tail.bytes().filter(u8::is_ascii_digit).count();
    tail.starts_with("20") && digits == 8 && tail.bytes().all(|b| b.is_ascii_digit() || b == b'_')
}

fn outcome(row: Row<'_, '_>) -> &'static str {
    let (code, message) = (text(row, 0), text(row, 1));
    if code.is_some_and(denies) || message.is_some_and(|message| message.contains("is not authorized to perform")) {
        return "denied";
    }
    if code.is_some() || message.is_some() {
        return "error";
    }
    let statuses = (2..row.len()).filter_map(|index| text(row, index));
    statuses.map(status_outcome).find(|outcome| *outcome != "allowed").unwrap_or("allowed")
}

/// Refused authorization. `AuthFailure`, expired or unknown tokens and throttling are not.
fn denies(code: &str) -> bool {
    let code = code.to_ascii_lowercase();
    ["accessdenied", "unauthorizedoperation", "access denied", "unauthorizedaccess"]
        .iter()
        .any(|part| code.contains(part))
        || ["notauthorized", "authorizationerror", "forbidden"].iter().any(|start| code.starts_with(start))
}

fn status_outcome(status: &str) -> &'static str {
    match status.parse::<i64>() {
        Ok(403) => "denied",
        Ok(400.. | ..0) => "error",
        Err(_) if status.eq_ignore_ascii_case("failure") => "error",
        _ => "allowed",
    }
}

const LAYERS: &[(&str, &str)] = &[
    ("session policy", "session_policy"),
    ("session policies", "session_policy"),
    ("permissions boundary", "permissions_boundary"),
    ("permissions boundaries", "permissions_boundary"),
    ("service control policy", "scp"),
    ("service control policies", "scp"),
    ("resource control policy", "rcp"),
    ("resource control policies", "rcp"),
    ("vpc endpoint policy", "vpc_endpoint_policy"),
    ("vpc endpoint policies", "vpc_endpoint_policy"),
    ("resource-based policy", "resource_policy"),
    ("resource-based policies", "resource_policy"),
    ("identity-based policy", "identity_policy"),
    ("identity-based policies", "identity_policy"),
];

fn layer(row: Row<'_, '_>) -> Option<&'static str> {
    if text(row, 1).is_some_and(|code| code.eq_ignore_ascii_case("VpceAccessDenied")) {
        return Some("vpc_endpoint_policy");
    }
    let message = text(row, 0)?.to_ascii_lowercase();
    let reason = ["because no ", "with an explicit deny in "].iter().find_map(|mark| message.split_once(mark))?.1;
    let named = |(part, layer): &(&str, &'static str)| reason.find(part).map(|at| (at, *layer));
    LAYERS.iter().filter_map(named).min_by_key(|(at, _)| *at).map(|(_, layer)| layer)
}

fn denied_resource(message: &str) -> Option<&str> {
    let (_, after) = message.split_once("on resource:")?;
    after.split_whitespace().next().map(|resource| resource.trim_end_matches(['.', ','])).filter(|arn| !arn.is_empty())
}

fn actor_kind(row: Row<'_, '_>) -> Option<&'static str> {
    let anonymous = |index| text(row, index).is_some_and(|id| id.eq_ignore_ascii_case("anonymous"));
    match text(row, 0)? {
        _ if anonymous(1) || anonymous(2) => Some("anonymous"),
        "Root" => Some("root"),
        "IAMUser" | "User" | "Directory" | "IdentityCenterUser" => Some("user"),
        "AssumedRole" | "Role" => Some("role"),
        "FederatedUser" | "SAMLUser" | "WebIdentityUser" => Some("federated_user"),
        "AWSService" => Some("service"),
        "AWSAccount" => Some("account"),
        _ => None,
    }
}

fn principal_kind(arn: &str) -> Option<&'static str> {
    let resource = arn.splitn(6, ':').nth(5)?;
    match resource.split('/').next()? {
        "assumed-role" | "role" => Some("role"),
        "user" => Some("user"),
        "federated-user" => Some("federated_user"),
        "root" => Some("root"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_arns_apart() {
        for (arn, account, name) in [
            ("arn:aws:iam::111122223333:user/ci-deploy", Some("111122223333"), "ci-deploy"),
            ("arn:aws:sts::111122223333:assumed-role/refund-agent/task-7", Some("111122223333"), "refund-agent"),
            ("arn:aws:s3:::reports/2026/a.csv", None, "a.csv"),
            ("arn:aws:rds:eu-west-1:111122223333:cluster:orders", Some("111122223333"), "orders"),
        ] {
            assert_eq!((arn_part(arn, 4), arn_name(arn)), (account, Some(name)), "{arn}");
        }
        assert_eq!(arn_part("AROAEXAMPLE:task-7", 4), None);
        assert_eq!(arn_part("arn:aws:rds:eu-west-1:111122223333:cluster:orders", 3), Some("eu-west-1"));
    }

    #[test]
    fn names_actions_as_iam_does() {
        for (source, operation, want) in [
            ("iam.amazonaws.com", "CreateAccessKey", "iam:CreateAccessKey"),
            ("monitoring.amazonaws.com", "PutMetricAlarm", "cloudwatch:PutMetricAlarm"),
            ("rdsdata.amazonaws.com", "ExecuteStatement", "rds-data:ExecuteStatement"),
            ("lambda.amazonaws.com", "CreateFunction20150331", "lambda:CreateFunction"),
            ("lambda.amazonaws.com", "UpdateFunctionCode20150331v2", "lambda:UpdateFunctionCode"),
            ("cloudfront.amazonaws.com", "CreateDistribution2020_05_31", "cloudfront:CreateDistribution"),
            ("s3.amazonaws.com", "ListObjectsV2", "s3:ListObjectsV2"),
            ("ec2.amazonaws.com.cn", "RunInstances", "ec2:RunInstances"),
        ] {
            assert_eq!(format!("{}:{}", service(source), undated(operation)), want);
        }
    }

    #[test]
    fn denied_is_refused_authorization_only() {
        for (code, message, status, want) in [
            ("", "", "", "allowed"),
            ("AccessDenied", "", "", "denied"),
            ("Client.UnauthorizedOperation", "", "", "denied"),
            ("AccessDeniedException", "", "", "denied"),
            ("VpceAccessDenied", "", "", "denied"),
            ("NotAuthorizedException", "", "", "denied"),
            ("ThrottlingException", "", "", "error"),
            ("ExpiredTokenException", "", "", "error"),
            ("InvalidClientTokenId", "", "", "error"),
            ("NoSuchEntityException", "", "", "error"),
            ("Client.AuthFailure", "", "", "error"),
            ("Failed", "User: x is not authorized to perform: s3:GetObject", "", "denied"),
            ("", "Failed authentication", "", "error"),
            ("", "", "403", "denied"),
            ("", "", "401", "error"),
            ("", "", "-32001", "error"),
            ("", "", "200", "allowed"),
            ("", "", "Failure", "error"),
        ] {
            assert_eq!(outcome(&[Some(code), Some(message), None, Some(status)]), want, "{code} {message} {status}");
        }
    }

    #[test]
    fn names_the_layer_that_denied() {
        let message = |reason: &str| {
            format!("User: arn:x is not authorized to perform: s3:GetObject on resource: arn:y {reason}")
        };
        for (reason, want) in [
            ("because no session policy allows the s3:GetObject action", Some("session_policy")),
            ("because no identity-based policy allows the s3:GetObject action", Some("identity_policy")),
            ("with an explicit deny in an identity-based policy: arn:z", Some("identity_policy")),
            ("because no permissions boundary allows the s3:GetObject action", Some("permissions_boundary")),
            ("with an explicit deny in a service control policy", Some("scp")),
            ("with an explicit deny in a resource control policy", Some("rcp")),
            ("because no VPC endpoint policy allows the s3:GetObject action", Some("vpc_endpoint_policy")),
            ("because no resource-based policy allows the s3:GetObject action", Some("resource_policy")),
            ("", None),
        ] {
            assert_eq!(layer(&[Some(&message(reason))]), want, "{reason}");
            assert_eq!(denied_resource(&message(reason)), Some("arn:y"));
        }
        assert_eq!(layer(&[None, Some("VpceAccessDenied")]), Some("vpc_endpoint_policy"));
        assert_eq!(layer(&[Some("Access Denied")]), None);
    }

    #[test]
    fn kinds_of_actor() {
        for (kind, account, want) in [
            ("IAMUser", "111122223333", Some("user")),
            ("Root", "111122223333", Some("root")),
            ("AssumedRole", "111122223333", Some("role")),
            ("AWSService", "", Some("service")),
            ("AWSAccount", "111122223333", Some("account")),
            ("AWSAccount", "anonymous", Some("anonymous")),
            ("Unknown", "", None),
        ] {
            assert_eq!(actor_kind(&[Some(kind), Some(account)]), want, "{kind}");
        }
        assert_eq!(principal_kind("arn:aws:sts::111122223333:assumed-role/refund-agent/t"), Some("role"));
        assert_eq!(principal_kind("arn:aws:iam::111122223333:root"), Some("root"));
    }
}
