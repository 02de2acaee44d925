//! What a field name in a Sigma rule means for one log source: columns of the batch, one or several.
//!
//! In this order: the dialect's entry for exactly that name, a raw path that the source's mapping knows, an event
//! column; otherwise the rule does not load.

use keytrail_model::schema::{self, Kind};
use keytrail_model::{RawPath, Want, did_you_mean};
use keytrail_sql::Name;
use rsigma_parser::fieldpath::unescape_brackets;

use crate::dialect::Dialect;

/// How names are looked up in one log source.
#[derive(Clone, Copy)]
pub(crate) struct Resolver<'a> {
    pub(crate) source: &'a str,
    pub(crate) dialect: Option<&'a Dialect>,
    /// Whether its records can have a path; the error ends the sentence with the nearest known one.
    pub(crate) knows: &'a dyn Fn(&RawPath) -> Result<(), String>,
}

/// Where a field stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Keys only; what is wanted of it is decided by the use.
    Raw(RawPath),
    Event(&'static str, Kind),
}

impl Target {
    /// The column's name with what is wanted of it.
    pub(crate) fn name(&self, want: Want) -> Name {
        match self {
            Self::Raw(path) => Name::Raw(RawPath { want, ..path.clone() }),
            Self::Event(column, _) => Name::Event(column),
        }
    }
}

impl Resolver<'_> {
    /// Every place where the field may stand; values of any of them count.
    pub(crate) fn targets(&self, field: &str) -> Result<Vec<Target>, String> {
        let field = unescape_brackets(field);
        let Some(dialect) = self.dialect else {
            return self.plain(&field).map(|target| vec![target]).map_err(|hint| self.unknown(&field, &hint));
        };
        if let Some(entry) = dialect.field(&field) {
            let place = |target: &String| {
                self.plain(target).map_err(|hint| {
                    let (file, line) = (&dialect.file, entry.line);
                    format!("{file}:{line} takes `{field}` for `{target}`: {}", self.unknown(target, &hint))
                })
            };
            return entry.targets.iter().map(place).collect();
        }
        self.plain(&field).map(|target| vec![target]).map_err(|hint| {
            let hint = if hint.is_empty() { did_you_mean(&field, dialect.names()) } else { hint };
            self.unknown(&field, &hint)
        })
    }

    /// The same as columns that hold every value.
    pub(crate) fn names(&self, field: &str) -> Result<Vec<Name>, String> {
        Ok(self.targets(field)?.iter().map(|target| target.name(Want::Any)).collect())
    }

    fn unknown(&self, field: &str, hint: &str) -> String {
        format!("`{field}` is neither an event column nor a field of {}{hint}", self.source)
    }

    fn plain(&self, text: &str) -> Result<Target, String> {
        let column = schema::find(text).map(|field| Target::Event(field.name, field.kind));
        let Some(mut path) = RawPath::parse(text) else {
            return column.ok_or_else(String::new);
        };
        path.segments.iter_mut().for_each(|segment| segment.each = false);
        path.want = Want::Any;
        match (self.knows)(&path) {
            Ok(()) => Ok(Target::Raw(path)),
            Err(hint) => column.ok_or(hint),
        }
    }
}
