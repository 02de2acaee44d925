//! CloudTrail's event history, against a fake that checks requests as CloudTrail's published model describes them.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use super::*;
use crate::sources::aws::{CloudTrail, CloudTrailConfig};
use crate::sources::{BROKEN, Gap, Listing};

#[derive(Default)]
struct Fake {
    asked: Vec<Value>,
    when: Vec<Duration>,
    began: Option<tokio::time::Instant>,
    /// Answers that come before the true ones: a status and a code.
    first: Vec<(u16, &'static str)>,
    /// From which page on it fails.
    fails_at: Option<usize>,
}

type Shared = Arc<Mutex<Fake>>;

/// Three pages of two events for each window, newest first.
async fn answer(State(fake): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let mut fake = fake.lock().expect("a lock");
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let asked: Value = serde_json::from_slice(&body).expect("JSON");
    let began = *fake.began.get_or_insert_with(tokio::time::Instant::now);
    fake.when.push(began.elapsed());
    fake.asked.push(asked.clone());
    if header("x-amz-target") != "CloudTrail_20131101.LookupEvents"
        || header("content-type") != "application/x-amz-json-1.1"
        || !header("authorization").contains("/cloudtrail/aws4_request")
    {
        return refuse(400, "UnknownOperationException");
    }
    if let Err(why) = valid(&asked) {
        return refuse(400, why);
    }
    if !fake.first.is_empty() {
        let (status, code) = fake.first.remove(0);
        return refuse(status, code);
    }
    let page: usize = asked["NextToken"].as_str().map_or(0, |token| token.parse().expect("our token"));
    if fake.fails_at.is_some_and(|at| page >= at) {
        return refuse(500, "InternalFailure");
    }
    let event = |number: usize| {
        let id = format!("{}-{number}", asked["StartTime"]);
        json!({"EventId": id, "CloudTrailEvent": json!({"eventID": id}).to_string(), "EventTime": 1_764_000_000})
    };
    let mut said = json!({"Events": [event(page * 2), event(page * 2 + 1)]});
    if page < 2 {
        said["NextToken"] = json!((page + 1).to_string());
    }
    Response::new(Body::from(said.to_string()))
}

/// What the model says of each member.
fn valid(asked: &Value) -> Result<(), &'static str> {
    const MEMBERS: &[&str] = &["LookupAttributes", "StartTime", "EndTime", "EventCategory", "MaxResults", "NextToken"];
    let members = asked.as_object().ok_or("SerializationException")?;
    if members.keys().any(|name| !MEMBERS.contains(&name.as_str())) {
        return Err("SerializationException");
    }
    let (start, end) = (asked["StartTime"].as_f64(), asked["EndTime"].as_f64());
    if start.zip(end).is_none_or(|(start, end)| start > end) {
        return Err("InvalidTimeRangeException");
    }
    match asked["MaxResults"].as_i64() {
        Some(1..=50) => Ok(()),
        _ => Err("InvalidMaxResultsException"),
    }
}

fn refuse(status: u16, code: &str) -> Response {
    let body = json!({"__type": code, "message": "so it is"}).to_string();
    let response = Response::builder().status(StatusCode::from_u16(status).expect("a status"));
    response.body(Body::from(body)).expect("an answer")
}

