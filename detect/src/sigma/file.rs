//! Sigma files as public rule sets have them: documents of rules, correlations and filters, read as rules of ours.

use keytrail_model::{FileError, Micros, Severity};
use rsigma_parser::{CorrelationRule, Level, LogSource, SigmaCollection, SigmaRule, parse_sigma_yaml};
use rsigma_parser::{FilterRule, FilterRuleTarget};

use super::correlation::Correlation;
use super::place::Place;
use super::{Documents, Filter, Named, SigmaBody};
use crate::dialect::{Dialects, Meant};
use crate::rule::{Body, Rule, Sources, State, Status};
use crate::template::Template;

/// Whether the text holds Sigma documents and not a rule of ours.
pub(crate) fn is_sigma(text: &str) -> bool {
    let has = |key: &str| text.lines().any(|line| line.starts_with(key));
    has("correlation:") || has("filter:") || (has("detection:") && has("logsource:"))
}

/// Every document of a file.
pub(crate) fn read(file: &str, text: &str, dialects: &Dialects) -> Result<Documents, Vec<FileError>> {
    let whole = Place::new(file, text);
    let parsed = parse_sigma_yaml(text).map_err(|error| vec![whole.parser_error(&error.to_string())])?;
    if !parsed.errors.is_empty() {
        return Err(parsed.errors.iter().map(|error| whole.parser_error(error)).collect());
    }
    if parsed.is_empty() {
        return Err(vec![FileError::new(file, None, "no Sigma document found")]);
    }
    Reader { file, places: Place::documents(file, text), dialects, single: parsed.len() == 1 }.documents(parsed)
}

struct Reader<'a> {
    file: &'a str,
    places: Vec<Place>,
    dialects: &'a Dialects,
    single: bool,
}

impl Reader<'_> {
    fn documents(&self, parsed: SigmaCollection) -> Result<Documents, Vec<FileError>> {
        let mut found = Documents::default();
        let mut errors = Vec::new();
        for (number, rule) in parsed.rules.into_iter().enumerate() {
            match self.rule(number, rule) {
                Ok(rule) => found.rules.push(rule),
                Err(error) => errors.push(error),
            }
        }
        for (number, rule) in parsed.correlations.into_iter().enumerate() {
            found.correlations.push(self.correlation(number, rule));
        }
        found.filters.extend(parsed.filters.into_iter().map(|filter| self.filter(filter)));
        if errors.is_empty() { Ok(found) } else { Err(errors) }
    }

    fn rule(&self, number: usize, rule: SigmaRule) -> Result<Named, FileError> {
        let place = self.place(rule.id.as_deref(), rule.name.as_deref(), &rule.title);
        let sources = self.dialects.sources(&rule.logsource).map_err(|message| {
            let line = place.line_of("service").or_else(|| place.line_of("logsource"));
            FileError::new(self.file, line, message)
        })?;
        let id = self.id(number, rule.id.as_deref().or(rule.name.as_deref()));
        let names = [rule.id.clone(), rule.name.clone(), Some(rule.title.clone())].into_iter().flatten().collect();
        let logsource = rule.logsource.clone();
        Ok(Named { names, logsource, rule: convert(id, rule, place, sources) })
    }

    fn correlation(&self, number: usize, rule: CorrelationRule) -> Correlation {
        let place = self.place(rule.id.as_deref(), rule.name.as_deref(), &rule.title);
        let id = self.id(number, rule.id.as_deref().or(rule.name.as_deref()));
        Correlation { id, rule, place }
    }

    fn filter(&self, filter: FilterRule) -> Filter {
        let place = self.place(filter.id.as_deref(), filter.name.as_deref(), &filter.title);
        let rules = match filter.rules {
            FilterRuleTarget::Any => None,
            FilterRuleTarget::Specific(names) => Some(names),
        };
        Filter { rules, logsource: filter.logsource, detections: filter.detection, place }
    }

    /// The document with that id, or else name, or else title.
    fn place(&self, id: Option<&str>, name: Option<&str>, title: &str) -> Place {
        let said = [("id", id), ("name", name), ("title", Some(title))];
        let mut said = said.into_iter().filter_map(|(key, value)| Some((key, value?)));
        let found = said.find_map(|(key, value)| self.places.iter().find(|place| place.says(key, value)));
        found.or(self.places.first()).cloned().unwrap_or_default()
    }

    fn id(&self, number: usize, said: Option<&str>) -> String {
        let stem = file_stem(self.file);
        said.map_or_else(|| if self.single { stem.clone() } else { format!("{stem}-{}", number + 1) }, str::to_owned)
    }
}

