//! A mapping file: how to recognise a log source's records and which raw field gives which event column.
//!
//! Only reads and checks the file. Planning and evaluating its expressions is the normaliser's.

use std::collections::{BTreeMap, BTreeSet};

use keytrail_model::{FileError, RawPath, did_you_mean, nearest_known, read_yaml, schema, schema::Filled};
use keytrail_sql::{Expression, Name, Scope, parse_expression};
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::Envelope;

/// What must hold of a raw path for the record to be this source's.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Condition {
    Prefix {
        prefix: String,
    },
    OneOf(Vec<String>),
    /// `present`, `absent` or the text itself.
    Word(String),
}

impl Condition {
    /// `value` is `None` when the path is missing; null counts as present but equals no text.
    #[must_use]
    pub fn holds(&self, present: bool, value: Option<&str>) -> bool {
        match self {
            Self::Word(word) if word == "present" => present,
            Self::Word(word) if word == "absent" => !present,
            Self::Word(word) => value == Some(word),
            Self::OneOf(words) => value.is_some_and(|value| words.iter().any(|word| word == value)),
            Self::Prefix { prefix } => value.is_some_and(|value| value.starts_with(prefix.as_str())),
        }
    }
}

/// One set of conditions, or a list of such sets of which one must hold: a source may come in several shapes.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Shapes {
    One(BTreeMap<String, Condition>),
    Any(Vec<BTreeMap<String, Condition>>),
}

