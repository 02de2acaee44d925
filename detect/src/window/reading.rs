//! Checks the `window:` block of a rule file and makes a window of it.
//!
//! Knows no log source: whether a source has a column is told when the rule is planned.

use keytrail_model::FileError;
use keytrail_sql::{Scope, parse_expression};
use serde_saphyr::Spanned;

use super::steps::Step;
use super::written::{Absence, Bounds, FirstSeen, OneOrMany, Over, Ranked, WrittenSteps, WrittenWindow};
use super::{Column, Combination, Comparison, Condition, Kind, Measure, Window};
use crate::duration::duration;

const MEASURES: &str =
    "`count`, `distinct`, `sum`, `avg`, `percentile`, `first_seen`, `sequence`, `all_of` and `absence`";

/// What reading the two blocks needs to know of the rule, and where it says what is wrong.
pub(crate) struct Reading<'a> {
    pub(crate) file: &'a str,
    pub(crate) group_by: &'a [String],
    pub(crate) suppress_for: i64,
    pub(crate) errors: &'a mut Vec<FileError>,
}

/// The measure, what it looks at, the names of its steps in their order.
type Measured = (Measure, Vec<Column>, Vec<String>);

impl Reading<'_> {
    /// Checks both blocks; the steps come in the window's order.
    pub(crate) fn window(
        &mut self,
        written: &Spanned<WrittenWindow>,
        steps: &WrittenSteps,
    ) -> Option<(Window, Vec<Step>)> {
        let line = written.referenced.line();
        let block = &written.value;
        let (measure, of, names) = self.measure(line, block)?;
        let kind = self.kind(line, block, &measure);
        let within = self.within(line, block, &measure);
        let steps = self.steps(line, &names, steps);
        let window = Window { steps: names, of, ..Window::new(within?, kind?, measure) };
        Some((window, steps?))
    }

    pub(super) fn fail(&mut self, line: u64, message: impl Into<String>) {
        self.errors.push(FileError::new(self.file, Some(line), message));
    }

    /// Exactly one.
    fn measure(&mut self, line: u64, block: &WrittenWindow) -> Option<Measured> {
        let measures = [
            block.count.as_ref().map(|count| self.count(count)),
            block.distinct.as_ref().map(|over| self.over(over, Measure::Distinct)),
            block.sum.as_ref().map(|over| self.over(over, Measure::Sum)),
            block.avg.as_ref().map(|over| self.over(over, Measure::Avg)),
            block.percentile.as_ref().map(|ranked| self.percentile(ranked)),
            block.first_seen.as_ref().map(|written| self.first_seen(written)),
            block.sequence.as_ref().map(|steps| self.listed(steps, "sequence", Measure::Sequence)),
            block.all_of.as_ref().map(|steps| self.all_of(steps)),
            block.absence.as_ref().map(|absence| Some(absent(&absence.value))),
        ];
        let mut given = measures.into_iter().flatten();
        if let (Some(measure), None) = (given.next(), given.next()) {
            return measure;
        }
        self.fail(line, format!("give the window exactly one of {MEASURES}"));
        None
    }

    fn count(&mut self, written: &Spanned<Bounds>) -> Option<Measured> {
        let Bounds { gt, gte, lt, lte, eq, neq } = written.value;
        let condition = self.condition(written.referenced.line(), [gt, gte, lt, lte, eq, neq])?;
        Some((Measure::Count(condition), Vec::new(), Vec::new()))
    }

    fn over(&mut self, written: &Spanned<Over>, measure: fn(Condition) -> Measure) -> Option<Measured> {
        let line = written.referenced.line();
        let Over { of, gt, gte, lt, lte, eq, neq } = &written.value;
        let measure = measure(self.condition(line, [*gt, *gte, *lt, *lte, *eq, *neq])?);
        let of = self.columns(line, of, measure.is_numeric())?;
        Some((measure, of, Vec::new()))
    }

    fn percentile(&mut self, written: &Spanned<Ranked>) -> Option<Measured> {
        let line = written.referenced.line();
        let Ranked { of, rank, gt, gte, lt, lte, eq, neq } = &written.value;
        if !(*rank > 0.0 && *rank <= 100.0) {
            self.fail(line, format!("rank `{rank}` is no percentile: write a number above 0, up to 100"));
            return None;
        }
        let condition = self.condition(line, [*gt, *gte, *lt, *lte, *eq, *neq])?;
        let of = self.columns(line, of, true)?;
        Some((Measure::Percentile { rank: *rank, condition }, of, Vec::new()))
    }

    fn first_seen(&mut self, written: &Spanned<FirstSeen>) -> Option<Measured> {
        let FirstSeen { of, learn } = &written.value;
        let of = self.columns(written.referenced.line(), of, false);
        let learn = self.duration("learn", learn)?;
        Some((Measure::FirstSeen { learn, follow: self.suppress_for }, of?, Vec::new()))
    }

    fn all_of(&mut self, steps: &Spanned<Vec<String>>) -> Option<Measured> {
        self.listed(steps, "all_of", Measure::AllOf(Combination::all(steps.value.len())))
    }

    /// Two steps or more, each once.
    fn listed(&mut self, steps: &Spanned<Vec<String>>, key: &str, measure: Measure) -> Option<Measured> {
        let line = steps.referenced.line();
        let names = &steps.value;
        let twice = names.iter().enumerate().find(|(index, name)| names.iter().take(*index).any(|one| one == *name));
        if let Some((_, name)) = twice {
            self.fail(
                line,
                format!("{key} names step `{name}` twice: name each once, or count it in a rule of its own"),
            );
        } else if names.len() < 2 {
            self.fail(line, format!("{key} has {} step: name two or more, or write `where` and `count`", names.len()));
        } else {
            return Some((measure, Vec::new(), names.clone()));
        }
        None
    }

    fn condition(&mut self, line: u64, bounds: [Option<f64>; 6]) -> Option<Condition> {
        use Comparison::{Eq, Gt, Gte, Lt, Lte, Neq};
        let named = [Gt, Gte, Lt, Lte, Eq, Neq].into_iter().zip(bounds);
        let given: Vec<_> = named.filter_map(|(comparison, bound)| Some((comparison, bound?))).collect();
        if let Some((_, bound)) = given.iter().find(|(_, bound)| !bound.is_finite()) {
            self.fail(line, format!("`{bound}` is no bound: write a number"));
            return None;
        }
        if given.is_empty() {
            self.fail(line, "the measure has no bound: add one of `gt`, `gte`, `lt`, `lte`, `eq` and `neq`");
            return None;
        }
        Some(Condition::new(given))
    }

    fn columns(&mut self, line: u64, of: &OneOrMany, one_only: bool) -> Option<Vec<Column>> {
        let names = of.list();
        if names.is_empty() || (one_only && names.len() > 1) {
            let wanted = if one_only { "one column" } else { "at least one column" };
            self.fail(line, format!("`of` names {} columns: name {wanted} or raw path", names.len()));
            return None;
        }
        let columns: Vec<Option<Column>> = names.iter().map(|name| self.column(line, name)).collect();
        columns.into_iter().collect()
    }

    /// `network` is that of `ip`, `resource` each of `resources`; anything else is an expression.
    fn column(&mut self, line: u64, name: &str) -> Option<Column> {
        let text = match name {
            "network" => "ip",
            "resource" => "resources",
            other => other,
        };
        match parse_expression(text, Scope::Rule) {
            Ok(expression) => Some(Column { expression, network: name == "network" }),
            Err(error) => {
                self.fail(line, format!("of `{name}`: {error}"));
                None
            }
        }
    }

    fn kind(&mut self, line: u64, block: &WrittenWindow, measure: &Measure) -> Option<Kind> {
        let kind = block.kind.unwrap_or_default();
        let name = match measure {
            Measure::Sequence => "sequence",
            Measure::Absence { .. } => "absence",
            Measure::FirstSeen { .. } if block.kind.is_some() => "first_seen",
            _ => return Some(kind),
        };
        if kind == Kind::Sliding && name != "first_seen" {
            return Some(kind);
        }
        self.fail(line, format!("{name} has no kind of window: remove `kind`"));
        None
    }

    fn within(&mut self, line: u64, block: &WrittenWindow, measure: &Measure) -> Option<i64> {
        match (measure, &block.within) {
            (Measure::FirstSeen { .. }, None) => Some(0),
            (Measure::FirstSeen { .. }, Some(text)) => {
                let line = text.referenced.line();
                self.fail(line, "first_seen remembers for ever: remove `within`; `learn` says when it begins to tell");
                None
            }
            (_, Some(text)) => self.duration("within", text),
            (_, None) => {
                self.fail(line, "the window has no length: add `within: 10m`");
                None
            }
        }
    }

    fn duration(&mut self, key: &str, text: &Spanned<String>) -> Option<i64> {
        let read = duration(&text.value);
        if read.is_none() {
            let line = text.referenced.line();
            self.fail(line, format!("{key} `{}` is no duration: write 30s, 10m, 24h or 7d", text.value));
        }
        read
    }
}

fn absent(written: &Absence) -> Measured {
    if written.after == written.of {
        return (Measure::Absence { after: 0, of: 0 }, Vec::new(), vec![written.after.clone()]);
    }
    let names = vec![written.after.clone(), written.of.clone()];
    (Measure::Absence { after: 0, of: 1 }, Vec::new(), names)
}
