//! `keytrail config`: init, validate, show, schema.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::cli::{Config as Command, Global, RuleSet};
use crate::config::{Config, STARTER, STARTER_INVENTORY};
use crate::output::{self, note};
use crate::pack::Pack;
use crate::pipeline::Pipeline;

pub fn run(global: &Global, command: Command) -> Result<()> {
    match command {
        Command::Init { path, force } => init(global, &path, force),
        Command::Validate => validate(global),
        Command::Show => output::text(&format!("{:#?}\n", Config::load(global)?)),
        Command::Schema => output::text(&format!("{}\n", schema()?)),
    }
}

fn schema() -> Result<String> {
    Ok(serde_json::to_string_pretty(&schemars::schema_for!(Config))?)
}

fn init(global: &Global, path: &Path, force: bool) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let files = [
        (path.to_path_buf(), STARTER.to_owned()),
        (folder.join("keytrail-inventory.yaml"), STARTER_INVENTORY.to_owned()),
        (folder.join("keytrail.schema.json"), schema()?),
    ];
    if let Some((taken, _)) = files.iter().find(|(file, _)| file.exists() && !force) {
        bail!("`{}` is there already: --force overwrites it", taken.display());
    }
    for (file, text) in &files {
        std::fs::write(file, text).with_context(|| format!("cannot write `{}`", file.display()))?;
        note(global, &format!("written: {}", file.display()));
    }
    Ok(())
}

/// Builds every stage as a run would, without reading a log.
fn validate(global: &Global) -> Result<()> {
    let config = Config::load(global)?;
    let pack = Pack::with(&config.rule_set(&RuleSet::default()))?;
    config.check_mail(pack.has_inventory())?;
    let pipeline = Pipeline::build(&pack, config.limits.limits())?;
    let rules = pipeline.rules().len();
    let owners = pipeline.enricher.inventory().owners().count();
    let agents = pipeline.enricher.inventory().agents().count();
    note(global, &format!("valid: {rules} rules, {owners} owners, {agents} agents"));
    Ok(())
}
