//! The command line of the service.

use clap::{Args, Subcommand};
use keytrail_model::{Micros, Severity};

use super::{RuleSet, StorePath, date, severity};

#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    pub rule_set: RuleSet,
    /// Read what is there, evaluate all of it, tell, and stop.
    #[arg(long)]
    pub once: bool,
    /// Check the configuration, rules, store and what each source may do, and stop.
    #[arg(long, conflicts_with = "once")]
    pub check: bool,
    /// How to log on stderr.
    #[arg(long, value_name = "FORMAT", value_parser = ["text", "json"], default_value = "text")]
    pub log: String,
}

#[derive(Debug, Subcommand)]
pub enum Source {
    /// The sources and what was taken in of each.
    List,
    /// What each source may and may not do, with the remedy; 4 when something is missing.
    Check {
        /// Only this one.
        name: Option<String>,
    },
    /// How far behind each source is.
    Lag {
        /// Only this one.
        name: Option<String>,
    },
    /// Hold what providers list against what was taken in; 1 when there is a gap.
    Reconcile {
        /// Only this one.
        name: Option<String>,
        #[command(flatten)]
        period: Period,
    },
    /// Take in what reconcile finds missing; sources without a list are asked for the whole period, and what was taken in
    /// before is passed by.
    Backfill {
        /// Which source.
        name: String,
        #[command(flatten)]
        period: Period,
    },
    /// Read again what became rejects, after whatever was wrong was set right.
    ReplayRejects {
        /// Which source.
        name: String,
    },
}

#[derive(Clone, Copy, Debug, Args)]
pub struct Period {
    /// From this date or time on; a day ago unless said.
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub since: Option<Micros>,
    /// Up to this date or time; now unless said.
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub until: Option<Micros>,
}

#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    pub store: StorePath,
}

#[derive(Debug, Args)]
pub struct Tail {
    #[command(flatten)]
    pub store: StorePath,
    /// Only this severity and graver.
    #[arg(long, value_parser = severity)]
    pub severity: Option<Severity>,
    /// Begin with so many of the latest.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub last: usize,
    /// Stop once those are shown.
    #[arg(long)]
    pub no_follow: bool,
}
