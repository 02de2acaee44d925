//! Rules to findings: reads rule files (SQL and Sigma), plans them with DataFusion, evaluates batches, groups matches.
//!
//! Pure: no I/O, no clock. Never sees a record's bytes, only event columns and the raw paths that its rules name.

mod compile;
mod detector;
mod duration;
mod entries;
mod excepted;
mod exception;
mod group;
mod matcher;
mod overlay;
mod rule;
mod sigma;
mod sigma_file;
mod template;
mod window;

pub use compile::SourceFields;
pub use detector::{Detector, RuleFailure};
pub use exception::{Exception, attach_exceptions};
pub use overlay::{Narrowed, Overlay, SETTABLE, apply_overlays};
pub use rule::{Body, Rule, RuleTest, Sources, State, Status};
pub use window::{
    Column, Combination, Comparison, Condition, Entry, Kind, Lane, Match, Measure, Seen, Step, Value, Window, network,
};
