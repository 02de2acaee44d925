//! All rules planned over all log sources: what they need of the events, and which filters feed which rules. Does not
//! change while it runs, so that any number of workers share it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::PhysicalExpr;
use keytrail_model::tables::{TABLES, Table};
use keytrail_model::{EventBatch, FileError, RawPath, schema};
use keytrail_sql::{Name, Planner, SqlError, schema_of};

use crate::compile::{Columns, Compiled, Part, SourceFields, wanted};
use crate::excepted::Excepted;
use crate::filter::Filter;
use crate::index::{Index, Lookup};
use crate::matches::Matches;
use crate::nesting::Nesting;
use crate::reference::{Questions, Reference};
use crate::rule::Rule;
use crate::window::Window;

/// Where the rows of a filter go.
pub(crate) struct Feed {
    pub(crate) rule: usize,
    pub(crate) step: u16,
    pub(crate) keys: Vec<Columns>,
    pub(crate) select: Vec<(String, Arc<dyn PhysicalExpr>)>,
    /// What the rule's window looks at, and whether of an address only the network counts.
    pub(crate) values: Vec<(Arc<dyn PhysicalExpr>, bool)>,
    pub(crate) excepted: Excepted,
}

/// The rules of one log source.
#[derive(Default)]
pub(crate) struct SourcePlan {
    filters: Vec<Filter>,
    /// By filter.
    feeds: Vec<Vec<Feed>>,
    /// Predicates that read the same are asked once.
    alike: HashMap<Expr, usize>,
    index: Index,
}

pub struct Plan {
    rules: Vec<Rule>,
    sources: HashMap<String, SourcePlan>,
    paths: BTreeMap<String, BTreeSet<RawPath>>,
    columns: BTreeSet<String>,
    pub(crate) nesting: Nesting,
}

impl Plan {
    /// Plans every rule for every log source that it reads. All errors, not only the first.
    pub fn new(rules: Vec<Rule>, sources: &[SourceFields<'_>]) -> Result<Self, Vec<FileError>> {
        let mut errors = duplicates(&rules);
        errors.extend(parts(&rules).flat_map(|part| unknown_sources(&part, sources)));
        let (nesting, more) = Nesting::new(&rules);
        errors.extend(more);
        let mut plan =
            Self { rules, sources: HashMap::new(), paths: BTreeMap::new(), columns: BTreeSet::new(), nesting };
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
    pub fn has_windows(&self) -> bool {
        self.rules.iter().any(|rule| rule.window.is_some())
    }

    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The reference tables that rules join.
    pub fn joined(&self) -> impl Iterator<Item = &'static Table> + '_ {
        TABLES.iter().filter(|table| self.rules.iter().flat_map(Rule::joins).any(|join| join.table.name == table.name))
    }

    /// A rule and its window, where it has one.
    pub(crate) fn window(&self, rule: usize) -> Option<(&Rule, &Window)> {
        let rule = self.rules.get(rule)?;
        rule.window.as_ref().map(|window| (rule, window))
    }

    pub(crate) fn position(&self, id: &str) -> Option<usize> {
        self.rules.iter().position(|rule| rule.id == id)
    }

    pub(crate) fn source(&self, name: &str) -> Option<&SourcePlan> {
        self.sources.get(name)
    }

    fn add(&mut self, source: &SourceFields<'_>, planner: &Planner, errors: &mut Vec<FileError>) {
        let mut asked = Vec::new();
        for part in parts(&self.rules).filter(|part| part.reads(source.name)) {
            match wanted(&part, source).and_then(|wanted| wanted.check(&part, source)) {
                Ok(wanted) => asked.push((part, wanted)),
                Err(error) => errors.push(error),
            }
        }
        let paths: BTreeSet<RawPath> = asked.iter().flat_map(|(_, wanted)| wanted.names()).filter_map(raw).collect();
        let batch = batch_schema(&paths);
        let mut planned = SourcePlan::default();
        for (part, wanted) in &asked {
            self.columns.extend(wanted.filter_names.iter().filter_map(event));
            match wanted.compile(part, &batch, planner) {
                Ok(compiled) => planned.add(part, compiled),
                Err(error) => errors.push(error),
            }
        }
        planned.index = Index::new(&planned.filters.iter().map(|filter| &filter.predicate).collect::<Vec<_>>());
        self.sources.insert(source.name.to_owned(), planned);
        self.paths.insert(source.name.to_owned(), paths);
    }
}

fn parts(rules: &[Rule]) -> impl Iterator<Item = Part<'_>> {
    rules.iter().enumerate().flat_map(|(index, rule)| Part::all(index, rule))
}

impl SourcePlan {
    fn add(&mut self, part: &Part<'_>, compiled: Compiled) {
        let Compiled { filter, select, values, excepted, keys } = compiled;
        let feed = Feed { rule: part.index, step: part.number, keys, select, values, excepted };
        let next = self.filters.len();
        let at = match &filter.expr {
            Some(expr) if filter.joining.is_none() => *self.alike.entry(expr.clone()).or_insert(next),
            _ => next,
        };
        if at == next {
            self.filters.push(filter);
            self.feeds.push(Vec::new());
        }
        if let Some(feeds) = self.feeds.get_mut(at) {
            feeds.push(feed);
        }
    }

