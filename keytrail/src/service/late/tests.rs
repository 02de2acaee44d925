//! Records in any order, cut into rows in any way, and as late as they like: what stands at the end is what would stand had
//! all of them come in time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use keytrail_ingest::Limits;
use keytrail_store::Held;
use proptest::prelude::*;

use super::*;
use crate::pack::Pack;
use crate::service::engine::Arrived;
use crate::service::reading::Reading;

/// Id, and what of a rule is its own.
const RULES: [(&str, &str); 4] = [
    ("denied-in-series", "where: outcome = 'denied'\nwindow: {within: 20s, count: {gte: 3}}\n"),
    (
        "listed-and-made",
        "where: ip IS NOT NULL\nwindow: {within: 20s, kind: tumbling, distinct: {of: [action], gte: 2}}\n",
    ),
    ("listed", "where: action = 'iam:ListUsers'\n"),
    (REMEMBERS, "where: ip IS NOT NULL\nwindow: {first_seen: {of: action, learn: 1m}}\n"),
];
/// Asks for what was before all that it knows, so that what comes late can change more than is put right.
const REMEMBERS: &str = "first-done";

/// Seconds, whether it was denied, and from which of two addresses.
type Event = (i64, bool, u8);

/// In bursts, and all the time.
fn event() -> impl Strategy<Value = Event> {
    let second = prop_oneof![(0..4_i64, 0..45_i64).prop_map(|(burst, second)| burst * 300 + second), 0..1200_i64];
    (second, any::<bool>(), 0..2_u8)
}

