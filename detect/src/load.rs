//! Rule files together: reads them all, puts placeholders in, lets filters narrow what they name and correlations take
//! up the rules that they count.

use keytrail_model::{FileError, did_you_mean};

use crate::dialect::Dialects;
use crate::rule::{Body, Rule};
use crate::sigma::{Documents, Filter, Named, Placeholders, SigmaBody, file};

/// What the names in Sigma rules mean.
#[derive(Clone, Debug, Default)]
pub struct Vocabulary {
    pub dialects: Dialects,
    pub placeholders: Placeholders,
}

/// What became of a set of rule files.
#[derive(Debug, Default)]
pub struct Loaded {
    pub rules: Vec<Rule>,
    pub errors: Vec<FileError>,
    /// Rules left out because a placeholder has no values, and what to do about it.
    pub skipped: Vec<FileError>,
}

/// Reads rule files (name and text): ours, and Sigma's with any number of documents.
#[must_use]
pub fn load(files: &[(String, String)], vocabulary: &Vocabulary) -> Loaded {
    let mut loaded = Loaded::default();
    let mut documents = Documents::default();
    for (name, text) in files {
        if file::is_sigma(text) {
            match file::read(name, text, &vocabulary.dialects) {
                Ok(more) => documents.extend(more),
                Err(errors) => loaded.errors.extend(errors),
            }
        } else {
            match Rule::read(name, text) {
                Ok(rule) => loaded.rules.push(rule),
                Err(errors) => loaded.errors.extend(errors),
            }
        }
    }
    loaded.expand(&vocabulary.placeholders, &mut documents);
    for filter in &documents.filters {
        loaded.errors.extend(apply(filter, &mut documents.rules));
    }
    loaded.rules.extend(documents.rules.into_iter().map(|named| named.rule));
    loaded
}

impl Loaded {
    fn expand(&mut self, placeholders: &Placeholders, documents: &mut Documents) {
        let skipped = &mut self.skipped;
        let mut keep = |rule: &mut Rule| {
            let missing = missing(rule, placeholders);
            skipped.extend(missing.iter().cloned());
            missing.is_empty()
        };
        self.rules.retain_mut(&mut keep);
        documents.rules.retain_mut(|named| keep(&mut named.rule));
        documents.filters.retain_mut(|filter| {
            let missing = placeholders.expand(&mut filter.detections);
            let line = |name: &str| filter.place.line_of(name);
            skipped.extend(missing.iter().map(|name| without_values(&filter.file, line(name), name, "filter")));
            missing.is_empty()
        });
    }
}

fn missing(rule: &mut Rule, placeholders: &Placeholders) -> Vec<FileError> {
    let Body::Sigma(body) = &mut rule.body else { return Vec::new() };
    let missing = placeholders.expand(&mut body.detections);
    let line = |name: &str| body.place.line_of(name).or(rule.line);
    missing.iter().map(|name| without_values(&rule.file, line(name), name, "rule")).collect()
}

fn without_values(file: &str, line: Option<u64>, name: &str, what: &str) -> FileError {
    let remedy = format!("write `{name}: [value, …]` into a YAML file of a folder `placeholders/` under --rules");
    FileError::new(file, line, format!("{what} skipped: placeholder `%{name}%` has no values: {remedy}"))
}

/// Narrows the rules that a filter names; an error where it names one that is not there.
fn apply(filter: &Filter, rules: &mut [Named]) -> Vec<FileError> {
    let mut errors = Vec::new();
    for name in filter.rules.iter().flatten() {
        if !rules.iter().any(|rule| rule.is_called(name)) {
            let known = rules.iter().flat_map(|rule| &rule.names).map(String::as_str);
            let message = format!("filter names rule `{name}`, which is not loaded{}", did_you_mean(name, known));
            errors.push(FileError::new(&filter.file, filter.place.line_of(name), message));
        }
    }
    for named in rules {
        let meant = filter.rules.as_ref().is_none_or(|names| names.iter().any(|name| named.is_called(name)));
        if meant && filter.is_for(&named.logsource) {
            narrow(&mut named.rule, filter);
        }
    }
    errors
}

