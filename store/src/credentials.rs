//! The credentials seen in use: what the caller counted, joined with what findings say of them.

use keytrail_model::Micros;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, FromRow, Row as _};

use crate::text::{key, keys, plains};
use crate::{Store, StoreError};

/// One credential and its use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CredentialRow {
    /// Its id, never its value.
    pub credential: String,
    pub kind: Option<String>,
    pub lifetime: Option<String>,
    pub provider: Option<String>,
    pub account: Option<String>,
    pub actor: Option<String>,
    /// Owner id.
    pub owner: Option<String>,
    pub first_seen: Micros,
    pub last_seen: Micros,
    /// The most events that any one scan saw: reading the same logs twice does not count them twice.
    pub events: u64,
    /// Counted on reading; what a caller gives here is not kept.
    pub findings: u64,
}

/// One statement but for how events are counted.
macro_rules! upsert {
    ($events:literal) => {
        concat!("
    INSERT INTO credential (credential, kind, lifetime, provider, account, actor, owner, first_seen, last_seen, events)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
    ON CONFLICT (credential) DO UPDATE SET
        kind = coalesce(excluded.kind, credential.kind), lifetime = coalesce(excluded.lifetime, credential.lifetime),
        provider = coalesce(excluded.provider, credential.provider),
        account = coalesce(excluded.account, credential.account),
        actor = coalesce(excluded.actor, credential.actor), owner = coalesce(excluded.owner, credential.owner),
        first_seen = CASE WHEN excluded.first_seen < credential.first_seen
                          THEN excluded.first_seen ELSE credential.first_seen END,
        last_seen = CASE WHEN excluded.last_seen > credential.last_seen
                         THEN excluded.last_seen ELSE credential.last_seen END,
        events = ", $events)
    };
}

const UPSERT: &str =
    upsert!("CASE WHEN excluded.events > credential.events THEN excluded.events ELSE credential.events END");
const ADD: &str = upsert!("credential.events + excluded.events");

/// A finding knows its own events only, so beside the counted row it can but widen the time range.
const SELECT: &str = "
    WITH named AS (
        SELECT credential, max(kind) AS kind, max(lifetime) AS lifetime, max(provider) AS provider,
               max(account) AS account, max(actor) AS actor,
               (SELECT min(o.owner) FROM finding_owner o JOIN finding f ON f.id = o.finding
                WHERE f.credential = finding.credential AND o.rank = 0) AS owner,
               min(first_seen) AS first_seen, max(last_seen) AS last_seen, max(events) AS events,
               count(CASE WHEN superseded IS NULL THEN 1 END) AS findings
        FROM finding WHERE credential IS NOT NULL GROUP BY credential
    ), every AS (SELECT credential FROM credential UNION SELECT credential FROM named)
    SELECT e.credential, coalesce(c.kind, n.kind) AS kind, coalesce(c.lifetime, n.lifetime) AS lifetime,
           coalesce(c.provider, n.provider) AS provider, coalesce(c.account, n.account) AS account,
           coalesce(c.actor, n.actor) AS actor, coalesce(c.owner, n.owner) AS owner,
           CASE WHEN c.first_seen <= n.first_seen THEN c.first_seen
                ELSE coalesce(n.first_seen, c.first_seen) END AS first_seen,
           CASE WHEN c.last_seen >= n.last_seen THEN c.last_seen
                ELSE coalesce(n.last_seen, c.last_seen) END AS last_seen,
           CASE WHEN c.events >= n.events THEN c.events ELSE coalesce(n.events, c.events) END AS events,
           coalesce(n.findings, 0) AS findings
    FROM every e LEFT JOIN credential c ON c.credential = e.credential
                 LEFT JOIN named n ON n.credential = e.credential
    ORDER BY findings DESC, events DESC, e.credential";

impl Store {
    /// Adds what a scan counted. Times only widen and counts only grow, so the order of scans does not matter.
    pub async fn upsert_credentials(&self, rows: &[CredentialRow]) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        for row in rows {
            upsert(&mut tx, UPSERT, row).await.map_err(|error| self.sql(error))?;
        }
        tx.commit().await.map_err(|error| self.sql(error))
    }

    /// Every credential that was counted or that a finding names: most findings first, then most events, then by id.
    pub async fn credentials(&self) -> Result<Vec<CredentialRow>, StoreError> {
        let rows: Vec<Stored> = sqlx::query_as(SELECT).fetch_all(&self.pool).await.map_err(|error| self.sql(error))?;
        Ok(rows.into_iter().map(|Stored(row)| row).collect())
    }
}

/// Adds to what is there: for a reader that counts each event once.
pub(crate) async fn add(tx: &mut AnyConnection, row: &CredentialRow) -> sqlx::Result<()> {
    upsert(tx, ADD, row).await
}

async fn upsert(tx: &mut AnyConnection, sql: &'static str, row: &CredentialRow) -> sqlx::Result<()> {
    let insert = sqlx::query(sql)
        .bind(key(&row.credential))
        .bind(plains(row.kind.as_deref()))
        .bind(plains(row.lifetime.as_deref()))
        .bind(plains(row.provider.as_deref()))
        .bind(plains(row.account.as_deref()))
        .bind(plains(row.actor.as_deref()))
        .bind(keys(row.owner.as_deref()))
        .bind(row.first_seen.0)
        .bind(row.last_seen.0)
        .bind(i64::try_from(row.events).unwrap_or(i64::MAX));
    insert.execute(tx).await.map(drop)
}

struct Stored(CredentialRow);

impl FromRow<'_, AnyRow> for Stored {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        let count = |name: &str| -> sqlx::Result<u64> { Ok(u64::try_from(row.try_get::<i64, _>(name)?).unwrap_or(0)) };
        Ok(Self(CredentialRow {
            credential: row.try_get("credential")?,
            kind: row.try_get("kind")?,
            lifetime: row.try_get("lifetime")?,
            provider: row.try_get("provider")?,
            account: row.try_get("account")?,
            actor: row.try_get("actor")?,
            owner: row.try_get("owner")?,
            first_seen: Micros(row.try_get("first_seen")?),
            last_seen: Micros(row.try_get("last_seen")?),
            events: count("events")?,
            findings: count("findings")?,
        }))
    }
}
