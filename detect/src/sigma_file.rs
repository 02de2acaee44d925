//! A plain Sigma rule file, as public rule sets have them, read as a rule of ours.

use keytrail_model::{FileError, Micros, Severity};
use rsigma_parser::{Level, LogSource, SigmaRule, parse_sigma_yaml};

use crate::rule::{Body, Rule, Sources, State, Status};
use crate::template::Template;

/// Sigma's log sources and ours. A service of `None` takes any.
const LOG_SOURCES: &[(&str, Option<&str>, &str)] = &[
    ("aws", Some("cloudtrail"), "aws.cloudtrail"),
    ("azure", Some("activitylogs"), "azure.activity"),
    ("azure", Some("auditlogs"), "entra.audit"),
    ("azure", Some("signinlogs"), "entra.signin"),
    ("gcp", Some("gcp.audit"), "gcp.audit"),
    ("github", Some("audit"), "github.audit"),
];

/// Whether the text is a Sigma rule and not one of ours.
pub(crate) fn is_sigma(text: &str) -> bool {
    let has = |key: &str| text.lines().any(|line| line.starts_with(key));
    has("detection:") && has("logsource:")
}

pub(crate) fn read(file: &str, text: &str) -> Result<Rule, FileError> {
    let fail = |message: String| FileError::new(file, None, message);
    let collection = parse_sigma_yaml(text).map_err(|error| fail(error.to_string()))?;
    if let Some(error) = collection.errors.first() {
        return Err(fail(error.clone()));
    }
    let [rule] = collection.rules.as_slice() else {
        return Err(fail("one detection rule is wanted: correlation rules are not supported yet".to_owned()));
    };
    if !collection.correlations.is_empty() {
        return Err(fail("correlation rules are not supported yet".to_owned()));
    }
    let source = source(&rule.logsource).map_err(fail)?;
    Ok(convert(file, text, rule, source))
}

fn source(written: &LogSource) -> Result<String, String> {
    let product = written.product.as_deref().unwrap_or_default();
    let service = written.service.as_deref();
    let found =
        LOG_SOURCES.iter().find(|(ours, theirs, _)| *ours == product && (theirs.is_none() || *theirs == service));
    found.map(|(.., source)| (*source).to_owned()).ok_or_else(|| {
        let known: Vec<String> =
            LOG_SOURCES.iter().map(|(product, service, _)| format!("{product}/{}", service.unwrap_or("*"))).collect();
        let service = service.unwrap_or("(none)");
        format!(
            "no mapping reads the log source product `{product}`, service `{service}` (known: {})",
            known.join(", ")
        )
    })
}

fn convert(file: &str, text: &str, rule: &SigmaRule, source: String) -> Rule {
    Rule {
        id: rule.id.clone().unwrap_or_else(|| file_stem(file)),
        file: file.to_owned(),
        line: text.lines().position(|line| line.starts_with("detection:")).map(|line| line as u64 + 1),
        title: rule.title.clone(),
        severity: severity(rule.level),
        status: status(rule.status),
        state: State::On,
        sources: Sources::Named(vec![source]),
        tags: rule.tags.clone(),
        description: rule.description.clone().unwrap_or_default(),
        summary: generic_summary(),
        body: Body::Sigma(Box::new(rule.detection.clone())),
        text: rule.detection.condition_strings.join(" | "),
        select: Vec::new(),
        group_by: vec!["actor".to_owned(), "credential".to_owned()],
        suppress_for: 86_400 * Micros::SECOND,
        window: None,
        steps: Vec::new(),
        playbook: None,
        false_positives: rule.falsepositives.clone(),
        runbook: None,
        references: rule.references.clone(),
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

#[cfg(test)]
mod tests {
    use super::*;

    const SIGMA: &str = "title: Trail stopped\nid: 00000000-0000-4000-8000-000000000001\nlogsource: {product: aws, service: cloudtrail}\n\
                         detection:\n  selection: {eventName: StopLogging}\n  condition: selection\nlevel: high\n";

    #[test]
    fn a_sigma_rule_is_a_rule() {
        let rule = Rule::read("x.yml", SIGMA).expect("reads");
        assert_eq!((rule.severity, rule.line), (Severity::High, Some(4)));
        assert_eq!(rule.sources, Sources::Named(vec!["aws.cloudtrail".to_owned()]));
    }

    #[test]
    fn an_unknown_log_source_is_refused_by_name() {
        let errors = Rule::read("x.yml", &SIGMA.replace("cloudtrail", "okta")).expect_err("errors");
        assert!(
            errors[0].to_string().contains("product `aws`, service `okta` (known: aws/cloudtrail"),
            "{}",
            errors[0]
        );
    }
}
