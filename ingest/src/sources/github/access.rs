//! Who asks: a personal access token, or a GitHub App that is given a token for an hour at a time.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use keytrail_model::Micros;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use super::api::{VERSION, plain, whole};
use super::{AppConfig, GithubConfig};
use crate::sources::durations::now;
use crate::sources::{SourceError, Surroundings};

/// A token is renewed this long before it ends.
const EARLY: i64 = 300 * Micros::SECOND;

const TOKEN_BYTES_MAX: usize = 64 << 10;

pub(super) enum Access {
    File(PathBuf),
    Word(String),
    App(App),
}

pub(super) struct App {
    config: AppConfig,
    key: RsaKeyPair,
    held: Mutex<Option<Token>>,
}

struct Token {
    word: String,
    ends: Micros,
}

#[derive(Deserialize)]
struct Given {
    token: String,
    expires_at: Micros,
}

impl Access {
    pub(super) fn new(name: &str, config: &GithubConfig, around: &Surroundings) -> Result<Self, SourceError> {
        let fault = |fault: String| SourceError::config(name, fault);
        let access = match (&config.token_file, &config.token_env, &config.app) {
            (None, None, Some(app)) => return Ok(Self::App(App::new(name, app)?)),
            (Some(path), None, None) => Self::File(path.clone()),
            (None, Some(variable), None) => match around.variable(variable) {
                Some(word) => Self::Word(word.to_owned()),
                None => return Err(fault(format!("`token_env`: the variable {variable} is not set"))),
            },
            _ => return Err(fault("exactly one of `app`, `token_file` and `token_env` says who asks".to_owned())),
        };
        match around.allow_static_key {
            true => Ok(access),
            false => Err(fault(
                "a personal access token is a key that stays: use `app` with a GitHub App, or allow static keys"
                    .to_owned(),
            )),
        }
    }

    pub(super) async fn token(&self, client: &reqwest::Client, base: &Url) -> Result<String, SourceError> {
        match self {
            Self::Word(word) => Ok(word.clone()),
            Self::File(path) => read(path).await,
            Self::App(app) => app.token(client, base).await,
        }
    }

    /// After it was refused. A file is read each time anyway.
    pub(super) async fn forget(&self) {
        if let Self::App(app) = self {
            *app.held.lock().await = None;
        }
    }
}

async fn read(path: &Path) -> Result<String, SourceError> {
    let text = tokio::fs::read_to_string(path).await;
    let text = text.map_err(|fault| SourceError::unreachable(format!("`token_file: {}`", path.display()), fault))?;
    Ok(text.trim().to_owned())
}

impl App {
    fn new(name: &str, config: &AppConfig) -> Result<Self, SourceError> {
        let fault =
            |fault: &str| SourceError::config(name, format!("`key_file: {}` {fault}", config.key_file.display()));
        let text =
            std::fs::read_to_string(&config.key_file).map_err(|error| fault(&format!("cannot be read: {error}")))?;
        let key = key(&text).ok_or_else(|| fault("holds no RSA private key in PEM, as GitHub gives it out"))?;
        Ok(Self { config: config.clone(), key, held: Mutex::new(None) })
    }

    async fn token(&self, client: &reqwest::Client, base: &Url) -> Result<String, SourceError> {
        let mut held = self.held.lock().await;
        if let Some(token) = held.as_ref().filter(|token| now().0 < token.ends.0 - EARLY) {
            return Ok(token.word.clone());
        }
        let given = self.ask(client, base).await?;
        *held = Some(Token { word: given.token.clone(), ends: given.expires_at });
        Ok(given.token)
    }

    async fn ask(&self, client: &reqwest::Client, base: &Url) -> Result<Given, SourceError> {
        let what = format!("a token for installation {} of app {}", self.config.installation, self.config.id);
        let unreachable = |fault: String| SourceError::unreachable(&what, fault);
        let path = format!("app/installations/{}/access_tokens", self.config.installation);
        let url = base.join(&path).map_err(|fault| unreachable(fault.to_string()))?;
        let word = self.word(now()).ok_or_else(|| unreachable("the key cannot sign".to_owned()))?;
        let request = client
            .post(url)
            .bearer_auth(word)
            .header("accept", "application/vnd.github+json")
            .header("x-github-api-version", VERSION);
        let answer = request.send().await.map_err(|fault| unreachable(plain(fault)))?;
        let status = answer.status();
        if matches!(status.as_u16(), 401 | 403 | 404) {
            return Err(SourceError::Denied {
                what,
                fault: format!(
                    "GitHub answers {status}: look at `id`, `installation` and `key_file`, and at the clock"
                ),
            });
        }
        if !status.is_success() {
            return Err(unreachable(format!("GitHub answers {status}")));
        }
        let body = whole(answer, TOKEN_BYTES_MAX).await.map_err(unreachable)?;
        // The parser's own words could quote the token.
        serde_json::from_slice(&body).map_err(|_| unreachable("GitHub's answer holds no token".to_owned()))
    }

    /// What the app shows of itself: signed, and good for nine minutes of the ten that are allowed. Begins a minute ago,
    /// as GitHub advises against clocks that are fast.
    fn word(&self, now: Micros) -> Option<String> {
        let second = now.0 / Micros::SECOND;
        let claims = serde_json::json!({ "iat": second - 60, "exp": second + 540, "iss": self.config.id.to_string() });
        let head = URL_SAFE_NO_PAD.encode(br#"{"alg":"RS256","typ":"JWT"}"#);
        let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).ok()?;
        Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// PKCS #1 as GitHub gives it out, or PKCS #8.
fn key(text: &str) -> Option<RsaKeyPair> {
    let body = text.lines().map(str::trim).skip_while(|line| !line.starts_with("-----BEGIN")).skip(1);
    let body: String = body.take_while(|line| !line.starts_with("-----END")).collect();
    let bytes = STANDARD.decode(body).ok()?;
    RsaKeyPair::from_der(&bytes).or_else(|_| RsaKeyPair::from_pkcs8(&bytes)).ok()
}
