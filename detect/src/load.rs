//! Rule files together: reads them all, puts placeholders in, lets filters narrow what they name and correlations take
//! up the rules that they count.

use std::collections::BTreeSet;

use keytrail_model::{FileError, did_you_mean};

use crate::dialect::Dialects;
use crate::rule::{Body, Rule};
use crate::sigma::{Correlated, Documents, Filter, Named, Placeholders, SigmaBody, correlate, file};

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
    /// Those rules, with the names of their fields as they are.
    pub left_out: Vec<Rule>,
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
    let left_out = loaded.expand(&vocabulary.placeholders, &mut documents);
    for filter in &documents.filters {
        loaded.errors.extend(apply(filter, &mut documents.rules));
    }
    let Correlated { rules, errors, skipped } = correlate(&documents.correlations, &mut documents.rules, &left_out);
    loaded.rules.extend(documents.rules.into_iter().map(|named| named.rule).chain(rules));
    loaded.errors.extend(errors);
    loaded.skipped.extend(skipped);
    loaded
}

impl Loaded {
    /// Puts placeholders in; the names of the Sigma rules that are left out.
    fn expand(&mut self, placeholders: &Placeholders, documents: &mut Documents) -> BTreeSet<String> {
        let (skipped, left_out_rules) = (&mut self.skipped, &mut self.left_out);
        let mut keep = |rule: &mut Rule| {
            let missing = missing(rule, placeholders);
            if !missing.is_empty() {
                left_out_rules.push(rule.clone());
            }
            skipped.extend(missing.iter().cloned());
            missing.is_empty()
        };
        self.rules.retain_mut(&mut keep);
        let mut left_out = BTreeSet::new();
        documents.rules.retain_mut(|named| {
            let kept = keep(&mut named.rule);
            if !kept {
                left_out.extend(named.names.iter().cloned());
            }
            kept
        });
        documents.filters.retain_mut(|filter| {
            let missing = placeholders.expand(&mut filter.detections);
            let line = |name: &str| filter.place.line_of(name);
            skipped.extend(missing.iter().map(|name| without_values(filter.place.file(), line(name), name, "filter")));
            missing.is_empty()
        });
        left_out
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
            errors.push(FileError::new(filter.place.file(), filter.place.line_of(name), message));
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
        let wanted = "x.yml:3: no mapping reads the log source `aws/okta`, did you mean `aws/cloudtrail`? (known: aws/cloudtrail)";
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
        let found: Vec<_> =
            loaded.rules.iter().map(|rule| (rule.id.as_str(), rule.severity.name(), rule.line)).collect();
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
        assert!(
            text.starts_with("x.yml:5: rule skipped: placeholder `%names%` has no values: write `names: "),
            "{text}"
        );
        assert_eq!(none.left_out.iter().map(|rule| rule.file.as_str()).collect::<Vec<_>>(), ["x.yml"]);
        assert_eq!(loaded(&[("x.yml", &rule)], "names: [a, b]").rules.len(), 1);
    }

    const USED: &str = "title: Used\nname: used\nlogsource: {product: aws, service: cloudtrail}\n\
                        detection:\n  s: {eventName: GetObject}\n  condition: s\nlevel: low\n";

    fn correlated(text: &str) -> Loaded {
        loaded(
            &[("used.yml", USED), ("stop.yml", RULE), ("c.yml", &format!("title: C\nid: c\ncorrelation:\n{text}"))],
            "{}",
        )
    }

    #[test]
    fn each_kind_of_correlation_is_a_window() {
        use crate::window::{Combination, Kind, Measure};
        let measure = |text: &str| {
            let loaded = correlated(text);
            assert!(loaded.errors.is_empty(), "{}", said(&loaded.errors));
            let rule = loaded.rules.iter().find(|rule| rule.id == "c").expect("the correlation");
            let window = rule.window.clone().expect("a window");
            assert_eq!((window.within, window.kind), (300_000_000, Kind::Sliding));
            (window.measure, rule.steps.len(), rule.steps.iter().map(|step| step.by.join(",")).collect::<Vec<_>>())
        };
        let of = |kind: &str, condition: &str| {
            let condition = if condition.is_empty() { String::new() } else { format!("  condition: {condition}\n") };
            measure(&format!(
                "  type: {kind}\n  rules: [used, Trail stopped]\n  group-by: [a]\n  timespan: 5m\n{condition}"
            ))
        };
        let (counted, steps, by) = of("event_count", "{gte: 3}");
        assert!(matches!(counted, Measure::Count(_)) && steps == 2, "{counted:?}");
        assert_eq!(by, ["a", "a"]);
        assert!(matches!(of("value_count", "{gte: 3, field: x}").0, Measure::Distinct(_)));
        assert!(matches!(of("value_sum", "{gt: 3, field: x}").0, Measure::Sum(_)));
        assert!(matches!(of("value_avg", "{gt: 3, field: x}").0, Measure::Avg(_)));
        assert!(matches!(of("value_median", "{gt: 3, field: x}").0, Measure::Percentile { rank: 50.0, .. }));
        let ninety = of("value_percentile", "{gt: 3, field: x, percentile: 90}").0;
        assert!(matches!(ninety, Measure::Percentile { rank: 90.0, .. }), "{ninety:?}");
        assert_eq!(of("temporal", "").0, Measure::AllOf(Combination::all(2)));
        assert_eq!(of("temporal_ordered", "").0, Measure::Sequence);
        let either = Combination::Or(vec![
            Combination::And(vec![Combination::Step(0)]),
            Combination::And(vec![Combination::Step(1)]),
        ]);
        assert_eq!(of("temporal", "{gte: 1}").0, Measure::AllOf(either));
        let without = Combination::And(vec![Combination::Step(0), Combination::Not(Box::new(Combination::Step(1)))]);
        let named = "  type: temporal\n  rules: [used, stopped]\n  timespan: 5m\n  condition: used and not stopped\n";
        let rule = RULE.replace("title: ", "name: stopped\ntitle: ");
        let text = format!("title: C\nid: c\ncorrelation:\n{named}");
        let loaded = loaded(&[("used.yml", USED), ("stop.yml", &rule), ("c.yml", &text)], "{}");
        let measures: Vec<_> = loaded.rules.iter().filter_map(|rule| Some(rule.window.clone()?.measure)).collect();
        assert_eq!(measures, [Measure::AllOf(without)], "{}", said(&loaded.errors));
    }

