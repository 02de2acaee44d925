//! Against a real Apache Kafka on loopback; one broker serves all of them but the one that ends its own.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::OnceLock;

use base64::Engine;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};

use super::*;
use crate::Limits;
use crate::sources::Extent;

use crate::sources::server::Server;

struct Broker {
    folder: tempfile::TempDir,
    server: Server,
}

impl Broker {
    fn start() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Self::serve(folder.path())?;
        Some(Self { folder, server })
    }

    fn serve(folder: &Path) -> Option<Server> {
        Server::start("kafka.py", &[folder.join("kafka").as_os_str() as &OsStr], "Kafka")
    }

    fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Broker>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join("kafka").join(name).display().to_string()
    }

    /// Plain text, SASL, TLS.
    fn address(&self, number: usize) -> String {
        let ports = std::fs::read_to_string(self.file("ports")).expect("ports");
        assert!(ports.starts_with(&self.server.port.to_string()));
        format!("127.0.0.1:{}", ports.split(' ').nth(number).expect("a port"))
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address(0)).set("message.max.bytes", "30000000").set("linger.ms", "0");
        config
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().expect("a client")
    }

    async fn topic(&self, name: &str, partitions: i32) {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        // One that was just deleted may still be in the way.
        for _ in 0..50 {
            let made = self.admin().create_topics([&topic], &AdminOptions::new()).await.expect("an answer");
            if made.iter().all(Result::is_ok) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("topic {name} could not be made");
    }

    async fn produce(&self, topic: &str, partition: i32, payloads: impl IntoIterator<Item = String>) {
        let producer: FutureProducer = self.client().create().expect("a producer");
        let mut sent = Vec::new();
        for payload in payloads {
            let record = FutureRecord::<(), _>::to(topic).partition(partition).payload(&payload);
            sent.push(producer.send_result(record).map_err(|(fault, _)| fault).expect("queued"));
        }
        for sent in sent {
            sent.await.expect("not dropped").expect("written");
        }
    }

    fn config(&self, topic: &str) -> KafkaConfig {
        KafkaConfig {
            brokers: vec![self.address(0)],
            topics: vec![topic.to_owned()],
            group: Some(format!("group-{topic}")),
            session: Some("6s".to_owned()),
            linger: Some("50ms".to_owned()),
            tuned: vec![("topic.metadata.refresh.interval.ms", "500")],
            ..KafkaConfig::default()
        }
    }

    fn source(&self, topic: &str) -> Kafka {
        open(&self.config(topic))
    }
}

fn around(allow_static_key: bool) -> Surroundings {
    Surroundings {
        environment: BTreeMap::new(),
        limits: Limits::default(),
        allow_static_key,
        replica: "one".to_owned(),
    }
}

fn open(config: &KafkaConfig) -> Kafka {
    Kafka::open("logs", config, &around(true)).expect("a source")
}

fn refused(config: &KafkaConfig) -> String {
    Kafka::open("logs", config, &around(false)).err().expect("a fault").to_string()
}

fn numbered(numbers: std::ops::Range<i64>) -> Vec<String> {
    numbers.map(|number| format!("{{\"n\":{number}}}")).collect()
}

/// Origin, offset and text of every record; of a reject, its reason.
type Record = (String, u64, String);

#[derive(Default)]
struct Got {
    records: Vec<Record>,
    pieces: Vec<(String, i64, i64)>,
    receipts: Vec<Receipt>,
}

impl Got {
    fn add(&mut self, delivery: Delivery) {
        self.receipts.push(delivery.receipt);
        for part in delivery.parts {
            let (Extent::Piece { from, to } | Extent::Anew { from, to } | Extent::Oldest { from, to, .. }) =
                part.extent
            else {
                panic!("a piece")
            };
            assert_eq!(part.lane, part.origin);
            self.pieces.push((part.origin.clone(), from, to));
            for chunk in part.chunks {
                match chunk {
                    Ok(chunk) => self.records.extend(chunk.spans.iter().map(|span| {
                        let text = String::from_utf8_lossy(&chunk.bytes[span.range()]).into_owned();
                        (part.origin.clone(), span.place.byte, text)
                    })),
                    Err(reject) => {
                        let byte = reject.position.byte;
                        self.records.push((part.origin.clone(), byte, format!("reject: {}", reject.reason)));
                    }
                }
            }
        }
    }

    fn offsets(&self, origin: &str) -> Vec<u64> {
        self.records.iter().filter(|record| record.0 == origin).map(|record| record.1).collect()
    }

    /// From one piece to the next without a hole; where it begins and ends.
    fn joined(&self, origin: &str) -> (i64, i64) {
        let pieces: Vec<_> = self.pieces.iter().filter(|piece| piece.0 == origin).collect();
        for pair in pieces.windows(2) {
            assert_eq!(pair[0].2, pair[1].1, "{pieces:?}");
        }
        (pieces.first().expect("a piece").1, pieces.last().expect("a piece").2)
    }
}

