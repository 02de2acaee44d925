//! Sigma files as public rule sets have them: documents of rules, correlations and filters, read as rules of ours.

use keytrail_model::{FileError, Micros, Severity};
use rsigma_parser::{CorrelationRule, Level, LogSource, SigmaCollection, SigmaRule, parse_sigma_yaml};
use rsigma_parser::{FilterRule, FilterRuleTarget};

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
        let place = self.place(&[rule.id.as_deref(), rule.name.as_deref(), Some(&rule.title)]);
        let sources = self.dialects.sources(&rule.logsource).map_err(|message| {
            let line = place.line_of("service").or_else(|| place.line_of("logsource"));
            FileError::new(self.file, line, message)
        })?;
        let id = self.id(number, rule.id.as_deref().or(rule.name.as_deref()));
        let names = [rule.id.clone(), rule.name.clone(), Some(rule.title.clone())].into_iter().flatten().collect();
        let logsource = rule.logsource.clone();
        Ok(Named { names, logsource, rule: convert(self.file, id, rule, place, sources) })
    }

    fn correlation(&self, number: usize, rule: CorrelationRule) -> super::Correlation {
        let place = self.place(&[rule.id.as_deref(), rule.name.as_deref(), Some(&rule.title)]);
        let id = self.id(number, rule.id.as_deref().or(rule.name.as_deref()));
        super::Correlation { id, file: self.file.to_owned(), rule, place }
    }

    fn filter(&self, filter: FilterRule) -> Filter {
        let place = self.place(&[filter.id.as_deref(), filter.name.as_deref(), Some(&filter.title)]);
        let rules = match filter.rules {
            FilterRuleTarget::Any => None,
            FilterRuleTarget::Specific(names) => Some(names),
        };
        Filter { file: self.file.to_owned(), rules, logsource: filter.logsource, detections: filter.detection, place }
    }

    /// The document that names one of these first; the whole file when documents share them.
    fn place(&self, names: &[Option<&str>]) -> Place {
        let known = names.iter().flatten();
        let found = known.filter_map(|name| self.places.iter().find(|place| place.has(name))).next();
        found.or(self.places.first()).cloned().unwrap_or_default()
    }

    fn id(&self, number: usize, said: Option<&str>) -> String {
        let stem = file_stem(self.file);
        said.map_or_else(|| if self.single { stem.clone() } else { format!("{stem}-{}", number + 1) }, str::to_owned)
    }
}

fn convert(file: &str, id: String, rule: SigmaRule, place: Place, sources: Vec<Meant>) -> Rule {
    let line = place.line_of("detection").or(Some(1));
    let text = rule.detection.condition_strings.join(" | ");
    let names = sources.iter().map(|(source, _)| source.clone()).collect();
    let mut body = SigmaBody::new(rule.detection, place);
    body.narrow = sources.into_iter().filter(|(_, narrow)| !narrow.is_empty()).collect();
    Rule {
        id,
        file: file.to_owned(),
        line,
        title: rule.title,
        severity: severity(rule.level),
        status: status(rule.status),
        state: State::On,
        sources: Sources::Named(names),
        tags: rule.tags,
        description: rule.description.unwrap_or_default(),
        summary: generic_summary(),
        body: Body::Sigma(Box::new(body)),
        text,
        select: Vec::new(),
        group_by: vec!["actor".to_owned(), "credential".to_owned()],
        suppress_for: 86_400 * Micros::SECOND,
        window: None,
        steps: Vec::new(),
        playbook: None,
        false_positives: rule.falsepositives,
        runbook: None,
        references: rule.references,
        tests: Vec::new(),
        narrowed: Vec::new(),
        overlaid: Vec::new(),
        exceptions: Vec::new(),
    }
}

fn file_stem(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.trim_end_matches(".yml").trim_end_matches(".yaml").to_owned()
}

fn generic_summary() -> Template {
    #[expect(clippy::expect_used, reason = "a constant template that a test parses")]
    Template::parse("{actor} did {action} ({outcome}) from {ip}").expect("a constant template")
}

fn severity(level: Option<Level>) -> Severity {
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
        let pairs =
            [(&own.product, &other.product), (&own.service, &other.service), (&own.category, &other.category)];
        pairs.iter().all(|(own, other)| own.is_none() || own == other)
    }
}
