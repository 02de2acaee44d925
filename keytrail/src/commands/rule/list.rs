//! `keytrail rule list`.

use anyhow::Result;
use keytrail_detect::Rule;
use serde_json::json;

use super::{body, pack, sources};
use crate::cli::{Global, List};
use crate::output::{self, Rows};

pub fn run(global: &Global, list: &List) -> Result<()> {
    let mut rows = Rows::new(&[
        "id",
        "severity",
        "state",
        "kind",
        "window",
        "source",
        "body",
        "group_by",
        "playbook",
        "tests",
        "changed_by",
        "title",
    ]);
    let rules = pack(global, &list.rule_set)?.all_rules()?;
    for rule in rules.iter().filter(|rule| wanted(rule, list)) {
        rows.push([
            json!(rule.id),
            json!(rule.severity.name()),
            json!(rule.state.name()),
            json!(if rule.settled() { "settled" } else { "immediate" }),
            json!(super::explain::window(rule)),
            json!(sources(&rule.sources)),
            json!(body(rule)),
            json!(rule.group_by),
            json!(rule.playbook),
            json!(rule.tests.len()),
            json!(changed_by(rule)),
            json!(rule.title),
        ]);
    }
    output::print(&rows, global)
}

fn wanted(rule: &Rule, list: &List) -> bool {
    list.state.as_deref().is_none_or(|state| state == rule.state.name())
        && list.source.as_deref().is_none_or(|source| rule.sources.include(source))
        && list.tag.as_deref().is_none_or(|tag| rule.tags.iter().any(|own| own.starts_with(&tag.to_lowercase())))
        && list.severity.is_none_or(|severity| rule.severity >= severity)
}

/// Overlays and exceptions, each by where it stands.
fn changed_by(rule: &Rule) -> Vec<String> {
    let overlays = rule.overlaid.iter().map(|said| format!("overlay {said}"));
    let exceptions = rule.exceptions.iter().map(|exception| format!("exception {}", exception.id));
    overlays.chain(exceptions).collect()
}
