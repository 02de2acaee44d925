//! Secrets planted in every record of every sample, in every envelope, are in nothing that Keytrail writes or says.
//!
//! They are put together at run time, so that no scanner takes this file for a leak.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::{Value, json};

use crate::run::{Folder, Ran, repository};

/// Stands beside a secret in a field that findings show: where it goes, the secret would have gone.
const MARKER: &str = "canary-sings";

/// What is planted: the kind, and the secret.
fn canaries() -> Vec<(&'static str, String)> {
    let body =
        |tag: &str, len: usize| format!("{tag}{}", "Zq7Kx2Vw9Tn4".repeat(8)).chars().take(len).collect::<String>();
    vec![
        ("password", format!("{}/\"+&=é", body("Pw", 20))),
        ("token in a URL", body("Ur", 40)),
        ("session token", body("Se", 90)),
        ("private key", body("Pk", 64)),
        ("GitHub token", format!("{}{}{}", "gh", "p_", body("Gh", 36))),
        ("JSON in a string", body("Js", 30)),
    ]
}

fn secret(kind: &str) -> String {
    canaries().into_iter().find(|(known, _)| *known == kind).unwrap().1
}

/// Puts each secret where such a thing stands in real logs.
fn plant(record: &mut Value) {
    let place = ["requestParameters", "protoPayload", "properties"].into_iter().find(|key| record.get(key).is_some());
    let place = if place == Some("protoPayload") {
        &mut record["protoPayload"]["request"]
    } else {
        &mut record[place.unwrap_or("requestParameters")]
    };
    if !place.is_object() {
        *place = json!({});
    }
    let dashes = "-".repeat(5);
    place["password"] = json!(secret("password"));
    place["sessionToken"] = json!(secret("session token"));
    place["note"] = json!(format!("pushed with {} by mistake", secret("GitHub token")));
    place["body"] = json!(format!(
        "{dashes}BEGIN RSA PRIVATE KEY{dashes}\n{}\n{dashes}END RSA PRIVATE KEY{dashes}\n",
        secret("private key")
    ));
    place["requestbody"] = json!(json!({"clientSecret": secret("JSON in a string"), "size": 1}).to_string());
    place["link"] = json!(url());
    sign(record);
}

fn url() -> String {
    format!("https://api.example.com/x?from={MARKER}&access_token={}&page=2", secret("token in a URL"))
}

/// User agents are shown in findings, so they get one too.
fn sign(value: &mut Value) {
    match value {
        Value::Object(members) => members.iter_mut().for_each(|(key, value)| match value {
            Value::String(text) if key.to_lowercase().replace('_', "").ends_with("useragent") => {
                text.push_str(&format!(" ({})", url()));
            }
            other => sign(other),
        }),
        Value::Array(items) => items.iter_mut().for_each(sign),
        _ => {}
    }
}

/// Plants in each record of a document, through its envelope; how many there were.
fn plant_all(document: &mut Value) -> usize {
    for list in ["Records", "records"] {
        if let Some(records) = document.get_mut(list).and_then(Value::as_array_mut) {
            records.iter_mut().for_each(plant);
            return records.len();
        }
    }
    if let Some(events) = document.get_mut("Events").and_then(Value::as_array_mut) {
        events
            .iter_mut()
            .for_each(|event| event["CloudTrailEvent"] = json!(planted(event["CloudTrailEvent"].as_str().unwrap())));
        return events.len();
    }
    match document.pointer("/message/data").and_then(Value::as_str).map(|data| STANDARD.decode(data).unwrap()) {
        Some(inner) => {
            document["message"]["data"] = json!(STANDARD.encode(planted(std::str::from_utf8(&inner).unwrap())));
        }
        None if document.get("detail").is_some() => plant(&mut document["detail"]),
        None => plant(document),
    }
    1
}

fn planted(record: &str) -> String {
    let mut record = serde_json::from_str(record).unwrap();
    plant(&mut record);
    record.to_string()
}

