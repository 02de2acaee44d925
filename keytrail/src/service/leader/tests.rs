//! Why a term ends, and whom sources wait for.

use keytrail_ingest::Limits;

use super::*;
use crate::pack::Pack;
use crate::service::late::tests::settings;

async fn leader(folder: &std::path::Path) -> (Leader, watch::Sender<Arc<Stages>>) {
    let store = Store::memory().await.expect("a store");
    store.reserve(&[SHARD.to_owned()]).await.expect("a shard");
    let lake = Lake::open(&folder.display().to_string(), Vec::new(), false).expect("a lake");
    lake.make().expect("a folder");
    let stages = Stages::build(&Pack::embedded(), Limits::default()).expect("the shipped pack");
    let (keep, stages) = watch::channel(Arc::new(stages));
    let shared = Arc::new(Shared::of(std::iter::once("drop".to_owned())));
    (Leader { store, lake, settings: Arc::new(settings(folder)), shared, stages }, keep)
}

/// Saves a state that this build does not read.
async fn save(store: &Store, version: i64, body: &[u8]) {
    let lease = store.claim(SHARD, "other", None).await.expect("an answer").expect("a lease");
    let checkpoint = Checkpoint { shard: SHARD.to_owned(), cursor: 1, floor: 1, version, body: body.to_vec() };
    let save =
        Save { checkpoint: &checkpoint, seen: None, forget_seen_before: Micros(0), entries: &[], credentials: &[] };
    assert!(matches!(store.save(&lease, &save).await.expect("a save"), Saved::Done(_)));
    store.release(&lease).await.expect("released");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_a_newer_build_ends_it_and_frees_the_lease() {
    let folder = tempfile::tempdir().expect("a folder");
    let (leader, _keep) = leader(folder.path()).await;
    let store = leader.store.clone();
    save(&store, 99, b"of a later version").await;
    let (_set, stop) = Stop::new();
    let fault = leader.run(stop).await.expect_err("nothing to go on from").to_string();
    assert!(fault.contains("has version 99") && fault.ends_with("run the newer keytrail"), "{fault}");
    let lease = store.lease(SHARD).await.expect("an answer");
    assert!(lease.is_some_and(|lease| lease.is_free()), "another may lead at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_it_begin_anew_is_told_until_something_is_saved() {
    let folder = tempfile::tempdir().expect("a folder");
    let (leader, _keep) = leader(folder.path()).await;
    let (store, shared) = (leader.store.clone(), Arc::clone(&leader.shared));
    save(&store, VERSION, b"damaged").await;
    let (set, stop) = Stop::new();
    let running = tokio::spawn(leader.run(stop));
    let told = async |wanted: bool| {
        for _ in 0..200 {
            if shared.evaluation_fault().is_some() == wanted {
                return true;
            }
            sleep(Duration::from_millis(50)).await;
        }
        false
    };
    assert!(told(true).await, "a damaged state is told");
    // As one who mends it would: what is there is evaluated from the beginning.
    let checkpoint = Checkpoint { shard: SHARD.to_owned(), cursor: 0, floor: 0, version: VERSION, body: Vec::new() };
    let nothing =
        Save { checkpoint: &checkpoint, seen: None, forget_seen_before: Micros(0), entries: &[], credentials: &[] };
    let mut mended = false;
    while !mended {
        // Each attempt raises the epoch.
        let lease = store.lease(SHARD).await.expect("an answer").expect("a lease");
        mended = matches!(store.save(&lease, &nothing).await.expect("an answer"), Saved::Done(_));
    }
    assert!(told(false).await, "once it saves again, nothing is told");
    set.send_replace(true);
    running.await.expect("no panic").expect("stopped");
}
