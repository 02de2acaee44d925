//! Which column a name in an expression means: an event column, a raw path, or a column of a joined table.

use arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast::Ident;
use keytrail_model::{
    RawPath, Want,
    schema::{self, Kind},
    tables,
};

use crate::{SqlError, joins::Join};

/// How a bare name reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In a mapping every name is a raw path.
    Mapping,
    /// In a rule a single-word name that is an event column is that column; `raw.x` forces the raw path.
    Rule,
    /// In a query over `events` names are left to DataFusion.
    Query,
}

/// A name that an expression uses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    Event(&'static str),
    Raw(RawPath),
    /// A column of a reference table, by the alias that the rule gave the table.
    Joined {
        alias: String,
        table: &'static str,
        column: &'static str,
    },
}

/// How names read within one SELECT.
#[derive(Clone, Copy)]
pub(crate) struct Names<'a> {
    pub(crate) scope: Scope,
    /// What the SELECT calls `events`.
    pub(crate) events: Option<&'a str>,
    pub(crate) joins: &'a [Join],
}

impl From<Scope> for Names<'_> {
    fn from(scope: Scope) -> Self {
        Self { scope, events: None, joins: &[] }
    }
}

impl Names<'_> {
    /// Resolves the parts of a name as SQL gives them.
    pub(crate) fn resolve(&self, parts: &[Ident]) -> Result<Name, SqlError> {
        let keys: Vec<&str> = parts.iter().map(|part| part.value.as_str()).collect();
        if let [alias, rest @ ..] = keys.as_slice()
            && !rest.is_empty()
        {
            if let Some(join) = self.joins.iter().find(|join| join.alias == *alias) {
                return joined(join, &rest.join("."));
            }
            if self.events == Some(alias) {
                return Name::resolve(rest, self.scope);
            }
        }
        Name::resolve(&keys, self.scope)
    }
}

impl Name {
    fn resolve(keys: &[&str], scope: Scope) -> Result<Self, SqlError> {
        match (scope, keys) {
            (Scope::Rule, [word]) if schema::find(word).is_some() => Ok(event(word)),
            (Scope::Rule, ["events", word]) if schema::find(word).is_some() => Ok(event(word)),
            (Scope::Rule, ["raw", rest @ ..]) if !rest.is_empty() => raw(rest),
            (_, keys) => raw(keys),
        }
    }

    /// The column's name in a batch.
    #[must_use]
    pub fn column(&self) -> String {
        match self {
            Self::Event(name) => (*name).to_owned(),
            Self::Raw(path) => path.to_string(),
            // No raw path is written with two dots, so the two cannot meet.
            Self::Joined { alias, column, .. } => format!("{alias}..{column}"),
        }
    }

    #[must_use]
    pub fn data_type(&self) -> DataType {
        match self {
            Self::Event(name) => schema::find(name).map_or(DataType::Utf8View, |field| field.kind.arrow()),
            Self::Raw(path) => match path.want {
                Want::Text => Kind::Text.arrow(),
                Want::List | Want::Any => Kind::Texts.arrow(),
                Want::Present => Kind::Flag.arrow(),
            },
            Self::Joined { table, column, .. } => {
                let found = tables::find(table).and_then(|table| table.column(column));
                found.map_or(DataType::Utf8View, |(_, column)| column.kind.arrow())
            }
        }
    }
}

fn joined(join: &Join, word: &str) -> Result<Name, SqlError> {
    let Some((_, column)) = join.table.column(word) else {
        return Err(SqlError::Column { table: join.table.name, name: word.to_owned(), hint: join.table.hint(word) });
    };
    Ok(Name::Joined { alias: join.alias.clone(), table: join.table.name, column: column.name })
}

fn event(word: &str) -> Name {
    Name::Event(schema::find(word).map_or("", |field| field.name))
}

fn raw(keys: &[&str]) -> Result<Name, SqlError> {
    let path = match keys {
        [one] => RawPath::parse(one),
        many => RawPath::from_keys(many),
    };
    path.map(Name::Raw).ok_or_else(|| SqlError::Path {
        name: keys.join("."),
        hint: "; write keys apart by dots and put keys with other characters in double quotes".to_owned(),
    })
}
