//! A rule file: what to look for, how to group it, what to tell people, and the tests that prove it.
//!
//! Reads and checks one file; planning against a log source's columns is `compile`'s.

use keytrail_model::{FileError, Micros, Severity, did_you_mean, read_yaml, schema};
use keytrail_sql::{Expression, Join, Name, Scope, Select, parse_expression, parse_select};
use serde::Deserialize;
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

use crate::duration::duration;
use crate::sigma::{self, SigmaBody};
use crate::window::{Reading, Step, Takes, Window, WrittenSteps, WrittenWindow};
use crate::{Exception, Narrowed, template::Template};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Experimental,
    Test,
    #[default]
    Stable,
    Deprecated,
}

/// What becomes of a rule's findings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Off,
    /// Evaluated and listed; no plan, no ticket.
    Shadow,
    #[default]
    On,
}

impl State {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Shadow => "shadow",
            Self::On => "on",
        }
    }
}

/// The log sources that a rule reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sources {
    Any,
    Named(Vec<String>),
}

impl Sources {
    #[must_use]
    pub fn include(&self, source: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Named(names) => names.iter().any(|name| name == source),
        }
    }
}

/// What decides whether an event matches.
#[derive(Clone, Debug)]
pub enum Body {
    Sql(Select),
    Sigma(Box<SigmaBody>),
    /// Each of the rule's steps has its own filter.
    Steps,
}

/// A test inside a rule file: raw vendor records that go through the mapping.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleTest {
    pub name: String,
    /// Inventory for this test, shaped like a file of `rules/inventory/`.
    pub inventory: Option<Value>,
    /// Rows of the tables that a rule may join as of an event's time; each row is a mapping of column to value.
    #[serde(default)]
    pub credentials: Vec<Map<String, Value>>,
    #[serde(default)]
    pub owners: Vec<Map<String, Value>>,
    #[serde(default)]
    pub edges: Vec<Map<String, Value>>,
    /// The watermark when the test is judged: later events have not come yet. Without it, everything is over.
    pub at: Option<Micros>,
    #[serde(default)]
    pub records: Vec<Value>,
    pub record: Option<Value>,
    pub findings: usize,
}

impl RuleTest {
    /// The rows that it gives of a reference table.
    #[must_use]
    pub fn rows(&self, table: &str) -> &[Map<String, Value>] {
        match table {
            "credentials" => &self.credentials,
            "owners" => &self.owners,
            "edges" => &self.edges,
            _ => &[],
        }
    }

    /// All records, written as `records:` or `record:`.
    pub fn all_records(&self) -> impl Iterator<Item = &Value> {
        self.records.iter().chain(&self.record)
    }
}

#[derive(Clone, Debug)]
pub struct Rule {
    pub id: String,
    pub file: String,
    /// Line of the rule's body, for errors found in planning.
    pub line: Option<u64>,
    pub title: String,
    pub severity: Severity,
    pub status: Status,
    pub state: State,
    pub sources: Sources,
    pub tags: Vec<String>,
    pub description: String,
    pub summary: Template,
    pub body: Body,
    /// The body as written.
    pub text: String,
    pub select: Vec<(String, Expression)>,
    pub group_by: Vec<String>,
    /// Width of the UTC-aligned period in which a group is one finding, in microseconds.
    pub suppress_for: i64,
    /// Makes the rule stateful.
    pub window: Option<Window>,
    /// In the window's order.
    pub steps: Vec<Step>,
    pub playbook: Option<String>,
    pub false_positives: Vec<String>,
    pub runbook: Option<String>,
    pub references: Vec<String>,
    pub tests: Vec<RuleTest>,
    /// Conditions that overlays add: an event must meet them too, in every step.
    pub narrowed: Vec<Narrowed>,
    /// What overlays changed, each with its file and line.
    pub overlaid: Vec<String>,
    /// Events that do not count, by whose word and until when.
    pub exceptions: Vec<Exception>,
}

