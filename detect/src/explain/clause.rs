//! A condition as a tree of clauses, each true, false or unknown for one event, with the branches that decided marked.

use serde::Serialize;

use super::found::Read;

/// How the parts of a clause make up its truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Joined {
    /// Nothing below it: a test of the event itself.
    Test,
    All,
    Any,
    Not,
    /// At least so many of its parts.
    AtLeast(u64),
}

/// One condition, and those in it.
#[derive(Clone, Debug, Serialize)]
pub struct Clause {
    /// As its author wrote it.
    pub written: String,
    pub joined: Joined,
    /// `None`: unknown, because a value that it reads is null.
    pub holds: Option<bool>,
    /// Whether the clause above it is what it is because of this one.
    pub decides: bool,
    /// What it reads of the event, and what is there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<Read>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Clause>,
}

impl Clause {
    pub(super) fn test(written: impl Into<String>, holds: Option<bool>, reads: Vec<Read>) -> Self {
        Self { written: written.into(), joined: Joined::Test, holds, decides: false, reads, parts: Vec::new() }
    }

    /// Of its parts, of which those that decided are marked.
    pub(super) fn of(written: impl Into<String>, joined: Joined, parts: Vec<Self>) -> Self {
        let holds = truth(joined, &parts);
        let mut clause = Self { written: written.into(), joined, holds, decides: false, reads: Vec::new(), parts };
        let decisive = |part: &Self| match (joined, holds) {
            (Joined::Not, _) => true,
            (_, truth) => part.holds == truth,
        };
        clause.parts.iter_mut().for_each(|part| part.decides = decisive(part));
        clause
    }

    /// At how few places the event would have to be another for the clause to hold.
    #[must_use]
    pub fn failing(&self) -> usize {
        self.distance(true)
    }

    fn distance(&self, wanted: bool) -> usize {
        if self.holds == Some(wanted) {
            return 0;
        }
        let mut each: Vec<usize> = self.parts.iter().map(|part| part.distance(wanted)).collect();
        each.sort_unstable();
        match (self.joined, wanted) {
            (Joined::Test, _) => 1,
            (Joined::Not, _) => self.parts.iter().map(|part| part.distance(!wanted)).sum(),
            (Joined::All, true) | (Joined::Any, false) => each.iter().sum(),
            (Joined::All, false) | (Joined::Any, true) => each.first().copied().unwrap_or(1),
            (Joined::AtLeast(count), wanted) => {
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                let needed = if wanted { count } else { (each.len() + 1).saturating_sub(count) };
                each.iter().take(needed).sum()
            }
        }
    }
}

/// As SQL joins truths: what is unknown stays so unless the other parts decide.
fn truth(joined: Joined, parts: &[Clause]) -> Option<bool> {
    let count = |wanted: Option<bool>| parts.iter().filter(|part| part.holds == wanted).count();
    let (held, unknown) = (count(Some(true)), count(None));
    let at_least = |wanted: usize| match held {
        held if held >= wanted => Some(true),
        held if held + unknown < wanted => Some(false),
        _ => None,
    };
    match joined {
        Joined::Test => None,
        Joined::All => at_least(parts.len()),
        Joined::Any => at_least(1),
        Joined::AtLeast(wanted) => at_least(usize::try_from(wanted).unwrap_or(usize::MAX)),
        Joined::Not => parts.first().and_then(|part| part.holds).map(|holds| !holds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(holds: Option<bool>) -> Clause {
        Clause::test("", holds, Vec::new())
    }

    #[test]
    fn unknown_stays_unknown_unless_others_decide() {
        let (yes, no, unknown) = (Some(true), Some(false), None);
        for (joined, parts, wanted) in [
            (Joined::All, vec![yes, unknown], unknown),
            (Joined::All, vec![no, unknown], no),
            (Joined::All, vec![], yes),
            (Joined::Any, vec![yes, unknown], yes),
            (Joined::Any, vec![no, unknown], unknown),
            (Joined::Any, vec![], no),
            (Joined::Not, vec![unknown], unknown),
            (Joined::Not, vec![no], yes),
            (Joined::AtLeast(2), vec![yes, no, unknown], unknown),
            (Joined::AtLeast(2), vec![yes, no, no], no),
        ] {
            let parts: Vec<Clause> = parts.into_iter().map(leaf).collect();
            assert_eq!(Clause::of("", joined, parts.clone()).holds, wanted, "{joined:?} {parts:?}");
        }
    }

    #[test]
    fn the_branches_that_decided_are_marked() {
        let marks = |joined, parts: &[Option<bool>]| -> Vec<bool> {
            Clause::of("", joined, parts.iter().copied().map(leaf).collect())
                .parts
                .iter()
                .map(|it| it.decides)
                .collect()
        };
        assert_eq!(marks(Joined::All, &[Some(true), Some(false), None]), [false, true, false]);
        assert_eq!(marks(Joined::All, &[Some(true), None]), [false, true]);
        assert_eq!(marks(Joined::Any, &[Some(true), Some(false)]), [true, false]);
        assert_eq!(marks(Joined::Not, &[Some(false)]), [true]);
    }

    #[test]
    fn a_miss_is_as_near_as_its_fewest_changes() {
        let (yes, no) = (leaf(Some(true)), leaf(Some(false)));
        let any =
            Clause::of("", Joined::Any, vec![Clause::of("", Joined::All, vec![no.clone(), no.clone()]), no.clone()]);
        assert_eq!(any.failing(), 1);
        let not = Clause::of("", Joined::Not, vec![Clause::of("", Joined::Any, vec![yes.clone(), yes.clone()])]);
        assert_eq!(not.failing(), 2);
        assert_eq!(Clause::of("", Joined::All, vec![any, not, yes.clone()]).failing(), 3);
        assert_eq!(Clause::of("", Joined::AtLeast(3), vec![yes, no.clone(), no.clone(), no]).failing(), 2);
    }
}
