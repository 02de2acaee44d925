//! Every pattern with a text that it must change and one that it must leave alone. The secrets are put together at run
//! time, so that no scanner takes this file for a leak.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::patterns::{Kind, PATTERNS};
use super::*;

fn redacted(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    Redactor::shared().redact(&mut bytes);
    assert_eq!(bytes.len(), text.len(), "{text}");
    String::from_utf8(bytes).expect("still text")
}

fn letters(count: usize) -> String {
    "aB3dE6gH9j".chars().cycle().take(count).collect()
}

/// Needle, what stands before the secret, the secret, what stands after it, and a text to leave alone.
fn shape_rows() -> Vec<(&'static str, String, String, String, String)> {
    let row = |needle, before: &str, secret: String, after: &str, other: &str| {
        (needle, before.to_owned(), secret, after.to_owned(), other.to_owned())
    };
    let jwt = format!("{}.{}.{}", letters(20), letters(40), letters(30));
    let pem = format!("\\n{}\\n{}\\n", letters(64), letters(12));
    vec![
        row("sig", "https://x.example.com/?sv=1&sig=", letters(20), "&se=2", "design=1&sigma=2"),
        row("pwd", "Server=x;Pwd=", letters(9), ";", "pwd: /home"),
        row("code_verifier", "code_verifier=", letters(9), "&x=1", "code_verifier is absent"),
        row("--password", "mysql --password ", letters(9), " -h x", "mysql --password --help"),
        row("--token", "tool --token=", letters(9), " run", "tool --tokens 3"),
        row("--secret", "tool --secret '", letters(9), "'", "tool --secret-id abc"),
        row("sk-", "key sk-", format!("ant-api03-{}", letters(30)), " end", "task-force-number-12-and-more-words"),
        row("xox", "xoxb-", letters(20), "", "xoxo and then some more words"),
        row("8Q~", "", format!("ab18Q~{}", letters(34)), "", "a 8Q~ b"),
        row("eyJ", "token eyJ", jwt, " end", "eyJhbGciOi is only a start"),
        row("-----BEGIN ", "-----BEGIN RSA PRIVATE KEY-----", pem, "-----END", "-----BEGIN CERTIFICATE-----\\nabc"),
        row("://", "https://bob:", letters(9), "@example.com/x", "https://example.com:8080/a@b"),
        row("Bearer ", "Bearer ", letters(24), "", "Bearer authentication-not-configured"),
        row("Basic ", "Basic ", letters(24), "", "Basic understanding"),
        row("aws_secret_access_key", "aws_secret_access_key = ", letters(40), "", "aws_secret_access_key is unset"),
    ]
}

#[test]
fn every_shape_hides_its_secret_and_nothing_else() {
    let rows = shape_rows();
    for pattern in PATTERNS.iter().filter(|p| matches!(p.kind, Kind::Shape(_) | Kind::Assigned | Kind::Argument)) {
        let (_, before, secret, after, other) =
            rows.iter().find(|row| row.0 == pattern.needle).unwrap_or_else(|| panic!("no row for {}", pattern.needle));
        let hidden = format!("{before}{}{after}", "*".repeat(secret.len()));
        assert_eq!(redacted(&format!("{before}{secret}{after}")), hidden, "{}", pattern.needle);
        assert_eq!(&redacted(other), other, "{}", pattern.needle);
    }
}

#[test]
fn every_prefix_hides_what_follows_it_when_it_is_long_enough() {
    for pattern in PATTERNS {
        let Kind::Prefix(_, least) = pattern.kind else { continue };
        let body = "a1b2c3d4e5".repeat(6);
        for before in ["", "x=", "\\n", "\""] {
            let hidden = format!("{before}{}{}", pattern.needle, "*".repeat(60));
            assert_eq!(redacted(&format!("{before}{}{body}", pattern.needle)), hidden);
        }
        let short = format!("{}{}", pattern.needle, body.get(..least - 1).expect("longer"));
        assert_eq!(redacted(&short), short);
        let inside = format!("word{}{body}", pattern.needle);
        assert_eq!(redacted(&inside), inside);
    }
}

