//! Timestamp parts: `|hour`, `|week` and the like, taken in UTC of a time that a log wrote as text or as a number.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rsigma_parser::Modifier;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Minute,
    Hour,
    Day,
    /// ISO 8601, 1 to 53.
    Week,
    Month,
    Year,
}

impl Part {
    pub(super) fn new(modifier: Modifier) -> Option<Self> {
        match modifier {
            Modifier::Minute => Some(Self::Minute),
            Modifier::Hour => Some(Self::Hour),
            Modifier::Day => Some(Self::Day),
            Modifier::Week => Some(Self::Week),
            Modifier::Month => Some(Self::Month),
            Modifier::Year => Some(Self::Year),
            _ => None,
        }
    }

    pub(super) fn of(self, text: &str) -> Option<f64> {
        let at = utc(text)?;
        Some(match self {
            Self::Minute => f64::from(at.minute()),
            Self::Hour => f64::from(at.hour()),
            Self::Day => f64::from(at.day()),
            Self::Week => f64::from(at.date().iso_week_date().week()),
            Self::Month => f64::from(at.month()),
            Self::Year => f64::from(at.year()),
        })
    }
}

/// A time with an offset, one without (taken as UTC), or seconds or milliseconds since the epoch.
fn utc(text: &str) -> Option<DateTime> {
    if let Ok(number) = text.parse::<i64>() {
        let at = if number.abs() > 100_000_000_000 {
            Timestamp::from_millisecond(number)
        } else {
            Timestamp::from_second(number)
        };
        return at.ok().map(|at| TimeZone::UTC.to_datetime(at));
    }
    let at = text.parse::<Timestamp>().map(|at| TimeZone::UTC.to_datetime(at));
    at.or_else(|_| text.parse::<DateTime>()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_taken_in_utc() {
        let text = "2026-11-03T23:30:00-02:00";
        for (part, wanted) in [
            (Part::Minute, 30.0),
            (Part::Hour, 1.0),
            (Part::Day, 4.0),
            (Part::Week, 45.0),
            (Part::Month, 11.0),
            (Part::Year, 2026.0),
        ] {
            assert_eq!(part.of(text), Some(wanted), "{part:?}");
        }
        for same in ["2026-11-04T01:30:00", "2026-11-04 01:30:00", "1793755800", "1793755800000"] {
            assert_eq!(Part::Hour.of(same), Some(1.0), "{same}");
        }
        assert_eq!(Part::Hour.of("soon"), None);
    }
}
