//! Against a folder, moto's S3 and Azurite.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use keytrail_model::Micros;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};

use super::{DAY, Objects, ObjectsConfig};
use crate::Limits;
use crate::sources::durations::now;
use crate::sources::{BROKEN, Delivery, Gap, Listing, Source, Surroundings};

use crate::sources::server;

fn around(variables: &[(&str, &str)], allow_static_key: bool) -> Surroundings {
    Surroundings {
        environment: variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        limits: Limits::default(),
        allow_static_key,
        replica: "test".to_owned(),
    }
}

fn config(at: &str) -> ObjectsConfig {
    ObjectsConfig { at: at.to_owned(), every: "50ms".to_owned(), settle: "0s".to_owned(), ..ObjectsConfig::default() }
}

fn opened(at: &std::path::Path) -> Objects {
    Objects::open("test", &config(at.to_str().expect("text")), &around(&[], false)).expect("a source")
}

fn write(folder: &std::path::Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    std::fs::write(path, bytes).expect("written");
}

fn day_folder(back: i64) -> String {
    super::place::day(Micros(now().0 - back * DAY))
}

/// Names without their version, with the documents or the reasons of rejects.
async fn read(delivery: Delivery) -> BTreeMap<String, Vec<String>> {
    let read = tokio::task::spawn_blocking(move || {
        let mut out = BTreeMap::new();
        for part in delivery.parts {
            let mut texts = Vec::new();
            for read in part.chunks {
                match read {
                    Ok(chunk) => texts.extend(
                        chunk.spans.iter().map(|span| String::from_utf8_lossy(chunk.document(span)).into_owned()),
                    ),
                    Err(reject) => texts.push(reject.reason),
                }
            }
            let (name, _) = part.origin.rsplit_once('#').expect("a version");
            out.insert(name.rsplit('/').next().expect("a name").to_owned(), texts);
        }
        out
    });
    read.await.expect("it ends")
}

