//! Overwriting the scalars of a JSON value and nothing else, so that it stays JSON.

use std::ops::Range;

/// Overwrites every string and number of the value at `range`, keys left alone; for a mapping's `redact:` paths. The
/// range may be that of a string without its quotes, as `Row::ranges` gives it.
pub fn redact_range(bytes: &mut [u8], range: Range<usize>) {
    let quoted = range.start.checked_sub(1).and_then(|before| bytes.get(before)) == Some(&b'"')
        && bytes.get(range.end) == Some(&b'"');
    let Some(value) = bytes.get_mut(range) else { return };
    if quoted {
        value.fill(b'*');
    } else {
        redact_scalars(value);
    }
}

fn redact_scalars(value: &mut [u8]) {
    let mut at = 0;
    while let Some(&byte) = value.get(at) {
        let end = match byte {
            b'"' => text_end(value, at + 1),
            b'-' | b'0'..=b'9' => at + number_len(value.get(at..).unwrap_or_default()),
            _ => at + 1,
        };
        match byte {
            b'"' if !is_key(value, end) => fill(value, at + 1..end.saturating_sub(1)),
            b'-' | b'0'..=b'9' => blank_number(value.get_mut(at..end).unwrap_or_default()),
            _ => {}
        }
        at = end;
    }
}

fn fill(value: &mut [u8], range: Range<usize>) {
    if let Some(text) = value.get_mut(range) {
        text.fill(b'*');
    }
}

/// One past the closing quote.
fn text_end(value: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(byte) = value.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    value.len() + 1
}

fn is_key(value: &[u8], end: usize) -> bool {
    let rest = value.get(end..).unwrap_or_default();
    rest.trim_ascii_start().first() == Some(&b':')
}

fn number_len(value: &[u8]) -> usize {
    value.iter().take_while(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')).count()
}

pub(super) fn is_number(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    digits.first().is_some_and(u8::is_ascii_digit) && number_len(text) == text.len()
}

/// A number may not begin with a nought that others follow, so the first digit becomes a one.
pub(super) fn blank_number(number: &mut [u8]) {
    let mut digits = number.iter_mut().filter(|byte| byte.is_ascii_digit());
    if let Some(first) = digits.next() {
        *first = b'1';
    }
    digits.for_each(|digit| *digit = b'0');
}
