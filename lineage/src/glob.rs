//! `*` and `?` globs over ids, as inventory files write them. Linear in the text for each star, never exponential.
//!
//! ASCII case is ignored: Azure writes one resource id in two cases, and a guardrail must not be lost to that.

/// A compiled pattern. `*` is any run of characters (`/` and `:` too), `?` exactly one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Glob {
    text: String,
    pattern: Vec<char>,
}

impl Glob {
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut pattern: Vec<char> = text.chars().map(|c| c.to_ascii_lowercase()).collect();
        pattern.dedup_by(|next, before| *next == '*' && *before == '*');
        Self { text: text.to_owned(), pattern }
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Without `*` and `?` a pattern names one thing.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        !self.pattern.iter().any(|c| matches!(c, '*' | '?'))
    }

    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let mut at = 0;
        let mut rest = text.chars();
        // Only the last star can be widened: text that an earlier one would take, the last one can take too.
        let mut retry: Option<(usize, std::str::Chars<'_>)> = None;
        loop {
            let here = rest.clone();
            let read = rest.next();
            match (self.pattern.get(at), read) {
                (None, None) => return true,
                (Some('*'), _) => {
                    retry = Some((at, here.clone()));
                    rest = here;
                    at += 1;
                }
                (Some(want), Some(c)) if *want == '?' || *want == c.to_ascii_lowercase() => at += 1,
                _ => {
                    let Some((star, mut from)) = retry else { return false };
                    if from.next().is_none() {
                        return false;
                    }
                    retry = Some((star, from.clone()));
                    rest = from;
                    at = star + 1;
                }
            }
        }
    }
}

/// Whether any of the patterns matches.
#[must_use]
pub fn any(globs: &[Glob], text: &str) -> bool {
    globs.iter().any(|glob| glob.matches(text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Glob;

    fn naive(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), _) => (0..=text.len()).any(|taken| naive(rest, &text[taken..])),
            (Some((want, rest)), Some((c, more))) => {
                (*want == '?' || want.eq_ignore_ascii_case(c)) && naive(rest, more)
            }
            _ => false,
        }
    }

    #[test]
    fn stars_cross_slashes_and_case_is_ignored() {
        let glob = Glob::new("arn:aws:sts::*:assumed-role/refund-agent/*");
        assert!(glob.matches("arn:aws:sts::111122223333:assumed-role/refund-agent/s/1"));
        assert!(!glob.matches("arn:aws:sts::111122223333:assumed-role/refund-agents"));
        assert!(Glob::new("rds-data:execute*").matches("rds-data:ExecuteStatement"));
        assert!(Glob::new("a?c").matches("aéc"));
        assert!(!Glob::new("").matches("a") && Glob::new("").matches(""));
        assert!(Glob::new("abc").is_exact() && !Glob::new("ab*").is_exact());
    }

    #[test]
    fn a_hostile_pattern_stays_fast() {
        let glob = Glob::new(&"*a".repeat(200));
        assert!(!glob.matches(&format!("{}b", "a".repeat(20_000))));
    }

    proptest! {
        #[test]
        fn agrees_with_a_naive_matcher(pattern in "[abA*?é]{0,8}", text in "[abBé]{0,10}") {
            let chars: Vec<char> = pattern.chars().collect();
            let wanted = naive(&chars, &text.chars().collect::<Vec<_>>());
            prop_assert_eq!(Glob::new(&pattern).matches(&text), wanted);
        }
    }
}
