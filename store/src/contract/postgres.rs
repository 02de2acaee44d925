//! What only a database on the network can do: be away, be shared by replicas, hold something else, and keep a password.

use keytrail_model::Micros;
use sqlx::{AnyConnection, Connection as _, PgConnection};

use super::places::{database, drop_database, tell};
use super::samples::rejected;
use super::stream::step;
use crate::open::migrate_to;
use crate::place::Place;
use crate::server::Server;
use crate::{Expected, Store, StoreError, TakenIn};

/// Made up; in no list of words.
const WORD: &str = "open-sesame";

#[tokio::test]
async fn a_database_that_is_away_is_told_apart_and_no_password_is_shown() {
    let port = {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        taken.local_addr().expect("an address").port()
    };
    let address = format!("postgres://keytrail:{WORD}@127.0.0.1:{port}/k?password={WORD}&sslmode=disable");
    let error = Store::connect(&address).await.expect_err("nobody listens");
    assert!(matches!(error, StoreError::Unreachable { .. }) && error.passes(), "{error}");
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("database `postgres://keytrail@127.0.0.1:{port}/k` cannot be reached: ")),
        "{text}"
    );
    assert!(!format!("{error} {error:?}").contains(WORD), "{error:?}");
    for address in [format!("postgres://keytrail:{WORD}@[k"), format!("postgres://k:{WORD}@h/d?sslmode={WORD}")] {
        let error = Store::connect(&address).await.expect_err("no address");
        assert!(!format!("{error} {error:?}").contains(&format!(":{WORD}@")), "{error:?}");
    }
    let Some(address) = database().await else { return };
    let store = Store::connect(&address.replace("keytrail@", &format!("keytrail:{WORD}@"))).await.expect("a store");
    assert!(!format!("{store:?}").contains(WORD), "{store:?}");
    store.close().await;
    drop_database(&address).await;
}

#[tokio::test]
async fn a_database_proves_who_it_is_where_that_is_asked_for() {
    let Some(server) = Server::start("postgres.py", &["ssl=on".as_ref()], "no store was kept over TLS") else { return };
    let at = |host: &str, more: &str| format!("postgres://keytrail@{host}:{}/postgres?sslmode={more}", server.port);
    let mut connection = PgConnection::connect(&at("127.0.0.1", "disable")).await.expect("a connection");
    let data: String = sqlx::query_scalar("SHOW data_directory").fetch_one(&mut connection).await.expect("a folder");
    connection.close().await.expect("closed");
    let verified = format!("verify-full&sslrootcert={data}/server.crt");
    let store = Store::connect(&at("localhost", &verified)).await.expect("a store");
    let encrypted: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl")
        .fetch_one(&store.pool)
        .await
        .expect("a row");
    assert_eq!(encrypted, 1);
    store.close().await;
    // Its name is another, and nobody vouches for it.
    for refused in [at("127.0.0.1", &verified), at("localhost", "verify-full")] {
        let error = Store::connect(&refused).await.expect_err("no proof").to_string();
        assert!(error.contains("cannot be reached") && error.contains("certificate"), "{error}");
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_is_made_again() {
    let Some(address) = database().await else { return };
    let store = Store::connect(&address).await.expect("a store");
    let mut tx = store.begin().await.expect("a transaction");
    tell(&address, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()").await;
    let error = sqlx::query("SELECT 1").execute(&mut *tx).await.expect_err("cut off");
    let error = store.sql(error);
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error}");
    drop(tx);
    assert_eq!(store.commit(&[rejected(1)], &[]).await.expect("a commit").appended, 1);
    store.close().await;
    drop_database(&address).await;
}

#[tokio::test]
async fn tables_of_something_else_and_a_newer_schema_are_refused() {
    let Some(address) = database().await else { return };
    tell(&address, "CREATE TABLE bookmarks (url TEXT)").await;
    let error = Store::connect(&address).await.expect_err("something else");
    assert!(matches!(error, StoreError::NotEmpty { .. }), "{error}");
    tell(&address, "DROP TABLE bookmarks").await;
    Store::connect(&address).await.expect("a store").close().await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (7, 'tomorrow', true, '', 0)";
    tell(&address, newer).await;
    let error = Store::connect(&address).await.expect_err("newer");
    assert!(matches!(error, StoreError::NewerSchema { found: 7, known: 3, .. }), "{error}");
    drop_database(&address).await;
}

#[tokio::test]
async fn the_first_schema_is_brought_up_to_date() {
    let Some(address) = database().await else { return };
    sqlx::any::install_default_drivers();
    let place = Place::postgres(&address).expect("a place");
    let mut connection = AnyConnection::connect_with(&place.options).await.expect("a connection");
    migrate_to(&place, &mut connection, 1).await.expect("the first schema");
    connection.close().await.expect("closed");
    let store = Store::connect(&address).await.expect("a store");
    assert_eq!(store.ledger_totals().await.expect("totals"), []);
    tell(&address, "SET search_path = public").await;
    store.close().await;
    drop_database(&address).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_make_one_store_and_take_one_piece_once() {
    let Some(address) = database().await else { return };
    let opened = futures_util::future::join_all((0..4).map(|_| Store::connect(&address))).await;
    let replicas: Vec<Store> = opened.into_iter().map(|store| store.expect("a store")).collect();
    for round in 0..10 {
        let intake = step(&format!("o{round}"), Expected::New, 1, true);
        let all = futures_util::future::join_all(replicas.iter().map(|store| store.take_in(&intake))).await;
        let done = all.into_iter().filter(|taken| matches!(taken, Ok(TakenIn::Done(_)))).count();
        assert_eq!(done, 1);
    }
    for store in replicas {
        store.close().await;
    }
    drop_database(&address).await;
}

/// A replica that freezes between its check and its commit is waited for by who claims: one of the two fails, never none.
#[tokio::test]
async fn a_claim_does_not_slip_in_before_a_commit() {
    let Some(address) = database().await else { return };
    let store = Store::connect(&address).await.expect("a store");
    let lease = store.claim("a", "one", None).await.expect("an answer").expect("nobody had it");
    let mut tx = store.begin().await.expect("a transaction");
    assert!(crate::lease::holds(&mut tx, &lease).await.expect("an answer"));
    let claim = store.claim("a", "two", Some(&lease));
    let commit = async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        tx.commit().await.expect("a commit");
    };
    let (claim, ()) = tokio::join!(claim, commit);
    assert_eq!(claim.expect("an answer"), None);
    store.tick("s", &["a".to_owned()], Micros(1)).await.expect("no lock is left behind");
    store.close().await;
    drop_database(&address).await;
}

#[tokio::test]
async fn the_journal_cannot_be_emptied() {
    let Some(address) = database().await else { return };
    let store = Store::connect(&address).await.expect("a store");
    store.commit(&[rejected(1)], &[]).await.expect("a commit");
    sqlx::query("TRUNCATE journal").execute(&store.pool).await.expect_err("append-only");
    store.close().await;
    drop_database(&address).await;
}
