//! What a taker writes down besides records: which lanes there are, and which have nothing to give.

use async_trait::async_trait;
use keytrail_ingest::Limits;
use keytrail_ingest::sources::{Check, Gap, Lag, Listing, Messages, Receipt};

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

    async fn refill(&mut self, _: &[Gap]) -> Result<(), SourceError> {
        Ok(())
    }
}

fn delivery(lane: &str) -> Delivery {
    let mut messages = Messages::new("t/0", &Limits::default());
    messages.add(0, RECORD);
    let (origin, lane) = ("t/0".to_owned(), lane.to_owned());
    let part = Part {
        origin,
        extent: Extent::Piece { from: 0, to: 1 },
        lane,
        chunks: Box::new(messages.finish().into_iter()),
    };
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
