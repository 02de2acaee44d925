//! The reasons not to act, made in one place so that codes and wording agree.

use keytrail_model::Refusal;

pub fn refuse(code: &str, reason: impl Into<String>) -> Refusal {
    Refusal { code: code.to_owned(), reason: reason.into() }
}

pub fn missing_field(field: &str, why: &str) -> Refusal {
    refuse("missing_field", format!("the event does not give `{field}`: {why}"))
}

pub fn unsupported_principal(reason: impl Into<String>) -> Refusal {
    refuse("unsupported_principal", reason)
}

pub fn needs_look_up(reason: impl Into<String>) -> Refusal {
    refuse("needs_look_up", reason)
}

/// The remediator is real, but made for another kind of credential.
pub fn no_remediator(remediator: &str, acts_on: &str, value: &str) -> Refusal {
    refuse("no_remediator", format!("`{remediator}` acts on {acts_on}, and `{value}` is none"))
}

pub fn not_exact(reason: impl Into<String>) -> Refusal {
    refuse("not_exact", reason)
}

/// A text of the target that is there and not blank.
pub fn present<'a>(value: Option<&'a String>, field: &str, why: &str) -> Result<&'a str, Refusal> {
    value.map(|text| text.trim()).filter(|text| !text.is_empty()).ok_or_else(|| missing_field(field, why))
}
