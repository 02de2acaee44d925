//! Dialect files: the names that Sigma rules really use for a log source and its fields, and where those stand in the
//! records. What a source knows without them is its mapping's.

use std::collections::BTreeMap;
use std::sync::Arc;

use keytrail_model::{FileError, did_you_mean, read_yaml};
use keytrail_sql::{Expression, Planner, Scope, parse_expression};
use rsigma_parser::LogSource;
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::computed::Computed;
use crate::targets::{WrittenTarget, WrittenTargets};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    source: Spanned<String>,
    #[serde(default)]
    logsources: Vec<WrittenLogSource>,
    #[serde(default)]
    fields: BTreeMap<String, Spanned<WrittenTargets>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenLogSource {
    product: Option<String>,
    service: Option<String>,
    category: Option<String>,
    #[serde(rename = "where")]
    narrow: Option<Spanned<String>>,
}

/// One of Sigma's names for a log source.
#[derive(Clone, Debug)]
struct Called {
    product: Option<String>,
    service: Option<String>,
    category: Option<String>,
    /// What else holds of its events, where the name means only a part of the source.
    narrow: Option<Expression>,
}

/// Where a field of a rule stands: any of these may match.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) targets: Vec<Stands>,
    pub(crate) line: u64,
}

/// One place where it stands.
#[derive(Clone, Debug)]
pub(crate) enum Stands {
    /// A raw path or an event column.
    At(String),
    Computed(Arc<Computed>),
}

impl Stands {
    fn written(&self) -> &str {
        match self {
            Self::At(name) => name,
            Self::Computed(computed) => &computed.text,
        }
    }
}

/// How rules speak of one log source.
#[derive(Clone, Debug)]
pub struct Dialect {
    pub source: String,
    pub(crate) file: String,
    called: Vec<Called>,
    fields: BTreeMap<String, Entry>,
}

impl Dialect {
    pub fn read(file: &str, text: &str, planner: &Planner) -> Result<Self, Vec<FileError>> {
        let written: Written = read_yaml(file, text).map_err(|error| vec![error])?;
        let mut errors = Vec::new();
        let source = written.source.value;
        if !file.ends_with(&format!("{source}.yaml")) {
            let message = format!("dialect of `{source}` belongs into a file called `{source}.yaml`");
            errors.push(FileError::new(file, Some(written.source.referenced.line()), message));
        }
        let mut called = Vec::new();
        for one in written.logsources {
            match Called::new(file, one) {
                Ok(one) => called.push(one),
                Err(error) => errors.push(error),
            }
        }
        let mut fields = BTreeMap::new();
        for (name, entry) in written.fields {
            match Entry::new(file, &name, entry, planner) {
                Ok(entry) => _ = fields.insert(name, entry),
                Err(error) => errors.push(error),
            }
        }
        let dialect = Self { source, file: file.to_owned(), called, fields };
        if errors.is_empty() { Ok(dialect) } else { Err(errors) }
    }

    pub(crate) fn field(&self, name: &str) -> Option<&Entry> {
        self.fields.get(name)
    }

    /// The names of fields that it explains.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }

    /// Every name, with where it stands as that is written.
    pub fn fields(&self) -> impl Iterator<Item = (&str, Vec<&str>)> {
        self.fields.iter().map(|(name, entry)| (name.as_str(), entry.targets.iter().map(Stands::written).collect()))
    }
}

impl Entry {
    fn new(file: &str, name: &str, written: Spanned<WrittenTargets>, planner: &Planner) -> Result<Self, FileError> {
        let target = |target| match target {
            WrittenTarget::Name(name) => Ok(Stands::At(name)),
            WrittenTarget::Sql(sql) => {
                let fail = |error| FileError::new(file, Some(sql.sql.referenced.line()), format!("`{name}`: {error}"));
                Computed::new(&sql, planner).map(Arc::new).map(Stands::Computed).map_err(fail)
            }
        };
        let targets = written.value.0.into_iter().map(target).collect::<Result<_, _>>()?;
        Ok(Self { targets, line: written.referenced.line() })
    }
}

