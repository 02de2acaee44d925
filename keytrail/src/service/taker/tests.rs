//! What a taker writes down besides records: which lanes there are, and which have nothing to give.

use async_trait::async_trait;
use keytrail_ingest::Limits;
use keytrail_ingest::sources::{Check, Gap, Lag, Listing, Messages, Receipt, SKEW};

use super::*;
use crate::pack::Pack;
use crate::service::late::tests::settings;

const RECORD: &[u8] = br#"{"eventVersion":"1.11","eventTime":"2026-11-02T10:00:00Z","eventSource":"iam.amazonaws.com","eventName":"ListUsers","eventID":"5f9c1a52-0d54-4a6e-9a57-3b6d7ee0c1aa","eventType":"AwsApiCall","userIdentity":{"type":"Root","accountId":"111122223333","arn":"arn:aws:iam::111122223333:root"}}"#;

/// The lanes that it has, and those that have nothing to give.
struct Given {
    lanes: &'static [&'static str],
    idle: &'static [&'static str],
}

#[async_trait]
impl Source for Given {
    async fn next(&mut self, _: Duration) -> Result<Option<Delivery>, SourceError> {
        Ok(None)
    }

    async fn ack(&mut self, _: Receipt) -> Result<(), SourceError> {
        Ok(())
    }

    async fn nack(&mut self, _: Receipt) -> Result<(), SourceError> {
        Ok(())
    }

    fn lanes(&self) -> Vec<String> {
        self.lanes.iter().map(|lane| (*lane).to_owned()).collect()
    }

    fn idle(&self) -> Vec<String> {
        self.idle.iter().map(|lane| (*lane).to_owned()).collect()
    }

    fn knows_its_end(&self) -> bool {
        true
    }

    async fn check(&mut self) -> Vec<Check> {
        Vec::new()
    }

    async fn lag(&mut self) -> Result<Lag, SourceError> {
        Ok(Lag::default())
    }

    async fn listing(&mut self, _: Micros, _: Micros) -> Result<Listing, SourceError> {
        Ok(Listing::Ranges(Vec::new()))
    }

    async fn refill(&mut self, _: &[Gap]) -> Result<Vec<String>, SourceError> {
        Ok(Vec::new())
    }
}

fn delivery(lane: &str) -> Delivery {
    let mut messages = Messages::new("t/0", &Limits::default());
    messages.add(0, RECORD);
    let (origin, lane) = ("t/0".to_owned(), lane.to_owned());
    let part = Part { origin, extent: Extent::Piece { from: 0, to: 1 }, lane, chunks: Box::new(messages) };
    Delivery { receipt: 1, parts: vec![part] }
}

fn taker(store: &Store, source: Given) -> Taker {
    let stages = Stages::build(&Pack::embedded(), Limits::default()).expect("the shipped pack");
    let (_keep, stages) = watch::channel(Arc::new(stages));
    let shared = Arc::new(Shared::of(std::iter::once("logs".to_owned())));
    let settings = Arc::new(settings(std::path::Path::new("")));
    Taker::new("logs".to_owned(), Box::new(source), store.clone(), (settings, shared), stages).expect("a taker")
}

