//! Printing rows: a table with colour on a terminal, ndjson in a pipe, json or csv when asked.

use std::io::{IsTerminal, Write};

use anyhow::Result;
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use keytrail_model::{printable, printable_lines};
use serde_json::{Map, Value};

use crate::cli::{Format, Global};
use crate::config::environment;

/// Rows with named columns, in order.
#[derive(Debug, Default)]
pub struct Rows {
    pub columns: Vec<String>,
    pub rows: Vec<Map<String, Value>>,
}

impl Rows {
    #[must_use]
    pub fn new(columns: &[&str]) -> Self {
        Self { columns: columns.iter().map(|&name| name.to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row; values in the order of the columns.
    pub fn push(&mut self, values: impl IntoIterator<Item = Value>) {
        self.rows.push(self.columns.iter().cloned().zip(values).collect());
    }
}

/// The format that is asked for, or that suits where stdout goes.
#[must_use]
pub fn format(global: &Global) -> Format {
    let fitting = if std::io::stdout().is_terminal() { Format::Table } else { Format::Ndjson };
    global.output.unwrap_or(fitting)
}

/// Prints rows on stdout.
pub fn print(rows: &Rows, global: &Global) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match format(global) {
        Format::Table => writeln!(out, "{}", table(rows))?,
        Format::Ndjson => rows.rows.iter().try_for_each(|row| writeln!(out, "{}", Value::Object(row.clone())))?,
        Format::Json => {
            let all: Vec<Value> = rows.rows.iter().cloned().map(Value::Object).collect();
            writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
        }
        Format::Csv => csv(rows, &mut out)?,
    }
    Ok(())
}

/// Prints text of our own on stdout. What comes from logs goes through `printable` first.
pub fn text(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(())
}

/// A message for people, on stderr, unless they asked for quiet.
pub fn note(global: &Global, text: &str) {
    if !global.quiet {
        eprintln!("{}", printable_lines(text));
    }
}

/// A message that nobody may miss, on stderr.
pub fn warn(text: &str) {
    eprintln!("{}", printable_lines(text));
}

fn table(rows: &Rows) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    if table.width().is_none() {
        table.set_width(160);
    }
    let colour = colourful();
    table.set_header(rows.columns.iter().map(|name| Cell::new(name).add_attribute(Attribute::Bold)));
    for row in &rows.rows {
        table.add_row(rows.columns.iter().map(|name| cell(row.get(name).unwrap_or(&Value::Null), colour)));
    }
    table
}

/// `NO_COLOR` and pipes get none.
#[must_use]
pub fn colourful() -> bool {
    std::io::stdout().is_terminal() && environment("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn cell(value: &Value, colour: bool) -> Cell {
    let text = printable(&plain(value));
    let painted = match text.as_str() {
        "critical" => Some(Color::Magenta),
        "high" | "denied" | "failed" => Some(Color::Red),
        "medium" => Some(Color::Yellow),
        "low" => Some(Color::Cyan),
        "passed" => Some(Color::Green),
        _ => None,
    };
    let cell = Cell::new(text);
    match painted {
        Some(painted) if colour => cell.fg(painted),
        _ => cell,
    }
}

/// A value as people read it.
#[must_use]
pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn csv(rows: &Rows, out: &mut impl Write) -> Result<()> {
    writeln!(out, "{}", rows.columns.iter().map(|name| field(name)).collect::<Vec<_>>().join(","))?;
    for row in &rows.rows {
        let fields = rows.columns.iter().map(|name| field(&plain(row.get(name).unwrap_or(&Value::Null))));
        writeln!(out, "{}", fields.collect::<Vec<_>>().join(","))?;
    }
    Ok(())
}

/// Quoted as RFC 4180 wants it; a leading sign that a spreadsheet would run as a formula is defused.
fn field(text: &str) -> String {
    let text = if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_fields_are_quoted_and_defused() {
        assert_eq!(field("a,b"), "\"a,b\"");
        assert_eq!(field("say \"x\""), "\"say \"\"x\"\"\"");
        assert_eq!(field("=cmd()"), "'=cmd()");
    }
}
