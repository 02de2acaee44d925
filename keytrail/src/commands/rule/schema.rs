//! `keytrail rule schema`.

use anyhow::Result;

use crate::cli::FileKind;
use crate::output;
use crate::rule_schema::schema;

pub fn run(of: FileKind) -> Result<()> {
    output::text(&format!("{}\n", serde_json::to_string_pretty(&schema(of))?))
}
