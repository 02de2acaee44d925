//! A topic of Kafka, or of Azure Event Hubs through its Kafka endpoint, shared among replicas by a consumer group.
//!
//! Pieces of a partition join: each begins where the one before ended, though offsets have holes. What was deleted before
//! it was read does not join, and where a topic was made anew its positions go back to its start: the ledger sees both.

mod config;
mod context;
mod faults;
mod lanes;
mod probe;
mod refill;
#[cfg(test)]
mod tests;
mod token;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use keytrail_model::Micros;
use rdkafka::Message;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{CommitMode, Consumer, MessageStream, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

use self::config::{Settings, Start};
use self::context::{Callbacks, Key, settled_elsewhere};
use self::lanes::Lanes;
use self::refill::{Range, Refills};
use super::{Check, Delivery, Gap, Lag, Listing, Receipt, Resumed, SKEW, Source, SourceError, Surroundings};

pub use self::config::{EntraConfig, KafkaConfig, ManagedConfig, OauthConfig, PlainConfig, SaslConfig};

/// How long events are listened for where nothing else can be done.
const TURN: Duration = Duration::from_millis(100);
const LEAVE_WAIT: Duration = Duration::from_secs(3);

pub struct Kafka {
    settings: Arc<Settings>,
    /// Made when it is first needed, and anew after a fault that librdkafka does not recover from.
    consumer: Option<Arc<StreamConsumer<Callbacks>>>,
    lanes: Lanes,
    refills: Refills,
    /// Only what is wanted again is read, and the group is left alone.
    outside: bool,
    gathering: Gathering,
    receipts: Receipt,
    /// To be told once what was gathered before it is handed over.
    fault: Option<SourceError>,
    /// Some partition's position is not within its topic.
    astray: bool,
    asking: Option<Asking>,
}

/// A question for where partitions go on, and the assignments that it was asked for.
struct Asking {
    assigned: BTreeMap<Key, u64>,
    astray: bool,
    answer: JoinHandle<Result<Found, SourceError>>,
}

struct Found {
    /// Which partitions there are, where that could be told.
    existing: Option<Vec<Key>>,
    committed: BTreeMap<Key, i64>,
    marks: BTreeMap<Key, Marks>,
}

/// Where a partition begins and ends.
#[derive(Clone, Copy)]
struct Marks {
    low: i64,
    high: i64,
    /// It began to be written after it was read as far as the ledger knows: it is another one.
    another: bool,
}

/// How much was gathered, and since when.
#[derive(Default)]
struct Gathering {
    count: usize,
    bytes: usize,
    since: Option<Instant>,
}

impl Kafka {
    pub fn open(name: &str, config: &KafkaConfig, around: &Surroundings) -> Result<Self, SourceError> {
        let settings = Settings::of(name, config, around)?;
        Ok(Self {
            settings: Arc::new(settings),
            consumer: None,
            lanes: Lanes::default(),
            refills: Refills::default(),
            outside: false,
            gathering: Gathering::default(),
            receipts: 0,
            fault: None,
            astray: false,
            asking: None,
        })
    }

    /// The member of the group, with a token that has not expired.
    async fn connected(&mut self) -> Result<Arc<StreamConsumer<Callbacks>>, SourceError> {
        if let Some(tokens) = &self.settings.tokens {
            tokens.freshen().await.map_err(|fault| faults::denied(&self.settings, fault))?;
        }
        if let Some(consumer) = &self.consumer {
            return Ok(Arc::clone(consumer));
        }
        let callbacks = Callbacks::new(&self.settings.name, self.settings.tokens.clone());
        let consumer = StreamConsumer::from_config_and_context(&self.settings.consuming(), callbacks);
        let consumer: StreamConsumer<Callbacks> = consumer.map_err(|fault| faults::unusable(&self.settings, &fault))?;
        let topics: Vec<_> = self.settings.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(|fault| faults::unusable(&self.settings, &fault))?;
        let consumer = Arc::new(consumer);
        self.lanes.assigned(&BTreeMap::new());
        self.gathering = Gathering::default();
        self.consumer = Some(Arc::clone(&consumer));
        Ok(consumer)
    }

    /// Takes messages until there are enough, or `until`, or until something is to be looked into first.
    async fn gather(&mut self, consumer: &StreamConsumer<Callbacks>, until: Instant) {
        let mut stream = consumer.stream();
        while !self.is_full() && self.fault.is_none() && !self.astray && self.lanes.is_settled() {
            let linger = self.gathering.since.map_or(until, |since| until.min(since + self.settings.linger));
            if !self.step(consumer, &mut stream, linger).await {
                break;
            }
        }
    }

    /// One message or event. What is dropped while waiting has taken nothing yet.
    async fn step(
        &mut self,
        consumer: &StreamConsumer<Callbacks>,
        stream: &mut MessageStream<'_, Callbacks>,
        until: Instant,
    ) -> bool {
        let item = timeout_at(until, stream.next()).await;
        self.follow(consumer);
        match item {
            Ok(Some(Ok(message))) => self.take(&message),
            Ok(Some(Err(fault))) => self.note(consumer, &fault),
            Ok(None) | Err(_) => return false,
        }
        true
    }

    fn is_full(&self) -> bool {
        self.gathering.count >= self.settings.batch || self.gathering.bytes >= self.settings.limits.chunk_bytes
    }

    fn take(&mut self, message: &BorrowedMessage<'_>) {
        let key = (message.topic().to_owned(), message.partition());
        let payload = message.payload().unwrap_or_default();
        let written = message.timestamp().to_millis().map(|millis| Micros(millis.saturating_mul(1_000)));
        if self.lanes.take(&key, (message.offset(), written), payload, &self.settings.limits) {
            self.gathering.count += 1;
            self.gathering.bytes += payload.len();
            self.gathering.since.get_or_insert_with(Instant::now);
        }
    }

    /// Takes over what the callbacks saw.
    fn follow(&mut self, consumer: &StreamConsumer<Callbacks>) {
        if !consumer.context().changed() {
            return;
        }
        let (ends, uncommitted) = {
            let mut seen = consumer.context().seen();
            self.lanes.assigned(&seen.assigned);
            (std::mem::take(&mut seen.ends), std::mem::take(&mut seen.uncommitted))
        };
        if self.lanes.ends(&ends, &self.settings.limits) {
            self.gathering.since.get_or_insert_with(Instant::now);
        }
        if uncommitted {
            self.commit(&self.lanes.acked());
        }
    }

    fn note(&mut self, consumer: &StreamConsumer<Callbacks>, fault: &KafkaError) {
        if let KafkaError::PartitionEOF(partition) = fault {
            return self.lanes.ended(*partition);
        }
        match fault.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset) => self.astray = true,
            Some(RDKafkaErrorCode::PollExceeded) => {
                tracing::warn!(
                    source = self.settings.name,
                    "kafka: nothing was taken for too long, partitions are given up"
                );
            }
            // One broker is gone; librdkafka goes on trying.
            Some(RDKafkaErrorCode::BrokerTransportFailure) => {}
            _ => {
                let reason = consumer.context().reason();
                self.fault = Some(faults::of(&self.settings, "kafka", fault, &reason));
            }
        }
        if let KafkaError::MessageConsumptionFatal(_) = fault {
            self.consumer = None;
        }
    }

    /// Finds out where each partition goes on that was newly assigned, or strayed, and has it read from there.
    async fn settle(&mut self, consumer: &StreamConsumer<Callbacks>) -> Result<(), SourceError> {
        if self.asking.is_none() && (self.astray || !self.lanes.unsettled().is_empty()) {
            self.asking = Some(self.ask());
        }
        if let Some(Asking { assigned, astray, answer }) = &mut self.asking {
            let answered = answer.await;
            let (assigned, astray) = (std::mem::take(assigned), *astray);
            self.asking = None;
            let found = answered.unwrap_or_else(|fault| Err(SourceError::unreachable("kafka", fault)));
            self.astray |= astray && found.is_err();
            let Found { existing, committed, marks } = found?;
            existing.into_iter().for_each(|keys| self.lanes.exist(keys));
            let current = |lanes: &Lanes, key: &Key| lanes.assignment(key) == assigned.get(key).copied();
            for (key, at) in committed.into_iter().filter(|(key, _)| current(&self.lanes, key)).collect::<Vec<_>>() {
                self.lanes.get_mut(&key).into_iter().for_each(|lane| lane.continues(at));
            }
            for (key, marks) in marks.into_iter().filter(|(key, _)| current(&self.lanes, key)).collect::<Vec<_>>() {
                self.place(&key, marks);
            }
        }
        self.rewind(consumer)
    }

    /// Asked by a task of its own, so that it gets done though waiting for it is given up.
    fn ask(&mut self) -> Asking {
        let (new, astray) = (self.lanes.unsettled(), std::mem::take(&mut self.astray));
        let keys = if astray { self.lanes.keys() } else { new.clone() };
        let assigned = keys.iter().filter_map(|key| Some((key.clone(), self.lanes.assignment(key)?))).collect();
        let known: BTreeMap<Key, _> =
            new.iter().filter_map(|key| Some((key.clone(), self.lanes.known(key)?))).collect();
        let settings = Arc::clone(&self.settings);
        let answer = tokio::spawn(async move {
            let found = probe::ask(&settings, move |probe| {
                let committed = probe.committed(&new)?;
                let unknown = keys.iter().filter(|key| astray || !committed.contains_key(*key));
                let marks = unknown.map(|key| {
                    let (low, high) = probe.watermarks(key)?;
                    let read = known.get(key).filter(|_| !committed.contains_key(key));
                    let another =
                        read.map_or(Ok(false), |(to, at)| probe.begins_after(key, *to, Micros(at.0 + SKEW)))?;
                    Ok((key.clone(), Marks { low, high, another }))
                });
                let marks = marks.collect::<Result<_, SourceError>>()?;
                Ok(Found { existing: probe.partitions().ok(), committed, marks })
            });
            found.await
        });
        Asking { assigned, astray, answer }
    }

    /// Puts a partition that has no position, or one outside of what is kept, where it has to be read from.
    fn place(&mut self, key: &Key, Marks { low, high, another }: Marks) {
        let (reached, known) = (self.lanes.reached(key), self.lanes.known(key));
        let start = self.settings.start;
        let Some(lane) = self.lanes.get_mut(key) else { return };
        match lane.position() {
            Some(at) if (low..=high).contains(&at) => lane.settled = true,
            Some(at) => {
                let (source, (topic, partition)) = (&self.settings.name, key);
                let what = if at < low { "deleted before it was read" } else { "made anew, or cut" };
                tracing::warn!(source, topic, partition, at, low, high, "kafka: {what}; reading goes on at the oldest");
                if at < low { lane.starts(low) } else { lane.starts_over(low) }
            }
            // It was read before and has lost its group's offset, so it was made anew.
            None if reached || another => lane.starts_over(low),
            None if known.is_some() || start == Start::Earliest => lane.starts_unknown(low, high),
            None => lane.starts(high),
        }
    }

    /// Seeking is not possible where librdkafka has stopped reading, so the partition is taken back and given anew.
    fn rewind(&mut self, consumer: &StreamConsumer<Callbacks>) -> Result<(), SourceError> {
        for ((topic, partition), lane) in self.lanes.iter_mut() {
            let Some(at) = lane.rewind else { continue };
            let again = || -> KafkaResult<()> {
                let mut partitions = TopicPartitionList::new();
                partitions.add_partition_offset(topic, *partition, Offset::Offset(at))?;
                if let Err(fault) = consumer.incremental_unassign(&partitions) {
                    tracing::debug!(source = self.settings.name, topic, partition, "kafka: not taken back: {fault}");
                }
                consumer.incremental_assign(&partitions)
            };
            again().map_err(|fault| faults::of(&self.settings, &format!("{topic}/{partition}"), &fault, ""))?;
            lane.rewind = None;
        }
        Ok(())
    }

    fn hand_over(&mut self) -> Option<Delivery> {
        self.gathering = Gathering::default();
        let receipt = self.receipts + 1;
        let parts = self.lanes.hand_over(receipt);
        if parts.is_empty() {
            return None;
        }
        self.receipts = receipt;
        Some(Delivery { receipt, parts })
    }

    /// Without waiting: what fails is tried again with the next commit, or is another replica's by now.
    fn commit(&self, done: &[(Key, i64)]) {
        let (Some(consumer), false) = (&self.consumer, done.is_empty()) else { return };
        let mut offsets = TopicPartitionList::new();
        let added = done.iter().try_for_each(|((topic, partition), at)| {
            offsets.add_partition_offset(topic, *partition, Offset::Offset(*at))
        });
        let committed = added.and_then(|()| consumer.commit(&offsets, CommitMode::Async));
        if let Err(fault) = committed {
            tracing::debug!(source = self.settings.name, "kafka: commit: {fault}");
            consumer.context().change(|seen| seen.uncommitted |= !settled_elsewhere(&fault));
        }
    }
}

