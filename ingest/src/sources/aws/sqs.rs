//! Objects announced through SQS, and single events from EventBridge.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName;
use keytrail_model::Micros;
use serde::Deserialize;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::access::{Access, fault};
use super::keys::Keys;
use super::listing;
use super::notify::{self, Announced, Notice};
use super::objects::{Objects, rejected};
use super::queue::{Queue, Tail, Taken, arn, named};
use super::{checks, length};
use crate::Reader;
use crate::sources::{Check, Delivery, Extent, Gap, Lag, Listing, Part, Receipt, Source, SourceError, Surroundings};

/// After a fault that may pass, and after one that stays until somebody changes something.
const AGAIN: Duration = Duration::from_secs(5);
const LATER: Duration = Duration::from_mins(1);

/// Objects that are to be handed over again at once; more are asked for in further calls.
const REFILL: usize = 100_000;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SqsConfig {
    pub queue_url: String,
    /// Of the queue; else it stands in the queue's address, or in `AWS_REGION`.
    pub region: Option<String>,
    /// Another address than Amazon's, for SQS and S3 alike.
    pub endpoint: Option<String>,
    /// How long one call waits for messages, at most 20 s; 10 s.
    pub wait: Option<String>,
    /// How long a message is kept from others before it is extended; 5 m.
    pub visibility: Option<String>,
    /// Messages that are worked on at once; 20.
    pub in_flight: Option<usize>,
    /// Where the objects lie, to hold what was read against what there is.
    pub list: Vec<Folder>,
    /// Whether the folders hold CloudTrail's digest files, to prove that nothing is missing or changed.
    pub digests: bool,
    /// Files with the public keys of digests, where CloudTrail may not be asked for them.
    pub digest_keys: Vec<std::path::PathBuf>,
}

/// A folder of a bucket.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Folder {
    pub bucket: String,
    #[serde(default)]
    pub prefix: String,
    /// Where it is another than the queue's.
    pub region: Option<String>,
}

/// What stands behind a receipt.
enum Handed {
    Message(Taken),
    Again(Announced),
}

/// A queue and the objects that it announces.
pub struct Sqs {
    pub(super) name: String,
    pub(super) queue: Queue,
    pub(super) objects: Objects,
    pub(super) list: Vec<Folder>,
    pub(super) keys: Option<Keys>,
    queue_name: String,
    in_flight: usize,
    /// Started by the first `next`: who only asks does not take messages from who works.
    tail: Option<Tail>,
    /// Received, and not yet handed over.
    current: Option<Taken>,
    /// To be handed over again.
    ahead: VecDeque<Announced>,
    /// Only that is, and messages are left to who works.
    outside: bool,
    open: HashMap<Receipt, Handed>,
    receipts: Receipt,
}

impl Sqs {
    pub async fn open(name: &str, config: &SqsConfig, around: &Surroundings) -> Result<Self, SourceError> {
        let url = url::Url::parse(&config.queue_url).ok();
        let known = url.as_ref().and_then(|url| Some((url, named(url)?)));
        let Some((url, (queue_name, region))) = known else {
            let fault =
                format!("`queue_url: {}` is no address of a queue; copy it from the queue's page", config.queue_url);
            return Err(SourceError::config(name, fault));
        };
        let bound = |least, most| (Duration::from_secs(least), Duration::from_secs(most));
        let wait = length(name, "wait", config.wait.as_deref(), Duration::from_secs(10), bound(0, 20))?;
        let visibility = config.visibility.as_deref();
        let visibility = length(name, "visibility", visibility, Duration::from_mins(5), bound(1, 43_200))?;
        let in_flight = config.in_flight.unwrap_or(20);
        if !(1..=10_000).contains(&in_flight) {
            return Err(SourceError::config(name, format!("`in_flight: {in_flight}` is not from 1 to 10000")));
        }
        let region = config.region.clone().or(region);
        let access = Access::open(name, region.as_deref(), config.endpoint.as_deref(), around).await?;
        let (client, arn) = (Client::new(&access.config), arn(url, &access.region, &queue_name));
        let keys = config.digests.then(|| Keys::open(name, &config.digest_keys, &access)).transpose()?;
        Ok(Self {
            name: name.to_owned(),
            queue: Queue { client, url: config.queue_url.clone(), arn, wait, visibility },
            objects: Objects::new(access, &around.limits),
            list: config.list.clone(),
            keys,
            queue_name,
            in_flight,
            tail: None,
            current: None,
            ahead: VecDeque::new(),
            outside: false,
            open: HashMap::new(),
            receipts: 0,
        })
    }

    /// The next object that is to come again. It stays first while its bucket cannot be reached.
    async fn again(&mut self) -> Result<Option<Delivery>, SourceError> {
        let Some(first) = self.ahead.front() else { return Ok(None) };
        match self.objects.part(first).await {
            Ok(part) => {
                let handed = self.ahead.pop_front().map(Handed::Again);
                Ok(handed.map(|handed| self.deliver(vec![part], handed)))
            }
            Err(fault) => {
                if matches!(fault, SourceError::Denied { .. }) {
                    self.ahead.pop_front();
                }
                Err(fault)
            }
        }
    }

    fn deliver(&mut self, parts: Vec<Part>, handed: Handed) -> Delivery {
        self.receipts += 1;
        self.open.insert(self.receipts, handed);
        Delivery { receipt: self.receipts, parts }
    }