    #[test]
    fn rules_that_a_correlation_counts_yield_nothing_of_their_own() {
        let text = "  type: event_count\n  rules: [used]\n  group-by: [a]\n  timespan: 5m\n  condition: {gte: 2}\n";
        let ids = |text: &str| correlated(text).rules.into_iter().map(|rule| rule.id).collect::<Vec<_>>();
        assert_eq!(ids(text), ["00000000-0000-4000-8000-000000000001", "c"]);
        assert_eq!(ids(&format!("{text}generate: true\n")), ["used", "00000000-0000-4000-8000-000000000001", "c"]);
    }

    #[test]
    fn correlations_nest_and_aliases_name_the_field_of_each_rule() {
        let text = "  type: event_count\n  rules: used\n  group-by: [userName]\n  timespan: 5m\n  condition: {gte: 2}\n\
                    ---\ntitle: D\nid: d\ncorrelation:\n  type: temporal_ordered\n  rules: [c, Trail stopped]\n  \
                    group-by: [who]\n  timespan: 1h\n  aliases:\n    who: {c: account, Trail stopped: principal}\n";
        let loaded = correlated(text);
        assert!(loaded.errors.is_empty(), "{}", said(&loaded.errors));
        let [inner, outer] = loaded.rules.as_slice() else { panic!("{:?}", loaded.rules) };
        assert!(inner.window.as_ref().is_some_and(|window| window.quiet));
        let crate::window::Takes::Sigma { show, .. } = &inner.steps[0].filter else { panic!("{inner:?}") };
        assert_eq!(show, &["account", "userName"]);
        assert!(matches!(&outer.steps[0].filter, crate::window::Takes::Matches(id) if id == "c"));
        assert_eq!(
            (&outer.steps[0].by, &outer.steps[1].by),
            (&vec!["account".to_owned()], &vec!["principal".to_owned()])
        );
        assert_eq!(outer.severity, keytrail_model::Severity::High, "that of the gravest rule");
    }

    #[test]
    fn what_a_correlation_cannot_mean_is_said() {
        let text = "  type: event_count\n  rules: [used]\n  group-by: [a]\n  timespan: 5m\n  condition: {gte: 2}\n";
        for (from, to, wanted) in [
            ("[used]", "[usd]", "c.yml:5: correlation names rule `usd`, which is not loaded, did you mean `used`?"),
            ("[used]", "[c]", "c.yml:3: the correlation counts itself"),
            ("event_count", "value_count", "c.yml:8: value_count wants a `field`"),
            ("event_count", "evnt_count", "c.yml:"),
            ("{gte: 2}", "used", "c.yml:8: event_count wants a number"),
            ("{gte: 2}", "{gte: 2}\n  aliases:\n    a: {other: x}", "c.yml:10: alias `a` names no field"),
        ] {
            let error = said(&correlated(&text.replace(from, to)).errors);
            assert!(error.starts_with(wanted), "{error}\nwanted {wanted}");
        }
        let rule = USED.replace("GetObject", "'%x%'").replace("eventName", "eventName|expand");
        let text = format!("title: C\nid: c\ncorrelation:\n{text}");
        let loaded = loaded(&[("used.yml", &rule), ("c.yml", &text)], "{}");
        assert!(said(&loaded.skipped).contains("c.yml:5: correlation skipped: its rule `used` is"), "{loaded:?}");
        assert!(loaded.errors.is_empty() && loaded.rules.is_empty());
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
        assert_eq!(
            error,
            "f.yml:4: filter names rule `Trail stoped`, which is not loaded, did you mean `Trail stopped`?"
        );
    }
}
