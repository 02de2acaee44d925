//! Times as log sources write them. Never reads a clock.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use super::text_function::{Call, Function};

pub const FUNCTIONS: &[Function] = &[Function {
    name: "event_time",
    arguments: &["text", "more…"],
    doc: "the first argument that is a time: RFC 3339 of any precision and offset, the same with a space and without \
          an offset (then UTC), or an epoch number in seconds, milliseconds, microseconds or nanoseconds",
    call: Call::Time(|row| row.iter().flatten().find_map(|text| micros(text.trim()))),
}];

/// Shorter numbers are counters or years, not epoch times.
const SHORTEST_EPOCH: usize = 9;

fn micros(text: &str) -> Option<i64> {
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return epoch_micros(text);
    }
    let text = &within_nanoseconds(text);
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at.as_microsecond());
    }
    let civil: DateTime = text.parse().ok()?;
    civil.to_zoned(TimeZone::UTC).ok().map(|at| at.timestamp().as_microsecond())
}

/// Drops the digits of a fraction beyond the ninth, which some vendors write.
fn within_nanoseconds(text: &str) -> String {
    let Some((head, tail)) = text.split_once('.') else { return text.to_owned() };
    let digits = tail.bytes().take_while(u8::is_ascii_digit).count();
    let (fraction, zone) = tail.split_at(digits);
    format!("{head}.{}{zone}", fraction.get(..digits.min(9)).unwrap_or_default())
}

/// The unit follows from the magnitude; each range covers the years 1973 to 5138.
fn epoch_micros(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let number: i64 = whole.parse().ok().filter(|_| whole.len() >= SHORTEST_EPOCH)?;
    let micros = match number {
        ..100_000_000_000 => number * 1_000_000 + micro_fraction(fraction)?,
        100_000_000_000..100_000_000_000_000 => number * 1_000,
        100_000_000_000_000..100_000_000_000_000_000 => number,
        _ => number / 1_000,
    };
    Some(micros)
}

fn micro_fraction(digits: &str) -> Option<i64> {
    format!("{digits:0<6}").get(..6)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::micros;

    #[test]
    fn reads_what_vendors_write() {
        let ten = Some(1_793_700_000_000_000);
        for (text, want) in [
            ("2026-11-03T10:00:00Z", ten),
            ("2026-11-03T12:00:00+02:00", ten),
            ("2026-11-03 10:00:00", ten),
            ("2026-11-03 10:00:00.000000000", ten),
            ("2026-11-03T10:00:00.0000001Z", ten),
            ("2026-11-03T10:00:00.00000000012Z", ten),
            ("2026-11-03T10:00:00.25Z", Some(1_793_700_000_250_000)),
            ("1793700000", ten),
            ("1793700000.25", Some(1_793_700_000_250_000)),
            ("1793700000000", ten),
            ("1793700000000000", ten),
            ("1793700000000000000", ten),
        ] {
            assert_eq!(micros(text), want, "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_null() {
        for text in ["", "...", "123", "2026", "yesterday", "10:00:00", "1.2.3"] {
            assert_eq!(micros(text), None, "{text}");
        }
    }
}
