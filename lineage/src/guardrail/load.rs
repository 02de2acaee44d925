//! Reading policy files: parse, annotations, ids, strict validation. A guardrail that can never apply is an error too.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::ffi::DetailedError;
use cedar_policy::{Authorizer, Effect as CedarEffect, Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator};
use keytrail_model::{FileError, Severity, did_you_mean};

use super::{Effect, Guardrail, Guardrails};
use crate::memo::Memo;

const SCHEMA: &str = include_str!("schema.cedarschema");
const ANNOTATIONS: [&str; 5] = ["id", "title", "severity", "description", "reference"];

pub fn load(files: &[(String, String)]) -> Result<Guardrails, Vec<FileError>> {
    let schema = schema().map_err(|error| vec![error])?;
    let mut loading = Loading::new(schema.clone());
    for (file, text) in files {
        loading.take(&Source { file, text });
    }
    loading.finish(schema)
}

fn schema() -> Result<Schema, FileError> {
    let parsed = Schema::from_cedarschema_str(SCHEMA).map(|(schema, _)| schema);
    parsed.map_err(|error| {
        let message = format!("the schema that ships with the program does not parse: {error}");
        FileError { file: "schema.cedarschema".to_owned(), line: None, message }
    })
}

struct Source<'a> {
    file: &'a str,
    text: &'a str,
}

impl Source<'_> {
    fn line_at(&self, byte: usize) -> u64 {
        let before = self.text.as_bytes().iter().take(byte);
        before.filter(|byte| **byte == b'\n').count() as u64 + 1
    }

    /// The line on which a policy begins.
    fn line_of(&self, policy: &Policy) -> Option<u64> {
        let text = policy.to_cedar()?;
        self.text.find(text.trim()).map(|byte| self.line_at(byte))
    }

    fn wrong(&self, line: Option<u64>, message: String) -> FileError {
        FileError { file: self.file.to_owned(), line, message }
    }

    /// What Cedar says, at the place it points to, with its own hint.
    fn of_cedar(&self, error: &DetailedError) -> FileError {
        let line = error.source_locations.first().map(|label| self.line_at(label.loc.start));
        let hint = error.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
        let message = format!("{}{hint}", without_action(&error.message)).replace('\n', " ");
        self.wrong(line, message)
    }
}

struct Loading {
    validator: Validator,
    policies: PolicySet,
    guardrails: BTreeMap<String, Guardrail>,
    errors: Vec<FileError>,
}

impl Loading {
    fn new(schema: Schema) -> Self {
        let (policies, guardrails) = (PolicySet::new(), BTreeMap::new());
        Self { validator: Validator::new(schema), policies, guardrails, errors: Vec::new() }
    }

    fn take(&mut self, source: &Source<'_>) {
        let set: PolicySet = match source.text.parse() {
            Ok(set) => set,
            Err(error) => {
                let errors: cedar_policy::ParseErrors = error;
                return self.errors.extend(errors.iter().map(|error| source.of_cedar(&DetailedError::from(error))));
            }
        };
        if let Some(template) = set.templates().next() {
            let message = format!("policy `{}` is a template (`?principal`): write the policy out", template.id());
            self.errors.push(source.wrong(None, message));
        }
        let mut own = PolicySet::new();
        for policy in in_order(&set) {
            self.take_policy(source, &policy, &mut own);
        }
        self.validate(source, &own);
    }

    fn take_policy(&mut self, source: &Source<'_>, policy: &Policy, own: &mut PolicySet) {
        let line = source.line_of(policy);
        self.check_annotations(source, policy, line);
        let Some(id) = policy.annotation("id").filter(|id| !id.is_empty()).map(str::to_owned) else {
            let message = "policy has no id: put `@id(\"what-it-forbids\")` before it".to_owned();
            return self.errors.push(source.wrong(line, message));
        };
        if let Some(first) = self.guardrails.get(&id) {
            let place = format!("{}:{}", first.file, first.line);
            let message = format!("guardrail id `{id}` is used twice, first at {place}: rename one of the two");
            return self.errors.push(source.wrong(line, message));
        }
        let renamed = policy.new_id(PolicyId::new(&id));
        let added = [own.add(renamed.clone()), self.policies.add(renamed)];
        if let Some(error) = added.into_iter().find_map(Result::err) {
            return self.errors.push(source.wrong(line, error.to_string()));
        }
        self.guardrails.insert(id.clone(), describe(id, policy, source, line.unwrap_or(1)));
    }

