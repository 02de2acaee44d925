//! Requests to the audit log: what GitHub describes, its limits, and what its refusals mean.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use keytrail_model::Micros;
use reqwest::header::{HeaderMap, LINK, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use tokio::time::{Instant, sleep};
use url::Url;

use super::GithubConfig;
use super::access::Access;
use super::records::Window;
use crate::sources::durations::now;
use crate::sources::{SourceError, Surroundings};

pub(super) const VERSION: &str = "2022-11-28";

const ANSWER_WITHIN: Duration = Duration::from_mins(1);
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// How often one page is asked for.
const TRIES: u32 = 4;

/// A longer rest is not sat through with a delivery open: it is given back.
const REST_HERE: Duration = Duration::from_secs(10);

/// Where GitHub names no time, as it advises; and the longest that is believed.
const REST_USUAL: Duration = Duration::from_mins(1);
const REST_MAX: Duration = Duration::from_secs(3700);

const REFUSED: &str = "the token was not accepted: renew it, or look at the app's key and installation";
const MISSING: &str = "there is no such audit log, or the token may not read it: it needs `read:audit_log` (an app the \
    permission `organization_administration: read`), its user must own the organization or enterprise, and the audit log's \
    API is part of GitHub Enterprise Cloud";

pub(super) struct Api {
    client: reqwest::Client,
    base: Url,
    path: String,
    include: &'static str,
    page: u32,
    access: Access,
    body_max: usize,
    /// Before the second try; doubled with each.
    pub(super) pause: Duration,
    rest: Mutex<Option<Instant>>,
}

pub(super) struct Page {
    pub(super) body: Vec<u8>,
    /// The cursor that the next page begins after.
    pub(super) next: Option<String>,
}

/// What follows from an answer that is no page.
enum Refusal {
    /// Not before this long.
    Rest(Duration),
    Token,
    Again(String),
    Final(SourceError),
}

impl Api {
    pub(super) fn new(name: &str, config: &GithubConfig, around: &Surroundings) -> Result<Self, SourceError> {
        let fault = |fault: String| SourceError::config(name, fault);
        let path = match (&config.enterprise, &config.org) {
            (Some(slug), None) => format!("enterprises/{}/audit-log", checked(name, slug)?),
            (None, Some(slug)) => format!("orgs/{}/audit-log", checked(name, slug)?),
            _ => return Err(fault("exactly one of `enterprise` and `org` says whose audit log it is".to_owned())),
        };
        if !(1..=100).contains(&config.page) {
            return Err(fault(format!("`page: {}` must be 1 to 100", config.page)));
        }
        let client = reqwest::Client::builder()
            .timeout(ANSWER_WITHIN)
            .connect_timeout(CONNECT_WITHIN)
            // A token goes nowhere but where the configuration says.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent("keytrail")
            .build()
            .map_err(|error| fault(format!("cannot set up TLS: {error}")))?;
        Ok(Self {
            client,
            base: base(name, &config.api)?,
            path,
            include: config.include.word(),
            page: config.page,
            access: Access::new(name, config, around)?,
            body_max: around.limits.document_bytes_max,
            pause: Duration::from_secs(1),
            rest: Mutex::new(None),
        })
    }

    pub(super) fn place(&self) -> String {
        format!("{}{}", self.base, self.path)
    }

    pub(super) fn page_size(&self) -> u32 {
        self.page
    }

    /// Until when GitHub has asked to be left alone.
    pub(super) fn resting_until(&self) -> Option<Instant> {
        *self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rest(&self, wait: Duration) {
        let until = Instant::now() + wait.min(REST_MAX);
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        *rest = Some(rest.map_or(until, |known| known.max(until)));
    }

    /// One page of a window, oldest first, after the cursor.
    pub(super) async fn page(&self, window: &Window, after: Option<&str>, size: u32) -> Result<Page, SourceError> {
        let url = self.url(window, after, size)?;
        let (mut pause, mut renewed, mut told) = (self.pause, false, String::new());
        for _ in 0..TRIES {
            let rest =
                self.resting_until().map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
            if rest > REST_HERE {
                told = format!("GitHub asks for a rest of {}s", rest.as_secs());
                break;
            }
            sleep(rest).await;
            match self.once(url.clone()).await {
                Ok(page) => return Ok(page),
                Err(Refusal::Final(fault)) => return Err(fault),
                Err(Refusal::Token) if renewed => return Err(self.denied(REFUSED)),
                Err(Refusal::Token) => {
                    renewed = true;
                    self.access.forget().await;
                }
                Err(Refusal::Rest(wait)) => {
                    self.rest(wait);
                    told = format!("GitHub asks for a rest of {}s", wait.as_secs());
                }
                Err(Refusal::Again(why)) => {
                    told = why;
                    sleep(pause).await;
                    pause *= 2;
                }
            }
        }
        Err(SourceError::unreachable(self.place(), told))
    }

    fn url(&self, window: &Window, after: Option<&str>, size: u32) -> Result<Url, SourceError> {
        let mut url = self.base.join(&self.path).map_err(|fault| SourceError::unreachable(self.place(), fault))?;
        url.query_pairs_mut()
            .append_pair("phrase", &format!("created:{}..{}", window.start, window.end))
            .append_pair("include", self.include)
            .append_pair("order", "asc")
            .append_pair("per_page", &size.to_string())
            .extend_pairs(after.map(|after| ("after", after)));
        Ok(url)
    }

    async fn once(&self, url: Url) -> Result<Page, Refusal> {
        let token = self.access.token(&self.client, &self.base).await.map_err(Refusal::Final)?;
        let request = self
            .client
            .get(url)
            .bearer_auth(token)
            .header("accept", "application/vnd.github+json")
            .header("x-github-api-version", VERSION);
        let answer = request.send().await.map_err(|fault| Refusal::Again(plain(fault)))?;
        let headers = answer.headers().clone();
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => return Err(Refusal::Token),
            status => return Err(self.refusal(status, &headers)),
        }
        let body = whole(answer, self.body_max).await.map_err(Refusal::Again)?;
        if remaining(&headers) == Some(0) {
            self.rest(reset(&headers).unwrap_or(REST_USUAL));
        }
        Ok(Page { body, next: next_cursor(&headers, &self.base) })
    }

    fn refusal(&self, status: StatusCode, headers: &HeaderMap) -> Refusal {
        let limited = headers.contains_key(RETRY_AFTER) || remaining(headers) == Some(0);
        match status {
            StatusCode::TOO_MANY_REQUESTS => Refusal::Rest(wait(headers)),
            StatusCode::FORBIDDEN if limited => Refusal::Rest(wait(headers)),
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => Refusal::Final(self.denied(MISSING)),
            status if status.is_server_error() => Refusal::Again(format!("GitHub answers {status}")),
            status => Refusal::Final(SourceError::unreachable(self.place(), format!("GitHub answers {status}"))),
        }
    }

    fn denied(&self, fault: &str) -> SourceError {
        SourceError::Denied { what: format!("reading {}", self.place()), fault: fault.to_owned() }
    }
}

/// A name as GitHub gives them out, so that it cannot lead elsewhere.
fn checked<'a>(name: &str, slug: &'a str) -> Result<&'a str, SourceError> {
    let fine = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    match !slug.is_empty() && slug.chars().all(fine) {
        true => Ok(slug),
        false => Err(SourceError::config(name, format!("`{slug}` is no name of an organization or enterprise"))),
    }
}

