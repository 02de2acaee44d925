//! From files to events: framing, field plan, scan, redaction and envelopes; then mappings.
//!
//! Knows no rule: only the raw paths that rules need.

mod chunk;
mod columns;
mod decode;
mod files;
mod frame;
mod layout;
mod limits;
mod mapping;
mod normalise;
mod plan;
mod redact;
mod scan;
mod source_plan;
pub mod sources;
mod trusted;

pub use chunk::{Chunk, Span};
pub use columns::Columns;
pub use decode::{Envelope, Unwrapped};
pub use files::{Files, ReadError, expand};
pub use frame::Reader;
pub use limits::Limits;
pub use mapping::{Condition, Mapping};
pub use normalise::{Needed, Normalised, Normaliser, Unfinished, Unknown};
pub use plan::FieldPlan;
pub use redact::{Redactor, redact_range};
pub use scan::{Fault, Row, Slot, check_text, scan};
