//! How a topic of Kafka is written in the configuration, and what of it librdkafka is told. Opens no connection.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use serde::Deserialize;

use super::token::{Asked, Entra, Managed, Tokens};
use crate::Limits;
use crate::sources::{SourceError, Surroundings, durations};

const EVENT_HUBS_PORT: &str = ":9093";

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaConfig {
    /// `host:port` of some brokers; the others are learnt from them.
    pub brokers: Vec<String>,
    pub topics: Vec<String>,
    /// The consumer group; `keytrail` if nothing is said.
    pub group: Option<String>,
    /// `group.instance.id`, under which a restart within `session` moves no partition; `replica` takes the replica's name.
    pub instance: Option<String>,
    /// How long a silent replica keeps its partitions, such as `45s`.
    pub session: Option<String>,
    pub tls: bool,
    /// The certificates to trust, as PEM; else those of the system.
    pub ca_file: Option<String>,
    pub sasl: Option<SaslConfig>,
    /// The brokers are an Event Hubs namespace.
    pub event_hubs: bool,
    /// Allows unencrypted connections to other machines.
    pub insecure_plaintext: bool,
    /// How much one answer of a broker may hold; a larger message comes all the same, alone.
    pub fetch_bytes_max: Option<u32>,
    /// Messages that are handed over at once, at most.
    pub batch: Option<usize>,
    /// How long messages are gathered, such as `200ms`.
    pub linger: Option<String>,
    /// Where a group begins that has committed nothing yet.
    pub start: Start,
    /// What tests set beyond that.
    #[serde(skip)]
    pub(super) tuned: Vec<(&'static str, &'static str)>,
}

impl KafkaConfig {
    /// Files that it names.
    pub(crate) fn files(&mut self) -> Vec<&mut String> {
        let mut files: Vec<&mut String> = self.ca_file.iter_mut().collect();
        if let Some(SaslConfig { oauthbearer, plain }) = &mut self.sasl {
            files.extend(plain.iter_mut().flat_map(|plain| &mut plain.password_file));
            if let Some(OauthConfig { token_file, entra, .. }) = oauthbearer {
                files.extend(token_file.iter_mut().chain(entra.iter_mut().map(|entra| &mut entra.token_file)));
            }
        }
        files
    }

    /// Environment variables that it names.
    pub(crate) fn variables(&self) -> Vec<String> {
        let plain = self.sasl.iter().flat_map(|sasl| &sasl.plain);
        plain.filter_map(|plain| plain.password_env.clone()).collect()
    }
}

/// One of both.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SaslConfig {
    pub oauthbearer: Option<OauthConfig>,
    pub plain: Option<PlainConfig>,
}

/// One of these.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OauthConfig {
    /// A file with the token itself, read again before it expires.
    pub token_file: Option<String>,
    pub entra: Option<EntraConfig>,
    pub managed_identity: Option<ManagedConfig>,
}

/// The identity of the Azure machine that this runs on.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ManagedConfig {
    /// Which of several.
    pub client_id: Option<String>,
    /// `https://<namespace>` of an Event Hubs namespace if nothing is said.
    pub resource: Option<String>,
    /// In place of the machine's metadata service.
    pub endpoint: Option<String>,
}

/// A workload identity that Microsoft Entra exchanges for an access token.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EntraConfig {
    pub client_id: String,
    pub tenant: String,
    /// The file with the client assertion, such as that of a projected service account.
    pub token_file: String,
    /// `https://<namespace>/.default` of an Event Hubs namespace if nothing is said.
    pub scope: Option<String>,
    /// In place of the public cloud's login.
    pub endpoint: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlainConfig {
    pub username: String,
    /// The environment variable or the file that holds the password.
    pub password_env: Option<String>,
    pub password_file: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    #[default]
    Earliest,
    Latest,
}

/// The configuration, checked. Holds secrets, so it has no `Debug`.
pub(super) struct Settings {
    pub(super) name: String,
    pub(super) brokers: String,
    pub(super) topics: Vec<String>,
    pub(super) group: String,
    pub(super) start: Start,
    pub(super) batch: usize,
    pub(super) linger: Duration,
    pub(super) limits: Limits,
    pub(super) tokens: Option<Arc<Tokens>>,
    client: BTreeMap<&'static str, String>,
    member: BTreeMap<&'static str, String>,
}

