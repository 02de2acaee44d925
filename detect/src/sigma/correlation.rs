//! Sigma correlations as windows: what is counted, within what time, by which fields, and which rules are the steps.

use rsigma_parser::{
    ConditionExpr, ConditionOperator, CorrelationCondition, CorrelationRule, CorrelationType, Quantifier,
    SelectorPattern, WindowMode,
};

use keytrail_model::Micros;

use super::build::like;
use super::place::{Fault, Place};
use crate::window::{Combination, Comparison, Condition, Kind, Measure, Window};

/// A correlation as Sigma's parser reads it.
#[derive(Clone, Debug)]
pub(crate) struct Correlation {
    pub(crate) id: String,
    pub(crate) rule: CorrelationRule,
    pub(crate) place: Place,
}

/// Beyond so many rules the statement "so many of them, and no others" would be too long to be written out.
const COUNTED_MAX: usize = 8;

impl Correlation {
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.names().any(|known| known == name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let (id, name) = (self.rule.id.as_deref(), self.rule.name.as_deref());
        [id, name, Some(self.rule.title.as_str())].into_iter().flatten()
    }

    /// The field that stands for a `group-by` entry in the events of one of the rules.
    pub(crate) fn field<'a>(&'a self, entry: &'a str, called: &dyn Fn(&str) -> bool) -> Result<&'a str, Fault> {
        let Some(alias) = self.rule.aliases.iter().find(|alias| alias.alias == entry) else { return Ok(entry) };
        let found = alias.mapping.iter().find(|(rule, _)| called(rule));
        found.map(|(_, field)| field.as_str()).ok_or_else(|| {
            let message = format!("alias `{entry}` names no field for one of the rules: add a line for it");
            self.place.fault(entry, message)
        })
    }

    /// The fields that the measure looks at.
    pub(crate) fn fields(&self) -> &[String] {
        match &self.rule.condition {
            CorrelationCondition::Threshold { field: Some(fields), .. } => fields,
            _ => &[],
        }
    }

    pub(crate) fn window(&self, steps: &[String]) -> Result<Window, Fault> {
        let rule = &self.rule;
        let (kind, time) = match (rule.window, &rule.gap) {
            (WindowMode::Session, Some(gap)) => (Kind::Session, gap),
            (WindowMode::Tumbling, _) => (Kind::Tumbling, &rule.timespan),
            _ => (Kind::Sliding, &rule.timespan),
        };
        let seconds = i64::try_from(time.seconds).unwrap_or(i64::MAX);
        let window = Window::new(seconds.saturating_mul(Micros::SECOND), kind, self.measure(steps)?);
        Ok(Window { steps: steps.to_vec(), ..window })
    }

    fn measure(&self, steps: &[String]) -> Result<Measure, Fault> {
        use CorrelationType as T;
        let kind = self.rule.correlation_type;
        if matches!(kind, T::Temporal | T::TemporalOrdered) {
            return self.temporal(steps);
        }
        let CorrelationCondition::Threshold { predicates, field, percentile } = &self.rule.condition else {
            let message = format!("{} wants a number in its condition, like `gte: 10`", kind.as_str());
            return Err(self.place.fault("condition", message));
        };
        if kind != T::EventCount && field.is_none() {
            let message = format!("{} wants a `field` in its condition", kind.as_str());
            return Err(self.place.fault("condition", message));
        }
        let condition = Condition::new(predicates.iter().map(|(by, than)| (comparison(*by), *than as f64)));
        Ok(match kind {
            T::ValueCount => Measure::Distinct(condition),
            T::ValueSum => Measure::Sum(condition),
            T::ValueAvg => Measure::Avg(condition),
            T::ValueMedian => Measure::Percentile { rank: 50.0, condition },
            T::ValuePercentile => Measure::Percentile { rank: percentile.unwrap_or(50) as f64, condition },
            T::EventCount | T::Temporal | T::TemporalOrdered => Measure::Count(condition),
        })
    }

    /// Each rule at least once, or what the condition says instead.
    fn temporal(&self, steps: &[String]) -> Result<Measure, Fault> {
        let ordered = self.rule.correlation_type == CorrelationType::TemporalOrdered;
        let said = self.place.has_key("condition");
        let combination = match &self.rule.condition {
            CorrelationCondition::Extended(condition) => self.combination(condition, steps)?,
            CorrelationCondition::Threshold { predicates, .. } if said => self.counted(predicates, steps.len())?,
            CorrelationCondition::Threshold { .. } => Combination::all(steps.len()),
        };
        if !ordered {
            return Ok(Measure::AllOf(combination));
        }
        if is_all(&combination, steps.len()) {
            return Ok(Measure::Sequence);
        }
        let message = "an order is only known of all rules: list those that must come, and leave the condition out";
        Err(self.place.fault("condition", message))
    }

