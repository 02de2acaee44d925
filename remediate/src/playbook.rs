//! Playbooks: YAML files that say which remediators plan for which credentials, and how far they may go.
//!
//! Loading is strict: a playbook that could never do what it says is an error with file, line and nearest name.

use std::collections::BTreeMap;

use keytrail_model::{FileError, Mode, Target, did_you_mean, read_yaml};
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::remediators;

/// Which targets something applies to. An empty list allows any value, and an absent value fits no list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// Credential kinds: `aws_access_key`.
    pub kinds: Vec<String>,
    /// `static`, `derived_from_static`, `ephemeral`, `unknown`.
    pub lifetimes: Vec<Lifetime>,
    /// Kinds of principal: `root`, `user`, `role`.
    pub actor_kinds: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifetime {
    Static,
    DerivedFromStatic,
    Ephemeral,
    Unknown,
}

impl Lifetime {
    fn name(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::DerivedFromStatic => "derived_from_static",
            Self::Ephemeral => "ephemeral",
            Self::Unknown => "unknown",
        }
    }
}

impl Filter {
    #[must_use]
    pub fn matches(&self, target: &Target) -> bool {
        let lifetimes: Vec<&str> = self.lifetimes.iter().map(|lifetime| lifetime.name()).collect();
        allows(&self.kinds, target.kind.as_deref())
            && allows(&lifetimes, target.lifetime.as_deref())
            && allows(&self.actor_kinds, target.actor_kind.as_deref())
    }

    /// How many of its lists say something.
    fn weight(&self) -> usize {
        [self.kinds.is_empty(), self.lifetimes.is_empty(), self.actor_kinds.is_empty()]
            .iter()
            .filter(|empty| !**empty)
            .count()
    }
}

