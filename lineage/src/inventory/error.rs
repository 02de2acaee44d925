//! What is wrong with an inventory file, where, and what to do about it.

use std::fmt;

use keytrail_model::did_you_mean;
use serde_saphyr::Error as YamlError;

/// One thing wrong with the inventory. `line` is `None` where no single line is to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct InventoryError {
    pub file: String,
    pub line: Option<u64>,
    pub message: String,
}

impl fmt::Display for InventoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.message),
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}

impl InventoryError {
    pub(super) fn new(place: &Place, message: String) -> Self {
        Self { file: place.file.clone(), line: Some(place.line), message }
    }

    /// What the YAML reader said, in our words where it is a key.
    pub(super) fn of_yaml(file: &str, error: &YamlError) -> Self {
        let error = error.without_snippet();
        let line = error.location().map(|location| location.line());
        let message = match error {
            YamlError::SerdeUnknownField { field, expected, .. } => format!(
                "unknown key `{field}`{}{}",
                did_you_mean(field, expected.iter().copied()),
                format_args!("; known here: {}", expected.join(", ")),
            ),
            YamlError::SerdeMissingField { field, .. } => format!("missing key `{field}`: add `{field}: …`"),
            YamlError::DuplicateMappingKey { key, .. } => {
                format!("key `{}` stands twice in one mapping: keep one", key.as_deref().unwrap_or("?"))
            }
            other => in_one_line(&other.to_string()),
        };
        Self { file: file.to_owned(), line, message }
    }
}

/// Lower-case, one line, without the position that is said before it.
fn in_one_line(text: &str) -> String {
    let text = text.lines().next().unwrap_or_default();
    let text = text.split(" at line ").next().unwrap_or_default();
    let mut chars = text.trim_end_matches('.').chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// File and line of a declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub file: String,
    pub line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}
