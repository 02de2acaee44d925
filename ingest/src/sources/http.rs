//! What others send: JSON lines, arrays and documents, and what Splunk's HTTP event collector takes. It is answered once it
//! stands on this disk, and read from there like any other files.

mod body;
mod spool;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use keytrail_model::Micros;
use ring::hmac;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::files::{Files, FilesConfig};
use super::secret::same_secret;
use super::{Check, Delivery, Gap, Lag, Listing, Receipt, Resumed, Source, SourceError, Surroundings};
use crate::Limits;
use body::Unread;
use spool::{Spool, Told};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// Address and port. Only loopback without a token or key.
    pub listen: String,
    /// Folder where what came waits until it is committed.
    pub spool: PathBuf,
    /// File that holds the bearer token of senders.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// File that holds the key of senders who sign: HMAC-SHA256 over the body, hex after `sha256=`.
    #[serde(default)]
    pub hmac_file: Option<PathBuf>,
    /// The longest body, before and after unpacking.
    #[serde(default = "body_max")]
    pub body_max: usize,
    /// With more than this in the spool, senders are asked to wait.
    #[serde(default = "spool_max")]
    pub spool_max: u64,
}

fn body_max() -> usize {
    16 << 20
}

fn spool_max() -> u64 {
    1 << 30
}

/// Seconds that senders are asked to wait.
const RETRY_AFTER: &str = "5";
/// Where the signature of a body stands: ours, and GitHub's.
const SIGNATURES: [&str; 2] = ["x-keytrail-signature", "x-hub-signature-256"];

/// Who may send.
enum Key {
    Anyone,
    Token(String),
    Signed(hmac::Key),
}

struct Open {
    key: Key,
    spool: Spool,
    limits: Limits,
    body_max: usize,
    spool_max: u64,
}

pub struct Http {
    files: Files,
    open: Arc<Open>,
    at: SocketAddr,
    /// Once it listens, which it does from the first time that it is asked for something.
    server: Option<JoinHandle<()>>,
}

impl Http {
    pub fn open(name: &str, config: &HttpConfig, around: &Surroundings) -> Result<Self, SourceError> {
        let at: SocketAddr = config.listen.parse().map_err(|_| {
            SourceError::config(
                name,
                format!("`listen: {}` is no address; write one such as 127.0.0.1:8088", config.listen),
            )
        })?;
        let key = key(name, config)?;
        if !at.ip().is_loopback() && matches!(key, Key::Anyone) {
            let fault = format!("`listen: {at}` is open to others: name a `token_file` or an `hmac_file`");
            return Err(SourceError::config(name, fault));
        }
        let fault = |fault| SourceError::unreachable(format!("the spool `{}`", config.spool.display()), fault);
        let spool = Spool::open(&config.spool).map_err(fault)?;
        let limits =
            Limits { document_bytes_max: config.body_max, inflate_max: config.body_max, ..around.limits.clone() };
        let open = Arc::new(Open { key, spool, limits, body_max: config.body_max, spool_max: config.spool_max });
        let files = FilesConfig {
            at: config.spool.display().to_string(),
            every: "100ms".to_owned(),
            settle: "5s".to_owned(),
            named: true,
        };
        let files = Files::open(name, &files, around)?;
        Ok(Self { files, open, at, server: None })
    }

    /// Listens, if it does not yet; and where.
    pub async fn listen(&mut self) -> Result<SocketAddr, SourceError> {
        if self.server.as_ref().is_none_or(JoinHandle::is_finished) {
            let fault = |fault| SourceError::unreachable(format!("listening on {}", self.at), fault);
            let listener = TcpListener::bind(self.at).await.map_err(fault)?;
            self.at = listener.local_addr().map_err(fault)?;
            let routes = routes(Arc::clone(&self.open));
            self.server = Some(tokio::spawn(serve(listener, routes)));
        }
        Ok(self.at)
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.server.iter().for_each(JoinHandle::abort);
    }
}

fn key(name: &str, config: &HttpConfig) -> Result<Key, SourceError> {
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path);
        let text =
            text.map_err(|fault| SourceError::config(name, format!("cannot read `{}`: {fault}", path.display())))?;
        let text = text.trim().to_owned();
        let empty = || SourceError::config(name, format!("`{}` is empty", path.display()));
        if text.is_empty() { Err(empty()) } else { Ok(text) }
    };
    match (&config.token_file, &config.hmac_file) {
        (None, None) => Ok(Key::Anyone),
        (Some(token), None) => Ok(Key::Token(read(token)?)),
        (None, Some(key)) => Ok(Key::Signed(hmac::Key::new(hmac::HMAC_SHA256, read(key)?.as_bytes()))),
        (Some(_), Some(_)) => Err(SourceError::config(name, "both `token_file` and `hmac_file` are given: keep one")),
    }
}

async fn serve(listener: TcpListener, routes: Router) {
    if let Err(fault) = axum::serve(listener, routes).await {
        tracing::error!("no longer listens: {fault}");
    }
}

fn routes(open: Arc<Open>) -> Router {
    let body_max = open.body_max;
    Router::new()
        .route("/v1/push", post(push))
        .route("/services/collector", post(collect))
        .route("/services/collector/event", post(collect))
        .route("/services/collector/health", get(async || "{\"text\":\"HEC is healthy\",\"code\":17}"))
        .layer(DefaultBodyLimit::max(body_max))
        .with_state(open)
}

