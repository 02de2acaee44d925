//! Sigma strings with wildcards, and how they become the cheapest test that does the same.

use regex::{Regex, RegexBuilder};
use rsigma_parser::{Modifier, SigmaString, SpecialChar, StringPart};

use super::test::Test;

/// What Windows takes for a dash before an option.
const DASHES: [char; 5] = ['-', '/', '\u{2013}', '\u{2014}', '\u{2015}'];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    /// `*`
    Many,
    /// `?`
    One,
    /// Any of `DASHES`.
    Dash,
}

/// The pieces of a string as written.
pub(super) fn pieces(text: &SigmaString) -> Vec<Piece> {
    text.parts
        .iter()
        .map(|part| match part {
            StringPart::Plain(text) => Piece::Text(text.clone()),
            StringPart::Special(SpecialChar::WildcardMulti) => Piece::Many,
            StringPart::Special(SpecialChar::WildcardSingle) => Piece::One,
        })
        .collect()
}

/// `windash`: each dash stands for all of them, which is every permutation at once.
pub(super) fn any_dash(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut out = Vec::new();
    for piece in pieces {
        let Piece::Text(text) = piece else {
            out.push(piece);
            continue;
        };
        for part in text.split_inclusive(DASHES) {
            let plain = part.trim_end_matches(DASHES);
            if !plain.is_empty() {
                out.push(Piece::Text(plain.to_owned()));
            }
            if plain.len() < part.len() {
                out.push(Piece::Dash);
            }
        }
    }
    out
}

/// The test for a pattern, `contains`, `startswith` and `endswith` being wildcards around it.
pub(super) fn test(mut pieces: Vec<Piece>, operator: Option<Modifier>, cased: bool) -> Result<Test, String> {
    if matches!(operator, Some(Modifier::Contains | Modifier::EndsWith)) {
        pieces.insert(0, Piece::Many);
    }
    if matches!(operator, Some(Modifier::Contains | Modifier::StartsWith)) {
        pieces.push(Piece::Many);
    }
    pieces.dedup_by(|left, right| left == right && *left == Piece::Many);
    simple(&pieces, cased).map_or_else(|| wildcard(&pieces, cased).map(Test::Pattern), Ok)
}

/// The forms that need no regular expression.
fn simple(pieces: &[Piece], cased: bool) -> Option<Test> {
    use Piece::{Many, Text};
    let text = |text: &String| if cased { text.clone() } else { text.to_lowercase() };
    match pieces {
        [] => Some(Test::Equals { text: String::new(), cased }),
        [Many] => Some(Test::Any),
        [Text(one)] => Some(Test::Equals { text: text(one), cased }),
        [Text(one), Many] => Some(Test::StartsWith { text: text(one), cased }),
        [Many, Text(one)] => Some(Test::EndsWith { text: text(one), cased }),
        [Many, Text(one), Many] => Some(Test::Contains { text: text(one), cased }),
        _ => None,
    }
}

fn wildcard(pieces: &[Piece], cased: bool) -> Result<Regex, String> {
    let dashes = format!("[{}]", DASHES.map(|dash| regex::escape(&dash.to_string())).concat());
    let body: String = pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => regex::escape(text),
            Piece::Many => ".*".to_owned(),
            Piece::One => ".".to_owned(),
            Piece::Dash => dashes.clone(),
        })
        .collect();
    let mut builder = RegexBuilder::new(&format!("^(?:{body})$"));
    let built = builder.case_insensitive(!cased).dot_matches_new_line(true).build();
    built.map_err(|error| format!("a value with wildcards is too long: {error}"))
}

/// A regular expression as the rule wrote it, with the flags `i`, `m` and `s`.
pub(super) fn regex(text: &str, has: impl Fn(Modifier) -> bool) -> Result<Test, String> {
    let mut builder = RegexBuilder::new(text);
    builder.case_insensitive(has(Modifier::IgnoreCase));
    builder.multi_line(has(Modifier::Multiline)).dot_matches_new_line(has(Modifier::DotAll));
    builder.build().map(Test::Pattern).map_err(|error| {
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned();
        format!(
            "`{text}` is not a regular expression that can be run ({reason}): look-around and back-references cannot"
        )
    })
}
