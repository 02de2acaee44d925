//! The journal, its views and the state of the streaming service, on `SQLite` or `PostgreSQL`: committed whole or not at
//! all; and the lake of events.
//!
//! Reads no clock, calls no provider, knows no rule: it keeps the entries that it is given and answers from them.

mod commit;
#[cfg(test)]
mod contract;
mod credentials;
mod error;
mod fold;
mod inbox;
mod intake;
mod lake;
mod lease;
mod ledger;
mod open;
mod place;
#[cfg(test)]
#[path = "../../tests/servers/server.rs"]
mod server;
mod shard;
mod text;
mod views;

pub use commit::{Committed, entry};
pub use credentials::CredentialRow;
pub use error::StoreError;
pub use inbox::{InboxDepth, InboxRow};
pub use intake::{Expected, Held, Intake, TakenIn};
pub use lake::{Compacted, Lake, LakeError, LakeFile, Records, Scattered, Writer, Wrote, event_columns, event_schema};
pub use lease::Lease;
pub use ledger::{FORGOTTEN, LedgerTotal, Mark};
pub use open::Store;
pub use shard::{Checkpoint, STATE_VERSION, Save, Saved};
pub use views::{FindingFilter, Ticket, TicketState};
