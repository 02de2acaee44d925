//! "did you mean": the nearest known name, for every message that refuses an unknown one.

/// The candidate nearest to `name`, if any is near enough to be worth naming.
#[must_use]
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    candidates
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&lower, &known.to_lowercase()), known))
        .min_by_key(|(distance, known)| (*distance, known.len()))
        .filter(|(distance, known)| *distance <= name.len().max(known.len()) / 2)
        .map(|(_, known)| known)
}

/// `, did you mean X?` or nothing, ready to be appended to a message.
#[must_use]
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, candidates).map(|known| format!(", did you mean `{known}`?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{did_you_mean, nearest};

    #[test]
    fn finds_a_typo_and_stays_silent_when_nothing_is_near() {
        assert_eq!(nearest("evntName", ["eventName", "eventSource"]), Some("eventName"));
        assert_eq!(nearest("zzz", ["eventName", "eventSource"]), None);
        assert_eq!(did_you_mean("sevrity", ["severity"]), ", did you mean `severity`?");
    }
}
