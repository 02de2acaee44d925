//! Durations as they are written in the configuration: `200ms`, `60s`, `5m`, `7d`.

use std::time::Duration;

use super::SourceError;

/// `field` is how the configuration calls it.
pub(super) fn duration(name: &str, field: &str, text: &str) -> Result<Duration, SourceError> {
    read(text).ok_or_else(|| {
        SourceError::config(name, format!("`{field}: {text}` is not a duration: write it like `200ms`, `60s` or `5m`"))
    })
}

/// For who says in other words what is wrong. A day has 24 hours.
#[must_use]
pub fn read(text: &str) -> Option<Duration> {
    let span = text.parse::<jiff::Span>().ok()?;
    span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()?.try_into().ok()
}

/// The wall clock, where the protocol asks for it.
#[expect(clippy::disallowed_methods, reason = "what a provider keeps is asked for by its own time")]
pub(super) fn now() -> keytrail_model::Micros {
    keytrail_model::Micros(jiff::Timestamp::now().as_microsecond())
}
