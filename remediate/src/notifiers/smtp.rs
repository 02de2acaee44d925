//! Tickets through a mail server. Plain text only to this very machine; everywhere else TLS is a must.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls as SmtpTls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use serde::Deserialize;

use super::{Notifier, NotifyError};
use crate::mail::message;
use crate::ticket::Ticket;

const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// Only to loopback.
    None,
    /// Port 587: plain first, then TLS or nothing.
    #[default]
    Starttls,
    /// Port 465: TLS from the first byte.
    Tls,
}

/// The `smtp:` block of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmtpConfig {
    pub host: String,
    /// 587 with STARTTLS, 465 with TLS, 25 without, unless written.
    #[serde(default)]
    pub port: Option<u16>,
    #[serde(default)]
    pub tls: Tls,
    /// Sender: `Keytrail <keytrail@example.com>`.
    pub from: String,
    #[serde(default)]
    pub username: Option<String>,
    /// Name of the environment variable that holds the password.
    #[serde(default)]
    pub password_env: Option<String>,
    /// File that holds the password, its last line break aside.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// PEM file of a private certificate authority, besides those of the system.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

/// Goes to the mail server and nowhere else: neither shown nor serialised.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(hidden)")
    }
}

impl SmtpConfig {
    /// The password from where the configuration says. `environment` looks a variable up: only the binary reads it.
    ///
    /// # Errors
    /// When both places or a missing one are named, or a user name stands without a password.
    pub fn password(&self, environment: impl Fn(&str) -> Option<String>) -> Result<Option<Password>, NotifyError> {
        let found = match (&self.password_env, &self.password_file) {
            (Some(_), Some(_)) => Err("both `password_env` and `password_file` are given: keep one".to_owned()),
            (Some(name), None) => environment(name)
                .map(Some)
                .ok_or_else(|| format!("environment variable `{name}` is not set (`password_env`)")),
            (None, Some(path)) => read(path).map(|text| Some(text.trim_end_matches(['\r', '\n']).to_owned())),
            (None, None) => Ok(None),
        };
        let password = found.map_err(NotifyError::Rejected)?.map(Password);
        if self.username.is_some() != password.is_some() {
            let reason =
                "`username` and a password belong together: give `password_env` or `password_file`, or neither";
            return Err(NotifyError::Rejected(reason.to_owned()));
        }
        Ok(password)
    }

    fn port(&self) -> u16 {
        self.port.unwrap_or(match self.tls {
            Tls::None => 25,
            Tls::Starttls => 587,
            Tls::Tls => 465,
        })
    }

    fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }

    fn security(&self) -> Result<SmtpTls, NotifyError> {
        if self.tls == Tls::None && self.is_loopback() {
            return Ok(SmtpTls::None);
        }
        if self.tls == Tls::None {
            let reason =
                format!("`tls: none` would send tickets to `{}` in plain text: write `tls: starttls`", self.host);
            return Err(NotifyError::Rejected(reason));
        }
        let mut parameters = TlsParameters::builder(self.host.clone());
        if let Some(path) = &self.ca_file {
            let text = read(path).map_err(NotifyError::Rejected)?;
            let bad = |error| NotifyError::Rejected(format!("`{}` holds no PEM certificate: {error}", path.display()));
            parameters = parameters.add_root_certificate(Certificate::from_pem(text.as_bytes()).map_err(bad)?);
        }
        let parameters = parameters.build().map_err(|error| NotifyError::Rejected(chain(&error)))?;
        Ok(if self.tls == Tls::Tls { SmtpTls::Wrapper(parameters) } else { SmtpTls::Required(parameters) })
    }
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("cannot read `{}`: {error}", path.display()))
}

#[derive(Clone, Debug)]
pub struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    place: String,
    from: String,
    /// For the whole delivery: the transport itself bounds only the connecting.
    patience: Duration,
}

impl Smtp {
    /// # Errors
    /// When the configuration would send in plain text over a network, or names what cannot be read.
    pub fn new(config: &SmtpConfig, password: Option<Password>) -> Result<Self, NotifyError> {
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&config.host)
            .port(config.port())
            .timeout(Some(PATIENCE))
            .tls(config.security()?);
        if let (Some(user), Some(Password(password))) = (&config.username, password) {
            builder = builder.credentials(Credentials::new(user.clone(), password));
        }
        let place = format!("smtp:{}:{}", config.host, config.port());
        Ok(Self { transport: builder.build(), place, from: config.from.clone(), patience: PATIENCE })
    }
}

#[async_trait]
impl Notifier for Smtp {
    fn name(&self) -> &'static str {
        "smtp"
    }

    /// Mail cannot be changed once sent: an update goes out under the same Message-ID.
    async fn upsert(&self, ticket: &Ticket) -> Result<String, NotifyError> {
        let message = message(ticket, &self.from)?;
        let sent = tokio::time::timeout(self.patience, self.transport.send(message)).await;
        let Ok(sent) = sent else {
            let seconds = self.patience.as_secs_f32();
            return Err(NotifyError::TryAgain(format!("`{}` did not answer within {seconds} s", self.place)));
        };
        match sent {
            Ok(_) => Ok(self.place.clone()),
            Err(error) if error.is_permanent() || error.is_client() => Err(NotifyError::Rejected(self.said(&error))),
            Err(error) => Err(NotifyError::TryAgain(self.said(&error))),
        }
    }
}

impl Smtp {
    fn said(&self, error: &lettre::transport::smtp::Error) -> String {
        format!("`{}` did not take the ticket: {}", self.place, chain(error))
    }
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text.replace(['\r', '\n'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> SmtpConfig {
        serde_saphyr::from_str(text).expect("a configuration")
    }

    #[test]
    fn plain_text_stays_on_this_machine() {
        let far = Smtp::new(&config("{host: mail.example.com, tls: none, from: k@example.com}"), None);
        assert!(far.is_err_and(|error| error.to_string().contains("starttls")));
        for host in ["127.0.0.1", "'::1'", "localhost"] {
            assert!(Smtp::new(&config(&format!("{{host: {host}, tls: none, from: k@example.com}}")), None).is_ok());
        }
    }

    #[test]
    fn the_password_comes_from_one_place_and_is_never_shown() {
        let by_name = config("{host: localhost, from: k@example.com, username: u, password_env: MAIL_WORD}");
        let word =
            by_name.password(|name| (name == "MAIL_WORD").then(|| "open-sesame".to_owned())).expect("a password");
        assert!(!format!("{word:?} {by_name:?}").contains("sesame"));
        assert!(by_name.password(|_| None).is_err_and(|error| error.to_string().contains("MAIL_WORD")));
        let alone = config("{host: localhost, from: k@example.com, username: u}");
        assert!(alone.password(|_| None).is_err());
    }

    #[tokio::test]
    async fn a_silent_server_is_not_waited_for_for_ever() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = silent.local_addr().expect("an address").port();
        let config = config(&format!("{{host: 127.0.0.1, port: {port}, tls: none, from: k@example.com}}"));
        let smtp = Smtp { patience: Duration::from_millis(200), ..Smtp::new(&config, None).expect("a notifier") };
        let sent = smtp.upsert(&super::super::contract::ticket()).await;
        assert!(matches!(&sent, Err(NotifyError::TryAgain(reason)) if reason.contains("did not answer")), "{sent:?}");
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        let read = serde_saphyr::from_str::<SmtpConfig>("{host: a, from: b@example.com, password: x}");
        assert!(read.is_err_and(|error| error.to_string().contains("password")));
    }
}
