//! Ledger, inbox and leases: a piece is taken in once, waits in order, and is owned by one.

use keytrail_model::{Micros, Severity};

use super::places::everywhere;
use super::samples::{finding, found, rejected};
use crate::{Expected, FindingFilter, Held, Intake, Lease, LedgerTotal, Mark, Store, TakenIn};

pub fn mark(origin: &str, position: i64, done: bool) -> Mark {
    Mark { origin: origin.to_owned(), position, done, events: 10, rejects: 1, at: Micros(position) }
}

pub fn held(lane: &str, first: i64, size: usize) -> Held {
    Held { lane: lane.to_owned(), first: Micros(first), last: Micros(first + 5), events: 2, body: vec![7; size] }
}

/// A step of the source `s` that reads `origin`.
pub fn step(origin: &str, expected: Expected, position: i64, done: bool) -> Intake {
    Intake {
        source: "s".to_owned(),
        at: Micros(position),
        expected: vec![(origin.to_owned(), expected)],
        marks: vec![mark(origin, position, done)],
        held: vec![held("a", position, 3)],
        entries: Vec::new(),
        early: Vec::new(),
    }
}

async fn taken(store: &Store, intake: &Intake) -> bool {
    matches!(store.take_in(intake).await.expect("an answer"), TakenIn::Done(_))
}

#[tokio::test]
async fn a_piece_is_taken_in_once() {
    everywhere(async |store| {
        assert!(taken(&store, &step("o", Expected::New, 5, false)).await);
        let TakenIn::Moved(now) = store.take_in(&step("o", Expected::New, 6, false)).await.expect("an answer") else {
            panic!("it was there already");
        };
        assert_eq!(now.get("o"), Some(&mark("o", 5, false)));
        assert!(!taken(&store, &step("o", Expected::At(4), 6, false)).await);
        assert!(!taken(&store, &step("p", Expected::At(0), 6, false)).await);
        assert!(taken(&store, &step("o", Expected::At(5), 6, false)).await);
        assert!(taken(&store, &step("o", Expected::Open, 7, true)).await);
        assert!(!taken(&store, &step("o", Expected::Open, 8, true)).await);
        assert!(taken(&store, &step("p", Expected::Open, 1, false)).await);
        assert_eq!(store.inbox_depth().await.expect("a depth").rows, 4);
    })
    .await;
}

#[tokio::test]
async fn of_many_readers_of_one_piece_one_commits() {
    everywhere(async |store| {
        for round in 0..5 {
            let origin = format!("o{round}");
            let steps: Vec<Intake> = (1..=6).map(|position| step(&origin, Expected::New, position, true)).collect();
            let all = futures_util::future::join_all(steps.iter().map(|step| store.take_in(step))).await;
            let done = all.into_iter().filter(|taken| matches!(taken, Ok(TakenIn::Done(_)))).count();
            assert_eq!(done, 1);
        }
        assert_eq!(store.inbox_depth().await.expect("a depth").rows, 5);
    })
    .await;
}

#[tokio::test]
async fn the_ledger_adds_up_and_is_read_in_pages() {
    everywhere(async |store| {
        let mut intake = step("b", Expected::New, 1, false);
        // Once with an accent, which a language sorts between the others, and one that is named twice.
        intake.marks = ["é", "b", "a", "Z", "b"].iter().zip(1..).map(|(o, p)| mark(o, p, *o == "a")).collect();
        assert!(taken(&store, &intake).await);
        let page = store.ledger("s", None, 3).await.expect("rows");
        let origins: Vec<&str> = page.iter().map(|mark| mark.origin.as_str()).collect();
        assert_eq!(origins, ["Z", "a", "b"]);
        assert_eq!(page[2], Mark { events: 20, rejects: 2, at: Micros(1), ..mark("b", 5, false) });
        let rest = store.ledger("s", Some("b"), 3).await.expect("rows");
        assert_eq!((rest.len(), rest[0].origin.as_str()), (1, "é"));
        let total = LedgerTotal {
            source: "s".to_owned(),
            origins: 4,
            done: 1,
            events: 50,
            rejects: 5,
            first: Micros(1),
            last: Micros(1),
        };
        assert_eq!(store.ledger_totals().await.expect("totals"), std::slice::from_ref(&total));
        assert_eq!(store.ledger_total("s").await.expect("a total"), Some(total));
        assert_eq!(store.ledger_total("another").await.expect("an answer"), None);
        assert_eq!(store.forget_done("s", "", Micros(1)).await.expect("a count"), 0);
        assert_eq!(store.forget_done("s", "another/", Micros(2)).await.expect("a count"), 0);
        assert_eq!(store.forget_done("s", "", Micros(2)).await.expect("a count"), 1);
        assert_eq!(store.forget_done("s", "", Micros(2)).await.expect("a count"), 0, "the row that counts stays");
        assert_eq!(store.ledger("s", None, 9).await.expect("rows").len(), 4);
        let totals = store.ledger_totals().await.expect("totals");
        assert_eq!((totals[0].events, totals[0].rejects), (50, 5), "what is forgotten stays counted");
    })
    .await;
}

