//! `keytrail rule`: one file for each thing that a rule's author does.

mod backtest;
mod coverage;
mod explain;
mod explain_event;
mod explained_text;
mod fields;
mod lint;
mod list;
mod schema;
mod test;

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use keytrail_detect::{Body, Rule as Detection, Sources};

use crate::cli::{Global, Rule, RuleSet};
use crate::config::Config;
use crate::pack::Pack;

pub async fn run(global: &Global, command: Rule) -> Result<()> {
    match command {
        Rule::List(list) => list::run(global, &list),
        Rule::Test(test) => test::run(global, &test),
        Rule::Lint(lint) => lint::run(global, &lint),
        Rule::Backtest(backtest) => backtest::run(global, &backtest).await,
        Rule::Coverage(coverage) => coverage::run(global, &coverage),
        Rule::Fields { source, rule_set } => fields::run(global, source.as_deref(), &rule_set),
        Rule::Functions => fields::functions(global),
        Rule::Schema { of } => schema::run(of),
        Rule::Explain(asked) => match (&asked.event, &asked.id) {
            (Some(event), _) => explain_event::run(global, &asked, event),
            (None, Some(id)) => explain::run(global, id, &asked.rule_set),
            (None, None) => Err(anyhow!("say which rule, or which event: --event FILE:LINE")),
        },
    }
}

/// The pack that the configuration and the command line give.
fn pack(global: &Global, set: &RuleSet) -> Result<Pack> {
    Pack::with(&Config::load(global)?.rule_set(set))
}

fn sources(sources: &Sources) -> String {
    match sources {
        Sources::Any => "any".to_owned(),
        Sources::Named(names) => names.join(", "),
    }
}

fn body(rule: &Detection) -> &'static str {
    match rule.body {
        Body::Sql(_) => "sql",
        Body::Sigma(_) => "sigma",
        Body::Steps => "steps",
    }
}

fn write(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).with_context(|| format!("cannot write `{}`", file.display()))
}
