//! From a body to lines, one record each.

use serde_json::Value;

use crate::{Limits, Reader};

/// Records as they are spooled.
pub struct Lines {
    pub bytes: Vec<u8>,
    pub records: u64,
    /// Whether any of it looks like JSON.
    json: bool,
}

/// Why nothing of a body is kept.
#[derive(Debug, PartialEq, Eq)]
pub enum Unread {
    NoRecord,
    TooLarge,
    /// Some of it cannot be read: whoever sent it still has it.
    Broken(String),
}

/// Nothing, unless all of it can be read, and is no larger unpacked than `most`. A line that is no JSON is kept, and
/// becomes a reject when it is read.
pub fn lines(body: &[u8], limits: &Limits, most: usize, splunk: bool) -> Result<Lines, Unread> {
    let mut lines = Lines { bytes: Vec::with_capacity(body.len() + 1), records: 0, json: false };
    let read = Reader::over("body", body.to_vec(), limits).map_err(|fault| Unread::Broken(fault.to_string()))?;
    let mut bytes = 0;
    for read in read {
        let chunk = read.map_err(|reject| Unread::Broken(format!("{}: {}", reject.position, reject.reason)))?;
        bytes += chunk.bytes.len();
        if bytes > most {
            return Err(Unread::TooLarge);
        }
        for span in &chunk.spans {
            let document = chunk.document(span);
            match splunk.then(|| event(document)).flatten() {
                Some(event) => lines.push(&event),
                None => lines.push(document),
            }
        }
    }
    if lines.json { Ok(lines) } else { Err(Unread::NoRecord) }
}

impl Lines {
    /// A line break stands only between the tokens of a record, where a blank does as well.
    fn push(&mut self, record: &[u8]) {
        let flat = |byte: &u8| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte };
        self.bytes.extend(record.iter().map(flat));
        self.bytes.push(b'\n');
        self.records += 1;
        self.json |= matches!(record.trim_ascii().first(), Some(b'{' | b'['));
    }
}

/// What Splunk's senders wrap: `{"time": …, "event": {…}}`, or the record as a text.
fn event(document: &[u8]) -> Option<Vec<u8>> {
    let wrapped: Value = serde_json::from_slice(document).ok()?;
    match wrapped.get("event")? {
        Value::Object(event) => serde_json::to_vec(event).ok(),
        Value::String(text) if text.trim_start().starts_with('{') => Some(text.trim().as_bytes().to_vec()),
        _ => None,
    }
}

pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2).map(|pair| {
        let text = std::str::from_utf8(pair).ok().filter(|text| text.len() == 2)?;
        u8::from_str_radix(text, 16).ok()
    });
    pairs.collect()
}