impl Drop for Kafka {
    /// Leaves the group, so that others take over at once; librdkafka would wait without end for a broker that is gone.
    fn drop(&mut self) {
        let Some(consumer) = self.consumer.take() else { return };
        let (left, leaving) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name("kafka-leave".to_owned()).spawn(move || {
            drop(consumer);
            left.send(()).ok();
        });
        if thread.is_ok() && leaving.recv_timeout(LEAVE_WAIT).is_err() {
            tracing::warn!(source = self.settings.name, "kafka: the group was not told that this replica leaves it");
        }
    }
}

#[async_trait]
impl Source for Kafka {
    async fn next(&mut self, wait: Duration) -> Result<Option<Delivery>, SourceError> {
        let until = Instant::now() + wait;
        let again = self.refills.next(&self.settings, self.receipts + 1).await?;
        if let Some(again) = again {
            self.receipts = again.receipt;
            return Ok(Some(again));
        }
        if self.outside {
            sleep_until(until).await;
            return Ok(None);
        }
        let consumer = self.connected().await?;
        // While brokers are away librdkafka tells each attempt; the last one is told if nothing comes meanwhile.
        let mut told = None;
        loop {
            // Callbacks may have come while a wait was given up.
            self.follow(&consumer);
            // What strayed is put right only when what was gathered before is out of the way.
            if !(self.astray && self.lanes.gathering()) {
                if let Err(fault) = self.settle(&consumer).await {
                    // A partition may be gone, which is only learnt by listening.
                    self.step(&consumer, &mut consumer.stream(), Instant::now() + TURN).await;
                    told = Some(fault);
                } else {
                    self.gather(&consumer, until).await;
                }
            }
            if let Some(delivery) = self.hand_over() {
                return Ok(Some(delivery));
            }
            told = self.fault.take().or(told);
            if Instant::now() >= until || matches!(told, Some(SourceError::Denied { .. })) {
                return told.map_or(Ok(None), Err);
            }
        }
    }

