//! What every store does, whatever it is made of.

use keytrail_model::{Entry, EntryBody, Micros, Severity};

use super::places::{everywhere, refuse, relent};
use super::samples::{KEY, finding, found, ownership, planned, rejected};
use crate::{CredentialRow, FindingFilter, Store, StoreError, TicketState, entry};

fn ids(findings: &[keytrail_model::Finding]) -> Vec<&str> {
    findings.iter().map(|finding| finding.id.as_str()).collect()
}

async fn commit(store: &Store, entries: &[Entry]) {
    store.commit(entries, &[]).await.expect("a commit");
}

#[tokio::test]
async fn an_entry_told_twice_is_once() {
    everywhere(async |store| {
        let one = found(finding("fnd-1", Severity::High, 1));
        let first = store.commit(&[one.clone(), one.clone()], &[]).await.expect("a commit");
        assert_eq!((first.appended, first.repeated), (1, 1));
        let again = store.commit(std::slice::from_ref(&one), &[]).await.expect("a commit");
        assert_eq!((again.appended, again.repeated, again.last_seq), (0, 1, first.last_seq));
        assert_eq!(store.replay(0).await.expect("entries").len(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_is_replayed_is_what_was_committed() {
    everywhere(async |store| {
        let entries = [found(finding("fnd-1", Severity::High, 1)), planned("act-1", "fnd-1"), rejected(3)];
        commit(&store, &entries).await;
        let replayed = store.replay(0).await.expect("entries");
        assert!(replayed.iter().map(|(_, entry)| entry).eq(&entries));
        let tail = store.replay(replayed[1].0).await.expect("entries");
        assert_eq!(tail, replayed[1..]);
    })
    .await;
}

#[tokio::test]
async fn a_finding_moves_on_and_the_journal_keeps_both() {
    everywhere(async |store| {
        let mut moving = finding("fnd-1", Severity::High, 1);
        commit(&store, &[found(moving.clone())]).await;
        moving.count = 9;
        moving.ownership = Some(ownership(&["maya.ito", "ben.okafor"]));
        commit(&store, &[found(moving.clone())]).await;
        assert_eq!(store.findings(&FindingFilter::default()).await.expect("findings"), [moving]);
        assert_eq!(store.replay(0).await.expect("entries").len(), 2);
    })
    .await;
}

#[tokio::test]
async fn findings_are_filtered_and_ordered() {
    everywhere(async |store| {
        let mut other = finding("fnd-3", Severity::Critical, 9);
        other.rule = "root-key".to_owned();
        other.target.credential = None;
        other.ownership = Some(ownership(&["maya.ito", "ben.okafor"]));
        let low = [("fnd-2", Severity::Low, 5), ("fnd-1", Severity::Low, 5), ("fnd-0", Severity::Low, 2)];
        let low = low.map(|(id, severity, at)| found(finding(id, severity, at)));
        commit(&store, &low).await;
        commit(&store, &[found(other)]).await;
        let cases: [(FindingFilter, &[&str]); 5] = [
            (FindingFilter::default(), &["fnd-3", "fnd-0", "fnd-1", "fnd-2"]),
            (FindingFilter { severity_min: Some(Severity::Medium), ..FindingFilter::default() }, &["fnd-3"]),
            (FindingFilter { rule: Some("root-key".to_owned()), ..FindingFilter::default() }, &["fnd-3"]),
            (FindingFilter { owner: Some("maya.ito".to_owned()), ..FindingFilter::default() }, &["fnd-3"]),
            (
                FindingFilter { credential: Some(KEY.to_owned()), ..FindingFilter::default() },
                &["fnd-0", "fnd-1", "fnd-2"],
            ),
        ];
        for (filter, expected) in cases {
            assert_eq!(ids(&store.findings(&filter).await.expect("findings")), expected, "{filter:?}");
        }
        for (credential, expected) in [(Some(KEY), &["fnd-0", "fnd-1", "fnd-2"][..]), (None, &["fnd-3"])] {
            assert_eq!(ids(&store.findings_with(credential).await.expect("findings")), expected, "{credential:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_finding_is_named_by_a_unique_prefix() {
    everywhere(async |store| {
        let entries = ["fnd-ab1", "fnd-ab12", "fnd-c%"].map(|id| found(finding(id, Severity::Low, 1)));
        commit(&store, &entries).await;
        for (asked, expected) in [("fnd-c", "fnd-c%"), ("c", "fnd-c%"), ("fnd-ab1", "fnd-ab1"), ("ab12", "fnd-ab12")] {
            let found = store.finding(asked).await.expect("an answer").map(|finding| finding.id);
            assert_eq!(found.as_deref(), Some(expected), "{asked}");
        }
        assert_eq!(store.finding("fnd-%").await.expect("an answer"), None);
        let error = store.finding("fnd-a").await.expect_err("two of them");
        assert_eq!(error.to_string(), "`fnd-a` names 2 findings: `fnd-ab1`, `fnd-ab12`; type more of the id");
    })
    .await;
}

#[tokio::test]
async fn tickets_say_where_they_stand() {
    everywhere(async |store| {
        let to = vec!["maya.ito@example.com".to_owned()];
        let findings = vec!["fnd-1".to_owned()];
        let sent = |sent: &str| EntryBody::Ticket {
            key: "t-1".to_owned(),
            to: to.clone(),
            sent: sent.to_owned(),
            findings: findings.clone(),
        };
        let failed = EntryBody::Undelivered {
            key: "t-1".to_owned(),
            to: to.clone(),
            reason: "refused".to_owned(),
            findings: Vec::new(),
        };
        for (at, body, expected) in [
            (1, sent("file:a.eml"), TicketState::Sent("file:a.eml".to_owned())),
            (2, failed, TicketState::Undelivered("refused".to_owned())),
            (3, sent("smtp:mx.example.com"), TicketState::Sent("smtp:mx.example.com".to_owned())),
        ] {
            commit(&store, &[entry(Micros(at), body).expect("an entry")]).await;
            let tickets = store.tickets().await.expect("tickets");
            assert_eq!(tickets.len(), 1);
            assert_eq!((&tickets[0].state, &tickets[0].findings, tickets[0].at), (&expected, &findings, Micros(at)));
            assert_eq!(store.ticket("t-1").await.expect("an answer").as_ref(), tickets.first());
            let waits = matches!(expected, TicketState::Undelivered(_));
            assert_eq!(store.undelivered().await.expect("tickets").len(), usize::from(waits));
        }
    })
    .await;
}

#[tokio::test]
async fn positions_are_kept_with_the_entries() {
    everywhere(async |store| {
        store.commit(&[rejected(1)], &[("b".to_owned(), 4), ("a".to_owned(), 1)]).await.expect("a commit");
        store.commit(&[], &[("a".to_owned(), 8)]).await.expect("a commit");
        let expected = [("a".to_owned(), 8), ("b".to_owned(), 4)];
        assert_eq!(store.positions().await.expect("positions"), expected);
    })
    .await;
}

#[tokio::test]
async fn a_failed_commit_leaves_nothing() {
    everywhere(async |store| {
        refuse(&store, "action").await;
        let entries = [found(finding("fnd-1", Severity::High, 1)), rejected(1), planned("act-1", "fnd-1")];
        store.commit(&entries, &[("a".to_owned(), 1)]).await.expect_err("the trigger refuses");
        assert_eq!(store.replay(0).await.expect("entries"), []);
        assert_eq!(store.findings(&FindingFilter::default()).await.expect("findings"), []);
        assert_eq!(
            (store.reject_count().await.expect("a count"), store.positions().await.expect("positions").len()),
            (0, 0)
        );
        relent(&store, "action").await;
        let done = store.commit(&entries, &[("a".to_owned(), 1)]).await.expect("a commit");
        assert_eq!(done.appended, 3);
        assert_eq!(store.replay(0).await.expect("entries").last().map(|(seq, _)| *seq), Some(done.last_seq));
    })
    .await;
}

#[tokio::test]
async fn the_journal_is_append_only() {
    everywhere(async |store| {
        commit(&store, &[rejected(1)]).await;
        for sql in ["UPDATE journal SET body = '{}'", "DELETE FROM journal"] {
            sqlx::query(sql).execute(&store.pool).await.expect_err(sql);
        }
    })
    .await;
}

#[tokio::test]
async fn credentials_join_counts_and_findings() {
    everywhere(async |store| {
        commit(&store, &[found(finding("fnd-1", Severity::High, 10)), found(finding("fnd-2", Severity::Low, 20))])
            .await;
        let counted = |credential: &str, first, last, events| CredentialRow {
            credential: credential.to_owned(),
            kind: Some("aws_access_key".to_owned()),
            first_seen: Micros(first),
            last_seen: Micros(last),
            events,
            ..CredentialRow::default()
        };
        let named = store.credentials().await.expect("credentials");
        assert_eq!((named[0].events, named[0].findings, named[0].owner.as_deref()), (3, 2, Some("ben.okafor")));
        for rows in
            [[counted(KEY, 4, 25, 40), counted("other", 1, 1, 1)], [counted(KEY, 6, 50, 30), counted("other", 1, 1, 1)]]
        {
            store.upsert_credentials(&rows).await.expect("kept");
        }
        let rows = store.credentials().await.expect("credentials");
        let first = &rows[0];
        assert_eq!(rows.iter().map(|row| row.credential.as_str()).collect::<Vec<_>>(), [KEY, "other"]);
        assert_eq!((first.first_seen, first.last_seen, first.events, first.findings), (Micros(4), Micros(50), 40, 2));
        assert_eq!((first.kind.as_deref(), first.provider.as_deref()), (Some("aws_access_key"), Some("aws")));
    })
    .await;
}

#[tokio::test]
async fn rejects_and_actions_are_listed() {
    everywhere(async |store| {
        let entries = [rejected(2), rejected(1), planned("act-2", "fnd-1"), planned("act-1", "fnd-2")];
        commit(&store, &entries).await;
        let lines = store.rejects(1).await.expect("rejects");
        assert_eq!((lines.len(), lines[0].position.line), (1, Some(2)));
        assert_eq!(store.reject_count().await.expect("a count"), 2);
        let all = store.actions(None).await.expect("actions");
        assert_eq!(all.iter().map(|action| action.id.as_str()).collect::<Vec<_>>(), ["act-2", "act-1"]);
        assert_eq!(store.actions(Some("fnd-2")).await.expect("actions").len(), 1);
        assert!(matches!(store.finding("nothing").await, Ok(None) | Err(StoreError::Ambiguous { .. })));
    })
    .await;
}
