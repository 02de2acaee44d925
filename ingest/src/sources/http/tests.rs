//! Senders of every shape over a real port: what is kept, refused, and asked to wait.

use std::collections::BTreeMap;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::sources::Extent;

const WAIT: Duration = Duration::from_millis(800);

fn around() -> Surroundings {
    let limits = Limits::default();
    Surroundings { environment: BTreeMap::new(), limits, allow_static_key: false, replica: "one".to_owned() }
}

fn config(folder: &std::path::Path) -> HttpConfig {
    HttpConfig {
        listen: "127.0.0.1:0".to_owned(),
        spool: folder.join("spool"),
        token_file: None,
        hmac_file: None,
        body_max: 1 << 20,
        spool_max: 1 << 30,
    }
}

async fn send(at: SocketAddr, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> (u16, String, Option<String>) {
    let mut request = reqwest::Client::new().post(format!("http://{at}{path}")).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.expect("an answer");
    let (status, retry) = (answer.status().as_u16(), answer.headers().get("retry-after").cloned());
    let retry = retry.and_then(|retry| retry.to_str().ok().map(str::to_owned));
    (status, answer.text().await.expect("a text"), retry)
}

async fn records(source: &mut Http) -> Vec<String> {
    let mut got = Vec::new();
    while let Some(delivery) = source.next(WAIT).await.expect("a spool") {
        for part in delivery.parts {
            assert!(matches!(part.extent, Extent::Piece { .. }));
            for chunk in part.chunks.flatten() {
                let texts = chunk.spans.iter().map(|span| String::from_utf8_lossy(chunk.document(span)).into_owned());
                got.extend(texts);
            }
        }
        source.ack(delivery.receipt).await.expect("an ack");
    }
    got
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shape_becomes_lines_and_what_was_read_is_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut source = Http::open("push", &config(folder.path()), &around()).expect("a source");
    let at = source.listen().await.expect("a port");
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(b"{\"d\":1}\n").expect("room");
    let bodies: [(&str, Vec<u8>); 5] = [
        ("/v1/push", b"{\"a\":1}\n{\"a\":2}\n".to_vec()),
        ("/v1/push", b"[{\"b\":1},\n {\"b\":\n2}]".to_vec()),
        ("/v1/push", packed.finish().expect("packed")),
        ("/services/collector/event", b"{\"time\":1,\"event\":{\"c\":1}}{\"event\":\"{\\\"c\\\":2}\"}".to_vec()),
        ("/v1/push", b"{\n  \"e\": 1\n}".to_vec()),
    ];
    for (path, body) in bodies {
        let (status, said, _) = send(at, path, &[], body).await;
        assert_eq!(status, 200, "{said}");
    }
    let got = records(&mut source).await;
    let wanted =
        ["{\"a\":1}", "{\"a\":2}", "{\"b\":1}", "{\"b\": 2}", "{\"d\":1}", "{\"c\":1}", "{\"c\":2}", "{   \"e\": 1 }"];
    assert_eq!(got, wanted);
    assert_eq!(send(at, "/v1/push", &[], b"not json".to_vec()).await.0 / 100, 4);
    assert_eq!(send(at, "/v1/push", &[], vec![b'x'; 2 << 20]).await.0, 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_cannot_be_read_whole_is_refused_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut source = Http::open("push", &config(folder.path()), &around()).expect("a source");
    let at = source.listen().await.expect("a port");
    let packed = |lines: usize| {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        (0..lines).for_each(|line| writeln!(packed, "{{\"n\":{line}}}").expect("room"));
        packed.finish().expect("packed")
    };
    let mut cut = packed(1_000);
    cut.truncate(cut.len() / 2);
    let (status, said, _) = send(at, "/v1/push", &[], cut).await;
    assert!(status == 400 && said.contains("ends in the middle"), "{status} {said}");
    let (status, said, _) = send(at, "/services/collector", &[], packed(200_000)).await;
    assert!(status == 413 && said.contains("unpacks to more than 1048576 bytes"), "{status} {said}");
    assert_eq!(records(&mut source).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_outlives_the_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut first = Http::open("push", &config(folder.path()), &around()).expect("a source");
    assert_eq!(send(first.listen().await.expect("a port"), "/v1/push", &[], b"{\"a\":1}\n".to_vec()).await.0, 200);
    drop(first);
    let mut second = Http::open("push", &config(folder.path()), &around()).expect("a source");
    assert_eq!(records(&mut second).await, ["{\"a\":1}"]);
    let left = std::fs::read_dir(folder.path().join("spool")).expect("a folder").count();
    assert_eq!(left, 0, "what was committed is removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_token_or_signature_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("token");
    std::fs::write(&secret, "let me in\n").expect("a file");
    let by_token = HttpConfig { token_file: Some(secret.clone()), ..config(folder.path()) };
    let mut source = Http::open("push", &by_token, &around()).expect("a source");
    let body = || b"{\"a\":1}".to_vec();
    let at = source.listen().await.expect("a port");
    assert_eq!(send(at, "/v1/push", &[], body()).await.0, 401);
    assert_eq!(send(at, "/v1/push", &[("authorization", "Bearer let me in")], body()).await.0, 200);
    let (status, said, _) = send(at, "/services/collector", &[("authorization", "Splunk wrong")], body()).await;
    assert_eq!((status, said.contains("\"code\":4")), (401, true), "{said}");

    let signed = HttpConfig { hmac_file: Some(secret), spool: folder.path().join("signed"), ..config(folder.path()) };
    let mut source = Http::open("push", &signed, &around()).expect("a source");
    let at = source.listen().await.expect("a port");
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"let me in"), &body());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let signature = format!("sha256={hex}");
    assert_eq!(send(at, "/v1/push", &[("x-hub-signature-256", &signature)], body()).await.0, 200);
    assert_eq!(send(at, "/v1/push", &[("x-hub-signature-256", &signature)], b"{}".to_vec()).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_asks_senders_to_wait_and_others_need_a_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let small = HttpConfig { spool_max: 1, ..config(folder.path()) };
    let mut source = Http::open("push", &small, &around()).expect("a source");
    let at = source.listen().await.expect("a port");
    assert_eq!(send(at, "/v1/push", &[], b"{\"a\":1}".to_vec()).await.0, 200);
    let (status, _, retry) = send(at, "/v1/push", &[], b"{\"a\":2}".to_vec()).await;
    assert_eq!((status, retry.as_deref()), (429, Some("5")));
    let open = HttpConfig { listen: "0.0.0.0:0".to_owned(), ..config(folder.path()) };
    let fault = Http::open("push", &open, &around()).err().expect("an error").to_string();
    assert!(fault.contains("name a `token_file` or an `hmac_file`"), "{fault}");
}

#[tokio::test]
async fn a_segment_that_grew_since_it_was_read_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let spool = Spool::open(folder.path()).expect("a spool");
    assert!(matches!(spool.put(vec![b'\n'; 16 << 20]).await, Told::Kept));
    let segment = std::fs::read_dir(folder.path()).expect("a folder").next().expect("one").expect("an entry").path();
    let size = segment.metadata().expect("a file").len();
    spool.remove(&segment, size);
    assert!(segment.exists(), "it is written to");
    assert!(matches!(spool.put(b"{}\n".to_vec()).await, Told::Kept), "which begins another");
    spool.remove(&segment, size - 1);
    assert!(segment.exists(), "its end was not read");
    spool.remove(&segment, size);
    assert!(!segment.exists());
}
