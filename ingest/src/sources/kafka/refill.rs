//! Ranges that are read again though their partition is another replica's: read without joining the group, and never
//! committed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::Message;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::config::Settings;
use super::context::Key;
use super::lanes::origin;
use super::probe::{Probe, ask};
use crate::sources::{Delivery, Extent, Messages, Part, Receipt, SourceError};

const TURN: Duration = Duration::from_millis(200);
/// How many turns without a message before it is tried another time.
const TURNS: usize = 50;

#[derive(Clone)]
pub(super) struct Range {
    pub(super) key: Key,
    pub(super) from: i64,
    pub(super) to: i64,
}

#[derive(Default)]
pub(super) struct Refills {
    wanted: VecDeque<Range>,
    flights: BTreeMap<Receipt, Range>,
}

impl Refills {
    pub(super) fn want(&mut self, range: Range) {
        self.wanted.push_back(range);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.wanted.is_empty() && self.flights.is_empty()
    }

    pub(super) fn ack(&mut self, receipt: Receipt) -> bool {
        self.flights.remove(&receipt).is_some()
    }

    pub(super) fn nack(&mut self, receipt: Receipt) -> bool {
        let range = self.flights.remove(&receipt);
        let known = range.is_some();
        self.wanted.extend(range);
        known
    }

    /// The next piece of what is wanted. Nothing is crossed off before it was read.
    pub(super) async fn next(
        &mut self,
        settings: &Arc<Settings>,
        receipt: Receipt,
    ) -> Result<Option<Delivery>, SourceError> {
        while let Some(range) = self.wanted.front().cloned() {
            let asked = range.clone();
            let shared = Arc::clone(settings);
            let read = ask(settings, move |probe| read(&shared, probe, &asked)).await?;
            self.wanted.pop_front();
            let Some((part, from, to)) = read else {
                tracing::warn!(source = settings.name, ?range.key, range.from, range.to, "kafka keeps nothing of it");
                continue;
            };
            if to < range.to {
                self.wanted.push_front(Range { from: to, ..range.clone() });
            }
            self.flights.insert(receipt, Range { key: range.key, from, to });
            return Ok(Some(Delivery { receipt, parts: vec![part] }));
        }
        Ok(None)
    }
}

type Read = Option<(Part, i64, i64)>;

fn read(settings: &Arc<Settings>, asking: &Probe, range: &Range) -> Result<Read, SourceError> {
    let (topic, partition) = &range.key;
    let (low, high) = asking.watermarks(&range.key)?;
    let (from, to) = (range.from.max(low), range.to.min(high));
    if from >= to {
        return Ok(None);
    }
    let probe = Probe::reading(Arc::clone(settings), |config| {
        config.set("enable.partition.eof", "true");
    })?;
    let what = origin(topic, *partition);
    let mut wanted = TopicPartitionList::new();
    let added = wanted.add_partition_offset(topic, *partition, Offset::Offset(from));
    added.and_then(|()| probe.consumer().assign(&wanted)).map_err(|fault| probe.fault(&what, &fault))?;
    let mut messages = Messages::new(&what, &settings.limits);
    let (mut reached, mut count, mut bytes, mut quiet) = (from, 0, 0, 0);
    while reached < to && count < settings.batch && bytes < settings.limits.chunk_bytes {
        match probe.consumer().poll(TURN) {
            Some(Ok(message)) if message.offset() >= to => reached = to,
            Some(Ok(message)) => {
                quiet = 0;
                count += 1;
                reached = message.offset() + 1;
                let payload = message.payload().unwrap_or_default();
                bytes += payload.len();
                if let (false, Ok(position)) = (payload.is_empty(), u64::try_from(message.offset())) {
                    messages.add(position, payload);
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => reached = to,
            Some(Err(fault)) if quiet >= TURNS => return Err(probe.fault(&what, &fault)),
            Some(Err(_)) => quiet += 1,
            None if quiet >= TURNS => return Err(SourceError::unreachable(what, "no message came within 10s")),
            None => quiet += 1,
        }
    }
    let part = Part {
        origin: what.clone(),
        lane: what,
        extent: Extent::Piece { from, to: reached },
        chunks: Box::new(messages),
    };
    Ok(Some((part, from, reached)))
}