/// A sample with its secrets, the number of records, and whether a broken line was added.
fn spoilt(text: &str, lines: bool) -> (String, usize) {
    if !lines {
        let mut document = serde_json::from_str(text).unwrap();
        let count = plant_all(&mut document);
        return (document.to_string(), count);
    }
    let mut out = String::new();
    let mut count = 0;
    for line in text.lines() {
        let mut document = serde_json::from_str(line).unwrap();
        count += plant_all(&mut document);
        out.push_str(&format!("{document}\n"));
    }
    // What cannot be read is kept for replay: redacted too, where the line breaks off in the middle of a secret.
    out.push_str(&format!("{{\"link\":\"{}\",\"password\":\"{}\n", url(), secret("GitHub token")));
    (out, count)
}

/// How a secret may come out: as it is, or in a code that something on the way writes.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let bytes = secret.as_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let safe = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    let url: String = bytes
        .iter()
        .map(|byte| if safe(byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    let quoted = json!(secret).to_string().trim_matches('"').to_owned();
    let html = secret.replace('&', "&amp;").replace('"', "&quot;");
    let mut forms = vec![
        secret.to_owned(),
        hex.to_uppercase(),
        hex,
        url,
        json!(quoted).to_string().trim_matches('"').to_owned(),
        quoted.clone(),
        html,
    ];
    // The longest part without special characters, for any other way of quoting.
    let plain = secret.split(|letter: char| !letter.is_ascii_alphanumeric()).max_by_key(|part| part.len());
    forms.extend(plain.map(str::to_owned));
    forms.extend([secret, &quoted].into_iter().flat_map(base64_forms));
    forms.into_iter().map(String::into_bytes).collect()
}

/// Three, because the code depends on where in a longer text the secret stands; each in both alphabets.
fn base64_forms(secret: &str) -> Vec<String> {
    let inner = (0..3).map(|shift| {
        let text = STANDARD_NO_PAD.encode([vec![0; shift], secret.as_bytes().to_vec()].concat());
        text.get([0, 2, 3][shift]..text.len() - 2).unwrap().to_owned()
    });
    inner.flat_map(|inner| [inner.replace('+', "-").replace('/', "_"), inner]).collect()
}

/// The kinds of secrets that are in these bytes.
fn leaks(bytes: &[u8]) -> Vec<&'static str> {
    let text = String::from_utf8_lossy(bytes);
    let found = |secret: &str| forms(secret).into_iter().any(|form| text.contains(std::str::from_utf8(&form).unwrap()));
    canaries().into_iter().filter(|(_, secret)| found(secret)).map(|(kind, _)| kind).collect()
}

/// Quoted-printable as mail programs undo it.
fn readable(mail: &str) -> Vec<u8> {
    let joined = mail.replace("=\r\n", "").replace("=\n", "");
    let mut parts = joined.split('=');
    let mut out = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part.get(..2).and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => out.extend([&[byte], &part.as_bytes()[2..]].concat()),
            None => out.extend([b"=", part.as_bytes()].concat()),
        }
    }
    out
}

fn samples() -> Vec<String> {
    let root = repository("sample-events");
    let folders = std::fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let files = folders.flat_map(|folder| std::fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let mut files: Vec<String> = files.map(|path| path.strip_prefix(&root).unwrap().display().to_string()).collect();
    files.sort();
    files
}

/// All samples with secrets in `logs`; the number of records and of broken lines.
fn spoil_samples(folder: &Folder) -> (usize, usize) {
    let (mut records, mut broken) = (0, 0);
    for sample in samples() {
        let text = std::fs::read_to_string(repository(&format!("sample-events/{sample}"))).unwrap();
        let lines = Path::new(&sample).extension().is_some_and(|ending| ending == "jsonl");
        let (text, count) = spoilt(&text, lines);
        assert!(count > 0, "{sample} holds no record");
        assert_eq!(
            leaks(text.as_bytes()).len(),
            canaries().len(),
            "not every secret is in {sample}: {:?}",
            leaks(text.as_bytes())
        );
        folder.write(&format!("logs/{sample}"), text);
        records += count;
        broken += usize::from(lines);
    }
    (records, broken)
}

#[track_caller]
fn is_clean(what: &str, bytes: &[u8]) {
    assert_eq!(leaks(bytes), [""; 0], "secrets in {what}");
}

fn is_clean_ran(what: &str, ran: &Ran) {
    is_clean(&format!("stdout of {what}"), ran.stdout.as_bytes());
    is_clean(&format!("stderr of {what}"), ran.stderr.as_bytes());
}

fn files_under(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_under(&path)) } else { files.push(path) }
    }
    files
}

