//! `keytrail lake`, and the lake as other commands use it: opened from configuration, written beside a run.

use std::collections::BTreeMap;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use anyhow::{Result, anyhow};
use keytrail_model::{EventBatch, Micros};
use keytrail_store::{Compacted, Lake, LakeError, LakeFile, Wrote};
use serde_json::json;
use tokio::runtime::Handle;

use crate::cli::{Global, Lake as Command};
use crate::config::{Config, storage_settings};
use crate::output::{self, Rows, note};
use crate::pipeline::Input;

/// Batches that wait for the lake before the run waits for it.
const WAITING: usize = 4;
pub const EVERYTHING: (Micros, Micros) = (Micros(i64::MIN), Micros(i64::MAX));

pub async fn run(global: &Global, command: Command) -> Result<()> {
    let config = Config::load(global)?;
    match command {
        Command::List { lake } => {
            let lake = needed(&config, lake.as_deref())?;
            output::print(&by_log(&lake.files(EVERYTHING.0, EVERYTHING.1).await?), global)
        }
        Command::Compact { lake } => {
            let Compacted { before, after, copies } = needed(&config, lake.as_deref())?.compact().await?;
            note(global, &format!("{before} small files became {after}; {copies} copies of records were left out"));
            Ok(())
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
    place.map(|place| at(config, place)).transpose()
}

/// The lake at a place.
pub fn at(config: &Config, place: &str) -> Result<Lake> {
    Ok(Lake::open(place, storage_settings(), config.lake.allow_static_key)?)
}

/// The same for who reads it: it must be there.
pub fn existing(config: &Config, said: Option<&str>) -> Result<Option<Lake>> {
    let lake = open(config, said)?;
    lake.iter().try_for_each(Lake::check)?;
    Ok(lake)
}

fn needed(config: &Config, said: Option<&str>) -> Result<Lake> {
    existing(config, said)?
        .ok_or_else(|| anyhow!("which lake? name it with --lake, or as `lake.at` in the configuration"))
}

/// The records of these days, to be read like files.
pub async fn inputs(lake: &Lake, since: Option<Micros>, until: Option<Micros>) -> Result<Vec<Input>> {
    let files = lake.files(since.unwrap_or(EVERYTHING.0), until.unwrap_or(EVERYTHING.1)).await?;
    Ok(files.into_iter().map(|file| Input::Lake(lake.clone(), file)).collect())
}

/// Files of days before a time, and of the oldest days as long as the rest is more than so many bytes.
#[must_use]
pub fn outlived(mut files: Vec<LakeFile>, before: Option<Micros>, bytes_max: Option<u64>) -> Vec<LakeFile> {
    files.sort_by_key(|file| file.day);
    let mut bytes: u64 = files.iter().map(|file| file.bytes).sum();
    let mut old = 0;
    // A day goes whole: half of one would answer as if nothing were missing.
    for day in files.chunk_by(|left, right| left.day == right.day) {
        let over = before.is_some_and(|before| day.iter().all(|file| file.last() < before));
        if !over && bytes_max.is_none_or(|max| bytes <= max) {
            break;
        }
        bytes -= day.iter().map(|file| file.bytes).sum::<u64>();
        old += day.len();
    }
    files.truncate(old);
    files
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
    pub fn start(lake: Lake) -> Result<Self> {
        lake.make()?;
        let (batches, taken) = sync_channel::<EventBatch>(WAITING);
        let runtime = Handle::current();
        let write = async move {
            let mut writer = lake.writer();
            while let Ok(batch) = taken.recv() {
                writer.add(&batch).await?;
            }
            writer.finish().await
        };
        Ok(Self { batches, thread: thread::spawn(move || runtime.block_on(write)) })
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
