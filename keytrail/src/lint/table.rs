//! The table of lints: what `rule lint` looks for, how grave it is, and whether `--fix` puts it right.

/// How grave a lint is. Notes do not fail a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Note,
    Warning,
    Error,
}

impl Level {
    /// As SARIF calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

#[derive(Debug)]
pub struct Lint {
    /// Stable: CI configurations name it.
    pub id: &'static str,
    pub level: Level,
    /// Whether `--fix` puts it right.
    pub fixable: bool,
    pub doc: &'static str,
}

const fn found(id: &'static str, level: Level, doc: &'static str) -> Lint {
    Lint { id, level, fixable: false, doc }
}

const fn fixed(id: &'static str, level: Level, doc: &'static str) -> Lint {
    Lint { id, level, fixable: true, doc }
}

use Level::{Error, Note, Warning};

pub static READ: Lint =
    found("rule-read", Error, "the rule file does not read: syntax, unknown or missing keys, a wrong value");
pub static PLAN: Lint = found(
    "rule-plan",
    Error,
    "a condition names a field, function or log source that does not exist, or types do not fit",
);
pub static PLAYBOOK: Lint = found("playbook-unknown", Error, "the rule names a playbook that does not exist");
pub static TESTS: Lint =
    found("tests-missing", Error, "the rule lacks a test that finds something or one that finds nothing");
pub static TEST_NAME: Lint = found("test-name-twice", Warning, "two tests of a rule have the same name");
pub static GROUP: Lint =
    found("group-empty", Error, "group_by is empty, so that every event of a period is one finding");
pub static TAG: Lint = found(
    "tag-unknown",
    Error,
    "a tag is neither attack.tNNNN(.NNN), attack.tactic-name nor owasp.nhi1 to owasp.nhi10",
);
pub static DESCRIPTION: Lint =
    found("description-missing", Warning, "the description does not tell an owner what happened and why it matters");
pub static SUMMARY: Lint =
    found("summary-never-filled", Warning, "the summary names a column that no log source of the rule fills");
pub static ALWAYS: Lint = found("condition-always-true", Error, "the condition holds for every event");
pub static NEVER: Lint = found("condition-never-true", Error, "the condition holds for no event");
pub static SUPPRESS: Lint = found(
    "suppress-short",
    Warning,
    "suppress_for is shorter than the window, so that one matter becomes several findings",
);
pub static EXCEPTION: Lint = found(
    "exception-invalid",
    Error,
    "an exception does not read, names no rule that exists, or has the id of another",
);
pub static EXPIRED: Lint = found("exception-expired", Error, "an exception has expired by the date given with --as-of");
pub static OVERLAY: Lint =
    found("overlay-invalid", Error, "an overlay does not read, names no rule that exists, or sets what cannot be set");
pub static ID: Lint = fixed("id-missing", Error, "the rule has no id; it is the file's name");
pub static TAG_FORM: Lint =
    fixed("tag-form", Warning, "a tag has capitals or underscores: attack.t1078, attack.defense-evasion");
pub static KEY_FORM: Lint = fixed("key-form", Warning, "a key is written as other rule formats write it");
pub static KEY_ORDER: Lint = fixed("key-order", Note, "the keys are not in the order in which rules are read");
pub static SPACES: Lint = fixed("trailing-spaces", Note, "a line ends in spaces, or the file in empty lines or none");

/// Every lint, in the order in which documents list them.
pub static LINTS: [&Lint; 20] = [
    &READ,
    &PLAN,
    &PLAYBOOK,
    &TESTS,
    &TEST_NAME,
    &GROUP,
    &TAG,
    &DESCRIPTION,
    &SUMMARY,
    &ALWAYS,
    &NEVER,
    &SUPPRESS,
    &EXCEPTION,
    &EXPIRED,
    &OVERLAY,
    &ID,
    &TAG_FORM,
    &KEY_FORM,
    &KEY_ORDER,
    &SPACES,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::LINTS;

    #[test]
    fn ids_are_there_once_and_are_plain_words() {
        let ids: BTreeSet<&str> = LINTS.iter().map(|lint| lint.id).collect();
        assert_eq!(ids.len(), LINTS.len());
        assert!(ids.iter().all(|id| id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')), "{ids:?}");
    }
}
