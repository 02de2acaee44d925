//! `keytrail run`: sources are taken in, one replica evaluates, one tells owners; whatever dies is taken over or begun anew
//! from what was committed. Here the parts are put together, stopped and reloaded.

pub mod again;
pub mod engine;
pub mod held;
mod late;
mod leader;
mod lease;
pub mod metrics;
mod probe;
mod reading;
pub mod reconcile;
pub mod seen;
pub mod settings;
mod shared;
pub mod stages;
pub mod taker;
mod teller;
mod upkeep;
pub mod watermark;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result};
use keytrail_ingest::sources::{Source, Surroundings, open};
use keytrail_remediate::{Eml, Notifier, Smtp};
use keytrail_store::{Lake, Store, StoreError};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;
use tracing::{error, info, warn};

use crate::config::{Config, environment, storage_settings};
use crate::pack::Pack;
use leader::Leader;
pub use reading::Reading;
use settings::Settings;
use shared::Shared;
pub use shared::Stop;
use stages::Stages;
use taker::Taker;
use teller::Teller;

const LOOK: Duration = Duration::from_secs(1);

/// What is needed to make the stages anew.
pub struct Made {
    pub config: Config,
    pub pack: Pack,
}

/// The service, ready to run.
pub struct Replica {
    settings: Arc<Settings>,
    store: Store,
    lake: Lake,
    stages: watch::Sender<Arc<Stages>>,
    sources: BTreeMap<String, Box<dyn Source>>,
    shared: Arc<Shared>,
    notifiers: Vec<Box<dyn Notifier>>,
    probing: JoinHandle<Result<()>>,
}

impl Replica {
    /// Everything that can be wrong is found here, before anything is read. Who asks is answered from now on.
    pub async fn open(config: Config, pack: &Pack, once: bool) -> Result<Self> {
        let settings = Arc::new(Settings { once, ..Settings::of(&config)? });
        config.check_mail(pack.has_inventory())?;
        let stages = Arc::new(Stages::build(pack, config.limits.limits())?);
        let sources = sources(&config, &settings.replica).await?;
        std::fs::create_dir_all(&config.out)
            .with_context(|| format!("cannot make the folder `{}`", config.out.display()))?;
        let shared = Arc::new(Shared::of(config.sources.keys().cloned()));
        let probe = probe::Probe::new(&config, &shared, &settings).await?;
        let known = probe.store();
        let probing = tokio::spawn(probe.run());
        let store = answering(&config, once).await?;
        known.get_or_init(|| store.clone());
        // Late events are put right from it, so a service always has one.
        let usual = || config.out.join("lake").display().to_string();
        let lake = crate::commands::lake::at(&config, &config.lake.at.clone().unwrap_or_else(usual))?;
        lake.make()?;
        let notifiers = notifiers(&config)?;
        let (stages, _) = watch::channel(stages);
        Ok(Self { settings, store, lake, stages, sources, shared, notifiers, probing })
    }

    /// Lets go of everything.
    pub async fn close(self) {
        self.store.close().await;
    }

    /// Until `stop` is set, or of a run `once` until everything there is has been evaluated. `reload` makes the stages anew.
    pub async fn run(
        self,
        (set, stop): (watch::Sender<bool>, Stop),
        mut reload: tokio::sync::mpsc::Receiver<Result<Made>>,
    ) -> Result<()> {
        let names: Vec<String> = self.sources.keys().cloned().collect();
        metrics::begin(&names);
        metrics::rules(self.stages.borrow().plan.rules().len());
        let mut intakes = JoinSet::new();
        for (name, source) in self.sources {
            let around = (Arc::clone(&self.settings), Arc::clone(&self.shared));
            let taker = Taker::new(name, source, self.store.clone(), around, self.stages.subscribe())?;
            intakes.spawn_blocking(apart(taker.run(stop.clone())));
        }
        let (tell, told) = Stop::new();
        let (lead, led) = Stop::new();
        let leader = Leader {
            store: self.store.clone(),
            lake: self.lake,
            settings: Arc::clone(&self.settings),
            shared: Arc::clone(&self.shared),
            stages: self.stages.subscribe(),
        };
        let mut leader = tokio::task::spawn_blocking(apart(leader.run(led)));
        let teller = Teller {
            store: self.store.clone(),
            notifiers: self.notifiers,
            settings: Arc::clone(&self.settings),
            stages: self.stages.subscribe(),
        };
        let teller = tokio::spawn(teller.run(told));
        let watching = tokio::spawn(watch_store(self.store.clone(), Arc::clone(&self.shared)));
        info!(sources = names.join(", "), replica = self.settings.replica, "reads");
        let mut waiting = stop.clone();
        let mut given = Ok(());
        let ended = loop {
            tokio::select! {
                ended = &mut leader => break Some(ended),
                // Only a fault ends one of them before it is stopped.
                Some(done) = intakes.join_next(), if !intakes.is_empty() => {
                    given = given.and(done.context("a source's task panicked").flatten());
                    if given.is_err() {
                        break None;
                    }
                }
                () = waiting.wait() => break None,
                Some(made) = reload.recv() => {
                    self.stages.send_if_modified(|stages| renew(stages, made));
                }
            };
        };
        // Sources first, then what they gave, then what is to be told of it.
        set.send_replace(true);
        while let Some(done) = intakes.join_next().await {
            given = given.and(done.context("a source's task panicked").flatten());
        }
        lead.send_replace(true);
        let ended = match ended {
            Some(ended) => ended,
            None => leader.await,
        };
        tell.send_replace(true);
        teller.await.context("the ticket task panicked")??;
        self.probing.abort();
        watching.abort();
        self.store.close().await;
        info!("stopped with everything committed");
        ended.context("the evaluation's task panicked").flatten().and(given)
    }
}

