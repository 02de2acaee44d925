//! How Amazon is reached: region, credentials and clients, and what its refusals mean.
//!
//! One chain of credentials serves every service. A key that does not expire is refused unless it is allowed.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::config::{Credentials, ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use keytrail_model::Micros;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsCredential};
use object_store::{BackoffConfig, ClientOptions, CredentialProvider, RetryConfig as StoreRetry};
use tokio::sync::Mutex;

use super::now;
use crate::sources::{SourceError, Surroundings};

/// A single answer; the longest that SQS holds back is 20 s.
const ANSWER: Duration = Duration::from_secs(35);

/// Credentials are asked for anew this long before they expire.
const MARGIN: i64 = 300 * Micros::SECOND;

const STATIC_KEY: &str = "the credentials do not expire; use a role (instance profile, ECS task role, web identity), a \
    session with AWS_SESSION_TOKEN, or allow static keys in the configuration";

/// The way to the services of one region.
#[derive(Clone)]
pub(super) struct Access {
    pub(super) config: SdkConfig,
    pub(super) region: String,
    endpoint: Option<String>,
    settings: Vec<(AmazonS3ConfigKey, String)>,
    credentials: Arc<Bridge>,
}

impl Access {
    pub(super) async fn open(
        source: &str,
        region: Option<&str>,
        endpoint: Option<&str>,
        around: &Surroundings,
    ) -> Result<Self, SourceError> {
        let region = region.or_else(|| around.variable("AWS_REGION")).or_else(|| around.variable("AWS_DEFAULT_REGION"));
        let region = region.ok_or_else(|| SourceError::config(source, "no `region`; write it, or set AWS_REGION"))?;
        let (given, http) = (given(source, around)?, aws_smithy_http_client::Builder::new());
        let http = http.tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(http);
        let mut loader = loader.region(Region::new(region.to_owned())).retry_config(RetryConfig::standard());
        let limit = TimeoutConfig::builder().connect_timeout(Duration::from_secs(5)).operation_attempt_timeout(ANSWER);
        loader = loader.timeout_config(limit.build());
        if let Some(given) = given {
            loader = loader.credentials_provider(given);
        }
        if let Some(endpoint) = endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        let config = loader.load().await;
        let provider = config.credentials_provider();
        let provider = provider.ok_or_else(|| SourceError::config(source, "no credentials can be had"))?;
        let credentials = Arc::new(Bridge { provider, allowed: around.allow_static_key, held: Mutex::default() });
        if let Err(Refused::Static) = credentials.current().await {
            return Err(SourceError::config(source, STATIC_KEY));
        }
        let endpoint = endpoint.map(str::to_owned);
        Ok(Self { config, region: region.to_owned(), endpoint, settings: settings(around), credentials })
    }

    /// A bucket, in the region that is given or else ours.
    pub(super) fn bucket(&self, bucket: &str, region: Option<&str>) -> Result<AmazonS3, SourceError> {
        let mut builder = AmazonS3Builder::new();
        for (key, value) in &self.settings {
            builder = builder.with_config(*key, value);
        }
        // A large object takes as long as it takes: what hangs is seen by the reader, which asks again from there.
        let client = ClientOptions::new().with_connect_timeout(Duration::from_secs(5)).with_timeout_disabled();
        builder = builder.with_client_options(client.with_allow_http(self.endpoint.is_some())).with_retry(retry());
        builder = builder.with_bucket_name(bucket).with_region(region.unwrap_or(&self.region));
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        let built = builder.with_credentials(Arc::clone(&self.credentials) as _).build();
        built.map_err(|fault| SourceError::unreachable(format!("the bucket `{bucket}`"), plain(&fault)))
    }
}

fn retry() -> StoreRetry {
    let (init_backoff, max_backoff) = (Duration::from_millis(100), Duration::from_secs(2));
    let backoff = BackoffConfig { init_backoff, max_backoff, base: 2.0 };
    StoreRetry { backoff, max_retries: 3, retry_timeout: Duration::from_secs(30) }
}

/// The credentials that the surroundings give, before any other.
fn given(source: &str, around: &Surroundings) -> Result<Option<Credentials>, SourceError> {
    let key = around.variable("AWS_ACCESS_KEY_ID").zip(around.variable("AWS_SECRET_ACCESS_KEY"));
    let Some((id, secret)) = key else { return Ok(None) };
    let token = around.variable("AWS_SESSION_TOKEN").map(str::to_owned);
    if token.is_none() && !around.allow_static_key {
        return Err(SourceError::config(source, STATIC_KEY));
    }
    Ok(Some(Credentials::new(id, secret, token, None, "environment")))
}

/// How S3 is reached, as Amazon's own tools name it; credentials and endpoints come by the one way.
fn settings(around: &Surroundings) -> Vec<(AmazonS3ConfigKey, String)> {
    let kept = |key: &AmazonS3ConfigKey| {
        use AmazonS3ConfigKey as Key;
        matches!(key, Key::VirtualHostedStyleRequest | Key::S3Endpoint | Key::RequestPayer | Key::Client(_))
    };
    let named = around.environment.iter().filter(|(_, value)| !value.is_empty());
    let known = named.filter_map(|(name, value)| {
        let key = name.to_ascii_lowercase();
        Some((key.starts_with("aws_").then(|| key.parse().ok())??, value.clone()))
    });
    known.filter(|(key, _)| kept(key)).collect()
}

