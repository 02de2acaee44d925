//! What only a file can do: survive a crash, be shared, be missing, read-only, foreign, too new or full.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use keytrail_model::Severity;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AnyConnection, Connection as _};
use tempfile::TempDir;

use super::samples::{finding, found, rejected};
use crate::open::migrate_to;
use crate::place::Place;
use crate::{FindingFilter, Store, StoreError};

const CHILD: &str = "KEYTRAIL_STORE_TEST_FILE";

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keytrail.db");
    (folder, path)
}

async fn refusal(path: &Path) -> String {
    let error = Store::open(path).await.expect_err("refused");
    error.to_string().replace(&path.display().to_string(), "PATH")
}

fn in_another_process(test: &str, path: &Path) -> ExitStatus {
    let mut child = Command::new(std::env::current_exe().expect("this test"));
    child.args(["--exact", &format!("contract::file::{test}"), "--ignored", "--quiet"]).env(CHILD, path);
    child.output().expect("it ran").status
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_drop_without_close() {
    let (_folder, path) = place();
    let store = Store::open(&path).await.expect("a store");
    store.commit(&[found(finding("fnd-1", Severity::High, 1))], &[("a".to_owned(), 7)]).await.expect("a commit");
    drop(store);
    let again = Store::open(&path).await.expect("the store");
    assert_eq!(again.findings(&FindingFilter::default()).await.expect("findings").len(), 1);
    assert_eq!(again.positions().await.expect("positions"), [("a".to_owned(), 7)]);
}

#[tokio::test]
async fn what_was_committed_is_there_after_the_process_died_in_its_next_commit() {
    let (_folder, path) = place();
    assert!(!in_another_process("commits_and_dies", &path).success(), "it dies");
    let store = Store::open(&path).await.expect("the store");
    assert_eq!(store.replay(0).await.expect("entries").len(), 1);
    assert_eq!(store.reject_count().await.expect("a count"), 1);
    store.commit(&[rejected(2)], &[]).await.expect("no lock is left behind");
}

#[tokio::test]
#[ignore = "run by the test above, in a process of its own"]
async fn commits_and_dies() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let store = Store::open(Path::new(&path)).await.expect("a store");
    store.commit(&[rejected(1)], &[]).await.expect("a commit");
    let mut tx = store.pool.begin_with("BEGIN IMMEDIATE").await.expect("a transaction");
    let half = "INSERT INTO journal (id, at, kind, body) VALUES ('half', 0, 'rejected', '{}')";
    sqlx::query(half).execute(&mut *tx).await.expect("half of a commit");
    std::process::abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_and_two_handles_write_one_file() {
    let (_folder, path) = place();
    let child = tokio::task::spawn_blocking({
        let path = path.clone();
        move || in_another_process("commits_forty_times", &path)
    });
    let (one, two) = tokio::join!(Store::open(&path), Store::open(&path));
    let (one, two) = (one.expect("a store"), two.expect("a store"));
    for line in 0..40 {
        let (left, right) = ([rejected(100 + line)], [rejected(200 + line)]);
        let both = tokio::join!(one.commit(&left, &[]), two.commit(&right, &[]));
        both.0.and(both.1).expect("both commits wait for their turn");
    }
    assert!(child.await.expect("the child ran").success());
    assert_eq!(one.reject_count().await.expect("a count"), 120);
    let check: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&one.pool).await.expect("a check");
    assert_eq!(check, "ok");
}

#[tokio::test]
#[ignore = "run by the test above, in a process of its own"]
async fn commits_forty_times() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let store = Store::open(Path::new(&path)).await.expect("a store");
    for line in 0..40 {
        store.commit(&[rejected(300 + line)], &[]).await.expect("a commit");
    }
}

#[tokio::test]
async fn a_wrong_place_is_explained() {
    let (folder, path) = place();
    let missing = folder.path().join("no").join("keytrail.db");
    assert!(refusal(&missing).await.starts_with("no folder `"), "{}", refusal(&missing).await);
    assert!(refusal(folder.path()).await.starts_with("store `PATH` is a folder"));
    fs::write(&path, "time,event\n".repeat(200)).expect("written");
    assert!(refusal(&path).await.starts_with("`PATH` is not a SQLite database"), "{}", refusal(&path).await);
}