    fn combination(&self, condition: &ConditionExpr, steps: &[String]) -> Result<Combination, Fault> {
        let each = |parts: &[ConditionExpr]| -> Result<Vec<_>, Fault> {
            parts.iter().map(|part| self.combination(part, steps)).collect()
        };
        match condition {
            ConditionExpr::And(parts) => Ok(Combination::And(each(parts)?)),
            ConditionExpr::Or(parts) => Ok(Combination::Or(each(parts)?)),
            ConditionExpr::Not(part) => Ok(Combination::Not(Box::new(self.combination(part, steps)?))),
            ConditionExpr::Identifier(name) => Ok(Combination::Step(self.step(name, steps)?)),
            ConditionExpr::Selector { quantifier, pattern } => {
                let meant = |(_, name): &(u16, &String)| match pattern {
                    SelectorPattern::Them => true,
                    SelectorPattern::Pattern(pattern) => like(name, pattern),
                };
                let meant: Vec<u16> = (0u16..).zip(steps).filter(meant).map(|(step, _)| step).collect();
                self.quantified(quantifier, &meant)
            }
        }
    }

    fn quantified(&self, quantifier: &Quantifier, steps: &[u16]) -> Result<Combination, Fault> {
        let each = || steps.iter().copied().map(Combination::Step).collect();
        if steps.is_empty() {
            return Err(self.place.fault("condition", "the condition selects none of the rules"));
        }
        match quantifier {
            Quantifier::Any => Ok(Combination::Or(each())),
            Quantifier::All => Ok(Combination::And(each())),
            Quantifier::Count(count) => self.sets(steps, &|size| size as u64 >= *count, true),
        }
    }

    fn step(&self, name: &str, steps: &[String]) -> Result<u16, Fault> {
        let at = steps.iter().position(|step| step == name);
        at.and_then(|at| u16::try_from(at).ok()).ok_or_else(|| {
            let hint = keytrail_model::did_you_mean(name, steps.iter().map(String::as_str));
            self.place.fault("condition", format!("the condition names `{name}`, which is none of the rules{hint}"))
        })
    }

    /// How many different rules must have matched.
    fn counted(&self, predicates: &[(ConditionOperator, u64)], steps: usize) -> Result<Combination, Fault> {
        let holds = |size: usize| {
            predicates.iter().all(|(by, than)| match by {
                ConditionOperator::Lt => (size as u64) < *than,
                ConditionOperator::Lte => size as u64 <= *than,
                ConditionOperator::Gt => size as u64 > *than,
                ConditionOperator::Gte => size as u64 >= *than,
                ConditionOperator::Eq => size as u64 == *than,
                ConditionOperator::Neq => size as u64 != *than,
            })
        };
        let monotone = (1..steps).all(|size| !holds(size) || holds(size + 1));
        let numbers: Vec<u16> = (0..steps).filter_map(|step| u16::try_from(step).ok()).collect();
        self.sets(&numbers, &holds, monotone)
    }

    /// One of the sets of steps of the right size; where more is never wrong, whatever else happened.
    fn sets(&self, steps: &[u16], holds: &dyn Fn(usize) -> bool, monotone: bool) -> Result<Combination, Fault> {
        if steps.len() > COUNTED_MAX {
            let message =
                format!("a count of more than {COUNTED_MAX} rules is not supported: write a condition of names");
            return Err(self.place.fault("condition", message));
        }
        let smallest = (1..=steps.len()).find(|size| holds(*size));
        let mut any = Vec::new();
        for set in 1u32..(1 << steps.len()) {
            let size = set.count_ones() as usize;
            if !holds(size) || (monotone && Some(size) != smallest) {
                continue;
            }
            let part = |(at, step): (usize, &u16)| {
                let step = Combination::Step(*step);
                let there = set & (1 << at) != 0;
                (there || !monotone).then(|| if there { step } else { Combination::Not(Box::new(step)) })
            };
            any.push(Combination::And(steps.iter().enumerate().filter_map(part).collect()));
        }
        if any.is_empty() {
            return Err(self.place.fault("condition", "the condition holds for no number of the rules"));
        }
        Ok(Combination::Or(any))
    }

    /// One line for people.
    pub(crate) fn text(&self) -> String {
        let CorrelationRule { correlation_type, rules, group_by, timespan, .. } = &self.rule;
        let by = if group_by.is_empty() { String::new() } else { format!(" by {}", group_by.join(", ")) };
        format!("{} of {}{by} within {}", correlation_type.as_str(), rules.join(", "), timespan.original)
    }
}

fn comparison(operator: ConditionOperator) -> Comparison {
    match operator {
        ConditionOperator::Lt => Comparison::Lt,
        ConditionOperator::Lte => Comparison::Lte,
        ConditionOperator::Gt => Comparison::Gt,
        ConditionOperator::Gte => Comparison::Gte,
        ConditionOperator::Eq => Comparison::Eq,
        ConditionOperator::Neq => Comparison::Neq,
    }
}

fn is_all(combination: &Combination, steps: usize) -> bool {
    let mut found: Vec<u16> = match combination {
        Combination::Step(step) => vec![*step],
        Combination::And(parts) => {
            let step = |part: &Combination| if let Combination::Step(step) = part { Some(*step) } else { None };
            parts.iter().map(step).collect::<Option<_>>().unwrap_or_default()
        }
        Combination::Or(_) | Combination::Not(_) => Vec::new(),
    };
    found.sort_unstable();
    found.dedup();
    found.len() == steps
}
