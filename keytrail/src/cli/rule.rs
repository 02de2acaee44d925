//! The command line of `keytrail rule`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use keytrail_model::{Micros, Severity};

use super::{RuleSet, date, severity};

#[derive(Debug, Subcommand)]
pub enum Rule {
    /// List the rules, those switched off included.
    List(List),
    /// Run the tests inside the rule files: of the given files or folders, or of all rules.
    Test(Test),
    /// Check rules, exceptions and overlays without running them: of the given files or folders, or of all.
    Lint(Lint),
    /// Run rules over logs of the past, without writing anything: findings by day, owners, actions that would be planned.
    Backtest(Backtest),
    /// Show which techniques, risks and log sources the rules cover, and which promised ones they do not.
    Coverage(Coverage),
    /// List the event columns, and with a log source what fills them and what else its records hold.
    Fields {
        /// aws.cloudtrail, gcp.audit, …
        source: Option<String>,
        #[command(flatten)]
        rule_set: RuleSet,
    },
    /// List the functions that rules and mappings can call, beside DataFusion's own.
    Functions,
    /// Print the JSON Schema of a rule file, an exception file or an overlay file, for editors.
    Schema {
        /// Which file.
        #[arg(value_enum, default_value_t = FileKind::Rule)]
        of: FileKind,
    },
    /// Show a rule in full: what it reads, what it looks for, how it groups, what it leads to, what changes it. With
    /// --event: why rules find that event and why not, clause by clause.
    Explain(Explain),
}

#[derive(Debug, Args)]
pub struct Explain {
    /// Rule id; with --event, all rules that read the event's log source unless said.
    #[arg(required_unless_present = "event")]
    pub id: Option<String>,
    /// The events of a log file, of one line of it, or of stdin (`-`).
    #[arg(long, value_name = "FILE[:LINE]")]
    pub event: Option<String>,
    /// How many events of the file.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
    /// How many rules that miss an event are told of, the nearest first.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub misses: usize,
    #[command(flatten)]
    pub rule_set: RuleSet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FileKind {
    Rule,
    Exception,
    Overlay,
}

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    pub rule_set: RuleSet,
    /// Only rules in this state.
    #[arg(long, value_parser = ["off", "shadow", "on"])]
    pub state: Option<String>,
    /// Only rules that read this log source.
    #[arg(long)]
    pub source: Option<String>,
    /// Only rules with a tag that begins like this.
    #[arg(long)]
    pub tag: Option<String>,
    /// Only rules of this severity and graver.
    #[arg(long, value_parser = severity)]
    pub severity: Option<Severity>,
}

#[derive(Debug, Args)]
pub struct Test {
    /// Rule files or folders; all rules unless said.
    pub paths: Vec<PathBuf>,
    #[command(flatten)]
    pub rule_set: RuleSet,
    /// Write the results as JUnit XML.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Lint {
    /// Files or folders; everything unless said.
    pub paths: Vec<PathBuf>,
    #[command(flatten)]
    pub rule_set: RuleSet,
    /// Print problems as a SARIF 2.1.0 log instead of rows.
    #[arg(long, value_enum, default_value_t = LintFormat::Text)]
    pub format: LintFormat,
    /// Write problems as a SARIF 2.1.0 log.
    #[arg(long, value_name = "FILE")]
    pub sarif: Option<PathBuf>,
    /// Put right in the files what needs no judgement: order and spelling of keys, case of tags, a missing id.
    #[arg(long, requires = "paths")]
    pub fix: bool,
    /// With --fix: begin each file with the line that tells editors where its schema is. A folder or a URL.
    #[arg(long, value_name = "SCHEMAS", requires = "fix")]
    pub editor_header: Option<String>,
    /// Report exceptions that have expired by this date. There is no other clock.
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub as_of: Option<Micros>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LintFormat {
    Text,
    Sarif,
}

#[derive(Debug, Args)]
pub struct Coverage {
    #[command(flatten)]
    pub rule_set: RuleSet,
    /// Write an ATT&CK Navigator layer: a technique's score is the number of rules for it.
    #[arg(long, value_name = "FILE")]
    pub navigator: Option<PathBuf>,
    /// Exit with 1 when something promised in coverage.yaml has no rule that is on.
    #[arg(long)]
    pub fail_on_gaps: bool,
}

#[derive(Debug, Args)]
pub struct Backtest {
    /// Files, folders or globs. Repeatable.
    #[arg(long, value_name = "PATH")]
    pub data: Vec<String>,
    /// The events of this lake, a folder or an s3://, gs:// or az:// URL; the configuration's unless said. With --since
    /// only those days are read: what went before them, such as who issued a credential, is not known then.
    #[arg(long, value_name = "PLACE", conflicts_with = "data")]
    pub lake: Option<String>,
    /// Only events from this date or RFC 3339 time on.
    #[arg(long, value_name = "TIME", value_parser = date)]
    pub since: Option<Micros>,
    /// Only events before this date or RFC 3339 time.
    #[arg(long, value_name = "TIME", value_parser = date)]
    pub until: Option<Micros>,
    /// Only this rule, by id. Repeatable.
    #[arg(long, value_name = "ID")]
    pub rule: Vec<String>,
    #[command(flatten)]
    pub rule_set: RuleSet,
    /// Threads that read and match; all cores unless said. The findings do not depend on it.
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Print each finding instead of a row for each rule.
    #[arg(long)]
    pub findings: bool,
    /// Leave out owners, lineage, plans and tickets: quicker, when only the matches are of interest.
    #[arg(long)]
    pub detect_only: bool,
}
