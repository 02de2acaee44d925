//! Bearer tokens for SASL/OAUTHBEARER: from a file, exchanged at Microsoft Entra for a workload identity's assertion, or
//! from an Azure machine's metadata service for its managed identity.
//! Tokens stay in memory and out of every message.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::client::OAuthToken;
use serde::Deserialize;
use tokio::time::Instant;

use super::config::{EntraConfig, ManagedConfig, is_loopback};

const TOKEN_BYTES_MAX: u64 = 64 << 10;
const EXCHANGE_WAIT: Duration = Duration::from_secs(15);
/// The same address on every machine of Azure.
const METADATA: &str = "http://169.254.169.254";
/// Of a token that does not say how long it lives.
const LIFETIME_UNSAID_MS: i64 = 300_000;

pub(super) struct Tokens {
    from: From,
    /// What was exchanged last, and when to do it again.
    held: Mutex<Option<(Token, Instant)>>,
}

enum From {
    File(String),
    Asked { asked: Asked, http: reqwest::Client },
}

/// Who gives tokens.
pub(super) enum Asked {
    Entra(Entra),
    Managed(Managed),
}

/// A machine's own identity.
pub(super) struct Managed {
    at: url::Url,
}

#[derive(Clone)]
struct Token {
    text: String,
    expires_ms: i64,
}

impl Tokens {
    pub(super) fn of_file(file: &str) -> Self {
        Self { from: From::File(file.to_owned()), held: Mutex::default() }
    }

    pub(super) fn asked(asked: Asked) -> Result<Self, String> {
        let redirects = reqwest::redirect::Policy::none();
        let http = reqwest::Client::builder().timeout(EXCHANGE_WAIT).redirect(redirects);
        // A machine's metadata is its own: no proxy may answer.
        let http = if matches!(asked, Asked::Managed(_)) { http.no_proxy() } else { http };
        let http = http.build().map_err(|fault| format!("no HTTPS client for tokens can be made: {fault}"))?;
        Ok(Self { from: From::Asked { asked, http }, held: Mutex::default() })
    }

    /// Exchanges anew where more than half of the time is over. librdkafka asks later, from where nothing can wait.
    pub(super) async fn freshen(&self) -> Result<(), String> {
        let From::Asked { asked, http } = &self.from else { return Ok(()) };
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if held.as_ref().is_some_and(|(_, renew)| Instant::now() < *renew) {
            return Ok(());
        }
        match asked.exchange(http).await {
            Ok((token, lifetime)) => {
                let renew = Instant::now() + lifetime / 2;
                *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some((token, renew));
                Ok(())
            }
            // The one that is held may do for a while.
            Err(fault) => held.filter(|(token, _)| token.expires_ms > now_ms()).map(|_| ()).ok_or(fault),
        }
    }

    /// What librdkafka is given.
    pub(super) fn token(&self) -> Result<OAuthToken, String> {
        let token = match &self.from {
            From::File(file) => {
                let text = read(file)?;
                let expires_ms = expiry_ms(&text).unwrap_or_else(|| now_ms() + LIFETIME_UNSAID_MS);
                Token { text, expires_ms }
            }
            From::Asked { .. } => {
                let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).clone();
                held.map(|(token, _)| token).ok_or("no token was given yet")?
            }
        };
        let principal_name = claim(&token.text, |claims| claims.sub).unwrap_or_else(|| "keytrail".to_owned());
        Ok(OAuthToken { token: token.text, principal_name, lifetime_ms: token.expires_ms })
    }
}

/// A client assertion and where it is exchanged.
pub(super) struct Entra {
    url: String,
    client_id: String,
    token_file: String,
    scope: String,
}

#[derive(Deserialize)]
struct Exchanged {
    access_token: String,
    /// Seconds. The metadata service writes them as a text.
    expires_in: serde_json::Value,
}

impl Exchanged {
    fn seconds(&self) -> Option<u32> {
        let said = &self.expires_in;
        said.as_str().map_or_else(|| said.as_u64()?.try_into().ok(), |text| text.parse().ok())
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Refused {
    error: String,
    error_description: String,
}

impl Entra {
    pub(super) fn of(config: &EntraConfig, namespace: Option<&str>) -> Result<Self, String> {
        for (key, value) in
            [("client_id", &config.client_id), ("tenant", &config.tenant), ("token_file", &config.token_file)]
        {
            if value.is_empty() {
                return Err(format!("`sasl.oauthbearer.entra` lacks `{key}`"));
            }
        }
        let scope = config.scope.clone().or_else(|| namespace.map(|host| format!("https://{host}/.default")));
        let scope = scope.ok_or("`sasl.oauthbearer.entra` lacks `scope`, such as api://<application>/.default")?;
        let base = config.endpoint.as_deref().unwrap_or("https://login.microsoftonline.com");
        let parsed = url::Url::parse(base).map_err(|fault| format!("`endpoint: {base}` is no URL: {fault}"))?;
        if parsed.scheme() != "https" && !parsed.host_str().is_some_and(is_loopback) {
            return Err(format!("`endpoint: {base}` would get the assertion unencrypted: use https"));
        }
        let url = format!("{}/{}/oauth2/v2.0/token", base.trim_end_matches('/'), config.tenant);
        Ok(Self { url, client_id: config.client_id.clone(), token_file: config.token_file.clone(), scope })
    }

    fn request(&self, http: &reqwest::Client) -> Result<reqwest::RequestBuilder, String> {
        let assertion = read(&self.token_file)?;
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &self.client_id),
            ("scope", &self.scope),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", &assertion),
        ];
        Ok(http.post(&self.url).form(&form))
    }
}

