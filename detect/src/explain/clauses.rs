//! A condition taken apart where AND, OR and NOT join it, each piece as its author wrote it: for telling people which of
//! them held.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, UnaryOperator};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use keytrail_sql::{Expression, Select, SqlError};

/// A condition and the conditions in it.
#[derive(Clone, Debug)]
pub(super) enum Clauses {
    All(Vec<Clauses>),
    Any(Vec<Clauses>),
    Not(Box<Clauses>),
    One(Expression),
}

impl Clauses {
    /// Of a rule's condition, in which names mean what they mean in a SELECT.
    pub(super) fn of(condition: &Expression, select: &Select) -> Result<Self, SqlError> {
        let tree =
            Parser::new(&GenericDialect {}).try_with_sql(&condition.text).and_then(|mut parser| parser.parse_expr());
        Self::split(&tree.map_err(|error| SqlError::Syntax(error.to_string()))?, select)
    }

    fn split(tree: &Expr, select: &Select) -> Result<Self, SqlError> {
        match tree {
            Expr::BinaryOp { op: op @ BinaryOperator::And, .. } => Ok(Self::All(joined(tree, op, select)?)),
            Expr::BinaryOp { op: op @ BinaryOperator::Or, .. } => Ok(Self::Any(joined(tree, op, select)?)),
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => Ok(Self::Not(Box::new(Self::split(expr, select)?))),
            Expr::Nested(inner) => Self::split(inner, select),
            one => select.expression(&one.to_string()).map(Self::One),
        }
    }
}

/// `a AND b AND c` is one list, in brackets or not.
fn joined(tree: &Expr, by: &BinaryOperator, select: &Select) -> Result<Vec<Clauses>, SqlError> {
    match tree {
        Expr::BinaryOp { left, op, right } if op == by => {
            let mut parts = joined(left, by, select)?;
            parts.extend(joined(right, by, select)?);
            Ok(parts)
        }
        Expr::Nested(inner) if matches!(inner.as_ref(), Expr::BinaryOp { op, .. } if op == by) => {
            joined(inner, by, select)
        }
        other => Ok(vec![Clauses::split(other, select)?]),
    }
}

#[cfg(test)]
mod tests {
    use keytrail_sql::{Scope, parse_expression};

    use super::*;

    fn shown(clauses: &Clauses) -> String {
        let each = |parts: &[Clauses]| parts.iter().map(shown).collect::<Vec<_>>().join("; ");
        match clauses {
            Clauses::All(parts) => format!("all({})", each(parts)),
            Clauses::Any(parts) => format!("any({})", each(parts)),
            Clauses::Not(part) => format!("not({})", shown(part)),
            Clauses::One(one) => one.text.clone(),
        }
    }

    #[test]
    fn pieces_stay_as_they_were_written() {
        for (text, wanted) in [
            ("action = 'x'", "action = 'x'"),
            ("a.b = 'x' AND NOT (c IN ('y', 'z') OR d)", "all(a.b = 'x'; not(any(c IN ('y', 'z'); d)))"),
            ("(a AND (b AND c)) OR d BETWEEN 1 AND 2", "any(all(a; b; c); d BETWEEN 1 AND 2)"),
            (
                "array_has(\"resources[].ARN\", 'x') AND raw.action NOT LIKE 'a%'",
                "all(array_has(\"resources[].ARN\", 'x'); raw.action NOT LIKE 'a%')",
            ),
        ] {
            let condition = parse_expression(text, Scope::Rule).expect(text);
            let clauses = Clauses::of(&condition, &Select::filter(condition.clone())).expect(text);
            assert_eq!(shown(&clauses), wanted);
        }
    }
}
