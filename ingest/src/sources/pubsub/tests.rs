//! Against Google's emulator. It keeps the order of nothing, knows no permissions and forgets all when it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine;
use keytrail_model::Micros;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{ExactlyOnce, Pubsub, PubsubConfig};
use crate::Limits;
use crate::sources::{Delivery, Gap, Listing, Source, SourceError, Surroundings};

use crate::sources::server;

/// A topic and a subscription of a test's own.
struct Emulator {
    /// Where it has a server to itself.
    server: Option<server::Server>,
    url: String,
    topic: String,
    subscription: String,
}

static NUMBER: AtomicU64 = AtomicU64::new(0);

impl Emulator {
    async fn start(settings: Value) -> Option<Self> {
        // Ends with this process, as its standard input does.
        static SHARED: OnceLock<Option<server::Server>> = OnceLock::new();
        let server = SHARED.get_or_init(|| server::Server::start("pubsub.py", &[], "Pub/Sub")).as_ref()?;
        Some(Self::on(server.port, None, &settings).await)
    }

    async fn alone() -> Option<Self> {
        let server = server::Server::start("pubsub.py", &[], "Pub/Sub")?;
        Some(Self::on(server.port, Some(server), &json!({})).await)
    }

    async fn on(port: u16, server: Option<server::Server>, settings: &Value) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let emulator = Self {
            server,
            url: format!("http://127.0.0.1:{port}"),
            topic: format!("projects/test/topics/topic-{number}"),
            subscription: format!("projects/test/subscriptions/audit-{number}"),
        };
        emulator.create(settings).await;
        emulator
    }

    async fn create(&self, settings: &Value) {
        self.call(reqwest::Method::PUT, &self.topic, &json!({})).await;
        let mut body = json!({ "topic": self.topic, "ackDeadlineSeconds": 10 });
        body.as_object_mut().expect("an object").extend(settings.as_object().cloned().unwrap_or_default());
        self.call(reqwest::Method::PUT, &self.subscription, &body).await;
    }

    async fn call(&self, method: reqwest::Method, path: &str, body: &Value) -> Value {
        let request = reqwest::Client::new().request(method, format!("{}/v1/{path}", self.url));
        let answer = request.header("content-type", "application/json").body(body.to_string()).send().await;
        let answer = answer.expect("an answer");
        let (status, text) = (answer.status(), answer.text().await.expect("a body"));
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).expect("JSON")
    }

    async fn publish(&self, bodies: &[Vec<u8>]) -> Vec<String> {
        let data = |body: &Vec<u8>| json!({ "data": base64::engine::general_purpose::STANDARD.encode(body) });
        let mut ids = Vec::new();
        // The most that is taken at once.
        for some in bodies.chunks(1000) {
            let body = json!({ "messages": some.iter().map(data).collect::<Vec<_>>() });
            let answer = self.call(reqwest::Method::POST, &format!("{}:publish", self.topic), &body).await;
            ids.extend(answer["messageIds"].as_array().expect("ids").iter().cloned());
        }
        ids.iter().map(|id| id.as_str().expect("text").to_owned()).collect()
    }

    fn config(&self) -> PubsubConfig {
        PubsubConfig {
            subscription: self.subscription.clone(),
            endpoint: Some(self.url.clone()),
            ..PubsubConfig::default()
        }
    }

    async fn source(&self) -> Pubsub {
        Pubsub::open("test", &self.config(), &around(&[])).await.expect("a source")
    }
}

fn around(variables: &[(&str, &str)]) -> Surroundings {
    Surroundings {
        environment: variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        limits: Limits::default(),
        allow_static_key: false,
        replica: "test".to_owned(),
    }
}

fn records(from: usize, to: usize) -> Vec<Vec<u8>> {
    (from..to).map(|number| format!("{{\"n\":{number}}}").into_bytes()).collect()
}

/// Origins with what they hold: documents, or the reasons of rejects.
fn read(delivery: Delivery) -> BTreeMap<String, Vec<String>> {
    let mut out = BTreeMap::new();
    for part in delivery.parts {
        let mut texts = Vec::new();
        for read in part.chunks {
            match read {
                Ok(chunk) => texts
                    .extend(chunk.spans.iter().map(|span| String::from_utf8_lossy(chunk.document(span)).into_owned())),
                Err(reject) => texts.push(format!("reject: {}", reject.reason)),
            }
        }
        assert!(out.insert(part.origin, texts).is_none(), "an origin twice in one delivery");
    }
    out
}

