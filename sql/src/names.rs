//! Which column a name in an expression means: an event column or a raw path.

use arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast::Ident;
use keytrail_model::{
    RawPath, Want,
    schema::{self, Kind},
};

use crate::SqlError;

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
}

impl Name {
    /// Resolves the parts of a name as SQL gives them.
    pub fn resolve(parts: &[Ident], scope: Scope) -> Result<Self, SqlError> {
        let keys: Vec<&str> = parts.iter().map(|part| part.value.as_str()).collect();
        match (scope, keys.as_slice()) {
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
        }
    }
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
