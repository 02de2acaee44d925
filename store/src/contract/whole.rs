//! Shards: what one knows is saved whole, by its owner only; and every step of the streaming service leaves nothing behind
//! when any part of it fails.

use keytrail_model::{Entry, Micros, Severity};

use super::places::{dump, everywhere, refuse, relent};
use super::samples::{finding, found, rejected};
use super::stream::{held, step};
use crate::{Checkpoint, CredentialRow, Expected, Lease, STATE_VERSION, Save, Saved, Store, StoreError, TakenIn};

fn checkpoint(shard: &str, cursor: i64, floor: i64) -> Checkpoint {
    Checkpoint { shard: shard.to_owned(), cursor, floor, version: STATE_VERSION, body: vec![1, 0, 2] }
}

fn plain(checkpoint: &Checkpoint) -> Save<'_> {
    Save { checkpoint, seen: None, forget_seen_before: Micros(0), entries: &[], credentials: &[] }
}

fn used(credential: &str, first: i64, last: i64, events: u64) -> CredentialRow {
    let (first_seen, last_seen) = (Micros(first), Micros(last));
    CredentialRow { credential: credential.to_owned(), first_seen, last_seen, events, ..CredentialRow::default() }
}

async fn owned(store: &Store, name: &str) -> Lease {
    store.claim(name, "one", None).await.expect("an answer").expect("nobody had it")
}

/// Rows that wait, by number.
async fn fill(store: &Store, rows: usize) -> Vec<i64> {
    let mut intake = step("o", Expected::Open, 1, false);
    intake.held = (0..).take(rows).map(|first| held("a", first, 4)).collect();
    store.take_in(&intake).await.expect("taken in");
    store.inbox_index(0, 1_000).await.expect("rows").iter().map(|row| row.seq).collect()
}

#[tokio::test]
async fn a_shard_is_restored_as_it_was_saved() {
    everywhere(async |store| {
        let lease = owned(&store, "a").await;
        assert_eq!(store.restore("a").await.expect("an answer"), None);
        store.reserve(&["a".to_owned(), "b".to_owned()]).await.expect("reserved");
        assert_eq!(store.restore("a").await.expect("an answer"), None);
        for (cursor, ids) in [(3, vec![9]), (7, vec![8, 0])] {
            let saved = checkpoint("a", cursor, cursor - 1);
            let save = Save { seen: Some((Micros(cursor), ids)), ..plain(&saved) };
            assert!(matches!(store.save(&lease, &save).await.expect("an answer"), Saved::Done(_)));
            store.reserve(&["a".to_owned()]).await.expect("changes nothing");
            assert_eq!(store.restore("a").await.expect("an answer"), Some(saved));
        }
        assert_eq!(store.seen("a").await.expect("ids"), [(Micros(3), vec![9]), (Micros(7), vec![8, 0])]);
        assert_eq!(store.seen("b").await.expect("ids"), []);
        let saved = checkpoint("a", 8, 7);
        store.save(&lease, &Save { forget_seen_before: Micros(7), ..plain(&saved) }).await.expect("saved");
        assert_eq!(store.seen("a").await.expect("ids"), [(Micros(7), vec![8, 0])]);
    })
    .await;
}

#[tokio::test]
async fn who_was_superseded_commits_nothing() {
    everywhere(async |store| {
        let old = owned(&store, "a").await;
        let new = store.claim("a", "two", Some(&old)).await.expect("an answer").expect("it stood still");
        let before = dump(&store).await;
        let (saved, entries) = (checkpoint("a", 1, 1), [rejected(1)]);
        let save = Save { entries: &entries, ..plain(&saved) };
        assert_eq!(store.save(&old, &save).await.expect("an answer"), Saved::Superseded);
        assert_eq!(store.emit(&old, &entries).await.expect("an answer"), Saved::Superseded);
        assert_eq!(dump(&store).await, before);
        assert!(
            matches!(store.emit(&new, &entries).await.expect("an answer"), Saved::Done(done) if done.appended == 1)
        );
        assert!(matches!(store.save(&new, &save).await.expect("an answer"), Saved::Done(done) if done.repeated == 1));
        // Both were beats: who saw the lease before them cannot claim it.
        assert_eq!(store.claim("a", "three", Some(&new)).await.expect("an answer"), None);
        store.release(&new).await.expect("released");
        assert_eq!(store.save(&new, &save).await.expect("an answer"), Saved::Superseded);
    })
    .await;
}