/// Event columns that other events may still change after this one was read.
const LATER: [&str; 8] = [
    "credential_parent",
    "credential_age",
    "owner",
    "owner_confidence",
    "tool",
    "prompt_ref",
    "agent_evidence",
    "lease",
];

/// Those that are told at once and only seldom change.
const LEARNT: [&str; 5] = ["agent", "credential_lifetime", "credential_note", "guardrails", "in_scope"];

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: Spanned<String>,
    title: String,
    severity: Severity,
    #[serde(default)]
    status: Status,
    #[serde(default)]
    state: State,
    source: OneOrMany,
    #[serde(default)]
    tags: Vec<String>,
    description: String,
    summary: Spanned<String>,
    #[serde(rename = "where")]
    predicate: Option<Spanned<String>>,
    sql: Option<Spanned<String>>,
    sigma: Option<Spanned<Value>>,
    #[serde(default)]
    select: Vec<Spanned<String>>,
    group_by: Vec<Spanned<String>>,
    suppress_for: Option<Spanned<String>>,
    window: Option<Spanned<WrittenWindow>>,
    #[serde(default)]
    steps: WrittenSteps,
    playbook: Option<String>,
    #[serde(default)]
    false_positives: Vec<String>,
    runbook: Option<String>,
    #[serde(default)]
    references: Vec<String>,
    #[serde(default)]
    tests: Vec<RuleTest>,
}

/// A day: how long one group stays one finding unless the rule says otherwise.
pub(crate) const DAY: i64 = 86_400 * Micros::SECOND;

impl Rule {
    /// Reads a rule file of ours. Sigma files, which may hold several documents, are read by `load`.
    pub fn read(file: &str, text: &str) -> Result<Self, Vec<FileError>> {
        let written: Written = read_yaml(file, text).map_err(|error| vec![error])?;
        let mut errors = Vec::new();
        let rule = Reader { file, errors: &mut errors }.rule(written);
        match rule {
            Some(rule) if errors.is_empty() => Ok(rule),
            _ => Err(errors),
        }
    }

    /// Whether the rule has to wait for the watermark: other events decide, over a window, through a join, or through a
    /// column that lineage fills from them.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.window.is_some() || self.joins().next().is_some() || self.reads_later()
    }

    /// Whether it reads what lineage fills from other events.
    #[must_use]
    pub fn reads_later(&self) -> bool {
        self.names().any(|name| matches!(name, Name::Event(name) if LATER.contains(name)))
    }

    /// Whether it reads anything that what is learnt from other events can change.
    #[must_use]
    pub fn reads_learnt(&self) -> bool {
        self.reads_later() || self.names().any(|name| matches!(name, Name::Event(name) if LEARNT.contains(name)))
    }

    /// The reference tables that it joins.
    pub fn joins(&self) -> impl Iterator<Item = &Join> {
        let select = if let Body::Sql(select) = &self.body { Some(select) } else { None };
        select.into_iter().flat_map(|select| &select.joins)
    }

    /// The names that conditions of the rule read, a Sigma detection's aside: those are fields of the record.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        let filter = match &self.body {
            Body::Sql(select) => select.filter.as_ref(),
            Body::Sigma(_) | Body::Steps => None,
        };
        let narrowed = self.narrowed.iter().map(|narrowed| &narrowed.condition);
        let steps = self.steps.iter().filter_map(|step| match &step.filter {
            Takes::Sql(filter) => Some(filter),
            Takes::Sigma { .. } | Takes::Matches(_) => None,
        });
        let excepted = self.exceptions.iter().map(|exception| &exception.filter);
        let joined = self.joins().flat_map(|join| join.on.iter().map(|(_, value)| value));
        let all = filter.into_iter().chain(joined).chain(steps).chain(narrowed).chain(excepted);
        all.flat_map(|condition| &condition.names)
    }
}

struct Reader<'a> {
    file: &'a str,
    errors: &'a mut Vec<FileError>,
}

