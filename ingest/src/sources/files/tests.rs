//! Files of a folder as a service meets them: growing, renamed, unfinished, missing.

use std::fs::{self, OpenOptions};
use std::io::Write;

use super::*;

/// Longer than files rest.
const WAIT: Duration = Duration::from_millis(500);

fn source(at: &Path) -> Files {
    let config = FilesConfig {
        at: at.display().to_string(),
        every: "20ms".to_owned(),
        settle: "200ms".to_owned(),
        named: false,
    };
    Files::open("drop", &config, &around()).expect("a source")
}

fn around() -> Surroundings {
    let limits = Limits { record_bytes_max: 64 << 10, ..Limits::default() };
    Surroundings { environment: BTreeMap::new(), limits, allow_static_key: false, replica: "one".to_owned() }
}

async fn all(source: &mut Files) -> Vec<(String, Extent, Vec<String>)> {
    let mut got = Vec::new();
    while let Some(delivery) = source.next(WAIT).await.expect("a folder") {
        for part in delivery.parts {
            let said = part.chunks.flat_map(|read| match read {
                Ok(chunk) => chunk.spans.iter().map(|span| told(&chunk, span)).collect(),
                Err(reject) => vec![format!("{}: {}", reject.position.line.unwrap_or(0), reject.reason)],
            });
            got.push((part.origin, part.extent, said.collect()));
        }
        source.ack(delivery.receipt).await.expect("an ack");
    }
    got
}

fn told(chunk: &crate::Chunk, span: &crate::Span) -> String {
    let line = span.place.line.map(|line| line.to_string()).unwrap_or_default();
    format!("{line} {}", String::from_utf8_lossy(chunk.document(span)))
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).expect("a file");
    file.write_all(text.as_bytes()).expect("room");
}

#[tokio::test]
async fn lines_are_followed_and_a_rename_is_not_news() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("audit.log");
    append(&log, "{\"a\":1}\n{\"a\":2}\n{\"a\":");
    let mut source = source(folder.path());
    let first = source.next(WAIT).await.expect("a folder").expect("lines");
    assert_eq!(first.parts[0].extent, Extent::Piece { from: 0, to: 16 });
    source.ack(first.receipt).await.expect("an ack");
    append(&log, "3}\n");
    fs::rename(&log, folder.path().join("audit.log.1.log")).expect("a rename");
    append(&log, "{\"b\":1}\n");
    let rest: Vec<String> = all(&mut source).await.into_iter().flat_map(|(_, _, lines)| lines).collect();
    assert_eq!(rest.len(), 2, "{rest:?}");
    assert!(rest.contains(&"3 {\"a\":3}".to_owned()) && rest.contains(&"1 {\"b\":1}".to_owned()), "{rest:?}");
}

#[tokio::test]
async fn it_goes_on_where_the_ledger_says() {
    let folder = tempfile::tempdir().expect("a folder");
    append(&folder.path().join("a.jsonl"), "{\"a\":1}\n{\"a\":2}\n");
    let mut before = source(folder.path());
    let [(origin, ..)] = all(&mut before).await.try_into().expect("one piece");
    append(&folder.path().join("a.jsonl"), "{\"a\":3}\n");
    let mut after = source(folder.path());
    after.resume(vec![crate::sources::Resumed { origin, position: 16, done: false, at: Micros(0) }]);
    let [(_, extent, lines)] = all(&mut after).await.try_into().expect("one piece");
    assert_eq!((extent, lines), (Extent::Piece { from: 16, to: 24 }, vec!["3 {\"a\":3}".to_owned()]));
}

#[tokio::test]
async fn what_was_given_back_comes_again() {
    let folder = tempfile::tempdir().expect("a folder");
    append(&folder.path().join("a.jsonl"), "{\"a\":1}\n");
    let mut source = source(folder.path());
    let first = source.next(WAIT).await.expect("a folder").expect("a line");
    assert!(source.next(WAIT).await.expect("a folder").is_none());
    source.nack(first.receipt).await.expect("a nack");
    assert_eq!(all(&mut source).await.len(), 1);
}

#[tokio::test]
async fn documents_wait_until_they_rest_and_a_last_line_too() {
    let folder = tempfile::tempdir().expect("a folder");
    append(&folder.path().join("whole.json"), "{\"Records\": [\n{\"a\":1},\n");
    append(&folder.path().join("lines.jsonl"), "{\"b\":1}\n{\"b\":2}");
    let mut source = source(folder.path());
    let first = source.next(WAIT).await.expect("a folder").expect("a line");
    assert_eq!(first.parts[0].extent, Extent::Piece { from: 0, to: 8 });
    append(&folder.path().join("whole.json"), "{\"a\":2}\n]}");
    let rest = all(&mut source).await;
    let wholes: Vec<_> = rest.iter().filter(|(_, extent, _)| *extent == Extent::Whole).collect();
    assert_eq!((rest.len(), wholes.len()), (2, 1), "{rest:?}");
    assert!(source.exhausted());
}

#[tokio::test]
async fn a_line_without_end_is_a_reject_and_the_next_one_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let long = format!("{{\"a\":\"{}\"}}\n", "x".repeat(5 << 20));
    append(&folder.path().join("a.jsonl"), &format!("{{\"a\":1}}\n{long}{{\"a\":3}}\n"));
    let got: Vec<String> = all(&mut source(folder.path())).await.into_iter().flat_map(|(_, _, said)| said).collect();
    assert_eq!(got.first().map(String::as_str), Some("1 {\"a\":1}"));
    assert!(
        got.get(1).is_some_and(|said| said.starts_with("2: the line is longer")),
        "{:?}",
        got.get(1).map(|s| s.get(..60).map(str::to_owned))
    );
    assert_eq!(got.get(2).map(String::as_str), Some("3 {\"a\":3}"));
}

#[tokio::test]
async fn a_missing_folder_is_told_and_tried_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let later = folder.path().join("later");
    let mut source = source(&later);
    let fault = source.next(WAIT).await.err().expect("an error").to_string();
    assert!(fault.contains("no such file or folder"), "{fault}");
    fs::create_dir(&later).expect("a folder");
    append(&later.join("a.jsonl"), "{\"a\":1}\n");
    assert_eq!(all(&mut source).await.len(), 1);
}

#[tokio::test]
async fn an_empty_file_holds_nothing_back() {
    let folder = tempfile::tempdir().expect("a folder");
    append(&folder.path().join("a.jsonl"), "");
    let mut source = source(folder.path());
    assert!(source.next(WAIT).await.expect("a folder").is_none());
    assert!(source.exhausted() && source.idle() == [""]);
}
