//! What a measure is compared with: bounds on a number, and which steps must have happened.
//!
//! Numbers are compared in fixed point, so that a sum depends neither on the order of its parts nor on what was added
//! and taken away before.

use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Gt,
    Gte,
    Lt,
    Lte,
    Eq,
    Neq,
}

/// Bounds that must all hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition(Vec<(Comparison, i128)>);

impl Condition {
    #[must_use]
    pub fn new(bounds: impl IntoIterator<Item = (Comparison, f64)>) -> Self {
        Self(bounds.into_iter().map(|(comparison, bound)| (comparison, fixed(bound))).collect())
    }

    /// Whether a greater number can only make it truer.
    #[must_use]
    pub fn is_monotone(&self) -> bool {
        self.0.iter().all(|(comparison, _)| matches!(comparison, Comparison::Gt | Comparison::Gte))
    }

    /// Whether `total` (fixed point) divided by `parts` is within the bounds.
    pub(super) fn holds(&self, total: i128, parts: usize) -> bool {
        self.0.iter().all(|(comparison, bound)| {
            let bound = bound.saturating_mul(parts as i128);
            match comparison {
                Comparison::Gt => total > bound,
                Comparison::Gte => total >= bound,
                Comparison::Lt => total < bound,
                Comparison::Lte => total <= bound,
                Comparison::Eq => total == bound,
                Comparison::Neq => total != bound,
            }
        })
    }
}

/// A statement about steps, by their index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Combination {
    Step(u16),
    And(Vec<Self>),
    Or(Vec<Self>),
    Not(Box<Self>),
}

impl Combination {
    /// Each of that many steps.
    #[must_use]
    pub fn all(steps: usize) -> Self {
        Self::And((0..steps).filter_map(|step| u16::try_from(step).ok()).map(Self::Step).collect())
    }

    /// Whether another step can only make it truer: it has no `not`.
    #[must_use]
    pub fn is_monotone(&self) -> bool {
        match self {
            Self::Step(_) => true,
            Self::And(parts) | Self::Or(parts) => parts.iter().all(Self::is_monotone),
            Self::Not(_) => false,
        }
    }

    pub(super) fn holds(&self, happened: &BTreeMap<u16, usize>) -> bool {
        match self {
            Self::Step(step) => happened.contains_key(step),
            Self::And(parts) => parts.iter().all(|part| part.holds(happened)),
            Self::Or(parts) => parts.iter().any(|part| part.holds(happened)),
            Self::Not(part) => !part.holds(happened),
        }
    }
}

/// Nine decimals.
pub(super) const UNIT: i128 = 1_000_000_000;

/// Beyond this a number counts as this: a million of them are still far from the end of `i128`.
const MAX: f64 = 1e20;

/// In fixed point: exact for whole numbers, rounded to nine decimals for others.
#[expect(clippy::cast_possible_truncation, reason = "within `MAX`, and a fraction is less than one unit")]
pub(super) fn fixed(number: f64) -> i128 {
    let number = number.clamp(-MAX, MAX);
    let whole = number.trunc();
    whole as i128 * UNIT + ((number - whole) * UNIT as f64).round() as i128
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_point_is_exact_where_people_expect_it() {
        assert_eq!(fixed(0.1) + fixed(0.2), fixed(0.3));
        assert_eq!(fixed(9_007_199_254_740_993.0), 9_007_199_254_740_992 * UNIT);
        assert_eq!(fixed(-1.5), -1_500_000_000);
        assert_eq!(fixed(f64::MAX), fixed(1e20));
    }

    #[test]
    fn bounds_are_anded_and_each_is_what_it_says() {
        let one = |comparison| Condition::new([(comparison, 2.0)]);
        let holds = |comparison| [1, 2, 3].map(|total| one(comparison).holds(total * UNIT, 1));
        assert_eq!(holds(Comparison::Gt), [false, false, true]);
        assert_eq!(holds(Comparison::Gte), [false, true, true]);
        assert_eq!(holds(Comparison::Lt), [true, false, false]);
        assert_eq!(holds(Comparison::Lte), [true, true, false]);
        assert_eq!(holds(Comparison::Eq), [false, true, false]);
        assert_eq!(holds(Comparison::Neq), [true, false, true]);
        let both = Condition::new([(Comparison::Gt, 1.0), (Comparison::Lt, 3.0)]);
        assert_eq!([1, 2, 3].map(|total| both.holds(total * UNIT, 1)), [false, true, false]);
        assert!(!both.is_monotone() && one(Comparison::Gte).is_monotone());
    }

    #[test]
    fn a_combination_is_read_as_written() {
        use Combination::{And, Not, Or, Step};
        let written = And(vec![Step(0), Or(vec![Step(1), Not(Box::new(Step(2)))])]);
        let holds = |steps: &[u16]| written.holds(&steps.iter().map(|step| (*step, 1)).collect());
        assert!(holds(&[0]) && holds(&[0, 1, 2]) && !holds(&[0, 2]) && !holds(&[1]));
        assert!(!written.is_monotone() && Combination::all(3).is_monotone());
    }
}
