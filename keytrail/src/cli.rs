//! The command line. Data goes to stdout, progress and messages to stderr.

mod rule;
pub mod service;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum, error::ErrorKind};
use keytrail_model::{Micros, Severity};

pub use rule::{Backtest, Coverage, Explain, FileKind, Lint, LintFormat, List, Rule, Test};
pub use service::{Run, Source, Status, Tail};

/// Watches every credential that machines and AI agents consume, across clouds; finds misuse, names the owner, plans the
/// exact containment and writes the ticket.
#[derive(Debug, Parser)]
#[command(name = "keytrail", version, max_term_width = 110, after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "Examples:
  keytrail demo                                   see what it does, on logs that it brings along
  keytrail scan cloudtrail/ --report report.html  look through your own logs
  keytrail query --data cloudtrail/ \"SELECT credential, count(*) n FROM events GROUP BY 1\"
  keytrail rule test my-rules/                    test your own rules, offline

Exit codes: 0 done, 1 findings where --fail-on asked for none or failed rule tests,
2 a rule does not compile, 3 configuration or usage, 4 a provider refused, 5 the guard stopped it.";

#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Configuration file; without it `keytrail.yaml` in this folder, if there is one.
    #[arg(short, long, global = true, value_name = "FILE", env = "KEYTRAIL_CONFIG")]
    pub config: Option<PathBuf>,
    /// How to print data: table on a terminal and ndjson in a pipe, unless said.
    #[arg(short, long, global = true, value_enum)]
    pub output: Option<Format>,
    /// Say nothing but data and errors.
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Table,
    Ndjson,
    Json,
    Csv,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Replay the embedded sample events through the whole pipeline, in shadow mode; nothing else is needed.
    Demo(Demo),
    /// Look through log files: .json, .jsonl, .gz, .zst, in every envelope; the log source is recognised.
    Scan(Scan),
    /// Run the service: read every source of the configuration as it comes, and tell owners what is found.
    Run(Run),
    /// Sources of the configuration: list, check, lag, reconcile, backfill, replay-rejects.
    #[command(subcommand)]
    Source(Source),
    /// How the service does, as its store tells.
    Status(Status),
    /// Findings as they come.
    Tail(Tail),
    /// Run SQL over scanned files or over the store: events, findings, actions, credentials, owners, edges, tickets, rejects.
    Query(Query),
    /// Rules: list, test, lint, coverage, fields, functions, schema, explain.
    #[command(subcommand)]
    Rule(Rule),
    /// Findings in the store.
    #[command(subcommand)]
    Finding(Finding),
    /// Planned actions in the store.
    #[command(subcommand)]
    Action(Action),
    /// Credentials seen in use.
    #[command(subcommand)]
    Credential(Credential),
    /// Events kept as Parquet: what is there, compacting, deleting what is old.
    #[command(subcommand)]
    Lake(Lake),
    /// The configuration file.
    #[command(subcommand)]
    Config(Config),
    /// Print the version.
    Version,
    /// Print a shell completion script.
    Completion {
        /// bash, zsh, fish, elvish or powershell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub struct Demo {
    /// Folder for findings.ndjson, report.html, tickets/ and the store.
    #[arg(long, value_name = "DIR", default_value = "keytrail-demo")]
    pub out: PathBuf,
}

