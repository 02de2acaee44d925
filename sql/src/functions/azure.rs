//! Azure and Entra names and answers: resource ids, outcomes, and the keys that an Entra audit record says were added.
//! Credentials are in `azure_credential`.

use std::borrow::Cow;

use serde_json::Value;

use super::{
    json::{document, plain, reached},
    text_function::{Call, Function, Row, text},
};

pub const FUNCTIONS: &[Function] = &[
    Function {
        name: "azure_subscription",
        arguments: &["resourceId"],
        doc: "the subscription in an ARM resource id",
        call: Call::Text(|row| after_segment(text(row, 0)?, "subscriptions").map(Cow::Borrowed)),
    },
    Function {
        name: "azure_namespace",
        arguments: &["operationOrResourceId"],
        doc: "the resource provider: Microsoft.Compute, from an operation or an ARM resource id",
        call: Call::Text(|row| namespace(text(row, 0)?).map(Cow::Borrowed)),
    },
    Function {
        name: "azure_resource_kind",
        arguments: &["resourceId"],
        doc: "the type of an ARM resource id: Microsoft.KeyVault/vaults/secrets",
        call: Call::Text(|row| resource_kind(text(row, 0)?).map(Cow::Owned)),
    },
    Function {
        name: "azure_name",
        arguments: &["resourceId"],
        doc: "the last part of an ARM resource id",
        call: Call::Text(|row| text(row, 0)?.rsplit('/').next().map(Cow::Borrowed)),
    },
    Function {
        name: "azure_outcome",
        arguments: &["results…"],
        doc: "allowed, denied or error from result type, status, sub-status and HTTP status, in any order. Denied is a \
              refused authorization (Forbidden, AuthorizationFailed, 403) or a policy (RequestDisallowedByPolicy)",
        call: Call::Text(|row| outcome(row).map(Cow::Borrowed)),
    },
    Function {
        name: "entra_outcome",
        arguments: &["errorCode"],
        doc: "allowed for 0; denied when conditional access or assignment refused; error for a failed authentication",
        call: Call::Text(|row| text(row, 0).map(sign_in_outcome).map(Cow::Borrowed)),
    },
    Function {
        name: "entra_added_key",
        arguments: &["targetResources", "field"],
        doc: "a field (KeyIdentifier, KeyType, KeyUsage, DisplayName) of the credential that an Entra audit record \
              added to an application or service principal; null when it added none. Takes the ModifiedProperties of the \
              unified audit log as well",
        call: Call::Text(|row| changed_key(row, Side::Added).map(Cow::Owned)),
    },
    Function {
        name: "entra_removed_key",
        arguments: &["targetResources", "field"],
        doc: "the same for the credential that it removed",
        call: Call::Text(|row| changed_key(row, Side::Removed).map(Cow::Owned)),
    },
    Function {
        name: "without_port",
        arguments: &["address"],
        doc: "the address without a port: 192.0.2.1:4711 and [2001:db8::1]:4711 lose it, a bare IPv6 address stays",
        call: Call::Text(|row| text(row, 0).map(without_port).map(Cow::Borrowed)),
    },
];

fn after_segment<'a>(id: &'a str, name: &str) -> Option<&'a str> {
    let mut segments = id.split('/');
    segments.find(|segment| segment.eq_ignore_ascii_case(name))?;
    segments.next().filter(|segment| !segment.is_empty())
}

/// A resource id may name several providers; the last one is the resource's own.
fn own_provider(id: &str) -> Option<&str> {
    let lower = id.to_ascii_lowercase();
    let at = lower.rfind("/providers/")?;
    id.get(at + "/providers/".len()..)
}

fn namespace(text: &str) -> Option<&str> {
    let named = own_provider(text).or_else(|| (!text.starts_with('/')).then_some(text))?;
    named.split('/').next().filter(|first| first.contains('.'))
}

fn resource_kind(id: &str) -> Option<String> {
    let mut segments = own_provider(id)?.split('/');
    let namespace = segments.next()?;
    let kinds: Vec<&str> = segments.step_by(2).collect();
    Some(if kinds.is_empty() { namespace.to_owned() } else { format!("{namespace}/{}", kinds.join("/")) })
}

