//! Reading the journal and its views. Every answer has one order, whatever order the entries came in.

use std::collections::BTreeMap;

use keytrail_model::{Action, Entry, EntryBody, Finding, Micros, Reject, Severity};
use serde::de::DeserializeOwned;

use crate::text::keys;
use crate::{Store, StoreError};

/// Which findings; what is `None` does not filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FindingFilter {
    /// This severity or a graver one.
    pub severity_min: Option<Severity>,
    pub rule: Option<String>,
    /// Owner id, or one of the two when contested.
    pub owner: Option<String>,
    pub credential: Option<String>,
    /// Last seen then or later.
    pub since: Option<Micros>,
    /// Also those that no longer hold after late events.
    pub superseded: bool,
}

/// What was told to whom, as it stands now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub key: String,
    pub at: Micros,
    pub to: Vec<String>,
    pub state: TicketState,
    pub findings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TicketState {
    /// Where it went: `file:…`, `smtp:…`.
    Sent(String),
    /// Why it did not arrive.
    Undelivered(String),
}

/// As much of a finding as says which one it is.
#[derive(serde::Deserialize)]
struct Named {
    id: String,
}

/// Key, time, state, detail, recipients, findings.
type TicketRow = (String, i64, String, String, String, String);

/// How many candidates an ambiguous prefix names.
const CANDIDATES: usize = 5;

impl Store {
    /// Every entry from sequence number `from` (inclusive) on, in the order in which they were committed.
    pub async fn replay(&self, from: i64) -> Result<Vec<(i64, Entry)>, StoreError> {
        let sql = "SELECT seq, id, at, body FROM journal WHERE seq >= $1 ORDER BY seq";
        let rows: Vec<(i64, String, i64, String)> =
            sqlx::query_as(sql).bind(from).fetch_all(&self.pool).await.map_err(|error| self.sql(error))?;
        let entries = rows.into_iter().map(|(seq, id, at, body)| {
            let body: EntryBody = self.decode("journal", &body)?;
            Ok((seq, Entry { id, at: Micros(at), body }))
        });
        entries.collect()
    }

    /// The gravest first, then the oldest, then by id.
    pub async fn findings(&self, filter: &FindingFilter) -> Result<Vec<Finding>, StoreError> {
        let sql = "SELECT body FROM finding \
                   WHERE ($1 IS NULL OR severity >= $1) AND ($2 IS NULL OR rule = $2) \
                   AND ($3 IS NULL OR credential = $3) \
                   AND ($4 IS NULL OR id IN (SELECT finding FROM finding_owner WHERE owner = $4)) \
                   AND ($5 = 1 OR superseded IS NULL) AND ($6 IS NULL OR last_seen >= $6) \
                   ORDER BY severity DESC, first_seen, id";
        let select = sqlx::query_scalar(sql)
            .bind(filter.severity_min.map(|severity| i64::from(severity.ocsf())))
            .bind(&filter.rule)
            .bind(keys(filter.credential.as_deref()))
            .bind(keys(filter.owner.as_deref()))
            .bind(i64::from(filter.superseded))
            .bind(filter.since.map(|since| since.0));
        let bodies = select.fetch_all(&self.pool).await.map_err(|error| self.sql(error))?;
        self.decode_all("finding", &bodies)
    }

    /// Those with this credential, or without any, in the order of `findings`. A filter that may be empty reads them all.
    pub async fn findings_with(&self, credential: Option<&str>) -> Result<Vec<Finding>, StoreError> {
        let sql = if credential.is_some() {
            "SELECT body FROM finding WHERE credential = $1 AND superseded IS NULL ORDER BY severity DESC, first_seen, id"
        } else {
            "SELECT body FROM finding WHERE credential IS NULL AND superseded IS NULL ORDER BY severity DESC, first_seen, id"
        };
        let select = sqlx::query_scalar(sql);
        let select = if credential.is_some() { select.bind(keys(credential)) } else { select };
        let bodies = select.fetch_all(&self.pool).await.map_err(|error| self.sql(error))?;
        self.decode_all("finding", &bodies)
    }

    /// By id, or by the beginning of one (with or without its `fnd-`) that no other finding shares.
    pub async fn finding(&self, id: &str) -> Result<Option<Finding>, StoreError> {
        let whole = sqlx::query_scalar("SELECT body FROM finding WHERE id = $1").bind(id);
        let whole: Option<String> = whole.fetch_optional(&self.pool).await.map_err(|error| self.sql(error))?;
        if let Some(body) = whole {
            return self.decode("finding", &body).map(Some);
        }
        let sql = "SELECT id, body FROM finding WHERE substr(id, 1, length($1)) = $1 \
                   OR substr(id, 1, length($1) + 4) = 'fnd-' || $1 ORDER BY id";
        let found: Vec<(String, String)> =
            sqlx::query_as(sql).bind(id).fetch_all(&self.pool).await.map_err(|error| self.sql(error))?;
        match found.as_slice() {
            [] => Ok(None),
            [(_, body)] => self.decode("finding", body).map(Some),
            many => Err(ambiguous(id, many.iter().map(|(known, _)| known.as_str()))),
        }
    }

