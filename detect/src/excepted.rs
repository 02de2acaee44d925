//! What keeps a matching event from counting: conditions that overlays add, and exceptions that cover it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::Array;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::physical_plan::PhysicalExpr;
use keytrail_model::{EventBatch, FileError, Micros};
use keytrail_sql::{Expression, Name, Planner, evaluate_flags};

use crate::{Rule, SourceFields};

/// Planned against one log source's columns. Asked for matching events only, so its cost is that of matches.
pub(crate) struct Excepted {
    narrowed: Vec<Arc<dyn PhysicalExpr>>,
    /// By whose id, until when, which events.
    exceptions: Vec<(String, Micros, Arc<dyn PhysicalExpr>)>,
}

/// The names that it reads of one log source. A field that the source cannot have is an error, except in an exception
/// for any rule: that covers nothing there.
pub(crate) fn names(rule: &Rule, source: &SourceFields<'_>) -> Result<BTreeSet<Name>, FileError> {
    let mut names = BTreeSet::new();
    for narrowed in &rule.narrowed {
        known(&narrowed.condition, source).map_err(|said| FileError::new(&narrowed.file, Some(narrowed.line), said))?;
        names.extend(narrowed.condition.names.iter().cloned());
    }
    for exception in &rule.exceptions {
        match known(&exception.filter, source) {
            Ok(()) => names.extend(exception.filter.names.iter().cloned()),
            Err(_) if exception.rules.is_empty() => {}
            Err(said) => return Err(FileError::new(&exception.file, Some(exception.line), said)),
        }
    }
    Ok(names)
}

fn known(condition: &Expression, source: &SourceFields<'_>) -> Result<(), String> {
    for name in &condition.names {
        let Name::Raw(path) = name else { continue };
        let refused = |hint| format!("`{path}` is neither an event column nor a field of {}{hint}", source.name);
        (source.knows)(path).map_err(refused)?;
    }
    Ok(())
}

impl Excepted {
    pub(crate) fn compile(rule: &Rule, batch: &SchemaRef, planner: &Planner) -> Result<Self, FileError> {
        let plan = |condition: &Expression, file: &str, line: u64| {
            let planned = planner.plan(condition, batch, &DataType::Boolean);
            planned.map_err(|error| FileError::new(file, Some(line), error.to_string()))
        };
        let narrowed = rule.narrowed.iter().map(|narrowed| plan(&narrowed.condition, &narrowed.file, narrowed.line));
        let here = |name: &Name| batch.column_with_name(&name.column()).is_some();
        let exceptions = rule.exceptions.iter().filter(|exception| exception.filter.names.iter().all(here));
        let exceptions = exceptions.map(|exception| {
            let filter = plan(&exception.filter, &exception.file, exception.line)?;
            Ok((exception.id.clone(), exception.expires, filter))
        });
        Ok(Self { narrowed: narrowed.collect::<Result<_, _>>()?, exceptions: exceptions.collect::<Result<_, _>>()? })
    }

    /// The rows that count; those that an exception covers are counted under its id. The first that covers is named.
    pub(crate) fn left(
        &self,
        mut rows: Vec<u32>,
        events: &EventBatch,
        counts: &mut BTreeMap<String, u64>,
    ) -> Result<Vec<u32>, String> {
        for condition in &self.narrowed {
            let holds = holds(condition, events)?;
            rows.retain(|&row| holds(row as usize));
        }
        for (id, expires, condition) in &self.exceptions {
            let holds = holds(condition, events)?;
            let before = rows.len();
            rows.retain(|&row| events.time(row as usize) >= *expires || !holds(row as usize));
            if rows.len() < before {
                *counts.entry(id.clone()).or_default() += (before - rows.len()) as u64;
            }
        }
        Ok(rows)
    }
}

fn holds(condition: &Arc<dyn PhysicalExpr>, events: &EventBatch) -> Result<impl Fn(usize) -> bool, String> {
    let flags = evaluate_flags(condition, &events.batch).map_err(|error| error.to_string())?;
    Ok(move |row: usize| flags.is_valid(row) && flags.value(row))
}
