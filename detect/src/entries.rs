//! Files that hold one entry, a list of them or none yet: exceptions and overlays.

use serde::Deserialize;

/// How a file is laid out, so that it can be read without guessing: a guess would lose lines and key names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Nothing,
    One,
    List,
}

pub(crate) fn shape(text: &str) -> Shape {
    let said = |line: &&str| !line.is_empty() && !line.starts_with('#') && *line != "---";
    match text.lines().map(str::trim_end).find(said) {
        None => Shape::Nothing,
        Some(line) if line.trim_start().starts_with(['-', '[']) => Shape::List,
        Some(_) => Shape::One,
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub(crate) fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::Many(texts) => texts,
        }
    }
}
