//! What the rules cover: ATT&CK techniques, OWASP risks and log sources, and what was promised and is not there.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use keytrail_detect::{Rule, Sources, State};
use keytrail_model::read_yaml;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::pack::Pack;

/// Something that the pack promises to cover, and why.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promise {
    /// T1078.004, NHI7.
    pub id: String,
    pub name: String,
    pub reason: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Promises {
    #[serde(default)]
    attack: Vec<Promise>,
    #[serde(default)]
    owasp: Vec<Promise>,
}

/// What one technique, risk or log source has.
#[derive(Clone, Debug)]
pub struct Line {
    /// attack, owasp or source.
    pub kind: &'static str,
    pub id: String,
    /// Rules that are on, by id.
    pub rules: Vec<String>,
    pub promise: Option<Promise>,
}

impl Line {
    #[must_use]
    pub fn is_gap(&self) -> bool {
        self.promise.is_some() && self.rules.is_empty()
    }
}

/// Every technique and risk that a rule names or the pack promises, and every log source, in this order.
pub fn lines(pack: &Pack) -> Result<Vec<Line>> {
    let rules: Vec<Rule> = pack.rules()?.into_iter().filter(|rule| rule.state == State::On).collect();
    let promises = promises(pack)?;
    let mut lines = tagged("attack", "attack.t", "T", &rules, &promises.attack);
    let mut risks = tagged("owasp", "owasp.nhi", "NHI", &rules, &promises.owasp);
    risks.sort_by_key(|line| line.id.trim_start_matches("NHI").parse::<u32>().unwrap_or_default());
    lines.append(&mut risks);
    lines.append(&mut sources(pack, &rules)?);
    Ok(lines)
}

fn promises(pack: &Pack) -> Result<Promises> {
    let read = pack.coverage.last().map(|(file, text)| read_yaml(file, text));
    read.transpose().map(Option::unwrap_or_default).map_err(|error| Failure::rules([error]))
}

fn tagged(kind: &'static str, tag: &str, id: &str, rules: &[Rule], promises: &[Promise]) -> Vec<Line> {
    let mut found: BTreeMap<String, (BTreeSet<String>, Option<Promise>)> = BTreeMap::new();
    for promise in promises {
        found.entry(promise.id.clone()).or_default().1 = Some(promise.clone());
    }
    for rule in rules {
        let numbers = rule.tags.iter().filter_map(|own| own.strip_prefix(tag));
        // `attack.theft` would be a tactic.
        for number in numbers.filter(|number| number.starts_with(|first: char| first.is_ascii_digit())) {
            found.entry(format!("{id}{number}")).or_default().0.insert(rule.id.clone());
        }
    }
    let line = |(id, (rules, promise)): (String, (BTreeSet<String>, _))| Line {
        kind,
        id,
        rules: rules.into_iter().collect(),
        promise,
    };
    found.into_iter().map(line).collect()
}

fn sources(pack: &Pack, rules: &[Rule]) -> Result<Vec<Line>> {
    let mappings = pack.mappings()?;
    let read = mappings.iter().filter(|mapping| mapping.ignore.is_none());
    // A rule over any log source is no coverage of this one.
    let named = |rule: &&Rule, source: &str| rule.sources != Sources::Any && rule.sources.include(source);
    let lines = read.map(|mapping| {
        let own = rules.iter().filter(|rule| named(rule, &mapping.source)).map(|rule| rule.id.clone());
        Line { kind: "source", id: mapping.source.clone(), rules: own.collect(), promise: None }
    });
    Ok(lines.collect())
}

/// An ATT&CK Navigator layer of format 4.5: a technique's score is the number of its rules, a gap has 0.
#[must_use]
pub fn navigator(lines: &[Line]) -> Value {
    let techniques: Vec<&Line> = lines.iter().filter(|line| line.kind == "attack").collect();
    let most = techniques.iter().map(|line| line.rules.len()).max().unwrap_or_default().max(1);
    let parents: BTreeSet<&str> = techniques.iter().filter_map(|line| Some(line.id.split_once('.')?.0)).collect();
    let mut shown: Vec<Value> =
        techniques.iter().map(|line| technique(line, parents.contains(line.id.as_str()))).collect();
    let unnamed = parents.iter().filter(|id| techniques.iter().all(|line| line.id != **id));
    shown.extend(unnamed.map(|id| json!({"techniqueID": id, "showSubtechniques": true})));
    shown.sort_by_key(|technique| technique["techniqueID"].to_string());
    json!({
        "name": "Keytrail rules",
        "versions": {"navigator": "5.1.0", "layer": "4.5"},
        "domain": "enterprise-attack",
        "description": "Score: rules that are on. Comment: their ids. 0: promised, without a rule.",
        "sorting": 3,
        "hideDisabled": false,
        "techniques": shown,
        "gradient": {"colors": ["#ff6666", "#ffe766", "#8ec843"], "minValue": 0, "maxValue": most},
    })
}

fn technique(line: &Line, is_parent: bool) -> Value {
    let comment = match &line.promise {
        Some(promise) if line.rules.is_empty() => format!("no rule: {}", promise.reason),
        _ => line.rules.join(", "),
    };
    json!({
        "techniqueID": line.id,
        "score": line.rules.len(),
        "comment": comment,
        "enabled": true,
        "showSubtechniques": is_parent,
    })
}
