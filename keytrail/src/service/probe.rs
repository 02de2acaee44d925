//! What monitoring asks: is the process alive, does it get on, and its figures. Plain text on loopback only; on other
//! addresses a token is asked for, `/healthz` and `/readyz` aside.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, bail};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header::AUTHORIZATION};
use axum::response::IntoResponse;
use axum::routing::get;
use keytrail_ingest::sources::same_secret;
use keytrail_model::Micros;
use keytrail_store::Store;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::json;
use tokio::net::TcpListener;

use super::settings::{Settings, micros};
use super::shared::Shared;
use crate::config::Config;

/// Seconds; from a commit on a local disk to a minute of waiting.
const BUCKETS: [f64; 12] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0];

pub struct Probe {
    listener: Option<TcpListener>,
    state: Asked,
}

#[derive(Clone)]
struct Asked {
    figures: PrometheusHandle,
    token: Option<Arc<str>>,
    /// Not before it answered once.
    store: Arc<OnceLock<Store>>,
    shared: Arc<Shared>,
    settings: Arc<Settings>,
}

impl Probe {
    pub async fn new(config: &Config, shared: &Arc<Shared>, settings: &Arc<Settings>) -> Result<Self> {
        let listen = config.run.listen.as_deref().map(|text| {
            text.parse()
                .with_context(|| format!("`run.listen: {text}` is no address; write one such as 127.0.0.1:9464"))
        });
        // A run over what is there is over before anybody asks.
        let listen: Option<SocketAddr> = listen.transpose()?;
        let token = config
            .run
            .listen_token_file
            .as_deref()
            .map(|path| std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display())));
        let token = token.transpose()?.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
        if let Some(listen) = listen.filter(|listen| !listen.ip().is_loopback() && token.is_none()) {
            bail!("`run.listen: {listen}` is open to others: name a `run.listen_token_file`, or listen on 127.0.0.1");
        }
        let listener = match listen.filter(|_| !settings.once) {
            Some(listen) => {
                let listener = TcpListener::bind(listen).await;
                Some(listener.with_context(|| format!("cannot listen on {listen}, as `run.listen` says"))?)
            }
            None => None,
        };
        let figures = PrometheusBuilder::new().set_buckets(&BUCKETS)?.install_recorder();
        let figures = figures.context("the metrics cannot be set up")?;
        let (shared, settings) = (Arc::clone(shared), Arc::clone(settings));
        let state = Asked { figures, token: token.map(Arc::from), store: Arc::default(), shared, settings };
        Ok(Self { listener, state })
    }

    /// Where the store is put once it answers.
    pub fn store(&self) -> Arc<OnceLock<Store>> {
        Arc::clone(&self.state.store)
    }

    pub async fn run(self) -> Result<()> {
        let Some(listener) = self.listener else { return Ok(()) };
        let at = listener.local_addr()?;
        let routes = Router::new()
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(ready))
            .route("/metrics", get(figures))
            .with_state(self.state);
        tracing::info!("answers on http://{at}/healthz, /readyz and /metrics");
        Ok(axum::serve(listener, routes).await?)
    }
}

impl Asked {
    /// Whether who asks has the token, where there is one.
    fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let said = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        same_secret(said.strip_prefix("Bearer ").unwrap_or_default(), token)
    }
}

/// Ready means getting on: every source gave something or was found idle not long ago, the store answers, and if this
/// replica evaluates, its state was saved not long ago and nothing made it begin anew since.
async fn ready(State(asked): State<Asked>, headers: HeaderMap) -> impl IntoResponse {
    let now = (asked.settings.now)();
    let stall = micros(asked.settings.stall);
    let old = |at: Option<Micros>| at.is_none_or(|at| now.0.saturating_sub(at.0) > stall);
    let mut faults = Vec::new();
    for (name, doing) in asked.shared.sources() {
        ::metrics::gauge!("keytrail_source_stalled", "source" => name.clone())
            .set(f64::from(u8::from(old(doing.progress))));
        if let Some(trouble) = doing.trouble {
            faults.push(format!("source {name}: {}", trouble.said));
        } else if old(doing.progress) {
            faults.push(format!("source {name} made no progress"));
        }
    }
    match asked.store.get() {
        Some(store) => faults.extend(store.inbox_depth().await.err().map(|fault| fault.to_string())),
        None => faults.push("the store has not answered yet".to_owned()),
    }
    let saved = i64::try_from(asked.shared.checkpoint.load(Ordering::Relaxed)).unwrap_or(0);
    let leads = asked.shared.leads.load(Ordering::Relaxed);
    if leads && saved > 0 && now.0.saturating_sub(saved) > stall.max(4 * micros(asked.settings.checkpoint_every)) {
        faults.push("the state was not saved for too long".to_owned());
    }
    let fault = asked.shared.evaluation_fault().filter(|(_, at)| !old(Some(*at)));
    faults.extend(fault.map(|(fault, _)| format!("evaluation begins anew again and again: {fault}")));
    let ready = faults.is_empty();
    // Names and faults are for who has the token.
    if !asked.admits(&headers) {
        faults.clear();
    }
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let said = json!({"ready": ready, "replica": asked.settings.replica, "evaluates": leads, "faults": faults});
    (status, format!("{said}\n"))
}

async fn figures(State(asked): State<Asked>, headers: HeaderMap) -> impl IntoResponse {
    if !asked.admits(&headers) {
        return (StatusCode::UNAUTHORIZED, "a bearer token is needed\n".to_owned());
    }
    let now = (asked.settings.now)();
    for (name, doing) in asked.shared.sources() {
        let progress = doing.progress.unwrap_or(Micros(0));
        let late = now.0.saturating_sub(progress.0) > micros(asked.settings.stall);
        ::metrics::gauge!("keytrail_source_stalled", "source" => name.clone()).set(f64::from(u8::from(late)));
        ::metrics::gauge!("keytrail_source_last_progress_timestamp_seconds", "source" => name)
            .set(progress.0 as f64 / 1e6);
    }
    ::metrics::gauge!("process_resident_memory_bytes").set(resident() as f64);
    asked.figures.run_upkeep();
    (StatusCode::OK, asked.figures.render())
}

/// As Linux tells; nothing elsewhere.
fn resident() -> u64 {
    let Ok(text) = std::fs::read_to_string("/proc/self/status") else { return 0 };
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
