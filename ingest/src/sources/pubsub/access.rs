//! How Pub/Sub is reached, and what may be done there.

use std::path::Path;
use std::time::Duration;

use google_cloud_auth::credentials::{self, Credentials};
use google_cloud_pubsub::Error;
use google_cloud_pubsub::client::{SchemaService, Subscriber, SubscriptionAdmin};
use google_cloud_pubsub::model::Subscription;
use keytrail_model::Micros;
use serde_json::Value;

use super::ExactlyOnce;
use crate::sources::{Check, SourceError, Surroundings};

pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(10);

const PERMISSIONS: [&str; 2] = ["pubsub.subscriptions.consume", "pubsub.subscriptions.get"];

const KEY_FILE: &str = "GOOGLE_APPLICATION_CREDENTIALS";

/// `S` of `projects/P/subscriptions/S`.
pub(super) fn short_name(name: &str, subscription: &str) -> Result<String, SourceError> {
    let parts: Vec<&str> = subscription.split('/').collect();
    match parts.as_slice() {
        ["projects", project, "subscriptions", short] if !project.is_empty() && !short.is_empty() => {
            Ok((*short).to_owned())
        }
        _ => Err(SourceError::config(
            name,
            format!("`subscription: {subscription}` must be written `projects/PROJECT/subscriptions/NAME`"),
        )),
    }
}

/// How clients are made. A client keeps its connection, so what a dead one leaves behind is left with a new client.
pub(super) struct Reach {
    name: String,
    endpoint: Option<String>,
    identity: Credentials,
}

impl Reach {
    pub(super) fn new(name: &str, endpoint: Option<&str>, around: &Surroundings) -> Result<Self, SourceError> {
        // Google's client ends the process where nobody has said which TLS it is to use; a second word changes nothing.
        drop(rustls::crypto::ring::default_provider().install_default());
        let local = endpoint.map(|endpoint| is_local(name, endpoint)).transpose()?.unwrap_or(false);
        let identity = match local {
            true => credentials::anonymous::Builder::new().build(),
            false => identity(name, around)?,
        };
        Ok(Self { name: name.to_owned(), endpoint: endpoint.map(str::to_owned), identity })
    }

    pub(super) async fn subscriber(&self) -> Result<Subscriber, SourceError> {
        let mut client = Subscriber::builder().with_credentials(self.identity.clone());
        if let Some(endpoint) = &self.endpoint {
            client = client.with_endpoint(endpoint);
        }
        client.build().await.map_err(|fault| self.fault(&fault))
    }

    pub(super) async fn admin(&self) -> Result<SubscriptionAdmin, SourceError> {
        let mut client = SubscriptionAdmin::builder().with_credentials(self.identity.clone());
        if let Some(endpoint) = &self.endpoint {
            client = client.with_endpoint(endpoint);
        }
        client.build().await.map_err(|fault| self.fault(&fault))
    }

    async fn permissions(&self) -> Result<SchemaService, SourceError> {
        let mut client = SchemaService::builder().with_credentials(self.identity.clone());
        if let Some(endpoint) = &self.endpoint {
            client = client.with_endpoint(endpoint);
        }
        client.build().await.map_err(|fault| self.fault(&fault))
    }

    fn fault(&self, fault: &dyn std::fmt::Display) -> SourceError {
        SourceError::config(&self.name, format!("cannot set up Pub/Sub: {fault}"))
    }
}

/// Whether it is the emulator on this machine, which knows no identities. Elsewhere it must be TLS.
fn is_local(name: &str, endpoint: &str) -> Result<bool, SourceError> {
    let url = url::Url::parse(endpoint)
        .map_err(|fault| SourceError::config(name, format!("`endpoint: {endpoint}` is not a URL: {fault}")))?;
    let loopback = match url.host() {
        Some(url::Host::Domain(host)) => host == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    match (url.scheme(), loopback) {
        ("https", _) => Ok(false),
        ("http", true) => Ok(true),
        _ => Err(SourceError::config(
            name,
            format!("`endpoint: {endpoint}` must be https: plain http is for an emulator on this machine only"),
        )),
    }
}

/// Of the file that the environment names, else of the machine that this runs on.
pub(super) fn identity(name: &str, around: &Surroundings) -> Result<Credentials, SourceError> {
    let fault = |fault: &dyn std::fmt::Display| {
        SourceError::config(name, format!("{KEY_FILE} does not name usable credentials: {fault}"))
    };
    let Some(path) = around.variable(KEY_FILE) else {
        return credentials::mds::Builder::default().build().map_err(|error| fault(&error));
    };
    let text = std::fs::read(Path::new(path)).map_err(|error| fault(&error))?;
    // What a parser says of a key file could quote it.
    let json: Value = serde_json::from_slice(&text).map_err(|_| fault(&"it is not JSON"))?;
    let kind = json.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let source = json.pointer("/source_credentials/type").and_then(Value::as_str).unwrap_or_default();
    let lasting = |kind: &str| matches!(kind, "service_account" | "authorized_user");
    if (lasting(&kind) || lasting(source)) && !around.allow_static_key {
        return Err(SourceError::config(
            name,
            format!(
                "{KEY_FILE} names a key that does not expire (`{kind}`): use workload identity federation or the \
                 service account of the machine, or allow static keys"
            ),
        ));
    }
    let built = match kind.as_str() {
        "external_account" => credentials::external_account::Builder::new(json).build(),
        "impersonated_service_account" => credentials::impersonated::Builder::new(json).build(),
        "service_account" => credentials::service_account::Builder::new(json).build(),
        "authorized_user" => credentials::user_account::Builder::new(json).build(),
        other => return Err(fault(&format!("`type: {other}` is not known"))),
    };
    built.map_err(|error| fault(&error))
}

/// `NOT_FOUND` and the like; empty where there was no answer.
fn code(fault: &Error) -> &'static str {
    match (fault.status(), fault.http_status_code()) {
        (Some(status), _) => status.code.name(),
        (None, Some(403)) => "PERMISSION_DENIED",
        (None, Some(404)) => "NOT_FOUND",
        (None, Some(501)) => "UNIMPLEMENTED",
        _ => "",
    }
}