    async fn ack(&mut self, receipt: Receipt) -> Result<(), SourceError> {
        if !self.refills.ack(receipt) {
            if let Some(consumer) = self.consumer.clone() {
                self.follow(&consumer);
            }
            let done = self.lanes.ack(receipt);
            self.commit(&done);
        }
        Ok(())
    }

    async fn nack(&mut self, receipt: Receipt) -> Result<(), SourceError> {
        if !self.refills.nack(receipt) {
            self.lanes.nack(receipt);
        }
        Ok(())
    }

    fn knows_its_end(&self) -> bool {
        true
    }

    fn lanes(&self) -> Vec<String> {
        self.lanes.all()
    }

    fn idle(&self) -> Vec<String> {
        self.lanes.idle()
    }

    fn resumes(&self) -> bool {
        true
    }

    fn resume(&mut self, known: Vec<Resumed>) {
        self.lanes
            .know(known.iter().filter_map(|known| Some((lanes::key(&known.origin)?, (known.position, known.at)))));
    }

    fn exhausted(&self) -> bool {
        if self.outside { self.refills.is_empty() } else { !self.idle().is_empty() }
    }

    async fn check(&mut self) -> Vec<Check> {
        let what = format!("connection to {}", self.settings.brokers);
        match probe::ask(&self.settings, |probe| Ok(probe.checks())).await {
            Ok(checks) => checks,
            Err(fault) => vec![Check { what, fault: Some(fault.to_string()) }],
        }
    }

