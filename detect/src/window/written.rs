//! The shape of the `window:` and `steps:` blocks of a rule file. What is wrong with them is `reading`'s.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::Kind;

#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub(super) fn list(&self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one.clone()],
            Self::Many(many) => many.clone(),
        }
    }
}

pub(crate) type WrittenSteps = BTreeMap<String, Spanned<WrittenStep>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WrittenStep {
    #[serde(rename = "where")]
    pub(super) predicate: Spanned<String>,
    pub(super) source: Option<OneOrMany>,
    #[serde(default)]
    pub(super) by: Vec<Spanned<String>>,
}

impl WrittenStep {
    /// One line for people.
    pub(crate) fn text(&self, name: &str) -> String {
        format!("{name}: {}", self.predicate.value)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WrittenWindow {
    pub(super) within: Option<Spanned<String>>,
    pub(super) kind: Option<Kind>,
    pub(super) count: Option<Spanned<Bounds>>,
    pub(super) distinct: Option<Spanned<Over>>,
    pub(super) sum: Option<Spanned<Over>>,
    pub(super) avg: Option<Spanned<Over>>,
    pub(super) percentile: Option<Spanned<Ranked>>,
    pub(super) first_seen: Option<Spanned<FirstSeen>>,
    pub(super) sequence: Option<Spanned<Vec<String>>>,
    pub(super) all_of: Option<Spanned<Vec<String>>>,
    pub(super) absence: Option<Spanned<Absence>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bounds {
    pub(super) gt: Option<f64>,
    pub(super) gte: Option<f64>,
    pub(super) lt: Option<f64>,
    pub(super) lte: Option<f64>,
    pub(super) eq: Option<f64>,
    pub(super) neq: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Over {
    pub(super) of: OneOrMany,
    pub(super) gt: Option<f64>,
    pub(super) gte: Option<f64>,
    pub(super) lt: Option<f64>,
    pub(super) lte: Option<f64>,
    pub(super) eq: Option<f64>,
    pub(super) neq: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ranked {
    pub(super) of: OneOrMany,
    pub(super) rank: f64,
    pub(super) gt: Option<f64>,
    pub(super) gte: Option<f64>,
    pub(super) lt: Option<f64>,
    pub(super) lte: Option<f64>,
    pub(super) eq: Option<f64>,
    pub(super) neq: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FirstSeen {
    pub(super) of: OneOrMany,
    pub(super) learn: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Absence {
    pub(super) after: String,
    pub(super) of: String,
}
