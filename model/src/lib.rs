//! The nouns that every stage shares: the event's schema, findings, actions, owners, journal entries and ids.
//!
//! Does no I/O, reads no clock, knows no DataFusion. Stages import this crate and never each other.

mod action;
mod credential;
mod entry;
mod events;
mod file_error;
mod finding;
mod id;
mod nearest;
mod owner;
mod path;
mod position;
mod printable;
pub mod schema;
mod selected;
mod severity;
mod static_key;
pub mod tables;
mod text;
mod time;

pub use action::{Action, Call, Mode, Refusal, Undo};
pub use credential::Target;
pub use entry::{Entry, EntryBody};
pub use events::{EventBatch, Origins, Place};
pub use file_error::{FileError, lower_first, read_yaml};
pub use finding::{Example, Finding, Hop};
pub use id::stable_id;
pub use nearest::{did_you_mean, nearest, nearest_known};
pub use owner::{Evidence, Owner, OwnerKind, Ownership};
pub use path::{RawPath, Segment, Want};
pub use position::{Position, Reject};
pub use printable::{misleads, printable, printable_lines};
pub use selected::Selected;
pub use severity::Severity;
pub use static_key::static_key_of;
pub use text::Text;
pub use time::Micros;