    fn check_annotations(&mut self, source: &Source<'_>, policy: &Policy, line: Option<u64>) {
        let mut annotations: Vec<_> = policy.annotations().collect();
        annotations.sort_unstable();
        for (key, value) in annotations {
            if !ANNOTATIONS.contains(&key) {
                let known = ANNOTATIONS.join(", ");
                let near = did_you_mean(key, ANNOTATIONS);
                self.errors.push(source.wrong(line, format!("unknown annotation `@{key}`{near}; known: {known}")));
            } else if key == "severity" && severity(value).is_none() {
                let near = did_you_mean(value, Severity::ALL.map(Severity::name));
                let known = Severity::ALL.map(Severity::name).join(", ");
                self.errors.push(source.wrong(line, format!("unknown severity `{value}`{near}; known: {known}")));
            }
        }
    }

    /// A warning means that the policy cannot do what it says ("impossible", look-alike letters), so it is refused too.
    /// Cedar repeats itself for every action; one message for each line is enough.
    fn validate(&mut self, source: &Source<'_>, own: &PolicySet) {
        let result = self.validator.validate(own, ValidationMode::Strict);
        let mut found: Vec<_> = result.validation_errors().map(DetailedError::from).collect();
        if found.is_empty() {
            found.extend(result.validation_warnings().map(DetailedError::from));
        }
        let mut told: BTreeMap<Option<u64>, FileError> = BTreeMap::new();
        for error in found.iter().map(|error| source.of_cedar(error)) {
            let first = told.entry(error.line).or_insert_with(|| error.clone());
            if error.message < first.message {
                *first = error;
            }
        }
        if told.len() > 1 {
            // What follows from another error, and points at the whole policy.
            told.retain(|_, error| !error.message.contains("unable to find an applicable action"));
        }
        self.errors.extend(told.into_values());
    }

    fn finish(mut self, schema: Schema) -> Result<Guardrails, Vec<FileError>> {
        let permits = self.guardrails.values().any(|guardrail| guardrail.effect == Effect::Permit);
        if self.errors.is_empty() && !self.guardrails.is_empty() && !permits {
            let message = "no policy permits anything, so every call would count as denied: add base.cedar with \
                           `@id(\"base\") permit(principal, action, resource);`";
            let file = "guardrails".to_owned();
            self.errors.push(FileError { file, line: None, message: message.to_owned() });
        }
        if !self.errors.is_empty() {
            self.errors.sort_by(|a, b| (&a.file, a.line, &a.message).cmp(&(&b.file, b.line, &b.message)));
            self.errors.dedup();
            return Err(self.errors);
        }
        let literals = self.policies.policies().flat_map(Policy::entity_literals);
        let resources = literals.filter(|literal| literal.type_name().to_string() == "Resource");
        let named: BTreeSet<String> = resources.map(|literal| literal.id().unescaped().to_owned()).collect();
        let reads_ip = self.guardrails.values().any(|guardrail| names_ip(&guardrail.text));
        let (policies, guardrails, authorizer) = (self.policies, self.guardrails, Authorizer::new());
        Ok(Guardrails { policies, schema, authorizer, guardrails, named, reads_ip, decided: Memo::default() })
    }
}

/// All actions share one context, so naming one of them would only mislead.
fn without_action(message: &str) -> String {
    let Some((before, rest)) = message.split_once(" for Action::\"") else { return message.to_owned() };
    let after = rest.split_once('"').map_or("", |(_, after)| after);
    format!("{before}{after}")
}

/// Cedar numbers policies as they stand in the file, but hands them out in no order.
fn in_order(set: &PolicySet) -> Vec<Policy> {
    let number = |policy: &Policy| policy.id().to_string().trim_start_matches("policy").parse::<usize>().unwrap_or(0);
    let mut policies: Vec<Policy> = set.policies().cloned().collect();
    policies.sort_by_key(number);
    policies
}

fn describe(id: String, policy: &Policy, source: &Source<'_>, line: u64) -> Guardrail {
    Guardrail {
        id,
        title: policy.annotation("title").map(str::to_owned),
        severity: policy.annotation("severity").and_then(severity),
        effect: match policy.effect() {
            CedarEffect::Permit => Effect::Permit,
            CedarEffect::Forbid => Effect::Forbid,
        },
        file: source.file.to_owned(),
        line,
        text: policy.to_cedar().unwrap_or_default(),
    }
}

fn severity(name: &str) -> Option<Severity> {
    Severity::ALL.into_iter().find(|severity| severity.name() == name)
}

/// Whether the word `ip` stands in a policy. A mention in a comment only costs memory.
fn names_ip(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word == "ip")
}
