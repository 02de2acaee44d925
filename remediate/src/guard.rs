//! What may stop an action, once for all remediators: the protected list, exactness, and ids that nobody named.

use keytrail_model::{Refusal, Target};

use crate::refusal::{not_exact, refuse};
use crate::remediator::{Plan, Remediator};

/// The remediator's plan, unless something forbids it.
pub fn guarded(remediator: &dyn Remediator, target: &Target, protected: &[String]) -> Result<Plan, Refusal> {
    if remediator.contains() {
        unprotected(target, protected)?;
    }
    let planned = remediator.plan(target);
    if remediator.contains() && target.quality.as_deref() != Some("exact") {
        return Err(said_more(planned).unwrap_or_else(|| inexact(target)));
    }
    planned
}

/// Nothing that the target is, or descends from, is on the list.
fn unprotected(target: &Target, protected: &[String]) -> Result<(), Refusal> {
    let named = [&target.credential, &target.parent, &target.actor, &target.actor_name, &target.agent, &target.session];
    for name in named.into_iter().flatten() {
        if let Some(pattern) = protected.iter().find(|pattern| glob(pattern, name)) {
            return Err(refuse("protected", format!("`{name}` is protected by `{pattern}` and is never contained")));
        }
    }
    Ok(())
}

/// A remediator's own reason wins over the general one when it says what to do next.
fn said_more(planned: Result<Plan, Refusal>) -> Option<Refusal> {
    planned.err().filter(|refusal| matches!(refusal.code.as_str(), "needs_look_up" | "unsupported_principal"))
}

fn inexact(target: &Target) -> Refusal {
    let kind = target.kind.as_deref().unwrap_or("credential");
    not_exact(match target.quality.as_deref() {
        Some("group") => format!("the log narrows the {kind} to a few and does not name the one: look it up first"),
        _ => format!("the log does not say which {kind} was used: look it up first"),
    })
}

/// `*` is any text, also across `/` and `:`; everything else is itself, ignoring ASCII case, so that a bot's
/// `[bot]` is no character class and no pattern can fail to be read.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_ascii_lowercase(), text.to_ascii_lowercase());
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remediators::REMEDIATORS;

    fn target() -> Target {
        Target {
            credential: Some("AKIAIOSFODNN7EXAMPLE".into()),
            quality: Some("exact".into()),
            actor: Some("arn:aws:iam::111122223333:user/break-glass".into()),
            ..Target::default()
        }
    }

    fn disable() -> &'static dyn Remediator {
        *REMEDIATORS.iter().find(|remediator| remediator.name() == "aws.disable_access_key").expect("listed")
    }

    #[test]
    fn stars_match_and_brackets_do_not() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("arn:aws:iam::*:user/break-*", "arn:aws:iam::111122223333:user/Break-Glass", true),
            ("dependabot[bot]", "dependabot[bot]", true),
            ("dependabot[bot]", "dependabotb", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b", "a", false),
            ("ab*ba", "aba", false),
            ("abc", "abcd", false),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn the_protected_are_never_contained() {
        for pattern in ["*user/break-glass", "AKIAIOSFODNN7EXAMPLE"] {
            let refusal = guarded(disable(), &target(), &[pattern.to_owned()]).expect_err("protected");
            assert_eq!(refusal.code, "protected");
        }
        assert!(guarded(disable(), &target(), &["*user/other".to_owned()]).is_ok());
    }

    #[test]
    fn a_guess_is_not_acted_upon() {
        for quality in [Some("group"), Some("none"), None] {
            let target = Target { quality: quality.map(str::to_owned), ..target() };
            assert_eq!(guarded(disable(), &target, &[]).expect_err("a guess").code, "not_exact");
        }
    }
}