impl Settings {
    pub(super) fn of(name: &str, config: &KafkaConfig, around: &Surroundings) -> Result<Self, SourceError> {
        let fault = |fault: String| SourceError::config(name, fault);
        let brokers = brokers(config).map_err(fault)?;
        if config.topics.is_empty() || config.topics.iter().any(String::is_empty) {
            return Err(fault("`topics` names no topic: list at least one".to_owned()));
        }
        let tokens = tokens(config, &brokers).map_err(fault)?.map(Arc::new);
        let mut client = client(config, &brokers).map_err(fault)?;
        client.extend(sasl(config, around).map_err(fault)?);
        let group = config.group.clone().unwrap_or_else(|| "keytrail".to_owned());
        client.insert("group.id", group.clone());
        let linger = span("linger", config.linger.as_deref(), "200ms").map_err(fault)?;
        Ok(Self {
            name: name.to_owned(),
            brokers: brokers.join(","),
            topics: config.topics.clone(),
            group,
            start: config.start,
            batch: config.batch.unwrap_or(2000).max(1),
            linger,
            limits: around.limits.clone(),
            tokens,
            client,
            member: member(config, around).map_err(fault)?,
        })
    }

    /// For one that asks, and joins no group.
    pub(super) fn asking(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        self.client.iter().for_each(|(key, value)| {
            config.set(*key, value);
        });
        config.set_log_level(RDKafkaLogLevel::Info);
        config
    }

    /// For the member of the group.
    pub(super) fn consuming(&self) -> ClientConfig {
        let mut config = self.asking();
        self.member.iter().for_each(|(key, value)| {
            config.set(*key, value);
        });
        config
    }
}

fn brokers(config: &KafkaConfig) -> Result<Vec<String>, String> {
    if config.brokers.is_empty() {
        return Err("`brokers` names no broker: list at least one as host:port".to_owned());
    }
    let port = |broker: &String| match config.event_hubs && !broker.contains(':') {
        true => format!("{broker}{EVENT_HUBS_PORT}"),
        false => broker.clone(),
    };
    let brokers: Vec<_> = config.brokers.iter().map(port).collect();
    if let Some(odd) = brokers.iter().find(|broker| broker.contains([',', '/']) || host(broker).is_empty()) {
        return Err(format!("broker `{odd}` is not host:port"));
    }
    let encrypted = config.tls || config.event_hubs;
    match brokers.iter().find(|broker| !is_loopback(host(broker))) {
        Some(far) if !encrypted && !config.insecure_plaintext => Err(format!(
            "broker `{far}` is another machine and `tls` is off: set `tls: true`, or `insecure_plaintext: true` if \
             anybody on the way may read and change the logs"
        )),
        _ => Ok(brokers),
    }
}

fn host(broker: &str) -> &str {
    let host = broker.rsplit_once(':').map_or(broker, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

pub(super) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn span(key: &str, text: Option<&str>, default: &str) -> Result<Duration, String> {
    let text = text.unwrap_or(default);
    durations::read(text).ok_or_else(|| format!("`{key}: {text}` is not a duration such as `{default}`"))
}

fn client(config: &KafkaConfig, brokers: &[String]) -> Result<BTreeMap<&'static str, String>, String> {
    let encrypted = config.tls || config.event_hubs;
    let sasl = config.sasl.is_some();
    if config.event_hubs && !sasl {
        let said = "Event Hubs wants `sasl`: use `oauthbearer.managed_identity`, or `oauthbearer.entra` with a workload identity";
        return Err(said.to_owned());
    }
    let protocol = match (encrypted, sasl) {
        (true, true) => "SASL_SSL",
        (true, false) => "SSL",
        (false, true) => "SASL_PLAINTEXT",
        (false, false) => "PLAINTEXT",
    };
    let mut client = BTreeMap::from([
        ("bootstrap.servers", brokers.join(",")),
        ("client.id", "keytrail".to_owned()),
        ("security.protocol", protocol.to_owned()),
        ("isolation.level", "read_committed".to_owned()),
        ("enable.auto.commit", "false".to_owned()),
        ("enable.auto.offset.store", "false".to_owned()),
        ("auto.offset.reset", "error".to_owned()),
        ("allow.auto.create.topics", "false".to_owned()),
        ("reconnect.backoff.max.ms", "3000".to_owned()),
    ]);
    if let Some(file) = &config.ca_file {
        if !encrypted {
            return Err(format!("`ca_file: {file}` has no use while `tls` is off"));
        }
        client.insert("ssl.ca.location", file.clone());
    }
    if config.event_hubs {
        // What Microsoft's page on Kafka clients gives: its gateway drops what is silent for four minutes.
        client.insert("socket.timeout.ms", "60000".to_owned());
        client.insert("topic.metadata.refresh.interval.ms", "180000".to_owned());
        client.insert("metadata.max.age.ms", "180000".to_owned());
        client.insert("connections.max.idle.ms", "180000".to_owned());
        client.insert("socket.keepalive.enable", "true".to_owned());
    } else {
        client.insert("topic.metadata.refresh.interval.ms", "60000".to_owned());
    }
    Ok(client)
}

fn member(config: &KafkaConfig, around: &Surroundings) -> Result<BTreeMap<&'static str, String>, String> {
    let session = span("session", config.session.as_deref(), "45s")?;
    let bounds = Duration::from_secs(1)..=Duration::from_mins(5);
    if !bounds.contains(&session) {
        return Err(format!("`session: {session:?}` is not within 1s and 5m"));
    }
    let fetch = config.fetch_bytes_max.unwrap_or(1 << 20).clamp(1 << 16, 512 << 20);
    let mut member = BTreeMap::from([
        ("session.timeout.ms", session.as_millis().to_string()),
        ("heartbeat.interval.ms", (session.as_millis() / 10).clamp(100, 3000).to_string()),
        ("partition.assignment.strategy", "cooperative-sticky".to_owned()),
        ("enable.partition.eof", "true".to_owned()),
        ("queued.max.messages.kbytes", "4096".to_owned()),
        ("fetch.max.bytes", fetch.max(1_000_000).to_string()),
        // Unpacked it is ten times as much, and stays until the last message of it was taken.
        ("max.partition.fetch.bytes", (fetch / 4).clamp(1 << 16, 1 << 20).to_string()),
        ("fetch.wait.max.ms", "250".to_owned()),
        ("fetch.queue.backoff.ms", "100".to_owned()),
        ("statistics.interval.ms", "2000".to_owned()),
    ]);
    match config.instance.as_deref() {
        None => {}
        Some("replica") if around.replica.is_empty() => {
            return Err("`instance: replica` has no name to take: give the replica one, or name it here".to_owned());
        }
        Some("replica") => drop(member.insert("group.instance.id", around.replica.clone())),
        Some(instance) => drop(member.insert("group.instance.id", instance.to_owned())),
    }
    member.extend(config.tuned.iter().map(|(key, value)| (*key, (*value).to_owned())));
    Ok(member)
}

