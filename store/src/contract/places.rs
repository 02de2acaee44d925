//! Where the contract is tried: a file, memory, and a database of its own on a `PostgreSQL` that is started once.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::Store;
use crate::place::Engine;
use crate::server::Server;

/// The same test over each.
pub async fn everywhere(test: impl AsyncFn(Store)) {
    let folder = tempfile::tempdir().expect("a folder");
    test(Store::open(&folder.path().join("keytrail.db")).await.expect("a store")).await;
    test(Store::memory().await.expect("a store")).await;
    if let Some(address) = database().await {
        let store = Store::connect(&address).await.expect("a store");
        test(store.clone()).await;
        store.close().await;
        drop_database(&address).await;
    }
}

fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER.get_or_init(|| Server::start("postgres.py", &[], "no store was kept on PostgreSQL")).as_ref()
}

/// The address of a new database; `None` where there is no server.
pub async fn database() -> Option<String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let root = format!("postgres://keytrail@127.0.0.1:{}", server()?.port);
    let name = format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed));
    tell(&format!("{root}/postgres"), &format!("CREATE DATABASE {name}")).await;
    Some(format!("{root}/{name}"))
}

pub async fn drop_database(address: &str) {
    let (root, name) = address.rsplit_once('/').expect("an address");
    tell(&format!("{root}/postgres"), &format!("DROP DATABASE {name} WITH (FORCE)")).await;
}

/// One statement on a connection of its own.
pub async fn tell(address: &str, sql: &str) {
    let mut connection = PgConnection::connect(address).await.expect("a connection");
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.expect("done");
    connection.close().await.expect("closed");
}

/// From now on, nothing in `table` changes.
pub async fn refuse(store: &Store, table: &str) {
    let sql = match store.engine {
        Engine::Sqlite => ["INSERT", "UPDATE", "DELETE"]
            .map(|what| {
                format!("CREATE TRIGGER no_{what} BEFORE {what} ON {table} BEGIN SELECT RAISE(ABORT, 'no'); END;")
            })
            .concat(),
        Engine::Postgres => format!(
            "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$; \
             CREATE TRIGGER no BEFORE INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION no()"
        ),
    };
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&store.pool).await.expect("triggers");
}

/// What was refused in `table` is possible again.
pub async fn relent(store: &Store, table: &str) {
    let sql = match store.engine {
        Engine::Sqlite => "DROP TRIGGER no_INSERT; DROP TRIGGER no_UPDATE; DROP TRIGGER no_DELETE".to_owned(),
        Engine::Postgres => format!("DROP TRIGGER no ON {table}; DROP FUNCTION no()"),
    };
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&store.pool).await.expect("dropped");
}

/// Every table with all its rows but for bodies, as text: what a failed step must leave as it was.
pub async fn dump(store: &Store) -> String {
    const TABLES: [(&str, &str); 11] = [
        ("journal", "id"),
        ("finding", "id || ' ' || events || ' ' || coalesce(superseded, '-')"),
        ("finding_owner", "finding || ' ' || owner"),
        ("reject", "id"),
        ("position", "origin || ' ' || position"),
        ("credential", "credential || ' ' || events || ' ' || first_seen || ' ' || last_seen"),
        ("ledger", "source || ' ' || origin || ' ' || position || ' ' || done || ' ' || events || ' ' || rejects"),
        ("inbox", "seq || ' ' || lane || ' ' || kind || ' ' || size"),
        ("lease", "name || ' ' || holder || ' ' || epoch || ' ' || beat"),
        ("shard", "name || ' ' || cursor || ' ' || floor || ' ' || version"),
        ("seen", "shard || ' ' || seq || ' ' || last"),
    ];
    let mut text = String::new();
    for (table, row) in TABLES {
        let sql = AssertSqlSafe(format!("SELECT {row} FROM {table} ORDER BY 1"));
        let rows: Vec<String> = sqlx::query_scalar(sql).fetch_all(&store.pool).await.expect(table);
        text.push_str(&format!("{table}: {rows:#?}\n"));
    }
    text
}
