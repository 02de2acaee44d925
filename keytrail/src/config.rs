//! The configuration file: the only place that reads it, and the environment variables that it names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use keytrail_ingest::Limits;
use keytrail_ingest::sources::SourceConfig;
use keytrail_model::read_yaml;
use keytrail_remediate::SmtpConfig;
use keytrail_store::Store;
use schemars::{JsonSchema, Schema, json_schema};
use serde::Deserialize;

use crate::cli::{Global, RuleSet};

const FILE: &str = "keytrail.yaml";

/// Keytrail's configuration.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder for findings.ndjson, tickets/ and the store.
    pub out: PathBuf,
    /// Store file, or a `postgres://` URL; `keytrail.db` in `out` unless said.
    pub store: Option<String>,
    /// File that holds the password for a `postgres://` store that names none.
    pub store_password_file: Option<PathBuf>,
    /// Rules besides the shipped ones.
    pub rules: Rules,
    /// Inventory files or folders: owners, agents, declared tasks.
    pub inventory: Vec<PathBuf>,
    /// Where tickets go.
    pub tickets: Tickets,
    /// Where events are kept.
    pub lake: LakeConfig,
    /// Bounds of what is read.
    pub limits: LimitsConfig,
    /// What `run` reads, by name.
    #[schemars(schema_with = "sources_schema")]
    pub sources: BTreeMap<String, SourceConfig>,
    /// How `run` runs.
    pub run: RunConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            out: PathBuf::from("keytrail-out"),
            store: None,
            store_password_file: None,
            sources: BTreeMap::new(),
            run: RunConfig::default(),
            rules: Rules::default(),
            inventory: Vec::new(),
            tickets: Tickets::default(),
            lake: LakeConfig::default(),
            limits: LimitsConfig::default(),
        }
    }
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// Folders that add to the shipped rules or replace them by name.
    pub folders: Vec<PathBuf>,
    /// Whether the shipped detection rules are used.
    pub builtin: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self { folders: Vec::new(), builtin: true }
    }
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tickets {
    /// Sender of `.eml` files.
    pub from: String,
    /// A mail server; without it tickets are written as `.eml` files only.
    #[schemars(schema_with = "smtp_schema")]
    pub smtp: Option<SmtpConfig>,
}

impl Default for Tickets {
    fn default() -> Self {
        Self { from: "Keytrail <keytrail@localhost>".to_owned(), smtp: None }
    }
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LakeConfig {
    /// A folder, or an s3://, gs:// or az:// URL.
    pub at: Option<String>,
    /// How long the service keeps a day, such as 400d; for good, unless said.
    pub keep: Option<String>,
    /// With more bytes than this the service deletes the oldest days.
    pub bytes_max: Option<u64>,
    /// Whether object storage may be reached with a key that does not expire.
    pub allow_static_key: bool,
}

/// Of the service.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RunConfig {
    /// Who this replica is; best a name that it keeps over restarts. `${NAME}` is an environment variable.
    pub replica: Option<String>,
    /// Where /healthz, /readyz and /metrics are answered. Other addresses than loopback need a token.
    pub listen: Option<String>,
    /// File that holds the bearer token for /metrics.
    pub listen_token_file: Option<PathBuf>,
    /// How often the state is saved.
    pub checkpoint_every: String,
    /// How long a replica may be silent before another takes over.
    pub lease: String,
    /// With more packed records than this waiting for their turn, sources wait.
    pub inbox_bytes_max: u64,
    /// After so long without a sign of life, event time goes on without a source.
    pub stall: String,
    /// How far back findings are put right when events come late.
    pub reevaluate: String,
    /// Whether a key that does not expire may be used to read.
    pub allow_static_key: bool,
    /// Where traces are sent, an OTLP endpoint over HTTP.
    pub traces: Option<String>,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            replica: None,
            listen: Some("127.0.0.1:9464".to_owned()),
            listen_token_file: None,
            checkpoint_every: "30s".to_owned(),
            lease: "15s".to_owned(),
            inbox_bytes_max: 1 << 30,
            stall: "10m".to_owned(),
            reevaluate: "7d".to_owned(),
            allow_static_key: false,
            traces: None,
        }
    }
}

/// Each kind of source checks its own keys when the file is read.
fn sources_schema(_: &mut schemars::SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "description": "What `run` reads, by name. Each entry has one kind, and may have a `lateness`.",
        "additionalProperties": {
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "lateness": {"type": "string", "description": "how long after its time an event may come and be placed, such as 15m"},
                "files": {"type": "object", "description": "tail a folder"},
                "http": {"type": "object", "description": "what others send"},
                "sqs": {"type": "object", "description": "objects in S3 announced through SQS, and events of EventBridge"},
                "cloudtrail": {"type": "object", "description": "CloudTrail's LookupEvents"},
                "kafka": {"type": "object", "description": "topics of Kafka or Event Hubs"},
                "pubsub": {"type": "object", "description": "a subscription of Google's Pub/Sub"},
                "github": {"type": "object", "description": "GitHub's audit log through its API"},
                "objects": {"type": "object", "description": "objects in a bucket that nobody announces"}
            }
        }
    })
}

