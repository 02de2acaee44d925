//! Summary sentences: `{actor_name} uses {credential} from {ip}`, filled from an event's columns.

use keytrail_model::{EventBatch, did_you_mean, schema};

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Column(&'static str),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

impl Template {
    /// Reads the template; a name that is no event column is refused with the nearest known.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, tail) = after.split_once('}').ok_or("summary has a `{` without its `}`")?;
            let field = schema::find(name).ok_or_else(|| {
                let hint = did_you_mean(name, schema::FIELDS.iter().map(|field| field.name));
                format!("summary names `{name}`, which is no event column{hint}")
            })?;
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::Column(field.name));
            rest = tail;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self { parts })
    }

    /// The event columns that the template reads.
    pub fn columns(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.parts.iter().filter_map(|part| match part {
            Part::Column(name) => Some(*name),
            Part::Text(_) => None,
        })
    }

    /// The sentence for one event; what the event does not say reads `(unknown)`.
    #[must_use]
    pub fn fill(&self, events: &EventBatch, row: usize) -> String {
        self.parts.iter().map(|part| piece(part, events, row)).collect()
    }
}

fn piece(part: &Part, events: &EventBatch, row: usize) -> String {
    match part {
        Part::Text(text) => text.clone(),
        Part::Column(name) => shown(events, name, row).unwrap_or_else(|| "(unknown)".to_owned()),
    }
}

/// A column's value as people read it.
pub(crate) fn shown(events: &EventBatch, name: &str, row: usize) -> Option<String> {
    if name == "time" {
        return Some(events.time(row).to_string());
    }
    if let Some(text) = events.text(name, row) {
        return Some(text.to_owned());
    }
    if let Some(number) = events.number(name, row) {
        return Some(format!("{number:.1}"));
    }
    if let Some(flag) = events.flag(name, row) {
        return Some(flag.to_string());
    }
    let texts = events.texts(name, row);
    (!texts.is_empty()).then(|| texts.join(", "))
}
