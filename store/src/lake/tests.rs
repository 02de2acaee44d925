//! What the lake keeps: every record, by log source and day, once; in a folder and in object storage.

use std::io::Read;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringViewArray, TimestampMicrosecondArray, new_null_array};
use keytrail_model::{EventBatch, Micros, Place};

use super::*;
use crate::lake::write::event_schema;
use crate::server::Server;

/// Events of one log source: id, day of November 2026 and record.
fn events(source: &str, rows: &[(&str, i64, &str)]) -> EventBatch {
    let first = Micros::parse("2026-11-01").expect("a time");
    let texts = |text: fn(&(&str, i64, &str)) -> String| -> ArrayRef {
        Arc::new(StringViewArray::from_iter_values(rows.iter().map(text)))
    };
    let column = |name: &str, kind| match name {
        "time" => {
            let times = rows.iter().map(|(_, day, _)| first.0 + (day - 1) * DAY + 5 * Micros::SECOND);
            Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
        }
        "event_id" => texts(|row| row.0.to_owned()),
        "raw" => texts(|row| row.2.to_owned()),
        _ => new_null_array(kind, rows.len()),
    };
    let columns = event_schema().fields().iter().map(|field| column(field.name(), field.data_type())).collect();
    let batch = RecordBatch::try_new(event_schema(), columns).expect("a batch");
    EventBatch { source: source.into(), origins: "a.jsonl".into(), batch, places: vec![Place::default(); rows.len()] }
}

fn november(day: i64) -> Micros {
    Micros(Micros::parse("2026-11-01").expect("a time").0 + (day - 1) * DAY)
}

fn lake(folder: &tempfile::TempDir) -> Lake {
    Lake::open(&folder.path().join("lake").display().to_string(), Vec::new(), false).expect("a lake")
}

async fn write(lake: &Lake) -> Wrote {
    let mut writer = lake.writer();
    let trail = [("a", 3, "{\"n\":1}"), ("b", 4, "{\n  \"n\":2\r\n}"), ("c", 3, "{\"n\":3}")];
    writer.add(&events("aws.cloudtrail", &trail)).await.expect("written");
    writer.add(&events("github.audit", &[("d", 4, "{\"n\":4}")])).await.expect("written");
    writer.finish().await.expect("written")
}

fn lines(lake: &Lake, file: &LakeFile) -> Vec<String> {
    let mut text = String::new();
    lake.records(file).expect("records").read_to_string(&mut text).expect("text");
    text.lines().map(str::to_owned).collect()
}