pub(super) fn fault(what: &str, fault: &Error) -> SourceError {
    let remedy = match code(fault) {
        "NOT_FOUND" => "there is no such subscription: create it, or mend `subscription`",
        "PERMISSION_DENIED" => "grant roles/pubsub.subscriber on the subscription to the identity that this runs as",
        "UNAUTHENTICATED" => "the credentials were not accepted: look at the identity that this runs as",
        _ => return SourceError::unreachable(what, fault),
    };
    SourceError::Denied { what: what.to_owned(), fault: remedy.to_owned() }
}

async fn get(reach: &Reach, subscription: &str) -> Result<Result<Subscription, Error>, SourceError> {
    let admin = reach.admin().await?;
    let asked = admin.get_subscription().set_subscription(subscription).send();
    tokio::time::timeout(ANSWER_WITHIN, asked)
        .await
        .map_err(|_| SourceError::unreachable(subscription, "no answer in time: look at the network and the endpoint"))
}

/// Whether somebody answers for the subscription. Who may only pull may not ask about it, which is an answer as well.
pub(super) async fn reachable(reach: &Reach, subscription: &str) -> Result<(), SourceError> {
    match get(reach, subscription).await? {
        Err(error) if code(&error) != "PERMISSION_DENIED" => {
            Err(fault(&format!("asking about {subscription}"), &error))
        }
        _ => Ok(()),
    }
}

/// An error where a seek would bring back nothing that was acknowledged.
pub(super) async fn retains(reach: &Reach, subscription: &str, since: Micros) -> Result<(), SourceError> {
    let Ok(found) = get(reach, subscription).await? else { return Ok(()) };
    if found.retain_acked_messages || found.topic_message_retention_duration.is_some() {
        return Ok(());
    }
    Err(SourceError::Denied {
        what: format!("seeking {subscription} to {since}"),
        fault:
            "neither it nor its topic retains what was acknowledged: set `retain-acked-messages` on the subscription"
                .to_owned(),
    })
}

pub(super) async fn subscription_checks(reach: &Reach, subscription: &str, exactly_once: ExactlyOnce) -> Vec<Check> {
    let check = |what: &str, fault: Option<String>| Check { what: format!("{what} {subscription}"), fault };
    let found = match get(reach, subscription).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            return vec![check("reading", Some(fault(&format!("asking about {subscription}"), &error).to_string()))];
        }
        Err(error) => return vec![check("reading", Some(error.to_string()))],
    };
    let pushed = found.push_config.as_ref().is_some_and(|push| !push.push_endpoint.is_empty())
        || found.bigquery_config.is_some()
        || found.cloud_storage_config.is_some();
    let once = exactly_once == ExactlyOnce::Required && !found.enable_exactly_once_delivery;
    vec![
        check(
            "pulling from",
            match (pushed, found.detached) {
                (true, _) => Some("it pushes or exports its messages: create a pull subscription".to_owned()),
                (_, true) => Some("it is detached from its topic: create it anew".to_owned()),
                _ => None,
            },
        ),
        check(
            "delivery of",
            once.then(|| "it has no exactly-once delivery: enable it, or write `exactly_once: auto`".to_owned()),
        ),
    ]
}

pub(super) async fn permission_checks(reach: &Reach, subscription: &str) -> Vec<Check> {
    let client = match reach.permissions().await {
        Ok(client) => client,
        Err(error) => return vec![untold(subscription, &error.to_string())],
    };
    let asked = client.test_iam_permissions().set_resource(subscription).set_permissions(PERMISSIONS).send();
    let held = match tokio::time::timeout(ANSWER_WITHIN, asked).await {
        Ok(Ok(answer)) => answer.permissions,
        // The emulator knows no permissions.
        Ok(Err(error)) if matches!(code(&error), "UNIMPLEMENTED" | "NOT_FOUND") => {
            return vec![Check {
                what: format!("permissions on {subscription}, which its server does not tell"),
                fault: None,
            }];
        }
        Ok(Err(error)) => return vec![untold(subscription, &error.to_string())],
        Err(_) => return vec![untold(subscription, "no answer in time")],
    };
    let role =
        |permission: &str| if permission.ends_with("get") { "roles/pubsub.viewer" } else { "roles/pubsub.subscriber" };
    let check = |permission: &&str| Check {
        what: format!("{permission} on {subscription}"),
        fault: (!held.iter().any(|held| held == permission))
            .then(|| format!("grant {} on the subscription to the identity that this runs as", role(permission))),
    };
    PERMISSIONS.iter().map(check).collect()
}

fn untold(subscription: &str, fault: &str) -> Check {
    Check { what: format!("permissions on {subscription}"), fault: Some(fault.to_owned()) }
}