    pub(crate) fn feeds_of(&self, filter: u32) -> &[Feed] {
        self.feeds.get(filter as usize).map(Vec::as_slice).unwrap_or_default()
    }

    /// What these events ask the joined tables for. A filter that cannot be asked fails, and says so, when it is used.
    pub(crate) fn questions(&self, events: &EventBatch) -> Questions {
        let mut asked = Questions::new();
        for joining in self.filters.iter().filter_map(|filter| filter.joining.as_ref()) {
            joining.ask(&events.batch, &mut asked).ok();
        }
        asked
    }

    /// The batch with the columns that a filter joined; `None` for a filter without joins.
    pub(crate) fn widened(
        &self,
        filter: u32,
        events: &EventBatch,
        rows: &[u32],
        reference: &Reference,
    ) -> Result<Option<EventBatch>, SqlError> {
        let joining = self.filters.get(filter as usize).and_then(|filter| filter.joining.as_ref());
        joining.map(|joining| joining.widen(events, rows, reference)).transpose()
    }

    /// The rows that each filter passes, by way of the index.
    pub(crate) fn matches(&self, events: &EventBatch, lookup: &mut Lookup, reference: &Reference) -> Matches {
        let mut matches = Matches::default();
        self.index.propose(&events.batch, lookup, &mut |filter, rows| {
            let Some(found) = self.filters.get(filter as usize) else { return };
            matches.push(filter, found.pass(events, rows, reference));
        });
        matches.sorted()
    }

    /// The same without index or shortcut.
    pub(crate) fn plainly(&self, events: &EventBatch, reference: &Reference) -> Matches {
        let mut matches = Matches::default();
        for (filter, found) in (0u32..).zip(&self.filters) {
            matches.push(filter, found.plainly(events, reference));
        }
        matches.sorted()
    }
}

fn raw(name: &Name) -> Option<RawPath> {
    match name {
        Name::Raw(path) => Some(path.clone()),
        Name::Event(_) | Name::Joined { .. } => None,
    }
}

fn event(name: &Name) -> Option<String> {
    match name {
        Name::Event(column) => Some((*column).to_owned()),
        Name::Raw(_) | Name::Joined { .. } => None,
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

fn unknown_sources(part: &Part<'_>, sources: &[SourceFields<'_>]) -> Vec<FileError> {
    let unknown = part.named_sources().iter().filter(|name| sources.iter().all(|source| source.name != name.as_str()));
    unknown
        .map(|name| {
            let hint = keytrail_model::did_you_mean(name, sources.iter().map(|source| source.name));
            FileError::new(&part.rule.file, None, format!("no mapping for log source `{name}`{hint}"))
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