#[tokio::test]
async fn marks_are_looked_up_by_the_thousand_and_by_any_name() {
    everywhere(async |store| {
        let mut intake = step("x", Expected::New, 1, false);
        let mut origins: Vec<String> = (0..1_200).map(|number| format!("o{number}")).collect();
        origins.extend(["with\0nul".to_owned(), "long ".repeat(2_000), format!("{}end", "long ".repeat(2_000))]);
        intake.marks = origins.iter().map(|origin| mark(origin, 3, false)).collect();
        intake.expected = origins.iter().map(|origin| (origin.clone(), Expected::New)).collect();
        assert!(taken(&store, &intake).await);
        let marks = store.marks("s", &origins).await.expect("marks");
        assert_eq!(marks.len(), origins.len());
        assert!(origins.iter().all(|origin| marks.get(origin).is_some_and(|mark| mark.origin == *origin)));
        assert_eq!(store.marks("other", &origins).await.expect("marks").len(), 0);
        assert_eq!(store.marks("s", &[]).await.expect("marks").len(), 0);
        assert!(!taken(&store, &intake).await, "expected to be new, and known");
    })
    .await;
}

#[tokio::test]
async fn an_early_finding_waits_for_nothing_and_replaces_nothing() {
    everywhere(async |store| {
        let mut early = finding("fnd-1", Severity::High, 1);
        let mut intake = step("o", Expected::New, 1, false);
        intake.early = vec![found(early.clone())];
        assert!(taken(&store, &intake).await);
        let mut last = early.clone();
        last.count = 9;
        store.commit(&[found(last.clone())], &[]).await.expect("a commit");
        early.count = 4;
        let mut intake = step("o", Expected::At(1), 2, false);
        // Twice in one step: the first of the two stands until the final version comes.
        let new = |count| keytrail_model::Finding { count, ..finding("fnd-2", Severity::Low, 1) };
        intake.early = vec![found(early), found(new(1)), found(new(2)), rejected(3)];
        let TakenIn::Done(done) = store.take_in(&intake).await.expect("an answer") else { panic!("it stood there") };
        assert_eq!((done.appended, done.repeated), (2, 2));
        assert_eq!(store.findings(&FindingFilter::default()).await.expect("findings"), [last, new(1)]);
    })
    .await;
}

#[tokio::test]
async fn the_inbox_is_read_in_order_and_by_body() {
    everywhere(async |store| {
        let mut intake = step("o", Expected::New, 1, false);
        let sizes = [0, 1, 300_000, 5_000_000, 2, 3_000_000, 3_000_000];
        intake.held = sizes.iter().zip(0..).map(|(size, first)| held(&format!("l{first}"), first, *size)).collect();
        intake.held.extend((100..200).map(|first| held("many", first, 1)));
        assert!(taken(&store, &intake).await);
        store.tick("s", &["a".to_owned(), "b".to_owned()], Micros(77)).await.expect("ticks");
        store.tick("s", &[], Micros(78)).await.expect("no ticks");
        let rows = store.inbox_index(0, 1_000).await.expect("rows");
        assert_eq!(rows.len(), 109);
        let firsts: Vec<i64> = rows.iter().map(|row| row.first.0).collect();
        assert_eq!(firsts, (0..7).chain(100..200).chain([77, 77]).collect::<Vec<i64>>());
        assert_eq!((rows[3].size, rows[3].events, rows[3].last, rows[3].tick), (5_000_000, 2, Micros(8), false));
        assert_eq!((rows[108].tick, rows[108].lane.as_str(), rows[108].size), (true, "b", 0));
        let body = store.inbox_body(rows[2].seq).await.expect("an answer").expect("a body");
        assert_eq!(body, vec![7; 300_000]);
        assert_eq!(store.inbox_body(rows[0].seq).await.expect("an answer"), Some(Vec::new()));
        assert_eq!(store.inbox_body(9_999).await.expect("an answer"), None);
        let next = store.inbox_index(rows[4].seq, 2).await.expect("rows");
        assert_eq!(next, rows[5..7]);
        let depth = store.inbox_depth().await.expect("a depth");
        let bytes: usize = sizes.iter().sum::<usize>() + 100;
        assert_eq!((depth.rows, depth.events, depth.bytes), (109, 214, bytes as u64));
    })
    .await;
}

