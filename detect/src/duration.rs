//! Lengths of time as people write them in rule files.

use keytrail_model::Micros;

/// `30s`, `10m`, `24h`, `7d` in microseconds; at least a second.
pub(crate) fn duration(text: &str) -> Option<i64> {
    let unit = text.chars().last()?;
    let number: i64 = text.strip_suffix(unit)?.parse().ok()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    (number > 0).then(|| number.checked_mul(seconds)?.checked_mul(Micros::SECOND)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_each_unit_and_nothing_else() {
        let seconds = |text| duration(text).map(|micros| micros / Micros::SECOND);
        assert_eq!(["30s", "10m", "24h", "7d"].map(seconds), [Some(30), Some(600), Some(86_400), Some(604_800)]);
        for text in ["", "s", "10", "0m", "-1m", "1w", "1.5h", "9999999999999d", "10 m"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