fn record(number: usize, (second, denied, ip): Event) -> String {
    let name = if denied { "CreateUser" } else { "ListUsers" };
    let error = if denied { r#","errorCode":"AccessDenied""# } else { "" };
    let (minute, second) = (second / 60, second % 60);
    format!(
        r#"{{"eventVersion":"1.11","eventTime":"2026-11-02T10:{minute:02}:{second:02}Z","eventSource":"iam.amazonaws.com","eventName":"{name}","eventID":"00000000-0000-4000-8000-{number:012}","eventType":"AwsApiCall","sourceIPAddress":"198.51.100.{ip}","awsRegion":"us-east-1","userIdentity":{{"type":"Root","accountId":"111122223333","arn":"arn:aws:iam::111122223333:root"}}{error}}}"#
    ) + "\n"
}

fn stages() -> Arc<Stages> {
    let rule = |(id, own): (&str, &str)| {
        let text = format!(
            "id: {id}\ntitle: t\nseverity: low\nsource: aws.cloudtrail\ndescription: d\nsummary: 'from {{ip}}'\n\
             group_by: [ip]\nsuppress_for: 30s\n{own}"
        );
        (format!("{id}.yaml"), text)
    };
    let detections = RULES.map(rule).to_vec();
    let pack = Pack { detections, ..Pack::embedded() };
    Arc::new(Stages::build(&pack, Limits::default()).expect("stages"))
}

pub(in crate::service) fn settings(folder: &std::path::Path) -> Settings {
    Settings {
        replica: "one".to_owned(),
        lateness: [("drop".to_owned(), 30 * Micros::SECOND)].into(),
        checkpoint_every: Duration::from_secs(1),
        lease: Duration::from_secs(1),
        inbox_bytes_max: u64::MAX,
        stall: Duration::from_hours(1),
        reevaluate: 3_600 * Micros::SECOND,
        lake_keep: None,
        lake_bytes_max: None,
        out: folder.to_owned(),
        once: false,
        now: || Micros(i64::MAX / 2),
    }
}

/// The leader's work without its store of records.
struct Bench {
    stages: Arc<Stages>,
    settings: Settings,
    store: Store,
    lake: Lake,
    engine: Engine,
    reading: Reading,
    rows: BTreeMap<i64, Held>,
    kept: Vec<EventBatch>,
    /// How often something was put right.
    mended: usize,
}

impl Bench {
    async fn new(stages: &Arc<Stages>, folder: &std::path::Path) -> Self {
        let settings = settings(folder);
        let lake = Lake::open(&folder.display().to_string(), Vec::new(), false).expect("a lake");
        lake.make().expect("a folder");
        Self {
            engine: Engine::new(Arc::clone(stages), settings.lateness.clone()).expect("an engine"),
            reading: Reading::over(stages).expect("a reading"),
            stages: Arc::clone(stages),
            settings,
            store: Store::memory().await.expect("a store"),
            lake,
            rows: BTreeMap::new(),
            kept: Vec::new(),
            mended: 0,
        }
    }

    fn arrive(&mut self, text: &str) {
        let chunk = Reader::over("log", text.as_bytes().to_vec(), &self.stages.limits).expect("bytes").next();
        let read = self.reading.chunk(chunk.expect("a chunk").expect("no reject"), "", Micros(i64::MAX / 2));
        let held = read.expect("a reading").held.expect("events");
        let seq = self.rows.last_key_value().map_or(1, |(last, _)| last + 1);
        let row = Arrived { seq, source: "drop", lane: "", first: held.first, last: held.last };
        self.engine.arrive(&row, &held.body).expect("records");
        self.rows.insert(seq, held);
    }

    fn evaluate(&mut self) {
        for seq in self.engine.ready() {
            let (batches, _) = self.engine.evaluate(seq, &self.rows[&seq].body).expect("records");
            self.kept.extend(batches);
        }
    }

    async fn tell(&mut self, all: bool) {
        let news = entries(self.engine.settle(all), &self.stages).expect("entries");
        self.store.commit(&news, &[]).await.expect("a commit");
    }

    async fn checkpoint(&mut self) {
        self.tell(false).await;
        let mut writer = self.lake.writer();
        for batch in std::mem::take(&mut self.kept) {
            writer.add(&batch).await.expect("the lake");
        }
        writer.finish().await.expect("the lake");
        let saved = self.engine.save().expect("a state");
        let mut again = Engine::new(Arc::clone(&self.stages), self.settings.lateness.clone()).expect("an engine");
        again.restore(&saved).expect("a state");
        again.seen = std::mem::take(&mut self.engine.seen);
        self.engine = again;
        while self.engine.detector().late_since().is_some() {
            self.mended += 1;
            let around = (&self.lake, &self.store);
            let (_set, stop) = Stop::new();
            let changed = put_right(&mut self.engine, around, &self.stages, &self.settings, &stop).await;
            self.store.commit(&changed.expect("changes"), &[]).await.expect("a commit");
        }
    }

    async fn end(&mut self) {
        self.engine.last();
        self.evaluate();
        self.checkpoint().await;
        self.engine.end();
        self.tell(true).await;
    }

    /// What stands: of each finding how many events, the first and the last.
    async fn stands(&self) -> BTreeMap<String, (String, u64, Micros, Micros)> {
        let known = self.store.findings(&FindingFilter::default()).await.expect("a store");
        let told = |finding: Finding| {
            let what = format!("{} {:?}", finding.rule, finding.group);
            (finding.id, (what, finding.count, finding.first_seen, finding.last_seen))
        };
        known.into_iter().filter(|finding| finding.rule != REMEMBERS).map(told).collect()
    }
}

/// Rows of so many records each, in turn, and a checkpoint after every so many rows.
async fn run(stages: &Arc<Stages>, events: &[(usize, Event)], sizes: &[usize], every: usize) -> Bench {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::new(stages, folder.path()).await;
    let (mut rest, mut rows) = (events, 0);
    while !rest.is_empty() {
        let (now, later) = rest.split_at(sizes[rows % sizes.len()].min(rest.len()));
        bench.arrive(&now.iter().map(|(number, event)| record(*number, *event)).collect::<String>());
        (rest, rows) = (later, rows + 1);
        bench.evaluate();
        if rows % every == 0 {
            bench.checkpoint().await;
        }
    }
    bench.end().await;
    bench
}

#[test]
fn what_comes_late_is_found_as_if_it_had_come_in_time() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let stages = stages();
    let mended = std::cell::Cell::new(0);
    let case =
        (prop::collection::vec((event(), 0..200_i64), 1..60), prop::collection::vec(1..9_usize, 1..5), 1..6_usize);
    let config = ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() };
    let done = proptest::test_runner::TestRunner::new(config).run(&case, |(events, sizes, every)| {
        let mut arrivals: Vec<_> =
            events.iter().enumerate().map(|(number, (event, delay))| (event.0 + delay, (number, *event))).collect();
        arrivals.sort_unstable();
        let arrivals: Vec<_> = arrivals.into_iter().map(|(_, event)| event).collect();
        let all = [arrivals.len()];
        let in_time = runtime.block_on(run(&stages, &arrivals, &all, usize::MAX));
        let late = runtime.block_on(run(&stages, &arrivals, &sizes, every));
        mended.set(mended.get() + late.mended);
        prop_assert_eq!(in_time.mended, 0);
        prop_assert_eq!(runtime.block_on(in_time.stands()), runtime.block_on(late.stands()));
        Ok(())
    });
    assert!(done.is_ok(), "{}", done.unwrap_err());
    assert!(mended.get() > 0, "nothing came late");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_was_seen_once_is_known_after_something_else_was_put_right() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::new(&stages(), folder.path()).await;
    // The address lists users, is denied twice after it was learnt what it does, and a third time, which comes late.
    let rows: [&[Event]; 4] =
        [&[(0, false, 0), (100, true, 0), (101, true, 0)], &[(400, false, 1)], &[(102, true, 0)], &[(500, false, 0)]];
    let mut number = 0;
    for row in rows {
        let texts = row.iter().map(|event| {
            number += 1;
            record(number, *event)
        });
        bench.arrive(&texts.collect::<String>());
        bench.evaluate();
        bench.checkpoint().await;
    }
    bench.end().await;
    assert_eq!(bench.mended, 1);
    let known = bench.store.findings(&FindingFilter::default()).await.expect("a store");
    let of = |rule: &str| known.iter().filter(|finding| finding.rule == rule).map(|one| one.count).collect::<Vec<_>>();
    assert_eq!((of("denied-in-series"), of(REMEMBERS)), (vec![3], vec![2]));
    assert!(bench.store.superseded().await.expect("a store").is_empty());
}