#[test]
fn no_secret_is_in_any_output() {
    let folder = Folder::new();
    let (records, broken) = spoil_samples(&folder);
    let inventory = repository("rules/inventory").display().to_string();
    let ran =
        folder.run(&["scan", "logs", "--inventory", &inventory, "--out", "out", "--report", "out/report.html"]).ok();
    let ran = ran.says(&[&format!("{records} events read"), &format!("{broken} rejects")]);
    let overwritten: usize =
        ran.stderr.split(" secrets overwritten").next().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    // In each record one of a kind, and the link again in the user agent where there is one.
    assert!(overwritten >= records * canaries().len(), "{overwritten} secrets overwritten in {records} records");
    is_clean_ran("scan", &ran);
    let files = files_under(&folder.path("out"));
    for file in &files {
        let bytes = std::fs::read(file).unwrap();
        is_clean(&file.display().to_string(), &bytes);
        is_clean(&format!("{} as it is read", file.display()), &readable(&String::from_utf8_lossy(&bytes)));
    }
    for name in ["findings.ndjson", "report.html", "keytrail.db"] {
        assert!(
            String::from_utf8_lossy(&std::fs::read(folder.path("out").join(name)).unwrap()).contains(MARKER),
            "{name} shows no user agent"
        );
    }
    let tickets = files.iter().filter(|file| file.extension().is_some_and(|ending| ending == "eml"));
    assert!(tickets.count() > 10, "{files:?}");
}

#[test]
fn no_secret_is_in_an_answer() {
    let folder = Folder::new();
    let (records, broken) = spoil_samples(&folder);
    let raw = folder.run(&["query", "--data", "logs", "SELECT raw, * EXCEPT (raw) FROM events"]).ok();
    is_clean_ran("query over files", &raw);
    folder.run(&["scan", "logs", "--out", "kept", "-q", "--lake", "lake"]).ok();
    let kept = folder.run(&["query", "--lake", "lake", "SELECT raw, * EXCEPT (raw) FROM events"]).ok();
    assert!(!kept.rows().is_empty() && kept.rows().len() == raw.rows().len());
    is_clean_ran("query over the lake", &kept);
    assert_eq!(raw.rows().len(), records);
    assert!(raw.stdout.contains(MARKER));
    folder.run(&["scan", "logs", "--out", "out", "-q"]).ok();
    let rejects = folder.run(&["query", "--store", "out/keytrail.db", "SELECT * FROM rejects"]).ok();
    is_clean_ran("the rejects", &rejects);
    assert_eq!(rejects.rows().len(), broken);
    // A line that breaks off could end inside a secret: its position is kept, its bytes are not.
    assert!(!rejects.stdout.contains(MARKER), "the rejects keep broken records: {}", rejects.stdout);
    assert!(rejects.rows().iter().all(|row| row["position"].is_string() && row["reason"].is_string()));
    for table in ["findings", "actions", "credentials", "edges", "tickets"] {
        let ran = folder.run(&["query", "--store", "out/keytrail.db", &format!("SELECT * FROM {table}")]).ok();
        assert!(!ran.rows().is_empty(), "{table}");
        is_clean_ran(table, &ran);
    }
}

#[test]
fn the_search_finds_each_form() {
    for (kind, secret) in canaries() {
        for form in forms(&secret) {
            let hidden = [b"before ".as_slice(), &form, b" after"].concat();
            assert!(leaks(&hidden).contains(&kind), "{kind} as {}", String::from_utf8_lossy(&form));
        }
    }
    assert_eq!(readable("a=3D=\nb"), b"a=b");
}
