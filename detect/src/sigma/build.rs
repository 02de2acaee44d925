//! A Sigma detection as one DataFusion expression over the columns of a log source. Never null: a field that is not
//! there matches nothing, so that `not` means what its author meant.

use std::collections::BTreeSet;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::Column;
use datafusion::logical_expr::{Expr, cast, when};
use datafusion::prelude::lit;
use keytrail_model::did_you_mean;
use keytrail_sql::Name;
use rsigma_parser::{ConditionExpr, Detection, Detections, Quantifier, SelectorPattern};

use super::place::{Fault, Place};
use super::resolve::Resolver;

/// Builds the expression of one detection section and collects the columns that it reads.
pub(super) struct Build<'a> {
    pub(super) detections: &'a Detections,
    pub(super) place: &'a Place,
    pub(super) resolver: &'a Resolver<'a>,
    pub(super) names: BTreeSet<Name>,
}

impl Build<'_> {
    /// Several conditions are alternatives.
    pub(super) fn conditions(&mut self) -> Result<Expr, Fault> {
        if self.detections.conditions.is_empty() {
            return Err(self.place.fault("detection", "sigma: condition is missing"));
        }
        let conditions = &self.detections.conditions;
        self.any(conditions, Self::condition)
    }

    fn condition(&mut self, condition: &ConditionExpr) -> Result<Expr, Fault> {
        match condition {
            ConditionExpr::And(parts) => self.all(parts, Self::condition),
            ConditionExpr::Or(parts) => self.any(parts, Self::condition),
            ConditionExpr::Not(part) => Ok(!self.condition(part)?),
            ConditionExpr::Identifier(name) => self.named(name),
            ConditionExpr::Selector { quantifier, pattern } => self.selector(quantifier, pattern),
        }
    }

    fn named(&mut self, name: &str) -> Result<Expr, Fault> {
        let Some(detection) = self.detections.named.get(name) else {
            let hint = did_you_mean(name, self.detections.named.keys().map(String::as_str));
            let message = format!("sigma: condition names `{name}`, which is not defined{hint}");
            return Err(self.place.fault("condition", message));
        };
        self.detection(detection)
    }

    fn selector(&mut self, quantifier: &Quantifier, pattern: &SelectorPattern) -> Result<Expr, Fault> {
        let mut names: Vec<&String> = self.detections.named.keys().filter(|name| selected(name, pattern)).collect();
        names.sort();
        if names.is_empty() {
            let message = format!("sigma: `{quantifier} of {pattern}` selects nothing");
            return Err(self.place.fault("condition", message));
        }
        match quantifier {
            Quantifier::Any => self.any(&names, |build, name| build.named(name)),
            Quantifier::All => self.all(&names, |build, name| build.named(name)),
            Quantifier::Count(count) => self.some(&names, *count),
        }
    }

    /// At least so many of the selections.
    fn some(&mut self, names: &[&String], count: u64) -> Result<Expr, Fault> {
        if count > names.len() as u64 {
            let message = format!("sigma: `{count} of` selects only {}", names.len());
            return Err(self.place.fault("condition", message));
        }
        let parts = names.iter().map(|name| self.named(name)).collect::<Result<Vec<_>, _>>()?;
        let any = parts.iter().cloned().reduce(Expr::or).unwrap_or_else(|| lit(false));
        let ones = parts.into_iter().map(|part| when(part, lit(1_i64)).otherwise(lit(0_i64)));
        let ones = ones.collect::<Result<Vec<_>, _>>();
        let ones = ones.map_err(|error| self.place.fault("condition", format!("sigma: {error}")))?;
        let sum = ones.into_iter().reduce(|sum, one| sum + one).unwrap_or_else(|| lit(0_i64));
        let enough = sum.gt_eq(lit(i64::try_from(count).unwrap_or(i64::MAX)));
        Ok(if count == 0 { enough } else { any.and(enough) })
    }

    fn detection(&mut self, detection: &Detection) -> Result<Expr, Fault> {
        match detection {
            Detection::AllOf(items) => self.all(items, Self::item),
            Detection::AnyOf(parts) => self.any(parts, Self::detection),
            Detection::And(parts) => self.all(parts, Self::detection),
            Detection::Keywords(words) => self.keywords(&[], words),
            Detection::ArrayMatch { field, quantifier, .. } => {
                let remedy = "a plain field name reaches every element";
                let message = format!("sigma: array matching `{field}[{quantifier}]` is not supported: {remedy}");
                Err(self.place.fault(field, message))
            }
            Detection::Conditional { .. } => {
                Err(self.place.fault("condition", "sigma: conditions inside array matching are not supported"))
            }
        }
    }

    pub(super) fn all<T>(
        &mut self,
        parts: &[T],
        build: impl Fn(&mut Self, &T) -> Result<Expr, Fault>,
    ) -> Result<Expr, Fault> {
        let parts = parts.iter().map(|part| build(self, part)).collect::<Result<Vec<_>, _>>()?;
        Ok(parts.into_iter().reduce(Expr::and).unwrap_or_else(|| lit(true)))
    }

    pub(super) fn any<T>(
        &mut self,
        parts: &[T],
        build: impl Fn(&mut Self, &T) -> Result<Expr, Fault>,
    ) -> Result<Expr, Fault> {
        let parts = parts.iter().map(|part| build(self, part)).collect::<Result<Vec<_>, _>>()?;
        Ok(parts.into_iter().reduce(Expr::or).unwrap_or_else(|| lit(false)))
    }

    /// The column of a name, which is noted as read.
    pub(super) fn column(&mut self, name: Name) -> Expr {
        let column = Expr::Column(Column::from_name(name.column()));
        self.names.insert(name);
        column
    }

    /// The same as text, where its values are times, numbers or flags.
    pub(super) fn text_column(&mut self, name: Name, is_text: bool) -> Expr {
        let column = self.column(name);
        if is_text { column } else { cast(column, DataType::Utf8View) }
    }
}

/// `them` leaves out names that start with an underscore; a pattern has `*` anywhere.
pub(super) fn selected(name: &str, pattern: &SelectorPattern) -> bool {
    match pattern {
        SelectorPattern::Them => !name.starts_with('_'),
        SelectorPattern::Pattern(pattern) => like(name, pattern),
    }
}

pub(super) fn like(name: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => name == pattern,
        Some((before, after)) => {
            let Some(rest) = name.strip_prefix(before) else { return false };
            (0..=rest.len()).any(|at| rest.get(at..).is_some_and(|rest| like(rest, after)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::like;

    #[test]
    fn stars_stand_anywhere() {
        for (name, pattern, wanted) in [
            ("selection_a", "selection_*", true),
            ("selection_a", "*_a", true),
            ("selection_a", "*lect*", true),
            ("selection_a", "s*e*a", true),
            ("selection_a", "selection", false),
            ("selection", "selection*", true),
            ("filter", "*lect*", false),
        ] {
            assert_eq!(like(name, pattern), wanted, "{name} {pattern}");
        }
    }
}
