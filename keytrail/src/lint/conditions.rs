//! Conditions that say nothing: true or false for every event once constants are folded.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::physical_plan::expressions::Literal;
use keytrail_detect::{Body, Rule, Takes};
use keytrail_sql::{Expression, Planner, schema_of};

use super::Problem;
use super::table::{ALWAYS, NEVER};

/// What does not plan is told elsewhere.
pub fn of(rule: &Rule, planner: &Planner) -> Vec<Problem> {
    let conditions: Vec<(&Expression, Option<u64>)> = match &rule.body {
        Body::Sql(select) => match &select.filter {
            Some(filter) => vec![(filter, rule.line)],
            None if select.joins.iter().any(|join| join.inner) => Vec::new(),
            None => return vec![everything(rule)],
        },
        Body::Sigma(_) => Vec::new(),
        Body::Steps => {
            let sql = rule.steps.iter().filter_map(|step| match &step.filter {
                Takes::Sql(filter) => Some((filter, Some(step.line))),
                Takes::Sigma { .. } | Takes::Matches(_) => None,
            });
            sql.collect()
        }
    };
    conditions.into_iter().filter_map(|(condition, line)| judged(rule, condition, line, planner)).collect()
}

fn everything(rule: &Rule) -> Problem {
    Problem::new(&ALWAYS, &rule.file, rule.line, "there is no condition: every event of its log sources matches")
}

fn judged(rule: &Rule, condition: &Expression, line: Option<u64>, planner: &Planner) -> Option<Problem> {
    let (lint, message) = match constant(condition, planner)? {
        true => (&ALWAYS, "the condition is true for every event: say what it must be"),
        false => (&NEVER, "the condition is true for no event: a comparison with null, or a contradiction"),
    };
    Some(Problem::new(lint, &rule.file, line, message))
}

/// The value that the condition always has; null is not true.
fn constant(condition: &Expression, planner: &Planner) -> Option<bool> {
    let planned = planner.plan(condition, &schema_of(&condition.names), &DataType::Boolean).ok()?;
    let literal = planned.downcast_ref::<Literal>()?;
    Some(matches!(literal.value(), ScalarValue::Boolean(Some(true))))
}
