//! What every notifier keeps: the same ticket is the same message, and what cannot be delivered says whether to try
//! again. The mail server is a real one, on loopback; without Python or its package the test says that it was skipped.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Eml, Notifier, NotifyError, Password, Smtp, SmtpConfig};
use crate::playbook_files::shipped;
use crate::samples::{static_key, triage};
use crate::ticket::{Ticket, tickets};

#[path = "../../../tests/servers/server.rs"]
mod server;
use server::Server;

const FROM: &str = "Keytrail <keytrail@example.com>";

pub fn ticket() -> Ticket {
    let actions = crate::plan::plan(&static_key(), &shipped(), &[]);
    tickets(&[static_key()], &actions, &triage()).remove(0)
}

fn to(address: &str) -> Ticket {
    let mut ticket = ticket();
    ticket.to.email = address.to_owned();
    ticket
}

/// The mails in a folder, oldest first.
fn mails(folder: &Path) -> Vec<String> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .map(|entries| entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect())
        .unwrap_or_default();
    paths.sort();
    paths.iter().map(|path| String::from_utf8_lossy(&std::fs::read(path).expect("a mail")).into_owned()).collect()
}

async fn keeps_the_contract(notifier: &dyn Notifier, folder: &Path) {
    let ticket = ticket();
    let first = notifier.upsert(&ticket).await.expect("delivered");
    assert!(first.contains(':'), "{first}");
    let before = mails(folder).pop().expect("a mail");
    let id = format!("Message-ID: <{}@example.com>", ticket.key);
    for header in
        [id.as_str(), "Date: Tue, 03 Nov 2026 11:42:10 +0000", "Auto-Submitted: auto-generated", "Subject: [HIGH] "]
    {
        assert!(before.contains(header), "{header}\n{before}");
    }
    assert!(before.contains("Ben Okafor") && before.contains("<ben.okafor@example.com>"), "{before}");
    assert!(before.contains("Reply-To: security-triage@example.com"), "{before}");
    assert_eq!(notifier.upsert(&ticket).await.expect("delivered again"), first);
    let after = mails(folder);
    assert!(after.iter().all(|mail| *mail == before), "{} is not deterministic", notifier.name());
    let bad = notifier.upsert(&to("no address")).await;
    assert!(matches!(&bad, Err(NotifyError::Rejected(reason)) if reason.contains("`no address`")), "{bad:?}");
}

#[tokio::test]
async fn eml_writes_one_file_for_a_ticket() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("tickets");
    keeps_the_contract(&Eml::new(&place, FROM), &place).await;
    assert_eq!(mails(&place).len(), 1, "an update makes no second file");
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("a file");
    let full = Eml::new(file.join("tickets"), FROM).upsert(&ticket()).await;
    assert!(matches!(full, Err(NotifyError::TryAgain(_))), "{full:?}");
}

/// A mail server and the folder that its mails come into.
struct Mail {
    server: Server,
    folder: tempfile::TempDir,
}

fn mail_server(arguments: &[&str]) -> Option<Mail> {
    let folder = tempfile::tempdir().expect("a folder");
    let folder_first = [folder.path().as_os_str()].into_iter().chain(arguments.iter().map(OsStr::new));
    let server = Server::start("smtp.py", &folder_first.collect::<Vec<_>>(), "no ticket was sent to a mail server")?;
    Some(Mail { server, folder })
}

fn config(more: &str) -> SmtpConfig {
    serde_saphyr::from_str(&format!("{{from: '{FROM}', {more}}}")).expect("a configuration")
}

#[tokio::test]
async fn smtp_delivers_to_a_real_server() {
    let Some(server) = mail_server(&[]) else { return };
    let smtp = Smtp::new(&config(&format!("host: 127.0.0.1, tls: none, port: {}", server.server.port)), None)
        .expect("a notifier");
    keeps_the_contract(&smtp, server.folder.path()).await;
    assert_eq!(mails(server.folder.path()).len(), 2);
    let refused = smtp.upsert(&to("reject@example.com")).await;
    assert!(
        matches!(&refused, Err(NotifyError::Rejected(reason)) if reason.contains("no such mailbox")),
        "{refused:?}"
    );
    let later = smtp.upsert(&to("later@example.com")).await;
    assert!(matches!(&later, Err(NotifyError::TryAgain(reason)) if reason.contains("greylisted")), "{later:?}");
    drop(server);
    let gone = smtp.upsert(&ticket()).await;
    assert!(matches!(gone, Err(NotifyError::TryAgain(_))), "{gone:?}");
}

/// A certificate for `localhost` and its key, made for this run only.
fn certificate(folder: &Path) -> Option<(String, String)> {
    let (pem, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&pem)
        .stderr(Stdio::null())
        .status();
    made.is_ok_and(|status| status.success()).then(|| (pem.display().to_string(), key.display().to_string()))
}

#[tokio::test]
async fn smtp_logs_in_only_behind_tls_that_it_trusts() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some((pem, key)) = certificate(folder.path()) else {
        eprintln!("skipped: openssl makes no certificate, so STARTTLS was not tried");
        return;
    };
    let Some(server) = mail_server(&[&pem, &key, "keytrail", "open-sesame"]) else { return };
    let with = |word: &str, more: &str| {
        let text =
            format!("host: localhost, port: {}, username: keytrail, password_env: WORD{more}", server.server.port);
        let config = config(&text);
        let password: Option<Password> = config.password(|_| Some(word.to_owned())).expect("a password");
        Smtp::new(&config, password).expect("a notifier")
    };
    let trusted = format!(", ca_file: '{pem}'");
    with("open-sesame", &trusted).upsert(&ticket()).await.expect("delivered behind STARTTLS");
    assert_eq!(mails(server.folder.path()).len(), 1);
    let wrong = with("shut-sesame", &trusted).upsert(&ticket()).await.expect_err("a wrong password");
    assert!(matches!(&wrong, NotifyError::Rejected(reason) if !reason.contains("sesame")), "{wrong:?}");
    assert!(with("open-sesame", "").upsert(&ticket()).await.is_err(), "an unknown authority is not trusted");
    assert_eq!(mails(server.folder.path()).len(), 1);
}
