//! Sigma: from a detection section to one DataFusion expression over the columns of a log source, and from a file of
//! Sigma documents to rules.

mod build;
mod correlate;
mod correlation;
mod encode;
pub(crate) mod file;
mod fold;
mod item;
mod keywords;
mod matches;
mod modifiers;
mod moment;
mod pattern;
mod pieces;
mod place;
mod placeholders;
mod refers;
mod resolve;
mod test;
#[cfg(test)]
mod tests;
mod unknown;

use std::collections::{BTreeMap, BTreeSet};

use datafusion::logical_expr::Expr;
use keytrail_sql::{Expression, Name};
use rsigma_parser::{Detections, LogSource, parse_sigma_yaml};
use serde_json::{Value, json};

use crate::rule::Rule;
use build::Build;
pub(crate) use correlate::{Correlated, correlate};
use correlation::Correlation;
pub(crate) use matches::{Matches, Tests};
pub(crate) use pieces::{Piece, Pieces};
pub(crate) use place::{Fault, Place};
pub use placeholders::Placeholders;
pub(crate) use resolve::{Resolver, Target};
pub(crate) use unknown::unknown_fields;

/// A Sigma detection as a rule holds it.
#[derive(Clone, Debug)]
pub struct SigmaBody {
    pub(crate) detections: Detections,
    pub(crate) place: Place,
    /// Detections of filter documents, all of which must hold too.
    pub(crate) filters: Vec<(Detections, Place)>,
    /// By log source: what else must hold because Sigma's name for the source means only a part of it.
    pub(crate) narrow: BTreeMap<String, Vec<Expression>>,
}

impl SigmaBody {
    pub(crate) fn new(detections: Detections, place: Place) -> Self {
        Self { detections, place, filters: Vec::new(), narrow: BTreeMap::new() }
    }

    /// The detection section as Sigma's parser reads it.
    #[must_use]
    pub fn detections(&self) -> &Detections {
        &self.detections
    }
}

/// A rule with what others may call it: its id, its name, its title.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) names: Vec<String>,
    pub(crate) logsource: LogSource,
    pub(crate) rule: Rule,
}

impl Named {
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }
}

/// A document that narrows rules: those it names, or all of its log source.
#[derive(Debug)]
pub(crate) struct Filter {
    pub(crate) rules: Option<Vec<String>>,
    logsource: Option<LogSource>,
    pub(crate) detections: Detections,
    pub(crate) place: Place,
}

/// Everything that Sigma files hold.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    pub(crate) rules: Vec<Named>,
    pub(crate) correlations: Vec<Correlation>,
    pub(crate) filters: Vec<Filter>,
}

impl Documents {
    pub(crate) fn extend(&mut self, more: Self) {
        self.rules.extend(more.rules);
        self.correlations.extend(more.correlations);
        self.filters.extend(more.filters);
    }
}

/// Reads a `sigma:` block (named selections and a condition) with Sigma's own parser.
pub(crate) fn parse_block(block: &Value) -> Result<SigmaBody, String> {
    let document = json!({"title": "rule", "logsource": {"product": "keytrail"}, "detection": block});
    let collection = parse_sigma_yaml(&document.to_string()).map_err(|error| error.to_string())?;
    if let Some(error) = collection.errors.first() {
        let said = Place::default().parser_error(error);
        return Err(format!("sigma: {}", said.message));
    }
    let rule = collection.rules.into_iter().next().ok_or("sigma: no detection found")?;
    Ok(SigmaBody::new(rule.detection, Place::default()))
}

/// The expression and the columns that it reads.
pub(crate) fn expression(body: &SigmaBody, resolver: &Resolver<'_>) -> Result<(Expr, BTreeSet<Name>), Fault> {
    let (mut expr, mut names) = section(&body.detections, &body.place, resolver)?;
    for (detections, place) in &body.filters {
        let (filter, more) = section(detections, place, resolver)?;
        expr = expr.and(filter);
        names.extend(more);
    }
    Ok((expr, names))
}

fn section(detections: &Detections, place: &Place, resolver: &Resolver<'_>) -> Result<(Expr, BTreeSet<Name>), Fault> {
    let mut build = Build { detections, place, resolver, names: BTreeSet::new() };
    let expr = build.conditions()?;
    Ok((expr, build.names))
}
