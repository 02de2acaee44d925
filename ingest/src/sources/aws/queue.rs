//! A queue's messages: received in the background into a bounded channel, kept from others while they are worked on.
//!
//! Whoever drops this loses nothing: what was received and not deleted becomes visible again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{ChangeMessageVisibilityBatchRequestEntry, Message};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::access::fault;
use super::partition;
use crate::sources::SourceError;

/// SQS takes no more in one call.
const BATCH: usize = 10;

/// SQS keeps a message from others for no longer than this, however often it is asked.
const LONGEST: Duration = Duration::from_hours(12);

/// After a fault, the first pause and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// The queue and how it is asked.
#[derive(Clone)]
pub(super) struct Queue {
    pub(super) client: Client,
    pub(super) url: String,
    pub(super) arn: String,
    pub(super) wait: Duration,
    pub(super) visibility: Duration,
}

/// A message that is ours for now. Another is received for it once it is dropped.
pub(super) struct Taken {
    pub(super) id: String,
    pub(super) handle: String,
    pub(super) body: String,
    _room: OwnedSemaphorePermit,
}

/// Handles of the messages that are ours, and since when.
type Held = Arc<Mutex<HashMap<String, Instant>>>;

/// The receiving end; both tasks end with it.
pub(super) struct Tail {
    pub(super) messages: mpsc::Receiver<Result<Taken, SourceError>>,
    held: Held,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Tail {
    /// From now on others may have the message once its time is over.
    pub(super) fn release(&self, message: &Taken) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&message.handle);
    }
}

impl Queue {
    pub(super) fn what(&self, action: &str) -> String {
        format!("{action} on {}", self.arn)
    }

    pub(super) fn tail(&self, in_flight: usize) -> Tail {
        let (send, messages) = mpsc::channel(in_flight);
        let held = Held::default();
        let receiving = tokio::spawn(self.clone().receive(in_flight, Arc::clone(&held), send));
        let keeping = tokio::spawn(self.clone().keep(Arc::clone(&held)));
        Tail { messages, held, tasks: [receiving, keeping] }
    }

    async fn receive(self, in_flight: usize, held: Held, send: mpsc::Sender<Result<Taken, SourceError>>) {
        let (room, mut pause) = (Arc::new(Semaphore::new(in_flight)), PAUSES.0);
        loop {
            let Ok(first) = Arc::clone(&room).acquire_owned().await else { return };
            let mut permits = vec![first];
            while permits.len() < BATCH
                && let Ok(next) = Arc::clone(&room).try_acquire_owned()
            {
                permits.push(next);
            }
            match self.take(permits, &held).await {
                Ok(taken) => {
                    pause = PAUSES.0;
                    for message in taken {
                        if send.send(Ok(message)).await.is_err() {
                            return;
                        }
                    }
                }
                Err(fault) => {
                    if send.send(Err(fault)).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        }
    }

    async fn take(&self, permits: Vec<OwnedSemaphorePermit>, held: &Held) -> Result<Vec<Taken>, SourceError> {
        let count = i32::try_from(permits.len()).unwrap_or(1);
        let ask = self.client.receive_message().queue_url(&self.url).max_number_of_messages(count);
        let ask = ask.wait_time_seconds(seconds(self.wait)).visibility_timeout(seconds(self.visibility));
        let asked = Instant::now();
        let got = ask.send().await.map_err(|error| fault(self.what("sqs:ReceiveMessage"), &error))?;
        let messages = got.messages.unwrap_or_default();
        let taken: Vec<_> =
            messages.into_iter().zip(permits).filter_map(|(message, room)| taken(message, room)).collect();
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        held.extend(taken.iter().map(|message| (message.handle.clone(), asked)));
        Ok(taken)
    }

    /// Extends the time of what is held, twice before it would end.
    async fn keep(self, held: Held) {
        let mut ticks = tokio::time::interval(self.visibility / 3);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let handles: Vec<String> = {
                let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
                held.retain(|_, since| since.elapsed() + self.visibility < LONGEST);
                held.keys().cloned().collect()
            };
            for some in handles.chunks(BATCH) {
                self.extend(some, &held).await;
            }
        }
    }

    async fn extend(&self, handles: &[String], held: &Held) {
        let entries = handles.iter().enumerate().map(|(number, handle)| {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(number.to_string());
            entry.receipt_handle(handle).visibility_timeout(seconds(self.visibility)).build()
        });
        let Ok(entries) = entries.collect::<Result<Vec<_>, _>>() else { return };
        let ask = self.client.change_message_visibility_batch().queue_url(&self.url).set_entries(Some(entries));
        match ask.send().await {
            Ok(said) => {
                let lost = said.failed.iter().filter(|failed| failed.sender_fault);
                let lost = lost.filter_map(|failed| handles.get(failed.id.parse::<usize>().ok()?));
                let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
                for handle in lost {
                    held.remove(handle);
                }
            }
            Err(error) => {
                let fault = fault(self.what("sqs:ChangeMessageVisibility"), &error);
                tracing::warn!(%fault, "messages that are worked on may come again");
            }
        }
    }

    pub(super) async fn delete(&self, message: &Taken) -> Result<(), SourceError> {
        let ask = self.client.delete_message().queue_url(&self.url).receipt_handle(&message.handle);
        ask.send().await.map(drop).map_err(|error| fault(self.what("sqs:DeleteMessage"), &error))
    }

    /// Lets the message come again after a while.
    pub(super) async fn put_back(&self, message: &Taken, after: Duration) -> Result<(), SourceError> {
        let ask = self.client.change_message_visibility().queue_url(&self.url).receipt_handle(&message.handle);
        let said = ask.visibility_timeout(seconds(after)).send().await;
        said.map(drop).map_err(|error| fault(self.what("sqs:ChangeMessageVisibility"), &error))
    }
}

fn taken(message: Message, room: OwnedSemaphorePermit) -> Option<Taken> {
    let (id, handle) = (message.message_id?, message.receipt_handle?);
    Some(Taken { id, handle, body: message.body.unwrap_or_default(), _room: room })
}

fn seconds(length: Duration) -> i32 {
    i32::try_from(length.as_secs()).unwrap_or(i32::MAX)
}

/// A queue's name, and its region where its address is one of Amazon's.
pub(super) fn named(url: &url::Url) -> Option<(String, Option<String>)> {
    let name = url.path_segments()?.next_back().filter(|name| !name.is_empty())?;
    let mut host = url.host_str().unwrap_or_default().split('.');
    // `sqs.eu-west-1.amazonaws.com`, and of old `eu-west-1.queue.amazonaws.com`.
    let region = match (host.next(), host.next(), host.next()) {
        (Some("sqs" | "sqs-fips"), Some(region), Some("amazonaws" | "api")) => Some(region.to_owned()),
        (Some(region), Some("queue"), Some("amazonaws")) => Some(region.to_owned()),
        _ => None,
    };
    Some((name.to_owned(), region))
}

/// `arn:aws:sqs:eu-west-1:111122223333:name`.
pub(super) fn arn(url: &url::Url, region: &str, name: &str) -> String {
    let account = url.path_segments().and_then(|mut parts| parts.next()).unwrap_or_default();
    format!("arn:{}:sqs:{region}:{account}:{name}", partition(region))
}
