//! One expression language for mappings and rules: parses SQL, resolves dotted names to raw-path columns, plans with
//! DataFusion. Knows the event's columns and our domain functions; knows no mapping, no rule and no record.

pub mod functions;
mod joins;
mod names;
mod parse;
mod planner;

pub use joins::Join;
pub use names::{Name, Scope};
pub use parse::{Expression, Select, parse_expression, parse_select};
pub use planner::{Planner, evaluate, evaluate_flags, schema_of};

/// What is wrong with a piece of SQL. The caller adds file, rule or column.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    #[error("{0}")]
    Syntax(String),
    #[error("`{name}` is not a path{hint}")]
    Path { name: String, hint: String },
    #[error("no table is called `{name}`{hint}; rules may join credentials, owners and edges")]
    Table { name: String, hint: String },
    #[error("table {table} has no column `{name}`{hint}")]
    Column { table: &'static str, name: String, hint: String },
    #[error("{construct} is not possible in a per-event expression: {remedy}")]
    Refused { construct: String, remedy: &'static str },
    #[error("{0}")]
    Plan(String),
    #[error("gives {got}, but {want} is needed")]
    Type { got: String, want: String },
}
