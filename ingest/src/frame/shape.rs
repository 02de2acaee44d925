//! The shape of JSON text: where a value ends, what its elements are, whether a file is lines or documents.
//!
//! Looks at brackets and strings only; `scan` judges the rest.

use std::ops::Range;

/// Finds the end of an object or array, over a buffer that may still grow.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Split {
    at: usize,
    depth: usize,
    in_text: bool,
}

impl Split {
    pub(super) fn from(at: usize) -> Self {
        Self { at, ..Self::default() }
    }

    /// The same place after the first `by` bytes of the buffer are gone.
    pub(super) fn shifted(self, by: usize) -> Self {
        Self { at: self.at - by, ..self }
    }

    /// One past the closing bracket, once it is there.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Option<usize> {
        loop {
            if self.in_text && !self.leave_text(bytes) {
                return None;
            }
            match bytes.get(self.at)? {
                b'"' => self.in_text = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' if self.depth <= 1 => return Some(self.at + 1),
                b'}' | b']' => self.depth -= 1,
                _ => {}
            }
            self.at += 1;
        }
    }

    fn leave_text(&mut self, bytes: &[u8]) -> bool {
        while let Some(rest) = bytes.get(self.at..) {
            let Some(found) = memchr::memchr2(b'"', b'\\', rest) else {
                self.at = bytes.len();
                return false;
            };
            let quote = rest.get(found) == Some(&b'"');
            self.at += found + if quote { 1 } else { 2 };
            if quote {
                self.in_text = false;
                return true;
            }
        }
        false
    }
}

/// The elements of a top-level array; `None` when the text is not one, or not whole.
pub(crate) fn elements(text: &[u8]) -> Option<Vec<Range<usize>>> {
    let mut at = skip_space(text, 0);
    if text.get(at) != Some(&b'[') {
        return None;
    }
    let mut found = Vec::new();
    loop {
        at = skip_space(text, at + 1);
        if text.get(at) == Some(&b']') && found.is_empty() {
            break;
        }
        let end = value_end(text, at)?;
        found.push(at..end);
        at = skip_space(text, end);
        match text.get(at)? {
            b',' => {}
            b']' => break,
            _ => return None,
        }
    }
    (skip_space(text, at + 1) == text.len()).then_some(found)
}

/// The elements of the array under one of `keys` at the top of an object that cannot be scanned as a whole, as far as
/// they can be told apart, and where telling them apart ended early.
pub(crate) fn elements_under(text: &[u8], keys: &[&str]) -> Option<(Vec<Range<usize>>, Option<usize>)> {
    let mut at = skip_space(text, 0);
    (text.get(at) == Some(&b'{')).then_some(())?;
    loop {
        let value = first_value(text, at + 1)?;
        let key = skip_space(text, at + 1);
        let written = text.get(key + 1..).unwrap_or_default();
        let named = |name: &&str| written.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'"'));
        if text.get(value) == Some(&b'[') && keys.iter().any(named) {
            return Some(elements_so_far(text, value));
        }
        at = skip_space(text, value_end(text, value)?);
        (text.get(at) == Some(&b',')).then_some(())?;
    }
}

fn elements_so_far(text: &[u8], open: usize) -> (Vec<Range<usize>>, Option<usize>) {
    let mut found = Vec::new();
    let mut at = skip_space(text, open + 1);
    while text.get(at) != Some(&b']') {
        let Some(end) = value_end(text, at) else { return (found, Some(at)) };
        found.push(at..end);
        at = skip_space(text, end);
        match text.get(at) {
            Some(b',') => at = skip_space(text, at + 1),
            Some(b']') => {}
            _ => return (found, Some(at)),
        }
    }
    (found, None)
}

