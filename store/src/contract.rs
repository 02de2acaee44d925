//! The store's contract: one suite, run on a file, in memory and on `PostgreSQL`; and what only one of them can do (crash,
//! lock, fill up, go away).

mod file;
mod follow;
mod places;
mod postgres;
mod samples;
mod stream;
mod suite;
mod whole;
