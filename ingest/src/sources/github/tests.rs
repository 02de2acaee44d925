//! Against a stand-in that holds each request against GitHub's published description of the audit log.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Response, StatusCode};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keytrail_model::Micros;
use serde_json::{Value, json};

use super::{AppConfig, DAY, Github, GithubConfig, KEPT, WIDTH};
use crate::Limits;
use crate::sources::durations::now;
use crate::sources::{BROKEN, Delivery, Gap, Listing, Resumed, Source, Surroundings};

/// What the next answer is instead of a page.
#[derive(Clone)]
enum Odd {
    Status(u16, Vec<(&'static str, String)>),
    Slow(Duration),
    SameCursor,
    /// A page, with these headers.
    With(Vec<(&'static str, String)>),
    Text(&'static str),
}

#[derive(Default)]
struct Log {
    /// Time in milliseconds and id.
    events: Vec<(i64, String)>,
    odd: VecDeque<Odd>,
    wrong: Vec<String>,
    asked: u32,
    tokens: BTreeSet<String>,
    given: u32,
    lasts: i64,
    public_key: Vec<u8>,
}

type Shared = Arc<Mutex<Log>>;

struct Fake {
    log: Shared,
    url: String,
    folder: tempfile::TempDir,
}

impl Fake {
    async fn start() -> Self {
        let log = Shared::default();
        log.lock().expect("a lock").tokens.insert("first".to_owned());
        let routes = Router::new()
            .route("/orgs/{org}/audit-log", get(audit_log))
            .route("/enterprises/{enterprise}/audit-log", get(audit_log))
            .route("/app/installations/{id}/access_tokens", post(token))
            .with_state(Arc::clone(&log));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("token"), "first\n").expect("written");
        Self { log, url, folder }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Log) -> T) -> T {
        change(&mut self.log.lock().expect("a lock"))
    }

    fn odd(&self, odd: impl IntoIterator<Item = Odd>) {
        self.with(|log| log.odd.extend(odd));
    }

    fn config(&self) -> GithubConfig {
        GithubConfig {
            org: Some("octo-org".to_owned()),
            api: self.url.clone(),
            token_file: Some(self.folder.path().join("token")),
            every: "100ms".to_owned(),
            since: Some(start()),
            ..GithubConfig::default()
        }
    }

    fn source(&self) -> Github {
        opened(&self.config())
    }
}

fn opened(config: &GithubConfig) -> Github {
    let mut source = Github::open("test", config, &around(true)).expect("a source");
    Arc::get_mut(&mut source.api).expect("its own").pause = Duration::from_millis(10);
    source
}

fn around(allow_static_key: bool) -> Surroundings {
    let environment = BTreeMap::from([("AUDIT_TOKEN".to_owned(), "first".to_owned())]);
    Surroundings { environment, limits: Limits::default(), allow_static_key, replica: "test".to_owned() }
}

/// An hour ago: twelve windows, of which the last two are not old enough.
fn start() -> Micros {
    Micros(now().0 - 12 * WIDTH).bucket(WIDTH)
}

fn milliseconds(at: Micros) -> i64 {
    at.0 / 1000
}

async fn audit_log(
    State(log): State<Shared>,
    Path(_): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response<Body> {
    let odd = {
        let mut log = log.lock().expect("a lock");
        log.asked += 1;
        let wrong = wrong_with(&query, &headers);
        log.wrong.extend(wrong);
        let bearer = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !log.tokens.contains(bearer.trim_start_matches("Bearer ")) {
            return answer(401, &[], r#"{"message":"Bad credentials"}"#.to_owned());
        }
        log.odd.pop_front()
    };
    match odd {
        Some(Odd::Status(status, headers)) => answer(status, &headers, r#"{"message":"no"}"#.to_owned()),
        Some(Odd::Slow(wait)) => {
            tokio::time::sleep(wait).await;
            page(&log, &query, &[], false)
        }
        Some(Odd::SameCursor) => page(&log, &query, &[], true),
        Some(Odd::With(headers)) => page(&log, &query, &headers, false),
        Some(Odd::Text(text)) => answer(200, &[], text.to_owned()),
        None => page(&log, &query, &[], false),
    }
}

/// The parameters and headers that GitHub describes, and their values.
fn wrong_with(query: &BTreeMap<String, String>, headers: &HeaderMap) -> Vec<String> {
    let mut wrong = Vec::new();
    for (key, value) in query {
        let fine = match key.as_str() {
            "phrase" => range(value).is_some(),
            "include" => ["web", "git", "all"].contains(&value.as_str()),
            "order" => value == "asc",
            "per_page" => value.parse().is_ok_and(|size: u32| (1..=100).contains(&size)),
            "after" => value.starts_with("at="),
            _ => false,
        };
        if !fine {
            wrong.push(format!("{key}={value}"));
        }
    }
    for (key, value) in [("accept", "application/vnd.github+json"), ("x-github-api-version", "2022-11-28")] {
        if headers.get(key).is_none_or(|found| found != value) {
            wrong.push(format!("header {key}"));
        }
    }
    if !headers.contains_key("user-agent") {
        wrong.push("header user-agent".to_owned());
    }
    wrong
}

fn range(phrase: &str) -> Option<(i64, i64)> {
    let (from, to) = phrase.strip_prefix("created:")?.split_once("..")?;
    Some((milliseconds(Micros::parse(from)?), milliseconds(Micros::parse(to)?)))
}

fn page(
    log: &Shared,
    query: &BTreeMap<String, String>,
    headers: &[(&'static str, String)],
    same: bool,
) -> Response<Body> {
    let log = log.lock().expect("a lock");
    let Some((from, to)) = range(&query["phrase"]) else { return answer(422, &[], String::new()) };
    let mut events: Vec<&(i64, String)> = log.events.iter().filter(|(at, _)| (from..=to).contains(at)).collect();
    events.sort();
    let size: usize = query["per_page"].parse().expect("a number");
    let at: usize = query.get("after").map_or(0, |after| after.trim_start_matches("at=").parse().expect("a number"));
    let some: Vec<Value> = events
        .iter()
        .skip(at)
        .take(size)
        .map(|(at, id)| json!({ "@timestamp": at, "created_at": at, "_document_id": id, "action": "repo.access" }))
        .collect();
    let mut headers = headers.to_vec();
    if at + size < events.len() || same {
        let next = if same { 1 } else { at + size };
        // Written as GitHub writes it, with others beside it.
        headers.push(("link", format!("<https://api.github.com/x?after=at%3D{next}&per_page={size}>; rel=\"next\", <https://api.github.com/x?before=>; rel=\"prev\"")));
    }
    answer(200, &headers, Value::from(some).to_string())
}

fn answer(status: u16, headers: &[(&'static str, String)], body: String) -> Response<Body> {
    let mut out = Response::new(Body::from(body));
    *out.status_mut() = StatusCode::from_u16(status).expect("a status");
    for (name, value) in headers {
        out.headers_mut().insert(*name, value.parse().expect("a header"));
    }
    out
}

async fn token(State(log): State<Shared>, Path(id): Path<u64>, headers: HeaderMap) -> Response<Body> {
    let mut log = log.lock().expect("a lock");
    let word = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let word = word.trim_start_matches("Bearer ");
    let (signed, signature) = word.rsplit_once('.').expect("three parts");
    let key = ring::signature::UnparsedPublicKey::new(&ring::signature::RSA_PKCS1_2048_8192_SHA256, &log.public_key);
    let fits = key.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).expect("base64")).is_ok();
    let claims = URL_SAFE_NO_PAD.decode(signed.split('.').nth(1).expect("claims")).expect("base64");
    let claims: Value = serde_json::from_slice(&claims).expect("JSON");
    let second = now().0 / Micros::SECOND;
    let (begin, end) = (claims["iat"].as_i64().expect("a time"), claims["exp"].as_i64().expect("a time"));
    if !fits || id != 7 || claims["iss"] != "42" || begin > second || end - begin > 600 || end <= second {
        return answer(401, &[], String::new());
    }
    log.given += 1;
    let word = format!("given-{}", log.given);
    log.tokens.insert(word.clone());
    let ends = Micros(now().0 + log.lasts * Micros::SECOND);
    answer(201, &[], json!({ "token": word, "expires_at": ends.to_string() }).to_string())
}

/// Origin, the documents, and why it broke off.
async fn read(delivery: Delivery) -> (String, Vec<Value>, Option<String>) {
    let read = tokio::task::spawn_blocking(move || {
        let part = delivery.parts.into_iter().next().expect("a part");
        let (mut documents, mut broken, mut last) = (Vec::new(), None, None);
        for read in part.chunks {
            match read {
                Ok(chunk) => {
                    for span in &chunk.spans {
                        assert!(span.place.record > last, "records are counted");
                        assert_eq!(span.place.byte, 0, "a window is read whole or not at all");
                        last = span.place.record;
                        documents.push(serde_json::from_slice(chunk.document(span)).expect("JSON"));
                    }
                }
                Err(reject) => broken = Some(reject.reason),
            }
        }
        (part.origin, documents, broken)
    });
    read.await.expect("it ends")
}

async fn one(source: &mut Github) -> Delivery {
    source.next(Duration::from_secs(5)).await.expect("no fault").expect("a delivery")
}

/// All windows that are old enough, acknowledged: their origins and ids.
async fn drain(source: &mut Github) -> (Vec<String>, Vec<String>) {
    let (mut origins, mut ids) = (Vec::new(), Vec::new());
    while let Some(delivery) = source.next(Duration::from_millis(20)).await.expect("no fault") {
        let receipt = delivery.receipt;
        let (origin, documents, broken) = read(delivery).await;
        assert_eq!(broken, None);
        origins.push(origin);
        ids.extend(documents.iter().map(|document| document["_document_id"].as_str().expect("an id").to_owned()));
        source.ack(receipt).await.expect("an ack");
    }
    (origins, ids)
}

fn nothing_wrong(fake: &Fake) {
    assert_eq!(fake.with(|log| std::mem::take(&mut log.wrong)), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_in_one_window_and_the_windows_are_the_same_after_a_restart() {
    let fake = Fake::start().await;
    let first = milliseconds(start());
    // One on every edge of a window, and many within one.
    let edges = (0..10).map(|number| (first + number * 300_000, format!("edge-{number}")));
    let many = (0..450).map(|number| (first + 1_000_000 + number, format!("many-{number}")));
    fake.with(|log| log.events.extend(edges.chain(many)));
    let (origins, ids) = drain(&mut fake.source()).await;
    assert_eq!(ids.len(), 460);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 460);
    assert!((9..=11).contains(&origins.len()), "{origins:?}");
    assert_eq!(origins[0], format!("audit-log/{}", start()));
    let (again, _) = drain(&mut fake.source()).await;
    assert!(again.starts_with(&origins), "{again:?}");
    nothing_wrong(&fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_long_rest_it_goes_on_where_it_left_off() {
    let fake = Fake::start().await;
    let left = Micros(now().0 - 10 * DAY).bucket(WIDTH);
    let known =
        |start: i64| Resumed { origin: format!("audit-log/{}", Micros(start)), position: 1, done: true, at: left };
    let mut source = opened(&GithubConfig { since: None, ..fake.config() });
    assert!(source.resumes() && !fake.source().resumes(), "unless it is said where to begin");
    source.resume(vec![known(left.0 - WIDTH), known(left.0), known(left.0 + 2 * WIDTH)]);
    assert_eq!(one(&mut source).await.parts[0].origin, format!("audit-log/{}", Micros(left.0 + WIDTH)));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_asked_for_before_it_is_read() {
    let fake = Fake::start().await;
    let mut source = fake.source();
    let delivery = one(&mut source).await;
    drop(delivery.parts);
    source.ack(delivery.receipt).await.expect("an ack");
    assert_eq!(fake.with(|log| log.asked), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn passing_faults_are_sat_through() {
    let fake = Fake::start().await;
    fake.with(|log| log.events.push((milliseconds(start()), "one".to_owned())));
    let mut source = fake.source();
    let after = |seconds: &str| vec![("retry-after", seconds.to_owned())];
    let faults = [
        vec![Odd::Status(502, vec![]), Odd::Status(503, vec![])],
        vec![Odd::Status(429, after("1"))],
        vec![Odd::Status(403, after("1"))],
        vec![Odd::Slow(Duration::from_millis(300))],
    ];
    for faults in faults {
        fake.odd(faults);
        let mut delivery = one(&mut source).await;
        let receipt = delivery.receipt;
        let parts = std::mem::take(&mut delivery.parts);
        let (_, documents, broken) = read(Delivery { receipt, parts }).await;
        assert_eq!((documents.len(), broken), (1, None));
        source.nack(receipt).await.expect("a nack");
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    nothing_wrong(&fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn lasting_faults_break_the_window_off_and_it_comes_again() {
    let fake = Fake::start().await;
    let events = (0..150).map(|number| (milliseconds(start()) + number, format!("e{number}")));
    fake.with(|log| log.events.extend(events));
    let mut source = fake.source();
    let cases = [
        vec![Odd::Status(500, vec![]); 4],
        vec![Odd::SameCursor, Odd::SameCursor],
        vec![Odd::Text("{\"message\":\"odd\"}")],
        vec![Odd::Status(404, vec![])],
    ];
    for faults in cases {
        fake.odd(faults);
        let delivery = one(&mut source).await;
        let receipt = delivery.receipt;
        let (origin, _, broken) = read(delivery).await;
        assert_eq!(origin, format!("audit-log/{}", start()));
        assert!(broken.expect("it broke off").starts_with(BROKEN));
        source.nack(receipt).await.expect("a nack");
        assert!(source.idle().is_empty());
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    let (_, ids) = drain(&mut source).await;
    assert_eq!(ids.len(), 150);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_rest_is_kept_without_asking() {
    let fake = Fake::start().await;
    let mut source = fake.source();
    let reset = (now().0 / Micros::SECOND + 3000).to_string();
    let spent = vec![("x-ratelimit-remaining", "0".to_owned()), ("x-ratelimit-reset", reset)];
    fake.odd([Odd::With(spent)]);
    let delivery = one(&mut source).await;
    source.ack(delivery.receipt).await.expect("an ack");
    assert_eq!(read(delivery).await.2, None);
    let asked = fake.with(|log| log.asked);
    assert!(source.next(Duration::from_millis(200)).await.expect("no fault").is_none());
    assert_eq!(fake.with(|log| log.asked), asked);
    let rest = source.api.resting_until().expect("a rest") - tokio::time::Instant::now();
    assert!((2900..3100).contains(&rest.as_secs()), "{rest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_file_is_read_anew_and_a_refused_token_is_told() {
    let fake = Fake::start().await;
    let mut source = fake.source();
    assert_eq!(source.check().await[0].fault, None);
    fake.with(|log| log.tokens = BTreeSet::from(["second".to_owned()]));
    let fault = source.check().await[0].fault.clone().expect("a fault");
    assert!(fault.contains("renew it") && !fault.contains("first"), "{fault}");
    std::fs::write(fake.folder.path().join("token"), "second").expect("written");
    assert_eq!(source.check().await[0].fault, None);
    fake.odd([Odd::Status(404, vec![])]);
    assert!(source.check().await[0].fault.as_ref().expect("a fault").contains("read:audit_log"));
    nothing_wrong(&fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_signs_for_tokens_and_renews_them() {
    let fake = Fake::start().await;
    let key = fake.folder.path().join("key.pem");
    let made = Command::new("openssl").args(["genrsa", "-traditional", "-out"]).arg(&key).arg("2048").output();
    let public =
        Command::new("openssl").args(["rsa", "-RSAPublicKey_out", "-outform", "DER", "-in"]).arg(&key).output();
    let (Ok(_), Ok(public)) = (made, public) else {
        eprintln!("skipped: a GitHub App's key: openssl is not there");
        return;
    };
    fake.with(|log| (log.public_key, log.lasts) = (public.stdout, 3600));
    let app = AppConfig { id: 42, installation: 7, key_file: key };
    let config = GithubConfig { token_file: None, app: Some(app), ..fake.config() };
    let mut source = Github::open("test", &config, &around(false)).expect("no static key");
    for _ in 0..3 {
        assert_eq!(source.check().await[0].fault, None);
    }
    assert_eq!(fake.with(|log| log.given), 1);
    // Taken back before its time: a new one is asked for at once.
    fake.with(|log| (log.tokens, log.lasts) = (BTreeSet::new(), 200));
    assert_eq!(source.check().await[0].fault, None);
    assert_eq!(fake.with(|log| log.given), 2);
    // What ends within five minutes is renewed before it is refused.
    assert_eq!(source.check().await[0].fault, None);
    assert_eq!(fake.with(|log| log.given), 3);
    let config = GithubConfig { app: config.app.map(|app| AppConfig { installation: 8, ..app }), ..config };
    let mut other = Github::open("test", &config, &around(false)).expect("a source");
    assert!(other.check().await[0].fault.as_ref().expect("a fault").contains("installation"));
}

#[tokio::test(flavor = "multi_thread")]
async fn gaps_are_read_again_and_no_list_is_promised() {
    let fake = Fake::start().await;
    let mut source = fake.source();
    let (origins, _) = drain(&mut source).await;
    let gap = |origin: &str, until: i64| Gap {
        origin: origin.to_owned(),
        range: None,
        since: Micros(start().0 + 1),
        until: Micros(until),
    };
    let end = start().0 + WIDTH + 1;
    source.refill(&[gap("", end), gap(&origins[5], 0)]).await.expect("a refill");
    let (again, _) = drain(&mut source).await;
    assert_eq!(again, [origins[0].clone(), origins[1].clone(), origins[5].clone()]);
    assert!(matches!(source.listing(Micros(0), Micros(1)).await, Ok(Listing::NotProvable(_))));
    assert!(source.lag().await.expect("a lag").oldest.expect("an age") < Duration::from_mins(15));
}

#[tokio::test]
async fn what_cannot_work_is_said_at_once() {
    let fine = GithubConfig {
        org: Some("octo".to_owned()),
        token_env: Some("AUDIT_TOKEN".to_owned()),
        ..GithubConfig::default()
    };
    let fault = |config: &GithubConfig, allowed: bool| match Github::open("test", config, &around(allowed)) {
        Ok(_) => String::new(),
        Err(fault) => fault.to_string(),
    };
    assert_eq!(fault(&fine, true), "");
    assert!(fault(&fine, false).contains("GitHub App"));
    let with = |change: &dyn Fn(&mut GithubConfig)| {
        let mut config = fine.clone();
        change(&mut config);
        fault(&config, true)
    };
    assert!(with(&|config| config.enterprise = Some("e".to_owned())).contains("exactly one"));
    assert!(with(&|config| config.org = Some("../app".to_owned())).contains("no name"));
    assert!(with(&|config| config.api = "http://github.example.com".to_owned()).contains("https"));
    assert!(with(&|config| config.token_env = Some("MISSING".to_owned())).contains("not set"));
    assert!(with(&|config| config.page = 101).contains("1 to 100"));
    assert!(with(&|config| config.every = "soon".to_owned()).contains("duration"));
    // Older than what is kept is not asked for.
    let old = GithubConfig { since: Some(Micros(0)), ..fine };
    let source = Github::open("test", &old, &around(true)).expect("a source");
    assert!(source.next.0 > now().0 - KEPT - DAY);
}