#[tokio::test]
async fn the_inbox_is_kept_for_the_slowest_shard() {
    everywhere(async |store| {
        let rows = fill(&store, 6).await;
        store.reserve(&["a".to_owned(), "b".to_owned()]).await.expect("reserved");
        let (a, b) = (owned(&store, "a").await, owned(&store, "b").await);
        store.save(&a, &plain(&checkpoint("a", rows[5], rows[5]))).await.expect("saved");
        assert_eq!(store.inbox_depth().await.expect("a depth").rows, 6, "the other has not read them");
        store.save(&b, &plain(&checkpoint("b", rows[4], rows[2]))).await.expect("saved");
        let left: Vec<i64> = store.inbox_index(0, 9).await.expect("rows").iter().map(|row| row.seq).collect();
        assert_eq!(left, rows[2..]);
        store.save(&b, &plain(&checkpoint("b", rows[5], rows[5] + 1))).await.expect("saved");
        store.save(&a, &plain(&checkpoint("a", rows[5], rows[5] + 1))).await.expect("saved");
        assert_eq!(store.inbox_depth().await.expect("a depth").rows, 0);
        assert!(fill(&store, 1).await[0] > rows[5], "numbers are not given again");
    })
    .await;
}

#[tokio::test]
async fn credentials_add_up() {
    everywhere(async |store| {
        let lease = owned(&store, "a").await;
        let saved = checkpoint("a", 1, 0);
        for row in [used("k", 5, 9, 3), used("k", 2, 7, 4)] {
            let rows = [CredentialRow { kind: Some("aws_access_key".to_owned()), ..row }, used("l\0", 1, 1, 1)];
            store.save(&lease, &Save { credentials: &rows, ..plain(&saved) }).await.expect("saved");
        }
        let rows = store.credentials().await.expect("credentials");
        let k = &rows[0];
        assert_eq!((k.credential.as_str(), k.events, k.first_seen.0, k.last_seen.0), ("k", 7, 2, 9));
        assert_eq!((rows.len(), rows[1].events), (2, 2));
    })
    .await;
}

#[tokio::test]
async fn state_of_tomorrow_is_refused() {
    everywhere(async |store| {
        let lease = owned(&store, "a").await;
        let saved = Checkpoint { version: STATE_VERSION + 1, ..checkpoint("a", 1, 0) };
        store.save(&lease, &plain(&saved)).await.expect("saved");
        let error = store.restore("a").await.expect_err("newer");
        assert!(matches!(error, StoreError::NewerState { .. }), "{error}");
        assert!(error.to_string().ends_with("has version 2, this keytrail knows 1: run the newer keytrail"), "{error}");
    })
    .await;
}

fn entries() -> [Entry; 2] {
    [found(finding("fnd-1", Severity::High, 1)), rejected(1)]
}

#[tokio::test]
async fn a_step_that_fails_anywhere_leaves_nothing() {
    everywhere(async |store| {
        let mut intake = step("o", Expected::New, 5, true);
        intake.entries = vec![rejected(1)];
        intake.early = vec![found(finding("fnd-1", Severity::High, 1))];
        let before = dump(&store).await;
        for table in ["journal", "reject", "finding", "finding_owner", "ledger", "inbox"] {
            refuse(&store, table).await;
            store.take_in(&intake).await.expect_err(table);
            relent(&store, table).await;
            assert_eq!(dump(&store).await, before, "{table}");
        }
        assert!(matches!(store.take_in(&intake).await.expect("an answer"), TakenIn::Done(done) if done.appended == 2));
    })
    .await;
}

#[tokio::test]
async fn a_save_that_fails_anywhere_leaves_nothing() {
    everywhere(async |store| {
        let rows = fill(&store, 3).await;
        let lease = owned(&store, "a").await;
        let first = checkpoint("a", 0, 0);
        store.save(&lease, &Save { seen: Some((Micros(1), vec![1])), ..plain(&first) }).await.expect("saved");
        let (saved, entries, credentials) = (checkpoint("a", rows[2], rows[2]), entries(), [used("k", 1, 2, 3)]);
        let save = Save {
            checkpoint: &saved,
            seen: Some((Micros(9), vec![3])),
            forget_seen_before: Micros(5),
            entries: &entries,
            credentials: &credentials,
        };
        let before = dump(&store).await;
        for table in ["lease", "shard", "seen", "journal", "finding", "finding_owner", "reject", "credential", "inbox"]
        {
            refuse(&store, table).await;
            store.save(&lease, &save).await.expect_err(table);
            if ["journal", "finding", "reject", "lease"].contains(&table) {
                store.emit(&lease, &entries).await.expect_err(table);
            }
            relent(&store, table).await;
            assert_eq!(dump(&store).await, before, "{table}");
        }
        assert!(matches!(store.save(&lease, &save).await.expect("an answer"), Saved::Done(done) if done.appended == 2));
        assert_ne!(dump(&store).await, before);
        assert_eq!(store.inbox_depth().await.expect("a depth").rows, 1);
    })
    .await;
}
