//! Every way that CloudTrail's records come wrapped, and envelopes that lie.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    out.write_all(bytes).expect("write");
    out.finish().expect("finish")
}

fn unwrap(envelope: &str, document: &str) -> Result<Option<Unwrapped>, Fault> {
    Envelope::parse(envelope).expect(envelope).unwrap(document.as_bytes(), &Limits::default())
}

fn records(envelope: &str, document: &str) -> Vec<Value> {
    let out = unwrap(envelope, document).expect("no fault").expect("found");
    assert_eq!(out.fault, None);
    let bytes = out.decoded.as_deref().unwrap_or(document.as_bytes());
    out.ranges.into_iter().map(|range| serde_json::from_slice(&bytes[range]).expect("JSON")).collect()
}

#[test]
fn records_without_decoders_are_ranges_of_the_document() {
    let document = r#"{"Records": [{"a":1}, {"a":2}]}"#;
    let out = unwrap("Records[]", document).expect("no fault").expect("found");
    assert_eq!((out.decoded, out.ranges), (None, vec![13..20, 22..29]));
    assert_eq!(records("detail", r#"{"detail":{"a":1}}"#), [json!({"a": 1})]);
}

#[test]
fn the_path_may_not_be_there_or_be_empty() {
    for envelope in ["Records[]", "Records[] | json", "detail", "detail | base64 > x[]"] {
        assert_eq!(unwrap(envelope, r#"{"a":1}"#), Ok(None), "{envelope}");
    }
    for envelope in ["Records[]", "Records[] | json"] {
        let out = unwrap(envelope, r#"{"Records":[]}"#).expect("no fault").expect("found");
        assert!(out.ranges.is_empty());
    }
}

#[test]
fn json_in_a_string_and_a_subscription() {
    let inner = json!({"a": "q\"é\n"});
    let lookup = json!({"Events": [{"CloudTrailEvent": inner.to_string()}, {"CloudTrailEvent": "{}"}]});
    assert_eq!(records("Events[].CloudTrailEvent | json", &lookup.to_string()), [inner.clone(), json!({})]);
    let events = json!({"logEvents": [{"message": inner.to_string()}, {"message": "{\"b\":2}"}]}).to_string();
    let data = json!({"awslogs": {"data": STANDARD.encode(gzip(events.as_bytes()))}}).to_string();
    let envelope = "awslogs.data | base64 | gunzip | json > logEvents[].message | json";
    assert_eq!(records(envelope, &data), [inner, json!({"b": 2})]);
}

#[test]
fn a_decoded_array_gives_its_elements() {
    let document = json!({"body": "[{\"a\":1}, {\"a\":2}]"}).to_string();
    assert_eq!(records("body | json", &document), [json!({"a": 1}), json!({"a": 2})]);
}

#[test]
fn what_came_before_the_break_is_had() {
    let out = unwrap("Records[]", r#"{"Records":[{"a":1},{"a":2},{"a"#).expect("some").expect("found");
    assert_eq!(out.ranges.len(), 2);
    assert!(out.fault.is_some_and(|fault| fault.reason.starts_with("truncated")));
    let one_bad = json!({"R": [STANDARD.encode("{}"), "%%%", STANDARD.encode("{}")]}).to_string();
    let out = unwrap("R[] | base64", &one_bad).expect("some").expect("found");
    assert_eq!(out.ranges.len(), 2);
    assert!(out.fault.is_some_and(|fault| fault.reason.starts_with("base64 does not decode")));
}

#[test]
fn a_bomb_is_left_alone() {
    let bomb = json!({"d": STANDARD.encode(gzip(&vec![b' '; 1 << 20]))}).to_string();
    let envelope = Envelope::parse("d | base64 | gunzip").expect("envelope");
    let limits = Limits { inflate_max: 1000, ..Limits::default() };
    let fault = envelope.unwrap(bomb.as_bytes(), &limits).expect_err("bomb");
    assert!(fault.reason.starts_with("inflates to more than 1000 bytes"), "{}", fault.reason);
}

#[test]
fn what_is_no_envelope_is_refused_with_a_hint() {
    assert_eq!(
        Envelope::parse("a | bse64").expect_err("typo"),
        "envelope `a | bse64`: unknown decoder `bse64`, did you mean `base64`?; known are json, base64, gunzip"
    );
    assert!(Envelope::parse("").is_err() && Envelope::parse("a > ").is_err() && Envelope::parse("a[*]").is_err());
}