async fn start(fake: Fake, windows: i64) -> (CloudTrail, Shared) {
    let shared = Arc::new(Mutex::new(fake));
    let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let since = Micros(now().0 - 900 * Micros::SECOND - windows * 300 * Micros::SECOND);
    let config = CloudTrailConfig {
        region: "eu-west-1".to_owned(),
        endpoint: Some(at),
        since: Some(since),
        ..CloudTrailConfig::default()
    };
    (CloudTrail::open("history", &config, &known()).await.expect("a source"), shared)
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_are_read_page_by_page_and_only_when_pulled() {
    let (mut source, fake) = start(Fake::default(), 2).await;
    let mut origins = Vec::new();
    let skipped = source.next(SECOND).await.expect("it comes").expect("a window");
    origins.push(skipped.parts[0].origin.clone());
    source.ack(skipped.receipt).await.expect("known already");
    drop(skipped);
    assert_eq!(fake.lock().expect("a lock").asked.len(), 0);
    let (origin, records, rejects) = take(&mut source).await.expect("it comes").expect("a window").remove(0);
    assert_eq!((records.len(), rejects.len()), (6, 0));
    origins.push(origin);
    let starts: Vec<Micros> =
        origins.iter().filter_map(|origin| Micros::parse(origin.strip_prefix("lookup/eu-west-1/")?)).collect();
    assert_eq!((starts[1].0 - starts[0].0, starts[0].0 % (300 * Micros::SECOND)), (300 * Micros::SECOND, 0));
    {
        let fake = fake.lock().expect("a lock");
        let window = starts[1].0 / Micros::SECOND;
        assert!(
            fake.asked
                .iter()
                .all(|asked| asked["StartTime"] == json!(window) && asked["EndTime"] == json!(window + 299))
        );
        let paced = fake.when.windows(2).all(|pair| pair[1] >= pair[0] + Duration::from_millis(500));
        assert!(paced && fake.asked.len() == 3, "{:?}", fake.when);
    }
    // The time of the last one may just have come.
    while source.next(Duration::from_millis(50)).await.expect("it comes").is_some() {}
    let (since, until) = hour(-1, 0);
    let gap = Gap { origin: origins[0].clone(), range: None, since, until };
    source.refill(std::slice::from_ref(&gap)).await.expect("queued");
    assert_eq!(take(&mut source).await.expect("it comes").expect("a window")[0].0, origins[0]);
    let elsewhere = "lookup/us-east-1/2026-11-01T00:00:00Z".to_owned();
    assert_eq!(source.refill(&[Gap { origin: elsewhere.clone(), ..gap }]).await.expect("an answer"), [elsewhere]);
    assert!(matches!(source.listing(since, until).await, Ok(Listing::NotProvable(_))));
    assert_eq!(source.check().await[0].fault, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_is_waited_out() {
    let first = vec![(400, "ThrottlingException"), (400, "ThrottlingException")];
    let (mut source, fake) = start(Fake { first, ..Fake::default() }, 1).await;
    let (_, records, rejects) = take(&mut source).await.expect("it comes").expect("a window").remove(0);
    assert_eq!((records.len(), rejects.len()), (6, 0));
    assert_eq!(fake.lock().expect("a lock").asked.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_breaks_off_fails_and_comes_again() {
    let (mut source, fake) = start(Fake { fails_at: Some(1), ..Fake::default() }, 1).await;
    let delivery = source.next(SECOND).await.expect("it comes").expect("a window");
    let receipt = delivery.receipt;
    let (origin, records, rejects) = read(delivery).await.remove(0);
    assert_eq!((records.len(), rejects.len()), (2, 1));
    assert!(rejects[0].reason.starts_with(BROKEN), "{}", rejects[0].reason);
    assert_eq!(rejects[0].position.origin.to_string(), origin);
    source.nack(receipt).await.expect("put back");
    let fault = source.next(SECOND).await.err().expect("it is told");
    assert!(matches!(fault, SourceError::Unreachable { .. }), "{fault}");
    fake.lock().expect("a lock").fails_at = None;
    let again = loop {
        match source.next(8 * SECOND).await.expect("it comes") {
            Some(delivery) if delivery.parts[0].origin == origin => break delivery,
            other => assert!(other.is_some(), "it comes again"),
        }
    };
    assert_eq!(read(again).await[0].1.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_over_is_told() {
    let (mut source, fake) = start(Fake { first: vec![(400, "ExpiredTokenException")], ..Fake::default() }, 1).await;
    let (_, records, rejects) = take(&mut source).await.expect("it comes").expect("a window").remove(0);
    assert!(records.is_empty() && rejects[0].reason.contains("the session is over: renew it"), "{rejects:?}");
    let fault = source.next(SECOND).await.err().expect("it is told");
    assert!(matches!(fault, SourceError::Denied { .. }), "{fault}");
    fake.lock().expect("a lock").first.push((400, "AccessDeniedException"));
    let fault = source.check().await.remove(0).fault.expect("denied");
    assert!(
        fault.starts_with("cloudtrail:LookupEvents on * is not allowed: AccessDeniedException: so it is"),
        "{fault}"
    );
}
