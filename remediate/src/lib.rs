//! From a finding to a plan of exact provider calls, and to the ticket that its owner reads.
//!
//! Plans and writes; it does not call a provider, read a clock, the environment or the event log.
//! The binary hands it findings and journals what it gives back.

mod aws;
mod command;
mod gcp;
mod github;
mod guard;
mod mail;
mod notifiers;
mod plan;
mod playbook;
#[cfg(test)]
mod playbook_files;
mod refusal;
mod remediator;
mod remediators;
#[cfg(test)]
mod samples;
mod ticket;
mod ticket_body;
mod wrap;

pub use command::command;
pub use notifiers::{Eml, Notifier, NotifyError, Password, Smtp, SmtpConfig, Tls};
pub use plan::plan;
pub use playbook::{Filter, Lifetime, Playbook, Playbooks, Step};
pub use remediator::{Plan, Remediator};
pub use remediators::REMEDIATORS;
pub use ticket::{Ticket, ticket_count, tickets};