pub(super) fn value_end(text: &[u8], at: usize) -> Option<usize> {
    match text.get(at)? {
        b'{' | b'[' => Split::from(at).advance(text),
        b'"' => {
            let mut split = Split { at: at + 1, in_text: true, ..Split::default() };
            split.leave_text(text).then_some(split.at)
        }
        b',' | b']' | b'}' => None,
        _ => {
            let ends = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t');
            let rest = text.get(at..)?;
            Some(at + rest.iter().position(ends).unwrap_or(rest.len()))
        }
    }
}

pub(super) fn skip_space(text: &[u8], from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    from + rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// An array, or an object whose first value is an array: such a line may be long because it holds many records.
pub(super) fn may_hold_records(text: &[u8]) -> bool {
    let at = skip_space(text, 0);
    match text.get(at) {
        Some(b'[') => true,
        Some(b'{') => first_value(text, at + 1).and_then(|at| text.get(at)) == Some(&b'['),
        _ => false,
    }
}

fn first_value(text: &[u8], from: usize) -> Option<usize> {
    let key = skip_space(text, from);
    (text.get(key) == Some(&b'"')).then_some(())?;
    let colon = skip_space(text, value_end(text, key)?);
    (text.get(colon) == Some(&b':')).then(|| skip_space(text, colon + 1))
}

/// Whether each line of a file that begins like this is a document of its own.
pub(super) fn is_lines(head: &[u8]) -> bool {
    let start = skip_space(head, 0);
    let array = match head.get(start) {
        Some(b'[') => true,
        Some(b'{') => false,
        _ => return true,
    };
    let text = head.get(start..).unwrap_or_default();
    match first_document(text) {
        First::Broken => has_whole_line(text),
        First::Open => !array && memchr::memchr(b'\n', text.trim_ascii_end()).is_none(),
        First::Whole(end) => {
            let (document, rest) = text.split_at(end.min(text.len()));
            let rest = rest.trim_ascii_start();
            let more = matches!(rest.first(), Some(b'{' | b'[')) && !follows_newline(text, end);
            !array && !more && memchr::memchr(b'\n', document).is_none()
        }
    }
}

/// One line that is an object by itself tells lines from a pretty-printed document that is broken.
fn has_whole_line(text: &[u8]) -> bool {
    let whole = |line: &[u8]| line.first() == Some(&b'{') && value_end(line, 0) == Some(line.trim_ascii_end().len());
    text.split(|byte| *byte == b'\n').take(1000).any(whole)
}

fn follows_newline(text: &[u8], end: usize) -> bool {
    let space = text.get(end..skip_space(text, end)).unwrap_or_default();
    memchr::memchr(b'\n', space).is_some()
}

enum First {
    Whole(usize),
    /// Goes on beyond what is here.
    Open,
    /// Cannot be one document, so the lines must speak for themselves.
    Broken,
}

/// Half a line at the top of a file must not swallow the lines after it, so this looks at grammar as well: an object
/// never begins after a value, and no string holds a newline.
fn first_document(text: &[u8]) -> First {
    let (mut at, mut kinds, mut depth, mut before) = (0, 0u128, 0u32, b':');
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => {
                let Some(end) = value_end(text, at) else { return broken_text(text, at) };
                if memchr::memchr(b'\n', text.get(at..end).unwrap_or_default()).is_some() {
                    return First::Broken;
                }
                at = end - 1;
            }
            b'{' | b'[' => {
                let in_array = kinds & 1 == 0;
                if !(matches!(before, b':' | b'[') || before == b',' && in_array) {
                    return First::Broken;
                }
                kinds = kinds << 1 | u128::from(byte == b'{');
                depth += 1;
            }
            b'}' | b']' if depth <= 1 => return First::Whole(at + 1),
            b'}' | b']' => {
                kinds >>= 1;
                depth -= 1;
            }
            _ => {}
        }
        if !byte.is_ascii_whitespace() {
            before = byte;
        }
        at += 1;
    }
    First::Open
}

fn broken_text(text: &[u8], at: usize) -> First {
    let newline = memchr::memchr(b'\n', text.get(at..).unwrap_or_default());
    if newline.is_some() { First::Broken } else { First::Open }
}
