//! Files as they come, good and bad; and that the size of a chunk changes nothing.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

struct Seen {
    records: Vec<String>,
    places: Vec<Place>,
    rejects: Vec<Reject>,
}

fn read_with(bytes: &[u8], limits: &Limits) -> Seen {
    let mut seen = Seen { records: Vec::new(), places: Vec::new(), rejects: Vec::new() };
    for piece in Reader::over("f", bytes.to_vec(), limits).expect("open") {
        match piece {
            Ok(chunk) => {
                for span in &chunk.spans {
                    seen.records.push(String::from_utf8_lossy(chunk.document(span)).into_owned());
                    seen.places.push(span.place);
                }
            }
            Err(reject) => seen.rejects.push(reject),
        }
    }
    seen
}

fn read(text: &str) -> Seen {
    read_with(text.as_bytes(), &Limits::default())
}

fn records(text: &str) -> Vec<String> {
    let seen = read(text);
    assert_eq!(seen.rejects, []);
    seen.records
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    out.write_all(bytes).expect("write");
    out.finish().expect("finish")
}

fn many(count: usize) -> Vec<String> {
    (0..count).map(|i| json!({"i": i, "text": "x{[\"".repeat(i % 40)}).to_string()).collect()
}

#[test]
fn lines_with_every_line_end_and_blank_lines() {
    let seen = read("\u{feff}{\"a\":1}\r\n\r\n  {\"a\":2}  \n\n{\"a\":3}");
    assert_eq!(seen.records, [r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":3}"#]);
    let places: Vec<_> = seen.places.iter().map(|place| (place.line, place.byte)).collect();
    assert_eq!(places, [(Some(1), 3), (Some(3), 16), (Some(5), 27)]);
}

#[test]
fn nothing_is_nothing() {
    for text in ["", "\n\n", "  ", "\u{feff}", "[]", "[ ]\n"] {
        assert!(records(text).is_empty(), "{text:?}");
    }
}

#[test]
fn a_bad_line_loses_only_itself() {
    for bad in [r#"{"a":{"b":1"#, r#"{"a":"half a str"#, "garbage", r#"{"a":"#, "}", r#"{"a":[1,"#] {
        for at in 0..3 {
            let mut lines = vec![r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":3}"#];
            lines.insert(at, bad);
            assert_eq!(records(&lines.join("\n")), lines, "{bad} at {at}");
        }
    }
}

#[test]
fn documents_pretty_printed_concatenated_and_in_arrays() {
    let pretty = |value: &Value| serde_json::to_string_pretty(value).expect("text");
    let (one, two) = (json!({"a": [1, {"b": "}\n"}]}), json!({"c": {}}));
    let whole = |texts: Vec<String>| -> Vec<Value> {
        texts.iter().map(|text| serde_json::from_str(text).expect(text)).collect()
    };
    let both = vec![one.clone(), two.clone()];
    assert_eq!(whole(records(&format!("{}\n{}\n", pretty(&one), pretty(&two)))), both);
    assert_eq!(whole(records(&format!("{one}{two}"))), both);
    assert_eq!(whole(records(&pretty(&json!(both)))), both);
    assert_eq!(whole(records(&json!(both).to_string())), both);
    assert_eq!(whole(records(&format!("[\n{one},\n{two}\n]\n"))), both);
    assert_eq!(whole(records(&format!("{}\n{}\n", json!([one]), json!([two])))), both);
    assert_eq!(whole(records(&pretty(&one))), vec![one.clone()]);
    let envelope = format!("{{\"Records\":[\n{one},\n{two}\n]}}");
    assert_eq!(records(&envelope), std::slice::from_ref(&envelope));
}

#[test]
fn places_in_documents_are_numbered() {
    let seen = read("[\n {\"a\":1},\n {\"a\":2}\n]");
    let places: Vec<_> = seen.places.iter().map(|place| (place.line, place.record, place.byte)).collect();
    assert_eq!(places, [(None, Some(1), 3), (None, Some(2), 13)]);
    let seen = read("{\"x\":0}\n[{\"a\":1}, {\"a\":2}]\n");
    let places: Vec<_> = seen.places.iter().map(|place| (place.line, place.record, place.byte)).collect();
    assert_eq!(places, [(Some(1), None, 0), (Some(2), Some(1), 9), (Some(2), Some(2), 18)]);
}

#[test]
fn a_broken_document_does_not_swallow_the_next() {
    let text = "{\n \"a\": 1,\n \"b\": [\n{\n \"c\": 2\n}\n{\n \"d\": 3\n}\n";
    let seen = read(text);
    assert!(seen.records.last().is_some_and(|last| last.contains("\"d\"")), "{:?}", seen.records);
    assert!(!seen.records.last().is_some_and(|last| last.contains("\"a\"")));
}

#[test]
fn compression_is_told_by_the_bytes() {
    let text = "{\"a\":1}\n{\"a\":2}\n";
    let mut twice = gzip(b"{\"a\":1}\n");
    twice.extend(gzip(b"{\"a\":2}\n"));
    let zstd = zstd::encode_all(text.as_bytes(), 1).expect("zstd");
    for bytes in [text.as_bytes().to_vec(), gzip(text.as_bytes()), twice, zstd] {
        let seen = read_with(&bytes, &Limits::default());
        assert_eq!((seen.records.len(), seen.rejects.len()), (2, 0));
    }
}

#[test]
fn a_truncated_gzip_gives_what_came_before_the_cut() {
    let lines = many(5000);
    let whole = gzip(lines.join("\n").as_bytes());
    let seen = read_with(&whole[..whole.len() / 2], &Limits { chunk_bytes: 4096, ..Limits::default() });
    assert!(seen.records.len() > 1000 && seen.records == lines[..seen.records.len()], "{}", seen.records.len());
    let [reject] = &seen.rejects[..] else { panic!("{:?}", seen.rejects) };
    assert!(reject.reason.starts_with("truncated: the compressed file ends"), "{}", reject.reason);
    let read: usize = seen.records.iter().map(|record| record.len() + 1).sum();
    assert!(reject.position.byte >= read as u64);
}

#[test]
fn a_truncated_envelope_is_handed_on_for_what_it_holds() {
    let whole = gzip(format!("{{\"Records\":[{}]}}", many(5000).join(",")).as_bytes());
    let seen = read_with(&whole[..whole.len() / 2], &Limits::default());
    assert_eq!((seen.records.len(), seen.rejects.len()), (1, 1));
    assert!(seen.records[0].starts_with("{\"Records\":["));
}

#[test]
fn an_endless_line_is_passed_over_without_being_held() {
    let limits = Limits { chunk_bytes: 64, record_bytes_max: 1000, document_bytes_max: 5000, ..Limits::default() };
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(200_000));
    let envelope = |count: usize| format!("{{\"Records\":[{}0]}}", "0,".repeat(count));
    let text =
        format!("{{\"n\":1}}\n{long}\n{{\"n\":2}}\n{}\n{}\n{{\"n\":3}}\n{long}", envelope(2000), envelope(90_000));
    let mut reader = Reader::over("f", text.into_bytes(), &limits).expect("open");
    let (mut kept, mut reasons, mut most) = (Vec::new(), Vec::new(), 0);
    while let Some(piece) = reader.next() {
        most = most.max(reader.buffer.capacity());
        match piece {
            Ok(chunk) => kept.extend(chunk.spans.iter().map(|span| (span.place.line, span.end - span.start))),
            Err(reject) => reasons.push((reject.position.line, reject.reason)),
        }
    }
    assert_eq!(kept, [(Some(1), 7), (Some(3), 7), (Some(4), 4015), (Some(6), 7)]);
    assert_eq!(reasons.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [Some(2), Some(5), Some(7)]);
    assert_eq!(
        reasons[0].1,
        "line of 200008 bytes is longer than the limit of 1000; raise `record_bytes_max` if it is a genuine record"
    );
    assert!(most < 3 * HEAD_BYTES, "{most}");
}

#[test]
fn other_encodings_and_binaries_are_named() {
    let wide = |mark: &[u8], big: bool| -> Vec<u8> {
        let units =
            "{\"a\":1}\n".encode_utf16().flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() });
        mark.iter().copied().chain(units).collect()
    };
    for (bytes, word) in [
        (wide(b"\xFF\xFE", false), "iconv -f UTF-16 "),
        (wide(b"\xFE\xFF", true), "iconv -f UTF-16 "),
        (wide(b"", false), "iconv -f UTF-16LE"),
        (wide(b"", true), "iconv -f UTF-16BE"),
        (b"PK\x03\x04rest".to_vec(), "zip"),
        (b"\x7FELF\0\0".to_vec(), "binary"),
        (gzip(&gzip(b"{}")), "gunzip"),
    ] {
        let seen = read_with(&bytes, &Limits::default());
        assert!(seen.records.is_empty());
        assert!(seen.rejects.len() == 1 && seen.rejects[0].reason.contains(word), "{:?}", seen.rejects);
    }
}

