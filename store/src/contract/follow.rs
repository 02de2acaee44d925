//! Findings that no longer hold, following the journal, and text that a column cannot hold as it is.

use keytrail_model::{Entry, EntryBody, Finding, Micros, Severity};

use super::places::everywhere;
use super::samples::{finding, found, rejected};
use crate::{CredentialRow, FindingFilter, Store, entry};

fn superseded(finding: &str) -> Entry {
    let body = EntryBody::Superseded { finding: finding.to_owned(), reason: "a late login explains it".to_owned() };
    entry(Micros(9), body).expect("an entry")
}

async fn listed(store: &Store, superseded: bool) -> usize {
    let filter = FindingFilter { superseded, ..FindingFilter::default() };
    store.findings(&filter).await.expect("findings").len()
}

#[tokio::test]
async fn a_finding_that_no_longer_holds_is_left_out_unless_asked_for() {
    everywhere(async |store| {
        let both = [found(finding("fnd-1", Severity::High, 1)), found(finding("fnd-2", Severity::High, 2))];
        store.commit(&both, &[]).await.expect("a commit");
        store.commit(&[superseded("fnd-1"), superseded("fnd-9")], &[]).await.expect("a commit");
        assert_eq!((listed(&store, false).await, listed(&store, true).await), (1, 2));
        assert_eq!(store.finding("fnd-1").await.expect("an answer").map(|finding| finding.count), Some(3));
        let why = store.superseded().await.expect("reasons");
        assert_eq!((why.len(), why.get("fnd-1").map(String::as_str)), (1, Some("a late login explains it")));
        assert_eq!(store.credentials().await.expect("credentials")[0].findings, 1);
        let newer = Finding { count: 8, ..finding("fnd-1", Severity::High, 1) };
        store.commit(&[found(newer)], &[]).await.expect("a commit");
        assert_eq!(listed(&store, false).await, 2);
        assert_eq!(store.replay(0).await.expect("entries").len(), 5);
    })
    .await;
}

/// As who evaluates anew after a crash tells it: less first, then what was told before; and once more what was taken back.
#[tokio::test]
async fn what_is_told_last_of_a_finding_stands() {
    everywhere(async |store| {
        let less = finding("fnd-1", Severity::High, 1);
        let more = Finding { count: 8, ..less.clone() };
        let told = [more.clone(), less.clone(), more.clone(), more.clone()].map(found);
        for entry in &told {
            store.commit(std::slice::from_ref(entry), &[]).await.expect("a commit");
        }
        let known = store.findings(&FindingFilter::default()).await.expect("findings");
        assert_eq!(known, std::slice::from_ref(&more));
        for (entry, holds) in
            [(superseded("fnd-1"), 0), (found(more), 1), (superseded("fnd-1"), 0), (superseded("fnd-1"), 0)]
        {
            store.commit(&[entry], &[]).await.expect("a commit");
            assert_eq!(listed(&store, false).await, holds);
        }
        // The last of each kind said nothing new.
        assert_eq!(store.replay(0).await.expect("entries").len(), 6);
    })
    .await;
}

#[tokio::test]
async fn findings_are_followed_in_the_order_of_the_journal() {
    everywhere(async |store| {
        let newer = Finding { count: 8, ..finding("fnd-1", Severity::High, 1) };
        let entries = [
            found(finding("fnd-1", Severity::High, 1)),
            rejected(1),
            found(finding("fnd-2", Severity::High, 2)),
            superseded("fnd-2"),
            found(newer),
        ];
        store.commit(&entries, &[]).await.expect("a commit");
        let all = store.finding_entries_after(0, 9).await.expect("entries");
        let ids: Vec<&str> = all.iter().map(|(_, id)| id.as_str()).collect();
        assert_eq!(ids, ["fnd-1", "fnd-2", "fnd-1"]);
        assert_eq!(store.finding_entries_after(all[0].0, 1).await.expect("entries"), all[1..2]);
        assert_eq!(store.finding_entries_after(all[2].0, 9).await.expect("entries"), []);
    })
    .await;
}

#[tokio::test]
async fn text_that_no_column_holds_stops_nothing() {
    everywhere(async |store| {
        // Digits that do not repeat: the index must not be saved by compression.
        let long: String = (0..3_000).map(|number| format!("{:x}-", number * 7_919 % 65_521)).collect();
        for (id, odd) in [("fnd-1", "a\0b".to_owned()), ("fnd-2", long)] {
            let mut odd_finding = finding(id, Severity::High, 1);
            odd_finding.target.credential = Some(odd.clone());
            odd_finding.target.actor = Some(odd.clone());
            odd_finding.ownership = Some(super::samples::ownership(&[&odd]));
            store.commit(&[found(odd_finding.clone())], &[(odd.clone(), 3)]).await.expect("a commit");
            let row = CredentialRow { credential: odd.clone(), events: 40, ..CredentialRow::default() };
            store.upsert_credentials(&[row]).await.expect("kept");
            let filter = FindingFilter { credential: Some(odd.clone()), owner: Some(odd), ..FindingFilter::default() };
            assert_eq!(store.findings(&filter).await.expect("findings"), [odd_finding]);
        }
        let rows = store.credentials().await.expect("credentials");
        assert_eq!((rows.len(), rows[0].events, rows[0].findings), (2, 40, 1));
    })
    .await;
}