    async fn lag(&mut self) -> Result<Lag, SourceError> {
        let (keys, waiting) = probe::ask(&self.settings, probe::Probe::waiting).await?;
        self.lanes.exist(keys);
        Ok(Lag { waiting: Some(waiting), oldest: None })
    }

    async fn listing(&mut self, _: Micros, _: Micros) -> Result<Listing, SourceError> {
        let ranges = probe::ask(&self.settings, |probe| {
            let ranges = probe.partitions()?.into_iter().map(|key| {
                let (low, high) = probe.watermarks(&key)?;
                Ok((lanes::origin(&key.0, key.1), low, high))
            });
            ranges.collect()
        });
        Ok(Listing::Ranges(ranges.await?))
    }

    /// By who has read nothing yet: these alone, whoever has the partitions.
    async fn refill(&mut self, gaps: &[Gap]) -> Result<Vec<String>, SourceError> {
        self.outside = self.consumer.is_none();
        let mut gone = Vec::new();
        for gap in gaps {
            let (Some(key), Some((from, to))) = (lanes::key(&gap.origin), gap.range) else {
                gone.push(gap.origin.clone());
                continue;
            };
            match self.lanes.get_mut(&key) {
                Some(lane) => lane.refill(from),
                None => self.refills.want(Range { key, from, to }),
            }
        }
        Ok(gone)
    }
}
