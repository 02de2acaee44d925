//! Overwrites secrets in a chunk, in place and at the same length, before any view of it is made.
//!
//! One search finds every needle of the pattern table; each hit is then judged where it stands. JSON stays valid, and
//! text that is not quite JSON is served as well, for rejects. Which patterns there are stands in `patterns`.

mod key;
mod patterns;
mod search;
mod shapes;
mod value;

use std::ops::Range;
use std::sync::LazyLock;

use patterns::PATTERNS;
use search::Search;
pub use value::redact_range;

/// How much of a record that could not be read is kept.
const EXCERPT_BYTES: usize = 2048;

pub struct Redactor {
    search: Search,
}

impl Default for Redactor {
    fn default() -> Self {
        Self::new()
    }
}

impl Redactor {
    #[must_use]
    pub fn new() -> Self {
        Self { search: Search::new(PATTERNS.iter().map(|pattern| pattern.needle)) }
    }

    /// One for the whole process: it holds no state.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<Redactor> = LazyLock::new(Redactor::new);
        &SHARED
    }

    /// Overwrites every secret; how many there were.
    pub fn redact(&self, bytes: &mut [u8]) -> u64 {
        let mut count = 0;
        let mut done = 0;
        for (pattern, hit) in self.search.find(bytes) {
            let Some(pattern) = PATTERNS.get(pattern).filter(|_| hit.start >= done) else { continue };
            let Some(secret) = pattern.secret(bytes, hit) else { continue };
            done = secret.end;
            count += u64::from(overwrite(bytes, secret));
        }
        count
    }

    /// The beginning of a record that could not be read, redacted, for a reject.
    #[must_use]
    pub fn excerpt(&self, record: &[u8]) -> String {
        let mut head = record.get(..EXCERPT_BYTES).unwrap_or(record).to_vec();
        self.redact(&mut head);
        String::from_utf8_lossy(&head).into_owned()
    }
}

/// Numbers stay numbers, line ends stay line ends. False when there was nothing left to hide.
fn overwrite(bytes: &mut [u8], secret: Range<usize>) -> bool {
    let number = secret.start.checked_sub(1).and_then(|before| bytes.get(before)) != Some(&b'"')
        && bytes.get(secret.clone()).is_some_and(value::is_number);
    let Some(secret) = bytes.get_mut(secret) else { return false };
    if secret.iter().all(|byte| *byte == b'*') {
        return false;
    }
    if number {
        value::blank_number(secret);
    } else {
        secret.iter_mut().filter(|byte| !matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b'*');
    }
    true
}

#[cfg(test)]
mod tests;
