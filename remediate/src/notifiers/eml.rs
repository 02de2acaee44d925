//! Tickets as `.eml` files that any mail program opens. The default: it needs no server and sends nothing.

use std::path::PathBuf;

use async_trait::async_trait;

use super::{Notifier, NotifyError};
use crate::mail::message;
use crate::ticket::Ticket;

/// Writes `<folder>/<key>.eml`, whole or not at all.
#[derive(Clone, Debug)]
pub struct Eml {
    folder: PathBuf,
    from: String,
}

impl Eml {
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>, from: impl Into<String>) -> Self {
        Self { folder: folder.into(), from: from.into() }
    }
}

#[async_trait]
impl Notifier for Eml {
    fn name(&self) -> &'static str {
        "eml"
    }

    async fn upsert(&self, ticket: &Ticket) -> Result<String, NotifyError> {
        let bytes = message(ticket, &self.from)?.formatted();
        let path = self.folder.join(format!("{}.eml", ticket.key));
        // A reader never sees half a ticket: it is written beside its place and then renamed.
        let part = self.folder.join(format!(".{}.part", ticket.key));
        let failed =
            |error: std::io::Error| NotifyError::TryAgain(format!("cannot write `{}`: {error}", path.display()));
        tokio::fs::create_dir_all(&self.folder).await.map_err(failed)?;
        tokio::fs::write(&part, bytes).await.map_err(failed)?;
        tokio::fs::rename(&part, &path).await.map_err(failed)?;
        Ok(format!("file:{}", path.display()))
    }
}