const DENIALS: &[&str] = &["forbidden", "authorizationfailed", "authorizationpermissionmismatch", "disallowedbypolicy"];
const FAILURES: &[&str] = &["fail", "error", "unauthorized", "conflict", "badrequest", "notfound", "timeout"];

/// The worst of what the fields say; null when they say nothing.
fn outcome(row: Row<'_, '_>) -> Option<&'static str> {
    let results = || (0..row.len()).filter_map(|index| text(row, index)).map(one_result);
    ["denied", "error", "allowed"].into_iter().find(|outcome| results().any(|result| result == Some(*outcome)))
}

fn one_result(result: &str) -> Option<&'static str> {
    if let Ok(number) = result.parse::<u32>() {
        return match number {
            403 => Some("denied"),
            0 | 200..=399 => Some("allowed"),
            _ => Some("error"),
        };
    }
    let lower = result.to_ascii_lowercase();
    let says = |parts: &[&str]| parts.iter().any(|part| lower.contains(part));
    if says(DENIALS) {
        return Some("denied");
    }
    if says(FAILURES) {
        return Some("error");
    }
    says(&["succe", "accepted", "start", "created", "active", "ok", "in progress", "resolved"]).then_some("allowed")
}

/// Entra error codes that mean: authenticated, but refused.
const REFUSALS: &[&str] =
    &["53000", "53001", "53002", "53003", "53004", "530031", "530032", "50105", "65001", "90094", "90095"];

fn sign_in_outcome(code: &str) -> &'static str {
    match code {
        "0" => "allowed",
        code if code.eq_ignore_ascii_case("success") => "allowed",
        code if REFUSALS.contains(&code) => "denied",
        _ => "error",
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Added,
    Removed,
}

/// `KeyDescription` holds JSON text of a list of `[KeyIdentifier=…,KeyType=…,KeyUsage=…,DisplayName=…]`, before and after.
fn changed_key(row: Row<'_, '_>, side: Side) -> Option<String> {
    let (targets, field) = (document(text(row, 0)?)?, text(row, 1)?);
    let nested = reached(&targets, &["modifiedProperties"]).into_iter().flat_map(elements);
    let properties = nested.chain(elements(&targets));
    let keys = |property: &Value, names| member(property, names).map(key_descriptions).unwrap_or_default();
    properties.filter(|property| describes_keys(property)).find_map(|property| {
        let (old, new) = (keys(property, ["oldValue", "OldValue"]), keys(property, ["newValue", "NewValue"]));
        let (from, without) = if side == Side::Added { (new, old) } else { (old, new) };
        let changed = from.into_iter().find(|key| !without.contains(key))?;
        key_field(&changed, field).map(str::to_owned)
    })
}

fn elements(value: &Value) -> Vec<&Value> {
    value.as_array().map_or_else(|| vec![value], |array| array.iter().collect())
}

fn describes_keys(property: &Value) -> bool {
    let name = member(property, ["displayName", "Name"]).and_then(Value::as_str);
    name.is_some_and(|name| name.eq_ignore_ascii_case("KeyDescription"))
}

/// Entra's name of a member, or the unified audit log's.
fn member<'v>(property: &'v Value, names: [&str; 2]) -> Option<&'v Value> {
    names.iter().find_map(|name| property.get(name))
}

fn key_descriptions(value: &Value) -> Vec<String> {
    let Some(text) = plain(value) else { return Vec::new() };
    match document(&text) {
        Some(Value::Array(keys)) => keys.iter().filter_map(plain).collect(),
        _ => Vec::new(),
    }
}

/// The display name comes last and may itself hold commas.
fn key_field<'a>(key: &'a str, field: &str) -> Option<&'a str> {
    let key = key.trim_start_matches('[').trim_end_matches(']');
    let (_, after) = key.split_once(&format!("{field}="))?;
    let value = if field == "DisplayName" { after } else { after.split(',').next()? };
    (!value.is_empty()).then_some(value)
}

