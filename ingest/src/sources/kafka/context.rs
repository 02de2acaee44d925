//! What librdkafka calls back: assignments, commits, ends of partitions, tokens and its log. Called while a consumer is
//! polled; nothing here waits.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;
use serde::Deserialize;

use super::token::Tokens;

/// Topic and partition.
pub(super) type Key = (String, i32);

/// What changed since it was asked last.
#[derive(Default)]
pub(super) struct Seen {
    /// The partitions that are assigned, each with the number of the assignment that brought it.
    pub(super) assigned: BTreeMap<Key, u64>,
    assignments: u64,
    /// Where a partition ended when everything up to there had been taken.
    pub(super) ends: Vec<(Key, i64)>,
    /// A commit failed for no reason that settles it.
    pub(super) uncommitted: bool,
    /// Whether a token has been asked for, and what came of it.
    pub(super) token: Option<Result<(), String>>,
    /// What librdkafka said last about why something fails.
    reason: Option<String>,
}

pub(super) struct Callbacks {
    name: String,
    tokens: Option<Arc<Tokens>>,
    seen: Mutex<Seen>,
    changed: AtomicBool,
}

impl Callbacks {
    pub(super) fn new(name: &str, tokens: Option<Arc<Tokens>>) -> Self {
        Self { name: name.to_owned(), tokens, seen: Mutex::default(), changed: AtomicBool::new(false) }
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something of `seen` changed since this was asked last.
    pub(super) fn changed(&self) -> bool {
        self.changed.swap(false, Ordering::AcqRel)
    }

    /// What librdkafka said last about why something fails.
    pub(super) fn reason(&self) -> String {
        let seen = self.seen();
        match (&seen.token, &seen.reason) {
            (Some(Err(fault)), _) => fault.clone(),
            (_, Some(reason)) => reason.clone(),
            _ => String::new(),
        }
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen());
        self.changed.store(true, Ordering::Release);
    }
}

impl ClientContext for Callbacks {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
                tracing::debug!(source = self.name, facility, "kafka: {message}");
            }
            _ => tracing::warn!(source = self.name, facility, "kafka: {message}"),
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        let Ok(statistics) = serde_json::from_slice::<Statistics>(statistics) else { return };
        let ends = statistics.ends();
        if !ends.is_empty() {
            self.change(|seen| seen.ends = ends);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        tracing::debug!(source = self.name, "kafka: {error}: {reason}");
        // That no broker is left says less than why each of them is gone.
        let vague = error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown);
        let mut seen = self.seen();
        if !vague || seen.reason.is_none() {
            seen.reason = Some(reason.to_owned());
        }
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let token = match &self.tokens {
            Some(tokens) => tokens.token(),
            None => Err("no token is configured".to_owned()),
        };
        self.seen().token = Some(token.as_ref().map(|_| ()).map_err(Clone::clone));
        if let Err(fault) = &token {
            tracing::warn!(source = self.name, "kafka: {fault}");
        }
        token.map_err(Into::into)
    }
}

impl ConsumerContext for Callbacks {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(partitions) = rebalance {
            tracing::debug!(source = self.name, "kafka: revoked {:?}", keys(partitions));
            self.change(|seen| {
                for key in keys(partitions) {
                    seen.assigned.remove(&key);
                }
            });
        }
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(partitions) = rebalance {
            tracing::debug!(source = self.name, "kafka: assigned {:?}", keys(partitions));
            self.change(|seen| {
                seen.assignments += 1;
                let number = seen.assignments;
                seen.assigned.extend(keys(partitions).into_iter().map(|key| (key, number)));
            });
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        let Err(fault) = result else { return };
        tracing::debug!(source = self.name, "kafka: commit: {fault}");
        if !settled_elsewhere(&fault) {
            self.change(|seen| seen.uncommitted = true);
        }
    }
}

/// Another replica has the partition: it goes on from what the ledger has, so the commit is not missed.
pub(super) fn settled_elsewhere(fault: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        fault.rdkafka_error_code(),
        Some(
            Code::IllegalGeneration
                | Code::UnknownMemberId
                | Code::RebalanceInProgress
                | Code::AssignmentLost
                | Code::NoOffset
                | Code::UnknownTopicOrPartition
                | Code::FencedInstanceId
        )
    )
}

pub(super) fn keys(partitions: &TopicPartitionList) -> Vec<Key> {
    partitions.elements().iter().map(|element| (element.topic().to_owned(), element.partition())).collect()
}

/// What is read of librdkafka's statistics.
#[derive(Deserialize)]
struct Statistics {
    #[serde(default)]
    topics: HashMap<String, Topic>,
}

#[derive(Deserialize)]
struct Topic {
    #[serde(default)]
    partitions: HashMap<String, Partition>,
}

#[derive(Deserialize)]
#[serde(default)]
struct Partition {
    partition: i32,
    fetchq_cnt: i64,
    next_offset: i64,
    eof_offset: i64,
}

impl Default for Partition {
    fn default() -> Self {
        Self { partition: -1, fetchq_cnt: 1, next_offset: -1, eof_offset: -1 }
    }
}

impl Statistics {
    /// The partitions that were at their end with nothing left to take.
    fn ends(self) -> Vec<(Key, i64)> {
        let mut ends = Vec::new();
        for (topic, Topic { partitions }) in self.topics {
            let done = partitions.into_values().filter(|it| it.partition >= 0 && it.eof_offset >= 0);
            let done = done.filter(|it| it.fetchq_cnt == 0 && it.next_offset == it.eof_offset);
            ends.extend(done.map(|it| ((topic.clone(), it.partition), it.eof_offset)));
        }
        ends
    }
}
