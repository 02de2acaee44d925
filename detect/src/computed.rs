//! What a dialect computes where no column of a record says it: an expression of the mapping language that gives a text
//! or a list of texts. Planned when the dialect is read, so that its mistakes are told there.

use std::collections::BTreeSet;

use datafusion::logical_expr::Expr;
use keytrail_sql::{Name, Planner, Scope, SqlError, parse_expression, schema_of};
use serde::Deserialize;
use serde_saphyr::Spanned;

/// `{sql: "…"}` in a dialect.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WrittenSql {
    pub(crate) sql: Spanned<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Computed {
    /// Over columns by name, whatever else a batch holds.
    pub(crate) expr: Expr,
    pub(crate) names: BTreeSet<Name>,
    /// As it was written.
    pub(crate) text: String,
    pub(crate) line: u64,
}

impl Computed {
    pub(crate) fn new(written: &WrittenSql, planner: &Planner) -> Result<Self, SqlError> {
        let expression = parse_expression(&written.sql.value, Scope::Rule)?;
        let expr = planner.texts(&expression, &schema_of(&expression.names))?;
        let text = written.sql.value.trim_end().to_owned();
        Ok(Self { expr, names: expression.names, text, line: written.sql.referenced.line() })
    }
}
