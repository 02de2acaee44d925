//! `keytrail lake`, and the lake as other commands use it: opened from configuration, written beside a run.

use std::collections::BTreeMap;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use anyhow::{Result, anyhow};
use keytrail_model::{EventBatch, Micros};
use keytrail_store::{Lake, LakeError, LakeFile, Wrote};
use serde_json::json;
use tokio::runtime::Handle;

use crate::cli::{Global, Lake as Command};
use crate::config::{Config, storage_settings};
use crate::output::{self, Rows, note};
use crate::pipeline::Input;

/// Batches that wait for the lake before the run waits for it.
const WAITING: usize = 4;
const EVERYTHING: (Micros, Micros) = (Micros(i64::MIN), Micros(i64::MAX));

pub async fn run(global: &Global, command: Command) -> Result<()> {
    let config = Config::load(global)?;
    match command {
        Command::List { lake } => {
            let lake = needed(&config, lake.as_deref())?;
            output::print(&by_log(&lake.files(EVERYTHING.0, EVERYTHING.1).await?), global)
        }
        Command::Prune { lake, before, bytes_max, dry_run } => {
            let lake = needed(&config, lake.as_deref())?;
            let files = lake.files(EVERYTHING.0, EVERYTHING.1).await?;
            let old = outlived(files, before, bytes_max);
            if !dry_run {
                lake.delete(&old).await?;
            }
            let bytes: u64 = old.iter().map(|file| file.bytes).sum();
            let done = if dry_run { "would be deleted" } else { "deleted" };
            note(global, &format!("{} files of {bytes} bytes {done}", old.len()));
            output::print(&by_log(&old), global)
        }
    }
}

/// The lake that the command line names, or the configuration's.
pub fn open(config: &Config, said: Option<&str>) -> Result<Option<Lake>> {
    let place = said.or(config.lake.at.as_deref());
    let open = |place| Lake::open(place, storage_settings(), config.lake.allow_static_key);
    Ok(place.map(open).transpose()?)
}

fn needed(config: &Config, said: Option<&str>) -> Result<Lake> {
    open(config, said)?.ok_or_else(|| anyhow!("which lake? name it with --lake, or as `lake.at` in the configuration"))
}

/// The records of these days, to be read like files.
pub async fn inputs(lake: &Lake, since: Option<Micros>, until: Option<Micros>) -> Result<Vec<Input>> {
    let files = lake.files(since.unwrap_or(EVERYTHING.0), until.unwrap_or(EVERYTHING.1)).await?;
    Ok(files.into_iter().map(|file| Input::Lake(lake.clone(), file)).collect())
}

/// Files of days before a time, and of the oldest days as long as the rest is more than so many bytes.
fn outlived(mut files: Vec<LakeFile>, before: Option<Micros>, bytes_max: Option<u64>) -> Vec<LakeFile> {
    files.sort_by_key(|file| file.day);
    let mut bytes: u64 = files.iter().map(|file| file.bytes).sum();
    let old = files.into_iter().take_while(|file| {
        let outlived = before.is_some_and(|before| file.last() < before) || bytes_max.is_some_and(|max| bytes > max);
        bytes -= file.bytes;
        outlived
    });
    old.collect()
}

fn by_log(files: &[LakeFile]) -> Rows {
    let mut logs: BTreeMap<&str, Vec<&LakeFile>> = BTreeMap::new();
    files.iter().for_each(|file| logs.entry(&file.log).or_default().push(file));
    let mut rows = Rows::new(&["log", "files", "bytes", "first_day", "last_day"]);
    for (log, files) in logs {
        let days = || files.iter().map(|file| file.date());
        let bytes: u64 = files.iter().map(|file| file.bytes).sum();
        rows.push([json!(log), json!(files.len()), json!(bytes), json!(days().min()), json!(days().max())]);
    }
    rows
}

/// Writes the batches of a run into the lake, on a thread of its own.
pub struct Sink {
    batches: SyncSender<EventBatch>,
    thread: JoinHandle<Result<Wrote, LakeError>>,
}

impl Sink {
    #[must_use]
    pub fn start(lake: Lake) -> Self {
        let (batches, taken) = sync_channel::<EventBatch>(WAITING);
        let runtime = Handle::current();
        let write = async move {
            let mut writer = lake.writer();
            while let Ok(batch) = taken.recv() {
                writer.add(&batch).await?;
            }
            writer.finish().await
        };
        Self { batches, thread: thread::spawn(move || runtime.block_on(write)) }
    }

    /// A lake that failed takes no more; `finish` says why.
    pub fn keep(&self, batch: EventBatch) {
        self.batches.send(batch).ok();
    }

    pub fn finish(self) -> Result<Wrote> {
        drop(self.batches);
        Ok(self.thread.join().map_err(|_| anyhow!("the lake's thread panicked"))??)
    }
}
