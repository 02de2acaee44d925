//! Questions to the brokers, asked by a client of their own that joins no group: topics, watermarks, committed offsets.
//! All of it blocks, with a bound, and belongs on a blocking thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataTopic;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use keytrail_model::Micros;

use super::config::Settings;
use super::context::{Callbacks, Key};
use super::faults;
use crate::sources::{Check, SourceError};

const WAIT: Duration = Duration::from_secs(10);
const TOKEN_TURN: Duration = Duration::from_millis(100);
const TOKEN_TURNS: usize = 50;
const REASON_TURN: Duration = Duration::from_millis(5);
const REASON_TURNS: usize = 40;

pub(super) struct Probe {
    settings: Arc<Settings>,
    consumer: BaseConsumer<Callbacks>,
}

/// Asks on a blocking thread.
pub(super) async fn ask<T: Send + 'static>(
    settings: &Arc<Settings>,
    question: impl FnOnce(&Probe) -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    if let Some(tokens) = &settings.tokens {
        tokens.freshen().await.map_err(|fault| faults::denied(settings, fault))?;
    }
    let settings = Arc::clone(settings);
    let asked = tokio::task::spawn_blocking(move || question(&Probe::open(settings)?)).await;
    asked.unwrap_or_else(|fault| Err(SourceError::unreachable("kafka", fault)))
}

impl Probe {
    fn open(settings: Arc<Settings>) -> Result<Self, SourceError> {
        Self::reading(settings, |_| {})
    }

    pub(super) fn reading(
        settings: Arc<Settings>,
        set: impl FnOnce(&mut rdkafka::ClientConfig),
    ) -> Result<Self, SourceError> {
        let callbacks = Callbacks::new(&settings.name, settings.tokens.clone());
        let mut config = settings.asking();
        set(&mut config);
        let consumer = BaseConsumer::from_config_and_context(&config, callbacks);
        let consumer = consumer.map_err(|fault| faults::unusable(&settings, &fault))?;
        let probe = Self { settings, consumer };
        probe.wait_for_token()?;
        Ok(probe)
    }

    pub(super) fn consumer(&self) -> &BaseConsumer<Callbacks> {
        &self.consumer
    }

    /// librdkafka asks for a token only while it is polled.
    fn wait_for_token(&self) -> Result<(), SourceError> {
        if self.settings.tokens.is_none() {
            return Ok(());
        }
        for _ in 0..TOKEN_TURNS {
            drop(self.consumer.poll(TOKEN_TURN));
            let token = self.consumer.context().seen().token.clone();
            match token {
                None => {}
                Some(Ok(())) => return Ok(()),
                Some(Err(fault)) => return Err(faults::denied(&self.settings, fault)),
            }
        }
        Err(SourceError::unreachable("kafka", "librdkafka asks for no token"))
    }

    pub(super) fn fault(&self, what: &str, fault: &KafkaError) -> SourceError {
        // Why stands in the queue, behind other events.
        for _ in 0..REASON_TURNS {
            drop(self.consumer.poll(REASON_TURN));
        }
        faults::of(&self.settings, what, fault, &self.consumer.context().reason())
    }

    /// Every partition of every topic.
    pub(super) fn partitions(&self) -> Result<Vec<Key>, SourceError> {
        let mut keys = Vec::new();
        for topic in &self.settings.topics {
            let what = format!("topic `{topic}`");
            let found = self.consumer.fetch_metadata(Some(topic), WAIT).map_err(|fault| self.fault(&what, &fault))?;
            for found in found.topics() {
                if let Some(code) = found.error() {
                    return Err(self.fault(&what, &KafkaError::MetadataFetch(code.into())));
                }
                keys.extend(found.partitions().iter().map(|partition| (topic.clone(), partition.id())));
            }
        }
        Ok(keys)
    }

    /// The oldest offset that is kept, and the end.
    pub(super) fn watermarks(&self, (topic, partition): &Key) -> Result<(i64, i64), SourceError> {
        let found = self.consumer.fetch_watermarks(topic, *partition, WAIT);
        found.map_err(|fault| self.fault(&format!("{topic}/{partition}"), &fault))
    }

