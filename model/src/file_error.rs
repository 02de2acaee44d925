//! Reading a YAML file that a person wrote, and saying what is wrong with it: file, line, value, remedy.
//!
//! Takes text, not paths: nothing here opens a file.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_saphyr::Error as YamlError;

use crate::did_you_mean;

/// One thing wrong in one file. `line` is `None` where no single line is to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct FileError {
    pub file: String,
    pub line: Option<u64>,
    pub message: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.message),
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}

impl FileError {
    #[must_use]
    pub fn new(file: &str, line: Option<u64>, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, message: message.into() }
    }
}

/// Reads one YAML document; an unknown key or value is named with the nearest known one.
pub fn read_yaml<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, FileError> {
    serde_saphyr::from_str(text).map_err(|error| in_our_words(file, &error))
}

fn in_our_words(file: &str, error: &YamlError) -> FileError {
    let error = error.without_snippet();
    let line = error.location().map(|location| location.line());
    let message = match error {
        YamlError::SerdeUnknownField { field, expected, .. } => {
            let hint = did_you_mean(field, expected.iter().copied());
            format!("unknown key `{field}`{hint} (known here: {})", expected.join(", "))
        }
        YamlError::SerdeUnknownVariant { variant, expected, .. } => {
            let hint = did_you_mean(variant, expected.iter().copied());
            format!("unknown value `{variant}`{hint} (known here: {})", expected.join(", "))
        }
        YamlError::SerdeMissingField { field, .. } => format!("missing key `{field}`: add `{field}: …`"),
        YamlError::DuplicateMappingKey { key, .. } => {
            format!("key `{}` stands twice in one mapping: keep one", key.as_deref().unwrap_or("?"))
        }
        other => in_one_line(&other.to_string()),
    };
    FileError { file: file.to_owned(), line, message }
}

/// Lower-case, one line, without the position that is said before it.
fn in_one_line(text: &str) -> String {
    let text = text.lines().next().unwrap_or_default();
    let text = text.split(" at line ").next().unwrap_or_default();
    lower_first(text.trim_end_matches('.'))
}

/// How messages begin here: somebody else's sentence with its first letter in lower case.
#[must_use]
pub fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::read_yaml;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[expect(dead_code, reason = "read by serde only")]
        severity: u32,
    }

    fn message(text: &str) -> String {
        read_yaml::<Sample>("a.yaml", text).expect_err("an error").to_string()
    }

    #[test]
    fn names_line_value_and_remedy() {
        assert_eq!(
            message("severity: 1\nsevrity: 2\n"),
            "a.yaml:2: unknown key `sevrity`, did you mean `severity`? (known here: severity)"
        );
        assert!(message("{}").contains("missing key `severity`"), "{}", message("{}"));
        assert!(
            message("severity: 1\nseverity: 2\n").contains("stands twice"),
            "{}",
            message("severity: 1\nseverity: 2\n")
        );
        assert!(message("severity: [").starts_with("a.yaml:"), "{}", message("severity: ["));
    }
}