    /// Hands over what the message at hand tells of; `None` where that is nothing.
    async fn current(&mut self) -> Result<Option<Delivery>, SourceError> {
        let Some(message) = &self.current else { return Ok(None) };
        match self.parts(message).await {
            Ok(parts) if parts.is_empty() => {
                let deleted = self.queue.delete(message).await;
                self.let_go();
                deleted.map(|()| None)
            }
            Ok(parts) => {
                let handed = self.current.take().map(Handed::Message);
                Ok(handed.map(|handed| self.deliver(parts, handed)))
            }
            Err(fault) => {
                let after = if matches!(fault, SourceError::Denied { .. }) { LATER } else { AGAIN };
                if let Err(more) = self.queue.put_back(message, after).await {
                    tracing::debug!(source = self.name, fault = %more, "a message comes again only when its time is over");
                }
                self.let_go();
                Err(fault)
            }
        }
    }

    fn let_go(&mut self) {
        if let (Some(message), Some(tail)) = (self.current.take(), &self.tail) {
            tail.release(&message);
        }
    }

    async fn parts(&self, message: &Taken) -> Result<Vec<Part>, SourceError> {
        let origin = format!("sqs:{}/{}", self.queue_name, message.id);
        match notify::read(message.body.as_bytes()) {
            Notice::Unknown(why) => Ok(vec![rejected(&origin, why)]),
            Notice::Event(record) => {
                let read = Reader::over(&origin, record, &self.objects.limits);
                let part =
                    |read| Part { origin: origin.clone(), extent: Extent::Whole, lane: String::new(), chunks: read };
                Ok(vec![match read {
                    Ok(read) => part(Box::new(read)),
                    Err(fault) => rejected(&origin, fault.to_string()),
                }])
            }
            Notice::Objects(objects) => {
                let mut parts = Vec::with_capacity(objects.len());
                for object in &objects {
                    parts.push(self.objects.part(object).await?);
                }
                Ok(parts)
            }
        }
    }
}

#[async_trait]
impl Source for Sqs {
    async fn next(&mut self, wait: Duration) -> Result<Option<Delivery>, SourceError> {
        let until = Instant::now() + wait;
        loop {
            if let Some(again) = self.again().await? {
                return Ok(Some(again));
            }
            if self.outside {
                sleep_until(until).await;
                return Ok(None);
            }
            if self.current.is_none() {
                let (queue, in_flight) = (&self.queue, self.in_flight);
                let tail = self.tail.get_or_insert_with(|| queue.tail(in_flight));
                match timeout_at(until, tail.messages.recv()).await {
                    Err(_) => return Ok(None),
                    Ok(Some(message)) => self.current = Some(message?),
                    Ok(None) => self.tail = None,
                }
            }
            if let Some(delivery) = self.current().await? {
                return Ok(Some(delivery));
            }
        }
    }

    /// Events that came as messages. Objects are held against the bucket's list.
    fn forgets(&self) -> Option<String> {
        Some(format!("sqs:{}/", self.queue_name))
    }

    async fn ack(&mut self, receipt: Receipt) -> Result<(), SourceError> {
        let Some(Handed::Message(message)) = self.open.remove(&receipt) else { return Ok(()) };
        if let Some(tail) = &self.tail {
            tail.release(&message);
        }
        self.queue.delete(&message).await
    }

    async fn nack(&mut self, receipt: Receipt) -> Result<(), SourceError> {
        let message = match self.open.remove(&receipt) {
            Some(Handed::Message(message)) => message,
            Some(Handed::Again(object)) => {
                self.ahead.push_back(object);
                return Ok(());
            }
            None => return Ok(()),
        };
        if let Some(tail) = &self.tail {
            tail.release(&message);
        }
        self.queue.put_back(&message, AGAIN).await
    }

    async fn check(&mut self) -> Vec<Check> {
        checks::all(self).await
    }

    async fn lag(&mut self) -> Result<Lag, SourceError> {
        use QueueAttributeName as Name;
        let names = [Name::ApproximateNumberOfMessages, Name::ApproximateNumberOfMessagesNotVisible];
        let ask = self.queue.client.get_queue_attributes().queue_url(&self.queue.url);
        let said = ask.set_attribute_names(Some(names.to_vec())).send().await;
        let said = said.map_err(|error| fault(self.queue.what("sqs:GetQueueAttributes"), &error))?;
        let attributes = said.attributes.unwrap_or_default();
        let counts = names.iter().filter_map(|name| attributes.get(name)?.parse::<u64>().ok());
        Ok(Lag { waiting: Some(counts.sum()), oldest: None })
    }

    async fn listing(&mut self, since: Micros, until: Micros) -> Result<Listing, SourceError> {
        if self.list.is_empty() {
            let why = "a queue keeps no list of what went through it; name the buckets under `list`";
            return Ok(Listing::NotProvable(why.to_owned()));
        }
        listing::all(&self.objects, &self.list, self.keys.as_ref(), (since, until)).await
    }

    /// Objects; a message is gone once it was deleted.
    async fn refill(&mut self, gaps: &[Gap]) -> Result<Vec<String>, SourceError> {
        self.outside = self.tail.is_none();
        let mut gone = Vec::new();
        for gap in gaps {
            match Announced::parse(&gap.origin) {
                Some(_) if self.ahead.len() >= REFILL => {
                    let fault = format!("more than {REFILL} objects are missing: ask for a shorter time");
                    return Err(SourceError::config(&self.name, fault));
                }
                Some(object) => {
                    let folder = self.list.iter().find(|folder| folder.bucket == object.bucket);
                    let region = folder.and_then(|folder| folder.region.clone());
                    self.ahead.push_back(Announced { region, ..object });
                }
                None => gone.push(gap.origin.clone()),
            }
        }
        Ok(gone)
    }
}
