//! What the GitHub remediators share: REST calls, and ids that a look-up has put among the target's resources.

use keytrail_model::{Call, Refusal, Target};
use serde_json::{Map, Value};

use crate::refusal::{missing_field, not_exact, present};

pub fn call(operation: &str, http: String, body: &[(&str, &str)], permission: &str) -> Call {
    let pairs = body.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value)));
    Call {
        service: "github.rest".to_owned(),
        operation: operation.to_owned(),
        http: Some(http),
        parameters: pairs.collect::<Map<_, _>>(),
        permission: permission.to_owned(),
    }
}

pub fn organisation(target: &Target) -> Result<&str, Refusal> {
    let text = present(target.account.as_ref(), "account", "it is the organisation's name")?;
    if is_slug(text) { Ok(text) } else { Err(missing_field("account", "no organisation's name")) }
}

/// The number behind `prefix` in a resource. GitHub's log names tokens otherwise than its API does; a look-up
/// writes the API's path among the resources: `orgs/acme/personal-access-tokens/42`.
pub fn resolved_number<'a>(target: &'a Target, prefix: &str) -> Option<&'a str> {
    let mut found = target.resources.iter().filter_map(|path| path.trim_start_matches('/').strip_prefix(prefix));
    match (found.next(), found.next()) {
        (Some(id), None) if is_number(id) => Some(id),
        _ => None,
    }
}

/// The one repository among the resources, as `owner/name`.
pub fn repository(target: &Target) -> Result<&str, Refusal> {
    let mut found: Vec<&str> = target.resources.iter().filter_map(|text| as_repository(text)).collect();
    found.sort_unstable();
    found.dedup();
    match found.as_slice() {
        [one] => Ok(one),
        [] => Err(missing_field("resources", "the repository is taken from it")),
        many => Err(not_exact(format!("the event names {} repositories, and a deploy key belongs to one", many.len()))),
    }
}

fn as_repository(text: &str) -> Option<&str> {
    let path = text.trim_start_matches("https://github.com/");
    let (owner, name) = path.split_once('/')?;
    (is_slug(owner) && is_slug(name)).then_some(path)
}

pub fn is_number(text: &str) -> bool {
    !text.is_empty() && text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_slug(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) && !text.starts_with('.')
}
