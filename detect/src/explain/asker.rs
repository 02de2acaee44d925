//! Evaluates single conditions on one event, by the same planner and functions that rules are evaluated by.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::DataType;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::PhysicalExpr;
use keytrail_sql::{Expression, Name, Planner, Select, SqlError, evaluate, evaluate_flags};

use super::clause::{Clause, Joined};
use super::clauses::Clauses;
use super::found::Event;

pub(super) struct Asker<'a> {
    planner: &'a Planner,
    pub(super) event: &'a Event<'a>,
    /// The event's row alone.
    one: RecordBatch,
}

impl<'a> Asker<'a> {
    pub(super) fn new(planner: &'a Planner, event: &'a Event<'a>) -> Self {
        Self { planner, event, one: event.events.batch.slice(event.row, 1) }
    }

    /// A condition over events, taken apart.
    pub(super) fn condition(&self, condition: &Expression) -> Result<Clause, String> {
        self.within(condition, &Select::filter(condition.clone()))
    }

    /// The same where its names mean what they mean in a SELECT.
    pub(super) fn within(&self, condition: &Expression, select: &Select) -> Result<Clause, String> {
        let clauses = Clauses::of(condition, select).map_err(|error| error.to_string())?;
        self.clauses(&clauses).map_err(|error| error.to_string())
    }

    /// Whether the batch has every column that it reads.
    pub(super) fn knows(&self, condition: &Expression) -> bool {
        condition.names.iter().all(|name| self.one.schema().column_with_name(&name.column()).is_some())
    }

    pub(super) fn logical(&self, expr: Expr) -> Result<Option<bool>, SqlError> {
        let schema = self.one.schema();
        let expr = self.planner.logical_predicate(expr, &schema)?;
        self.ask(&self.planner.physical(&expr, &schema)?)
    }

    /// What an expression gives, of a type that it has already.
    pub(super) fn value(&self, expr: &Expr) -> Result<ArrayRef, SqlError> {
        evaluate(&self.planner.physical(expr, &self.one.schema())?, &self.one)
    }

    fn clauses(&self, clauses: &Clauses) -> Result<Clause, SqlError> {
        let each = |parts: &[Clauses]| parts.iter().map(|part| self.clauses(part)).collect::<Result<Vec<_>, _>>();
        Ok(match clauses {
            Clauses::All(parts) => Clause::of("", Joined::All, each(parts)?),
            Clauses::Any(parts) => Clause::of("", Joined::Any, each(parts)?),
            Clauses::Not(part) => Clause::of("", Joined::Not, vec![self.clauses(part)?]),
            Clauses::One(one) => {
                let planned = self.planner.plan(one, &self.one.schema(), &DataType::Boolean)?;
                let reads = one.names.iter().map(|name: &Name| self.event.read(name)).collect();
                Clause::test(one.text.clone(), self.ask(&planned)?, reads)
            }
        })
    }

    fn ask(&self, planned: &Arc<dyn PhysicalExpr>) -> Result<Option<bool>, SqlError> {
        let flags = evaluate_flags(planned, &self.one)?;
        Ok(flags.is_valid(0).then(|| flags.value(0)))
    }
}
