//! Comparison of texts without regard to case. The pattern is in lower case already; ASCII needs no copy of the value.

pub(super) fn equals(value: &str, lower: &str) -> bool {
    if value.is_ascii() { value.eq_ignore_ascii_case(lower) } else { value.to_lowercase() == lower }
}

pub(super) fn contains(value: &str, lower: &str) -> bool {
    if !value.is_ascii() {
        return value.to_lowercase().contains(lower);
    }
    let (value, lower) = (value.as_bytes(), lower.as_bytes());
    let Some(first) = lower.first() else { return true };
    let Some(last) = value.len().checked_sub(lower.len()) else { return false };
    let starts = value.iter().enumerate().take(last + 1).filter(|(_, byte)| byte.to_ascii_lowercase() == *first);
    starts
        .map(|(at, _)| at)
        .any(|at| value.get(at..at + lower.len()).is_some_and(|part| part.eq_ignore_ascii_case(lower)))
}

pub(super) fn starts_with(value: &str, lower: &str) -> bool {
    if !value.is_ascii() {
        return value.to_lowercase().starts_with(lower);
    }
    value.get(..lower.len()).is_some_and(|part| part.eq_ignore_ascii_case(lower))
}

pub(super) fn ends_with(value: &str, lower: &str) -> bool {
    if !value.is_ascii() {
        return value.to_lowercase().ends_with(lower);
    }
    let start = value.len().checked_sub(lower.len());
    start.and_then(|start| value.get(start..)).is_some_and(|part| part.eq_ignore_ascii_case(lower))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_as_lower_casing_both() {
        let values = ["", "A", "aBc", "xABCx", "ÄBC", "abcÄ", "aab", "AB"];
        for value in values {
            for lower in ["", "a", "abc", "äb", "ab", "abcd"] {
                let folded = value.to_lowercase();
                assert_eq!(equals(value, lower), folded == lower, "{value} = {lower}");
                assert_eq!(contains(value, lower), folded.contains(lower), "{value} ~ {lower}");
                assert_eq!(starts_with(value, lower), folded.starts_with(lower), "{value} ^ {lower}");
                assert_eq!(ends_with(value, lower), folded.ends_with(lower), "{value} $ {lower}");
            }
        }
    }
}
