//! `keytrail rule lint`: reports problems, and with `--fix` puts right what needs no judgement.

use std::path::Path;

use anyhow::Result;
use serde_json::json;

use super::{pack, write};
use crate::cli::{FileKind, Global, Lint, LintFormat};
use crate::failure::Failure;
use crate::lint::fix::{fixed, with_editor_header};
use crate::lint::{Level, Problem, problems};
use crate::output::{self, Rows, note};
use crate::pack::{Pack, Texts, files_of};
use crate::sarif;

pub fn run(global: &Global, lint: &Lint) -> Result<()> {
    let pack = pack(global, &lint.rule_set)?;
    if lint.fix {
        fix(global, lint, &files_of(&lint.paths)?)?;
    }
    let files = if lint.paths.is_empty() { pack.clone() } else { files_of(&lint.paths)? };
    let problems = problems(&pack, &files, lint.as_of)?;
    if let Some(file) = &lint.sarif {
        write(file, &log(&problems)?)?;
    }
    print(global, lint.format, &problems)?;
    conclude(global, lint, &files, &problems)
}

fn log(problems: &[Problem]) -> Result<String> {
    Ok(format!("{}\n", serde_json::to_string_pretty(&sarif::log(problems))?))
}

fn print(global: &Global, format: LintFormat, problems: &[Problem]) -> Result<()> {
    if format == LintFormat::Sarif {
        return output::text(&log(problems)?);
    }
    let mut rows = Rows::new(&["file", "line", "level", "lint", "problem"]);
    for problem in problems {
        let (lint, level) = (problem.lint.id, problem.lint.level.name());
        rows.push([json!(problem.file), json!(problem.line), json!(level), json!(lint), json!(problem.message)]);
    }
    if problems.is_empty() { Ok(()) } else { output::print(&rows, global) }
}

fn conclude(global: &Global, lint: &Lint, files: &Pack, problems: &[Problem]) -> Result<()> {
    let notes = problems.iter().filter(|problem| problem.lint.level == Level::Note).count();
    let count = problems.len() - notes;
    let read = files.detections.len() + files.exceptions.len() + files.overlays.len();
    note(global, &format!("{read} files, {count} problems, {notes} notes"));
    if lint.as_of.is_none() && files.exceptions.iter().any(|(_, text)| text.contains("\nexpires:")) {
        note(global, "whether exceptions have expired was not looked at: add --as-of DATE");
    }
    if count == 0 { Ok(()) } else { Err(Failure::Found(format!("{count} problems in rules")).into()) }
}

fn fix(global: &Global, lint: &Lint, files: &Pack) -> Result<()> {
    let header = lint.editor_header.as_deref();
    fix_kind(global, &files.detections, FileKind::Rule, header)?;
    fix_kind(global, &files.exceptions, FileKind::Exception, header)?;
    fix_kind(global, &files.overlays, FileKind::Overlay, header)
}

fn fix_kind(global: &Global, texts: &Texts, kind: FileKind, header: Option<&str>) -> Result<()> {
    for (file, text) in texts {
        let (mut changed, fixes) = fixed(file, text, kind);
        for fix in &fixes {
            note(global, &format!("fixed {file}:{}: {} [{}]", fix.line, fix.what, fix.lint.id));
        }
        let ours = !text.lines().any(|line| line.starts_with("detection:"));
        if let Some(schemas) = header.filter(|_| ours) {
            changed = with_editor_header(&changed, &schema_of(schemas, file, kind));
        }
        if changed != *text {
            write(Path::new(file), &changed)?;
        }
    }
    Ok(())
}

/// Where the schema is, as seen from the file: a URL or absolute path as it is, else up to here and down again.
fn schema_of(schemas: &str, file: &str, kind: FileKind) -> String {
    let name = match kind {
        FileKind::Rule => "rule.schema.json",
        FileKind::Exception => "exception.schema.json",
        FileKind::Overlay => "overlay.schema.json",
    };
    let schemas = schemas.trim_end_matches('/').trim_start_matches("./");
    if schemas.contains("://") || Path::new(schemas).is_absolute() || Path::new(file).is_absolute() {
        return format!("{schemas}/{name}");
    }
    let up = file.trim_start_matches("./").matches('/').count();
    format!("{}{schemas}/{name}", "../".repeat(up))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_found_from_where_the_file_is() {
        let seen = |schemas| schema_of(schemas, "rules/detections/a.yaml", FileKind::Rule);
        assert_eq!(seen("docs/schema"), "../../docs/schema/rule.schema.json");
        assert_eq!(seen("https://example.com/s/"), "https://example.com/s/rule.schema.json");
    }
}