/// In bytes, `depth_max` aside.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// The longest line that is one record.
    pub record_bytes_max: usize,
    /// The longest document that holds many records.
    pub document_bytes_max: usize,
    /// The deepest nesting, at most 128.
    pub depth_max: usize,
    /// What one envelope may inflate to.
    pub inflate_max: usize,
    /// How many times its size may come of a packed file, object, message or body.
    pub inflate_ratio_max: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            record_bytes_max: limits.record_bytes_max,
            document_bytes_max: limits.document_bytes_max,
            depth_max: limits.depth_max,
            inflate_max: limits.inflate_max,
            inflate_ratio_max: limits.inflate_ratio_max,
        }
    }
}

impl LimitsConfig {
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            record_bytes_max: self.record_bytes_max,
            document_bytes_max: self.document_bytes_max,
            depth_max: self.depth_max,
            inflate_max: self.inflate_max,
            inflate_ratio_max: self.inflate_ratio_max,
            ..Limits::default()
        }
    }
}

fn smtp_schema(_: &mut schemars::SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["object", "null"],
        "description": "A mail server. Without TLS only a server on this machine is accepted.",
        "required": ["host", "from"],
        "additionalProperties": false,
        "properties": {
            "host": {"type": "string"},
            "port": {"type": "integer", "description": "587 with STARTTLS, 465 with TLS, 25 without, unless written"},
            "tls": {"enum": ["none", "starttls", "tls"]},
            "from": {"type": "string"},
            "username": {"type": "string"},
            "password_env": {"type": "string", "description": "environment variable that holds the password"},
            "password_file": {"type": "string", "description": "file that holds the password"},
            "ca_file": {"type": "string", "description": "PEM file of a private certificate authority"}
        }
    })
}

impl Config {
    /// The file that the command line names, or `keytrail.yaml` here, or the defaults.
    pub fn load(global: &Global) -> Result<Self> {
        match &global.config {
            Some(path) => Self::read(path),
            None if Path::new(FILE).is_file() => Self::read(Path::new(FILE)),
            None => Ok(Self::default()),
        }
    }

    fn read(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read configuration `{name}`"))?;
        let mut config: Self = read_yaml(&name, &text)?;
        if let Some(folder) = path.parent() {
            config.anchor(folder);
        }
        Ok(config)
    }

    /// Paths in the file are relative to the file.
    fn anchor(&mut self, folder: &Path) {
        let paths = std::iter::once(&mut self.out)
            .chain(&mut self.store_password_file)
            .chain(&mut self.run.listen_token_file)
            .chain(self.sources.values_mut().flat_map(SourceConfig::paths))
            .chain(&mut self.rules.folders)
            .chain(&mut self.inventory);
        for path in paths {
            *path = folder.join(&*path);
        }
        let places = self.lake.at.iter_mut().chain(&mut self.store);
        let places = places.chain(self.sources.values_mut().flat_map(SourceConfig::places));
        for place in places.filter(|place| !place.contains("://")) {
            *place = folder.join(&*place).display().to_string();
        }
        if let Some(smtp) = &mut self.tickets.smtp {
            for path in smtp.password_file.iter_mut().chain(&mut smtp.ca_file) {
                *path = folder.join(&*path);
            }
        }
    }

    /// The store that the command line names, or the configuration's: a file or a URL.
    #[must_use]
    pub fn store_place(&self, said: Option<&Path>) -> String {
        let file = || self.out.join("keytrail.db").display().to_string();
        said.map(|path| path.display().to_string()).or_else(|| self.store.clone()).unwrap_or_else(file)
    }

    /// Opens it.
    pub async fn open_store(&self, said: Option<&Path>) -> Result<Store> {
        let place = self.store_place(said);
        let Some(path) = self.store_password_file.as_ref().filter(|_| place.contains("://")) else {
            return Ok(Store::connect(&place).await?);
        };
        let password = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let mut url = url::Url::parse(&place).map_err(|_| anyhow::anyhow!("`store` is no URL that can be read"))?;
        url.set_password(Some(password.trim()))
            .map_err(|()| anyhow::anyhow!("`store` names no user for its password"))?;
        Ok(Store::connect(url.as_str()).await?)
    }

    /// Environment variables that sources name.
    #[must_use]
    pub fn variables(&self) -> Vec<String> {
        self.sources.values().flat_map(SourceConfig::variables).collect()
    }

    /// A mail server without an inventory would send tickets to nobody.
    pub fn check_mail(&self, has_inventory: bool) -> Result<()> {
        if self.tickets.smtp.is_some() && !has_inventory {
            anyhow::bail!("tickets.smtp is set, but no inventory names a fallback_owner: add `inventory: [FILE]`");
        }
        Ok(())
    }