/// Hands the chain's credentials to the object store.
struct Bridge {
    provider: SharedCredentialsProvider,
    allowed: bool,
    held: Mutex<Option<(Arc<AwsCredential>, Option<i64>)>>,
}

/// Its kind alone: the rest opens things.
impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridge").finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("{STATIC_KEY}")]
    Static,
    #[error("no credentials can be had: {0}")]
    None(String),
}

impl Bridge {
    async fn current(&self) -> Result<Arc<AwsCredential>, Refused> {
        let mut held = self.held.lock().await;
        if let Some((known, expires)) = held.as_ref()
            && expires.is_none_or(|expires| expires - MARGIN > now().0)
        {
            return Ok(Arc::clone(known));
        }
        let fresh = self.provider.provide_credentials().await.map_err(|fault| Refused::None(causes(&fault)))?;
        let token = fresh.session_token().map(str::to_owned);
        if token.is_none() && !self.allowed {
            return Err(Refused::Static);
        }
        let since = fresh.expiry().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        let expires = since.and_then(|since| i64::try_from(since.as_micros()).ok());
        let (key_id, secret_key) = (fresh.access_key_id().to_owned(), fresh.secret_access_key().to_owned());
        let fresh = Arc::new(AwsCredential { key_id, secret_key, token });
        *held = Some((Arc::clone(&fresh), expires));
        Ok(fresh)
    }
}

#[async_trait]
impl CredentialProvider for Bridge {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let current = self.current().await;
        current.map_err(|fault| object_store::Error::Generic { store: "S3", source: Box::new(fault) })
    }
}

/// Codes by which a service says that it will not, until somebody changes something.
const DENIED: &[&str] = &[
    "AccessDenied",
    "AccessDeniedException",
    "AuthFailure",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSecurity",
    "InvalidSecurityToken",
    "KMS.DisabledException",
    "KmsDisabled",
    "KmsAccessDenied",
    "SignatureDoesNotMatch",
    "UnauthorizedOperation",
    "UnrecognizedClientException",
];

/// Codes of credentials that were good once.
const EXPIRED: &[&str] = &["ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"];

/// A fault that carries a service's code and words.
pub(super) fn refused(what: impl Into<String>, code: &str, words: &str) -> SourceError {
    let what = what.into();
    if EXPIRED.contains(&code) {
        let fault = format!("{code}: {words}; the session is over: renew it, or use a role, which renews itself");
        return SourceError::Denied { what, fault };
    }
    if DENIED.contains(&code) {
        let fault = format!("{code}: {words}; grant the action to the role that reads, or give it another role");
        return SourceError::Denied { what, fault };
    }
    SourceError::unreachable(what, format!("{code}: {words}"))
}

/// What a client of the SDK says, without what it holds.
pub(super) fn fault<E>(what: impl Into<String>, error: &SdkError<E>) -> SourceError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match (error, error.code()) {
        (SdkError::ServiceError(_), Some(code)) => refused(what, code, error.message().unwrap_or("it gave no reason")),
        (SdkError::ServiceError(answer), None) => match answer.raw().status().as_u16() {
            401 | 403 => refused(what, "AccessDenied", "it answered without a reason"),
            status => SourceError::unreachable(what, format!("it answered {status} without a reason")),
        },
        (SdkError::TimeoutError(_), _) => SourceError::unreachable(what, "no answer in time"),
        (SdkError::ResponseError(_), _) => SourceError::unreachable(what, "the answer cannot be read"),
        (SdkError::DispatchFailure(failure), _) => {
            let cause = failure.as_connector_error().map_or_else(|| "cannot be sent".to_owned(), |cause| causes(cause));
            SourceError::unreachable(what, cause)
        }
        (SdkError::ConstructionFailure(_), _) => SourceError::unreachable(what, "the request cannot be made"),
        _ => SourceError::unreachable(what, "it failed"),
    }
}

/// What the object store says; `what` names action and object.
pub(super) fn store_fault(what: impl Into<String>, error: &object_store::Error) -> SourceError {
    let (what, words) = (what.into(), causes(error));
    let code = between(&words, "<Code>", "</Code>");
    if let Some(code) = code {
        return refused(what, code, between(&words, "<Message>", "</Message>").unwrap_or("it gave no reason"));
    }
    match error {
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            refused(what, "AccessDenied", "S3 answered 403")
        }
        _ => SourceError::unreachable(what, plain(error)),
    }
}

/// Without the body of the answer: one of an expired session repeats the session's token.
pub(super) fn plain(error: &object_store::Error) -> String {
    let words = causes(error);
    words.split('<').next().unwrap_or_default().trim_end_matches([':', ' ', '\n']).to_owned()
}

pub(super) fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    text.split_once(start)?.1.split_once(end).map(|(inner, _)| inner)
}

/// An error and what caused it, each once.
pub(super) fn causes(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_words = cause.to_string();
        if !words.contains(&cause_words) {
            words = format!("{words}: {cause_words}");
        }
        next = cause.source();
    }
    words
}