/// Takes until there are `count` records; the group joining may take a while.
async fn take(source: &mut Kafka, count: usize, ack: bool) -> Got {
    let mut got = Got::default();
    let until = Instant::now() + Duration::from_secs(18);
    while got.records.len() < count {
        assert!(Instant::now() < until, "only {} of {count}: {:?}", got.records.len(), got.pieces);
        match source.next(Duration::from_millis(500)).await {
            Ok(Some(delivery)) => got.add(delivery),
            Ok(None) => {}
            Err(fault) => eprintln!("{fault}"),
        }
        if ack {
            for receipt in got.receipts.drain(..) {
                source.ack(receipt).await.expect("acknowledged");
            }
        }
    }
    got
}

async fn committed(source: &Kafka, key: Key) -> Option<i64> {
    let found = probe::ask(&source.settings, move |probe| probe.committed(&[key])).await;
    found.expect("an answer").into_values().next()
}

async fn commits_of(source: &Kafka, key: Key, at: i64) {
    for _ in 0..50 {
        if committed(source, key.clone()).await == Some(at) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{key:?} is committed to {:?}, not {at}", committed(source, key.clone()).await);
}

async fn commits(source: &Kafka, topic: &str, at: i64) {
    commits_of(source, (topic.to_owned(), 0), at).await;
}

fn faults(checks: &[Check]) -> Vec<&str> {
    checks.iter().filter_map(|check| check.fault.as_deref()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_come_in_order_and_what_was_not_acknowledged_comes_again() {
    let Some(broker) = Broker::shared() else { return };
    broker.topic("order", 2).await;
    broker.produce("order", 0, numbered(0..5000)).await;
    broker.produce("order", 1, numbered(0..300)).await;
    let mut source = broker.source("order");
    let got = take(&mut source, 5300, false).await;
    assert!(got.receipts.len() > 2, "more than a batch");
    assert_eq!(got.offsets("order/0"), (0..5000).collect::<Vec<_>>());
    assert_eq!(got.offsets("order/1"), (0..300).collect::<Vec<_>>());
    assert_eq!((got.joined("order/0"), got.joined("order/1")), ((0, 5000), (0, 300)));
    assert!(source.next(Duration::from_millis(600)).await.expect("no fault").is_none());
    assert_eq!(source.idle(), ["order/0", "order/1"]);
    assert_eq!(source.lag().await.expect("a lag").waiting, Some(5300));
    // Only the first is acknowledged.
    source.ack(got.receipts[0]).await.expect("acknowledged");
    let done = got.pieces.first().expect("a piece").clone();
    let key = lanes::key(&done.0).expect("a partition");
    commits_of(&source, key, done.2).await;
    drop(source);
    let mut source = broker.source("order");
    let waiting = source.lag().await.expect("a lag").waiting.expect("a number");
    assert!(waiting < 5300, "{waiting}");
    let again = take(&mut source, usize::try_from(waiting).expect("small"), true).await;
    assert_eq!(again.records.len() as u64, waiting);
    assert_eq!(again.joined("order/0").1, 5000);
    assert_eq!(source.listing(Micros(0), Micros(0)).await.expect("a list"), {
        Listing::Ranges(vec![("order/0".to_owned(), 0, 5000), ("order/1".to_owned(), 0, 300)])
    });
    commits(&source, "order", 5000).await;
    assert_eq!(source.lag().await.expect("a lag").waiting, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_comes_again_in_order_and_a_later_acknowledgement_does_not_skip_it() {
    let Some(broker) = Broker::shared() else { return };
    broker.topic("nack", 1).await;
    broker.produce("nack", 0, numbered(0..30)).await;
    let mut source = open(&KafkaConfig { batch: Some(10), ..broker.config("nack") });
    let got = take(&mut source, 30, false).await;
    let [first, second, third] = got.receipts[..] else { panic!("three deliveries: {:?}", got.pieces) };
    source.ack(third).await.expect("acknowledged");
    source.nack(second).await.expect("refused");
    source.ack(first).await.expect("acknowledged");
    commits(&source, "nack", 10).await;
    let again = take(&mut source, 20, true).await;
    assert_eq!(again.offsets("nack/0"), (10..30).collect::<Vec<_>>());
    assert_eq!(again.joined("nack/0"), (10, 30));
    commits(&source, "nack", 30).await;
    // Asked for again, though it is acknowledged.
    let gap = Gap { origin: "nack/0".to_owned(), range: Some((5, 9)), since: Micros(0), until: Micros(0) };
    source.refill(std::slice::from_ref(&gap)).await.expect("asked for");
    assert_eq!(take(&mut source, 25, true).await.joined("nack/0"), (5, 30));
    // By a replica that does not have the partition: that range, and nothing is committed.
    let mut other = broker.source("nack");
    other.refill(&[gap]).await.expect("asked for");
    let filled = take(&mut other, 4, true).await;
    assert_eq!((filled.offsets("nack/0"), filled.joined("nack/0")), ((5..9).collect(), (5, 9)));
    assert!(other.next(TURN).await.expect("no fault").is_none() && other.exhausted(), "and no more than that");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_waiting_is_given_up() {
    let Some(broker) = Broker::shared() else { return };
    broker.topic("given-up", 1).await;
    let mut source = open(&KafkaConfig { linger: Some("300ms".to_owned()), ..broker.config("given-up") });
    let mut got = Got::default();
    let until = Instant::now() + Duration::from_secs(18);
    broker.produce("given-up", 0, numbered(0..500)).await;
    while got.records.len() < 500 && Instant::now() < until {
        // Shorter than the linger time most of the time.
        let short = Duration::from_millis(if got.receipts.is_empty() { 120 } else { 400 });
        if let Ok(next) = tokio::time::timeout(short, source.next(Duration::from_secs(1))).await {
            next.expect("no fault").into_iter().for_each(|delivery| got.add(delivery));
        }
    }
    assert_eq!(got.offsets("given-up/0"), (0..500).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_messages_stop_nothing() {
    let Some(broker) = Broker::shared() else { return };
    broker.topic("poison", 1).await;
    let large = format!("{{\"n\":\"{}\"}}", "x".repeat(10 << 20));
    let payloads = ["{\"n\":0}", "not json", "", &large, "{\"n\":4}", "{\"n\":5}\n{\"n\":6}", "", ""];
    broker.produce("poison", 0, payloads.map(str::to_owned)).await;
    let mut around = around(false);
    around.limits.record_bytes_max = 1 << 20;
    let mut source = Kafka::open("logs", &broker.config("poison"), &around).expect("a source");
    let mut got = Got::default();
    let until = Instant::now() + Duration::from_secs(15);
    while got.pieces.last().is_none_or(|piece| piece.2 < 8) && Instant::now() < until {
        source.next(Duration::from_millis(500)).await.expect("no fault").into_iter().for_each(|it| got.add(it));
    }
    assert_eq!(got.joined("poison/0"), (0, 8));
    let found = |offset: u64| -> Vec<&str> {
        got.records.iter().filter(|record| record.1 == offset).map(|record| record.2.as_str()).collect()
    };
    assert_eq!((found(0), found(2), found(4)), (vec!["{\"n\":0}"], vec![], vec!["{\"n\":4}"]));
    assert_eq!(found(5), ["{\"n\":5}", "{\"n\":6}"]);
    assert!(found(3)[0].starts_with("reject: "), "{:?}", found(3)[0].len());
}

#[tokio::test(flavor = "multi_thread")]
async fn holes_of_transactions_join_and_aborted_messages_do_not_come() {
    let Some(broker) = Broker::shared() else { return };
    broker.topic("holes", 1).await;
    let mut config = broker.client();
    config.set("transactional.id", "holes");
    let producer: FutureProducer = config.create().expect("a producer");
    let wait = Duration::from_secs(10);
    let names: Vec<_> = [true, false, true].into_iter().enumerate().collect();
    tokio::task::block_in_place(|| producer.init_transactions(wait)).expect("transactions");
    for (number, kept) in names {
        producer.begin_transaction().expect("begun");
        let text = format!("{{\"n\":{number}}}");
        producer.send(FutureRecord::<(), _>::to("holes").payload(&text), wait).await.expect("written");
        tokio::task::block_in_place(|| match kept {
            true => producer.commit_transaction(wait).expect("committed"),
            false => producer.abort_transaction(wait).expect("aborted"),
        });
    }
    let mut source = broker.source("holes");
    let mut got = take(&mut source, 2, true).await;
    assert_eq!(got.offsets("holes/0"), [0, 4]);
    // The marker at the end counts once the end is known.
    let until = Instant::now() + Duration::from_secs(10);
    while got.joined("holes/0") != (0, 6) && Instant::now() < until {
        if let Some(delivery) = source.next(Duration::from_millis(500)).await.expect("no fault") {
            let receipt = delivery.receipt;
            got.add(delivery);
            source.ack(receipt).await.expect("acknowledged");
        }
    }
    assert_eq!(got.joined("holes/0"), (0, 6));
    commits(&source, "holes", 6).await;
    assert_eq!(source.lag().await.expect("a lag").waiting, Some(0));
}

/// Takes from both in turn until `done`.
async fn both(sources: [&mut Kafka; 2], got: &mut [Got; 2], done: impl Fn(&[Got; 2]) -> bool) {
    let until = Instant::now() + Duration::from_secs(18);
    let [one, two] = sources;
    while !done(got) {
        assert!(Instant::now() < until, "{:?} {:?}", got[0].pieces, got[1].pieces);
        let wait = Duration::from_millis(200);
        let (first, second) = tokio::join!(one.next(wait), two.next(wait));
        for (number, delivery) in [first, second].into_iter().enumerate() {
            let Some(delivery) = delivery.expect("no fault") else { continue };
            let receipt = delivery.receipt;
            got[number].add(delivery);
            let source = if number == 0 { &mut *one } else { &mut *two };
            source.ack(receipt).await.expect("acknowledged");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_share_and_one_takes_over() {
    let Some(broker) = Broker::shared() else { return };
    broker.topic("share", 4).await;
    let (mut one, mut two) = (broker.source("share"), broker.source("share"));
    let mut got = [Got::default(), Got::default()];
    for partition in 0..4 {
        broker.produce("share", partition, numbered(0..50)).await;
    }
    let first = take(&mut one, 200, false).await;
    // The other joins: what the first still holds of partitions that go over is not its own to commit any more.
    let until = Instant::now() + Duration::from_secs(15);
    while (one.lanes.keys().len(), two.lanes.keys().len()) != (2, 2) {
        assert!(Instant::now() < until, "{:?} {:?}", one.lanes.keys(), two.lanes.keys());
        let wait = Duration::from_millis(100);
        let (_, second) = tokio::join!(one.next(wait), two.next(wait));
        second.expect("no fault").into_iter().for_each(|delivery| got[1].add(delivery));
    }
    for receipt in first.receipts {
        one.ack(receipt).await.expect("acknowledged");
    }
    let theirs: usize = 100;
    both([&mut one, &mut two], &mut got, |got| got[1].records.len() >= theirs).await;
    for receipt in got[1].receipts.clone() {
        two.ack(receipt).await.expect("acknowledged");
    }
    // Each knows of all, and says of its own that nothing waits there.
    let all: Vec<String> = (0..4).map(|partition| format!("share/{partition}")).collect();
    assert_eq!((one.lanes(), two.lanes()), (all.clone(), all));
    assert_eq!(one.idle().len(), 2, "{:?}", one.idle());
    // One goes; the other has all four from where they were acknowledged.
    tokio::time::sleep(Duration::from_millis(500)).await;
    drop(one);
    for partition in 0..4 {
        broker.produce("share", partition, numbered(50..60)).await;
    }
    let rest = take(&mut two, 40, true).await;
    for partition in 0..4 {
        let origin = format!("share/{partition}");
        assert_eq!(rest.offsets(&origin), (50..60).collect::<Vec<_>>());
        assert_eq!(rest.joined(&origin), (50, 60));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_replica_restarts_without_a_rebalance() {
    let Some(broker) = Broker::shared() else { return };
    broker.topic("named", 2).await;
    let named = |name: &str| KafkaConfig {
        instance: Some(name.to_owned()),
        session: Some("15s".to_owned()),
        ..broker.config("named")
    };
    let (mut one, mut two) = (open(&named("a")), open(&named("b")));
    let until = Instant::now() + Duration::from_secs(15);
    while (one.lanes.keys().len(), two.lanes.keys().len()) != (1, 1) {
        assert!(Instant::now() < until, "{:?} {:?}", one.lanes.keys(), two.lanes.keys());
        let wait = Duration::from_millis(100);
        let (first, second) = tokio::join!(one.next(wait), two.next(wait));
        first.and(second).map(|_| ()).expect("no fault");
    }
    let (mine, kept) = (two.lanes.keys(), one.lanes.keys());
    drop(two);
    let mut two = open(&named("b"));
    while two.lanes.keys().is_empty() {
        assert!(Instant::now() < until, "the same partition comes back");
        let wait = Duration::from_millis(100);
        let (first, second) = tokio::join!(one.next(wait), two.next(wait));
        first.and(second).map(|_| ()).expect("no fault");
        assert_eq!(one.lanes.keys(), kept);
    }
    assert_eq!(two.lanes.keys(), mine);
    drop(open(&KafkaConfig { instance: Some("replica".to_owned()), ..broker.config("named") }));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_too_slow_goes_on_where_it_was() {
    let Some(broker) = Broker::shared() else { return };
    broker.topic("slow", 1).await;
    broker.produce("slow", 0, numbered(0..40)).await;
    let mut config = KafkaConfig { batch: Some(20), ..broker.config("slow") };
    config.session = Some("2s".to_owned());
    config.tuned.push(("max.poll.interval.ms", "2000"));
    let mut source = open(&config);
    let got = take(&mut source, 20, false).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    // The group has given its partitions away by now.
    let again = take(&mut source, 20, true).await;
    source.ack(got.receipts[0]).await.expect("no fault");
    let rest = take(&mut source, 40 - again.records.len().min(20), true).await;
    let mut seen = again.offsets("slow/0");
    seen.extend(rest.offsets("slow/0"));
    seen.extend(got.offsets("slow/0"));
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, (0..40).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_restarts_costs_nothing() {
    let Some(mut broker) = Broker::start() else { return };
    broker.topic("restart", 1).await;
    broker.produce("restart", 0, numbered(0..100)).await;
    let mut source = broker.source("restart");
    let mut got = take(&mut source, 100, true).await;
    commits(&source, "restart", 100).await;
    broker.produce("restart", 0, numbered(100..150)).await;
    let unacknowledged = take(&mut source, 50, false).await;
    drop(broker.server);
    for _ in 0..3 {
        if let Err(fault) = source.next(Duration::from_millis(300)).await {
            assert!(matches!(fault, SourceError::Unreachable { .. }), "{fault}");
        }
    }
    broker.server = Broker::serve(broker.folder.path()).expect("the broker again");
    broker.produce("restart", 0, numbered(150..200)).await;
    let after = take(&mut source, 50, true).await;
    for receipt in &unacknowledged.receipts {
        source.ack(*receipt).await.expect("acknowledged");
    }
    for more in [unacknowledged, after] {
        got.records.extend(more.records);
    }
    let mut offsets = got.offsets("restart/0");
    offsets.sort_unstable();
    offsets.dedup();
    assert_eq!(offsets, (0..200).collect::<Vec<_>>());
    // Leaving does not wait for a broker that is gone.
    drop(broker.server);
    let left = Instant::now();
    drop(source);
    assert!(left.elapsed() < Duration::from_secs(8), "{:?}", left.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_made_anew_is_read_from_its_start() {
    let Some(broker) = Broker::shared() else { return };
    broker.topic("anew", 1).await;
    broker.produce("anew", 0, numbered(0..100)).await;
    let mut source = open(&KafkaConfig { start: Start::Latest, ..broker.config("anew") });
    // It starts at the end, so it has to be there before more comes.
    let until = Instant::now() + Duration::from_secs(10);
    while !source.idle().contains(&"anew/0".to_owned()) && Instant::now() < until {
        assert!(source.next(Duration::from_millis(200)).await.expect("no fault").is_none());
    }
    broker.produce("anew", 0, numbered(100..110)).await;
    assert_eq!(take(&mut source, 10, true).await.joined("anew/0"), (100, 110));
    commits(&source, "anew", 110).await;
    broker.admin().delete_topics(&["anew"], &AdminOptions::new()).await.expect("deleted");
    broker.topic("anew", 1).await;
    broker.produce("anew", 0, numbered(0..20)).await;
    let again = take(&mut source, 20, true).await;
    assert_eq!((again.offsets("anew/0"), again.joined("anew/0")), ((0..20).collect(), (0, 20)));
    let listing = source.listing(Micros(0), Micros(0)).await.expect("a list");
    assert_eq!(listing, Listing::Ranges(vec![("anew/0".to_owned(), 0, 20)]));
}

/// Without the time, which was just now.
fn timeless(extent: Extent) -> Extent {
    let Extent::Oldest { from, to, end, written: Some(written) } = extent else { return extent };
    assert!((crate::sources::durations::now().0 - written.0).abs() < 600 * Micros::SECOND, "{written}");
    Extent::Oldest { from, to, end, written: None }
}

/// The extents of the first pieces, of which the first is given back once.
async fn extents(source: &mut Kafka) -> Vec<Extent> {
    let (mut extents, until) = (Vec::new(), Instant::now() + Duration::from_secs(18));
    while extents.len() < 3 && Instant::now() < until {
        let Some(delivery) = source.next(Duration::from_millis(500)).await.expect("no fault") else { continue };
        extents.extend(delivery.parts.iter().map(|part| timeless(part.extent)));
        match extents.len() {
            1 => source.nack(delivery.receipt).await.expect("given back"),
            _ => source.ack(delivery.receipt).await.expect("acknowledged"),
        }
    }
    extents
}

#[tokio::test(flavor = "multi_thread")]
async fn of_what_the_group_does_not_know_it_is_found_out_whether_the_ledger_does() {
    let Some(broker) = Broker::shared() else { return };
    broker.topic("unknown", 1).await;
    broker.produce("unknown", 0, numbered(0..30)).await;
    let now = crate::sources::durations::now();
    let known = |position, at| vec![Resumed { origin: "unknown/0".to_owned(), position, done: false, at: Micros(at) }];
    let oldest = Extent::Oldest { from: 0, to: 10, end: 30, written: None };
    let anew = Extent::Anew { from: 0, to: 10 };
    // What was written in the last minute may be what was read then; what was read an hour ago was of another log.
    for (group, known, first) in
        [("a", known(20, now.0), oldest), ("b", known(20, now.0 - 3_600 * Micros::SECOND), anew)]
    {
        let group = Some(format!("unknown-{group}"));
        let config = KafkaConfig { start: Start::Latest, batch: Some(10), group, ..broker.config("unknown") };
        let mut source = open(&config);
        source.resume(known);
        // The ledger knows it, so it is read from the oldest on, whatever `start` says.
        assert_eq!(extents(&mut source).await, [first, first, Extent::Piece { from: 10, to: 20 }]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_unread_leaves_a_hole() {
    let Some(broker) = Broker::shared() else { return };
    broker.topic("deleted", 1).await;
    broker.produce("deleted", 0, numbered(0..100)).await;
    let mut source = open(&KafkaConfig { batch: Some(10), ..broker.config("deleted") });
    let first = take(&mut source, 10, false).await;
    source.ack(first.receipts[0]).await.expect("acknowledged");
    commits(&source, "deleted", 10).await;
    drop(source);
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset("deleted", 0, Offset::Offset(60)).expect("an offset");
    broker.admin().delete_records(&offsets, &AdminOptions::new()).await.expect("deleted");
    let mut source = broker.source("deleted");
    assert_eq!(take(&mut source, 40, true).await.joined("deleted/0"), (60, 100));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_has_to_be_allowed() {
    let Some(broker) = Broker::shared() else { return };
    broker.topic("password", 1).await;
    broker.produce("password", 0, numbered(0..5)).await;
    let plain = |username: &str, file: String| {
        let plain = PlainConfig { username: username.to_owned(), password_file: Some(file), password_env: None };
        KafkaConfig {
            brokers: vec![broker.address(1)],
            sasl: Some(SaslConfig { plain: Some(plain), oauthbearer: None }),
            ..broker.config("password")
        }
    };
    let config = plain("keytrail", broker.file("password"));
    assert!(refused(&config).contains("use `sasl.oauthbearer`"), "{}", refused(&config));
    let mut source = open(&config);
    assert_eq!(take(&mut source, 5, true).await.joined("password/0"), (0, 5));
    assert_eq!(faults(&source.check().await), Vec::<&str>::new());
    let checks = open(&plain("stranger", broker.file("password"))).check().await;
    assert!(faults(&checks).iter().any(|fault| fault.contains("grant it")), "{checks:?}");
    let checks = open(&plain("keytrail", broker.file("ports"))).check().await;
    assert!(faults(&checks)[0].contains("check `sasl`"), "{checks:?}");
}

/// Unsigned: the broker's own handler for tests takes it.
fn token(lifetime: f64) -> String {
    let part = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    #[expect(clippy::disallowed_methods, reason = "the broker checks the time")]
    let now = jiff::Timestamp::now().as_second() as f64;
    let claims = format!("{{\"sub\":\"keytrail\",\"iat\":{now},\"exp\":{}}}", now + lifetime);
    format!("{}.{}.", part("{\"alg\":\"none\"}"), part(&claims))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_file_is_read_again_before_the_token_expires() {
    let Some(broker) = Broker::shared() else { return };
    broker.topic("token", 1).await;
    broker.produce("token", 0, numbered(0..5)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    let oauth = OauthConfig { token_file: Some(file.display().to_string()), ..OauthConfig::default() };
    let config = KafkaConfig {
        brokers: vec![broker.address(1)],
        sasl: Some(SaslConfig { oauthbearer: Some(oauth), plain: None }),
        ..broker.config("token")
    };
    let checks = open(&config).check().await;
    assert!(faults(&checks)[0].contains("cannot be read"), "{checks:?}");
    std::fs::write(&file, token(6.0)).expect("written");
    let mut source = open(&config);
    assert_eq!(take(&mut source, 5, true).await.joined("token/0"), (0, 5));
    std::fs::write(&file, token(600.0)).expect("written");
    // Past the first one's end. Logging in anew may cost a connection.
    let past = Instant::now() + Duration::from_secs(7);
    while Instant::now() < past {
        if let Err(fault) = source.next(Duration::from_millis(200)).await {
            eprintln!("{fault}");
        }
    }
    broker.produce("token", 0, numbered(5..10)).await;
    assert_eq!(take(&mut source, 5, true).await.joined("token/0"), (5, 10));
    assert_eq!(faults(&source.check().await), Vec::<&str>::new());
}

/// A server of this machine, which gives tokens until it is ended; and where it is.
async fn serving(path: &str, answer: axum::routing::MethodRouter) -> (String, JoinHandle<std::io::Result<()>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let routes = axum::Router::new().route(path, answer);
    (endpoint, tokio::spawn(async move { axum::serve(listener, routes).await }))
}

#[tokio::test(flavor = "multi_thread")]
async fn entra_exchanges_an_assertion_for_a_token() {
    let Some(broker) = Broker::shared() else { return };
    broker.topic("entra", 1).await;
    broker.produce("entra", 0, numbered(0..5)).await;
    let given = token(600.0);
    let answer = move |body: String| async move {
        let asked =
            body.contains("client_assertion=the-assertion") && body.contains("scope=api%3A%2F%2Flogs%2F.default");
        match asked && body.contains("client_id=app") {
            true => (axum::http::StatusCode::OK, format!("{{\"access_token\":\"{given}\",\"expires_in\":600}}")),
            false => (axum::http::StatusCode::UNAUTHORIZED, "{\"error\":\"invalid_client\"}".to_owned()),
        }
    };
    let (endpoint, served) = serving("/tenant-one/oauth2/v2.0/token", axum::routing::post(answer)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("assertion");
    std::fs::write(&file, "the-assertion\n").expect("written");
    let config = |client_id: &str| KafkaConfig {
        brokers: vec![broker.address(1)],
        sasl: Some(SaslConfig {
            plain: None,
            oauthbearer: Some(OauthConfig {
                entra: Some(EntraConfig {
                    client_id: client_id.to_owned(),
                    tenant: "tenant-one".to_owned(),
                    token_file: file.display().to_string(),
                    scope: Some("api://logs/.default".to_owned()),
                    endpoint: Some(endpoint.clone()),
                }),
                ..OauthConfig::default()
            }),
        }),
        ..broker.config("entra")
    };
    let mut source = open(&config("app"));
    assert_eq!(take(&mut source, 5, true).await.joined("entra/0"), (0, 5));
    let checks = open(&config("other")).check().await;
    assert!(faults(&checks)[0].contains("invalid_client") && !faults(&checks)[0].contains("the-assertion"));
    served.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_asked_for_its_own_identity() {
    let Some(broker) = Broker::shared() else { return };
    broker.topic("managed", 1).await;
    broker.produce("managed", 0, numbered(0..5)).await;
    let given = token(600.0);
    let answer = move |headers: axum::http::HeaderMap, uri: axum::http::Uri| async move {
        let wanted = "api-version=2018-02-01&resource=api%3A%2F%2Flogs&client_id=mine";
        match headers.get("metadata").is_some_and(|said| said == "true") && uri.query() == Some(wanted) {
            true => (axum::http::StatusCode::OK, format!("{{\"access_token\":\"{given}\",\"expires_in\":\"600\"}}")),
            false => (axum::http::StatusCode::BAD_REQUEST, "{\"error\":\"invalid_request\"}".to_owned()),
        }
    };
    let (endpoint, served) = serving("/metadata/identity/oauth2/token", axum::routing::get(answer)).await;
    let config = |client_id: &str, endpoint: &str| {
        let managed = ManagedConfig {
            client_id: Some(client_id.to_owned()),
            resource: Some("api://logs".to_owned()),
            endpoint: Some(endpoint.to_owned()),
        };
        let oauth = OauthConfig { managed_identity: Some(managed), ..OauthConfig::default() };
        let sasl = Some(SaslConfig { plain: None, oauthbearer: Some(oauth) });
        KafkaConfig { brokers: vec![broker.address(1)], sasl, ..broker.config("managed") }
    };
    let mut source = open(&config("mine", &endpoint));
    assert_eq!(take(&mut source, 5, true).await.joined("managed/0"), (0, 5));
    let checks = open(&config("other", &endpoint)).check().await;
    assert!(faults(&checks)[0].contains("invalid_request"), "{checks:?}");
    assert!(refused(&config("mine", "http://192.0.2.1")).contains("asked for on this one"));
    served.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_wants_the_right_certificates() {
    let Some(broker) = Broker::shared() else { return };
    broker.topic("tls", 1).await;
    broker.produce("tls", 0, numbered(0..5)).await;
    let mut config = KafkaConfig { brokers: vec![broker.address(2)], tls: true, ..broker.config("tls") };
    let checks = open(&config).check().await;
    assert!(faults(&checks)[0].contains("check `ca_file`"), "{checks:?}");
    config.ca_file = Some(broker.file("ca.pem"));
    let mut source = open(&config);
    assert_eq!(take(&mut source, 5, true).await.joined("tls/0"), (0, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_there_is_named() {
    let Some(broker) = Broker::shared() else { return };
    broker.topic("audit-logs", 1).await;
    let mut source = broker.source("audit-log");
    let checks = source.check().await;
    assert!(faults(&checks)[0].contains("did you mean `audit-logs`"), "{checks:?}");
    let until = Instant::now() + Duration::from_secs(10);
    let fault = loop {
        assert!(Instant::now() < until);
        if let Err(fault) = source.next(Duration::from_millis(500)).await {
            break fault.to_string();
        }
    };
    assert!(fault.contains("audit-log") && fault.contains("create it"), "{fault}");
    // It is read once it is there.
    broker.topic("audit-log", 1).await;
    broker.produce("audit-log", 0, numbered(0..5)).await;
    assert_eq!(take(&mut source, 5, true).await.joined("audit-log/0"), (0, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_of_the_same_number_in_two_topics_are_told_apart() {
    let Some(broker) = Broker::shared() else { return };
    broker.topic("left", 1).await;
    broker.topic("right", 1).await;
    broker.produce("left", 0, numbered(0..5)).await;
    let topics = vec!["left".to_owned(), "right".to_owned()];
    let mut source = open(&KafkaConfig { topics, ..broker.config("left") });
    assert_eq!(take(&mut source, 5, true).await.joined("left/0"), (0, 5));
    let until = Instant::now() + Duration::from_secs(10);
    while source.idle() != ["left/0", "right/0"] && Instant::now() < until {
        assert!(source.next(Duration::from_millis(200)).await.expect("no fault").is_none());
    }
    assert_eq!(source.idle(), ["left/0", "right/0"]);
    broker.produce("right", 0, numbered(0..5)).await;
    assert_eq!(take(&mut source, 5, true).await.joined("right/0"), (0, 5));
}

#[test]
fn partitions_that_are_there_no_more_are_idle() {
    let key = |partition| ("a".to_owned(), partition);
    let mut lanes = Lanes::default();
    lanes.know([key(0), key(1)].map(|key| (key, (1, Micros(0)))).into_iter());
    assert!(lanes.idle().is_empty(), "nobody has said what there is");
    lanes.exist(vec![key(0)]);
    assert_eq!((lanes.all(), lanes.idle()), (vec!["a/0".to_owned()], vec!["a/1".to_owned()]));
    lanes.assigned(&[(key(1), 1)].into());
    assert_eq!((lanes.all(), lanes.idle()), (vec!["a/0".to_owned(), "a/1".to_owned()], vec![]), "it is there again");
}

#[tokio::test]
async fn what_cannot_work_is_refused() {
    let config = |broker: &str| KafkaConfig {
        brokers: vec![broker.to_owned()],
        topics: vec!["a".to_owned()],
        ..KafkaConfig::default()
    };
    assert!(refused(&config("kafka.example:9092")).contains("`tls: true`"));
    assert!(refused(&config("")).contains("host:port"));
    assert!(refused(&KafkaConfig::default()).contains("`brokers`"));
    assert!(refused(&KafkaConfig { topics: Vec::new(), ..config("localhost:9092") }).contains("`topics`"));
    assert!(refused(&KafkaConfig { session: Some("1d".to_owned()), ..config("localhost:9092") }).contains("session"));
    assert!(refused(&KafkaConfig { event_hubs: true, ..config("n.servicebus.windows.net") }).contains("entra"));
    let allowed = KafkaConfig { insecure_plaintext: true, ..config("kafka.example:9092") };
    assert!(Kafka::open("logs", &allowed, &around(false)).is_ok());
    let entra = EntraConfig {
        client_id: "a".to_owned(),
        tenant: "b".to_owned(),
        token_file: "c".to_owned(),
        ..EntraConfig::default()
    };
    let oauthbearer = Some(OauthConfig { entra: Some(entra), ..OauthConfig::default() });
    let sasl = Some(SaslConfig { oauthbearer, plain: None });
    let hubs = KafkaConfig { event_hubs: true, sasl, ..config("n.servicebus.windows.net") };
    let source = Kafka::open("logs", &hubs, &around(false)).expect("a source");
    let client = source.settings.consuming();
    assert_eq!(client.get("bootstrap.servers"), Some("n.servicebus.windows.net:9093"));
    assert_eq!(
        (client.get("security.protocol"), client.get("sasl.mechanism")),
        (Some("SASL_SSL"), Some("OAUTHBEARER"))
    );
}

#[test]
fn the_configuration_reads_as_it_is_written() {
    let text = "{brokers: ['b:9093'], topics: [a], instance: replica, tls: true, start: latest, sasl: {oauthbearer: \
                {entra: {client_id: a, tenant: b, token_file: c}}}}";
    let config: KafkaConfig = serde_saphyr::from_str(text).expect("a configuration");
    assert_eq!((config.start, config.tls, config.instance.as_deref()), (Start::Latest, true, Some("replica")));
    assert!(serde_saphyr::from_str::<KafkaConfig>("{broker: a}").is_err());
}