/// What rules and correlations have in common.
pub(super) struct Head {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) level: Option<Level>,
    pub(super) status: Option<rsigma_parser::Status>,
    pub(super) tags: Vec<String>,
    pub(super) description: Option<String>,
    pub(super) falsepositives: Vec<String>,
    pub(super) references: Vec<String>,
}

impl Head {
    /// A rule of ours that reads nothing yet.
    pub(super) fn rule(self, place: &Place, body: Body) -> Rule {
        Rule {
            id: self.id,
            file: place.file().to_owned(),
            line: place.line_of("detection").or_else(|| place.line_of("correlation")).or(Some(1)),
            title: self.title,
            severity: severity(self.level),
            status: status(self.status),
            state: State::On,
            sources: Sources::Named(Vec::new()),
            tags: self.tags,
            description: self.description.unwrap_or_default(),
            summary: generic_summary(),
            body,
            text: String::new(),
            select: Vec::new(),
            group_by: vec!["actor".to_owned(), "credential".to_owned()],
            suppress_for: 86_400 * Micros::SECOND,
            window: None,
            steps: Vec::new(),
            playbook: None,
            false_positives: self.falsepositives,
            runbook: None,
            references: self.references,
            tests: Vec::new(),
            narrowed: Vec::new(),
            overlaid: Vec::new(),
            exceptions: Vec::new(),
        }
    }
}

fn convert(id: String, rule: SigmaRule, place: Place, sources: Vec<Meant>) -> Rule {
    let SigmaRule { title, level, status, tags, description, falsepositives, references, .. } = rule;
    let head = Head { id, title, level, status, tags, description, falsepositives, references };
    let text = rule.detection.condition_strings.join(" | ");
    let names = sources.iter().map(|(source, _)| source.clone()).collect();
    let mut body = SigmaBody::new(rule.detection, place.clone());
    body.narrow = sources.into_iter().filter(|(_, narrow)| !narrow.is_empty()).collect();
    Rule { sources: Sources::Named(names), text, ..head.rule(&place, Body::Sigma(Box::new(body))) }
}

fn file_stem(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.trim_end_matches(".yml").trim_end_matches(".yaml").to_owned()
}

fn generic_summary() -> Template {
    #[expect(clippy::expect_used, reason = "a constant template that a test parses")]
    Template::parse("{actor} did {action} ({outcome}) from {ip}").expect("a constant template")
}

pub(super) fn severity(level: Option<Level>) -> Severity {
    match level {
        Some(Level::Critical) => Severity::Critical,
        Some(Level::High) => Severity::High,
        Some(Level::Low) => Severity::Low,
        Some(Level::Informational) => Severity::Informational,
        Some(Level::Medium) | None => Severity::Medium,
    }
}

fn status(written: Option<rsigma_parser::Status>) -> Status {
    match written {
        Some(rsigma_parser::Status::Stable) => Status::Stable,
        Some(rsigma_parser::Status::Test) => Status::Test,
        Some(rsigma_parser::Status::Deprecated | rsigma_parser::Status::Unsupported) => Status::Deprecated,
        Some(rsigma_parser::Status::Experimental) | None => Status::Experimental,
    }
}

impl Filter {
    /// Whether the filter is meant for rules of that log source: what it says of it is the same there.
    pub(crate) fn is_for(&self, other: &LogSource) -> bool {
        let Some(own) = &self.logsource else { return true };
        let pairs = [(&own.product, &other.product), (&own.service, &other.service), (&own.category, &other.category)];
        pairs.iter().all(|(own, other)| own.is_none() || own == other)
    }
}
