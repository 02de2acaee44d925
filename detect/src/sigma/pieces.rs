//! A detection in pieces: each item as an expression of its own, as its author wrote it, with the places of its fields.
//! For telling people which of them held; rules are evaluated whole.

use std::collections::BTreeSet;

use datafusion::logical_expr::Expr;
use keytrail_model::schema::Kind;
use rsigma_parser::{DetectionItem, Detections, Modifier, SelectorPattern, SigmaValue};

use super::build::{Build, selected};
use super::modifiers::{name, written};
use super::place::{Fault, Place};
use super::resolve::{Resolver, Target};

/// What is tested as a whole.
pub(crate) struct Piece {
    pub(crate) written: String,
    pub(crate) expr: Expr,
    /// Fields as the rule names them, and where they stand.
    pub(crate) fields: Vec<(String, Target)>,
}

/// A detection section over one log source.
#[derive(Clone, Copy)]
pub(crate) struct Pieces<'a> {
    pub(crate) detections: &'a Detections,
    pub(crate) place: &'a Place,
    pub(crate) resolver: &'a Resolver<'a>,
}

impl<'a> Pieces<'a> {
    pub(crate) fn item(&self, item: &DetectionItem) -> Result<Piece, Fault> {
        let expr = self.build().item(item)?;
        let modifiers = &item.field.modifiers;
        let named = item.field.name.as_deref();
        let key = std::iter::once(named.unwrap_or("keywords").to_owned()).chain(modifiers.iter().map(|it| name(*it)));
        let key = key.collect::<Vec<_>>().join("|");
        let Some(field) = named else { return Ok(words(&key, &item.values, expr)) };
        let other = if modifiers.contains(&Modifier::FieldRef) { item.values.as_slice() } else { &[] };
        let mut fields = Vec::new();
        for field in std::iter::once(field.to_owned()).chain(other.iter().map(written)) {
            let targets = self.resolver.targets(&field).map_err(|message| self.place.fault(&field, message))?;
            fields.extend(targets.into_iter().map(|target| (field.clone(), target)));
        }
        Ok(Piece { written: format!("{key}: {}", list(&item.values)), expr, fields })
    }

    pub(crate) fn keywords(&self, values: &[SigmaValue]) -> Result<Piece, Fault> {
        Ok(words("keywords", values, self.build().keywords(&[], values)?))
    }

    /// The selections that `1 of …` means, in the order of their names.
    pub(crate) fn selected(&self, pattern: &SelectorPattern) -> Vec<&'a str> {
        let names = self.detections.named.keys().map(String::as_str);
        let mut names: Vec<&str> = names.filter(|name| selected(name, pattern)).collect();
        names.sort_unstable();
        names
    }

    fn build(&self) -> Build<'_> {
        let Self { detections, place, resolver } = *self;
        Build { detections, place, resolver, names: BTreeSet::new() }
    }
}

fn words(key: &str, values: &[SigmaValue], expr: Expr) -> Piece {
    let fields = vec![("keywords".to_owned(), Target::Event("raw", Kind::Text))];
    Piece { written: format!("{key}: {}", list(values)), expr, fields }
}

fn list(values: &[SigmaValue]) -> String {
    match values {
        [one] => written(one),
        many => format!("[{}]", many.iter().map(written).collect::<Vec<_>>().join(", ")),
    }
}
