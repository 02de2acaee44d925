//! Rules to findings: reads rule files (SQL and Sigma), plans them with DataFusion, evaluates batches, groups matches.
//!
//! Pure: no I/O, no clock. Never sees a record's bytes, only event columns and the raw paths that its rules name.

mod compile;
mod detector;
mod dialect;
mod group;
mod load;
mod rule;
mod sigma;
mod template;

pub use compile::SourceFields;
pub use detector::{Detector, RuleFailure};
pub use dialect::{Dialect, Dialects};
pub use load::{Loaded, Vocabulary, load};
pub use rule::{Body, Rule, RuleTest, Sources, Status};
pub use sigma::{Placeholders, SigmaBody};