impl Called {
    fn new(file: &str, written: WrittenLogSource) -> Result<Self, FileError> {
        let narrow = written.narrow.map(|text| {
            let fail = |reason: String| FileError::new(file, Some(text.referenced.line()), reason);
            parse_expression(&text.value, Scope::Rule).map_err(|error| fail(error.to_string()))
        });
        let (product, service, category) = (written.product, written.service, written.category);
        Ok(Self { product, service, category, narrow: narrow.transpose()? })
    }

    /// Each attribute that the rule gives is this one's or open here, and at least one is this one's.
    fn means(&self, asked: &LogSource) -> bool {
        let pairs =
            [(&self.product, &asked.product), (&self.service, &asked.service), (&self.category, &asked.category)];
        let fits = |(own, asked): &(&Option<String>, &Option<String>)| asked.is_none() || own.is_none() || own == asked;
        let same = |(own, asked): &(&Option<String>, &Option<String>)| asked.is_some() && own == asked;
        pairs.iter().all(fits) && pairs.iter().any(same)
    }
}

/// A log source with what narrows it: any of the expressions, or nothing.
pub(crate) type Meant = (String, Vec<Expression>);

/// The dialects of all log sources.
#[derive(Clone, Debug, Default)]
pub struct Dialects(BTreeMap<String, Dialect>);

impl Dialects {
    /// From file names and texts; every error.
    pub fn load(files: &[(String, String)]) -> Result<Self, Vec<FileError>> {
        let mut dialects = BTreeMap::new();
        let mut errors = Vec::new();
        let planner = Planner::new();
        for (file, text) in files {
            match Dialect::read(file, text, &planner) {
                Ok(dialect) => {
                    if let Some(other) = dialects.insert(dialect.source.clone(), dialect) {
                        let message = format!("dialect of `{}` is already in {}", other.source, other.file);
                        errors.push(FileError::new(file, None, message));
                    }
                }
                Err(more) => errors.extend(more),
            }
        }
        if errors.is_empty() { Ok(Self(dialects)) } else { Err(errors) }
    }

    #[must_use]
    pub fn get(&self, source: &str) -> Option<&Dialect> {
        self.0.get(source)
    }

    /// By source.
    pub fn iter(&self) -> impl Iterator<Item = &Dialect> {
        self.0.values()
    }

    /// The log sources that a rule's `logsource:` means.
    pub(crate) fn sources(&self, asked: &LogSource) -> Result<Vec<Meant>, String> {
        let mut found = Vec::new();
        for dialect in self.0.values() {
            let mut called = dialect.called.iter().filter(|called| called.means(asked)).peekable();
            if called.peek().is_some() {
                let narrow: Option<Vec<Expression>> = called.map(|called| called.narrow.clone()).collect();
                found.push((dialect.source.clone(), narrow.unwrap_or_default()));
            }
        }
        if found.is_empty() { Err(self.unknown(asked)) } else { Ok(found) }
    }

    fn unknown(&self, asked: &LogSource) -> String {
        let written = written(asked.product.as_deref(), asked.service.as_deref(), asked.category.as_deref());
        let called = self.0.values().flat_map(|dialect| &dialect.called);
        let mut known: Vec<String> = called
            .map(|called| {
                self::written(called.product.as_deref(), called.service.as_deref(), called.category.as_deref())
            })
            .collect();
        known.sort();
        known.dedup();
        let hint = did_you_mean(&written, known.iter().map(String::as_str));
        format!("no mapping reads the log source `{written}`{hint} (known: {})", known.join(", "))
    }
}

