//! The small pieces of JSON text: where a string stops, how long an escape or a number is, what an escaped string says.

use super::Fault;

/// Where the next quote or backslash stands. Most strings are short, so a few blocks come before `memchr`.
#[inline]
pub(super) fn stop(bytes: &[u8], from: usize) -> Option<usize> {
    let mut rest = bytes.get(from..)?;
    let mut at = from;
    for _ in 0..4 {
        let Some((block, more)) = rest.split_first_chunk::<16>() else { break };
        if let Some(found) = stop_in(block) {
            return Some(at + found);
        }
        at += 16;
        rest = more;
    }
    memchr::memchr2(b'"', b'\\', rest).map(|found| at + found)
}

/// Written so that the compiler makes it one comparison of sixteen bytes.
#[inline]
fn stop_in(block: &[u8; 16]) -> Option<usize> {
    let marks = block.map(|byte| if byte == b'"' || byte == b'\\' { 0xFF } else { 0 });
    let marks = u128::from_le_bytes(marks);
    (marks != 0).then(|| marks.trailing_zeros() as usize / 8)
}

/// How long the escape is whose backslash stands before `rest`, backslash included.
pub(super) fn escape_len(rest: &[u8]) -> Option<usize> {
    match rest.first()? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' => rest.get(1..5)?.iter().all(u8::is_ascii_hexdigit).then_some(6),
        _ => None,
    }
}

/// How long the number, `true`, `false` or `null` at the start is, if it is one.
pub(super) fn scalar_len(bytes: &[u8]) -> Option<usize> {
    let len = match bytes.first()? {
        b't' => 4 * usize::from(bytes.starts_with(b"true")),
        b'f' => 5 * usize::from(bytes.starts_with(b"false")),
        b'n' => 4 * usize::from(bytes.starts_with(b"null")),
        _ => number_len(bytes)?,
    };
    let ends = bytes.get(len).is_none_or(|byte| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t'));
    (len > 0 && ends).then_some(len)
}

fn number_len(bytes: &[u8]) -> Option<usize> {
    let mut at = usize::from(bytes.first() == Some(&b'-'));
    let whole = digits(bytes, at)?;
    if whole > 1 && bytes.get(at) == Some(&b'0') {
        return None;
    }
    at += whole;
    if bytes.get(at) == Some(&b'.') {
        at += 1 + digits(bytes, at + 1)?;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        at += 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        at += digits(bytes, at)?;
    }
    Some(at)
}

fn digits(bytes: &[u8], from: usize) -> Option<usize> {
    let count = bytes.get(from..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (count > 0).then_some(count)
}

/// Writes what an escaped string says. A lone surrogate becomes U+FFFD, as text has no other way to hold it.
pub(crate) fn unescape(mut rest: &[u8], out: &mut Vec<u8>) {
    while let Some(stop) = memchr::memchr(b'\\', rest) {
        let (plain, escape) = rest.split_at(stop);
        out.extend_from_slice(plain);
        let code = escape.get(1).copied().unwrap_or(b'\\');
        if code == b'u' {
            let (character, len) = unicode(escape);
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            rest = escape.get(len..).unwrap_or_default();
        } else {
            out.push(named(code));
            rest = escape.get(2..).unwrap_or_default();
        }
    }
    out.extend_from_slice(rest);
}

fn named(code: u8) -> u8 {
    match code {
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        other => other,
    }
}

/// The character of one `\uXXXX`, or of a pair of them, and how many bytes that took.
fn unicode(escape: &[u8]) -> (char, usize) {
    let Some(first) = unit(escape) else { return (char::REPLACEMENT_CHARACTER, escape.len().min(6)) };
    if let Some(alone) = char::from_u32(first) {
        return (alone, 6);
    }
    let second = escape.get(6..).and_then(unit).filter(|low| (0xDC00..0xE000).contains(low));
    match second {
        Some(low) if first < 0xDC00 => {
            let joined = 0x10000 + ((first - 0xD800) << 10) + (low - 0xDC00);
            (char::from_u32(joined).unwrap_or(char::REPLACEMENT_CHARACTER), 12)
        }
        _ => (char::REPLACEMENT_CHARACTER, 6),
    }
}

fn unit(escape: &[u8]) -> Option<u32> {
    let hex = escape.strip_prefix(b"\\u")?.get(..4)?;
    u32::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()
}

/// Whether the record is UTF-8; to be asked once, before it is scanned.
pub fn check_text(record: &[u8]) -> Result<(), Fault> {
    if simdutf8::basic::from_utf8(record).is_ok() {
        return Ok(());
    }
    let byte = simdutf8::compat::from_utf8(record).err().map_or(0, |fault| fault.valid_up_to());
    let reason = "not UTF-8; convert the file with `iconv -f LATIN1 -t UTF-8`, or whatever it was written in";
    Err(Fault { byte, reason: reason.to_owned() })
}