    /// The findings that no longer hold after late events, and why, by id.
    pub async fn superseded(&self) -> Result<BTreeMap<String, String>, StoreError> {
        let sql = "SELECT id, superseded FROM finding WHERE superseded IS NOT NULL";
        let rows: Vec<(String, String)> =
            sqlx::query_as(sql).fetch_all(&self.pool).await.map_err(|error| self.sql(error))?;
        Ok(rows.into_iter().collect())
    }

    /// The next entries about findings after sequence number `seq`, each with the finding's id, for one who follows.
    pub async fn finding_entries_after(&self, seq: i64, limit: u32) -> Result<Vec<(i64, String)>, StoreError> {
        let sql = "SELECT seq, body FROM journal WHERE kind = 'finding' AND seq > $1 ORDER BY seq LIMIT $2";
        let select = sqlx::query_as(sql).bind(seq).bind(i64::from(limit));
        let rows: Vec<(i64, String)> = select.fetch_all(&self.pool).await.map_err(|error| self.sql(error))?;
        let named = rows.into_iter().map(|(seq, body)| Ok((seq, self.decode::<Named>("journal", &body)?.id)));
        named.collect()
    }

    /// What was planned or refused, in the order of the journal; for one finding, or for all.
    pub async fn actions(&self, finding: Option<&str>) -> Result<Vec<Action>, StoreError> {
        let sql = "SELECT body FROM action WHERE ($1 IS NULL OR finding = $1) ORDER BY seq, id";
        let bodies = sqlx::query_scalar(sql).bind(finding).fetch_all(&self.pool).await;
        self.decode_all("action", &bodies.map_err(|error| self.sql(error))?)
    }

    /// Every ticket as it stands, in the order of the journal.
    pub async fn tickets(&self) -> Result<Vec<Ticket>, StoreError> {
        let sql = "SELECT key, at, state, detail, recipients, findings FROM ticket ORDER BY seq, key";
        let rows = sqlx::query_as(sql).fetch_all(&self.pool).await;
        self.told(rows.map_err(|error| self.sql(error))?)
    }

    /// The ticket of a key.
    pub async fn ticket(&self, key: &str) -> Result<Option<Ticket>, StoreError> {
        let sql = "SELECT key, at, state, detail, recipients, findings FROM ticket WHERE key = $1";
        let rows = sqlx::query_as(sql).bind(crate::text::key(key)).fetch_all(&self.pool).await;
        Ok(self.told(rows.map_err(|error| self.sql(error))?)?.pop())
    }

    /// The tickets that did not arrive.
    pub async fn undelivered(&self) -> Result<Vec<Ticket>, StoreError> {
        let sql =
            "SELECT key, at, state, detail, recipients, findings FROM ticket WHERE state <> 'sent' ORDER BY seq, key";
        let rows = sqlx::query_as(sql).fetch_all(&self.pool).await;
        self.told(rows.map_err(|error| self.sql(error))?)
    }

    fn told(&self, rows: Vec<TicketRow>) -> Result<Vec<Ticket>, StoreError> {
        let tickets = rows.into_iter().map(|(key, at, state, detail, to, findings)| {
            let (to, findings) = (self.decode("ticket", &to)?, self.decode("ticket", &findings)?);
            let sent = state == "sent";
            let state = if sent { TicketState::Sent(detail) } else { TicketState::Undelivered(detail) };
            Ok(Ticket { key, at: Micros(at), to, state, findings })
        });
        tickets.collect()
    }

    /// The first `limit` records that could not be read, in the order of the journal.
    pub async fn rejects(&self, limit: i64) -> Result<Vec<Reject>, StoreError> {
        let sql = "SELECT body FROM reject ORDER BY seq, id LIMIT $1";
        let bodies = sqlx::query_scalar(sql).bind(limit.max(0)).fetch_all(&self.pool).await;
        self.decode_all("reject", &bodies.map_err(|error| self.sql(error))?)
    }

    /// How many records could not be read.
    pub async fn reject_count(&self) -> Result<i64, StoreError> {
        let count = sqlx::query_scalar("SELECT count(*) FROM reject").fetch_one(&self.pool).await;
        count.map_err(|error| self.sql(error))
    }

    /// How far each origin was read, as the commits said.
    pub async fn positions(&self) -> Result<Vec<(String, i64)>, StoreError> {
        let sql = "SELECT origin, position FROM position ORDER BY origin";
        sqlx::query_as(sql).fetch_all(&self.pool).await.map_err(|error| self.sql(error))
    }

    fn decode<T: DeserializeOwned>(&self, table: &'static str, body: &str) -> Result<T, StoreError> {
        serde_json::from_str(body).map_err(|source| StoreError::Read { path: self.path.clone(), table, source })
    }

    fn decode_all<T: DeserializeOwned>(&self, table: &'static str, bodies: &[String]) -> Result<Vec<T>, StoreError> {
        bodies.iter().map(|body| self.decode(table, body)).collect()
    }
}

fn ambiguous<'a>(prefix: &str, ids: impl ExactSizeIterator<Item = &'a str>) -> StoreError {
    let count = ids.len();
    let mut candidates = ids.take(CANDIDATES).map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ");
    if count > CANDIDATES {
        candidates.push_str(" …");
    }
    StoreError::Ambiguous { prefix: prefix.to_owned(), count, candidates }
}
