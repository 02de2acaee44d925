//! Syntax tree to DataFusion physical expression over a given schema, types coerced, constants folded.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DFSchema, tree_node::TreeNode, tree_node::TreeNodeRecursion};
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, Volatility, cast, expr_fn::try_cast};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_plan::PhysicalExpr;
use datafusion::prelude::SessionConfig;
use datafusion::sql::sqlparser::ast::ExprWithAlias;
use keytrail_model::schema::Kind;

use crate::{Expression, Name, SqlError, functions};

/// Plans expressions. Holds DataFusion's functions and ours; no tables, no I/O.
pub struct Planner {
    state: SessionState,
}

impl Default for Planner {
    fn default() -> Self {
        Self::new()
    }
}

impl Planner {
    #[must_use]
    pub fn new() -> Self {
        let mut config = SessionConfig::new();
        config.options_mut().sql_parser.enable_ident_normalization = false;
        let mut builder = SessionStateBuilder::new().with_config(config).with_default_features();
        builder.scalar_functions().get_or_insert_default().extend(functions::all().into_iter().map(Arc::new));
        Self { state: builder.build() }
    }

    /// Plans an expression whose result must be of the given type, or may be cast to it.
    pub fn plan(
        &self,
        expression: &Expression,
        schema: &SchemaRef,
        want: &DataType,
    ) -> Result<Arc<dyn PhysicalExpr>, SqlError> {
        let schema = DFSchema::try_from(schema.as_ref().clone()).map_err(plan_error)?;
        let sql = ExprWithAlias { expr: expression.ast.clone(), alias: None };
        let logical = self.state.create_logical_expr_from_sql_expr(sql, &schema).map_err(plan_error)?;
        let typed = typed(logical, &schema, want)?;
        self.state.create_physical_expr(typed, &schema).map_err(plan_error)
    }

    /// The predicate that an expression is, types coerced and constants folded: what an index may look into.
    pub fn predicate(&self, expression: &Expression, schema: &SchemaRef) -> Result<Expr, SqlError> {
        let schema = DFSchema::try_from(schema.as_ref().clone()).map_err(plan_error)?;
        let sql = ExprWithAlias { expr: expression.ast.clone(), alias: None };
        let logical = self.state.create_logical_expr_from_sql_expr(sql, &schema).map_err(plan_error)?;
        typed(logical, &schema, &DataType::Boolean)
    }

    /// The same for a logical expression made elsewhere (a Sigma rule's).
    pub fn logical_predicate(&self, logical: Expr, schema: &SchemaRef) -> Result<Expr, SqlError> {
        let schema = DFSchema::try_from(schema.as_ref().clone()).map_err(plan_error)?;
        typed(logical, &schema, &DataType::Boolean)
    }

    /// The text or list of texts that an expression gives: a part of a logical expression made elsewhere.
    pub fn texts(&self, expression: &Expression, schema: &SchemaRef) -> Result<Expr, SqlError> {
        let schema = DFSchema::try_from(schema.as_ref().clone()).map_err(plan_error)?;
        let sql = ExprWithAlias { expr: expression.ast.clone(), alias: None };
        let logical = self.state.create_logical_expr_from_sql_expr(sql, &schema).map_err(plan_error)?;
        let got = datafusion::logical_expr::ExprSchemable::get_type(&logical, &schema).map_err(plan_error)?;
        let want = if matches!(got, DataType::List(_)) { Kind::Texts } else { Kind::Text };
        typed(logical, &schema, &want.arrow())
    }

    /// Plans what `predicate` or `logical_predicate` gave, over the same schema or a projection of it.
    pub fn physical(&self, predicate: &Expr, schema: &SchemaRef) -> Result<Arc<dyn PhysicalExpr>, SqlError> {
        let schema = DFSchema::try_from(schema.as_ref().clone()).map_err(plan_error)?;
        self.state.create_physical_expr(predicate.clone(), &schema).map_err(plan_error)
    }
}

/// Only what is pure, of the wanted type, ready to be planned.
fn typed(logical: Expr, schema: &DFSchema, want: &DataType) -> Result<Expr, SqlError> {
    pure(&logical)?;
    let got = datafusion::logical_expr::ExprSchemable::get_type(&logical, schema).map_err(plan_error)?;
    let typed = if got == *want { logical } else { convert(logical, &got, want)? };
    simple(typed, schema).map_err(plan_error)
}

/// Types coerced and constants folded: DataFusion's own step leaves some functions, `coalesce` among them, unplanned.
fn simple(expr: Expr, schema: &DFSchema) -> datafusion::error::Result<Expr> {
    let context = SimplifyContext::builder().with_schema(Arc::new(schema.clone())).build();
    let simplifier = ExprSimplifier::new(context);
    simplifier.simplify(simplifier.coerce(expr, schema)?)
}