/// A service waits for its database: both may be started together.
async fn answering(config: &Config, once: bool) -> Result<Store> {
    loop {
        match reserved(config).await {
            Err(fault) if !once && fault.downcast_ref().is_some_and(StoreError::passes) => {
                warn!("{fault:#}; it is tried again");
                sleep(LOOK).await;
            }
            done => return done,
        }
    }
}

/// The store, with a row for the shard before anything is taken in: rows that no shard is known to want are deleted.
async fn reserved(config: &Config) -> Result<Store> {
    let store = config.open_store(None).await?;
    store.reserve(&[leader::SHARD.to_owned()]).await?;
    Ok(store)
}

/// For a thread of its own: what works through records would leave memory behind on every thread that it came over.
fn apart<T>(task: impl Future<Output = T>) -> impl FnOnce() -> T {
    let runtime = Handle::current();
    move || runtime.block_on(task)
}

/// The old ones stay in force where the new ones cannot be made.
fn renew(stages: &mut Arc<Stages>, made: Result<Made>) -> bool {
    let new = made.and_then(|made| Stages::build(&made.pack, made.config.limits.limits()));
    metrics::reload(new.is_ok());
    match new {
        Ok(new) => {
            metrics::rules(new.plan.rules().len());
            *stages = Arc::new(new);
            true
        }
        Err(fault) => {
            error!("the new rules cannot be used and the old ones stay in force: {fault:#}");
            false
        }
    }
}

/// Opens every source of the configuration.
pub async fn sources(config: &Config, replica: &str) -> Result<BTreeMap<String, Box<dyn Source>>> {
    let around = surroundings(config, replica);
    let mut sources = BTreeMap::new();
    for (name, source) in &config.sources {
        sources.insert(name.clone(), open(name, source, &around).await?);
    }
    Ok(sources)
}

fn surroundings(config: &Config, replica: &str) -> Surroundings {
    let named = config.variables().into_iter().filter_map(|name| Some((name.clone(), environment(&name)?)));
    let environment = storage_settings().into_iter().chain(named).collect();
    let allow_static_key = config.run.allow_static_key;
    Surroundings { environment, limits: config.limits.limits(), allow_static_key, replica: replica.to_owned() }
}

fn notifiers(config: &Config) -> Result<Vec<Box<dyn Notifier>>> {
    let mut notifiers: Vec<Box<dyn Notifier>> =
        vec![Box::new(Eml::new(config.out.join("tickets"), &config.tickets.from))];
    if let Some(smtp) = &config.tickets.smtp {
        notifiers.push(Box::new(Smtp::new(smtp, smtp.password(environment)?)?));
    }
    Ok(notifiers)
}

/// How full the inbox is, and whether the store answers.
async fn watch_store(store: Store, shared: Arc<Shared>) {
    loop {
        let depth = store.inbox_depth().await;
        let up = shared.store_up.swap(depth.is_ok(), Ordering::Relaxed);
        match depth {
            Ok(depth) => {
                shared.inbox_bytes.store(depth.bytes, Ordering::Relaxed);
                metrics::inbox(depth);
            }
            Err(fault) if up => warn!("the store does not answer: {fault}"),
            Err(_) => {}
        }
        ::metrics::gauge!("keytrail_store_up").set(f64::from(u8::from(shared.store_up.load(Ordering::Relaxed))));
        sleep(LOOK).await;
    }
}
