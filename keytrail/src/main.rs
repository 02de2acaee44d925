//! The one binary: parses the command line, runs one command, turns its end into an exit code.

mod census;
mod cli;
mod commands;
mod config;
mod failure;
mod lint;
mod ocsf;
mod output;
mod pack;
mod pipeline;
mod progress;
mod report;
mod run_rules;
mod tables;

use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failure::report(&anyhow::anyhow!("cannot start: {error}")),
    };
    match runtime.block_on(commands::run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}
