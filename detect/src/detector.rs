//! All rules over all batches: says what it needs of the events, evaluates, and gives the findings.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Schema, SchemaRef};
use keytrail_model::{EventBatch, FileError, Finding, Micros, RawPath, schema};
use keytrail_sql::{Name, Planner, evaluate, evaluate_flags, schema_of};

use crate::compile::{Compiled, SourceFields, check_names, compile, wanted};
use crate::group::Group;
use crate::rule::Rule;
use crate::template::shown;

/// A rule that failed while running. It is never silent: it becomes a finding of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleFailure {
    pub rule: String,
    pub source: String,
    pub reason: String,
}

type GroupKey = (usize, Vec<String>, Micros);

pub struct Detector {
    rules: Vec<Rule>,
    /// By log source: index of the rule and its plan.
    plans: HashMap<String, Vec<(usize, Compiled)>>,
    paths: BTreeMap<String, BTreeSet<RawPath>>,
    groups: BTreeMap<GroupKey, Group>,
    failures: BTreeSet<RuleFailure>,
}

impl Detector {
    /// Plans every rule for every log source that it reads. All errors, not only the first.
    pub fn new(rules: Vec<Rule>, sources: &[SourceFields<'_>]) -> Result<Self, Vec<FileError>> {
        let planner = Planner::new();
        let mut errors = duplicates(&rules);
        let mut plans = HashMap::new();
        let mut paths = BTreeMap::new();
        for rule in &rules {
            errors.extend(unknown_sources(rule, sources));
        }
        for source in sources {
            let (compiled, needed) = plan_source(&rules, source, &planner, &mut errors);
            plans.insert(source.name.to_owned(), compiled);
            paths.insert(source.name.to_owned(), needed);
        }
        errors.sort_by(|left, right| {
            (&left.file, left.line, &left.message).cmp(&(&right.file, right.line, &right.message))
        });
        errors.dedup();
        if errors.is_empty() {
            Ok(Self { rules, plans, paths, groups: BTreeMap::new(), failures: BTreeSet::new() })
        } else {
            Err(errors)
        }
    }

    /// The raw paths that rules read, by log source.
    #[must_use]
    pub fn paths(&self) -> &BTreeMap<String, BTreeSet<RawPath>> {
        &self.paths
    }

    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Evaluates a batch; matches are counted into their groups.
    pub fn evaluate(&mut self, events: &EventBatch) {
        let Some(plans) = self.plans.get(events.source.as_ref()) else { return };
        for (index, plan) in plans {
            let Some(rule) = self.rules.get(*index) else { continue };
            match matches(plan, events) {
                Ok(rows) => rows.into_iter().for_each(|row| {
                    let key = group_key(*index, rule, events, row);
                    self.groups.entry(key).or_default().add(rule, events, row, || select(plan, events, row));
                }),
                Err(reason) => {
                    let source = events.source.to_string();
                    self.failures.insert(RuleFailure { rule: rule.id.clone(), source, reason });
                }
            }
        }
    }

    /// The findings so far, worst first, then by time and id.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let found = self.groups.iter().filter_map(|((index, key, start), group)| {
            self.rules.get(*index).and_then(|rule| group.finding(rule, key, *start))
        });
        let mut findings: Vec<Finding> = found.collect();
        findings.sort_by(|left, right| {
            let order = right.severity.cmp(&left.severity).then(left.first_seen.cmp(&right.first_seen));
            order.then_with(|| left.id.cmp(&right.id))
        });
        findings
    }

    #[must_use]
    pub fn failures(&self) -> &BTreeSet<RuleFailure> {
        &self.failures
    }

    /// Forgets the matches, keeps the plans.
    pub fn clear(&mut self) {
        self.groups.clear();
        self.failures.clear();
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
    let crate::Sources::Named(names) = &rule.sources else { return Vec::new() };
    let unknown = names.iter().filter(|name| sources.iter().all(|source| source.name != name.as_str()));
    unknown
        .map(|name| {
            let hint = keytrail_model::did_you_mean(name, sources.iter().map(|source| source.name));
            FileError::new(&rule.file, None, format!("no mapping for log source `{name}`{hint}"))
        })
        .collect()
}

fn plan_source(
    rules: &[Rule],
    source: &SourceFields<'_>,
    planner: &Planner,
    errors: &mut Vec<FileError>,
) -> (Vec<(usize, Compiled)>, BTreeSet<RawPath>) {
    let mut asked = Vec::new();
    for (index, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.sources.include(source.name)) {
        match wanted(rule, source).and_then(|wanted| check_names(rule, &wanted, source).map(|()| wanted)) {
            Ok(wanted) => asked.push((index, rule, wanted)),
            Err(error) => errors.push(error),
        }
    }
    let names = asked.iter().flat_map(|(.., wanted)| &wanted.names);
    let paths: BTreeSet<RawPath> =
        names.filter_map(|name| if let Name::Raw(path) = name { Some(path.clone()) } else { None }).collect();
    let batch = batch_schema(&paths);
    let mut plans = Vec::new();
    for (index, rule, wanted) in &asked {
        match compile(rule, wanted, &batch, planner) {
            Ok(compiled) => plans.push((*index, compiled)),
            Err(error) => errors.push(error),
        }
    }
    (plans, paths)
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

fn matches(plan: &Compiled, events: &EventBatch) -> Result<Vec<usize>, String> {
    let Some(filter) = &plan.filter else { return Ok((0..events.rows()).collect()) };
    let flags = evaluate_flags(filter, &events.batch).map_err(|error| error.to_string())?;
    Ok((0..flags.len()).filter(|&row| flags.is_valid(row) && flags.value(row)).collect())
}

fn group_key(index: usize, rule: &Rule, events: &EventBatch, row: usize) -> GroupKey {
    let value = |column: &String| shown(events, column, row).unwrap_or_else(|| "(none)".to_owned());
    (index, rule.group_by.iter().map(value).collect(), events.time(row).bucket(rule.suppress_for))
}

/// The rule's evidence columns for one event.
fn select(plan: &Compiled, events: &EventBatch, row: usize) -> BTreeMap<String, String> {
    let one = events.batch.slice(row, 1);
    let column = |(name, expr): &(String, _)| {
        let array = evaluate(expr, &one).ok()?;
        first_text(&array).map(|text| (name.clone(), text))
    };
    plan.select.iter().filter_map(column).collect()
}

fn first_text(array: &ArrayRef) -> Option<String> {
    if array.is_empty() || array.is_null(0) {
        return None;
    }
    if let Some(texts) = array.as_string_view_opt() {
        return Some(texts.value(0).to_owned());
    }
    let values = array.as_list_opt::<i32>()?.value(0);
    let texts: Vec<&str> = values.as_string_view_opt()?.iter().flatten().collect();
    Some(texts.join(", "))
}
