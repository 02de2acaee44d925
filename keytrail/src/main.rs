//! Parses the command line, runs one command, turns its end into an exit code.

use std::process::ExitCode;

use keytrail::{cli, commands, failure};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    // Several libraries speak TLS: one provider for all of them. An error means that there is one already.
    rustls::crypto::ring::default_provider().install_default().ok();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failure::report(&anyhow::anyhow!("cannot start: {error}")),
    };
    let done = runtime.block_on(commands::run(cli));
    // Who is told twice to stop does not wait for what still works.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}
