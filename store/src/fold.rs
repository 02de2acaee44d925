//! How an entry moves the views on. Replaying the journal through this gives the same views again.

use keytrail_model::{Action, Entry, EntryBody, Finding, Micros, Reject};
use sqlx::SqliteConnection;

use crate::commit::encode;
use crate::{Store, StoreError};

pub(crate) async fn apply(store: &Store, tx: &mut SqliteConnection, seq: i64, entry: &Entry) -> Result<(), StoreError> {
    let stamp = Stamp { seq, at: entry.at };
    let done = match &entry.body {
        EntryBody::Finding(finding) => self::finding(tx, stamp, finding, encode(finding, &finding.id)?).await,
        EntryBody::Planned(action) => self::action(tx, stamp, action, encode(action, &action.id)?).await,
        EntryBody::Ticket { key, to, sent, findings } => {
            let findings = encode(findings, key)?;
            ticket(tx, stamp, key, ("sent", sent), &[encode(to, key)?, findings]).await
        }
        EntryBody::Undelivered { key, to, reason } => {
            ticket(tx, stamp, key, ("undelivered", reason), &[encode(to, key)?, "[]".to_owned()]).await
        }
        EntryBody::Rejected(reject) => self::reject(tx, stamp, &entry.id, reject, encode(reject, &entry.id)?).await,
    };
    done.map_err(|error| store.sql(error))
}

/// The entry that a row comes from.
#[derive(Clone, Copy)]
struct Stamp {
    seq: i64,
    at: Micros,
}

const FINDING: &str = "
    INSERT INTO finding (id, seq, rule, severity, source, credential, kind, lifetime, provider, account, actor, agent,
                         first_seen, last_seen, events, body)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
    ON CONFLICT (id) DO UPDATE SET
        rule = excluded.rule, severity = excluded.severity, source = excluded.source,
        credential = excluded.credential, kind = excluded.kind, lifetime = excluded.lifetime,
        provider = excluded.provider, account = excluded.account, actor = excluded.actor, agent = excluded.agent,
        first_seen = excluded.first_seen, last_seen = excluded.last_seen, events = excluded.events,
        body = excluded.body";

async fn finding(tx: &mut SqliteConnection, stamp: Stamp, finding: &Finding, body: String) -> sqlx::Result<()> {
    let target = &finding.target;
    let insert = sqlx::query(FINDING)
        .bind(&finding.id)
        .bind(stamp.seq)
        .bind(&finding.rule)
        .bind(i64::from(finding.severity.ocsf()))
        .bind(&finding.source)
        .bind(&target.credential)
        .bind(&target.kind)
        .bind(&target.lifetime)
        .bind(&target.provider)
        .bind(&target.account)
        .bind(&target.actor)
        .bind(&target.agent)
        .bind(finding.first_seen.0)
        .bind(finding.last_seen.0)
        .bind(i64::try_from(finding.count).unwrap_or(i64::MAX))
        .bind(body);
    insert.execute(&mut *tx).await?;
    owners(tx, finding).await
}

async fn owners(tx: &mut SqliteConnection, finding: &Finding) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM finding_owner WHERE finding = $1").bind(&finding.id).execute(&mut *tx).await?;
    let owners = finding.ownership.iter().flat_map(|ownership| &ownership.owners);
    for (rank, owner) in (0_i64..).zip(owners) {
        let sql = "INSERT INTO finding_owner (finding, owner, rank) VALUES ($1, $2, $3) \
                   ON CONFLICT (finding, owner) DO NOTHING";
        sqlx::query(sql).bind(&finding.id).bind(&owner.id).bind(rank).execute(&mut *tx).await?;
    }
    Ok(())
}

async fn action(tx: &mut SqliteConnection, stamp: Stamp, action: &Action, body: String) -> sqlx::Result<()> {
    let sql = "INSERT INTO action (id, seq, at, finding, remediator, mode, target, refused, body) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
               ON CONFLICT (id) DO UPDATE SET at = excluded.at, finding = excluded.finding, \
               remediator = excluded.remediator, mode = excluded.mode, target = excluded.target, \
               refused = excluded.refused, body = excluded.body";
    let insert = sqlx::query(sql)
        .bind(&action.id)
        .bind(stamp.seq)
        .bind(stamp.at.0)
        .bind(&action.finding)
        .bind(&action.remediator)
        .bind(action.mode.to_string())
        .bind(&action.target)
        .bind(action.refused.as_ref().map(|refusal| refusal.code.as_str()))
        .bind(body);
    insert.execute(tx).await.map(drop)
}

/// The last word on a ticket stands; one that failed keeps the findings that it was known to carry.
async fn ticket(
    tx: &mut SqliteConnection,
    stamp: Stamp,
    key: &str,
    (state, detail): (&str, &str),
    lists: &[String; 2],
) -> sqlx::Result<()> {
    let sql = "INSERT INTO ticket (key, seq, at, state, detail, recipients, findings) \
               VALUES ($1, $2, $3, $4, $5, $6, $7) \
               ON CONFLICT (key) DO UPDATE SET at = excluded.at, state = excluded.state, detail = excluded.detail, \
               recipients = excluded.recipients, \
               findings = CASE excluded.findings WHEN '[]' THEN ticket.findings ELSE excluded.findings END";
    let [recipients, findings] = lists;
    let insert = sqlx::query(sql).bind(key).bind(stamp.seq).bind(stamp.at.0).bind(state).bind(detail);
    insert.bind(recipients).bind(findings).execute(tx).await.map(drop)
}

async fn reject(tx: &mut SqliteConnection, stamp: Stamp, id: &str, reject: &Reject, body: String) -> sqlx::Result<()> {
    let sql = "INSERT INTO reject (id, seq, at, origin, reason, body) VALUES ($1, $2, $3, $4, $5, $6) \
               ON CONFLICT (id) DO NOTHING";
    let insert = sqlx::query(sql).bind(id).bind(stamp.seq).bind(stamp.at.0);
    insert.bind(&*reject.position.origin).bind(&reject.reason).bind(body).execute(tx).await.map(drop)
}
