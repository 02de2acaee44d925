//! The one way in: entries, their views and the positions behind them, in one transaction or not at all.

use keytrail_model::{Entry, EntryBody, Micros, stable_id};
use sqlx::AnyConnection;

use crate::open::Tx;
use crate::text::key;
use crate::{Store, StoreError, fold};

/// What a commit did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Entries that were new.
    pub appended: u64,
    /// Entries whose id the journal already held; nothing was done for them.
    pub repeated: u64,
    /// Sequence number of the last entry in the journal, 0 when it is empty.
    pub last_seq: i64,
}

/// An entry whose id is that of its content, so that the same thing told twice is once, and news of it is a new entry. What
/// is told again after something else was told of the same finding is news, too.
pub fn entry(at: Micros, body: EntryBody) -> Result<Entry, StoreError> {
    let json = encode(&body, kind(&body))?;
    Ok(Entry { id: stable_id("ent", &[subject(&body), &json]), at, body })
}

impl Store {
    /// Appends `entries` that are new, moves the views on, and remembers how far each origin was read.
    pub async fn commit(&self, entries: &[Entry], positions: &[(String, i64)]) -> Result<Committed, StoreError> {
        let mut tx = self.begin().await?;
        let mut done = Committed::default();
        self.append_all(&mut tx, entries, &mut done).await?;
        for (origin, position) in positions {
            self.remember(&mut tx, origin, *position).await?;
        }
        self.finish(tx, done).await
    }

    /// Appends the entries that are new and moves the views on.
    pub(crate) async fn append_all(
        &self,
        tx: &mut Tx,
        entries: &[Entry],
        done: &mut Committed,
    ) -> Result<(), StoreError> {
        for entry in entries {
            let seq = match self.append(tx, &entry.id, entry).await? {
                Some(seq) => Some(seq),
                None => self.append_again(tx, entry).await?,
            };
            match seq {
                Some(seq) => {
                    fold::apply(self, tx, seq, entry).await?;
                    done.appended += 1;
                }
                None => done.repeated += 1,
            }
        }
        Ok(())
    }

    /// Who evaluates anew after a crash tells less of a finding first, and then what was told before.
    async fn append_again(&self, tx: &mut Tx, entry: &Entry) -> Result<Option<i64>, StoreError> {
        let (id, body) = match &entry.body {
            EntryBody::Finding(finding) => (&finding.id, Some(encode(finding, &finding.id)?)),
            EntryBody::Superseded { finding, .. } => (finding, None),
            _ => return Ok(None),
        };
        let sql = "SELECT (SELECT count(*) FROM finding WHERE id = $1 AND superseded IS NULL AND body = $2), \
                   (SELECT count(*) FROM finding WHERE id = $1 AND superseded IS NULL), \
                   (SELECT coalesce(max(seq), 0) FROM journal)";
        let select = sqlx::query_as(sql).bind(id).bind(body.as_deref());
        let (same, holds, last): (i64, i64, i64) =
            select.fetch_one(&mut **tx).await.map_err(|error| self.sql(error))?;
        let stands = if body.is_some() { same > 0 } else { holds == 0 };
        if stands {
            return Ok(None);
        }
        self.append(tx, &stable_id("ent", &[&entry.id, &last.to_string()]), entry).await
    }

    /// Commits, and says how far the journal is.
    pub(crate) async fn finish(&self, mut tx: Tx, mut done: Committed) -> Result<Committed, StoreError> {
        let last = sqlx::query_scalar("SELECT coalesce(max(seq), 0) FROM journal").fetch_one(&mut *tx).await;
        done.last_seq = last.map_err(|error| self.sql(error))?;
        tx.commit().await.map_err(|error| self.sql(error))?;
        Ok(done)
    }

    async fn append(&self, tx: &mut AnyConnection, id: &str, entry: &Entry) -> Result<Option<i64>, StoreError> {
        let sql = "INSERT INTO journal (id, at, kind, body) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (id) DO NOTHING RETURNING seq";
        let body = encode(&entry.body, id)?;
        let insert = sqlx::query_scalar(sql).bind(id).bind(entry.at.0).bind(kind(&entry.body)).bind(body);
        insert.fetch_optional(tx).await.map_err(|error| self.sql(error))
    }

    async fn remember(&self, tx: &mut AnyConnection, origin: &str, position: i64) -> Result<(), StoreError> {
        let sql = "INSERT INTO position (origin, position) VALUES ($1, $2) \
                   ON CONFLICT (origin) DO UPDATE SET position = excluded.position";
        let done = sqlx::query(sql).bind(key(origin)).bind(position).execute(tx).await;
        done.map(drop).map_err(|error| self.sql(error))
    }
}

pub(crate) fn encode<T: serde::Serialize + ?Sized>(value: &T, what: &str) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|source| StoreError::Write { what: what.to_owned(), source })
}

fn kind(body: &EntryBody) -> &'static str {
    match body {
        EntryBody::Finding(_) => "finding",
        EntryBody::Planned(_) => "planned",
        EntryBody::Ticket { .. } => "ticket",
        EntryBody::Undelivered { .. } => "undelivered",
        EntryBody::Rejected(_) => "rejected",
        EntryBody::Superseded { .. } => "superseded",
    }
}

fn subject(body: &EntryBody) -> &str {
    match body {
        EntryBody::Finding(finding) => &finding.id,
        EntryBody::Planned(action) => &action.id,
        EntryBody::Ticket { key, .. } | EntryBody::Undelivered { key, .. } => key,
        EntryBody::Rejected(reject) => &reject.position.origin,
        EntryBody::Superseded { finding, .. } => finding,
    }
}
