//! "did you mean": the nearest known name, for every message that refuses an unknown one.

/// The candidate nearest to `name`, if any is near enough to be worth naming.
#[must_use]
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, known) = nearest_of_all(name, candidates)?;
    (distance <= name.len().max(known.len()) / 2).then_some(known)
}

/// The candidate nearest to `name`, however far, and how far it is.
fn nearest_of_all<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<(usize, &'a str)> {
    let lower = name.to_lowercase();
    let distance = |known: &str| strsim::damerau_levenshtein(&lower, &known.to_lowercase());
    let all = candidates.into_iter().map(|known| (distance(known), known));
    all.min_by_key(|(distance, known)| (*distance, known.len()))
}

/// `, did you mean X?`, or where nothing is near, what comes nearest all the same.
#[must_use]
pub fn nearest_known<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> String {
    let near = did_you_mean(name, candidates.clone());
    if !near.is_empty() {
        return near;
    }
    nearest_of_all(name, candidates).map(|(_, known)| format!("; the nearest is `{known}`")).unwrap_or_default()
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
