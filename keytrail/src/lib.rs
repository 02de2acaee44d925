//! The binary's parts, as a library so that tests can call what the command line calls.

pub mod census;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod coverage;
pub mod failure;
pub mod feed;
pub mod junit;
pub mod lint;
pub mod ocsf;
pub mod output;
pub mod pack;
pub mod pipeline;
pub mod progress;
pub mod report;
pub mod rule_schema;
pub mod run_rules;
pub mod sarif;
pub mod service;
pub mod tables;
pub mod tuning;
