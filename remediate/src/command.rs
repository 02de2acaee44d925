//! A provider call as a line for a shell, so that a person can do by hand what the plan says, or undo it.

use keytrail_model::Call;
use serde_json::Value;

/// One line, quoted for a POSIX shell. Ids come from logs: whatever is not plainly harmless is quoted.
#[must_use]
pub fn command(call: &Call) -> String {
    pieces(call).join(" ")
}

/// The same in pieces, where a long line may be broken.
pub fn pieces(call: &Call) -> Vec<String> {
    let (method, url) = call.http.as_deref().and_then(|http| http.split_once(' ')).unwrap_or(("POST", ""));
    match call.service.split_once('.') {
        Some(("aws", service)) => aws(service, call),
        Some(("github", _)) => github(method, url, call),
        Some(("azure", _)) => azure(method, url, call),
        _ => curl(method, url, call),
    }
}

fn aws(service: &str, call: &Call) -> Vec<String> {
    let options = call.parameters.iter().map(|(name, value)| format!("--{} {}", kebab(name), quoted(&text(value))));
    std::iter::once(format!("aws {service} {}", kebab(&call.operation))).chain(options).collect()
}

fn github(method: &str, url: &str, call: &Call) -> Vec<String> {
    let path = url.strip_prefix("https://api.github.com").unwrap_or(url);
    let fields =
        call.parameters.iter().map(|(name, value)| format!("-f {}", quoted(&format!("{name}={}", text(value)))));
    [format!("gh api --method {method}"), quoted(path)].into_iter().chain(fields).collect()
}

fn azure(method: &str, url: &str, call: &Call) -> Vec<String> {
    let body = Value::Object(call.parameters.clone()).to_string();
    vec![format!("az rest --method {method}"), format!("--url {}", quoted(url)), format!("--body {}", quoted(&body))]
}

fn curl(method: &str, url: &str, call: &Call) -> Vec<String> {
    let body = Value::Object(call.parameters.clone()).to_string();
    vec![
        format!("curl --fail --request {method}"),
        "--header \"Authorization: Bearer $(gcloud auth print-access-token)\"".to_owned(),
        "--header 'Content-Type: application/json'".to_owned(),
        format!("--data {}", quoted(&body)),
        quoted(url),
    ]
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `UpdateAccessKey` is `update-access-key` on the command line.
fn kebab(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

pub fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remediators::contract::every_call;

    #[test]
    fn a_quote_cannot_break_out() {
        assert_eq!(quoted("a'; rm -rf /; '"), r"'a'\''; rm -rf /; '\'''");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn every_call_can_be_typed() {
        let lines: Vec<String> = every_call().iter().map(command).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }
}
