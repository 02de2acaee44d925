//! FROM and JOIN of a rule's SELECT: events, and reference tables joined by equality of their text columns.
//!
//! Anything else is refused: a join that is an equality is a look-up, however many rules and rows there are.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Join as SqlJoin, JoinConstraint, JoinOperator, TableFactor, TableWithJoins,
};
use keytrail_model::did_you_mean;
use keytrail_model::schema::Kind;
use keytrail_model::tables::{self, TABLES, Table};

use crate::SqlError;
use crate::names::{Name, Names, Scope};
use crate::parse::{Expression, refused, resolve};

/// A reference table as a rule joins it.
#[derive(Clone, Debug)]
pub struct Join {
    pub table: &'static Table,
    /// What the rule calls it.
    pub alias: String,
    /// An event without a row does not match; otherwise the row's columns are null.
    pub inner: bool,
    /// Columns of the table, each with what of the event it must equal.
    pub on: Vec<(&'static str, Expression)>,
}

/// What a SELECT reads.
pub(crate) struct Reads {
    pub(crate) events: Option<String>,
    pub(crate) joins: Vec<Join>,
}

impl Reads {
    pub(crate) fn read(from: &[TableWithJoins], scope: Scope) -> Result<Self, SqlError> {
        let [first] = from else { return no_events() };
        let (name, alias) = table(&first.relation)?;
        if name != "events" {
            return no_events();
        }
        let mut read = Self { events: alias, joins: Vec::new() };
        for join in &first.joins {
            let join = read.join(join, scope)?;
            read.joins.push(join);
        }
        Ok(read)
    }

    fn join(&self, join: &SqlJoin, scope: Scope) -> Result<Join, SqlError> {
        let (name, alias) = table(&join.relation)?;
        let Some(table) = tables::find(&name) else {
            let hint = did_you_mean(&name, TABLES.iter().map(|table| table.name));
            return Err(SqlError::Table { name, hint });
        };
        let alias = alias.unwrap_or(name);
        let taken =
            self.events.as_deref().unwrap_or("events") == alias || self.joins.iter().any(|known| known.alias == alias);
        if taken {
            return refused(&format!("the name `{alias}` twice"), "give each table a name of its own: `JOIN edges g`");
        }
        let (inner, on) = operator(&join.join_operator)?;
        let mut read = Join { table, alias, inner, on: Vec::new() };
        for equality in conjuncts(on) {
            let equality = self.equality(equality, &read, scope)?;
            read.on.push(equality);
        }
        Ok(read)
    }