#[tokio::test]
async fn what_cannot_be_written_is_explained() {
    let (folder, path) = place();
    Store::open(&path).await.expect("a store").close().await;
    let explained = "store `PATH` cannot be written: make the file and its folder writable, or name another path";
    fs::set_permissions(&path, Permissions::from_mode(0o444)).expect("read-only");
    assert_eq!(refusal(&path).await, explained);
    fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("writable");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o555)).expect("read-only");
    assert_eq!(refusal(&path).await, explained);
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("writable");
    // Here the mode bits allow what the file system refuses, even to root.
    assert_eq!(refusal(Path::new("/sys/keytrail.db")).await, explained);
}

#[tokio::test]
async fn a_store_of_something_else_or_of_tomorrow_is_refused() {
    let (_folder, path) = place();
    let store = Store::open(&path).await.expect("a store");
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (7, 'tomorrow', 1, x'00', 0)";
    sqlx::query(newer).execute(&store.pool).await.expect("a newer schema");
    store.close().await;
    assert!(refusal(&path).await.starts_with("store `PATH` has schema 7, this keytrail knows 3: upgrade keytrail"));
    Store::remove(&path).expect("removed");
    let pool = sqlx::SqlitePool::connect_with(SqliteConnectOptions::new().filename(&path).create_if_missing(true))
        .await
        .expect("a database");
    sqlx::query("CREATE TABLE bookmarks (url TEXT)").execute(&pool).await.expect("a table");
    pool.close().await;
    assert!(refusal(&path).await.starts_with("`PATH` is a SQLite database of something else"));
}

#[tokio::test]
async fn a_full_disk_takes_nothing_half() {
    let (_folder, path) = place();
    Store::open(&path).await.expect("a store").close().await;
    let store = Store::open_with(&path, "PRAGMA max_page_count = 70;").await.expect("the store");
    store.commit(&[rejected(0)], &[]).await.expect("room for one");
    let many: Vec<_> = (1..5_000).map(rejected).collect();
    let error = store.commit(&many, &[("a".to_owned(), 1)]).await.expect_err("no room for all");
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert_eq!(store.replay(0).await.expect("entries").len(), 1);
    assert_eq!(store.positions().await.expect("positions"), []);
    store.close().await;
    let roomy = Store::open(&path).await.expect("the store");
    assert_eq!(roomy.commit(&many, &[]).await.expect("a commit").appended, 4_999);
}

#[tokio::test]
async fn a_store_of_the_first_schema_is_brought_up_to_date() {
    let (_folder, path) = place();
    let old = Place::file(&path, "").expect("a place");
    sqlx::any::install_default_drivers();
    let mut connection = AnyConnection::connect_with(&old.options).await.expect("a connection");
    migrate_to(&old, &mut connection, 1).await.expect("the first schema");
    let reject = "INSERT INTO reject (id, seq, at, origin, reason, body) VALUES ('a', 1, 0, 'o', 'r', '{}')";
    sqlx::query(reject).execute(&mut connection).await.expect("a row");
    connection.close().await.expect("closed");
    let store = Store::open(&path).await.expect("the store");
    assert_eq!(store.reject_count().await.expect("a count"), 1);
    assert_eq!(store.ledger_totals().await.expect("totals"), []);
}

#[tokio::test]
async fn a_path_may_have_any_characters() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["a b?c#d%20e.db", "ü&=:memory:.db", "..x.db"] {
        let path = folder.path().join("..").join(folder.path().file_name().expect("a name")).join(name);
        Store::connect(path.to_str().expect("text")).await.expect("a store").close().await;
        assert!(folder.path().join(name).exists(), "{name}");
    }
}

#[tokio::test]
async fn a_file_waits_for_the_disk_and_for_its_turn() {
    let (_folder, path) = place();
    let store = Store::open(&path).await.expect("a store");
    let mut tx = store.begin().await.expect("a transaction");
    for (pragma, expected) in [("synchronous", 2), ("busy_timeout", 15_000), ("foreign_keys", 1)] {
        let sql = sqlx::AssertSqlSafe(format!("PRAGMA {pragma}"));
        let value: i64 = sqlx::query_scalar(sql).fetch_one(&mut *tx).await.expect(pragma);
        assert_eq!(value, expected, "{pragma}");
    }
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *tx).await.expect("a mode");
    assert_eq!(mode, "wal");
}
