//! How sources are written in the configuration, and the one list of them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::{Source, SourceError, aws, files, github, http, kafka, objects, pubsub};
use crate::Limits;

/// One entry of `sources:`. Exactly one kind stands in it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourceConfig {
    /// How long after its time an event may still arrive and be placed, such as `15m`.
    pub lateness: Option<String>,
    /// Tail a folder.
    pub files: Option<files::FilesConfig>,
    /// Objects in S3, announced through SQS; also single events that EventBridge puts into a queue.
    pub sqs: Option<aws::SqsConfig>,
    /// CloudTrail's own API, for accounts without a trail.
    pub cloudtrail: Option<aws::CloudTrailConfig>,
    /// A topic of Kafka, or of Azure Event Hubs through its Kafka endpoint.
    pub kafka: Option<kafka::KafkaConfig>,
    /// A subscription of Google's Pub/Sub.
    pub pubsub: Option<pubsub::PubsubConfig>,
    /// GitHub's audit log through its API.
    pub github: Option<github::GithubConfig>,
    /// Files that somebody writes into object storage, found by listing.
    pub objects: Option<objects::ObjectsConfig>,
    /// What others send, over HTTP.
    pub http: Option<http::HttpConfig>,
}

impl SourceConfig {
    /// Files that it names, which are relative to the configuration.
    pub fn paths(&mut self) -> Vec<&mut PathBuf> {
        let mut paths = Vec::new();
        if let Some(http) = &mut self.http {
            paths.push(&mut http.spool);
            paths.extend(http.token_file.iter_mut().chain(&mut http.hmac_file));
        }
        if let Some(sqs) = &mut self.sqs {
            paths.extend(&mut sqs.digest_keys);
        }
        if let Some(github) = &mut self.github {
            paths.extend(github.token_file.iter_mut().chain(github.app.iter_mut().map(|app| &mut app.key_file)));
        }
        paths
    }

    /// Folders, URLs and more files that it names.
    pub fn places(&mut self) -> Vec<&mut String> {
        let mut places: Vec<&mut String> = self.files.iter_mut().map(|files| &mut files.at).collect();
        places.extend(self.objects.iter_mut().map(|objects| &mut objects.at));
        places.extend(self.kafka.iter_mut().flat_map(kafka::KafkaConfig::files));
        places
    }

    /// How many kinds stand in it.
    fn kinds(&self) -> usize {
        let Self { lateness: _, files, http, objects, sqs, cloudtrail, kafka, pubsub, github } = self;
        let kinds = [
            files.is_some(),
            http.is_some(),
            objects.is_some(),
            sqs.is_some(),
            cloudtrail.is_some(),
            kafka.is_some(),
            pubsub.is_some(),
            github.is_some(),
        ];
        kinds.into_iter().filter(|there| *there).count()
    }

    /// Environment variables that it names.
    #[must_use]
    pub fn variables(&self) -> Vec<String> {
        let kafka = self.kafka.iter().flat_map(kafka::KafkaConfig::variables);
        kafka.chain(self.github.iter().filter_map(|github| github.token_env.clone())).collect()
    }
}

/// What a source may know of the world around it.
pub struct Surroundings {
    /// The environment variables that concern the clouds, and those that the configuration names.
    pub environment: BTreeMap<String, String>,
    pub limits: Limits,
    /// Whether a key that does not expire may be used to read.
    pub allow_static_key: bool,
    /// Who this replica is, stable over restarts where the platform gives a name.
    pub replica: String,
}

impl Surroundings {
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// Opens the source that an entry describes: one line for each kind.
pub async fn open(name: &str, config: &SourceConfig, around: &Surroundings) -> Result<Box<dyn Source>, SourceError> {
    if config.kinds() != 1 {
        let fault = "exactly one of `files`, `http`, `objects`, `sqs`, `cloudtrail`, `kafka`, `pubsub`, `github` says what it is";
        return Err(SourceError::config(name, fault));
    }
    if let Some(one) = &config.files {
        return Ok(Box::new(files::Files::open(name, one, around)?));
    }
    if let Some(one) = &config.http {
        return Ok(Box::new(http::Http::open(name, one, around)?));
    }
    if let Some(one) = &config.objects {
        return Ok(Box::new(objects::Objects::open(name, one, around)?));
    }
    if let Some(one) = &config.sqs {
        return Ok(Box::new(aws::Sqs::open(name, one, around).await?));
    }
    if let Some(one) = &config.cloudtrail {
        return Ok(Box::new(aws::CloudTrail::open(name, one, around).await?));
    }
    if let Some(one) = &config.kafka {
        return Ok(Box::new(kafka::Kafka::open(name, one, around)?));
    }
    if let Some(one) = &config.pubsub {
        return Ok(Box::new(pubsub::Pubsub::open(name, one, around).await?));
    }
    match &config.github {
        Some(one) => Ok(Box::new(github::Github::open(name, one, around)?)),
        None => Err(SourceError::config(name, "it is of no kind")),
    }
}
