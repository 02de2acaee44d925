//! The one integration test binary. Each module is a promise of the product, tested as its user meets it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::string_slice,
    reason = "a test stops at the first thing that is not as it should be"
)]

mod authoring; // what a rule author meets: tests, lints, coverage, schemas
mod backtest; // what rules would have found, on any number of threads
mod bad_days; // the service on a full disk, and what was unreadable read again
mod bad_input; // bad input gets file, position and remedy, and nothing else is lost
mod canary; // planted secrets are in no output
mod cli; // every command, format and exit code
mod correlations; // windows as Sigma and as our own rules write them, by their findings
mod demo; // what a stranger sees first
mod deploy; // container, chart, unit, dashboards: they read, and name what exists
mod dialects; // the names of public Sigma rules, asked of records
mod differential; // optimised, plain and another engine's evaluation of public rules
mod docs; // what the documentation tells people to type
mod explain; // why a rule finds an event, and why not
mod golden; // what each mapping makes of its records, column by column
mod lake; // events kept as Parquet, asked and read again
mod provider_models; // planned calls against the providers' published models
mod public_rules; // which public rules load, and why the others do not
mod reference; // the promised counts over public logs
mod reference_page; // docs/REFERENCE.md against the tables in the code
mod rule_schema; // the schemas for editors against the readers
mod rules; // every shipped rule, mapping, playbook and guardrail
mod run; // runs the binary in a folder of its own
mod running; // the binary as a service
mod service; // the service: what it finds, loses, tells and refuses
mod sigma; // Sigma files as a user brings them
mod sources; // public records of the other log sources
mod tidy; // the shape of the repository itself
mod tuning; // states, exceptions and overlays, seen in what a scan gives