    /// `alias.column = what the event says`, either way round.
    fn equality(&self, equality: &Expr, join: &Join, scope: Scope) -> Result<(&'static str, Expression), SqlError> {
        const REMEDY: &str = "write `alias.column = what the event says`, joined by AND, and the rest into WHERE";
        let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = equality else {
            return refused(&format!("`{equality}` in ON"), REMEDY);
        };
        let names = Names { scope, events: self.events.as_deref(), joins: std::slice::from_ref(join) };
        for (one, other) in [(left, right), (right, left)] {
            let Some(column) = own(one, names)? else { continue };
            let value = resolve(other.as_ref().clone(), Names { joins: &self.joins, ..names })?;
            if value.names.iter().any(|name| matches!(name, Name::Joined { .. })) {
                return refused(&format!("`{equality}` in ON"), "join each table to events, not to each other");
            }
            return Ok((column, value));
        }
        refused(&format!("`{equality}` in ON"), REMEDY)
    }
}

/// The column of the joined table that an expression is.
fn own(expr: &Expr, names: Names<'_>) -> Result<Option<&'static str>, SqlError> {
    let Expr::CompoundIdentifier(parts) = expr else { return Ok(None) };
    let name = names.resolve(parts)?;
    let Name::Joined { table, column, .. } = name else { return Ok(None) };
    let text = tables::find(table).and_then(|table| table.column(column)).is_some_and(|(_, c)| c.kind == Kind::Text);
    if text { Ok(Some(column)) } else { refused(&format!("`{expr}` in ON"), "compare times and numbers in WHERE") }
}

fn no_events<T>() -> Result<T, SqlError> {
    refused("a FROM other than `events`", "write FROM events, and JOIN the tables beside it")
}

/// Name and alias of a plain table.
fn table(factor: &TableFactor) -> Result<(String, Option<String>), SqlError> {
    match factor {
        TableFactor::Table { name, alias, args: None, .. } => {
            Ok((name.to_string().replace('"', ""), alias.as_ref().map(|alias| alias.name.value.clone())))
        }
        _ => no_events(),
    }
}

fn operator(operator: &JoinOperator) -> Result<(bool, &Expr), SqlError> {
    match operator {
        JoinOperator::Join(JoinConstraint::On(on)) | JoinOperator::Inner(JoinConstraint::On(on)) => Ok((true, on)),
        JoinOperator::Left(JoinConstraint::On(on)) | JoinOperator::LeftOuter(JoinConstraint::On(on)) => Ok((false, on)),
        _ => refused("this kind of JOIN", "write `JOIN table ON …` or `LEFT JOIN table ON …`"),
    }
}

fn conjuncts(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            let mut all = conjuncts(left);
            all.extend(conjuncts(right));
            all
        }
        Expr::Nested(inner) => conjuncts(inner),
        other => vec![other],
    }
}

#[cfg(test)]
mod tests {
    use crate::{Name, Scope, Select, SqlError, parse_select};

    fn select(text: &str) -> Result<Select, SqlError> {
        parse_select(text, Scope::Rule)
    }

    #[test]
    fn aliases_are_resolved_and_joined_columns_named() {
        let text = "SELECT e.action, c.created AS born FROM events e JOIN credentials c ON c.credential = e.credential \
                    LEFT JOIN edges AS g ON g.edge = 'uses' AND e.agent = g.from_id \
                    WHERE c.created_by <> e.actor AND e.userIdentity.type = 'IAMUser' AND g.to_id IS NULL";
        let select = select(text).expect("parses");
        let [credentials, edges] = select.joins.as_slice() else { panic!("two joins") };
        assert!(credentials.inner && !edges.inner);
        assert_eq!(edges.on.iter().map(|(column, _)| *column).collect::<Vec<_>>(), ["edge", "from_id"]);
        let names = select.filter.as_ref().map(|filter| filter.names.clone()).unwrap_or_default();
        let names: Vec<String> = names.iter().map(Name::column).collect();
        assert_eq!(names, ["actor", "userIdentity.type", "c..created_by", "g..to_id"]);
        assert_eq!(select.columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["action", "born"]);
        assert!(select.expression("c.parent").is_ok_and(|shown| shown.names.len() == 1));
    }

    #[test]
    fn what_is_no_lookup_is_refused_with_the_nearest_name() {
        let on = |join: &str| select(&format!("SELECT * FROM events e {join}")).expect_err(join).to_string();
        assert!(on("JOIN credential c ON c.credential = e.credential").contains("did you mean `credentials`?"));
        assert!(on("JOIN credentials c ON c.credentail = e.credential").contains("did you mean `credential`?"));
        assert!(on("JOIN credentials c ON c.created = e.time").contains("compare times and numbers in WHERE"));
        assert!(on("JOIN credentials c ON c.owner > e.owner").contains("into WHERE"));
        assert!(on("JOIN credentials c ON e.actor = e.owner").contains("into WHERE"));
        assert!(on("CROSS JOIN credentials c").contains("LEFT JOIN table ON"));
        assert!(on("JOIN owners e ON e.subject = actor").contains("a name of its own"));
        let chained = "JOIN credentials c ON c.credential = e.credential JOIN owners o ON o.owner = c.owner";
        assert!(on(chained).contains("join each table to events"));
    }
}
