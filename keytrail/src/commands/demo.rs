//! `keytrail demo`: the whole pipeline over the embedded samples, in shadow mode, into one folder.

use std::path::Path;

use anyhow::Result;
use keytrail_store::Store;

use super::{digest, scan::summary, write::Written};
use crate::cli::{Demo, Format, Global};
use crate::config::Config;
use crate::output::{self, note};
use crate::pack::{Pack, samples};
use crate::pipeline::{Input, Pipeline};
use crate::{progress, tables};

/// Enough to see what it does; the rest is in the files.
const MATTERS_SHOWN: usize = 12;

pub async fn run(global: &Global, demo: &Demo) -> Result<()> {
    let config = Config { out: demo.out.clone(), ..Config::default() };
    let mut pipeline = Pipeline::build(&Pack::demo(), config.limits.limits())?;
    let inputs: Vec<Input> = samples().into_iter().map(|(name, bytes)| Input::Embedded(name, bytes)).collect();
    let bar = progress::bytes(0, global.quiet);
    let outcome = pipeline.run(&inputs, &bar, &mut |_| {})?;
    // A demo starts from nothing, so that it shows the same each time.
    let store = config.store_place(None);
    Store::remove(Path::new(&store))?;
    let written = Written::new(&config, "sample-events (demo, shadow mode: nothing is called)").all(&outcome).await?;
    let written = written.report(&outcome, &demo.out.join("report.html"))?;
    match global.output {
        None | Some(Format::Table) => output::text(&digest::text(&outcome, MATTERS_SHOWN, output::colourful()))?,
        Some(_) => output::print(&tables::findings(&outcome.findings), global)?,
    }
    note(global, &summary(&outcome));
    note(global, &written.say());
    note(
        global,
        &format!(
            "\nnext: keytrail finding show ID --store {store}    or    keytrail scan YOUR-LOGS --report report.html"
        ),
    );
    Ok(())
}
