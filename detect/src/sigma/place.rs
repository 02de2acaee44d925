//! Where in a rule file something stands, for errors that are found long after the YAML was read.

use rsigma_parser::reference::MODIFIERS;

use keytrail_model::{FileError, did_you_mean, lower_first};

/// The text of one document, its file, and the line of the file on which it starts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    file: String,
    text: String,
    first: u64,
}

/// Something wrong in a detection, and the line to blame where one was found.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    /// Empty where the rule's own is meant.
    pub(crate) file: String,
    pub(crate) line: Option<u64>,
    pub(crate) message: String,
}

impl Place {
    pub(crate) fn new(file: &str, text: &str) -> Self {
        Self { file: file.to_owned(), text: text.to_owned(), first: 1 }
    }

    /// The documents of a file, each with its place.
    pub(crate) fn documents(file: &str, text: &str) -> Vec<Self> {
        let file = || file.to_owned();
        let mut found = Vec::new();
        let mut first = 1;
        let mut lines = Vec::new();
        for (number, line) in (1u64..).zip(text.lines()) {
            if line.trim_end() == "---" || line.starts_with("--- ") {
                found.push(Self { file: file(), text: lines.join("\n"), first });
                lines.clear();
                first = number + 1;
            } else {
                lines.push(line);
            }
        }
        found.push(Self { file: file(), text: lines.join("\n"), first });
        found
    }

    /// Whether a top-level key has that value.
    pub(crate) fn says(&self, key: &str, value: &str) -> bool {
        let said = |line: &str| {
            let written = line.strip_prefix(key)?.strip_prefix(':')?.trim();
            let written = written.split(" #").next()?.trim_end().trim_matches(['\'', '"']);
            (written == value).then_some(())
        };
        self.text.lines().any(|line| said(line).is_some())
    }

    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    pub(crate) fn has_key(&self, key: &str) -> bool {
        self.text.lines().any(|line| is_key(line, key))
    }

    /// Where a key stands, or else any text.
    pub(crate) fn line_of(&self, needle: &str) -> Option<u64> {
        if needle.is_empty() {
            return None;
        }
        let numbered = || (self.first..).zip(self.text.lines());
        let detection = || numbered().skip_while(|(_, line)| !line.starts_with("detection:"));
        let key = detection().chain(numbered()).find(|(_, line)| is_key(line, needle));
        key.or_else(|| numbered().find(|(_, line)| line.contains(needle))).map(|(number, _)| number)
    }

    pub(crate) fn fault(&self, needle: &str, message: impl Into<String>) -> Fault {
        Fault { file: self.file.clone(), line: self.line_of(needle), message: message.into() }
    }

    /// An error of Sigma's parser in our words, with the line it means.
    pub(crate) fn parser_error(&self, error: &str) -> FileError {
        let quoted = error.split(['\'', '`', '"']).nth(1).unwrap_or_default();
        let line = said_line(error).map(|line| line + self.first - 1);
        let line = line.or_else(|| if error.contains("ondition") { self.line_of("condition") } else { None });
        let line = line.or_else(|| self.line_of(&format!("|{quoted}")).filter(|_| !quoted.is_empty()));
        let line = line.or_else(|| self.line_of(quoted)).or_else(|| self.line_of("detection"));
        let hint = if error.contains("modifier") { nearest_modifier(quoted) } else { String::new() };
        FileError::new(&self.file, line, format!("{}{hint}", lower(error)))
    }
}

fn nearest_modifier(written: &str) -> String {
    let parts = ["minute", "hour", "day", "week", "month", "year"];
    did_you_mean(written, MODIFIERS.iter().map(|(name, _)| *name).chain(parts))
}

fn is_key(line: &str, needle: &str) -> bool {
    let line = line.trim_start().trim_start_matches("- ").trim_start().trim_start_matches(['{', '\'', '"']);
    line.strip_prefix(needle).is_some_and(|rest| rest.starts_with([':', '|', '\'', '"']))
}

/// `… at line 7 column 3`, as the YAML reader says it.
fn said_line(error: &str) -> Option<u64> {
    let rest = error.split("at line ").nth(1)?;
    rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

/// One line, lower case at the start, without a full stop, in backticks.
fn lower(error: &str) -> String {
    let line = error.lines().next().unwrap_or_default().trim_end_matches(['.', ':']);
    lower_first(line).replace('\'', "`")
}
