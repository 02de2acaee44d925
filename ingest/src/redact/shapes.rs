//! Secrets told by what they look like, wherever they stand.

use std::ops::Range;

use super::key::{backslashes_before, begins_word};

/// No JWT's header is longer, certificates in it counted.
const JWT_HEADER_MAX: usize = 2 << 10;
/// No PEM key is longer.
const PEM_BYTES_MAX: usize = 64 << 10;

#[derive(Clone, Copy)]
pub(super) enum Charset {
    Alnum,
    Hex,
    Base64,
    /// Base64 for URLs.
    Url,
    /// Both, and dots and tildes.
    Token,
}

impl Charset {
    fn holds(self, byte: u8) -> bool {
        match self {
            Self::Alnum => byte.is_ascii_alphanumeric(),
            Self::Hex => byte.is_ascii_hexdigit(),
            Self::Base64 => byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='),
            Self::Url => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Self::Token => byte.is_ascii_alphanumeric() || b"_-.~+/=".contains(&byte),
        }
    }

    fn run(self, bytes: &[u8], from: usize) -> usize {
        self.run_within(bytes, from, usize::MAX)
    }

    /// Bounded, for a look that may come to nothing: many such looks over one long run must stay cheap.
    fn run_within(self, bytes: &[u8], from: usize, most: usize) -> usize {
        bytes.get(from..).unwrap_or_default().iter().take(most).take_while(|byte| self.holds(**byte)).count()
    }
}

/// The body after a prefix that names it; the prefix stays, so that the kind can be told.
pub(super) fn prefixed(
    bytes: &[u8],
    hit: Range<usize>,
    needle: &str,
    of: Charset,
    least: usize,
) -> Option<Range<usize>> {
    let exact = bytes.get(hit.clone()) == Some(needle.as_bytes()) && begins_word(bytes, hit.start);
    let len = of.run(bytes, hit.end);
    (exact && len >= least).then_some(hit.end..hit.end + len)
}

/// `sk-…` of the model vendors: long, and not made of words only.
pub(super) fn model_key(bytes: &[u8], hit: Range<usize>) -> Option<Range<usize>> {
    let len = Charset::Url.run_within(bytes, hit.end, 64);
    let text = bytes.get(hit.end..hit.end + len)?;
    let mixed = text.iter().any(u8::is_ascii_digit) && text.iter().any(u8::is_ascii_alphabetic);
    if mixed { prefixed(bytes, hit, "sk-", Charset::Url, 20) } else { None }
}

/// `xoxb-…` and its kin.
pub(super) fn slack(bytes: &[u8], hit: Range<usize>) -> Option<Range<usize>> {
    let [kind, b'-'] = bytes.get(hit.end..hit.end + 2)? else { return None };
    let body = kind.is_ascii_lowercase().then(|| prefixed(bytes, hit, "xox", Charset::Url, 12))??;
    Some(body.start + 2..body.end)
}

/// Entra client secrets have `8Q~` after three characters.
pub(super) fn entra_secret(bytes: &[u8], hit: Range<usize>) -> Option<Range<usize>> {
    let start = hit.start.checked_sub(3)?;
    let exact = bytes.get(hit.clone()) == Some(b"8Q~") && Charset::Token.run_within(bytes, start, 6) == 6;
    let len = Charset::Token.run_within(bytes, hit.end, 41);
    (exact && (31..=40).contains(&len)).then_some(start..hit.end + len)
}

/// Three parts and two dots; the first one decodes to a JSON object.
pub(super) fn jwt(bytes: &[u8], hit: Range<usize>) -> Option<Range<usize>> {
    let exact = bytes.get(hit.clone()) == Some(b"eyJ") && begins_word(bytes, hit.start);
    let header = hit.end + Charset::Url.run_within(bytes, hit.end, JWT_HEADER_MAX);
    let payload = dot(bytes, header).map(|from| from + Charset::Url.run(bytes, from))?;
    let mut end = dot(bytes, payload)?;
    end += Charset::Token.run(bytes, end);
    (exact && header - hit.end >= 8 && payload - header >= 9).then_some(hit.end..end)
}

fn dot(bytes: &[u8], at: usize) -> Option<usize> {
    (bytes.get(at) == Some(&b'.')).then_some(at + 1)
}

/// The body of a PEM private key, line ends written as `\n` or real.
pub(super) fn private_key(bytes: &[u8], hit: Range<usize>) -> Option<Range<usize>> {
    const MARK: &[u8] = b"PRIVATE KEY-----";
    let head = bytes.get(hit.end..(hit.end + 48).min(bytes.len()))?;
    let mark = memchr::memmem::find(head, MARK)?;
    let start = hit.end + mark + MARK.len();
    let holds = |byte: &u8| Charset::Base64.holds(*byte) || b"\\:,- \r\n\t.".contains(byte);
    let body = bytes.get(start..)?;
    let body = body.get(..body.iter().take(PEM_BYTES_MAX).take_while(|byte| holds(byte)).count())?;
    let len = memchr::memmem::find(body, b"-----END").unwrap_or(body.len());
    // Backslashes before a closing quote belong to the quote.
    let end = start + len;
    let end = if bytes.get(end) == Some(&b'"') { end - backslashes_before(bytes, end).min(len) } else { end };
    (end > start).then_some(start..end)
}

/// `scheme://user:password@host`.
pub(super) fn url_password(bytes: &[u8], hit: Range<usize>) -> Option<Range<usize>> {
    let rest = bytes.get(hit.end..)?;
    let ends =
        |byte: &u8| matches!(byte, b'/' | b'?' | b'#' | b'"' | b'\\' | b'<' | b'>') || byte.is_ascii_whitespace();
    let len = rest.iter().take(512).take_while(|byte| !ends(byte)).count();
    let authority = rest.get(..len)?;
    let at = memchr::memrchr(b'@', authority)?;
    let colon = memchr::memchr(b':', authority.get(..at)?)?;
    (colon + 1 < at).then_some(hit.end + colon + 1..hit.end + at)
}

/// What follows `Bearer ` or `Basic `, if it is no plain word.
pub(super) fn header_value(bytes: &[u8], hit: Range<usize>) -> Option<Range<usize>> {
    let len = Charset::Token.run(bytes, hit.end);
    let text = bytes.get(hit.end..hit.end + len)?;
    let word = text.iter().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'-' | b'.' | b'/'));
    (begins_word(bytes, hit.start) && len >= 16 && !word).then_some(hit.end..hit.end + len)
}

/// The forty characters of an AWS secret, near the name that credential files give it.
pub(super) fn aws_secret(bytes: &[u8], hit: Range<usize>) -> Option<Range<usize>> {
    let rest = bytes.get(hit.end..)?;
    let between = rest.iter().take(16).take_while(|byte| b" =:\"'\\,\t".contains(byte)).count();
    let start = hit.end + between;
    let len = Charset::Base64.run(bytes, start);
    (between > 0 && len >= 40).then_some(start..start + len)
}
