//! Rules to findings: reads rule files (SQL and Sigma), plans them with DataFusion, evaluates batches, groups matches.
//!
//! Pure: no I/O, no clock. Never sees a record's bytes, only event columns and the raw paths that its rules name.

mod compile;
mod detector;
mod filter;
mod group;
mod index;
mod matcher;
mod matches;
mod plan;
mod predicate;
mod rule;
mod seen;
mod shared;
mod sigma;
mod sigma_file;
mod state;
mod template;

pub use compile::SourceFields;
pub use detector::Detector;
pub use matches::Matches;
pub use plan::Plan;
pub use rule::{Body, Rule, RuleTest, Sources, Status};
pub use state::{RuleFailure, State};