fn tokens(config: &KafkaConfig, brokers: &[String]) -> Result<Option<Tokens>, String> {
    let Some(oauth) = config.sasl.as_ref().and_then(|sasl| sasl.oauthbearer.as_ref()) else { return Ok(None) };
    let namespace = brokers.first().filter(|_| config.event_hubs).map(|broker| host(broker));
    let asked = match (&oauth.token_file, &oauth.entra, &oauth.managed_identity) {
        (Some(file), None, None) => return Ok(Some(Tokens::of_file(file))),
        (None, Some(entra), None) => Asked::Entra(Entra::of(entra, namespace)?),
        (None, None, Some(managed)) => Asked::Managed(Managed::of(managed, namespace)?),
        _ => {
            let said = "`sasl.oauthbearer` wants exactly one of `token_file`, `entra` and `managed_identity`";
            return Err(said.to_owned());
        }
    };
    Tokens::asked(asked).map(Some)
}

fn sasl(config: &KafkaConfig, around: &Surroundings) -> Result<Vec<(&'static str, String)>, String> {
    let Some(sasl) = &config.sasl else { return Ok(Vec::new()) };
    match (&sasl.oauthbearer, &sasl.plain) {
        (Some(_), None) => Ok(vec![("sasl.mechanism", "OAUTHBEARER".to_owned())]),
        (None, Some(plain)) => {
            if !around.allow_static_key {
                return Err("`sasl.plain` is a password that does not expire: use `sasl.oauthbearer` with a workload \
                            identity, or allow static keys"
                    .to_owned());
            }
            Ok(vec![
                ("sasl.mechanism", "PLAIN".to_owned()),
                ("sasl.username", plain.username.clone()),
                ("sasl.password", password(plain, around)?),
            ])
        }
        _ => Err("`sasl` wants exactly one of `oauthbearer` and `plain`".to_owned()),
    }
}

fn password(plain: &PlainConfig, around: &Surroundings) -> Result<String, String> {
    match (&plain.password_env, &plain.password_file) {
        (Some(name), None) => match around.variable(name) {
            Some(value) => Ok(value.to_owned()),
            None => Err(format!("`password_env: {name}` is not set in the environment")),
        },
        (None, Some(file)) => match std::fs::read_to_string(file) {
            Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(fault) => Err(format!("`password_file: {file}` cannot be read: {fault}")),
        },
        _ => Err("`sasl.plain` wants exactly one of `password_env` and `password_file`".to_owned()),
    }
}