#[test]
fn progress_ends_at_the_size() {
    let bytes = gzip(many(100).join("\n").as_bytes());
    let mut reader = Reader::over("f", bytes.clone(), &Limits::default()).expect("open");
    assert!(reader.by_ref().all(|piece| piece.is_ok()));
    assert_eq!((reader.bytes_read(), reader.size()), (bytes.len() as u64, bytes.len() as u64));
}

#[test]
fn elements_of_an_array_or_none() {
    let parts = |text: &str| {
        elements(text.as_bytes())
            .map(|all| all.into_iter().filter_map(|range| text.get(range)).map(str::to_owned).collect::<Vec<_>>())
    };
    assert_eq!(parts(" [ {\"a\":[1]} , \"x]\", 3 ] "), Some(vec!["{\"a\":[1]}".into(), "\"x]\"".into(), "3".into()]));
    assert_eq!(parts("[]"), Some(vec![]));
    for text in ["{}", "[1", "[1,]", "[1]x", "[1 2]", "["] {
        assert_eq!(parts(text), None, "{text}");
    }
}

fn telling_byte() -> impl Strategy<Value = u8> {
    prop_oneof![Just(b'{'), Just(b'['), Just(b'"'), Just(b'\n'), Just(b'\\'), any::<u8>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_size_of_a_chunk_changes_nothing(chunk in 1usize..9000, count in 3000usize..4000, form in 0usize..4) {
        let lines = many(count);
        let text = match form {
            0 => lines.join("\n"),
            1 => format!("[{}]", lines.join(",\n")),
            2 => lines.concat(),
            _ => lines.join("\r\n\r\n"),
        };
        let seen = read_with(text.as_bytes(), &Limits { chunk_bytes: chunk, ..Limits::default() });
        prop_assert_eq!(seen.records, lines);
        prop_assert!(seen.rejects.is_empty());
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(telling_byte(), 0..300)) {
        let limits = Limits { chunk_bytes: 7, record_bytes_max: 20, document_bytes_max: 60, ..Limits::default() };
        read_with(&bytes, &limits);
        let _ = elements(&bytes);
    }
}

#[test]
fn what_unpacks_to_far_more_than_a_log_does_ends_there() {
    let line = format!("{{\"a\":\"{}\"}}\n", "x".repeat(4 << 10));
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    let mut zstd = zstd::Encoder::new(Vec::new(), 1).expect("room");
    for _ in 0..32 << 8 {
        packed.write_all(line.as_bytes()).expect("room");
        zstd.write_all(line.as_bytes()).expect("room");
    }
    for bomb in [packed.finish().expect("packed"), zstd.finish().expect("packed")] {
        let seen = read_with(&bomb, &Limits::default());
        let [reject] = seen.rejects.as_slice() else { panic!("{:?}", seen.rejects) };
        assert!(reject.reason.starts_with("unpacks to far more than its size"), "{}", reject.reason);
        let bytes = seen.records.len() * line.len();
        assert!((15 << 20..=17 << 20).contains(&bytes), "{bytes} of {}", (32 << 8) * line.len());
    }
}