impl Managed {
    pub(super) fn of(config: &ManagedConfig, namespace: Option<&str>) -> Result<Self, String> {
        let resource = config.resource.clone().or_else(|| namespace.map(|host| format!("https://{host}")));
        let resource =
            resource.ok_or("`sasl.oauthbearer.managed_identity` lacks `resource`, such as api://<application>")?;
        let base = config.endpoint.as_deref().unwrap_or(METADATA);
        let mut at = url::Url::parse(base).map_err(|fault| format!("`endpoint: {base}` is no URL: {fault}"))?;
        if base != METADATA && !at.host_str().is_some_and(is_loopback) {
            return Err(format!("`endpoint: {base}` is another machine: a managed identity is asked for on this one"));
        }
        at.set_path("/metadata/identity/oauth2/token");
        at.query_pairs_mut().append_pair("api-version", "2018-02-01").append_pair("resource", &resource);
        if let Some(id) = &config.client_id {
            at.query_pairs_mut().append_pair("client_id", id);
        }
        Ok(Self { at })
    }
}

impl Asked {
    async fn exchange(&self, http: &reqwest::Client) -> Result<(Token, Duration), String> {
        match self {
            Self::Entra(entra) => answered(&entra.url, entra.request(http)?).await,
            Self::Managed(Managed { at }) => {
                answered("the metadata service", http.get(at.clone()).header("Metadata", "true")).await
            }
        }
    }
}

/// The token of an answer, and how long it lives.
async fn answered(url: &str, request: reqwest::RequestBuilder) -> Result<(Token, Duration), String> {
    let unreachable = |fault: reqwest::Error| format!("{url} cannot be asked for a token: {fault}");
    let mut answer = request.send().await.map_err(unreachable)?;
    let status = answer.status();
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(unreachable)? {
        body.extend_from_slice(&part);
        if body.len() as u64 > TOKEN_BYTES_MAX {
            return Err(format!("{url} answers with more than {TOKEN_BYTES_MAX} bytes"));
        }
    }
    if !status.is_success() {
        let refused: Refused = serde_json::from_slice(&body).unwrap_or_default();
        let why: String = refused.error_description.chars().take(200).collect();
        return Err(format!("{url} gives no token: {status} {} {why}", refused.error));
    }
    let exchanged = serde_json::from_slice::<Exchanged>(&body).ok();
    let exchanged = exchanged.and_then(|exchanged| Some((exchanged.seconds()?, exchanged.access_token)));
    let (seconds, text) = exchanged.ok_or_else(|| format!("{url} answers with no access_token and expires_in"))?;
    let expires_ms = now_ms() + i64::from(seconds) * 1000;
    Ok((Token { text, expires_ms }, Duration::from_secs(u64::from(seconds))))
}

fn read(file: &str) -> Result<String, String> {
    let fault = |fault: std::io::Error| format!("token file {file} cannot be read: {fault}");
    if std::fs::metadata(file).map_err(fault)?.len() > TOKEN_BYTES_MAX {
        return Err(format!("token file {file} is longer than {TOKEN_BYTES_MAX} bytes"));
    }
    let text = std::fs::read_to_string(file).map_err(fault)?;
    match text.trim() {
        "" => Err(format!("token file {file} is empty")),
        token => Ok(token.to_owned()),
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Claims {
    exp: Option<f64>,
    sub: Option<String>,
}

/// Of a JWT, unverified: the broker does that.
fn claim<T>(token: &str, of: impl Fn(Claims) -> Option<T>) -> Option<T> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?.trim_end_matches('=')).ok()?;
    of(serde_json::from_slice(&payload).ok()?)
}

#[expect(clippy::cast_possible_truncation, reason = "saturates, which is far enough")]
fn expiry_ms(token: &str) -> Option<i64> {
    claim(token, |claims| claims.exp).map(|seconds| (seconds * 1000.0) as i64)
}

#[expect(clippy::disallowed_methods, reason = "librdkafka wants to know by the wall clock when a token expires")]
fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