impl Reader<'_> {
    fn rule(&mut self, written: Written) -> Option<Rule> {
        self.check_id(&written.id);
        let (body, text, line) = self.body(&written)?;
        let summary = self.template(&written.summary);
        let select = self.select(&written.select, &body);
        let group_by = self.group_by(&written.group_by);
        let suppress_for = self.suppress_for(written.suppress_for.as_ref());
        let (window, steps) = self.window(&written, &group_by, suppress_for);
        Some(Rule {
            id: written.id.value,
            file: self.file.to_owned(),
            line: Some(line),
            title: written.title,
            severity: written.severity,
            status: written.status,
            state: written.state,
            sources: sources(written.source),
            tags: written.tags,
            description: written.description,
            summary: summary?,
            body,
            text,
            select,
            group_by,
            suppress_for,
            window,
            steps,
            playbook: written.playbook,
            false_positives: written.false_positives,
            runbook: written.runbook,
            references: written.references,
            tests: written.tests,
            narrowed: Vec::new(),
            overlaid: Vec::new(),
            exceptions: Vec::new(),
        })
    }

    fn fail(&mut self, line: u64, message: impl Into<String>) {
        self.errors.push(FileError::new(self.file, Some(line), message));
    }

    fn check_id(&mut self, id: &Spanned<String>) {
        if !self.file.ends_with(&format!("{}.yaml", id.value)) && !self.file.ends_with(&format!("{}.yml", id.value)) {
            let remedy = format!("rule `{0}` belongs into a file called `{0}.yaml`", id.value);
            self.fail(id.referenced.line(), remedy);
        }
    }

    /// Exactly one of `where`, `sql`, `sigma` and `steps`.
    fn body(&mut self, written: &Written) -> Option<(Body, String, u64)> {
        let step = written.steps.values().next();
        match (&written.predicate, &written.sql, &written.sigma, step) {
            (Some(text), None, None, None) => self.predicate(text),
            (None, Some(text), None, None) => self.sql(text),
            (None, None, Some(block), None) => self.sigma(block),
            (None, None, None, Some(step)) => {
                let texts: Vec<String> = written.steps.iter().map(|(name, step)| step.value.text(name)).collect();
                Some((Body::Steps, texts.join("\n"), step.referenced.line()))
            }
            _ => {
                self.fail(written.id.referenced.line(), "give exactly one of `where`, `sql`, `sigma` and `steps`");
                None
            }
        }
    }

    fn predicate(&mut self, text: &Spanned<String>) -> Option<(Body, String, u64)> {
        let line = text.referenced.line();
        match parse_expression(&text.value, Scope::Rule) {
            Ok(filter) => {
                let body = Body::Sql(Select::filter(filter));
                Some((body, text.value.clone(), line))
            }
            Err(error) => {
                self.fail(line, error.to_string());
                None
            }
        }
    }

    fn sql(&mut self, text: &Spanned<String>) -> Option<(Body, String, u64)> {
        let line = text.referenced.line();
        match parse_select(&text.value, Scope::Rule) {
            Ok(select) => Some((Body::Sql(select), text.value.clone(), line)),
            Err(error) => {
                self.fail(line, error.to_string());
                None
            }
        }
    }

    fn sigma(&mut self, block: &Spanned<Value>) -> Option<(Body, String, u64)> {
        let line = block.referenced.line();
        match sigma::parse_block(&block.value) {
            Ok(body) => Some((Body::Sigma(Box::new(body)), block.value.to_string(), line)),
            Err(reason) => {
                self.fail(line, reason);
                None
            }
        }
    }

    fn template(&mut self, text: &Spanned<String>) -> Option<Template> {
        match Template::parse(&text.value) {
            Ok(template) => Some(template),
            Err(reason) => {
                self.fail(text.referenced.line(), reason);
                None
            }
        }
    }

    /// What the rule's SELECT joins may be shown too.
    fn select(&mut self, written: &[Spanned<String>], body: &Body) -> Vec<(String, Expression)> {
        let parse = |text: &str| match body {
            Body::Sql(select) => select.expression(text),
            Body::Sigma(_) | Body::Steps => parse_expression(text, Scope::Rule),
        };
        let mut select = Vec::new();
        for text in written {
            match parse(&text.value) {
                Ok(expression) => select.push((text.value.replace('"', ""), expression)),
                Err(error) => self.fail(text.referenced.line(), error.to_string()),
            }
        }
        select
    }

    fn group_by(&mut self, written: &[Spanned<String>]) -> Vec<String> {
        for column in written {
            if schema::find(&column.value).is_none() {
                let known = did_you_mean(&column.value, schema::FIELDS.iter().map(|field| field.name));
                self.fail(column.referenced.line(), format!("group_by `{}` is no event column{known}", column.value));
            }
        }
        written.iter().map(|column| column.value.clone()).collect()
    }

    fn suppress_for(&mut self, written: Option<&Spanned<String>>) -> i64 {
        let Some(written) = written else { return DAY };
        duration(&written.value).unwrap_or_else(|| {
            let text = &written.value;
            self.fail(written.referenced.line(), format!("suppress_for `{text}` is no duration: write 30m, 24h or 7d"));
            DAY
        })
    }

    fn window(&mut self, written: &Written, group_by: &[String], suppress_for: i64) -> (Option<Window>, Vec<Step>) {
        if let (None, Some(step)) = (&written.window, written.steps.values().next()) {
            self.fail(step.referenced.line(), "`steps` without a window: add `window: {within: 1h, sequence: […]}`");
        }
        let mut reading = Reading { file: self.file, group_by, suppress_for, errors: self.errors };
        let read = written.window.as_ref().and_then(|window| reading.window(window, &written.steps));
        read.map_or_else(Default::default, |(window, steps)| (Some(window), steps))
    }
}

