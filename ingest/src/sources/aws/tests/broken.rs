//! Servers that end, connections that break, and refusals.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use futures_util::stream;

use super::proxy::Proxy;
use super::*;
use crate::sources::BROKEN;
use crate::sources::aws::sqs::Folder;

async fn through(world: &World, proxy: &Proxy) -> Sqs {
    let at = format!("http://127.0.0.1:{}", proxy.port);
    // What was in an answer that was cut comes again after so long.
    let config = SqsConfig { endpoint: Some(at), visibility: Some("2s".to_owned()), ..world.config() };
    Sqs::open("test", &config, &known()).await.expect("a source")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_away_is_found_again() {
    let Some(world) = World::start("no server ended").await else { return };
    let proxy = Proxy::start(world.server.port).await;
    let mut source = through(&world, &proxy).await;
    let one = world.announce("1.jsonl", "{}").await;
    assert_eq!(take(&mut source).await.expect("it comes").expect("a delivery")[0].0, one);
    proxy.state.closed.store(true, Ordering::SeqCst);
    let two = world.announce("2.jsonl", "{}").await;
    let fault = loop {
        if let Err(fault) = take(&mut source).await {
            break fault.to_string();
        }
    };
    assert!(fault.contains("sqs:ReceiveMessage on arn:aws:sqs:us-east-1:"), "{fault}");
    proxy.state.closed.store(false, Ordering::SeqCst);
    let came = loop {
        match take(&mut source).await {
            Ok(Some(parts)) => break parts,
            Ok(None) | Err(SourceError::Unreachable { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(came[0].0, two);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_breaks_off_is_read_on_or_fails() {
    let Some(world) = World::start("no connection broke").await else { return };
    let lines: String =
        (0..100_000).map(|number| format!("{{\"number\":{number},\"filler\":\"0123456789\"}}\n")).collect();
    for key in ["few.jsonl", "many.jsonl"] {
        world.announce(key, lines.clone()).await;
    }
    let proxy = Proxy::start(world.server.port).await;
    let mut source = through(&world, &proxy).await;
    proxy.state.after.store(600_000, Ordering::SeqCst);
    proxy.state.cuts.store(3, Ordering::SeqCst);
    let few = take(&mut source).await.expect("it comes").expect("a delivery");
    assert!(few[0].2.is_empty(), "{:?}", few[0].2);
    assert_eq!(few[0].1.iter().map(|line| format!("{line}\n")).collect::<String>(), lines);
    proxy.state.after.store(100_000, Ordering::SeqCst);
    proxy.state.cuts.store(i64::MAX, Ordering::SeqCst);
    let many = take(&mut source).await.expect("it comes").expect("a delivery");
    let last = &many[0].2.last().expect("it failed").reason;
    assert_eq!(many[0].2.len(), 1, "{:?}", many[0].2);
    assert!(last.starts_with(BROKEN) && last.contains("bytes "), "{last}");
    assert!(many[0].1.len() < 100_000);
}

/// Asks of one service, as nobody in particular.
async fn iam(world: &World, action: &str) -> String {
    let scope = "AWS4-HMAC-SHA256 Credential=root/20261101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=0";
    let form = "application/x-www-form-urlencoded";
    let asked =
        reqwest::Client::new().post(&world.endpoint).header("authorization", scope).header("content-type", form);
    let said = asked.body(format!("{action}&Version=2010-05-08")).send().await.expect("an answer");
    assert!(said.status().is_success(), "{}", said.status());
    said.text().await.expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_is_told_what_is_missing() {
    let Some(world) = World::start("no access was denied").await else { return };
    world.announce("1.jsonl", "{}").await;
    iam(&world, "Action=CreateUser&UserName=reader").await;
    let policy = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A\
        %5B%22sqs%3AReceiveMessage%22%2C%22sqs%3AChangeMessageVisibility%22%2C%22sqs%3AGetQueueAttributes%22%5D%2C\
        %22Resource%22%3A%22%2A%22%7D%5D%7D";
    iam(&world, &format!("Action=PutUserPolicy&UserName=reader&PolicyName=p&PolicyDocument={policy}")).await;
    let key = iam(&world, "Action=CreateAccessKey&UserName=reader").await;
    let part =
        |name: &str| super::super::access::between(&key, &format!("<{name}>"), &format!("</{name}>")).expect("a key");
    let (id, secret) = (part("AccessKeyId"), part("SecretAccessKey"));
    let reset = reqwest::Client::new().post(format!("{}/moto-api/reset-auth", world.endpoint)).body("0");
    reset.header("content-type", "text/plain").send().await.expect("from now on it asks who calls");
    let who = around(&[("AWS_ACCESS_KEY_ID", id), ("AWS_SECRET_ACCESS_KEY", secret), ("AWS_REGION", "us-east-1")]);
    let list = vec![Folder { bucket: "bucket".to_owned(), ..Folder::default() }];
    let config = SqsConfig { list, ..world.config() };
    let mut source = Sqs::open("test", &config, &who).await.expect("a source");
    let faults: Vec<_> = source.check().await.into_iter().filter_map(|check| check.fault).collect();
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].starts_with("sqs:DeleteMessage on arn:aws:sqs:us-east-1:"), "{faults:?}");
    assert!(faults[1].starts_with("s3:ListBucket on arn:aws:s3:::bucket is not allowed: AccessDenied"), "{faults:?}");
    let fault = take(&mut source).await.expect_err("denied");
    assert!(matches!(fault, SourceError::Denied { .. }), "{fault}");
    let fault = fault.to_string();
    assert!(fault.starts_with("s3:GetObject on arn:aws:s3:::bucket/1.jsonl is not allowed: "), "{fault}");
    assert!(source.next(SECOND).await.expect("it went on").is_none());
    let wrong = around(&[("AWS_ACCESS_KEY_ID", id), ("AWS_SECRET_ACCESS_KEY", "other"), ("AWS_REGION", "us-east-1")]);
    let mut source = Sqs::open("test", &config, &wrong).await.expect("a source");
    let fault = take(&mut source).await.expect_err("a wrong signature");
    assert!(matches!(fault, SourceError::Denied { .. }), "{fault}");
}

async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    at
}

/// What both services answer when a session is over; S3 repeats the token.
async fn expired(headers: HeaderMap) -> Response {
    let json = r#"{"__type":"com.amazonaws.sqs#ExpiredToken","message":"The security token included is expired"}"#;
    let xml = "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message>\
        <Token-0>the-token-itself</Token-0></Error>";
    let body = if headers.contains_key("x-amz-target") { json } else { xml };
    Response::builder().status(400).body(Body::from(body)).expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_over_is_told_without_its_token() {
    let at = serve(Router::new().fallback(expired)).await;
    let config = SqsConfig { queue_url: format!("{at}/1/notices"), endpoint: Some(at), ..SqsConfig::default() };
    let list = vec![Folder { bucket: "bucket".to_owned(), ..Folder::default() }];
    let mut source = Sqs::open("test", &SqsConfig { list, ..config }, &known()).await.expect("a source");
    let fault = source.next(5 * SECOND).await.err().expect("refused");
    assert!(matches!(fault, SourceError::Denied { .. }), "{fault}");
    assert!(fault.to_string().contains("the session is over: renew it, or use a role"), "{fault}");
    let (since, until) = hour(-1, 1);
    let fault = source.listing(since, until).await.expect_err("refused").to_string();
    assert!(fault.contains("ExpiredToken: The provided token has expired.; the session is over"), "{fault}");
    assert!(!fault.contains("the-token-itself"), "{fault}");
}

const PIECE: &str = "{\"eventName\":\"GetObject\",\"filler\":\"0123456789012345678901234567890123456789\"}\n";
const PIECES: u64 = 2_600_000;

/// One object of some 200 MB, made as it is sent.
async fn large(State(sent): State<Arc<AtomicU64>>, method: Method) -> Response {
    let (each, runs) = (PIECE.repeat(1000), PIECES / 1000);
    let bodies = (0..runs).map(move |_| {
        sent.fetch_add(each.len() as u64, Ordering::SeqCst);
        Ok::<_, std::io::Error>(Bytes::from(each.clone()))
    });
    let body = if method == Method::GET { Body::from_stream(stream::iter(bodies)) } else { Body::empty() };
    let size = PIECE.len() as u64 * PIECES;
    let response = Response::builder().header("content-length", size).header("etag", "\"e\"");
    response.header("last-modified", "Wed, 25 Nov 2026 10:00:00 GMT").body(body).expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_object_is_never_held_whole() {
    let sent = Arc::new(AtomicU64::new(0));
    let at = serve(Router::new().fallback(large).with_state(Arc::clone(&sent))).await;
    let config = SqsConfig { queue_url: format!("{at}/1/notices"), endpoint: Some(at), ..SqsConfig::default() };
    let mut source = Sqs::open("test", &config, &known()).await.expect("a source");
    let (since, until) = hour(-1, 1);
    let gap = crate::sources::Gap { origin: "s3://bucket/large#e".to_owned(), range: None, since, until };
    source.refill(&[gap]).await.expect("queued");
    let delivery = source.next(SECOND).await.expect("it comes").expect("a delivery");
    let reading = tokio::task::spawn_blocking(move || {
        let (mut read, mut most, mut records) = (0, 0, 0);
        for (number, chunk) in delivery.parts.into_iter().flat_map(|part| part.chunks).enumerate() {
            let chunk = chunk.expect("a chunk");
            (read, records) = (read + chunk.bytes.len() as u64, records + chunk.spans.len() as u64);
            if number % 40 == 0 {
                std::thread::sleep(Duration::from_millis(200));
                most = most.max(sent.load(Ordering::SeqCst).saturating_sub(read));
            }
        }
        (most, records)
    });
    let (most, records) = reading.await.expect("read");
    assert_eq!(records, PIECES);
    // What the two ends of a connection on loopback hold, and little of ours.
    assert!(most < 24 << 20, "{most} bytes were on their way");
}