async fn all(lake: &Lake) -> Vec<LakeFile> {
    lake.files(Micros(i64::MIN), Micros(i64::MAX)).await.expect("files")
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_back_by_log_source_and_day_as_lines() {
    let folder = tempfile::tempdir().expect("a folder");
    let lake = lake(&folder);
    assert_eq!((write(&lake).await.events, write(&lake).await.files), (4, 3));
    let files = all(&lake).await;
    // Written twice, and there once.
    let found: Vec<_> = files.iter().map(|file| (file.log.as_str(), file.day, lines(&lake, file))).collect();
    let line = |text: &str| text.to_owned();
    assert_eq!(
        found,
        [
            ("aws.cloudtrail", november(3), vec![line("{\"n\":1}"), line("{\"n\":3}")]),
            ("aws.cloudtrail", november(4), vec![line("{   \"n\":2  }")]),
            ("github.audit", november(4), vec![line("{\"n\":4}")]),
        ]
    );
}

/// Object storage that a real server keeps, by the protocol that S3 speaks.
#[tokio::test(flavor = "multi_thread")]
async fn object_storage_keeps_the_same() {
    let Some(server) = Server::start("s3.py", &[], "no lake was kept in object storage") else { return };
    let endpoint = format!("http://127.0.0.1:{}", server.port);
    let settings = [
        ("AWS_ACCESS_KEY_ID", "made-up"),
        ("AWS_SECRET_ACCESS_KEY", "made-up"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ENDPOINT", &endpoint),
        ("AWS_ALLOW_HTTP", "true"),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let far = Lake::open("s3://bucket/kept", settings.clone(), true).expect("a lake");
    let folder = tempfile::tempdir().expect("a folder");
    let near = lake(&folder);
    assert_eq!(write(&far).await, write(&near).await);
    assert_eq!(write(&far).await, write(&near).await);
    let files = all(&far).await;
    let what = |lake: &Lake, files: &[LakeFile]| -> Vec<_> {
        files.iter().map(|file| (file.log.clone(), file.day, file.bytes, lines(lake, file))).collect()
    };
    assert_eq!(what(&far, &files), what(&near, &all(&near).await));
    far.delete(&files[1..]).await.expect("deleted");
    assert_eq!(all(&far).await, files[..1]);
    let none = Lake::open("s3://no-such-bucket/kept", settings, true).expect("a place");
    let mut writer = none.writer();
    writer.add(&events("github.audit", &[("d", 4, "{}")])).await.expect("waits");
    let error = writer.finish().await.expect_err("no bucket").to_string();
    assert!(error.starts_with("the lake `s3://no-such-bucket/kept/` cannot be written: "), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_days_asked_for_are_listed() {
    let folder = tempfile::tempdir().expect("a folder");
    let lake = lake(&folder);
    write(&lake).await;
    let days = |since, until| {
        let lake = &lake;
        async move { lake.files(since, until).await.expect("files").len() }
    };
    assert_eq!(days(november(3), november(4)).await, 1);
    assert_eq!(days(Micros(november(3).0 + DAY - 1), november(5)).await, 3);
    assert_eq!(days(november(5), november(9)).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_is_gone_and_the_rest_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let lake = lake(&folder);
    write(&lake).await;
    let old = lake.files(Micros(i64::MIN), november(4)).await.expect("files");
    lake.delete(&old).await.expect("deleted");
    assert!(all(&lake).await.iter().all(|file| file.day == november(4)));
    assert_eq!(all(&lake).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_without_an_id_do_not_replace_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let lake = lake(&folder);
    for record in ["{\"n\":1}", "{\"n\":2}"] {
        let mut writer = lake.writer();
        writer.add(&events("duo.admin", &[("", 3, record)])).await.expect("waits");
        writer.finish().await.expect("written");
    }
    assert_eq!(all(&lake).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn compacting_loses_no_record_and_leaves_each_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let lake = lake(&folder);
    write(&lake).await;
    let cut_otherwise = [("c", 3, "{\"n\":3}"), ("e", 3, "{\"n\":5}"), ("a", 3, "{\"n\":9}")];
    let mut writer = lake.writer();
    writer.add(&events("aws.cloudtrail", &cut_otherwise)).await.expect("waits");
    writer.finish().await.expect("written");
    let done = lake.compact().await.expect("compacted");
    assert_eq!(done, Compacted { before: 2, after: 1, copies: 1 });
    let of_day = lake.files(november(3), november(4)).await.expect("files");
    // By time, then by id: an id that two records share is no reason to drop one.
    assert_eq!(lines(&lake, &of_day[0]), ["{\"n\":1}", "{\"n\":9}", "{\"n\":3}", "{\"n\":5}"]);
    let after = all(&lake).await;
    assert_eq!(lake.compact().await.expect("compacted"), Compacted::default());
    assert_eq!(all(&lake).await, after);
    // Stopped before the old files were deleted: the next time there is one of each again.
    write(&lake).await;
    assert_eq!(lake.compact().await.expect("compacted"), Compacted { before: 2, after: 1, copies: 2 });
    assert_eq!(all(&lake).await, after);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_a_crash_cut_off_is_named_and_a_staged_one_is_not_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let lake = lake(&folder);
    write(&lake).await;
    let day = folder.path().join("lake/events/log=github.audit/day=2026-11-04");
    let whole = std::fs::read_dir(&day).expect("a day").next().expect("a file").expect("a file").path();
    let bytes = std::fs::read(&whole).expect("bytes");
    std::fs::write(day.join("cut.parquet"), &bytes[..bytes.len() / 2]).expect("written");
    std::fs::write(day.join("new.parquet#1"), &bytes).expect("written");
    let files = all(&lake).await;
    assert_eq!(files.len(), 4);
    let cut = files.iter().find(|file| file.name().ends_with("cut.parquet")).expect("the file");
    let error = lake.records(cut).err().expect("an error").to_string();
    assert!(error.contains("day=2026-11-04/cut.parquet` of the lake cannot be read as events"), "{error}");
}

#[tokio::test]
async fn a_key_that_does_not_expire_opens_no_lake_unless_allowed() {
    let setting = |name: &str| (name.to_owned(), "x".to_owned());
    let open = |settings: &[(String, String)], allowed| Lake::open("s3://bucket/lake", settings.to_vec(), allowed);
    let key = [setting("AWS_ACCESS_KEY_ID"), setting("AWS_SECRET_ACCESS_KEY"), setting("AWS_REGION")];
    let error = open(&key, false).expect_err("refused").to_string();
    assert!(error.starts_with("AWS_SECRET_ACCESS_KEY is a key that does not expire"), "{error}");
    assert!(open(&key, true).is_ok());
    let session = [key.as_slice(), &[setting("AWS_SESSION_TOKEN")]].concat();
    assert!(open(&session, false).is_ok());
    // Another provider's key opens nothing here.
    assert!(
        Lake::open("az://container/lake", [key.as_slice(), &[setting("AZURE_STORAGE_ACCOUNT_NAME")]].concat(), false)
            .is_ok()
    );
}

#[tokio::test]
async fn a_place_that_is_none_says_what_is_one() {
    let error = Lake::open("ftp://host/lake", Vec::new(), false).expect_err("refused").to_string();
    assert!(error.contains("a lake is in a folder, or at an s3://, gs:// or az:// URL, not at ftp://"), "{error}");
    let error = Lake::open("s3://bucket/lake?sig=open-sesame", Vec::new(), false).expect_err("refused").to_string();
    assert!(!error.contains("sesame") && error.contains("no user, password or query"), "{error}");
}