impl Shapes {
    fn into_vec(self) -> Vec<BTreeMap<String, Condition>> {
        match self {
            Self::One(shape) => vec![shape],
            Self::Any(shapes) => shapes,
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::One(shape) => shape.is_empty(),
            Self::Any(shapes) => shapes.is_empty() || shapes.iter().any(BTreeMap::is_empty),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    source: Spanned<String>,
    provider: String,
    title: String,
    #[serde(default)]
    description: String,
    recognise: Shapes,
    #[serde(default)]
    envelopes: Vec<Spanned<String>>,
    #[serde(default)]
    redact: Vec<Spanned<String>>,
    #[serde(default)]
    fields: Vec<Spanned<String>>,
    ignore: Option<String>,
    #[serde(default)]
    columns: BTreeMap<String, Spanned<String>>,
}

/// One log source's meaning.
#[derive(Clone, Debug)]
pub struct Mapping {
    pub source: String,
    pub provider: String,
    pub title: String,
    pub description: String,
    pub file: String,
    /// The record is this source's when all conditions of one of these hold.
    pub recognise: Vec<Vec<(RawPath, Condition)>>,
    pub envelopes: Vec<Envelope>,
    pub redact: Vec<RawPath>,
    /// Records that are known and of no interest, and why.
    pub ignore: Option<String>,
    /// Event column and what fills it.
    pub columns: Vec<(&'static str, Expression, u64)>,
    /// Paths that records of this source can have; `**` at the end opens a subtree.
    pub fields: Vec<RawPath>,
}

impl Mapping {
    /// Reads one mapping file; every error in it, not only the first.
    pub fn read(file: &str, text: &str) -> Result<Self, Vec<FileError>> {
        let written: Written = read_yaml(file, text).map_err(|error| vec![error])?;
        let mut errors = Vec::new();
        check_name(file, &written, &mut errors);
        let mapping = Self {
            file: file.to_owned(),
            recognise: shapes(file, written.recognise.into_vec(), &mut errors),
            envelopes: envelopes(file, &written.envelopes, &mut errors),
            redact: paths(file, &written.redact, &mut errors),
            fields: paths(file, &written.fields, &mut errors),
            columns: columns(file, &written.columns, &mut errors),
            ignore: written.ignore,
            source: written.source.value,
            provider: written.provider,
            title: written.title,
            description: written.description,
        };
        if errors.is_empty() { Ok(mapping) } else { Err(errors) }
    }

    /// Every raw path that the mapping itself reads.
    #[must_use]
    pub fn paths(&self) -> BTreeSet<RawPath> {
        self.paths_of(&|_| true)
    }

    /// The raw paths that it reads for some columns, and to recognise and redact.
    pub(crate) fn paths_of(&self, wanted: &dyn Fn(&str) -> bool) -> BTreeSet<RawPath> {
        let columns =
            self.columns.iter().filter(|(name, ..)| wanted(name)).flat_map(|(_, expression, _)| &expression.names);
        let named = columns.filter_map(|name| match name {
            Name::Raw(path) => Some(path.clone()),
            Name::Event(_) | Name::Joined { .. } => None,
        });
        let recognised = self.recognise.iter().flatten().map(|(path, _)| path.clone());
        named.chain(recognised).chain(self.redact.iter().cloned()).collect()
    }

    /// Whether a record of this source can have this path; a mapping that declares no fields knows everything.
    pub fn knows(&self, path: &RawPath) -> Result<(), String> {
        if self.fields.is_empty() || self.fields.iter().any(|field| covers(field, path)) {
            return Ok(());
        }
        if self.paths().iter().any(|own| same_keys(own, path)) {
            return Ok(());
        }
        let known: Vec<String> = self.fields.iter().map(ToString::to_string).chain(names()).collect();
        let near = did_you_mean(&path.to_string(), known.iter().map(String::as_str));
        if !near.is_empty() {
            return Err(near);
        }
        let fields: Vec<String> = self.fields.iter().map(ToString::to_string).collect();
        Err(nearest_known(&path.to_string(), fields.iter().map(String::as_str)))
    }
}

fn names() -> impl Iterator<Item = String> {
    schema::FIELDS.iter().map(|field| field.name.to_owned())
}

/// Whether a declared field allows the path: the same keys, or below a subtree that ends in `**`.
fn covers(field: &RawPath, path: &RawPath) -> bool {
    let keys = &field.segments;
    let open = keys.last().is_some_and(|last| last.key == "**");
    let fixed = if open { &keys[..keys.len() - 1] } else { &keys[..] };
    let long_enough = if open { path.segments.len() >= fixed.len() } else { path.segments.len() == fixed.len() };
    long_enough && fixed.iter().zip(&path.segments).all(|(left, right)| left.key == right.key)
}

fn same_keys(left: &RawPath, right: &RawPath) -> bool {
    left.segments.len() == right.segments.len()
        && left.segments.iter().zip(&right.segments).all(|(left, right)| left.key == right.key)
}

fn check_name(file: &str, written: &Written, errors: &mut Vec<FileError>) {
    let line = Some(written.source.referenced.line());
    let source = &written.source.value;
    if !file.ends_with(&format!("{source}.yaml")) {
        errors.push(FileError::new(
            file,
            line,
            format!("source `{source}` belongs into a file called `{source}.yaml`"),
        ));
    }
    if written.recognise.is_empty() {
        errors.push(FileError::new(file, line, "recognise is empty: name a path that only these records have"));
    }
    if written.ignore.is_none() && !written.columns.contains_key("time") {
        errors.push(FileError::new(file, line, "column `time` is missing: add `time: event_time(…)`"));
    }
}

fn shapes(
    file: &str,
    written: Vec<BTreeMap<String, Condition>>,
    errors: &mut Vec<FileError>,
) -> Vec<Vec<(RawPath, Condition)>> {
    written.into_iter().map(|shape| recognise(file, shape, errors)).collect()
}

fn recognise(
    file: &str,
    written: BTreeMap<String, Condition>,
    errors: &mut Vec<FileError>,
) -> Vec<(RawPath, Condition)> {
    let mut conditions = Vec::new();
    for (text, condition) in written {
        match RawPath::parse(&text) {
            Some(path) => conditions.push((path, condition)),
            None => errors.push(FileError::new(file, None, format!("`{text}` under recognise is not a path"))),
        }
    }
    conditions
}

fn envelopes(file: &str, written: &[Spanned<String>], errors: &mut Vec<FileError>) -> Vec<Envelope> {
    let mut parsed = Vec::new();
    for text in written {
        match Envelope::parse(&text.value) {
            Ok(envelope) => parsed.push(envelope),
            Err(reason) => errors.push(FileError::new(file, Some(text.referenced.line()), reason)),
        }
    }
    parsed
}

fn paths(file: &str, written: &[Spanned<String>], errors: &mut Vec<FileError>) -> Vec<RawPath> {
    let mut parsed = Vec::new();
    for text in written {
        if let Some(path) = RawPath::parse(&text.value) {
            parsed.push(path);
        } else {
            let line = Some(text.referenced.line());
            errors.push(FileError::new(file, line, format!("`{}` is not a path", text.value)));
        }
    }
    parsed
}

fn columns(
    file: &str,
    written: &BTreeMap<String, Spanned<String>>,
    errors: &mut Vec<FileError>,
) -> Vec<(&'static str, Expression, u64)> {
    let mut parsed = Vec::new();
    for (name, text) in written {
        let line = text.referenced.line();
        match column(name, &text.value) {
            Ok((field, expression)) => parsed.push((field, expression, line)),
            Err(reason) => errors.push(FileError::new(file, Some(line), reason)),
        }
    }
    parsed
}

fn column(name: &str, text: &str) -> Result<(&'static str, Expression), String> {
    let Some(field) = schema::find(name) else {
        return Err(format!("unknown column `{name}`{}", did_you_mean(name, mappable())));
    };
    if field.filled != Filled::Mapping {
        return Err(format!("column `{name}` is filled after the mapping, from inventory and lineage: remove it"));
    }
    let expression = parse_expression(text, Scope::Mapping).map_err(|error| format!("column `{name}`: {error}"))?;
    Ok((field.name, expression))
}

fn mappable() -> impl Iterator<Item = &'static str> {
    schema::FIELDS.iter().filter(|field| field.filled == Filled::Mapping).map(|field| field.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "source: test.log\nprovider: test\ntitle: t\nrecognise: {kind: x}\n";

    fn errors(rest: &str) -> String {
        let errors = Mapping::read("test.log.yaml", &format!("{GOOD}{rest}")).expect_err("errors");
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn every_mistake_is_named_with_its_line() {
        assert_eq!(
            errors("columns:\n  time: event_time(at)\n  actoin: a\n  owner: b\n  ip: '= ='\n"),
            "test.log.yaml:7: unknown column `actoin`, did you mean `action`?\n\
             test.log.yaml:9: column `ip`: expected: an expression, found: = at Line: 1, Column: 1\n\
             test.log.yaml:8: column `owner` is filled after the mapping, from inventory and lineage: remove it"
        );
        assert!(errors("columns: {ip: a}\n").contains("column `time` is missing"));
    }

    #[test]
    fn declared_fields_name_the_nearest_for_a_typo() {
        let text = format!("{GOOD}fields: [eventName, 'requestParameters.**']\ncolumns: {{time: event_time(at)}}\n");
        let mapping = Mapping::read("test.log.yaml", &text).expect("reads");
        let knows = |text: &str| mapping.knows(&RawPath::parse(text).expect("a path"));
        assert_eq!(knows("requestParameters.a.b"), Ok(()));
        assert_eq!(knows("at"), Ok(()));
        assert_eq!(knows("evntName"), Err(", did you mean `eventName`?".to_owned()));
    }
}