/// The schema that holds these names, in their order.
#[must_use]
pub fn schema_of<'a>(names: impl IntoIterator<Item = &'a Name>) -> SchemaRef {
    let fields = names.into_iter().map(|name| Field::new(name.column(), name.data_type(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Evaluates over a batch.
pub fn evaluate(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<ArrayRef, SqlError> {
    let value = expr.evaluate(batch).map_err(plan_error)?;
    value.into_array(batch.num_rows()).map_err(plan_error)
}

/// Evaluates a predicate over a batch. Null is not true.
pub fn evaluate_flags(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<BooleanArray, SqlError> {
    let array = evaluate(expr, batch)?;
    let flags = array.as_boolean_opt();
    flags.cloned().ok_or_else(|| SqlError::Type { got: array.data_type().to_string(), want: "bool".to_owned() })
}

/// Only what gives the same answer for the same event: no clock, no randomness, no aggregate.
fn pure(expr: &Expr) -> Result<(), SqlError> {
    let mut culprit = None;
    let walked = expr.apply(|node| {
        culprit = match node {
            Expr::ScalarFunction(call) if call.func.signature().volatility != Volatility::Immutable => {
                Some((call.func.name().to_owned(), "use the event's own time; a rule must give the same answer always"))
            }
            Expr::AggregateFunction(call) => {
                Some((call.func.name().to_owned(), "counting belongs to the rule's own keys, not to its SQL"))
            }
            _ => return Ok(TreeNodeRecursion::Continue),
        };
        Ok(TreeNodeRecursion::Stop)
    });
    walked.map_err(plan_error)?;
    match culprit {
        Some((name, remedy)) => Err(SqlError::Refused { construct: format!("`{name}`"), remedy }),
        None => Ok(()),
    }
}

fn convert(expr: Expr, got: &DataType, want: &DataType) -> Result<Expr, SqlError> {
    let texts = [DataType::Utf8, DataType::Utf8View, DataType::LargeUtf8];
    match (got, want) {
        (DataType::Null, _) => Ok(cast(expr, want.clone())),
        (got, DataType::Boolean) if !texts.contains(got) => mismatch(got, want),
        (DataType::List(_) | DataType::Struct(_), DataType::Utf8View) => mismatch(got, want),
        _ => Ok(try_cast(expr, want.clone())),
    }
}

fn mismatch(got: &DataType, want: &DataType) -> Result<Expr, SqlError> {
    Err(SqlError::Type { got: got.to_string(), want: want.to_string() })
}

fn plan_error(error: datafusion::error::DataFusionError) -> SqlError {
    let text = error.strip_backtrace();
    let text = ["Error during planning: ", "Execution error: ", "Schema error: "]
        .iter()
        .fold(text.as_str(), |text, prefix| text.strip_prefix(prefix).unwrap_or(text));
    SqlError::Plan(text.trim_end_matches('.').replace('\n', " "))
}

#[cfg(test)]
mod tests {
    use arrow::array::StringViewArray;

    use super::*;
    use crate::{Scope, parse_expression};

    fn run(text: &str, values: &[Option<&str>]) -> Result<BooleanArray, SqlError> {
        let expression = parse_expression(text, Scope::Mapping)?;
        let schema = schema_of(&expression.names);
        let expr = Planner::new().plan(&expression, &schema, &DataType::Boolean)?;
        let column: ArrayRef = Arc::new(StringViewArray::from(values.to_vec()));
        evaluate_flags(&expr, &RecordBatch::try_new(schema, vec![column]).expect("a batch"))
    }

    #[test]
    fn evaluates_over_a_dotted_name() {
        let flags = run("a.b = 'x'", &[Some("x"), None, Some("y")]).expect("evaluates");
        assert_eq!(flags, BooleanArray::from(vec![Some(true), None, Some(false)]));
    }

    #[test]
    fn a_cast_that_does_not_fit_is_null() {
        let flags = run("CAST(a.b AS INT) > 3", &[Some("5"), Some("zap"), None]).expect("evaluates");
        assert_eq!(flags, BooleanArray::from(vec![Some(true), None, None]));
    }

    #[test]
    fn coalesce_is_planned() {
        let flags = run("coalesce(a.b, 'y') = 'y'", &[Some("x"), None]).expect("evaluates");
        assert_eq!(flags, BooleanArray::from(vec![Some(false), Some(true)]));
    }

    #[test]
    fn refuses_clocks_aggregates_and_unknown_functions() {
        for text in ["now() > a", "random() > 0.5 AND a = 'x'", "count(a) > 3"] {
            assert!(matches!(run(text, &[None]), Err(SqlError::Refused { .. })), "{text}");
        }
        assert!(matches!(run("lowr(a) = 'x'", &[None]), Err(SqlError::Plan(message)) if message.contains("lower")));
    }
}
