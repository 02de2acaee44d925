//! The journal and its views on `SQLite`: what was found, planned, told and refused, committed whole or not at all; and the
//! lake of events.
//!
//! Reads no clock, calls no provider, knows no rule: it keeps the entries that it is given and answers from them.

mod commit;
#[cfg(test)]
mod contract;
mod credentials;
mod error;
mod fold;
mod lake;
mod open;
mod views;

pub use commit::{Committed, entry};
pub use credentials::CredentialRow;
pub use error::StoreError;
pub use lake::{Compacted, Lake, LakeError, LakeFile, Records, Writer, Wrote, event_columns, event_schema};
pub use open::Store;
pub use views::{FindingFilter, Ticket, TicketState};
