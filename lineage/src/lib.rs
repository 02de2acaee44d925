//! Who owns a credential, which agent uses it, what it was made from, what it may do: inventory, facts, guardrails.
//!
//! Pure: file texts come in as (name, text) pairs, events as batches. No I/O, no clock, no tokio, no DataFusion.

mod arn;
mod enrich;
mod facts;
mod glob;
mod guardrail;
mod hops;
mod inventory;
mod memo;
mod owner;
mod scope;
mod tables;

pub use enrich::{ENRICHED, Enricher};
pub use facts::{Creation, Facts, Issuance, LIFE, ToolCall};
pub use glob::Glob;
pub use guardrail::{Decision, Effect, Guardrail, GuardrailRequest, Guardrails, Point, Tagged};
pub use inventory::{Agent, Credential, Inventory, Lease, Principal, Resource, Task};
pub use owner::Subject;
pub use scope::Done;
