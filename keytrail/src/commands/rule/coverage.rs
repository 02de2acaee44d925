//! `keytrail rule coverage`.

use anyhow::Result;
use serde_json::json;

use super::{pack, write};
use crate::cli::{Coverage, Global};
use crate::coverage::{Line, lines, navigator};
use crate::failure::Failure;
use crate::output::{self, Rows, note};

pub fn run(global: &Global, coverage: &Coverage) -> Result<()> {
    let lines = lines(&pack(global, &coverage.rule_set)?)?;
    let mut rows = Rows::new(&["kind", "id", "rules", "promised", "name", "rule_ids", "reason"]);
    for line in &lines {
        let promise = line.promise.as_ref();
        rows.push([
            json!(line.kind),
            json!(line.id),
            json!(line.rules.len()),
            json!(promise.is_some()),
            json!(promise.map(|promise| &promise.name)),
            json!(line.rules),
            json!(promise.map(|promise| &promise.reason)),
        ]);
    }
    output::print(&rows, global)?;
    if let Some(file) = &coverage.navigator {
        write(file, &format!("{}\n", serde_json::to_string_pretty(&navigator(&lines))?))?;
    }
    conclude(global, coverage, &lines)
}

fn conclude(global: &Global, coverage: &Coverage, lines: &[Line]) -> Result<()> {
    let of = |kind: &str| lines.iter().filter(|line| line.kind == kind && !line.rules.is_empty()).count();
    let bare: Vec<&str> = lines
        .iter()
        .filter(|line| line.kind == "source" && line.rules.is_empty())
        .map(|line| line.id.as_str())
        .collect();
    note(global, &format!("{} techniques, {} OWASP risks, {} log sources", of("attack"), of("owasp"), of("source")));
    if !bare.is_empty() {
        note(global, &format!("log sources without a rule of their own: {}", bare.join(", ")));
    }
    let gaps: Vec<String> = lines.iter().filter(|line| line.is_gap()).map(gap).collect();
    if gaps.is_empty() {
        return Ok(());
    }
    let said = format!("{} promised and without a rule that is on: {}", gaps.len(), gaps.join("; "));
    if coverage.fail_on_gaps {
        return Err(Failure::Found(said).into());
    }
    note(global, &said);
    Ok(())
}

fn gap(line: &Line) -> String {
    let promise = line.promise.as_ref();
    let (name, reason) = promise.map_or(("", ""), |promise| (promise.name.as_str(), promise.reason.as_str()));
    format!("{} {name} ({reason})", line.id)
}
