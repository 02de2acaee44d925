//! How an entry moves the views on. Replaying the journal through this gives the same views again.

use keytrail_model::{Action, Entry, EntryBody, Finding, Micros, Reject};
use sqlx::AnyConnection;

use crate::commit::encode;
use crate::text::{key, keys, plain, plains};
use crate::{Store, StoreError};

pub(crate) async fn apply(store: &Store, tx: &mut AnyConnection, seq: i64, entry: &Entry) -> Result<(), StoreError> {
    let stamp = Stamp { seq, at: entry.at };
    let done = match &entry.body {
        EntryBody::Finding(finding) => self::finding(tx, stamp, finding, encode(finding, &finding.id)?).await,
        EntryBody::Planned(action) => self::action(tx, stamp, action, encode(action, &action.id)?).await,
        EntryBody::Ticket { key, to, sent, findings } => {
            let findings = encode(findings, key)?;
            ticket(tx, stamp, key, ("sent", sent), &[encode(to, key)?, findings]).await
        }
        EntryBody::Undelivered { key, to, reason, findings } => {
            ticket(tx, stamp, key, ("undelivered", reason), &[encode(to, key)?, encode(findings, key)?]).await
        }
        EntryBody::Rejected(reject) => self::reject(tx, stamp, &entry.id, reject, encode(reject, &entry.id)?).await,
        EntryBody::Superseded { finding, reason } => superseded(tx, finding, reason).await,
    };
    done.map_err(|error| store.sql(error))
}

/// The entry that a row comes from.
#[derive(Clone, Copy)]
struct Stamp {
    seq: i64,
    at: Micros,
}

/// A newer version of a finding says that it holds again.
const FINDING: &str = "
    INSERT INTO finding (id, seq, rule, severity, source, credential, kind, lifetime, provider, account, actor, agent,
                         first_seen, last_seen, events, body)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
    ON CONFLICT (id) DO UPDATE SET
        rule = excluded.rule, severity = excluded.severity, source = excluded.source,
        credential = excluded.credential, kind = excluded.kind, lifetime = excluded.lifetime,
        provider = excluded.provider, account = excluded.account, actor = excluded.actor, agent = excluded.agent,
        first_seen = excluded.first_seen, last_seen = excluded.last_seen, events = excluded.events,
        body = excluded.body, superseded = NULL";

async fn finding(tx: &mut AnyConnection, stamp: Stamp, finding: &Finding, body: String) -> sqlx::Result<()> {
    let target = &finding.target;
    let insert = sqlx::query(FINDING)
        .bind(&finding.id)
        .bind(stamp.seq)
        .bind(plain(&finding.rule))
        .bind(i64::from(finding.severity.ocsf()))
        .bind(plain(&finding.source))
        .bind(keys(target.credential.as_deref()))
        .bind(plains(target.kind.as_deref()))
        .bind(plains(target.lifetime.as_deref()))
        .bind(plains(target.provider.as_deref()))
        .bind(plains(target.account.as_deref()))
        .bind(plains(target.actor.as_deref()))
        .bind(plains(target.agent.as_deref()))
        .bind(finding.first_seen.0)
        .bind(finding.last_seen.0)
        .bind(i64::try_from(finding.count).unwrap_or(i64::MAX))
        .bind(body);
    insert.execute(&mut *tx).await?;
    owners(tx, finding).await
}

/// Nothing to do where the finding was never told.
async fn superseded(tx: &mut AnyConnection, finding: &str, reason: &str) -> sqlx::Result<()> {
    let update = sqlx::query("UPDATE finding SET superseded = $1 WHERE id = $2").bind(plain(reason)).bind(finding);
    update.execute(tx).await.map(drop)
}

async fn owners(tx: &mut AnyConnection, finding: &Finding) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM finding_owner WHERE finding = $1").bind(&finding.id).execute(&mut *tx).await?;
    let owners = finding.ownership.iter().flat_map(|ownership| &ownership.owners);
    for (rank, owner) in (0_i64..).zip(owners) {
        let sql = "INSERT INTO finding_owner (finding, owner, rank) VALUES ($1, $2, $3) \
                   ON CONFLICT (finding, owner) DO NOTHING";
        sqlx::query(sql).bind(&finding.id).bind(key(&owner.id)).bind(rank).execute(&mut *tx).await?;
    }
    Ok(())
}

async fn action(tx: &mut AnyConnection, stamp: Stamp, action: &Action, body: String) -> sqlx::Result<()> {
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
        .bind(plain(&action.target))
        .bind(action.refused.as_ref().map(|refusal| refusal.code.as_str()))
        .bind(body);
    insert.execute(tx).await.map(drop)
}

/// The last word on a ticket stands; one that failed keeps the findings that it was known to carry.
async fn ticket(
    tx: &mut AnyConnection,
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
    let insert = sqlx::query(sql).bind(self::key(key)).bind(stamp.seq).bind(stamp.at.0).bind(state).bind(plain(detail));
    insert.bind(recipients).bind(findings).execute(tx).await.map(drop)
}

async fn reject(tx: &mut AnyConnection, stamp: Stamp, id: &str, reject: &Reject, body: String) -> sqlx::Result<()> {
    let sql = "INSERT INTO reject (id, seq, at, origin, reason, body) VALUES ($1, $2, $3, $4, $5, $6) \
               ON CONFLICT (id) DO NOTHING";
    let insert = sqlx::query(sql).bind(id).bind(stamp.seq).bind(stamp.at.0);
    insert.bind(plain(&reject.position.origin)).bind(plain(&reject.reason)).bind(body).execute(tx).await.map(drop)
}