    /// What the group has committed, where it has.
    pub(super) fn committed(&self, keys: &[Key]) -> Result<BTreeMap<Key, i64>, SourceError> {
        let mut wanted = TopicPartitionList::new();
        for (topic, partition) in keys {
            wanted.add_partition(topic, *partition);
        }
        let what = format!("group `{}`", self.settings.group);
        let found = self.consumer.committed_offsets(wanted, WAIT).map_err(|fault| self.fault(&what, &fault))?;
        let mut committed = BTreeMap::new();
        for element in found.elements() {
            element.error().map_err(|fault| self.fault(&what, &fault))?;
            if let Offset::Offset(at) = element.offset() {
                committed.insert((element.topic().to_owned(), element.partition()), at);
            }
        }
        Ok(committed)
    }

    /// Whether something before this position was written after that time: if it was read by then, that was in another
    /// log of this name.
    pub(super) fn begins_after(
        &self,
        (topic, partition): &Key,
        position: i64,
        at: Micros,
    ) -> Result<bool, SourceError> {
        let mut wanted = TopicPartitionList::new();
        let what = format!("{topic}/{partition}");
        let fault = |fault: KafkaError| self.fault(&what, &fault);
        wanted.add_partition_offset(topic, *partition, Offset::Offset(at.0 / 1_000)).map_err(fault)?;
        let found = self.consumer.offsets_for_times(wanted, WAIT).map_err(fault)?;
        let before = |offset| matches!(offset, Offset::Offset(first) if first < position);
        Ok(found.elements().iter().any(|element| before(element.offset())))
    }

    /// All partitions, and what waits for the group in them.
    pub(super) fn waiting(&self) -> Result<(Vec<Key>, u64), SourceError> {
        let keys = self.partitions()?;
        let committed = self.committed(&keys)?;
        let mut waiting = 0;
        for key in &keys {
            let (low, high) = self.watermarks(key)?;
            let done = committed.get(key).map_or(low, |at| (*at).max(low));
            waiting += u64::try_from(high - done).unwrap_or(0);
        }
        Ok((keys, waiting))
    }

    /// Everything that is needed, each with what is wrong with it.
    pub(super) fn checks(&self) -> Vec<Check> {
        let brokers = &self.settings.brokers;
        let mut checks = Vec::new();
        let all = self.consumer.fetch_metadata(None, WAIT);
        let fault = all.as_ref().err().map(|fault| self.fault(brokers, fault).to_string());
        checks.push(Check { what: format!("connection to {brokers}"), fault });
        let Ok(all) = all else { return checks };
        let names: Vec<_> = all.topics().iter().map(MetadataTopic::name).collect();
        for topic in &self.settings.topics {
            checks.push(Check { what: format!("Describe on topic {topic}"), fault: self.topic_fault(topic, &names) });
        }
        let first: Vec<Key> = self.settings.topics.iter().map(|topic| (topic.clone(), 0)).collect();
        let group = self.committed(&first).err().map(|fault| fault.to_string());
        // A topic that is not there says nothing of the group.
        let topics_fine = checks.iter().all(|check| check.fault.is_none());
        if topics_fine || group.as_ref().is_some_and(|fault| fault.contains("group")) {
            checks.push(Check { what: format!("Read on group {}", self.settings.group), fault: group });
        }
        checks
    }

    fn topic_fault(&self, topic: &str, names: &[&str]) -> Option<String> {
        let found = match self.consumer.fetch_metadata(Some(topic), WAIT) {
            Ok(found) => found,
            Err(fault) => return Some(self.fault(topic, &fault).to_string()),
        };
        let fault = found.topics().iter().find_map(MetadataTopic::error)?;
        let fault = KafkaError::MetadataFetch(fault.into());
        match fault.rdkafka_error_code() {
            Some(RDKafkaErrorCode::UnknownTopicOrPartition) => {
                let near = keytrail_model::did_you_mean(topic, names.iter().copied());
                Some(format!("topic `{topic}` is not there{near}: create it or correct `topics`"))
            }
            _ => Some(self.fault(&format!("topic `{topic}`"), &fault).to_string()),
        }
    }
}
