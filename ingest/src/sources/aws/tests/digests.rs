//! CloudTrail's digests, made here with a key of this run as CloudTrail makes them.

use std::path::Path;
use std::process::Command;

use object_store::{Attribute, Attributes, PutOptions};
use ring::rand::SystemRandom;
use ring::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::json;

use super::*;
use crate::sources::aws::digest::hex;
use crate::sources::aws::sqs::Folder;
use crate::sources::{Listed, Listing, Proof};

const ACCOUNT: &str = "AWSLogs/111122223333";

struct Signer {
    folder: tempfile::TempDir,
    pair: RsaKeyPair,
}

impl Signer {
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let secret = folder.path().join("key.der");
        let mut make = Command::new("openssl");
        make.args([
            "genpkey",
            "-quiet",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
            "-outform",
            "DER",
            "-out",
        ]);
        if !make.arg(&secret).stderr(std::process::Stdio::null()).status().is_ok_and(|status| status.success()) {
            let mut make = Command::new("openssl");
            make.args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-outform", "DER", "-out"]);
            let made = make.arg(&secret).stderr(std::process::Stdio::null()).status();
            if !made.is_ok_and(|status| status.success()) {
                eprintln!("skipped: no digest was verified: openssl makes no key");
                return None;
            }
        }
        let mut public = Command::new("openssl");
        public.args(["pkey", "-inform", "DER", "-pubout", "-in"]).arg(&secret).arg("-out");
        assert!(public.arg(folder.path().join("public.pem")).status().expect("openssl").success());
        let pair = std::fs::read(&secret).expect("a key");
        let pair = RsaKeyPair::from_pkcs8(&pair).or_else(|_| RsaKeyPair::from_der(&pair)).expect("a key");
        Some(Self { folder, pair })
    }

    /// With its algorithm, as PEM.
    fn pem(&self) -> std::path::PathBuf {
        self.folder.path().join("public.pem")
    }

    /// Bare, as CloudTrail gives it.
    fn bare(&self) -> std::path::PathBuf {
        use base64::Engine;
        let file = self.folder.path().join("public.b64");
        let text = base64::engine::general_purpose::STANDARD.encode(self.pair.public_key().as_ref());
        std::fs::write(&file, text).expect("written");
        file
    }

    fn sign(&self, text: &str) -> String {
        let mut signature = vec![0; self.pair.public().modulus_len()];
        self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).expect("signed");
        hex(&signature)
    }
}

