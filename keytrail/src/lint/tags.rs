//! Tags: MITRE ATT&CK techniques and tactics, and the OWASP top ten risks of non-human identities.

/// `attack.t1078.004`, `attack.persistence`, `owasp.nhi7`.
#[must_use]
pub fn is_tag(tag: &str) -> bool {
    if let Some(number) = tag.strip_prefix("owasp.nhi") {
        return number.parse::<u8>().is_ok_and(|number| (1..=10).contains(&number));
    }
    let Some(rest) = tag.strip_prefix("attack.") else { return false };
    match rest.strip_prefix('t').filter(|id| id.starts_with(|first: char| first.is_ascii_digit())) {
        Some(id) => is_technique(id),
        None => rest.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-'),
    }
}

fn is_technique(id: &str) -> bool {
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    match id.split_once('.') {
        Some((main, sub)) => digits(main, 4) && digits(sub, 3),
        None => digits(id, 4),
    }
}

/// The tag as it is written, where only capitals and underscores are wrong with it.
#[must_use]
pub fn well_formed(tag: &str) -> Option<String> {
    let lower = tag.to_lowercase();
    if !lower.starts_with("attack.") && !lower.starts_with("owasp.") {
        return None;
    }
    let formed = lower.replace('_', "-");
    (formed != tag && is_tag(&formed)).then_some(formed)
}

#[cfg(test)]
mod tests {
    use super::{is_tag, well_formed};

    #[test]
    fn tags() {
        for tag in ["attack.t1078.004", "attack.t1098", "attack.defense-evasion", "owasp.nhi10"] {
            assert!(is_tag(tag) && well_formed(tag).is_none(), "{tag}");
        }
        for tag in ["attack.t10", "owasp.nhi11", "owasp.nhi0", "nhi7"] {
            assert!(!is_tag(tag) && well_formed(tag).is_none(), "{tag}");
        }
        for (tag, formed) in [
            ("attack.T1078", "attack.t1078"),
            ("attack.defense_evasion", "attack.defense-evasion"),
            ("OWASP.NHI7", "owasp.nhi7"),
        ] {
            assert_eq!(well_formed(tag).as_deref(), Some(formed));
        }
    }
}
