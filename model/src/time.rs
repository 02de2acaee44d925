//! Event time: microseconds since the epoch, UTC, as in the `time` column. Never read from a clock here.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Microseconds since 1970-01-01T00:00:00Z. Serialises as RFC 3339, so that people can read what is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub i64);

impl Micros {
    pub const SECOND: i64 = 1_000_000;

    /// Reads RFC 3339 text (any offset, any precision) or a plain date.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(at) = text.parse::<Timestamp>() {
            return Some(Self(at.as_microsecond()));
        }
        let date: jiff::civil::Date = text.parse().ok()?;
        let at = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
        Some(Self(at.as_microsecond()))
    }

    /// Start of the UTC-aligned bucket of `width` microseconds that holds this instant.
    #[must_use]
    pub fn bucket(self, width: i64) -> Self {
        Self(self.0.div_euclid(width) * width)
    }
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_microsecond(self.0) {
            Ok(at) => f.pad(&at.to_string()),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

impl Serialize for Micros {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Micros {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom(format!("`{text}` is not an RFC 3339 time")))
    }
}

#[cfg(test)]
mod tests {
    use super::Micros;

    #[test]
    fn reads_and_writes_rfc3339() {
        let at = Micros::parse("2026-11-03T10:00:00.250Z").expect("a time");
        assert_eq!(at.to_string(), "2026-11-03T10:00:00.25Z");
        assert_eq!(Micros::parse("2026-11-03"), Micros::parse("2026-11-03T00:00:00Z"));
        assert_eq!(Micros::parse("yesterday"), None);
    }

    #[test]
    fn buckets_align_to_utc_also_before_the_epoch() {
        let day = 86_400 * Micros::SECOND;
        assert_eq!(Micros::parse("2026-11-03T23:59:59Z").map(|t| t.bucket(day)), Micros::parse("2026-11-03"));
        assert_eq!(Micros(-1).bucket(day), Micros(-day));
    }
}