/// TLS, but for a test on this machine. Ends with a slash, so that paths are put behind it.
fn base(name: &str, api: &str) -> Result<Url, SourceError> {
    let fault = |fault: String| SourceError::config(name, format!("`api: {api}` {fault}"));
    let url =
        Url::parse(&format!("{}/", api.trim_end_matches('/'))).map_err(|error| fault(format!("is no URL: {error}")))?;
    let local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    match url.scheme() == "https" || (url.scheme() == "http" && local) {
        true => Ok(url),
        false => Err(fault("must be https".to_owned())),
    }
}

/// Without the URL, which says more than is needed.
pub(super) fn plain(fault: reqwest::Error) -> String {
    fault.without_url().to_string()
}

pub(super) async fn whole(mut answer: Response, most: usize) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(bytes) = answer.chunk().await.map_err(plain)? {
        if body.len() + bytes.len() > most {
            return Err(format!("the answer is larger than {most} bytes"));
        }
        body.extend_from_slice(&bytes);
    }
    Ok(body)
}

fn number(headers: &HeaderMap, name: &str) -> Option<i64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

fn remaining(headers: &HeaderMap) -> Option<i64> {
    number(headers, "x-ratelimit-remaining")
}

/// How long until the hour of the limit is over; a second more, since clocks differ.
fn reset(headers: &HeaderMap) -> Option<Duration> {
    let at = number(headers, "x-ratelimit-reset")?;
    let seconds = at.saturating_sub(now().0 / Micros::SECOND).saturating_add(1);
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

fn wait(headers: &HeaderMap) -> Duration {
    let asked = number(headers, "retry-after").and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
    asked.or_else(|| (remaining(headers) == Some(0)).then(|| reset(headers)).flatten()).unwrap_or(REST_USUAL)
}

/// Only the cursor is taken from the link: the request is always our own.
fn next_cursor(headers: &HeaderMap, base: &Url) -> Option<String> {
    let links = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    let mut links = links.flat_map(|value| value.split(','));
    let next =
        links.find(|link| link.split(';').skip(1).any(|word| matches!(word.trim(), "rel=\"next\"" | "rel=next")))?;
    let target = next.split(';').next()?.trim().strip_prefix('<')?.strip_suffix('>')?;
    let url = base.join(target).ok()?;
    url.query_pairs().find(|(key, _)| key == "after").map(|(_, value)| value.into_owned())
}