/// Which rules and which inventory.
#[derive(Clone, Debug, Default, Args)]
pub struct RuleSet {
    /// More rules: a folder with detections/, exceptions/, overlays/, guardrails/, playbooks/, inventory/, mappings/,
    /// dialects/, placeholders/, or one of plain rule files (Sigma too). A file with the name of a shipped one replaces
    /// it. Repeatable.
    #[arg(long, value_name = "DIR")]
    pub rules: Vec<PathBuf>,
    /// Leave the shipped detection rules out.
    #[arg(long)]
    pub no_builtin_rules: bool,
    /// Leave rules out that do not load, and say which and why, instead of ending the run.
    #[arg(long)]
    pub skip_bad_rules: bool,
    /// Inventory file or folder: owners, agents, declared tasks. Repeatable.
    #[arg(long, value_name = "PATH")]
    pub inventory: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Scan {
    /// Files, folders or globs.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<String>,
    #[command(flatten)]
    pub rule_set: RuleSet,
    /// Folder for findings.ndjson, tickets/ and the store; the configuration's `out` or `keytrail-out` unless said.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Write nothing to disk, only print.
    #[arg(long, conflicts_with_all = ["out", "report"])]
    pub dry_run: bool,
    /// Threads that read and match; all cores unless said. The findings do not depend on it.
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Keep the events too: in this lake, a folder or an s3://, gs:// or az:// URL. Reads on one thread.
    #[arg(long, value_name = "PLACE", conflicts_with = "dry_run")]
    pub lake: Option<String>,
    /// Write a self-contained HTML report.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Exit with 1 when there is a finding of this severity or a graver one.
    #[arg(long, value_name = "SEVERITY", value_parser = severity)]
    pub fail_on: Option<Severity>,
}

#[derive(Debug, Args)]
pub struct Query {
    /// One SELECT. Tables: events, findings, actions, credentials, owners, edges, tickets, rejects.
    pub sql: String,
    /// Scan these files and query what they hold; without it the store is queried. Repeatable.
    #[arg(long, value_name = "PATH")]
    pub data: Vec<String>,
    #[command(flatten)]
    pub rule_set: RuleSet,
    /// Query the events of this lake, with the store's findings beside them.
    #[arg(long, value_name = "PLACE", conflicts_with = "data")]
    pub lake: Option<String>,
    /// Store to query.
    #[arg(long, value_name = "FILE")]
    pub store: Option<PathBuf>,
}

/// Where findings are kept.
#[derive(Clone, Debug, Default, Args)]
pub struct StorePath {
    /// Store file; the configuration's, or keytrail-out/keytrail.db unless said.
    #[arg(long, value_name = "FILE")]
    pub store: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Finding {
    /// List findings, worst first.
    List {
        #[command(flatten)]
        store: StorePath,
        /// Only this severity and graver.
        #[arg(long, value_parser = severity)]
        severity: Option<Severity>,
        /// Only findings of this rule.
        #[arg(long)]
        rule: Option<String>,
        /// Only findings of this owner, by id.
        #[arg(long)]
        owner: Option<String>,
        /// Only findings about this credential, by id.
        #[arg(long)]
        credential: Option<String>,
        /// Also findings that no longer hold after late events.
        #[arg(long)]
        superseded: bool,
    },
    /// Show one finding with its evidence, owner and plan.
    Show {
        /// Finding id, or the start of one.
        id: String,
        #[command(flatten)]
        store: StorePath,
    },
    /// Say why it is a finding, why this owner and why this plan.
    Explain {
        /// Finding id, or the start of one.
        id: String,
        #[command(flatten)]
        store: StorePath,
        #[command(flatten)]
        rule_set: RuleSet,
    },
}

#[derive(Debug, Subcommand)]
pub enum Action {
    /// List planned actions.
    List {
        #[command(flatten)]
        store: StorePath,
        /// Only those of this finding.
        #[arg(long)]
        finding: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum Credential {
    /// List credentials seen in use.
    List {
        #[command(flatten)]
        store: StorePath,
        /// Only this lifetime.
        #[arg(long, value_parser = ["static", "derived_from_static", "ephemeral", "unknown"])]
        lifetime: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum Lake {
    /// How much there is of each log source, and of which days.
    List {
        /// The lake; the configuration's unless said.
        #[arg(long, value_name = "PLACE")]
        lake: Option<String>,
    },
    /// Put the small files of each day together, and leave one of several copies of a record.
    Compact {
        /// The lake; the configuration's unless said.
        #[arg(long, value_name = "PLACE")]
        lake: Option<String>,
    },
    /// Delete the events of days that are past keeping.
    Prune {
        /// The lake; the configuration's unless said.
        #[arg(long, value_name = "PLACE")]
        lake: Option<String>,
        /// Days that ended before this date.
        #[arg(long, value_name = "DATE", value_parser = date, required_unless_present = "bytes_max")]
        before: Option<Micros>,
        /// The oldest days, until the rest is no more than this.
        #[arg(long, value_name = "BYTES")]
        bytes_max: Option<u64>,
        /// Say what would be deleted, and delete nothing.
        #[arg(long)]
        dry_run: bool,
    },
}

/// A date or a time.
pub fn date(text: &str) -> Result<Micros, String> {
    Micros::parse(text).ok_or_else(|| "it is a date like 2027-03-31, or an RFC 3339 time".to_owned())
}

#[derive(Debug, Subcommand)]
pub enum Config {
    /// Write a commented configuration file and a starting inventory.
    Init {
        /// Where to write it; the inventory and the schema go beside it.
        #[arg(default_value = "keytrail.yaml")]
        path: PathBuf,
        /// Overwrite.
        #[arg(long)]
        force: bool,
    },
    /// Check the configuration and everything that it names.
    Validate,
    /// Print the configuration as it is in force.
    Show,
    /// Print the JSON Schema of the configuration file.
    Schema,
}

fn severity(text: &str) -> Result<Severity, String> {
    let names = Severity::ALL.map(Severity::name);
    let found = Severity::ALL.into_iter().find(|severity| severity.name() == text);
    found.ok_or_else(|| format!("it is one of {}", names.join(", ")))
}

/// Parses; a usage error ends with 3, so that it cannot be read as a rule error.
pub fn parse() -> Result<Cli, ExitCode> {
    Cli::try_parse().map_err(|error| {
        error.print().ok();
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
            _ => ExitCode::from(3),
        }
    })
}

/// Completion script. As text, because the generator panics when it writes to a closed pipe.
#[must_use]
pub fn completion(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "keytrail", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