async fn drain(source: &mut Objects) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::new();
    while let Some(delivery) = source.next(Duration::from_millis(200)).await.expect("no fault") {
        let receipt = delivery.receipt;
        all.extend(read(delivery).await);
        source.ack(receipt).await.expect("an ack");
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_long_rest_it_goes_back_to_where_it_left_off() {
    let folder = tempfile::tempdir().expect("a folder");
    for back in [1, 5, 9] {
        let name = format!("{back}.json");
        write(folder.path(), &name, b"{}");
        let file = std::fs::File::options().write(true).open(folder.path().join(name)).expect("a file");
        let days = Duration::from_secs(back * 86_400);
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_micros(now().0.unsigned_abs()) - days)
            .expect("a time");
    }
    let mut source = opened(folder.path());
    assert_eq!(drain(&mut source).await.into_keys().collect::<Vec<_>>(), ["1.json"]);
    let mut source = opened(folder.path());
    source.left_off(Micros(now().0 - 4 * DAY));
    assert_eq!(drain(&mut source).await.into_keys().collect::<Vec<_>>(), ["1.json", "5.json"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_need_not_come_in_order_and_old_days_are_passed_by() {
    let folder = tempfile::tempdir().expect("a folder");
    let today = day_folder(0);
    write(folder.path(), &format!("logs/{today}/m.json"), b"{\"n\":1}\n");
    write(folder.path(), &format!("logs/{}/y.json", day_folder(1)), b"{\"n\":2}\n");
    write(folder.path(), &format!("logs/{}/old.json", day_folder(30)), b"{\"n\":3}\n");
    write(folder.path(), "plain.json", b"{\"n\":4}\n");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(b"{\"n\":5}\n{\"n\":6}\n").expect("packed");
    write(folder.path(), &format!("logs/{today}/p.json.gz"), &packed.finish().expect("packed"));
    let mut source = opened(folder.path());
    let all = drain(&mut source).await;
    assert_eq!(all.keys().collect::<Vec<_>>(), ["m.json", "p.json.gz", "plain.json", "y.json"]);
    assert_eq!(all["p.json.gz"], ["{\"n\":5}", "{\"n\":6}"]);

    // One that sorts before all others, and one that is replaced.
    write(folder.path(), &format!("logs/{today}/a.json"), b"{\"n\":7}\n");
    write(folder.path(), "plain.json", b"{\"n\":40}\n");
    let all = drain(&mut source).await;
    assert_eq!(all.keys().collect::<Vec<_>>(), ["a.json", "plain.json"]);
    assert_eq!(all["plain.json"], ["{\"n\":40}"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn young_objects_wait_and_given_back_ones_come_again() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "a.json", b"{\"n\":1}\n");
    let mut source = opened(folder.path());
    source.settle = 3600 * Micros::SECOND;
    assert!(source.next(Duration::from_millis(100)).await.expect("no fault").is_none());
    source.settle = 0;
    for _ in 0..2 {
        let delivery = source.next(Duration::from_secs(5)).await.expect("no fault").expect("a delivery");
        assert_eq!(source.lag().await.expect("a lag").waiting, Some(0));
        source.nack(delivery.receipt).await.expect("a nack");
        assert!(source.idle().is_empty());
    }
    assert_eq!(drain(&mut source).await.len(), 1);
    assert_eq!(source.idle(), [String::new()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_vanished_or_changed_is_a_reject_and_not_a_circle() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "gone.json", b"{\"n\":1}\n");
    write(folder.path(), "other.json", b"{\"n\":2}\n");
    let mut source = opened(folder.path());
    let delivery = source.next(Duration::from_secs(5)).await.expect("no fault").expect("a delivery");
    std::fs::remove_file(folder.path().join("gone.json")).expect("removed");
    write(folder.path(), "other.json", b"{\"n\":200}\n");
    let all = read(delivery).await;
    assert!(all["gone.json"][0].contains("deleted"), "{all:?}");
    assert!(all["other.json"][0].contains("replaced"), "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_held_against_the_ledger_and_gaps_are_read_again() {
    let folder = tempfile::tempdir().expect("a folder");
    for number in 0..40 {
        write(folder.path(), &format!("{number}.json"), format!("{{\"n\":{number}}}\n").as_bytes());
    }
    let mut source = opened(folder.path());
    assert_eq!(drain(&mut source).await.len(), 40);
    let listing = source.listing(Micros(now().0 - DAY), Micros(i64::MAX)).await.expect("a listing");
    let Listing::Objects { objects, .. } = listing else { panic!("objects") };
    assert_eq!(objects.len(), 40);
    let gap = |origin: &str| Gap {
        origin: origin.to_owned(),
        range: None,
        since: Micros(now().0 - DAY),
        until: Micros(i64::MAX),
    };
    source.refill(&[gap(&objects[3].origin)]).await.expect("a refill");
    assert_eq!(drain(&mut source).await.len(), 1);
    source.refill(&[gap("")]).await.expect("a refill");
    assert_eq!(drain(&mut source).await.len(), 40);
    assert_eq!(source.refill(&[gap("s3://elsewhere/x#1")]).await.expect("an answer"), ["s3://elsewhere/x#1"]);
    assert!(source.check().await.iter().all(|check| check.fault.is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_stops_in_the_middle_breaks_the_delivery_off() {
    let pieces = vec![
        Ok(Bytes::from_static(b"{\"n\":1}\n{\"n\":2}\n")),
        Err(object_store::Error::Generic { store: "test", source: "cut".into() }),
    ];
    let runtime = tokio::runtime::Handle::current();
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "a.json", b"{\"n\":1}\n");
    let source = opened(folder.path());
    let item = source.within(Micros(0), Micros(i64::MAX)).await.expect("a list").remove(0);
    let mut reading = super::Reading::new(source.place.store.clone(), runtime.clone(), item, Limits::default());
    let read = tokio::task::spawn_blocking(move || {
        reading.start_with(stream::iter(pieces).boxed());
        reading.map(|read| read.map(|chunk| chunk.spans.len()).map_err(|reject| reject.reason)).collect::<Vec<_>>()
    });
    let read = read.await.expect("it ends");
    assert!(matches!(read.last(), Some(Err(reason)) if reason.starts_with(BROKEN)), "{read:?}");
    assert_eq!(read.iter().flatten().sum::<usize>(), 2, "{read:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_s3() {
    let Some(server) = server::Server::start("s3.py", &[], "listing S3") else { return };
    let endpoint = format!("http://127.0.0.1:{}", server.port);
    let settings = [
        ("AWS_ENDPOINT", endpoint.as_str()),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ];
    reads("s3://bucket/audit", &settings, "AWS_SECRET_ACCESS_KEY").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_azure_blob() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(server) = server::Server::start("azurite.py", &[folder.path().as_os_str()], "listing Azure Blob") else {
        return;
    };
    let key = std::fs::read_to_string(folder.path().join("key")).expect("the account's key");
    let endpoint = format!("http://127.0.0.1:{}/keytrail", server.port);
    let settings = [
        ("AZURE_STORAGE_ENDPOINT", endpoint.as_str()),
        ("AZURE_ALLOW_HTTP", "true"),
        ("AZURE_STORAGE_ACCOUNT_NAME", "keytrail"),
        ("AZURE_STORAGE_ACCOUNT_KEY", key.as_str()),
    ];
    reads("az://bucket/audit", &settings, "AZURE_STORAGE_ACCOUNT_KEY").await;
}

/// Refuses the key that does not expire, and with leave for it reads what is there.
async fn reads(at: &str, settings: &[(&str, &str)], key: &str) {
    let config = config(at);
    let Err(fault) = Objects::open("test", &config, &around(settings, false)) else { panic!("a static key") };
    assert!(fault.to_string().contains(key), "{fault}");
    let mut source = Objects::open("test", &config, &around(settings, true)).expect("a source");
    for number in 0..30 {
        let path = Path::from(format!("audit/{}/{number}.json", day_folder(number % 2)));
        let body = format!("{{\"n\":{number}}}\n");
        source.place.store.put(&path, PutPayload::from(body)).await.expect("put");
    }
    let all = drain(&mut source).await;
    assert_eq!(all.len(), 30);
    assert_eq!(all["7.json"], ["{\"n\":7}"]);
    assert!(source.check().await.iter().all(|check| check.fault.is_none()));
    drain_again(&mut source, at).await;
}

/// One that is replaced comes again, as another version.
async fn drain_again(source: &mut Objects, at: &str) {
    let path = Path::from(format!("audit/{}/7.json", day_folder(1)));
    source.place.store.put(&path, PutPayload::from("{\"n\":70}\n")).await.expect("put");
    let all = drain(source).await;
    assert_eq!((all.len(), all.get("7.json")), (1, Some(&vec!["{\"n\":70}".to_owned()])), "{at}");
}

#[tokio::test]
async fn what_cannot_work_is_said_at_once() {
    let fault = |change: &dyn Fn(&mut ObjectsConfig)| {
        let mut config = config("folder");
        change(&mut config);
        Objects::open("test", &config, &around(&[], false)).err().map(|fault| fault.to_string()).unwrap_or_default()
    };
    assert_eq!(fault(&|_| ()), "");
    assert!(fault(&|config| config.at = String::new()).contains("must name a place"));
    assert!(fault(&|config| config.at = "ftp://host/x".to_owned()).contains("s3://"));
    assert!(fault(&|config| config.at = "s3://user@bucket/x".to_owned()).contains("secret"));
    assert!(fault(&|config| config.days = 0).contains("1 to 366"));
}
