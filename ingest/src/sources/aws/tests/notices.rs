//! What messages say, without a server.

use serde_json::json;

use super::notice;
use crate::sources::aws::notify::{Announced, Kind, Notice, kind, origin, read};

fn keys(body: &serde_json::Value) -> Vec<(String, Option<String>)> {
    match read(body.to_string().as_bytes()) {
        Notice::Objects(objects) => objects.into_iter().map(|object| (object.key, object.etag)).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn keys_are_decoded_where_they_are_encoded() {
    assert_eq!(keys(&notice("a/b+c%2Bd%25%C3%A4%zz", "e")), [("a/b c+d%ä%zz".to_owned(), Some("e".to_owned()))]);
    let detail = json!({"bucket": {"name": "b"}, "object": {"key": "a/b+c%2B", "etag": "e", "size": 3}});
    let bridged = json!({"source": "aws.s3", "detail-type": "Object Created", "detail": detail});
    assert_eq!(keys(&bridged), [("a/b+c%2B".to_owned(), Some("e".to_owned()))]);
}

#[test]
fn wrappings_are_taken_off() {
    let told = keys(&notice("k", "e"));
    let wrap =
        |inner: &serde_json::Value| json!({"Type": "Notification", "TopicArn": "t", "Message": inner.to_string()});
    assert_eq!(keys(&wrap(&notice("k", "e"))), told);
    assert_eq!(keys(&wrap(&wrap(&notice("k", "e")))), told);
    // CloudTrail's own notice knows no etag.
    let trail = json!({"s3Bucket": "b", "s3ObjectKey": ["AWSLogs/1/CloudTrail/x.json.gz"]});
    assert_eq!(keys(&wrap(&trail)), [("AWSLogs/1/CloudTrail/x.json.gz".to_owned(), None)]);
}

#[test]
fn what_is_no_log_is_left_alone() {
    assert_eq!(keys(&json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"})), []);
    assert_eq!(keys(&notice("AWSLogs/1/CloudTrail-Digest/eu-west-1/2026/x.json.gz", "e")), []);
    assert_eq!(keys(&notice("p/AWSLogs/1/Config/eu-west-1/x.json.gz", "e")), []);
    let mut removed = notice("k", "e");
    removed["Records"][0]["eventName"] = json!("ObjectRemoved:Delete");
    assert_eq!(keys(&removed), []);
    assert_eq!(kind("Config/AWSLogs.json"), Kind::Log);
    assert_eq!(kind("folder/"), Kind::Other);
}

#[test]
fn events_are_records_and_the_rest_is_told() {
    let event = json!({"detail-type": "AWS API Call via CloudTrail", "source": "aws.iam", "detail": {}}).to_string();
    assert_eq!(read(event.as_bytes()), Notice::Event(event.clone().into_bytes()));
    let records = json!({"Records": [{"eventVersion": "1.11"}]}).to_string();
    assert_eq!(read(records.as_bytes()), Notice::Event(records.clone().into_bytes()));
    let unknown = |body: &str| match read(body.as_bytes()) {
        Notice::Unknown(why) => why,
        other => panic!("{other:?}"),
    };
    assert!(unknown("no json").starts_with("the message is not JSON ("));
    assert!(unknown("[1]").starts_with("the message is JSON but no object"));
    let confirm = json!({"Type": "SubscriptionConfirmation", "TopicArn": "t", "Message": "m"}).to_string();
    assert!(unknown(&confirm).contains("subscription to be confirmed"));
}

#[test]
fn origins_come_back_as_objects() {
    let object =
        Announced { bucket: "b".into(), key: "a/b#c d".into(), etag: Some("e-2".into()), ..Announced::default() };
    assert_eq!(Announced::parse(&object.origin()), Some(object));
    assert_eq!(origin("b", "k", None), "s3://b/k#missing");
    assert_eq!(Announced::parse("s3://b/k#missing").expect("an object").etag, None);
    assert_eq!(Announced::parse("sqs:queue/1"), None);
}
