//! A path into a raw record, as mappings and rules write it.
//!
//! `userIdentity.accessKeyId` · `resources[].ARN` (each element) · `claims."http://…/name"` (a key with other
//! characters) · `responseElements?` (is it there at all, null or not) · `requestParameters.groups.id[*]` (every value
//! reached, crossing arrays wherever they are).

use std::fmt;

/// What the column of a path holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Want {
    /// One text: a string unescaped, a number or bool as written, an object or array as its JSON. Null when absent.
    Text,
    /// A list of texts, one for each element of the arrays marked `[]`.
    List,
    /// A list of texts: every value reached, crossing any array on the way and at the end.
    Any,
    /// Whether the key is there, even as null.
    Present,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Segment {
    pub key: String,
    /// Written with `[]`: the value is an array and each element is meant.
    pub each: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RawPath {
    pub segments: Vec<Segment>,
    pub want: Want,
}

impl RawPath {
    /// Reads the written form. `None` when a quote does not close or a segment is empty.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (body, suffix) = split_suffix(text);
        let segments = split_segments(body)?;
        Some(Self::new(segments, suffix))
    }

    /// From keys already taken apart, such as the parts of an SQL compound name.
    #[must_use]
    pub fn from_keys(keys: &[&str]) -> Option<Self> {
        let (last, first) = keys.split_last()?;
        let (last, suffix) = split_suffix(last);
        let segments = first.iter().copied().chain([last]).map(segment).collect::<Option<Vec<_>>>()?;
        Some(Self::new(segments, suffix))
    }

    fn new(segments: Vec<Segment>, suffix: Option<Want>) -> Self {
        let listed = segments.iter().any(|segment| segment.each);
        let want = suffix.unwrap_or(if listed { Want::List } else { Want::Text });
        Self { segments, want }
    }
}

fn split_suffix(text: &str) -> (&str, Option<Want>) {
    if let Some(body) = text.strip_suffix("[*]") {
        (body, Some(Want::Any))
    } else if let Some(body) = text.strip_suffix('?') {
        (body, Some(Want::Present))
    } else {
        (text, None)
    }
}

fn split_segments(body: &str) -> Option<Vec<Segment>> {
    let mut segments = Vec::new();
    let mut rest = body;
    loop {
        let (one, tail) = next_segment(rest)?;
        segments.push(one);
        match tail.strip_prefix('.') {
            Some(more) => rest = more,
            None if tail.is_empty() => return Some(segments),
            None => return None,
        }
    }
}

fn next_segment(text: &str) -> Option<(Segment, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        let (key, tail) = quoted.split_once('"')?;
        let (each, tail) = tail.strip_prefix("[]").map_or((false, tail), |tail| (true, tail));
        return Some((Segment { key: key.to_owned(), each }, tail));
    }
    let end = text.find('.').unwrap_or(text.len());
    Some((segment(text.get(..end)?)?, text.get(end..)?))
}

fn segment(text: &str) -> Option<Segment> {
    let (key, each) = text.strip_suffix("[]").map_or((text, false), |key| (key, true));
    (!key.is_empty()).then(|| Segment { key: key.to_owned(), each })
}

/// The written form; parsing it gives the same path, and it names the path's column in a batch.
impl fmt::Display for RawPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.segments.iter().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            if segment.key.contains(['.', '"', '[', ']', '?', '*']) {
                write!(f, "\"{}\"", segment.key)?;
            } else {
                f.write_str(&segment.key)?;
            }
            if segment.each {
                f.write_str("[]")?;
            }
        }
        f.write_str(match self.want {
            Want::Any => "[*]",
            Want::Present => "?",
            Want::Text | Want::List => "",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_written_form_reads_back() {
        for text in [
            "userIdentity.accessKeyId",
            "resources[].ARN",
            "claims.\"http://schemas.example/objectid.v1\"",
            "responseElements?",
            "requestParameters.groups.id[*]",
            "@timestamp",
        ] {
            let path = RawPath::parse(text).expect(text);
            assert_eq!(path.to_string(), text);
            assert_eq!(RawPath::parse(&path.to_string()), Some(path));
        }
    }

    #[test]
    fn refuses_what_is_no_path() {
        for text in ["", ".", "a..b", "a.\"b", "a.\"b\"c"] {
            assert_eq!(RawPath::parse(text), None, "{text}");
        }
    }

    #[test]
    fn sql_parts_keep_their_dots() {
        let path = RawPath::from_keys(&["claims", "http://x.example/y"]).expect("a path");
        assert_eq!(path.to_string(), "claims.\"http://x.example/y\"");
        assert_eq!(RawPath::from_keys(&["resources[]", "ARN"]).map(|path| path.want), Some(Want::List));
    }
}
