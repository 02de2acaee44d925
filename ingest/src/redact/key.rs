//! Secrets told by the name before them: `"password": "…"`, the same escaped within a string, `password=…`.

use std::ops::Range;

use super::value;

/// The scalar that belongs to a JSON key at `hit`. The quotes may be escaped, several times over: each level of JSON
/// within JSON puts `2n + 1` backslashes where there were `n`.
pub(super) fn json(bytes: &[u8], hit: Range<usize>) -> Option<Range<usize>> {
    let (at, level) = value_start(bytes, hit)?;
    if let Some(start) = quote(bytes, at, level) {
        return Some(start..text_end(bytes, start, level)).filter(|text| !text.is_empty());
    }
    let rest = bytes.get(at..)?;
    let len = rest.iter().take_while(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')).count();
    Some(at..at + len).filter(|number| bytes.get(number.clone()).is_some_and(value::is_number))
}

/// As `json`, for a key that ends with the needle: `"DB_PASSWORD"`.
pub(super) fn tail(bytes: &[u8], hit: Range<usize>) -> Option<Range<usize>> {
    let head = bytes.get(..hit.start)?;
    let inside = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let begins = hit.start - head.iter().rev().take(64).take_while(inside).count();
    json(bytes, begins..hit.end).or_else(|| assigned(bytes, begins..hit.end))
}

/// As `json`, but a value that is JSON again is left to its own needles: Azure's `Authorization` is such a text.
pub(super) fn header(bytes: &[u8], hit: Range<usize>) -> Option<Range<usize>> {
    let secret = json(bytes, hit)?;
    let first = bytes.get(secret.clone())?.iter().find(|byte| !byte.is_ascii_whitespace())?;
    (!matches!(first, b'{' | b'[')).then_some(secret)
}

/// The value of `name=value`, in a URL, a form or a connection string.
pub(super) fn assigned(bytes: &[u8], hit: Range<usize>) -> Option<Range<usize>> {
    let before = hit.start.checked_sub(1).and_then(|before| bytes.get(before));
    if matches!(before, Some(b'_' | b'-')) || !begins_word(bytes, hit.start) {
        return None;
    }
    let start = hit.end + equals(bytes.get(hit.end..)?)?;
    let rest = bytes.get(start..)?;
    let ends = |byte: &u8| matches!(byte, b'&' | b';' | b',' | b'"' | b'\'' | b'\\' | b'<' | b'>' | b')' | b'}' | b'#');
    let len = rest.iter().take_while(|byte| !ends(byte) && !byte.is_ascii_whitespace()).count();
    (len > 0).then_some(start..start + len)
}

/// The word after a command line's option.
pub(super) fn argument(bytes: &[u8], hit: Range<usize>) -> Option<Range<usize>> {
    if !matches!(bytes.get(hit.end)?, b' ' | b'=') {
        return None;
    }
    let from = hit.end + 1;
    let rest = bytes.get(from..)?;
    let space = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\'')).count();
    let slashes = rest.get(space..)?.iter().take_while(|byte| **byte == b'\\').count();
    let start = from + if slashes > 0 { space + slashes + 1 } else { space };
    let word = bytes.get(start..)?;
    let ends = |byte: &u8| matches!(byte, b'"' | b'\'' | b'\\') || byte.is_ascii_whitespace();
    let len = word.iter().take_while(|byte| !ends(byte)).count();
    (len > 0 && !word.starts_with(b"-")).then_some(start..start + len)
}

/// Where the value of the key at `hit` begins, and how many backslashes a quote has at this level.
fn value_start(bytes: &[u8], hit: Range<usize>) -> Option<(usize, usize)> {
    let opening = hit.start.checked_sub(1).filter(|at| bytes.get(*at) == Some(&b'"'))?;
    let level = backslashes_before(bytes, opening);
    let closed = quote(bytes, hit.end, level)?;
    let colon = skip_space(bytes, closed);
    (bytes.get(colon) == Some(&b':')).then(|| (skip_space(bytes, colon + 1), level))
}

fn quote(bytes: &[u8], at: usize, level: usize) -> Option<usize> {
    let slashes = bytes.get(at..at + level)?;
    (slashes.iter().all(|byte| *byte == b'\\') && bytes.get(at + level) == Some(&b'"')).then_some(at + level + 1)
}

/// Where a string that began at `start` ends. Half a string ends with its line.
fn text_end(bytes: &[u8], start: usize, level: usize) -> usize {
    let rest = bytes.get(start..).unwrap_or_default();
    for found in memchr::memchr2_iter(b'"', b'\n', rest) {
        let at = start + found;
        let slashes = backslashes_before(bytes, at).min(found);
        if bytes.get(at) == Some(&b'\n') {
            return at - slashes;
        }
        // Each backslash of the text itself is written as `level + 1` of them; an odd number escapes the quote.
        if slashes < level || ((slashes - level) / (level + 1)).is_multiple_of(2) {
            return at - slashes.min(level);
        }
    }
    bytes.len()
}

pub(super) fn backslashes_before(bytes: &[u8], at: usize) -> usize {
    bytes.get(..at).unwrap_or_default().iter().rev().take_while(|byte| **byte == b'\\').count()
}

/// White space, plain or escaped as `\n` in JSON within a string.
fn skip_space(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    loop {
        let slashes = bytes.get(at..).unwrap_or_default().iter().take_while(|byte| **byte == b'\\').count();
        match bytes.get(at + slashes) {
            Some(b'n' | b'r' | b't') if slashes > 0 => at += slashes + 1,
            Some(b' ' | b'\t' | b'\r' | b'\n') if slashes == 0 => at += 1,
            _ => return at,
        }
    }
}

/// An equals sign, as it is or in one of the codes that writers use for it.
fn equals(text: &[u8]) -> Option<usize> {
    let codes: [&[u8]; 5] = [b"=", b"%3D", b"%3d", b"\\u003d", b"\\u003D"];
    codes.iter().find(|code| text.starts_with(code)).map(|code| code.len())
}

/// Whether a word can begin at `at`: no letter or digit stands before it, but for those of `\n`, `\u0026` or `%26`.
pub(super) fn begins_word(bytes: &[u8], at: usize) -> bool {
    let head = bytes.get(..at).unwrap_or_default();
    match head {
        [.., b'%', a, b] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => true,
        [.., b'\\', b'u', a, b, c, d] if [a, b, c, d].into_iter().all(u8::is_ascii_hexdigit) => true,
        [.., b'\\', b'n' | b'r' | b't'] => true,
        [.., last] => !last.is_ascii_alphanumeric(),
        [] => true,
    }
}
