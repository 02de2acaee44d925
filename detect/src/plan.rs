//! All rules planned over all log sources: what they need of the events, and which filters feed which rules. Does not
//! change while it runs, so that any number of workers share it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::physical_plan::PhysicalExpr;
use keytrail_model::{EventBatch, FileError, RawPath, schema};
use keytrail_sql::{Name, Planner, schema_of};

use crate::compile::{Compiled, SourceFields, check_names, compile, wanted};
use crate::filter::Filter;
use crate::index::{Index, Lookup};
use crate::matches::Matches;
use crate::rule::{Rule, Sources};

/// Where the rows of a filter go.
pub(crate) struct Feed {
    pub(crate) rule: usize,
    pub(crate) keys: Vec<String>,
    pub(crate) select: Vec<(String, Arc<dyn PhysicalExpr>)>,
}

/// The rules of one log source.
#[derive(Default)]
pub(crate) struct SourcePlan {
    filters: Vec<Filter>,
    /// By filter.
    feeds: Vec<Vec<Feed>>,
    index: Index,
}

pub struct Plan {
    rules: Vec<Rule>,
    sources: HashMap<String, SourcePlan>,
    paths: BTreeMap<String, BTreeSet<RawPath>>,
    columns: BTreeSet<String>,
}

impl Plan {
    /// Plans every rule for every log source that it reads. All errors, not only the first.
    pub fn new(rules: Vec<Rule>, sources: &[SourceFields<'_>]) -> Result<Self, Vec<FileError>> {
        let mut errors = duplicates(&rules);
        errors.extend(rules.iter().flat_map(|rule| unknown_sources(rule, sources)));
        let mut plan =
            Self { rules, sources: HashMap::new(), paths: BTreeMap::new(), columns: BTreeSet::new() };
        let planner = Planner::new();
        for source in sources {
            plan.add(source, &planner, &mut errors);
        }
        errors.sort_by(|left, right| {
            (&left.file, left.line, &left.message).cmp(&(&right.file, right.line, &right.message))
        });
        errors.dedup();
        if errors.is_empty() { Ok(plan) } else { Err(errors) }
    }

    /// The raw paths that rules read, by log source.
    #[must_use]
    pub fn paths(&self) -> &BTreeMap<String, BTreeSet<RawPath>> {
        &self.paths
    }

    /// The event columns that every event needs, because a predicate reads them.
    #[must_use]
    pub fn columns(&self) -> &BTreeSet<String> {
        &self.columns
    }

    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    pub(crate) fn source(&self, name: &str) -> Option<&SourcePlan> {
        self.sources.get(name)
    }

    fn add(&mut self, source: &SourceFields<'_>, planner: &Planner, errors: &mut Vec<FileError>) {
        let mut asked = Vec::new();
        for (index, rule) in self.rules.iter().enumerate().filter(|(_, rule)| rule.sources.include(source.name)) {
            match wanted(rule).and_then(|wanted| check_names(rule, &wanted, source).map(|()| wanted)) {
                Ok(wanted) => asked.push((index, rule, wanted)),
                Err(error) => errors.push(error),
            }
        }
        let paths: BTreeSet<RawPath> = asked.iter().flat_map(|(.., wanted)| wanted.names()).filter_map(raw).collect();
        let batch = batch_schema(&paths);
        let mut planned = SourcePlan::default();
        for (index, rule, wanted) in &asked {
            self.columns.extend(wanted.filter_names.iter().filter_map(event));
            match compile(rule, wanted, &batch, planner) {
                Ok(compiled) => planned.add(*index, rule, compiled),
                Err(error) => errors.push(error),
            }
        }
        planned.index = Index::new(&planned.filters.iter().map(|filter| &filter.predicate).collect::<Vec<_>>());
        self.sources.insert(source.name.to_owned(), planned);
        self.paths.insert(source.name.to_owned(), paths);
    }
}

impl SourcePlan {
    fn add(&mut self, rule: usize, written: &Rule, compiled: Compiled) {
        self.filters.push(compiled.filter);
        self.feeds.push(vec![Feed { rule, keys: written.group_by.clone(), select: compiled.select }]);
    }

    pub(crate) fn feeds_of(&self, filter: u32) -> &[Feed] {
        self.feeds.get(filter as usize).map(Vec::as_slice).unwrap_or_default()
    }

    /// The rows that each filter passes, by way of the index.
    pub(crate) fn matches(&self, events: &EventBatch, lookup: &mut Lookup) -> Matches {
        let mut matches = Matches::default();
        self.index.propose(&events.batch, lookup, &mut |filter, rows| {
            let Some(found) = self.filters.get(filter as usize) else { return };
            matches.push(filter, found.pass(&events.batch, rows));
        });
        matches.sorted()
    }

    /// The same without index or shortcut.
    pub(crate) fn plainly(&self, events: &EventBatch) -> Matches {
        let mut matches = Matches::default();
        for (filter, found) in (0u32..).zip(&self.filters) {
            matches.push(filter, found.plainly(&events.batch));
        }
        matches.sorted()
    }
}

fn raw(name: &Name) -> Option<RawPath> {
    match name {
        Name::Raw(path) => Some(path.clone()),
        Name::Event(_) => None,
    }
}

fn event(name: &Name) -> Option<String> {
    match name {
        Name::Event(column) => Some((*column).to_owned()),
        Name::Raw(_) => None,
    }
}

fn duplicates(rules: &[Rule]) -> Vec<FileError> {
    let mut seen: HashMap<&str, &str> = HashMap::new();
    let mut errors = Vec::new();
    for rule in rules {
        if let Some(first) = seen.insert(&rule.id, &rule.file) {
            errors.push(FileError::new(&rule.file, None, format!("rule id `{}` is taken by {first}", rule.id)));
        }
    }
    errors
}

fn unknown_sources(rule: &Rule, sources: &[SourceFields<'_>]) -> Vec<FileError> {
    let Sources::Named(names) = &rule.sources else { return Vec::new() };
    let unknown = names.iter().filter(|name| sources.iter().all(|source| source.name != name.as_str()));
    unknown
        .map(|name| {
            let hint = keytrail_model::did_you_mean(name, sources.iter().map(|source| source.name));
            FileError::new(&rule.file, None, format!("no mapping for log source `{name}`{hint}"))
        })
        .collect()
}

/// Event columns, then the raw paths in order: what the normaliser delivers.
fn batch_schema(paths: &BTreeSet<RawPath>) -> SchemaRef {
    let raw = schema_of(&paths.iter().cloned().map(Name::Raw).collect::<Vec<_>>());
    let events = schema::schema();
    let fields = events
        .fields()
        .iter()
        .chain(raw.fields().iter())
        .map(|field| Arc::new(field.as_ref().clone().with_nullable(true)));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
