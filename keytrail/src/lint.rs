//! What can be wrong with a rule that still reads: it does not plan, has no tests, names no such playbook, tags nothing.

use anyhow::Result;
use keytrail_detect::Rule;
use keytrail_model::{FileError, did_you_mean};

use crate::output::warn;
use crate::pack::{Pack, Texts, plan};

/// Every problem in the given rule files, in file and line order.
pub fn problems(pack: &Pack, files: &Texts) -> Result<Vec<FileError>> {
    let vocabulary = pack.vocabulary()?;
    let loaded = keytrail_detect::load(files, &vocabulary);
    loaded.skipped.iter().for_each(|skipped| warn(&skipped.to_string()));
    let (rules, mut problems) = (loaded.rules, loaded.errors);
    let mappings = pack.mappings()?;
    let playbooks = pack.playbooks()?;
    let known: Vec<&str> = playbooks.ids().collect();
    for rule in &rules {
        problems.extend(habits(rule, &known));
    }
    if let Err(errors) = plan(rules, &mappings, &vocabulary.dialects) {
        problems.extend(errors);
    }
    problems
        .sort_by(|left, right| (&left.file, left.line, &left.message).cmp(&(&right.file, right.line, &right.message)));
    Ok(problems)
}

fn habits(rule: &Rule, playbooks: &[&str]) -> Vec<FileError> {
    let mut problems = Vec::new();
    let mut say = |message: String| problems.push(FileError::new(&rule.file, rule.line, message));
    if let Some(id) = rule.playbook.as_deref().filter(|id| !playbooks.contains(id)) {
        say(format!("no playbook is called `{id}`{}", did_you_mean(id, playbooks.iter().copied())));
    }
    // Public Sigma rules carry neither tests nor our tags.
    if rule.file.ends_with(".yml") {
        return problems;
    }
    let positive = rule.tests.iter().any(|test| test.findings > 0);
    let negative = rule.tests.iter().any(|test| test.findings == 0);
    if !positive || !negative {
        say("a rule needs a test that finds something and one that finds nothing".to_owned());
    }
    if rule.group_by.is_empty() {
        say("group_by is empty: every event of a day would be one finding".to_owned());
    }
    for tag in rule.tags.iter().filter(|tag| !is_tag(tag)) {
        say(format!("tag `{tag}` is neither attack.tNNNN(.NNN) nor owasp.nhi1 to owasp.nhi10"));
    }
    problems
}

/// `attack.t1078.004`, `attack.persistence`, `owasp.nhi7`.
fn is_tag(tag: &str) -> bool {
    if let Some(number) = tag.strip_prefix("owasp.nhi") {
        return number.parse::<u8>().is_ok_and(|number| (1..=10).contains(&number));
    }
    let Some(rest) = tag.strip_prefix("attack.") else { return false };
    match rest.strip_prefix('t').filter(|id| id.starts_with(|first: char| first.is_ascii_digit())) {
        Some(id) => technique(id),
        None => rest.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-' || letter == '_'),
    }
}

fn technique(id: &str) -> bool {
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    match id.split_once('.') {
        Some((main, sub)) => digits(main, 4) && digits(sub, 3),
        None => digits(id, 4),
    }
}

#[cfg(test)]
mod tests {
    use super::is_tag;

    #[test]
    fn tags() {
        for tag in ["attack.t1078.004", "attack.t1098", "attack.defense-evasion", "owasp.nhi10"] {
            assert!(is_tag(tag), "{tag}");
        }
        for tag in ["attack.t10", "owasp.nhi11", "owasp.nhi0", "nhi7", "attack.T1078"] {
            assert!(!is_tag(tag), "{tag}");
        }
    }
}
