//! Amazon's transports: objects announced through SQS, and CloudTrail's own API.
//!
//! Whatever calls Amazon goes through `access`; nothing here knows what stands in a record.

mod access;
mod checks;
mod cloudtrail;
mod digest;
mod keys;
mod listing;
mod lookup;
mod notify;
mod objects;
mod proof;
mod queue;
mod sqs;
mod stream;
#[cfg(test)]
mod tests;

use std::time::Duration;

use keytrail_model::Micros;

use super::SourceError;
use super::durations::read;

pub use cloudtrail::{CloudTrail, CloudTrailConfig};
pub use sqs::{Folder, Sqs, SqsConfig};

/// A length of time as it is written in the configuration, within bounds.
fn length(
    source: &str,
    key: &str,
    text: Option<&str>,
    default: Duration,
    (least, most): (Duration, Duration),
) -> Result<Duration, SourceError> {
    let Some(text) = text else { return Ok(default) };
    let within = read(text).filter(|length| (least..=most).contains(length));
    within.ok_or_else(|| {
        let fault =
            format!("`{key}: {text}` is no length of time from {least:?} to {most:?}; write it as `90s`, `5m` or `7d`");
        SourceError::config(source, fault)
    })
}

/// What Amazon's services compare signatures and event times with.
#[expect(clippy::disallowed_methods, reason = "a credential expires and a window closes by the clock")]
fn now() -> Micros {
    Micros(jiff::Timestamp::now().as_microsecond())
}

/// `arn:aws:sqs:…`; China and the government's regions are partitions of their own.
fn partition(region: &str) -> &'static str {
    match region {
        _ if region.starts_with("cn-") => "aws-cn",
        _ if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}