fn sources(written: OneOrMany) -> Sources {
    match written {
        OneOrMany::One(name) if name == "any" => Sources::Any,
        OneOrMany::One(name) => Sources::Named(vec![name]),
        OneOrMany::Many(names) => Sources::Named(names),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "id: r\ntitle: t\nseverity: high\nsource: aws.cloudtrail\ndescription: d\n\
                        summary: '{actor} did {action}'\ngroup_by: [credential]\n";

    fn message(rest: &str) -> String {
        let errors = Rule::read("r.yaml", &format!("{GOOD}{rest}")).expect_err("an error");
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn reads_each_kind_of_body() {
        for body in [
            "where: action = 'iam:CreateUser'\n",
            "sql: SELECT region FROM events WHERE outcome = 'denied'\n",
            "sigma: {selection: {eventName: CreateUser}, condition: selection}\n",
        ] {
            assert!(Rule::read("r.yaml", &format!("{GOOD}{body}")).is_ok(), "{body}");
        }
    }

    #[test]
    fn every_mistake_names_its_line() {
        assert!(
            message("").contains("r.yaml:1: give exactly one of `where`, `sql`, `sigma` and `steps`"),
            "{}",
            message("")
        );
        let text = message("where: a = = b\nsuppress_for: tomorrow\n");
        assert!(text.contains("r.yaml:8: expected: an expression"), "{text}");
        let text = message("where: a = 'b'\nsuppress_for: tomorrow\n");
        assert_eq!(text, "r.yaml:9: suppress_for `tomorrow` is no duration: write 30m, 24h or 7d");
        let text = message("where: a = 'b'\nplaybok: x\n");
        assert!(text.contains("unknown key `playbok`, did you mean `playbook`?"), "{text}");
    }

    #[test]
    fn group_and_summary_name_event_columns() {
        let text = "id: r\ntitle: t\nseverity: high\nsource: any\ndescription: d\nsummary: '{acter} x'\n\
                    group_by: [credentail]\nwhere: action = 'x'\n";
        let errors = Rule::read("r.yaml", text).expect_err("errors");
        let text = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(
            text.contains("r.yaml:7: group_by `credentail` is no event column, did you mean `credential`?"),
            "{text}"
        );
        assert!(
            text.contains("r.yaml:6: summary names `acter`, which is no event column, did you mean `actor`?"),
            "{text}"
        );
    }
}