/// `product/service`, with the category where there is one.
fn written(product: Option<&str>, service: Option<&str>, category: Option<&str>) -> String {
    let category = category.map(|category| format!(" ({category})")).unwrap_or_default();
    format!("{}/{}{category}", product.unwrap_or("*"), service.unwrap_or("*"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOUD: &str = "source: google.workspace\nlogsources:\n  - {product: gcp, service: google_workspace.admin, \
                         where: \"id.applicationName = 'admin'\"}\n  - {product: gcp, service: google_workspace.login}\n\
                         fields:\n  eventName: [events.name, name]\n";

    fn dialects() -> Dialects {
        let cluster =
            "source: kubernetes.audit\nlogsources:\n  - {product: kubernetes, service: audit, category: application}\n";
        let files = [("google.workspace.yaml", CLOUD), ("kubernetes.audit.yaml", cluster)];
        Dialects::load(&files.map(|(file, text)| (file.to_owned(), text.to_owned()))).expect("loads")
    }

    fn asked(product: &str, service: &str, category: &str) -> LogSource {
        let part = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        LogSource { product: part(product), service: part(service), category: part(category), ..LogSource::default() }
    }

    #[test]
    fn log_sources_are_matched_as_sigma_does() {
        let found = |product, service, category| -> Vec<(String, usize)> {
            let found = dialects().sources(&asked(product, service, category)).unwrap_or_default();
            found.into_iter().map(|(source, narrow)| (source, narrow.len())).collect()
        };
        let one = |source: &str, narrowed| vec![(source.to_owned(), narrowed)];
        assert_eq!(found("gcp", "google_workspace.admin", ""), one("google.workspace", 1));
        assert_eq!(found("gcp", "google_workspace.login", ""), one("google.workspace", 0));
        assert_eq!(found("gcp", "", ""), one("google.workspace", 0), "without a service: all of the product");
        assert_eq!(found("kubernetes", "audit", ""), one("kubernetes.audit", 0));
        assert_eq!(found("kubernetes", "", "application"), one("kubernetes.audit", 0));
        assert_eq!(found("", "", "application"), one("kubernetes.audit", 0));
        assert!(found("kubernetes", "audit", "firewall").is_empty() && found("", "", "").is_empty());
        let error = dialects().sources(&asked("gcp", "google_workspace.admn", "")).expect_err("an error");
        assert!(error.contains("did you mean `gcp/google_workspace.admin`?"), "{error}");
    }

    #[test]
    fn mistakes_name_their_line() {
        let error = |text: &str| {
            let errors = Dialect::read("gcp.audit.yaml", text, &Planner::new()).expect_err("errors");
            errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        let text = error("source: gcp.audt\n");
        assert_eq!(text, "gcp.audit.yaml:1: dialect of `gcp.audt` belongs into a file called `gcp.audt.yaml`");
        let text = error("source: gcp.audit\nfelds: {}\n");
        assert!(text.contains("gcp.audit.yaml:2: unknown key `felds`, did you mean `fields`?"), "{text}");
        let text = error("source: gcp.audit\nlogsources:\n  - {product: gcp, where: \"a = = b\"}\n");
        assert!(text.contains("gcp.audit.yaml:3: "), "{text}");
    }

    #[test]
    fn mistakes_in_an_expression_name_its_own_line() {
        let error = |sql: &str| {
            let text = format!("source: gcp.audit\nfields:\n  status:\n    - a.b\n    - {{sql: \"{sql}\"}}\n");
            let errors = Dialect::read("gcp.audit.yaml", &text, &Planner::new()).expect_err("errors");
            errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        for (sql, wanted) in [
            ("a = = b", "gcp.audit.yaml:5: `status`: "),
            ("lowr(a)", "gcp.audit.yaml:5: `status`: invalid function"),
            ("now()", "gcp.audit.yaml:5: `status`: `now` is not possible in a per-event expression"),
        ] {
            let text = error(sql);
            assert!(text.to_lowercase().starts_with(wanted), "{text}");
        }
        let unknown = "source: gcp.audit\nfields:\n  status: {sqll: a}\n";
        let errors = Dialect::read("gcp.audit.yaml", unknown, &Planner::new()).expect_err("errors");
        let text = errors.first().map(ToString::to_string).unwrap_or_default();
        assert!(text.starts_with("gcp.audit.yaml:3: unknown key `sqll`, did you mean `sql`?"), "{text}");
    }

    #[test]
    fn fields_are_told_as_they_are_written() {
        let text =
            "source: gcp.audit\nfields:\n  status: [a.b, {sql: \"a || '.x'\"}]\n  one: {sql: upper(a)}\n  two: c\n";
        let dialect = Dialect::read("gcp.audit.yaml", text, &Planner::new()).expect("reads");
        let fields: Vec<_> = dialect.fields().collect();
        assert_eq!(fields, [("one", vec!["upper(a)"]), ("status", vec!["a.b", "a || '.x'"]), ("two", vec!["c"])]);
    }
}