fn narrow(rule: &mut Rule, filter: &Filter) {
    if let Body::Sigma(body) = &mut rule.body {
        let body: &mut SigmaBody = body;
        body.filters.push((filter.detections.clone(), filter.place.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIALECT: &str = "source: aws.cloudtrail\nlogsources:\n  - {product: aws, service: cloudtrail}\n";

    const RULE: &str = "title: Trail stopped\nid: 00000000-0000-4000-8000-000000000001\n\
                        logsource: {product: aws, service: cloudtrail}\n\
                        detection:\n  selection: {eventName: StopLogging}\n  condition: selection\nlevel: high\n";

    fn texts(files: &[(&str, &str)]) -> Vec<(String, String)> {
        files.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect()
    }

    fn loaded(files: &[(&str, &str)], placeholders: &str) -> Loaded {
        let vocabulary = Vocabulary {
            dialects: Dialects::load(&texts(&[("aws.cloudtrail.yaml", DIALECT)])).expect("dialects"),
            placeholders: Placeholders::load(&texts(&[("p.yaml", placeholders)])).expect("placeholders"),
        };
        load(&texts(files), &vocabulary)
    }

    fn said(errors: &[FileError]) -> String {
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_sigma_rule_is_a_rule() {
        let loaded = loaded(&[("x.yml", RULE)], "{}");
        let [rule] = loaded.rules.as_slice() else { panic!("{loaded:?}") };
        assert_eq!((rule.severity, rule.line), (keytrail_model::Severity::High, Some(4)));
        assert_eq!(rule.sources, crate::Sources::Named(vec!["aws.cloudtrail".to_owned()]));
    }

    #[test]
    fn an_unknown_log_source_is_refused_by_name() {
        let text = said(&loaded(&[("x.yml", &RULE.replace("cloudtrail", "okta"))], "{}").errors);
        let wanted = "x.yml:3: no mapping reads the log source `aws/okta` (known: aws/cloudtrail)";
        assert_eq!(text, wanted);
    }

    #[test]
    fn a_collection_holds_several_rules() {
        let text = "action: global\ntitle: Of one kind\nlogsource: {product: aws, service: cloudtrail}\nlevel: low\n---\n\
                    id: a\ndetection:\n  s: {eventName: A}\n  condition: s\n---\n\
                    id: b\ndetection:\n  s: {eventName: B}\n  condition: s\n---\n\
                    action: repeat\nid: c\nlevel: high\n";
        let loaded = loaded(&[("x.yml", text)], "{}");
        assert!(loaded.errors.is_empty(), "{}", said(&loaded.errors));
        let found: Vec<_> = loaded.rules.iter().map(|rule| (rule.id.as_str(), rule.severity.name(), rule.line)).collect();
        assert_eq!(found, [("a", "low", Some(7)), ("b", "low", Some(12)), ("c", "high", Some(1))]);
    }

    #[test]
    fn what_the_parser_refuses_is_said_with_its_line() {
        for (from, to, wanted) in [
            ("eventName", "eventName|containz", "x.yml:5: unknown modifier `containz`, did you mean `contains`?"),
            ("condition: selection", "condition: selection and", "x.yml:6: condition parse error at "),
            ("level: high", "level: hihg", "x.yml:7: invalid level: `hihg`"),
            ("level: high", "level: [", "x.yml:"),
        ] {
            let text = said(&loaded(&[("x.yml", &RULE.replace(from, to))], "{}").errors);
            assert!(text.starts_with(wanted), "{text}");
        }
    }

    #[test]
    fn a_rule_without_values_for_its_placeholder_is_skipped() {
        let rule = RULE.replace("eventName: StopLogging", "eventName|contains|expand: 'x%names%'");
        let none = loaded(&[("x.yml", &rule)], "{}");
        assert!(none.rules.is_empty() && none.errors.is_empty());
        let text = said(&none.skipped);
        assert!(text.starts_with("x.yml:5: rule skipped: placeholder `%names%` has no values: write `names: "), "{text}");
        assert_eq!(loaded(&[("x.yml", &rule)], "names: [a, b]").rules.len(), 1);
    }

    #[test]
    fn a_filter_narrows_what_it_names() {
        let filter = "title: Known\nlogsource: {product: aws}\nfilter:\n  rules: [Trail stopped]\n  \
                      known: {userAgent: ours}\n  condition: not known\n";
        let filters = |filter: &str| {
            let loaded = loaded(&[("f.yml", filter), ("x.yml", RULE)], "{}");
            let count = |rule: &Rule| if let Body::Sigma(body) = &rule.body { body.filters.len() } else { 0 };
            (loaded.rules.iter().map(count).collect::<Vec<_>>(), said(&loaded.errors))
        };
        assert_eq!(filters(filter), (vec![1], String::new()));
        assert_eq!(filters(&filter.replace("[Trail stopped]", "any")).0, [1]);
        assert_eq!(filters(&filter.replace("product: aws", "product: gcp")).0, [0]);
        let (_, error) = filters(&filter.replace("[Trail stopped]", "[Trail stoped]"));
        assert_eq!(error, "f.yml:4: filter names rule `Trail stoped`, which is not loaded, did you mean `Trail stopped`?");
    }
}