fn sha(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

fn today() -> String {
    now().to_string().chars().take(10).collect::<String>().replace('-', "/")
}

fn log_key(number: usize) -> String {
    format!("{ACCOUNT}/CloudTrail/us-east-1/{}/log-{number}.json.gz", today())
}

fn digest_key(number: usize) -> String {
    format!(
        "{ACCOUNT}/CloudTrail-Digest/us-east-1/{}/111122223333_CloudTrail-Digest_us-east-1_t_us-east-1_2026112{number}T000000Z.json.gz",
        today()
    )
}

/// Three digests that follow each other, each with a log file.
async fn chain(world: &World, signer: &Signer) {
    let mut before: Option<(String, String, String)> = None;
    for number in 1..=3 {
        let log = format!("{{\"Records\":[{{\"n\":{number}}}]}}");
        world.put(&log_key(number), gzip(log.as_bytes())).await;
        let (key, end) = (digest_key(number), now().to_string());
        let (previous, hash, signature) =
            before.map_or((None, None, None), |(key, hash, signature)| (Some(key), Some(hash), Some(signature)));
        let file = json!({"s3Bucket": "bucket", "s3Object": log_key(number), "hashValue": sha(log.as_bytes()), "hashAlgorithm": "SHA-256"});
        let content = json!({
            "digestEndTime": end, "digestS3Bucket": "bucket", "digestS3Object": key, "digestPublicKeyFingerprint": "f",
            "previousDigestS3Bucket": previous.as_ref().map(|_| "bucket"), "previousDigestS3Object": previous,
            "previousDigestHashValue": hash, "previousDigestSignature": signature, "logFiles": [file],
        })
        .to_string();
        let told = signature.unwrap_or_else(|| "null".to_owned());
        let signed = signer.sign(&format!("{end}\nbucket/{key}\n{}\n{told}", sha(content.as_bytes())));
        put_digest(world, &key, &content, &signed).await;
        before = Some((key, sha(content.as_bytes()), signed));
    }
}

async fn put_digest(world: &World, key: &str, content: &str, signature: &str) {
    let attributes = Attributes::from_iter([
        (Attribute::Metadata("signature".into()), signature.to_owned()),
        (Attribute::Metadata("signature-algorithm".into()), "SHA256withRSA".to_owned()),
    ]);
    let options = PutOptions { attributes, ..PutOptions::default() };
    world.store.put_opts(&path_of(key), gzip(content.as_bytes()).into(), options).await.expect("put");
}

async fn prove(world: &World, prefix: &str, key: &Path) -> (Vec<Listed>, Proof) {
    let folder = Folder { bucket: "bucket".to_owned(), prefix: prefix.to_owned(), region: None };
    let (list, digest_keys) = (vec![folder], vec![key.to_owned()]);
    let config = SqsConfig { list, digests: true, digest_keys, ..world.config() };
    let mut source = Sqs::open("test", &config, &known()).await.expect("a source");
    let (since, until) = hour(-1, 1);
    match source.listing(since, until).await.expect("a list") {
        Listing::Objects { objects, proof } => (objects, proof),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_chain_holds() {
    let Some(signer) = Signer::new() else { return };
    let Some(world) = World::start("no chain of digests was read").await else { return };
    chain(&world, &signer).await;
    let holds =
        ["3 digest files under s3://bucket/AWSLogs, signed and chained", "3 log files are what their digests say"];
    for key in [signer.pem(), signer.bare()] {
        let (listed, proof) = prove(&world, "AWSLogs", &key).await;
        assert_eq!((proof.broken, listed.len()), (Vec::new(), 3));
        assert_eq!(proof.holds, holds);
    }
    // The digests lie beside the folder that is named.
    let (listed, proof) = prove(&world, "AWSLogs/111122223333/CloudTrail", &signer.pem()).await;
    assert_eq!((proof.broken.len(), listed.len(), &proof.holds[1]), (0, 3, &holds[1].to_owned()));
    let (_, proof) = prove(&world, "none", &signer.pem()).await;
    assert!(proof.broken[0].starts_with("there is no digest file of this time under s3://bucket/none"), "{proof:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_or_taken_away_is_told() {
    let Some(signer) = Signer::new() else { return };
    let Some(world) = World::start("no digest was broken").await else { return };
    chain(&world, &signer).await;
    world.put(&log_key(1), gzip(b"{\"Records\":[]}")).await;
    world.store.delete(&path_of(&log_key(3))).await.expect("deleted");
    let (listed, proof) = prove(&world, "AWSLogs", &signer.pem()).await;
    let changed = format!("the log file s3://bucket/{} is not what its digest says: it was changed", log_key(1));
    let missing = format!("the log file s3://bucket/{} is missing: its digest names it", log_key(3));
    assert_eq!(proof.broken, [changed, missing]);
    assert_eq!(listed.len(), 3);
    assert!(listed.iter().any(|one| one.origin == format!("s3://bucket/{}#missing", log_key(3))), "{listed:?}");

    world.store.delete(&path_of(&digest_key(1))).await.expect("deleted");
    let (_, proof) = prove(&world, "AWSLogs", &signer.pem()).await;
    let missing =
        format!("the digest file s3://bucket/{} is missing: s3://bucket/{} follows it", digest_key(1), digest_key(2));
    assert!(proof.broken.contains(&missing), "{proof:?}");
    assert_eq!(proof.holds[0], "2 digest files under s3://bucket/AWSLogs, signed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cloudtrail_did_not_sign_proves_nothing() {
    let (Some(signer), Some(other)) = (Signer::new(), Signer::new()) else { return };
    let Some(world) = World::start("no signature was wrong").await else { return };
    chain(&world, &signer).await;
    let (_, proof) = prove(&world, "AWSLogs", &other.pem()).await;
    assert_eq!(proof.broken.len(), 3);
    assert!(proof.broken[0].ends_with("its signature does not verify: it was changed, or CloudTrail did not write it"));
    // A digest that is good, but in another's place.
    let moved = world.store.get(&path_of(&digest_key(1))).await.expect("there").bytes().await.expect("bytes");
    world.put(&digest_key(4), moved).await;
    // One that is not what the next one follows.
    let content = json!({
        "digestEndTime": "2026-11-25T00:00:00Z", "digestS3Bucket": "bucket", "digestS3Object": digest_key(2),
        "digestPublicKeyFingerprint": "f", "logFiles": [],
    });
    let text = format!("2026-11-25T00:00:00Z\nbucket/{}\n{}\nnull", digest_key(2), sha(content.to_string().as_bytes()));
    put_digest(&world, &digest_key(2), &content.to_string(), &signer.sign(&text)).await;
    let (_, proof) = prove(&world, "AWSLogs", &signer.pem()).await;
    let told = |part: &str| assert!(proof.broken.iter().any(|why| why.contains(part)), "{part}: {proof:?}");
    told("it was moved: it was written to s3://bucket/");
    told("follows none, though there are earlier ones");
    told(&format!(
        "the digest file s3://bucket/{} is not the one that s3://bucket/{} follows",
        digest_key(2),
        digest_key(3)
    ));
}