#[test]
fn every_key_hides_its_scalar_at_every_level_of_escaping() {
    for pattern in PATTERNS.iter().filter(|pattern| matches!(pattern.kind, Kind::Key | Kind::Header)) {
        for key in [pattern.needle.to_owned(), pattern.needle.to_uppercase(), pattern.needle.to_lowercase()] {
            let mut value = json!({"before": "kept", key.clone(): "s3cr\"e\\t\n", "after": "kept", "n": 1});
            for level in 0..4 {
                let text = redacted(&value.to_string());
                assert!(!text.contains("s3cr"), "{key} at {level}: {text}");
                assert_eq!(text.matches("kept").count(), 2, "{key} at {level}: {text}");
                serde_json::from_str::<Value>(&text).expect("valid");
                value = json!({"body": value.to_string(), "list": ["kept as well".len()]});
            }
            assert_eq!(redacted(&format!(r#"{{"{key}":-12.5e3}}"#)), format!(r#"{{"{key}":-10.0e0}}"#));
            let other = format!(r#"{{"{key}":{{"a":"kept"}},"{key}Id":"kept","{key}_my":"kept","x":"{key}"}}"#);
            assert_eq!(redacted(&other), other);
        }
    }
}

#[test]
fn names_that_end_like_a_secret_hide_it_too() {
    for pattern in PATTERNS.iter().filter(|pattern| matches!(pattern.kind, Kind::Tail)) {
        let name = format!("DB{}", pattern.needle.to_uppercase());
        assert_eq!(redacted(&format!(r#"{{"{name}":"abc"}}"#)), format!(r#"{{"{name}":"***"}}"#));
        assert_eq!(redacted(&format!(r#"{{\"{name}\":\"abc\"}}"#)), format!(r#"{{\"{name}\":\"***\"}}"#));
        assert_eq!(redacted(&format!("export {name}=abc;")), format!("export {name}=***;"));
        let other = format!(r#"{{"{name}_ID":"abc","x":"{name}"}}"#);
        assert_eq!(redacted(&other), other);
    }
}

#[test]
fn identifiers_stay() {
    for key in [
        "secretId",
        "accessKeyId",
        "hashed_token",
        "token_id",
        "tokenHash",
        "nextToken",
        "clientRequestToken",
        "sessionTokenId",
        "bearerTokenType",
        "passwordResetRequired",
        "keyId",
        "secretArn",
        "uti",
    ] {
        let text = format!(r#"{{"{key}":"AKIAIOSFODNN7EXAMPLE"}}"#);
        assert_eq!(redacted(&text), text);
    }
}

#[test]
fn endless_near_misses_stay_cheap() {
    let pem = "-----BEGIN PRIVATE KEY-----{";
    for near in ["eyJ-", "sk-a-", "8Q~", pem, "://", "\"token\" ", "token=", "xoxB-", "\\\\\""] {
        redacted(&near.repeat(10_000));
    }
}

#[test]
fn azures_authorization_text_stays() {
    let text = json!({"Authorization": "{\r\n \"scope\": \"/subscriptions/x\", \"action\": \"y\"}"}).to_string();
    assert_eq!(redacted(&text), text);
}

#[test]
fn half_a_record_is_served_as_well() {
    assert_eq!(
        redacted("{\"a\":1,\"password\":\"abc\n{\"b\":\"kept\"}"),
        "{\"a\":1,\"password\":\"***\n{\"b\":\"kept\"}"
    );
    assert_eq!(redacted(r#"x\"sessionToken\": \"abc"#), r#"x\"sessionToken\": \"***"#);
    assert_eq!(Redactor::shared().excerpt(br#"{"password": "abc"#), r#"{"password": "***"#);
}

#[test]
fn query_parameters_are_hidden_one_by_one() {
    let text = "https://b.example.com/k?X-Amz-Credential=EXAMPLE&X-Amz-Signature=abc&access_token=def&next_token=kept";
    let hidden =
        "https://b.example.com/k?X-Amz-Credential=EXAMPLE&X-Amz-Signature=***&access_token=***&next_token=kept";
    assert_eq!(redacted(text), hidden);
    assert_eq!(redacted(r"?a=1\u0026token=abc\u0026b=2"), r"?a=1\u0026token=***\u0026b=2");
    assert_eq!(redacted(r"?a=1\u0026token\u003dabc"), r"?a=1\u0026token\u003d***");
    assert_eq!(redacted("?url=x%3Ftoken%3Dabc&b=2"), "?url=x%3Ftoken%3D***&b=2");
}

#[test]
fn a_mappings_own_paths_are_blanked_whole() {
    let mut text = br#"{"a":[1,"two",{"k":"v\"w"}],"b":-3.5,"c":true,"d":null}"#.to_vec();
    let all = 0..text.len();
    redact_range(&mut text, all);
    let blank = br#"{"a":[1,"***",{"k":"****"}],"b":-1.0,"c":true,"d":null}"#;
    assert_eq!(String::from_utf8_lossy(&text), String::from_utf8_lossy(blank));
    let mut text = br#"{"a":"two"}"#.to_vec();
    redact_range(&mut text, 6..9);
    assert_eq!(text, br#"{"a":"***"}"#);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-zA-Z\"\\\\\n:/@= é]{0,12}".prop_map(Value::from),
        Just(Value::from(format!("eyJ{0}.{0}.{0}", "a1".repeat(6)))),
        Just(Value::from("https://u:p\"@x?token=a\\&sig=b")),
        Just(Value::from("-----BEGIN PRIVATE KEY-----\nab\\\"")),
    ];
    let key = prop_oneof!["[a-z\"\\\\]{0,4}", Just("password".to_owned()), Just("Token".to_owned())];
    leaf.prop_recursive(4, 32, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(key.clone(), inner.clone(), 0..4).prop_map(|map| json!(map)),
            inner.prop_map(|value| Value::from(value.to_string())),
        ]
    })
}

proptest! {
    #[test]
    fn json_stays_json_and_redaction_is_settled_after_once(value in any_json()) {
        let text = value.to_string();
        let once = redacted(&text);
        prop_assert!(serde_json::from_str::<Value>(&once).is_ok(), "{} → {}", text, once);
        prop_assert_eq!(redacted(&once), once);
    }

    #[test]
    fn blanking_keeps_the_shape(value in any_json()) {
        let mut bytes = value.to_string().into_bytes();
        let all = 0..bytes.len();
        redact_range(&mut bytes, all);
        prop_assert!(serde_json::from_slice::<Value>(&bytes).is_ok());
    }

    #[test]
    fn any_bytes_are_survived(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let len = bytes.len();
        Redactor::shared().redact(&mut bytes);
        redact_range(&mut bytes, 0..len);
        prop_assert_eq!(bytes.len(), len);
    }
}
