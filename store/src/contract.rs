//! The store's contract: one suite, run on a file and in memory, and what only a file can do (crash, lock, fill up).

mod file;
mod samples;
mod suite;
