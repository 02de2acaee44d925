//! Another engine's answers: which events of a file of JSON lines a Sigma rule matches, by rsigma-eval.
//!
//! The rule files come on stdin, one name a line; each gives one line: its name, a tab, and the numbers of the matching
//! lines from 0 on. `tests/it/differential.rs` compares them with Keytrail's.

use std::error::Error;
use std::fs;
use std::io::{self, BufRead, Write};

use rsigma_eval::{Engine, JsonEvent};
use rsigma_parser::parse_sigma_yaml;
use serde_json::Value;

fn main() -> Result<(), Box<dyn Error>> {
    let events = std::env::args_os().nth(1).ok_or("give a file of JSON lines")?;
    let text = fs::read_to_string(events)?;
    let events = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let mut out = io::stdout().lock();
    for rule in io::stdin().lock().lines() {
        let rule = rule?;
        let found: Vec<String> = matching(&rule, &events)?.iter().map(usize::to_string).collect();
        writeln!(out, "{rule}\t{}", found.join(" "))?;
    }
    Ok(())
}

fn matching(rule: &str, events: &[Value]) -> Result<Vec<usize>, Box<dyn Error>> {
    let collection = parse_sigma_yaml(&fs::read_to_string(rule)?)?;
    let mut engine = Engine::new();
    engine.add_collection(&collection)?;
    let holds = |event: &Value| !engine.evaluate(&JsonEvent::borrow(event)).is_empty();
    Ok(events.iter().enumerate().filter(|(_, event)| holds(event)).map(|(number, _)| number).collect())
}