/// Who reads on from the last number that it saw misses nothing, however writers overlap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_become_visible_in_the_order_of_their_numbers() {
    everywhere(async |store| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let store = store.clone();
                tokio::spawn(async move {
                    for number in 0..25 {
                        let mut intake = step(&format!("{writer}-{number}"), Expected::New, 1, true);
                        intake.held = (0..3).map(|first| held("a", first, 1)).collect();
                        store.take_in(&intake).await.expect("taken in");
                    }
                })
            })
            .collect();
        let (mut seen, mut after) = (0, 0);
        while seen < 300 {
            let done = writers.iter().all(tokio::task::JoinHandle::is_finished);
            let rows = store.inbox_index(after, 7).await.expect("rows");
            assert!(!(done && rows.is_empty()), "{seen} of 300 rows were seen");
            seen += rows.len();
            after = rows.last().map_or(after, |row| row.seq);
            tokio::task::yield_now().await;
        }
        assert_eq!(seen, 300);
    })
    .await;
}

#[tokio::test]
async fn a_lease_has_one_holder() {
    everywhere(async |store| {
        assert_eq!(store.lease("x").await.expect("an answer"), None);
        let first = store.claim("x", "one", None).await.expect("an answer").expect("nobody had it");
        assert_eq!((first.holder.as_str(), first.epoch, first.beat), ("one", 1, 0));
        assert_eq!(store.claim("x", "two", None).await.expect("an answer"), None);
        let beaten = store.beat(&first).await.expect("an answer").expect("still held");
        assert_eq!(beaten.beat, 1);
        assert_eq!(store.claim("x", "two", Some(&first)).await.expect("an answer"), None, "it has beaten since");
        let second = store.claim("x", "two", Some(&beaten)).await.expect("an answer").expect("it stood still");
        assert_eq!((second.epoch, second.beat), (2, 0));
        assert_eq!(store.beat(&beaten).await.expect("an answer"), None);
        store.release(&beaten).await.expect("nothing to do");
        assert_eq!(store.lease("x").await.expect("an answer"), Some(second.clone()));
        store.release(&second).await.expect("released");
        let free = store.lease("x").await.expect("an answer").expect("a row");
        assert!(free.is_free());
        assert_eq!(store.beat(&second).await.expect("an answer"), None);
        let third = store.claim("x", "three", Some(&free)).await.expect("an answer").expect("it was free");
        store.claim("a", "one", None).await.expect("an answer").expect("nobody had it");
        let all = store.leases().await.expect("leases");
        let names: Vec<&str> = all.iter().map(|lease| lease.name.as_str()).collect();
        assert_eq!((names, &all[1]), (vec!["a", "x"], &third));
    })
    .await;
}

#[tokio::test]
async fn of_many_claimants_one_wins() {
    everywhere(async |store| {
        let mut seen: Option<Lease> = None;
        for _ in 0..5 {
            let holders = ["a", "b", "c", "d", "e"];
            let claims = holders.map(|holder| store.claim("x", holder, seen.as_ref()));
            let all = futures_util::future::join_all(claims).await;
            let won: Vec<Lease> = all.into_iter().filter_map(|claim| claim.expect("an answer")).collect();
            assert_eq!(won.len(), 1);
            seen = won.into_iter().next();
        }
        assert_eq!(seen.map(|lease| lease.epoch), Some(5));
    })
    .await;
}

/// Not a bound, a figure: `cargo test -- --ignored --nocapture how_fast`.
#[tokio::test]
#[ignore = "measures"]
async fn how_fast() {
    everywhere(async |store| {
        #[expect(clippy::disallowed_methods, reason = "a measurement")]
        let begun = std::time::Instant::now();
        for number in 0..50 {
            let mut intake = step(&format!("o{number}"), Expected::New, 1, true);
            intake.held = (0..4).map(|first| held("a", first, 300_000)).collect();
            intake.entries = (0..20).map(|line| rejected(number * 20 + line)).collect();
            store.take_in(&intake).await.expect("taken in");
        }
        eprintln!("{:?}: 50 steps of 1.2 MB and 20 entries in {:?}", store.engine, begun.elapsed());
    })
    .await;
}
