//! Exceptions: events that count for no rule, or not for this one, until a date; in files of their own.
//!
//! Reads and checks them and hands them to the rules. Which events one covers is `excepted`'s.

use keytrail_model::{FileError, Micros, did_you_mean, read_yaml};
use keytrail_sql::{Expression, Scope, parse_expression};
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::Rule;
use crate::entries::{OneOrMany, Shape, shape};

/// What somebody answers for until a date: events that are known and accepted.
#[derive(Clone, Debug)]
pub struct Exception {
    pub id: String,
    /// The rules that it narrows; empty for `any`.
    pub rules: Vec<String>,
    pub filter: Expression,
    pub owner: String,
    pub reason: String,
    /// An event at this time or later is no longer covered.
    pub expires: Micros,
    pub file: String,
    pub line: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: Spanned<String>,
    rule: OneOrMany,
    #[serde(rename = "where")]
    filter: Spanned<String>,
    owner: Spanned<String>,
    reason: Spanned<String>,
    expires: Spanned<String>,
}

impl Exception {
    /// Reads a file: one exception, a list of them, or none.
    pub fn read(file: &str, text: &str) -> Result<Vec<Self>, Vec<FileError>> {
        let written: Vec<Written> = match shape(text) {
            Shape::Nothing => Vec::new(),
            Shape::List => read_yaml(file, text).map_err(|error| vec![error])?,
            Shape::One => vec![read_yaml(file, text).map_err(|error| vec![error])?],
        };
        let mut errors = Vec::new();
        let read: Vec<Self> = written.into_iter().filter_map(|one| checked(file, one, &mut errors)).collect();
        if errors.is_empty() { Ok(read) } else { Err(errors) }
    }

    #[must_use]
    pub fn is_about(&self, rule: &str) -> bool {
        self.rules.is_empty() || self.rules.iter().any(|id| id == rule)
    }
}

fn checked(file: &str, written: Written, errors: &mut Vec<FileError>) -> Option<Exception> {
    let before = errors.len();
    for (key, text) in [("id", &written.id), ("owner", &written.owner), ("reason", &written.reason)] {
        if text.value.trim().is_empty() {
            let line = Some(text.referenced.line());
            errors.push(FileError::new(
                file,
                line,
                format!("`{key}` is empty: an exception names who answers for what"),
            ));
        }
    }
    let rules = rules(file, &written, errors);
    let expires = expiry(&written.expires).map_err(|message| {
        errors.push(FileError::new(file, Some(written.expires.referenced.line()), message));
    });
    let filter = parse_expression(&written.filter.value, Scope::Rule).map_err(|error| {
        errors.push(FileError::new(file, Some(written.filter.referenced.line()), error.to_string()));
    });
    (errors.len() == before).then_some(())?;
    Some(Exception {
        line: written.id.referenced.line(),
        id: written.id.value,
        rules,
        filter: filter.ok()?,
        owner: written.owner.value,
        reason: written.reason.value,
        expires: expires.ok()?,
        file: file.to_owned(),
    })
}

fn rules(file: &str, written: &Written, errors: &mut Vec<FileError>) -> Vec<String> {
    let named = written.rule.clone().into_vec();
    if named.is_empty() {
        let line = Some(written.id.referenced.line());
        errors.push(FileError::new(file, line, "`rule` names nothing: write a rule id, several, or `any`"));
    }
    if named.iter().any(|name| name == "any") { Vec::new() } else { named }
}

fn expiry(written: &Spanned<String>) -> Result<Micros, String> {
    let text = &written.value;
    Micros::parse(text).ok_or_else(|| format!("expires `{text}` is no date: write it like 2027-03-31"))
}

/// Gives every rule its exceptions, in the order of their ids. An id twice, or a rule that is not there, is an error.
pub fn attach_exceptions(rules: &mut [Rule], mut exceptions: Vec<Exception>) -> Vec<FileError> {
    exceptions.sort_by(|left, right| (&left.id, &left.file, left.line).cmp(&(&right.id, &right.file, right.line)));
    let mut errors = twice(&exceptions);
    for exception in &exceptions {
        for id in exception.rules.iter().filter(|id| rules.iter().all(|rule| rule.id != **id)) {
            let hint = did_you_mean(id, rules.iter().map(|rule| rule.id.as_str()));
            let message = format!("exception `{}` is for rule `{id}`, which does not exist{hint}", exception.id);
            errors.push(FileError::new(&exception.file, Some(exception.line), message));
        }
    }
    for rule in rules {
        let own = exceptions.iter().filter(|exception| exception.is_about(&rule.id));
        rule.exceptions = own.cloned().collect();
    }
    errors
}

fn twice(sorted: &[Exception]) -> Vec<FileError> {
    let same = sorted.iter().zip(sorted.iter().skip(1)).filter(|(one, next)| one.id == next.id);
    same.map(|(one, next)| {
        let message = format!("exception id `{}` is taken by {}:{}", next.id, one.file, one.line);
        FileError::new(&next.file, Some(next.line), message)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "id: legacy\nrule: aws-static-key-used\nwhere: credential = 'AKIAIOSFODNN7EXAMPLE'\n\
                        owner: maya.ito\nreason: the appliance goes in spring\nexpires: 2027-03-31\n";

    fn said(text: &str) -> String {
        let errors = Exception::read("e.yaml", text).expect_err("errors");
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn reads_one_several_and_none() {
        let one = Exception::read("e.yaml", GOOD).expect("reads");
        assert_eq!(
            (one.len(), one[0].line, one[0].rules.as_slice()),
            (1, 1, ["aws-static-key-used".to_owned()].as_slice())
        );
        assert_eq!(Some(one[0].expires), Micros::parse("2027-03-31T00:00:00Z"));
        let item = GOOD.trim_end().replace('\n', "\n  ").replace("aws-static-key-used", "any");
        let several =
            Exception::read("e.yaml", &format!("# two\n- {item}\n- {}\n", item.replace("legacy", "b"))).expect("reads");
        assert_eq!((several.len(), several[1].line), (2, 8));
        assert!(several[0].is_about("whatever"));
        assert!(Exception::read("e.yaml", "# nothing yet\n\n").expect("reads").is_empty());
    }

    #[test]
    fn every_part_is_mandatory_and_named_with_its_line() {
        for key in ["id", "rule", "where", "owner", "reason", "expires"] {
            let without: String =
                GOOD.lines().filter(|line| !line.starts_with(key)).map(|line| format!("{line}\n")).collect();
            assert!(said(&without).contains(&format!("missing key `{key}`: add `{key}: …`")), "{}", said(&without));
        }
        let text = GOOD.replace("2027-03-31", "next spring").replace("maya.ito", "''").replace(" = ", " = = ");
        let text = said(&text);
        assert!(text.contains("e.yaml:4: `owner` is empty"), "{text}");
        assert!(text.contains("e.yaml:6: expires `next spring` is no date: write it like 2027-03-31"), "{text}");
        assert!(text.contains("e.yaml:3: expected: an expression"), "{text}");
        assert!(
            said(&GOOD.replace("reason", "reasn")).contains("e.yaml:5: unknown key `reasn`, did you mean `reason`?")
        );
    }
}
