//! Text to syntax tree, with every dotted name replaced by one quoted column name.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::{
    ast::{
        CastKind, Expr, GroupByExpr, Ident, Query, Select as SqlSelect, SelectItem, SetExpr, Statement,
        visit_expressions_mut,
    },
    dialect::GenericDialect,
    parser::Parser,
};
use keytrail_model::lower_first;

use crate::{
    SqlError,
    joins::{Join, Reads},
    names::{Name, Names, Scope},
};

/// A parsed expression and the names that it uses.
#[derive(Clone, Debug)]
pub struct Expression {
    pub(crate) ast: Expr,
    pub names: BTreeSet<Name>,
    /// As it was written.
    pub text: String,
}

/// A per-event SELECT: a predicate and the columns shown as evidence.
#[derive(Clone, Debug)]
pub struct Select {
    /// What it calls `events`.
    pub events: Option<String>,
    /// The reference tables that it joins.
    pub joins: Vec<Join>,
    pub filter: Option<Expression>,
    /// Output name and expression.
    pub columns: Vec<(String, Expression)>,
}

impl Select {
    /// A predicate over events alone.
    #[must_use]
    pub fn filter(filter: Expression) -> Self {
        Self { events: None, joins: Vec::new(), filter: Some(filter), columns: Vec::new() }
    }

    /// What of the event the joined tables are looked up by.
    pub fn on(&self) -> impl Iterator<Item = &Expression> {
        self.joins.iter().flat_map(|join| join.on.iter().map(|(_, value)| value))
    }

    /// Parses one scalar expression that may also name what this SELECT joins.
    pub fn expression(&self, text: &str) -> Result<Expression, SqlError> {
        parse(text, Names { scope: Scope::Rule, events: self.events.as_deref(), joins: &self.joins })
    }
}

/// Parses one scalar expression.
pub fn parse_expression(text: &str, scope: Scope) -> Result<Expression, SqlError> {
    parse(text, scope.into())
}

fn parse(text: &str, names: Names<'_>) -> Result<Expression, SqlError> {
    let dialect = GenericDialect {};
    let mut parser = Parser::new(&dialect).try_with_sql(text).map_err(syntax)?;
    let ast = parser.parse_expr().map_err(syntax)?;
    let rest = parser.peek_token();
    if rest.token != datafusion::sql::sqlparser::tokenizer::Token::EOF {
        return Err(SqlError::Syntax(format!("`{rest}` is left over after the expression")));
    }
    resolve(ast, names)
}

/// Parses `SELECT columns FROM events [JOIN table ON …] [WHERE predicate]` and refuses everything else.
pub fn parse_select(text: &str, scope: Scope) -> Result<Select, SqlError> {
    let mut statements = Parser::parse_sql(&GenericDialect {}, text).map_err(syntax)?;
    let (Some(Statement::Query(query)), true) = (statements.pop(), statements.is_empty()) else {
        return Err(SqlError::Syntax("one SELECT is wanted: SELECT columns FROM events WHERE …".to_owned()));
    };
    let select = plain_select(*query)?;
    let Reads { events, joins } = Reads::read(&select.from, scope)?;
    let names = Names { scope, events: events.as_deref(), joins: &joins };
    let filter = select.selection.map(|filter| resolve(filter, names)).transpose()?;
    let columns = select.projection.into_iter().filter_map(|item| column(item, names).transpose());
    let columns = columns.collect::<Result<_, _>>()?;
    Ok(Select { events, joins, filter, columns })
}

fn syntax(error: impl std::fmt::Display) -> SqlError {
    SqlError::Syntax(lower_first(error.to_string().trim_start_matches("sql parser error: ")))
}

pub(crate) fn refused<T>(construct: &str, remedy: &'static str) -> Result<T, SqlError> {
    Err(SqlError::Refused { construct: construct.to_owned(), remedy })
}

/// The SELECT inside a query, if it is a filter and projection over `events` and nothing more.
fn plain_select(query: Query) -> Result<SqlSelect, SqlError> {
    const WINDOW: &str = "grouping and windows belong to the rule's own keys, not to its SQL";
    if query.with.is_some() {
        return refused("WITH", "write one SELECT over events");
    }
    if query.order_by.is_some() || query.limit_clause.is_some() || query.fetch.is_some() {
        return refused("ORDER BY or LIMIT", "a rule sees one event at a time");
    }
    let SetExpr::Select(select) = *query.body else {
        return refused("UNION or VALUES", "write one SELECT over events");
    };
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    if grouped || select.having.is_some() || select.distinct.is_some() || select.qualify.is_some() {
        return refused("GROUP BY, HAVING, DISTINCT or QUALIFY", WINDOW);
    }
    Ok(*select)
}