/// Reads and acknowledges until so many messages are there.
async fn drain(source: &mut Pubsub, count: usize) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::new();
    for _ in 0..60 {
        if all.len() >= count {
            break;
        }
        let Ok(Some(delivery)) = source.next(Duration::from_millis(500)).await else { continue };
        let receipt = delivery.receipt;
        all.extend(read(delivery));
        source.ack(receipt).await.expect("an ack");
    }
    all
}

async fn one(source: &mut Pubsub) -> Delivery {
    source.next(Duration::from_secs(10)).await.expect("no fault").expect("a delivery")
}

/// Through a proxy that ends the calls of a client that is gone: the emulator goes on sending into them otherwise.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "fails at times: of 1500 given back by a dropped source, only some come to the next one, within 90 s too; cause not found"]
async fn what_is_acknowledged_does_not_come_again_and_the_rest_does() {
    let Some(emulator) = Emulator::start(json!({})).await else { return };
    let port = emulator.url.rsplit(':').next().expect("a port").to_owned();
    let Some(proxy) = server::Server::start("proxy.py", &[OsStr::new(&port), OsStr::new("h2")], "Pub/Sub") else {
        return;
    };
    let config = PubsubConfig { endpoint: Some(format!("http://127.0.0.1:{}", proxy.port)), ..emulator.config() };
    let mut first = Pubsub::open("test", &config, &around(&[])).await.expect("a source");
    let ids: BTreeSet<String> = emulator.publish(&records(0, 2500)).await.into_iter().collect();
    let mut seen = BTreeSet::new();
    // The first delivery is acknowledged, the source ends in the midst of the second.
    let delivery = one(&mut first).await;
    let receipt = delivery.receipt;
    let done: BTreeSet<String> = read(delivery).into_keys().collect();
    assert!(done.len() <= 1000, "{}", done.len());
    first.ack(receipt).await.expect("an ack");
    drop(one(&mut first).await);
    // Acknowledgements leave every 100 ms.
    tokio::time::sleep(Duration::from_millis(500)).await;
    drop(first);

    let mut second = Pubsub::open("test", &config, &around(&[])).await.expect("a source");
    let rest = drain(&mut second, 2500 - done.len()).await;
    assert_eq!(rest.len() + done.len(), 2500);
    seen.extend(done.into_iter().chain(rest.into_keys()));
    let short = emulator.subscription.rsplit('/').next().expect("a name");
    assert_eq!(seen, ids.iter().map(|id| format!("{short}/{id}")).collect());
    assert!(second.next(Duration::from_millis(500)).await.expect("no fault").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn given_back_it_comes_again_and_poison_is_a_reject_of_its_own() {
    let Some(emulator) = Emulator::start(json!({})).await else { return };
    let mut source = emulator.source().await;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(b"{\"a\":1}\n{\"a\":2}\n").expect("packed");
    let packed = packed.finish().expect("packed");
    let bodies = [packed.clone(), b"{\"b\":1}".to_vec(), packed[..12].to_vec(), vec![0xff, 0x00, 0x01]];
    let ids = emulator.publish(&bodies).await;
    let delivery = one(&mut source).await;
    let given = delivery.parts.len();
    source.nack(delivery.receipt).await.expect("a nack");
    assert!(given > 0);
    let all = drain(&mut source, 4).await;
    let of = |number: usize| {
        let origin = all.keys().find(|origin| origin.ends_with(&format!("/{}", ids[number]))).expect("an origin");
        all[origin].clone()
    };
    assert_eq!(of(0), ["{\"a\":1}", "{\"a\":2}"]);
    assert_eq!(of(1), ["{\"b\":1}"]);
    assert!(of(2).iter().chain(&of(3)).all(|text| text.starts_with("reject: ")), "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_waiting_is_given_up() {
    let Some(emulator) = Emulator::start(json!({})).await else { return };
    let mut source = emulator.source().await;
    source.linger = Duration::from_secs(30);
    source.batch = 50;
    emulator.publish(&records(0, 30)).await;
    let given_up = tokio::time::timeout(Duration::from_secs(2), source.next(Duration::from_secs(30))).await;
    assert!(given_up.is_err());
    assert!(!source.gathered.is_empty());
    source.linger = Duration::from_millis(100);
    assert_eq!(drain(&mut source, 30).await.len(), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_commit_keeps_its_lease() {
    let Some(emulator) = Emulator::start(json!({})).await else { return };
    let (mut source, mut other) = (emulator.source().await, emulator.source().await);
    emulator.publish(&records(0, 20)).await;
    let held = one(&mut source).await;
    let count = held.parts.len();
    // The subscription's own deadline is 10 s.
    let mut rest = 0;
    for _ in 0..13 {
        let Some(more) = other.next(Duration::from_secs(1)).await.expect("no fault") else { continue };
        rest += more.parts.len();
        other.ack(more.receipt).await.expect("an ack");
    }
    source.ack(held.receipt).await.expect("an ack");
    rest += drain(&mut source, 20 - count - rest).await.len();
    assert_eq!(count + rest, 20, "nothing came twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_once_acknowledgements_are_confirmed() {
    let Some(emulator) = Emulator::start(json!({ "enableExactlyOnceDelivery": true })).await else { return };
    let mut source = emulator.source().await;
    emulator.publish(&records(0, 100)).await;
    assert_eq!(drain(&mut source, 100).await.len(), 100);
    assert!(source.next(Duration::from_millis(500)).await.expect("no fault").is_none());

    // After the subscription is gone, a confirmation is not to be had.
    emulator.publish(&records(0, 1)).await;
    let delivery = one(&mut source).await;
    emulator.call(reqwest::Method::DELETE, &emulator.subscription, &json!({})).await;
    let fault = source.ack(delivery.receipt).await.expect_err("not confirmed");
    assert!(fault.to_string().contains("1 of 1 not confirmed"), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn goes_on_after_the_server_came_back_empty() {
    let Some(mut emulator) = Emulator::alone().await else { return };
    let mut config = emulator.config();
    config.stall = "1s".to_owned();
    let mut source = Pubsub::open("test", &config, &around(&[])).await.expect("a source");
    emulator.publish(&records(0, 10)).await;
    assert_eq!(drain(&mut source, 10).await.len(), 10);
    let port = emulator.server.take().expect("its own").port.to_string();
    emulator.server = server::Server::start("pubsub.py", &[OsStr::new(&port)], "Pub/Sub");
    if emulator.server.is_none() {
        return;
    }
    // Nothing is there until it is made again; what was wrong is told.
    let mut faults = Vec::new();
    for _ in 0..12 {
        match source.next(Duration::from_millis(500)).await {
            Ok(None) => {}
            Ok(Some(_)) => panic!("nothing was published"),
            Err(fault) => faults.push(fault),
        }
    }
    assert!(faults.iter().any(|fault| matches!(fault, SourceError::Denied { .. })), "{faults:?}");
    emulator.create(&json!({})).await;
    emulator.publish(&records(10, 20)).await;
    assert_eq!(drain(&mut source, 10).await.len(), 10);
}

/// Passes everything on until it is told to swallow what runs through the connections that it has.
async fn swallowing(to: String) -> (u16, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let swallow = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&swallow);
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(&to).await.expect("the server");
            // One that comes afterwards works.
            let fresh = told.load(Ordering::SeqCst);
            let (near_read, near_write) = near.into_split();
            let (far_read, far_write) = far.into_split();
            for (mut from, mut to) in [(near_read, far_write), (far_read, near_write)] {
                let told = Arc::clone(&told);
                tokio::spawn(async move {
                    let mut buffer = vec![0; 64 << 10];
                    while let Ok(count @ 1..) = from.read(&mut buffer).await {
                        let swallowed = !fresh && told.load(Ordering::SeqCst);
                        if !swallowed && to.write_all(&buffer[..count]).await.is_err() {
                            break;
                        }
                    }
                });
            }
        }
    });
    (port, swallow)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_stream_is_replaced() {
    let Some(emulator) = Emulator::start(json!({})).await else { return };
    let (port, swallow) = swallowing(emulator.url.trim_start_matches("http://").to_owned()).await;
    let mut config = emulator.config();
    (config.endpoint, config.stall) = (Some(format!("http://127.0.0.1:{port}")), "2s".to_owned());
    let mut source = Pubsub::open("test", &config, &around(&[])).await.expect("a source");
    emulator.publish(&records(0, 5)).await;
    assert_eq!(drain(&mut source, 5).await.len(), 5);
    swallow.store(true, Ordering::SeqCst);
    emulator.publish(&records(5, 10)).await;
    // The server sends part of what is published into the void, and holds it there until its deadline of 60 s is over.
    let mut came = 0;
    for round in 10..70 {
        emulator.publish(&records(round, round + 1)).await;
        if let Some(delivery) = source.next(Duration::from_millis(500)).await.expect("no fault") {
            came += delivery.parts.len();
            source.ack(delivery.receipt).await.expect("an ack");
        }
        if came >= 2 {
            break;
        }
    }
    assert!(source.intake.replacements() >= 1);
    assert!(came >= 2, "{came}");
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_not_suspicious_while_too_much_is_open() {
    let Some(emulator) = Emulator::start(json!({})).await else { return };
    let mut config = emulator.config();
    (config.in_flight, config.stall) = (5, "1s".to_owned());
    let mut source = Pubsub::open("test", &config, &around(&[])).await.expect("a source");
    emulator.publish(&records(0, 50)).await;
    let mut open = Vec::new();
    while open.iter().map(|delivery: &Delivery| delivery.parts.len()).sum::<usize>() < 5 {
        open.push(one(&mut source).await);
    }
    for _ in 0..5 {
        open.extend(source.next(Duration::from_millis(500)).await.expect("no fault"));
    }
    assert_eq!(source.intake.replacements(), 0);
    let held: usize = open.iter().map(|delivery| delivery.parts.len()).sum();
    for delivery in open {
        source.ack(delivery.receipt).await.expect("an ack");
    }
    assert_eq!(drain(&mut source, 50 - held).await.len() + held, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn tells_what_it_needs_and_what_it_cannot_know() {
    let Some(emulator) = Emulator::start(json!({ "retainAckedMessages": true })).await else { return };
    let mut source = emulator.source().await;
    let checks = source.check().await;
    assert!(checks.iter().all(|check| check.fault.is_none()), "{checks:?}");
    assert!(checks.iter().any(|check| check.what.contains("does not tell")), "{checks:?}");
    source.exactly_once = ExactlyOnce::Required;
    assert!(source.check().await.iter().any(|check| check.fault.is_some()));
    assert_eq!(source.lag().await.expect("a lag"), crate::sources::Lag::default());
    assert!(matches!(source.listing(Micros(0), Micros(1)).await, Ok(Listing::NotProvable(_))));
    source.subscription = "projects/test/subscriptions/missing".to_owned();
    let missing = source.check().await;
    assert!(missing.iter().any(|check| check.fault.as_ref().is_some_and(|fault| fault.contains("create it"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_sought_by_its_time() {
    let Some(emulator) = Emulator::start(json!({ "retainAckedMessages": true })).await else { return };
    let mut source = emulator.source().await;
    let since = crate::sources::durations::now();
    emulator.publish(&records(0, 10)).await;
    assert_eq!(drain(&mut source, 10).await.len(), 10);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let gap = Gap { origin: String::new(), range: None, since, until: Micros(i64::MAX) };
    source.refill(std::slice::from_ref(&gap)).await.expect("a seek");
    assert_eq!(drain(&mut source, 10).await.len(), 10);

    let Some(plain) = Emulator::start(json!({})).await else { return };
    let fault = plain.source().await.refill(&[gap]).await.expect_err("nothing is retained");
    assert!(fault.to_string().contains("retain-acked-messages"), "{fault}");
}

#[tokio::test]
async fn keys_that_do_not_expire_and_plain_http_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("key.json");
    let open = async |kind: &str, endpoint: Option<&str>| {
        std::fs::write(&path, json!({ "type": kind }).to_string()).expect("written");
        let config = PubsubConfig {
            subscription: "projects/p/subscriptions/s".to_owned(),
            endpoint: endpoint.map(str::to_owned),
            ..PubsubConfig::default()
        };
        let around = around(&[("GOOGLE_APPLICATION_CREDENTIALS", path.to_str().expect("text"))]);
        match Pubsub::open("test", &config, &around).await {
            Ok(_) => String::new(),
            Err(fault) => fault.to_string(),
        }
    };
    assert!(open("service_account", None).await.contains("does not expire"));
    assert!(open("authorized_user", None).await.contains("does not expire"));
    assert!(open("", Some("http://pubsub.example.com")).await.contains("must be https"));
    assert!(!open("external_account", None).await.contains("does not expire"));
    assert_eq!(open("service_account", Some("http://127.0.0.1:1")).await, "");
    let config = PubsubConfig { subscription: "audit".to_owned(), ..PubsubConfig::default() };
    assert!(Pubsub::open("test", &config, &around(&[])).await.is_err());
}