fn allows<T: AsRef<str>>(list: &[T], value: Option<&str>) -> bool {
    list.is_empty() || value.is_some_and(|value| list.iter().any(|allowed| allowed.as_ref() == value))
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub remediator: String,
    pub when: Filter,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Playbook {
    pub id: String,
    pub title: String,
    pub description: String,
    /// Written `for:`. Without one, the playbook runs only where a rule names it.
    pub applies_to: Filter,
    pub mode: Mode,
    pub steps: Vec<Step>,
}

/// All playbooks by id.
#[derive(Clone, Debug, Default)]
pub struct Playbooks {
    by_id: BTreeMap<String, Playbook>,
}

impl Playbooks {
    /// Reads `(file name, text)` pairs, in the order given.
    ///
    /// # Errors
    /// All errors of all files at once.
    pub fn load(files: &[(String, String)]) -> Result<Self, Vec<FileError>> {
        let mut by_id: BTreeMap<String, Playbook> = BTreeMap::new();
        let mut errors = Vec::new();
        for (file, text) in files {
            match read(file, text) {
                Ok((line, playbook)) if by_id.contains_key(&playbook.id) => {
                    errors.push(at(
                        file,
                        line,
                        format!("playbook `{}` is there twice: rename one of them", playbook.id),
                    ));
                }
                Ok((_, playbook)) => drop(by_id.insert(playbook.id.clone(), playbook)),
                Err(found) => errors.extend(found),
            }
        }
        if errors.is_empty() { Ok(Self { by_id }) } else { Err(errors) }
    }

    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Playbook> {
        self.by_id.get(id)
    }

    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.by_id.keys().map(String::as_str)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Playbook> {
        self.by_id.values()
    }

    /// The playbook whose `for` fits the target and says most; of two that say as much, the first by id.
    #[must_use]
    pub fn for_target(&self, target: &Target) -> Option<&Playbook> {
        let fitting = self.iter().filter(|book| book.applies_to.weight() > 0 && book.applies_to.matches(target));
        fitting.min_by_key(|book| (std::cmp::Reverse(book.applies_to.weight()), &book.id))
    }
}

/// The file as written. `Spanned` keeps the lines of what is checked after reading.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: Spanned<String>,
    title: String,
    description: String,
    #[serde(default, rename = "for")]
    applies_to: Filter,
    #[serde(default)]
    mode: Mode,
    steps: Spanned<Vec<WrittenStep>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenStep {
    remediator: Spanned<String>,
    #[serde(default)]
    when: Filter,
}

fn read(file: &str, text: &str) -> Result<(u64, Playbook), Vec<FileError>> {
    let written: Written = read_yaml(file, text).map_err(|error| vec![error])?;
    let errors = faults(file, &written);
    if !errors.is_empty() {
        return Err(errors);
    }
    let line = written.id.referenced.line();
    let steps = written.steps.value.into_iter();
    let playbook = Playbook {
        id: written.id.value,
        title: written.title,
        description: written.description,
        applies_to: written.applies_to,
        mode: written.mode,
        steps: steps.map(|step| Step { remediator: step.remediator.value, when: step.when }).collect(),
    };
    Ok((line, playbook))
}

fn faults(file: &str, written: &Written) -> Vec<FileError> {
    let mut errors = Vec::new();
    let (id, line) = (written.id.value.as_str(), written.id.referenced.line());
    let stem = file.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map_or(file, |(stem, _)| stem);
    if stem != id {
        errors.push(at(
            file,
            line,
            format!("playbook `{id}` stands in a file of another name: call the file `{id}.yaml`"),
        ));
    }
    if written.steps.value.is_empty() {
        let line = written.steps.referenced.line();
        errors.push(at(file, line, "`steps` is empty: name `owner.notify` if nothing is to be called".to_owned()));
    }
    let mut seen: Vec<&str> = Vec::new();
    for step in &written.steps.value {
        let (name, line) = (step.remediator.value.as_str(), step.remediator.referenced.line());
        if remediators::find(name).is_none() {
            let hint = did_you_mean(name, remediators::names());
            errors.push(at(file, line, format!("no remediator is called `{name}`{hint}")));
        } else if seen.contains(&name) {
            errors.push(at(file, line, format!("remediator `{name}` is there twice: one finding gets it once")));
        }
        seen.push(name);
    }
    errors
}

fn at(file: &str, line: u64, message: String) -> FileError {
    FileError::new(file, Some(line), message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
id: contain-x
title: t
description: d
for: {kinds: [aws_access_key]}
steps:
  - remediator: aws.disable_access_key
";

    fn load(text: &str) -> Result<Playbooks, Vec<FileError>> {
        Playbooks::load(&[("playbooks/contain-x.yaml".to_owned(), text.to_owned())])
    }

    fn message(text: &str) -> String {
        let errors = load(text).expect_err("an error");
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_mode_is_shadow_unless_written() {
        let playbooks = load(GOOD).expect("it loads");
        assert_eq!(playbooks.get("contain-x").map(|book| book.mode), Some(Mode::Shadow));
    }

    #[test]
    fn errors_name_file_line_value_and_the_nearest_name() {
        let all: Vec<String> = [
            GOOD.replace("title: t", "titel: t"),
            GOOD.replace("kinds", "kind"),
            GOOD.replace("title: t", "title: t\nmode: enforced"),
            GOOD.replace("kinds: [aws_access_key]", "lifetimes: [statik]"),
            GOOD.replace("aws.disable_access_key", "aws.disable_acces_key"),
            GOOD.replace("id: contain-x", "id: contain-y"),
            GOOD.replace("steps:\n  - remediator: aws.disable_access_key", "steps: []"),
            GOOD.replace("description: d\n", ""),
            GOOD.replace("title: t", "title: [t"),
            format!("{GOOD}  - remediator: aws.disable_access_key\n"),
        ]
        .iter()
        .map(|text| message(text))
        .collect();
        insta::assert_snapshot!(all.join("\n"));
    }

    #[test]
    fn the_playbook_that_says_most_is_chosen() {
        let book = |id: &str, filter: &str| {
            let text = GOOD.replace("contain-x", id).replace("{kinds: [aws_access_key]}", filter);
            (format!("{id}.yaml"), text)
        };
        let playbooks = Playbooks::load(&[
            book("b-any-key", "{kinds: [aws_access_key]}"),
            book("a-any-key", "{kinds: [aws_access_key]}"),
            book("root-key", "{kinds: [aws_access_key], actor_kinds: [root]}"),
            book("by-name-only", "{}"),
        ])
        .expect("they load");
        let target = |actor: &str, kind: &str| Target {
            kind: Some(kind.to_owned()),
            actor_kind: Some(actor.to_owned()),
            ..Target::default()
        };
        let chosen = |target: &Target| playbooks.for_target(target).map(|book| book.id.clone());
        assert_eq!(chosen(&target("root", "aws_access_key")).as_deref(), Some("root-key"));
        assert_eq!(chosen(&target("user", "aws_access_key")).as_deref(), Some("a-any-key"));
        assert_eq!(chosen(&target("user", "gcp_service_account_key")), None);
    }

    #[test]
    fn the_same_id_twice_is_an_error() {
        let file = ("contain-x.yaml".to_owned(), GOOD.to_owned());
        let errors = Playbooks::load(&[file.clone(), file]).expect_err("an error");
        assert!(errors[0].message.contains("twice"), "{errors:?}");
    }
}
