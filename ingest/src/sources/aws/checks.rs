//! What the queue's source may and may not do, asked by calls that change nothing.

use aws_sdk_sqs::types::QueueAttributeName;
use futures_util::TryStreamExt;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore};

use super::access::{fault, store_fault};
use super::keys::Keys;
use super::listing::prefix;
use super::partition;
use super::sqs::{Folder, Sqs};
use crate::sources::{Check, SourceError};

/// No message has this handle: who may delete is told so, who may not is refused.
const NO_HANDLE: &str = "keytrail-check";

pub(super) async fn all(source: &Sqs) -> Vec<Check> {
    let mut checks = queue(source).await;
    for folder in &source.list {
        checks.extend(bucket(source, folder).await);
    }
    if let Some(keys) = &source.keys {
        checks.extend(public_keys(keys).await);
    }
    checks
}

fn check(what: String, said: Result<(), SourceError>) -> Check {
    Check { what, fault: said.err().map(|fault| fault.to_string()) }
}

/// Allowed, but the handle is none.
fn unless_denied(said: Result<(), SourceError>) -> Result<(), SourceError> {
    match said {
        Err(SourceError::Unreachable { fault, .. })
            if fault.contains("Receipt") || fault.starts_with("InvalidParameter") =>
        {
            Ok(())
        }
        said => said,
    }
}

async fn queue(source: &Sqs) -> Vec<Check> {
    let (queue, what) = (&source.queue, |action: &str| source.queue.what(action));
    let ask = queue.client.get_queue_attributes().queue_url(&queue.url);
    let said = ask.attribute_names(QueueAttributeName::QueueArn).send().await;
    let attributes = said.map(drop).map_err(|error| fault(what("sqs:GetQueueAttributes"), &error));
    // Whatever is received stays visible; its count of receipts grows by one.
    let ask = queue.client.receive_message().queue_url(&queue.url).max_number_of_messages(1);
    let said = ask.wait_time_seconds(0).visibility_timeout(0).send().await;
    let receive = said.map(drop).map_err(|error| fault(what("sqs:ReceiveMessage"), &error));
    let said = queue.client.delete_message().queue_url(&queue.url).receipt_handle(NO_HANDLE).send().await;
    let delete = said.map(drop).map_err(|error| fault(what("sqs:DeleteMessage"), &error));
    let ask = queue.client.change_message_visibility().queue_url(&queue.url).receipt_handle(NO_HANDLE);
    let said = ask.visibility_timeout(0).send().await;
    let change = said.map(drop).map_err(|error| fault(what("sqs:ChangeMessageVisibility"), &error));
    vec![
        check(what("sqs:GetQueueAttributes"), attributes),
        check(what("sqs:ReceiveMessage"), receive),
        check(what("sqs:DeleteMessage"), unless_denied(delete)),
        check(what("sqs:ChangeMessageVisibility"), unless_denied(change)),
    ]
}

/// One page of the folder, and one byte of the first object in it: that asks for the key that it is encrypted with, too.
async fn bucket(source: &Sqs, folder: &Folder) -> Vec<Check> {
    let arn = format!("arn:{}:s3:::{}", partition(&source.objects.access.region), folder.bucket);
    let what = format!("s3:ListBucket on {arn}");
    let listed = first(source, folder).await.map_err(|fault| match fault {
        Failed::Store(fault) => store_fault(&what, &fault),
        Failed::Source(fault) => fault,
    });
    let first = match listed {
        Ok(first) => first,
        Err(fault) => return vec![check(what, Err(fault))],
    };
    let mut checks = vec![check(what, Ok(()))];
    if let Some(object) = first {
        let what = format!("s3:GetObject on {arn}/{}", object.location);
        let read = read(source, folder, &object).await.map_err(|fault| match fault {
            Failed::Store(fault) => store_fault(&what, &fault),
            Failed::Source(fault) => fault,
        });
        checks.push(check(what, read));
    }
    checks
}

enum Failed {
    Store(object_store::Error),
    Source(SourceError),
}

async fn first(source: &Sqs, folder: &Folder) -> Result<Option<ObjectMeta>, Failed> {
    let store = source.objects.store(&folder.bucket, folder.region.as_deref()).map_err(Failed::Source)?;
    let prefix = prefix(folder).map_err(Failed::Source)?;
    store.list(prefix.as_ref()).try_next().await.map_err(Failed::Store)
}

async fn read(source: &Sqs, folder: &Folder, object: &ObjectMeta) -> Result<(), Failed> {
    let store = source.objects.store(&folder.bucket, folder.region.as_deref()).map_err(Failed::Source)?;
    let range = (object.size > 0).then_some(GetRange::Bounded(0..1));
    let options = GetOptions { range, ..GetOptions::default() };
    store.get_opts(&object.location, options).await.map(drop).map_err(Failed::Store)
}

async fn public_keys(keys: &Keys) -> Option<Check> {
    let asked = keys.asked().await?;
    Some(check("cloudtrail:ListPublicKeys on *".to_owned(), asked))
}
