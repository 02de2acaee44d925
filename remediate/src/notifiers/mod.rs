//! The ways a ticket reaches its owner, one file each, and what all of them promise.

mod eml;
mod smtp;

pub use eml::Eml;
pub use smtp::{Password, Smtp, SmtpConfig, Tls};

use async_trait::async_trait;

use crate::ticket::Ticket;

/// Why a ticket was not delivered. Both are journalled; only the second is tried again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotifyError {
    /// It will never be taken like this: a bad address, a refused sender, a wrong configuration.
    #[error("{0}")]
    Rejected(String),
    /// It may be taken later: no connection, a full disk, a greylisting server.
    #[error("{0}")]
    TryAgain(String),
}

#[async_trait]
pub trait Notifier: Send + Sync {
    fn name(&self) -> &'static str;

    /// Delivers the ticket, or brings the one under the same key up to date. Gives where it went: `file:…`, `smtp:…`.
    async fn upsert(&self, ticket: &Ticket) -> Result<String, NotifyError>;
}

#[cfg(test)]
mod contract;