    /// Rules and inventory of the configuration with those of the command line.
    #[must_use]
    pub fn rule_set(&self, said: &RuleSet) -> RuleSet {
        RuleSet {
            rules: self.rules.folders.iter().chain(&said.rules).cloned().collect(),
            no_builtin_rules: said.no_builtin_rules || !self.rules.builtin,
            skip_bad_rules: said.skip_bad_rules,
            inventory: self.inventory.iter().chain(&said.inventory).cloned().collect(),
        }
    }
}

/// An environment variable that the configuration names.
#[must_use]
pub fn environment(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    std::env::var(name).ok()
}

/// `${NAME}` in a text is the environment variable, where there is one.
#[must_use]
pub fn expanded(text: &str) -> String {
    let Some((before, rest)) = text.split_once("${") else { return text.to_owned() };
    match rest.split_once('}') {
        Some((name, after)) => format!("{before}{}{}", environment(name).unwrap_or_default(), expanded(after)),
        None => text.to_owned(),
    }
}

/// What the environment says about object storage, as the providers' own tools read it.
#[must_use]
pub fn storage_settings() -> Vec<(String, String)> {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    let all =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let ours = |name: &str| ["AWS_", "AZURE_", "GOOGLE_"].iter().any(|prefix| name.starts_with(prefix));
    let mut settings: Vec<(String, String)> = all.filter(|(name, _)| ours(name)).collect();
    // Google's library takes this file unasked; said here, so that it is seen for the lasting key that it is.
    let login = environment("HOME").map(|home| home + "/.config/gcloud/application_default_credentials.json");
    let login =
        login.filter(|path| Path::new(path).is_file() && !settings.iter().any(|(name, _)| name.starts_with("GOOGLE_")));
    settings.extend(login.map(|path| ("GOOGLE_APPLICATION_CREDENTIALS".to_owned(), path)));
    settings
}

/// What `config init` writes.
pub const STARTER: &str = "# yaml-language-server: $schema=keytrail.schema.json
# Keytrail's configuration. Every key is optional; `keytrail config schema` describes them all.

# Folder for findings.ndjson, tickets/ and the store.
out: keytrail-out

# Who owns what, which agents there are and what they may do. Without it every finding goes to the fallback owner.
inventory: [keytrail-inventory.yaml]

rules:
  # Your own rules: a folder with detections/, guardrails/, playbooks/, inventory/, mappings/, or one of plain rule files.
  # A file with the name of a shipped one replaces it.
  folders: []
  builtin: true

# Where `scan` keeps the events, for `query` and `rule backtest` later.
# lake:
#   at: keytrail-lake              # or s3://bucket/prefix, gs://…, az://…

# What `keytrail run` reads, each under a name of yours.
# sources:
#   trail: {sqs: {queue_url: https://sqs.eu-west-1.amazonaws.com/111122223333/keytrail}}
#   drop: {files: {at: /var/log/audit}}

tickets:
  from: Keytrail <keytrail@example.com>
  # A mail server. Without it tickets are written as .eml files only.
  # smtp:
  #   host: mail.example.com
  #   tls: starttls
  #   from: Keytrail <keytrail@example.com>
  #   username: keytrail
  #   password_env: KEYTRAIL_SMTP_PASSWORD
";

/// The inventory that `config init` writes beside it.
pub const STARTER_INVENTORY: &str = "# Owners, agents and what they may do. Names here are examples: replace them.
# Someone must answer for what nobody is known to own.
fallback_owner: security-triage

owners:
  - {id: security-triage, name: Security triage, email: security-triage@example.com, kind: team}
  - {id: maya.ito, name: Maya Ito, email: maya.ito@example.com, kind: person}

agents:
  - id: refund-agent
    title: Refund agent
    owner: maya.ito
    principals: ['arn:aws:sts::111122223333:assumed-role/refund-agent/*']
    tags: [ai]
    tasks:
      - id: refunds
        actions: ['rds-data:ExecuteStatement', 'bedrock:*']
        resources: ['arn:aws:rds:*:111122223333:cluster:orders']

# Never contained, whatever a playbook says: break-glass users and our own identity.
protected: ['arn:aws:iam::*:user/break-glass*']
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_starter_files_are_read_back() {
        let config: Config = read_yaml("keytrail.yaml", STARTER).expect("the starter is valid");
        assert_eq!(config.inventory, [PathBuf::from("keytrail-inventory.yaml")]);
        let inventory = [("keytrail-inventory.yaml".to_owned(), STARTER_INVENTORY.to_owned())];
        assert!(keytrail_lineage::Inventory::load(&inventory).is_ok());
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let error = read_yaml::<Config>("keytrail.yaml", "ouut: x\n").expect_err("an error").to_string();
        assert!(error.starts_with("keytrail.yaml:1: unknown key `ouut`, did you mean `out`?"), "{error}");
    }
}
