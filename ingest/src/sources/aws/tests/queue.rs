//! The queue's promises, held against moto.

use serde_json::json;

use super::*;
use crate::sources::aws::sqs::Folder;
use crate::sources::{Gap, Listing};

#[tokio::test(flavor = "multi_thread")]
async fn every_wrapping_brings_its_objects_in_order() {
    let Some(world) = World::start("no queue was read").await else { return };
    let first = world.announce("logs/a b.jsonl", "{\"n\":1}\n{\"n\":2}\n").await;
    let etag = world.put("logs/c.json.gz", gzip(b"{\"Records\":[{\"n\":3}]}")).await;
    let wrapped =
        json!({"Type": "Notification", "TopicArn": "t", "Message": notice("logs/c.json.gz", &etag).to_string()});
    world.send(wrapped).await;
    world.send(json!({"Service": "Amazon S3", "Event": "s3:TestEvent"})).await;
    world.send(notice("AWSLogs/1/CloudTrail-Digest/x.json.gz", "e")).await;
    let object = json!({"key": "logs/c.json.gz", "etag": etag});
    let detail = json!({"bucket": {"name": "bucket"}, "object": object});
    world
        .send(json!({"source": "aws.s3", "region": "us-east-1", "detail-type": "Object Created", "detail": detail}))
        .await;
    // Without an etag, whatever stands there is meant.
    world.send(json!({"s3Bucket": "bucket", "s3ObjectKey": ["logs/c.json.gz", "logs/a b.jsonl"]})).await;
    let event = json!({"detail-type": "AWS API Call via CloudTrail", "detail": {"eventName": "CreateAccessKey"}});
    world.send(&event).await;

    let mut source = world.open().await;
    let all = drain(&mut source).await;
    let second = format!("s3://bucket/logs/c.json.gz#{etag}");
    let origins: Vec<&str> = all.iter().map(|read| read.0.as_str()).collect();
    assert_eq!(origins[..5], [&first, &second, &second, &second, &first]);
    assert!(origins[5].starts_with("sqs:notices/"), "{}", origins[5]);
    assert_eq!(all[0].1, ["{\"n\":1}", "{\"n\":2}"]);
    assert_eq!(all[1].1.len(), 1);
    assert_eq!(all[5].1, [event.to_string()]);
    assert!(all.iter().all(|read| read.2.is_empty()), "{all:?}");
    assert_eq!(source.lag().await.expect("a lag").waiting, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_acknowledged_comes_again() {
    let Some(world) = World::start("no message was left").await else { return };
    let origins = [world.announce("1.jsonl", "{}").await, world.announce("2.jsonl", "{}").await];
    let config = SqsConfig { visibility: Some("2s".to_owned()), ..world.config() };
    let mut source = Sqs::open("test", &config, &known()).await.expect("a source");
    let delivery = source.next(3 * SECOND).await.expect("it comes").expect("a delivery");
    assert_eq!(delivery.parts[0].origin, origins[0]);
    // Kept from others for longer than its first time.
    tokio::time::sleep(4 * SECOND).await;
    let mut other = Sqs::open("test", &config, &known()).await.expect("a source");
    assert!(other.next(SECOND).await.expect("nothing").is_none());
    // Whoever waits may be dropped at any time.
    for _ in 0..50 {
        drop(tokio::time::timeout(Duration::from_millis(3), source.next(SECOND)).await);
    }
    source.nack(delivery.receipt).await.expect("put back");
    drop((source, delivery.parts));
    let mut again = Vec::new();
    while again.len() < 2 {
        again.extend(take(&mut other).await.expect("it comes").into_iter().flatten().map(|read| read.0));
    }
    again.sort();
    assert_eq!(again, origins);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_told_and_does_not_stop_the_rest() {
    let Some(world) = World::start("no poison was given").await else { return };
    world.send("no json").await;
    let gone = world.announce("gone.jsonl", "{}").await;
    world.store.delete(&path_of("gone.jsonl")).await.expect("deleted");
    let old = world.announce("changed.jsonl", "{\"n\":1}").await;
    let new = world.announce("changed.jsonl", "{\"n\":2}").await;
    world.send(notice("a//b.jsonl", "e")).await;
    let mut source = world.open().await;
    let all = drain(&mut source).await;
    let why = |at: usize| all[at].2[0].reason.as_str();
    assert!(all[0].0.starts_with("sqs:notices/") && why(0).starts_with("the message is not JSON"), "{all:?}");
    assert_eq!((&all[1].0, &all[2].0, &all[3].0), (&gone, &old, &new));
    assert!(why(1).ends_with("it was deleted before it was read; restore it and hand it over again"), "{}", why(1));
    assert!(why(2).contains("it was overwritten before it was read"), "{}", why(2));
    assert_eq!(all[3].1, ["{\"n\":2}"]);
    assert!(why(4).contains("its key cannot be asked for"), "{}", why(4));
    assert_eq!(source.lag().await.expect("a lag").waiting, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_names_what_came_and_gaps_are_filled() {
    let Some(world) = World::start("no folder was listed").await else { return };
    let day = |at: Micros| at.to_string().chars().take(10).collect::<String>().replace('-', "/");
    let (today, old) = (day(now()), day(hour(-24 * 30, 0).0));
    let trail = "AWSLogs/111122223333/CloudTrail/us-east-1";
    let one = world.announce(&format!("{trail}/{today}/x.json.gz"), gzip(b"{\"n\":1}")).await;
    let plain = world.announce("AWSLogs/plain/y.jsonl", "{}").await;
    // Written now, but into a folder that is not near.
    world.put(&format!("{trail}/{old}/x.json.gz"), gzip(b"{}")).await;
    world.put("AWSLogs/111122223333/Config/z.json", "{}").await;
    world.put("elsewhere/z.json", "{}").await;
    let folder = |prefix: &str| Folder { bucket: "bucket".to_owned(), prefix: prefix.to_owned(), region: None };
    let config = SqsConfig { list: vec![folder("AWSLogs"), folder("AWSLogs/plain/")], ..world.config() };
    let mut source = Sqs::open("test", &config, &known()).await.expect("a source");
    let came: Vec<String> = drain(&mut source).await.into_iter().map(|read| read.0).collect();
    let (since, until) = hour(-1, 1);
    let Listing::Objects { objects, .. } = source.listing(since, until).await.expect("a list") else {
        panic!("a list")
    };
    let listed: Vec<&String> = objects.iter().map(|object| &object.origin).collect();
    assert_eq!(listed, [&one, &plain]);
    assert_eq!(came, [one.clone(), plain]);
    let Listing::Objects { objects, .. } = source.listing(until, until).await.expect("a list") else {
        panic!("a list")
    };
    assert_eq!(objects, []);

    let gap = |origin: &str| Gap { origin: origin.to_owned(), range: None, since, until };
    let gone = source.refill(&[gap(&one), gap("sqs:notices/1")]).await.expect("the object");
    assert_eq!(gone, ["sqs:notices/1"]);
    world.announce("later.jsonl", "{}").await;
    let again = drain(&mut source).await;
    assert_eq!((again[0].0.as_str(), again[0].1.len(), again.len()), (one.as_str(), 1, 2));
    let faults: Vec<_> = source.check().await.into_iter().filter(|check| check.fault.is_some()).collect();
    assert_eq!(faults, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_does_not_expire_is_refused() {
    let refused = Surroundings { allow_static_key: false, ..known() };
    let queue_url = "https://sqs.eu-west-1.amazonaws.com/111122223333/notices".to_owned();
    let config = SqsConfig { queue_url, ..SqsConfig::default() };
    let fault = Sqs::open("trail", &config, &refused).await.err().expect("refused").to_string();
    assert!(fault.starts_with("source `trail`: the credentials do not expire; use a role"), "{fault}");
    let mut session = Surroundings { allow_static_key: false, ..known() };
    session.environment.insert("AWS_SESSION_TOKEN".to_owned(), "made-up".to_owned());
    let source = Sqs::open("trail", &config, &session).await.expect("a session may");
    // The region stands in the queue's address.
    assert_eq!(source.queue.arn, "arn:aws:sqs:eu-west-1:111122223333:notices");
    let wrong = SqsConfig { visibility: Some("soon".to_owned()), ..config };
    let fault = Sqs::open("trail", &wrong, &session).await.err().expect("no length").to_string();
    assert!(fault.contains("`visibility: soon` is no length of time"), "{fault}");
}
