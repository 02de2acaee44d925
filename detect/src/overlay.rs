//! Overlays: what a user changes about a rule that somebody else maintains, without editing its file.

use std::collections::BTreeMap;

use keytrail_model::{FileError, Severity, did_you_mean, read_yaml};
use keytrail_sql::{Expression, Scope, parse_expression};
use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use crate::duration::duration;
use crate::entries::{Shape, shape};
use crate::template::Template;
use crate::{Measure, Rule, State, Status};

/// The keys that `set` knows.
pub const SETTABLE: [&str; 13] = [
    "title",
    "severity",
    "status",
    "state",
    "tags",
    "description",
    "summary",
    "group_by",
    "suppress_for",
    "playbook",
    "false_positives",
    "runbook",
    "references",
];

/// A condition that an overlay adds to a rule, and where it stands.
#[derive(Clone, Debug)]
pub struct Narrowed {
    pub condition: Expression,
    pub file: String,
    pub line: u64,
}

/// One change to one rule.
#[derive(Debug)]
pub struct Overlay {
    pub rule: Spanned<String>,
    set: BTreeMap<String, Spanned<Value>>,
    and: Option<Spanned<String>>,
    added: [(&'static str, Vec<String>); 3],
    pub file: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    rule: Spanned<String>,
    /// Why; for the reader of the file.
    #[serde(rename = "reason")]
    _reason: Option<String>,
    #[serde(default)]
    set: BTreeMap<String, Spanned<Value>>,
    and: Option<Spanned<String>>,
    #[serde(default, rename = "false_positives+")]
    false_positives: Vec<String>,
    #[serde(default, rename = "tags+")]
    tags: Vec<String>,
    #[serde(default, rename = "references+")]
    references: Vec<String>,
}

impl Overlay {
    /// Reads a file: one overlay, a list of them, or none.
    pub fn read(file: &str, text: &str) -> Result<Vec<Self>, Vec<FileError>> {
        let written: Vec<Written> = match shape(text) {
            Shape::Nothing => Vec::new(),
            Shape::List => read_yaml(file, text).map_err(|error| vec![error])?,
            Shape::One => vec![read_yaml(file, text).map_err(|error| vec![error])?],
        };
        Ok(written.into_iter().map(|one| overlay(file, one)).collect())
    }

    fn line(&self) -> u64 {
        self.rule.referenced.line()
    }

    fn fail(&self, line: u64, message: impl Into<String>) -> FileError {
        FileError::new(&self.file, Some(line), message)
    }

    /// Changes the rule; every error, with the overlay's own file and line.
    fn apply(&self, rule: &mut Rule) -> Vec<FileError> {
        let mut errors = Vec::new();
        for (key, value) in &self.set {
            if let Err(message) = set(rule, key, &value.value) {
                errors.push(self.fail(value.referenced.line(), message));
            }
        }
        if let Some(and) = &self.and {
            match parse_expression(&and.value, Scope::Rule) {
                Ok(condition) => {
                    let (file, line) = (self.file.clone(), and.referenced.line());
                    rule.narrowed.push(Narrowed { condition, file, line });
                }
                Err(error) => errors.push(self.fail(and.referenced.line(), error.to_string())),
            }
        }
        for (key, more) in &self.added {
            let list = match *key {
                "tags" => &mut rule.tags,
                "references" => &mut rule.references,
                _ => &mut rule.false_positives,
            };
            list.extend(more.iter().cloned());
        }
        rule.overlaid.push(format!("{}:{}: {}", self.file, self.line(), self.what().join(", ")));
        errors
    }

    /// What it changes, for `rule explain`.
    fn what(&self) -> Vec<String> {
        let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let set = self.set.iter().map(|(key, value)| format!("{key} = {}", shown(&value.value)));
        let and = self.and.iter().map(|and| format!("and {}", and.value.trim()));
        let added = self.added.iter().filter(|(_, more)| !more.is_empty());
        let added = added.map(|(key, more)| format!("{} more {key}", more.len()));
        set.chain(and).chain(added).collect()
    }
}

fn overlay(file: &str, written: Written) -> Overlay {
    Overlay {
        rule: written.rule,
        set: written.set,
        and: written.and,
        added: [
            ("false_positives", written.false_positives),
            ("tags", written.tags),
            ("references", written.references),
        ],
        file: file.to_owned(),
    }
}

/// Applies all overlays, in their order. A rule that is not there is an error.
pub fn apply_overlays(rules: &mut [Rule], overlays: &[Overlay]) -> Vec<FileError> {
    let mut errors = Vec::new();
    for overlay in overlays {
        let id = &overlay.rule.value;
        if let Some(rule) = rules.iter_mut().find(|rule| rule.id == *id) {
            errors.extend(overlay.apply(rule));
        } else {
            let hint = did_you_mean(id, rules.iter().map(|rule| rule.id.as_str()));
            errors
                .push(overlay.fail(overlay.line(), format!("overlay is for rule `{id}`, which does not exist{hint}")));
        }
    }
    errors
}

fn set(rule: &mut Rule, key: &str, value: &Value) -> Result<(), String> {
    match key {
        "title" => rule.title = taken(key, value)?,
        "severity" => rule.severity = taken::<Severity>(key, value)?,
        "status" => rule.status = taken::<Status>(key, value)?,
        "state" => rule.state = taken::<State>(key, value)?,
        "tags" => rule.tags = taken(key, value)?,
        "description" => rule.description = taken(key, value)?,
        "summary" => rule.summary = Template::parse(&taken::<String>(key, value)?)?,
        "group_by" => group_by(rule, columns(taken(key, value)?)?)?,
        "suppress_for" => suppress_for(rule, width(&taken::<String>(key, value)?)?),
        "playbook" => rule.playbook = taken(key, value)?,
        "false_positives" => rule.false_positives = taken(key, value)?,
        "runbook" => rule.runbook = taken(key, value)?,
        "references" => rule.references = taken(key, value)?,
        _ => {
            let hint = did_you_mean(key, SETTABLE);
            return Err(format!("an overlay cannot set `{key}`{hint} (it can set: {})", SETTABLE.join(", ")));
        }
    }
    Ok(())
}

fn taken<T: serde::de::DeserializeOwned>(key: &str, value: &Value) -> Result<T, String> {
    serde_json::from_value(value.clone()).map_err(|error| {
        let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("`{key}` cannot be `{shown}`: {error}")
    })
}

fn columns(names: Vec<String>) -> Result<Vec<String>, String> {
    let known = || keytrail_model::schema::FIELDS.iter().map(|field| field.name);
    match names.iter().find(|name| keytrail_model::schema::find(name).is_none()) {
        Some(name) => Err(format!("group_by `{name}` is no event column{}", did_you_mean(name, known()))),
        None => Ok(names),
    }
}

fn group_by(rule: &mut Rule, columns: Vec<String>) -> Result<(), String> {
    if !rule.steps.is_empty() {
        return Err("`group_by` cannot be set: the rule's steps have keys that belong to it".to_owned());
    }
    rule.group_by = columns;
    Ok(())
}

fn suppress_for(rule: &mut Rule, width: i64) {
    rule.suppress_for = width;
    if let Some(Measure::FirstSeen { follow, .. }) = rule.window.as_mut().map(|window| &mut window.measure) {
        *follow = width;
    }
}

fn width(text: &str) -> Result<i64, String> {
    duration(text).ok_or_else(|| format!("suppress_for `{text}` is no duration: write 30m, 24h or 7d"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str = "id: r\ntitle: t\nseverity: high\nsource: aws.cloudtrail\ndescription: d\nsummary: '{actor}'\n\
                        group_by: [credential]\nwhere: action = 'x'\nfalse_positives: [a]\n";

    fn rule() -> Rule {
        Rule::read("r.yaml", RULE).expect("a rule")
    }

    fn said(text: &str) -> String {
        let overlays = Overlay::read("o.yaml", text).expect("reads");
        let errors = apply_overlays(&mut [rule()], &overlays);
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn changes_what_it_names_and_nothing_else() {
        let text = "rule: r\nreason: noisy here\nset: {severity: low, state: shadow, suppress_for: 7d, playbook: null}\n\
                    and: account <> '111122223333'\nfalse_positives+: [b]\n";
        let overlays = Overlay::read("o.yaml", text).expect("reads");
        let mut rules = [rule()];
        assert!(apply_overlays(&mut rules, &overlays).is_empty());
        let [changed] = rules;
        assert_eq!(
            (changed.severity, changed.state, changed.playbook.as_deref()),
            (Severity::Low, State::Shadow, None)
        );
        assert_eq!(
            (changed.narrowed.len(), changed.false_positives.as_slice()),
            (1, ["a", "b"].map(str::to_owned).as_slice())
        );
        assert_eq!((changed.title.as_str(), changed.group_by.as_slice()), ("t", ["credential".to_owned()].as_slice()));
        assert_eq!(
            changed.overlaid,
            ["o.yaml:1: playbook = null, severity = low, state = shadow, suppress_for = 7d, \
              and account <> '111122223333', 1 more false_positives"]
        );
    }

    #[test]
    fn what_does_not_exist_is_named_with_the_nearest() {
        assert_eq!(
            said("rule: rr\nset: {severity: low}\n"),
            "o.yaml:1: overlay is for rule `rr`, which does not exist, did you mean `r`?"
        );
        let text =
            said("- rule: r\n  set:\n    severty: low\n    severity: lowe\n    suppress_for: soon\n  and: a = = b\n");
        assert!(
            text.contains("o.yaml:3: an overlay cannot set `severty`, did you mean `severity`? (it can set: title"),
            "{text}"
        );
        assert!(text.contains("o.yaml:4: `severity` cannot be `lowe`: unknown variant `lowe`"), "{text}");
        assert!(text.contains("o.yaml:5: suppress_for `soon` is no duration"), "{text}");
        assert!(text.contains("o.yaml:6: expected: an expression"), "{text}");
        let errors = Overlay::read("o.yaml", "rule: r\nsett: {}\n").expect_err("errors");
        assert!(
            errors[0].to_string().starts_with("o.yaml:2: unknown key `sett`, did you mean `set`?"),
            "{}",
            errors[0]
        );
    }
}