fn without_port(address: &str) -> &str {
    if let Some((inside, _)) = address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return inside;
    }
    match address.split_once(':') {
        Some((host, port)) if !port.contains(':') => host,
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VAULT: &str =
        "/subscriptions/s-1/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/orders/secrets/db-password";

    #[test]
    fn takes_resource_ids_apart() {
        assert_eq!(after_segment(VAULT, "subscriptions"), Some("s-1"));
        assert_eq!(after_segment("/SUBSCRIPTIONS/s-1", "subscriptions"), Some("s-1"));
        assert_eq!(namespace(VAULT), Some("Microsoft.KeyVault"));
        assert_eq!(namespace("Microsoft.Compute/disks/delete"), Some("Microsoft.Compute"));
        assert_eq!(namespace("Sign-in activity"), None);
        assert_eq!(resource_kind(VAULT).as_deref(), Some("Microsoft.KeyVault/vaults/secrets"));
        assert_eq!(resource_kind("/tenants/t-1/providers/Microsoft.aadiam").as_deref(), Some("Microsoft.aadiam"));
        assert_eq!(resource_kind("/subscriptions/s-1"), None);
    }

    #[test]
    fn the_worst_result_counts() {
        for (results, want) in [
            (["Success", "", ""], Some("allowed")),
            (["Start", "Started.", ""], Some("allowed")),
            (["Succeeded", "Created", "201"], Some("allowed")),
            (["Failure", "Forbidden.403", ""], Some("denied")),
            (["Failed", "", "Forbidden"], Some("denied")),
            (["Failure", "AuthorizationFailed", ""], Some("denied")),
            (["Failed", "RequestDisallowedByPolicy", ""], Some("denied")),
            (["Failure", "Unauthorized", "401"], Some("error")),
            (["Failed", "Conflict", "409"], Some("error")),
            (["", "", ""], None),
        ] {
            assert_eq!(outcome(&results.map(Some)), want, "{results:?}");
        }
    }

    #[test]
    fn sign_ins() {
        for (code, want) in [("0", "allowed"), ("53003", "denied"), ("50126", "error"), ("7000215", "error")] {
            assert_eq!(sign_in_outcome(code), want, "{code}");
        }
    }

    #[test]
    fn the_added_key_is_the_new_one() {
        let key = |id: &str| format!("[KeyIdentifier={id},KeyType=Password,KeyUsage=Verify,DisplayName=ci, nightly]");
        let list = |ids: &[&str]| serde_json::json!(ids.iter().map(|id| key(id)).collect::<Vec<_>>()).to_string();
        let target = |old: &[&str], new: &[&str]| {
            let property =
                serde_json::json!({"displayName": "KeyDescription", "oldValue": list(old), "newValue": list(new)});
            serde_json::json!([{"id": "app", "modifiedProperties": [property]}]).to_string()
        };
        let added = target(&["k-1"], &["k-1", "k-2"]);
        let field = |targets: &str, field: &str, side| changed_key(&[Some(targets), Some(field)], side);
        assert_eq!(field(&added, "KeyIdentifier", Side::Added).as_deref(), Some("k-2"));
        assert_eq!(field(&added, "KeyType", Side::Added).as_deref(), Some("Password"));
        assert_eq!(field(&added, "DisplayName", Side::Added).as_deref(), Some("ci, nightly"));
        assert_eq!(field(&added, "KeyIdentifier", Side::Removed), None);
        let removed = target(&["k-1"], &[]);
        assert_eq!(field(&removed, "KeyIdentifier", Side::Removed).as_deref(), Some("k-1"));
        assert_eq!(field("not json", "KeyIdentifier", Side::Added), None);
        let unified = serde_json::json!([{"Name": "KeyDescription", "OldValue": "[]", "NewValue": list(&["k-3"])}]);
        assert_eq!(field(&unified.to_string(), "KeyIdentifier", Side::Added).as_deref(), Some("k-3"));
    }

    #[test]
    fn ports_go() {
        for (address, want) in [
            ("192.0.2.1:4711", "192.0.2.1"),
            ("192.0.2.1", "192.0.2.1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
        ] {
            assert_eq!(without_port(address), want);
        }
    }
}
