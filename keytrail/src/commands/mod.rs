//! One file for each command; this one only sends each to its place.

mod config;
mod demo;
mod digest;
mod kept;
pub(crate) mod lake;
mod query;
mod rule;
mod run;
mod scan;
mod show;
mod source;
mod status;
mod write;

pub(crate) use write::counted;

use anyhow::Result;

use crate::cli::{Cli, Command, completion};
use crate::output;

pub async fn run(cli: Cli) -> Result<()> {
    let global = &cli.global;
    match cli.command {
        Command::Demo(demo) => demo::run(global, &demo).await,
        Command::Scan(scan) => scan::run(global, &scan).await,
        Command::Run(run) => run::run(global, &run).await,
        Command::Source(source) => source::run(global, source).await,
        Command::Status(status) => status::status(global, &status).await,
        Command::Tail(tail) => status::tail(global, &tail).await,
        Command::Query(query) => query::run(global, &query).await,
        Command::Rule(rule) => rule::run(global, rule).await,
        Command::Finding(finding) => kept::finding(global, finding).await,
        Command::Action(action) => kept::action(global, action).await,
        Command::Credential(credential) => kept::credential(global, credential).await,
        Command::Lake(command) => lake::run(global, command).await,
        Command::Config(command) => config::run(global, command),
        Command::Version => output::text(&format!("keytrail {}\n", env!("CARGO_PKG_VERSION"))),
        Command::Completion { shell } => output::text(&completion(shell)),
    }
}
