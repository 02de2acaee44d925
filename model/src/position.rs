//! Where a record came from, and what is said of a record that could not be read.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Text;

/// A place a person can open: a file, and in it a line, a record number or a byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// File path or object name, as the user gave it.
    pub origin: Text,
    /// One-based line, where the input is line-delimited.
    pub line: Option<u64>,
    /// One-based record number inside an envelope, where there is one.
    pub record: Option<u64>,
    /// Byte offset of the record in the decompressed input.
    pub byte: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(record) = self.record {
            write!(f, " record {record}")?;
        }
        if self.line.is_none() && self.record.is_none() {
            write!(f, " byte {}", self.byte)?;
        }
        Ok(())
    }
}

/// A record that could not be read, and where it stands, so that it can be looked at and read again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reject {
    pub position: Position,
    /// One lower-case sentence: what is wrong and what to do about it.
    pub reason: String,
    /// The record after redaction, cut to a bounded length; empty when it could not be read whole and so not be redacted
    /// for certain. The position says where it stands.
    pub record: String,
}