async fn push(State(open): State<Arc<Open>>, headers: HeaderMap, body: Bytes) -> Response {
    match take(&open, &headers, &body, false).await {
        Ok(records) => (StatusCode::OK, format!("{{\"records\":{records}}}\n")).into_response(),
        Err(refused) => refused.plain(),
    }
}

/// What Splunk's senders expect to be told.
async fn collect(State(open): State<Arc<Open>>, headers: HeaderMap, body: Bytes) -> Response {
    match take(&open, &headers, &body, true).await {
        Ok(_) => (StatusCode::OK, "{\"text\":\"Success\",\"code\":0}\n").into_response(),
        Err(refused) => refused.splunk(),
    }
}

async fn take(open: &Open, headers: &HeaderMap, body: &[u8], splunk: bool) -> Result<u64, Refused> {
    if !open.key.admits(headers, body) {
        return Err(Refused {
            status: StatusCode::UNAUTHORIZED,
            said: "a valid token or signature is needed".to_owned(),
            code: 4,
        });
    }
    if open.spool.bytes() > open.spool_max {
        let said = "more is waiting than may wait; send again later".to_owned();
        return Err(Refused { status: StatusCode::TOO_MANY_REQUESTS, said, code: 9 });
    }
    let lines = tokio::task::block_in_place(|| body::lines(body, &open.limits, open.body_max, splunk));
    let lines = lines.map_err(|why| Refused::unread(why, open.body_max))?;
    let records = lines.records;
    match open.spool.put(lines.bytes).await {
        Told::Kept => Ok(records),
        Told::Full => {
            let said = "it cannot be kept right now; send again later".to_owned();
            Err(Refused { status: StatusCode::SERVICE_UNAVAILABLE, said, code: 9 })
        }
    }
}

impl Key {
    fn admits(&self, headers: &HeaderMap, body: &[u8]) -> bool {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        match self {
            Self::Anyone => true,
            Self::Token(token) => {
                let said = text(header::AUTHORIZATION.as_str()).unwrap_or_default();
                let said = said.strip_prefix("Bearer ").or_else(|| said.strip_prefix("Splunk ")).unwrap_or_default();
                same_secret(said, token)
            }
            Self::Signed(key) => {
                let said = SIGNATURES.iter().find_map(|name| text(name)?.strip_prefix("sha256="));
                let bytes = said.and_then(body::unhex);
                bytes.is_some_and(|bytes| hmac::verify(key, body, &bytes).is_ok())
            }
        }
    }
}

struct Refused {
    status: StatusCode,
    said: String,
    /// By Splunk's list.
    code: u8,
}

impl Refused {
    fn unread(why: Unread, most: usize) -> Self {
        let (status, said) = match why {
            Unread::NoRecord => {
                let said = "the body holds no JSON record; send JSON lines, an array or documents";
                (StatusCode::BAD_REQUEST, said.to_owned())
            }
            Unread::TooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, format!("the body unpacks to more than {most} bytes; send it in parts"))
            }
            Unread::Broken(why) => {
                (StatusCode::BAD_REQUEST, format!("nothing of the body is kept, for it cannot be read whole: {why}"))
            }
        };
        Self { status, said, code: 6 }
    }

    fn plain(&self) -> Response {
        self.answer(format!("{}\n", json!({ "error": self.said })))
    }

    fn splunk(&self) -> Response {
        self.answer(format!("{}\n", json!({ "text": self.said, "code": self.code })))
    }

    fn answer(&self, body: String) -> Response {
        let later = matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        match later {
            true => (self.status, [(header::RETRY_AFTER, RETRY_AFTER)], body).into_response(),
            false => (self.status, body).into_response(),
        }
    }
}

#[async_trait]
impl Source for Http {
    async fn next(&mut self, wait: Duration) -> Result<Option<Delivery>, SourceError> {
        self.listen().await?;
        self.files.next(wait).await
    }

    async fn ack(&mut self, receipt: Receipt) -> Result<(), SourceError> {
        self.files.ack(receipt).await?;
        for (path, read) in self.files.spent() {
            self.open.spool.remove(&path, read);
        }
        Ok(())
    }

    async fn nack(&mut self, receipt: Receipt) -> Result<(), SourceError> {
        self.files.nack(receipt).await
    }

    fn knows_its_end(&self) -> bool {
        true
    }

    fn idle(&self) -> Vec<String> {
        self.files.idle()
    }

    fn exhausted(&self) -> bool {
        self.files.exhausted()
    }

    fn resumes(&self) -> bool {
        true
    }

    fn resume(&mut self, known: Vec<Resumed>) {
        self.files.resume(known);
    }

    async fn check(&mut self) -> Vec<Check> {
        self.files.check().await
    }

    async fn lag(&mut self) -> Result<Lag, SourceError> {
        self.files.lag().await
    }

    async fn listing(&mut self, _since: Micros, _until: Micros) -> Result<Listing, SourceError> {
        Ok(Listing::NotProvable("senders keep no list of what they sent".to_owned()))
    }

    async fn refill(&mut self, gaps: &[Gap]) -> Result<Vec<String>, SourceError> {
        self.files.refill(gaps).await
    }
}

#[cfg(test)]
mod tests;
