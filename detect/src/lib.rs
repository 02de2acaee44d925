//! Rules to findings: reads rule files (SQL and Sigma), plans them with DataFusion, evaluates batches, groups matches.
//!
//! Pure: no I/O, no clock. Never sees a record's bytes, only event columns and the raw paths that its rules name.

mod anew;
mod compile;
mod computed;
mod detector;
mod dialect;
mod duration;
mod entries;
mod excepted;
mod exception;
mod explain;
mod filter;
mod group;
mod index;
mod joining;
mod load;
mod matches;
mod nesting;
mod overlay;
mod plan;
mod predicate;
mod progress;
mod reference;
mod rule;
mod saved;
mod seen;
mod shared;
mod sigma;
mod targets;
mod template;
#[cfg(test)]
mod tests;
mod values;
mod window;

pub use anew::{Anew, Compared};
pub use compile::{SourceFields, unknown_fields};
pub use detector::Detector;
pub use dialect::{Dialect, Dialects};
pub use exception::{Exception, attach_exceptions};
pub use explain::{
    Asked, Clause, Explained, Explainer, Found, Granted, GroupKey, Joined, KeptOut, Read, Verdict, reads,
};
pub use load::{Loaded, Vocabulary, load};
pub use matches::Matches;
pub use overlay::{Narrowed, Overlay, SETTABLE, apply_overlays};
pub use plan::Plan;
pub use progress::{Progress, REPEATS, RuleFailure};
pub use reference::{Questions, Reference};
pub use rule::{Body, Rule, RuleTest, Sources, State, Status};
pub use saved::{NewerState, Saved};
pub use sigma::{Placeholders, SigmaBody};
pub use window::{
    Column, Combination, Comparison, Condition, Entry, Kind, Lane, Match, Measure, Step, Takes, Value, Window, network,
};
