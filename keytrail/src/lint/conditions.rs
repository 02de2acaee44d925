//! Conditions that say nothing: true or false for every event once constants are folded.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::physical_plan::expressions::Literal;
use keytrail_detect::{Body, Rule};
use keytrail_sql::{Expression, Planner, schema_of};

use super::Problem;
use super::table::{ALWAYS, NEVER};

/// What does not plan is told elsewhere.
pub fn of(rule: &Rule) -> Option<Problem> {
    let Body::Sql(select) = &rule.body else { return None };
    let Some(filter) = &select.filter else {
        let message = "the rule has no condition: every event of its log sources matches";
        return Some(Problem::new(&ALWAYS, &rule.file, rule.line, message));
    };
    let (lint, message) = match constant(filter)? {
        true => (&ALWAYS, "the condition is true for every event: say what it must be"),
        false => (&NEVER, "the condition is true for no event: a comparison with null, or a contradiction"),
    };
    Some(Problem::new(lint, &rule.file, rule.line, message))
}

/// The value that the condition always has; null is not true.
fn constant(condition: &Expression) -> Option<bool> {
    let planned = Planner::new().plan(condition, &schema_of(&condition.names), &DataType::Boolean).ok()?;
    let literal = planned.downcast_ref::<Literal>()?;
    Some(matches!(literal.value(), ScalarValue::Boolean(Some(true))))
}