/// Lane, whether it is a tick, and until when it goes.
async fn rows(store: &Store, after: i64) -> Vec<(String, bool, Micros)> {
    let rows = store.inbox_index(after, 100).await.expect("an inbox");
    rows.into_iter().map(|row| (row.lane, row.tick, row.last)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn lanes_are_named_before_the_first_record_and_silent_ones_tick_while_others_give() {
    let store = Store::memory().await.expect("a store");
    let mut taker = taker(&store, Given { lanes: &["t/0", "t/1"], idle: &["t/1"] });
    taker.deliver(delivery("t/0")).await.expect("a commit");
    let told = rows(&store, 0).await;
    assert_eq!(told[..2], [("t/0".to_owned(), true, UNSEEN), ("t/1".to_owned(), true, UNSEEN)]);
    assert_eq!((told.len(), told[2].0.as_str(), told[2].1), (3, "t/0", false));
    // It may only be slow.
    taker.tick(false).await.expect("a tick");
    assert_eq!(rows(&store, 0).await.len(), 3);
    (taker.ticked, *taker.lanes.get_mut("t/1").expect("a lane")) = (None, Instant::now() - SILENCE);
    taker.tick(false).await.expect("a tick");
    assert_eq!(rows(&store, 3).await, [("t/1".to_owned(), true, (taker.settings.now)())]);
    // Whatever there is to say is said every two seconds.
    taker.tick(false).await.expect("no tick");
    assert_eq!(rows(&store, 4).await, []);
}

#[test]
fn a_log_of_the_same_name_is_told_from_the_one_that_is_known() {
    let oldest = |end, minute: i64| Extent::Oldest { from: 0, to: 10, end, written: Some(Micros(minute * SKEW)) };
    let mark = |position| Mark { position, at: Micros(1_000 * SKEW), ..Mark::default() };
    let (piece, anew) = (Extent::Piece { from: 0, to: 10 }, Extent::Anew { from: 0, to: 10 });
    // The group forgot how far it came, and the ledger did not.
    assert_eq!(resolved(oldest(50, 999), Some(&mark(50))), piece);
    assert_eq!(resolved(oldest(50, 1_001), Some(&mark(50))), piece, "a clock may be ahead");
    assert_eq!(resolved(oldest(50, 1_002), Some(&mark(0))), piece, "nothing of it was read");
    assert_eq!(resolved(oldest(50, 999), None), piece);
    assert_eq!(resolved(oldest(49, 999), Some(&mark(50))), anew, "it is shorter than what was read");
    assert_eq!(resolved(oldest(500, 1_002), Some(&mark(50))), anew, "it was written after that was read");
    assert_eq!(resolved(piece, Some(&mark(50))), piece);
}

/// Forty records that do not pack well, one a message; what comes after so many chunks is broken off.
fn large(chunks: usize) -> Delivery {
    let mut messages = Messages::new("t/0", &Limits::default());
    let mut state = 1_u64;
    for number in 0..40 {
        let mut noise = String::new();
        while noise.len() < 400_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            noise.push_str(&format!("{state:016x}"));
        }
        let text = String::from_utf8_lossy(RECORD).replace("c1aa", &format!("{number:04}"));
        let text = text.replacen('{', &format!(r#"{{"userAgent":"{noise}","#), 1);
        messages.add(number, text.as_bytes());
    }
    let reason = format!("{BROKEN}the connection is gone");
    let broken = Reject { reason, ..gone("t/0", 0, 0) };
    let mut delivery = delivery("t/0");
    delivery.parts[0].extent = Extent::Piece { from: 0, to: 40 };
    delivery.parts[0].chunks = Box::new(messages.take(chunks).chain((chunks < 40).then_some(Err(broken))));
    delivery
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_breaks_off_goes_on_where_it_was_committed() {
    let store = Store::memory().await.expect("a store");
    let mut taker = taker(&store, Given { lanes: &["t/0"], idle: &[] });
    let mark = async || store.marks("logs", &["t/0".to_owned()]).await.expect("marks").remove("t/0").expect("a mark");
    taker.deliver(large(12)).await.expect_err("broken off");
    let first = mark().await;
    assert!(0 < first.position && first.position < 40, "{first:?}");
    assert_eq!(i64::try_from(first.events).expect("few"), first.position, "as far as it is committed");
    taker.deliver(large(40)).await.expect("a commit");
    let whole = mark().await;
    assert_eq!((whole.position, whole.events, whole.rejects), (40, 40, 0));
    assert_eq!(store.inbox_depth().await.expect("a depth").events, 40, "none twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_message_of_many_chunks_is_taken_in_whole() {
    let store = Store::memory().await.expect("a store");
    let mut taker = taker(&store, Given { lanes: &["t/0"], idle: &[] });
    let limits = Limits { chunk_bytes: 64, ..Limits::default() };
    let mut messages = Messages::new("t/0", &limits);
    let mut lines = [RECORD, RECORD, RECORD].join(&b'\n');
    lines.push(b'\n');
    (0..2).for_each(|position| messages.add(position, &lines));
    let mut both = delivery("t/0");
    both.parts[0].extent = Extent::Piece { from: 0, to: 2 };
    both.parts[0].chunks = Box::new(messages);
    taker.deliver(both).await.expect("a commit");
    let mark = store.marks("logs", &["t/0".to_owned()]).await.expect("marks").remove("t/0").expect("a mark");
    assert_eq!((mark.position, mark.events, mark.rejects), (2, 6, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_topic_made_anew_is_taken_in_and_a_hole_is_told() {
    let store = Store::memory().await.expect("a store");
    let mut taker = taker(&store, Given { lanes: &["t/0"], idle: &[] });
    let piece = |extent| {
        let mut delivery = delivery("t/0");
        delivery.parts[0].extent = extent;
        delivery
    };
    taker.deliver(piece(Extent::Piece { from: 0, to: 1 })).await.expect("a commit");
    taker.deliver(piece(Extent::Piece { from: 5, to: 6 })).await.expect("a commit");
    let mark = async || store.marks("logs", &["t/0".to_owned()]).await.expect("marks").remove("t/0").expect("a mark");
    let known = mark().await;
    assert_eq!((known.position, known.rejects), (6, 0), "what is gone cannot be read again");
    assert_eq!(store.rejects(10).await.expect("rejects").len(), 1);
    taker.deliver(piece(Extent::Oldest { from: 0, to: 1, end: 3, written: None })).await.expect("a commit");
    let known = mark().await;
    assert_eq!((known.position, known.events), (1, 2), "the first, and the first of the new one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_lane_that_is_there_no_more_ticks_while_others_give() {
    let store = Store::memory().await.expect("a store");
    let mut taker = taker(&store, Given { lanes: &["t/0"], idle: &["gone/0"] });
    taker.deliver(delivery("t/0")).await.expect("a commit");
    taker.tick(false).await.expect("a tick");
    assert_eq!(rows(&store, 2).await, [("gone/0".to_owned(), true, (taker.settings.now)())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_a_source_without_lanes_delivers_slowly_is_not_late() {
    let store = Store::memory().await.expect("a store");
    let mut taker = taker(&store, Given { lanes: &[], idle: &[""] });
    taker.deliver(delivery("")).await.expect("a commit");
    *taker.lanes.get_mut("").expect("a lane") = Instant::now() - SILENCE;
    taker.tick(false).await.expect("no tick");
    assert_eq!(rows(&store, 1).await, []);
    taker.tick(true).await.expect("a tick");
    assert_eq!(rows(&store, 1).await, [(String::new(), true, (taker.settings.now)())]);
}
