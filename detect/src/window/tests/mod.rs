//! The operators: case by case at every boundary, and against an oracle that is written plainly from the semantics.

mod cases;
mod first_seen;
mod oracle;
mod properties;
mod reading;
mod state;
mod steps;

use std::sync::Arc;

use keytrail_model::{Micros, Position};

use super::*;

/// An entry at that microsecond.
fn at(time: i64, event_id: &str) -> Entry {
    let place = Position { origin: "events.json".into(), line: Some(1), record: None, byte: 0 };
    let event_id = event_id.into();
    Entry { time: Micros(time), event_id, place, step: 0, value: None, seen: Arc::default() }
}

impl Entry {
    fn step(self, step: u16) -> Self {
        Self { step, ..self }
    }

    fn number(self, number: f64) -> Self {
        Self { value: Some(Value::Number(number)), ..self }
    }

    fn text(self, text: &str) -> Self {
        Self { value: Some(Value::Text(text.to_owned())), ..self }
    }
}

/// Entries at these times, called a, b, c …
fn times(times: &[i64]) -> Vec<Entry> {
    times.iter().zip('a'..).map(|(time, id)| at(*time, &id.to_string())).collect()
}

fn atleast(bound: f64) -> Condition {
    Condition::new([(Comparison::Gte, bound)])
}

fn steps(within: i64, count: usize, measure: Measure) -> Window {
    let steps = (0..count).map(|step| format!("s{step}")).collect();
    Window { steps, ..Window::new(within, Kind::Sliding, measure) }
}

fn lane(window: &Window, entries: Vec<Entry>) -> Lane {
    let mut lane = Lane::default();
    entries.into_iter().for_each(|entry| assert!(lane.push(window, entry), "nothing is late"));
    lane
}

fn end() -> Micros {
    Micros(i64::MAX)
}

fn found(window: &Window, entries: Vec<Entry>) -> Vec<Match> {
    lane(window, entries).settle(window, end())
}

/// The matches as `ids@time`.
fn shown(found: &[Match]) -> Vec<String> {
    let ids = |found: &Match| found.entries.iter().map(|entry| entry.event_id.as_str()).collect::<String>();
    found.iter().map(|found| format!("{}@{}", ids(found), found.at.0)).collect()
}

fn matches(window: &Window, entries: Vec<Entry>) -> Vec<String> {
    shown(&found(window, entries))
}
