//! `keytrail run`: the service in this process, with its logs, its signals and its end.

use anyhow::{Context, Result};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use super::source;
use crate::cli::{Global, Run};
use crate::config::{Config, environment};
use crate::failure::Failure;
use crate::output::note;
use crate::pack::Pack;
use crate::service::{Made, Replica, Stop, sources};

/// Spans of libraries are theirs.
const OURS: &str = "off,keytrail=info";

/// Unless `KEYTRAIL_LOG` says otherwise.
const USUAL: &str = "warn,keytrail=info,keytrail_ingest=info,keytrail_store=info";

pub async fn run(global: &Global, run: &Run) -> Result<()> {
    let config = Config::load(global)?;
    let traces = logging(run, &config)?;
    let pack = Pack::with(&config.rule_set(&run.rule_set))?;
    if run.check {
        return Box::pin(check(global, &config, &pack)).await;
    }
    let (set, mut stop) = Stop::new();
    let (made, reload) = mpsc::channel(1);
    let (second, mut again) = oneshot::channel();
    let ended_by = tokio::spawn(signals(set.clone(), second));
    // Before anything is waited for: a signal that nobody listens for ends the process.
    let reloading = tokio::spawn(reloads(global.clone(), run.rule_set.clone(), made));
    let replica = tokio::select! {
        replica = Box::pin(Replica::open(config, &pack, run.once)) => replica?,
        () = stop.wait() => return Err(Failure::Stopped(ended_by.await?).into()),
    };
    let done = tokio::select! {
        done = replica.run((set, stop), reload) => done,
        Ok(code) = &mut again => Err(Failure::Stopped(code).into()),
    };
    reloading.abort();
    if let Some(traces) = traces {
        traces.shutdown().ok();
    }
    done?;
    // Nobody asked it to stop when it ran out by itself.
    match ended_by.is_finished().then_some(ended_by) {
        Some(ended) => Err(Failure::Stopped(ended.await?).into()),
        None => Ok(()),
    }
}

/// Everything that a run would find wrong before it reads.
async fn check(global: &Global, config: &Config, pack: &Pack) -> Result<()> {
    Replica::open(config.clone(), pack, true).await?.close().await;
    let mut opened = sources(config, "check").await?;
    source::check(global, &mut opened).await
}

/// The number by which it was asked to stop; asked twice, it goes at once.
async fn signals(set: watch::Sender<bool>, second: oneshot::Sender<u8>) -> u8 {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return std::future::pending().await;
    };
    let code = tokio::select! { _ = term.recv() => 143, _ = int.recv() => 130 };
    tracing::info!("asked to stop; commits what is on its way");
    set.send_replace(true);
    tokio::spawn(async move {
        let code = tokio::select! { _ = term.recv() => 143, _ = int.recv() => 130 };
        tracing::warn!("asked again; goes at once, and what was not committed comes again");
        second.send(code).ok();
    });
    code
}

/// Reads the configuration and the rules again when told to.
async fn reloads(global: Global, rule_set: crate::cli::RuleSet, made: mpsc::Sender<Result<Made>>) {
    let Ok(mut told) = signal(SignalKind::hangup()) else { return };
    while next(&mut told).await {
        let again = Config::load(&global).and_then(|config| {
            let pack = Pack::with(&config.rule_set(&rule_set))?;
            Ok(Made { config, pack })
        });
        if made.send(again).await.is_err() {
            return;
        }
    }
}

async fn next(told: &mut Signal) -> bool {
    told.recv().await.is_some()
}

/// Logs to stderr, and spans to a collector where one is configured.
fn logging(run: &Run, config: &Config) -> Result<Option<SdkTracerProvider>> {
    let said = environment("KEYTRAIL_LOG").unwrap_or_else(|| USUAL.to_owned());
    let filter = EnvFilter::try_new(&said).with_context(|| format!("KEYTRAIL_LOG is `{said}`"))?;
    let ansi = crate::output::colourful();
    let lines = match run.log.as_str() {
        "json" => fmt::layer().json().flatten_event(true).with_writer(std::io::stderr).boxed(),
        _ => fmt::layer().with_ansi(ansi).with_target(false).with_writer(std::io::stderr).boxed(),
    };
    let provider = config.run.traces.as_deref().map(provider).transpose()?;
    let spans = provider
        .as_ref()
        .map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer("keytrail")))
        .map(|layer| layer.with_filter(EnvFilter::new(OURS)));
    tracing_subscriber::registry().with(spans).with(lines.with_filter(filter)).try_init().context("logging")?;
    Ok(provider)
}

fn provider(at: &str) -> Result<SdkTracerProvider> {
    let exporter = SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary).with_endpoint(at).build();
    let exporter = exporter.with_context(|| format!("`run.traces: {at}` cannot be used"))?;
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).build())
}

/// What a check says of each thing.
pub fn told(global: &Global, what: &str, fault: Option<&str>) {
    match fault {
        None => note(global, &format!("ok      {what}")),
        Some(fault) => note(global, &format!("missing {what}: {fault}")),
    }
}