fn column(item: SelectItem, names: Names<'_>) -> Result<Option<(String, Expression)>, SqlError> {
    match item {
        SelectItem::Wildcard(_) => Ok(None),
        SelectItem::UnnamedExpr(expr) => {
            let name = expr.to_string().replace('"', "");
            let own = matches!(expr, Expr::CompoundIdentifier(_)).then_some(names.events).flatten();
            let short = own.and_then(|alias| name.strip_prefix(alias)?.strip_prefix('.')).unwrap_or(&name);
            Ok(Some((short.to_owned(), resolve(expr, names)?)))
        }
        SelectItem::ExprWithAlias { expr, alias } => Ok(Some((alias.value, resolve(expr, names)?))),
        other => refused(&format!("`{other}`"), "name the columns"),
    }
}

pub(crate) fn resolve(mut ast: Expr, known: Names<'_>) -> Result<Expression, SqlError> {
    let text = ast.to_string();
    let mut names = BTreeSet::new();
    let flow = visit_expressions_mut(&mut ast, |expr| match rewrite(expr, known, &mut names) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    });
    match flow {
        ControlFlow::Continue(()) => Ok(Expression { ast, names, text }),
        ControlFlow::Break(error) => Err(error),
    }
}

fn rewrite(expr: &mut Expr, known: Names<'_>, names: &mut BTreeSet<Name>) -> Result<(), SqlError> {
    match expr {
        Expr::Identifier(ident) => *expr = named(std::slice::from_ref(ident), known, names)?,
        Expr::CompoundIdentifier(parts) => *expr = named(parts, known, names)?,
        // A value that does not cast is null: a record must not fail its batch.
        Expr::Cast { kind, .. } => *kind = CastKind::TryCast,
        Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. } => {
            return refused("a subquery", "a rule sees one event at a time");
        }
        Expr::Function(call) if call.over.is_some() => {
            return refused("OVER", "windows belong to the rule's own keys, not to its SQL");
        }
        _ => {}
    }
    Ok(())
}

fn named(parts: &[Ident], known: Names<'_>, names: &mut BTreeSet<Name>) -> Result<Expr, SqlError> {
    let name = known.resolve(parts)?;
    let ident = Ident::with_quote('"', name.column());
    names.insert(name);
    Ok(Expr::Identifier(ident))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(text: &str, scope: Scope) -> Vec<String> {
        parse_expression(text, scope).expect(text).names.iter().map(Name::column).collect()
    }

    #[test]
    fn dotted_names_become_one_column() {
        assert_eq!(columns("nullif(userIdentity.accessKeyId, '')", Scope::Mapping), ["userIdentity.accessKeyId"]);
        assert_eq!(columns("claims.\"http://x.example/y\"", Scope::Mapping), ["claims.\"http://x.example/y\""]);
        assert_eq!(columns("\"resources[].ARN\"", Scope::Mapping), ["resources[].ARN"]);
    }

    #[test]
    fn a_rule_prefers_event_columns_and_raw_forces_the_path() {
        let names = parse_expression("action = 'x' AND raw.action = 'y'", Scope::Rule).expect("parses").names;
        assert!(names.contains(&Name::Event("action")));
        assert!(names.iter().any(|name| matches!(name, Name::Raw(path) if path.to_string() == "action")));
        assert_eq!(parse_expression("action", Scope::Mapping).map(|e| e.names.len()).ok(), Some(1));
    }

    #[test]
    fn refuses_what_is_not_per_event() {
        for text in [
            "SELECT count(*) OVER () FROM events",
            "SELECT action FROM events GROUP BY action",
            "SELECT action FROM events ORDER BY time",
            "SELECT action FROM other",
            "SELECT action FROM events WHERE actor IN (SELECT 1)",
        ] {
            assert!(matches!(parse_select(text, Scope::Rule), Err(SqlError::Refused { .. })), "{text}");
        }
        assert!(parse_select("SELECT e.action FROM events e JOIN x ON true", Scope::Rule).is_err());
        assert!(matches!(parse_expression("a = = b", Scope::Rule), Err(SqlError::Syntax(_))));
        assert!(matches!(parse_expression("a b", Scope::Rule), Err(SqlError::Syntax(_))));
    }
}
