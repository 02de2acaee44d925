//! What a field name in a Sigma rule means for one log source: columns of the batch or what is computed of them, one or
//! several.
//!
//! In this order: the dialect's entry for exactly that name, a raw path that the source's mapping knows, an event
//! column; otherwise the rule does not load.

use std::sync::Arc;

use keytrail_model::schema::{self, Kind};
use keytrail_model::{RawPath, Want, did_you_mean};
use keytrail_sql::Name;
use rsigma_parser::fieldpath::unescape_brackets;

use crate::computed::Computed;
use crate::dialect::{Dialect, Entry, Stands};

/// How names are looked up in one log source.
#[derive(Clone, Copy)]
pub(crate) struct Resolver<'a> {
    pub(crate) source: &'a str,
    pub(crate) dialect: Option<&'a Dialect>,
    /// Whether its records can have a path; the error ends the sentence with the nearest known one.
    pub(crate) knows: &'a dyn Fn(&RawPath) -> Result<(), String>,
}

/// Where a field stands.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// Every value of it, wherever that stands.
    Raw(RawPath),
    Event(&'static str, Kind),
    Sql(Arc<Computed>),
}

impl Resolver<'_> {
    /// Every place where the field may stand; values of any of them count.
    pub(crate) fn targets(&self, field: &str) -> Result<Vec<Target>, String> {
        let field = unescape_brackets(field);
        let Some(dialect) = self.dialect else {
            return self.plain(&field).map(|target| vec![target]).map_err(|hint| self.unknown(&field, &hint));
        };
        if let Some(entry) = dialect.field(&field) {
            return self.explained(&field, dialect, entry);
        }
        self.plain(&field).map(|target| vec![target]).map_err(|hint| {
            let hint = if hint.is_empty() { did_you_mean(&field, dialect.names()) } else { hint };
            self.unknown(&field, &hint)
        })
    }

    fn explained(&self, field: &str, dialect: &Dialect, entry: &Entry) -> Result<Vec<Target>, String> {
        let file = &dialect.file;
        let place = |stands: &Stands| match stands {
            Stands::At(name) => self.plain(name).map_err(|hint| {
                format!("{file}:{} takes `{field}` for `{name}`: {}", entry.line, self.unknown(name, &hint))
            }),
            Stands::Computed(computed) => match self.check(computed) {
                Ok(()) => Ok(Target::Sql(Arc::clone(computed))),
                Err(said) => Err(format!("{file}:{} computes `{field}`: {said}", computed.line)),
            },
        };
        entry.targets.iter().map(place).collect()
    }

    /// Refuses names that the source cannot have.
    fn check(&self, computed: &Computed) -> Result<(), String> {
        for name in &computed.names {
            let Name::Raw(path) = name else { continue };
            (self.knows)(path).map_err(|hint| self.unknown(&path.to_string(), &hint))?;
        }
        Ok(())
    }

    /// The same as columns that hold every value.
    pub(crate) fn names(&self, field: &str) -> Result<Vec<Name>, String> {
        let name = |target| match target {
            Target::Raw(path) => Ok(Name::Raw(path)),
            Target::Event(column, _) => Ok(Name::Event(column)),
            Target::Sql(computed) => {
                let (source, sql) = (self.source, &computed.text);
                let remedy = "a correlation takes columns: name a raw path or an event column";
                Err(format!("the dialect of {source} computes `{field}` (`{sql}`): {remedy}"))
            }
        };
        self.targets(field)?.into_iter().map(name).collect()
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
