//! `|expand`: placeholders in values, written `%name%`, and the values that people keep for them in files of their own.

use std::collections::BTreeMap;

use keytrail_model::{FileError, read_yaml};
use rsigma_parser::{Detection, DetectionItem, Detections, Modifier, SigmaString, SigmaValue};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Many(Vec<Scalar>),
    One(Scalar),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Number(serde_json::Number),
    Flag(bool),
    Text(String),
}

/// The values of placeholders, by name.
#[derive(Clone, Debug, Default)]
pub struct Placeholders(BTreeMap<String, Vec<String>>);

impl Placeholders {
    /// From file names and texts; values of the same name are added to each other.
    pub fn load(files: &[(String, String)]) -> Result<Self, Vec<FileError>> {
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut errors = Vec::new();
        for (file, text) in files {
            match read_yaml::<BTreeMap<String, Written>>(file, text) {
                Ok(written) => written.into_iter().for_each(|(name, written)| {
                    values.entry(name).or_default().extend(texts(written));
                }),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(Self(values)) } else { Err(errors) }
    }

    /// Puts the values in; the names of placeholders that have none.
    pub(crate) fn expand(&self, detections: &mut Detections) -> Vec<String> {
        let mut missing = Vec::new();
        let mut named: Vec<_> = detections.named.iter_mut().collect();
        named.sort_by(|left, right| left.0.cmp(right.0));
        named.into_iter().for_each(|(_, detection)| self.detection(detection, &mut missing));
        missing.dedup();
        missing
    }

    fn detection(&self, detection: &mut Detection, missing: &mut Vec<String>) {
        match detection {
            Detection::AllOf(items) => items.iter_mut().for_each(|item| self.item(item, missing)),
            Detection::AnyOf(parts) | Detection::And(parts) => {
                parts.iter_mut().for_each(|part| self.detection(part, missing));
            }
            Detection::ArrayMatch { body, .. } => self.detection(body, missing),
            Detection::Keywords(_) | Detection::Conditional { .. } => {}
        }
    }

    fn item(&self, item: &mut DetectionItem, missing: &mut Vec<String>) {
        if !item.field.has_modifier(Modifier::Expand) {
            return;
        }
        let raw = item.field.has_modifier(Modifier::Re);
        let mut values = Vec::new();
        for value in &item.values {
            match value {
                SigmaValue::String(text) => match self.texts(&text.original) {
                    Ok(texts) => values.extend(texts.iter().map(|text| string(text, raw))),
                    Err(name) => missing.push(name),
                },
                other => values.push(other.clone()),
            }
        }
        item.values = values;
        item.field.modifiers.retain(|modifier| *modifier != Modifier::Expand);
    }

    /// Every text that one with placeholders stands for, or the name of a placeholder without values.
    fn texts(&self, written: &str) -> Result<Vec<String>, String> {
        let mut texts = vec![String::new()];
        for part in parts(written) {
            let values = match &part {
                Part::Text(text) => std::slice::from_ref(text),
                Part::Placeholder(name) => match self.0.get(name) {
                    Some(values) if !values.is_empty() => values.as_slice(),
                    _ => return Err(name.clone()),
                },
            };
            texts = texts.iter().flat_map(|text| values.iter().map(move |value| format!("{text}{value}"))).collect();
        }
        Ok(texts)
    }
}

fn texts(written: Written) -> Vec<String> {
    let scalars = match written {
        Written::Many(scalars) => scalars,
        Written::One(scalar) => vec![scalar],
    };
    let text = |scalar| match scalar {
        Scalar::Text(text) => text,
        Scalar::Number(number) => number.to_string(),
        Scalar::Flag(flag) => flag.to_string(),
    };
    scalars.into_iter().map(text).collect()
}

fn string(text: &str, raw: bool) -> SigmaValue {
    SigmaValue::String(if raw { SigmaString::from_raw(text) } else { SigmaString::new(text) })
}

#[derive(Debug, PartialEq)]
enum Part {
    Text(String),
    Placeholder(String),
}

/// `\%` is a plain percent sign, and so is one that nothing closes.
fn parts(written: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut rest = written;
    while let Some(at) = rest.find('%') {
        let (before, after) = rest.split_at(at);
        let after = after.get(1..).unwrap_or_default();
        if let Some(before) = before.strip_suffix('\\') {
            text.push_str(before);
            text.push('%');
            rest = after;
        } else if let Some((name, behind)) = after.split_once('%').filter(|(name, _)| !name.is_empty()) {
            text.push_str(before);
            parts.push(Part::Text(std::mem::take(&mut text)));
            parts.push(Part::Placeholder(name.to_owned()));
            rest = behind;
        } else {
            text.push_str(before);
            text.push('%');
            rest = after;
        }
    }
    text.push_str(rest);
    parts.push(Part::Text(text));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placeholders(text: &str) -> Placeholders {
        Placeholders::load(&[("p.yaml".to_owned(), text.to_owned())]).expect("loads")
    }

    #[test]
    fn values_go_in_wherever_the_placeholder_stands() {
        let known = placeholders("hosts: [web*, db]\nenv: prod\nports: [22, 443]\n");
        let texts = |written: &str| known.texts(written);
        assert_eq!(texts("%hosts%"), Ok(vec!["web*".to_owned(), "db".to_owned()]));
        assert_eq!(texts("%env%/%hosts%!"), Ok(vec!["prod/web*!".to_owned(), "prod/db!".to_owned()]));
        assert_eq!(texts(r"\%env%env%"), Ok(vec!["%envprod".to_owned()]));
        assert_eq!(texts("100%"), Ok(vec!["100%".to_owned()]));
        assert_eq!(texts("%ports%"), Ok(vec!["22".to_owned(), "443".to_owned()]));
        assert_eq!(texts("a%unknown%b"), Err("unknown".to_owned()));
    }
}
