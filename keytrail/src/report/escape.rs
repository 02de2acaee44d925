//! Text into HTML. Only literals of this program are markup; every value passes through here and is inert.

use std::fmt::{Display, Write as _};

use keytrail_model::misleads;

/// HTML under construction.
#[derive(Debug, Default)]
pub(super) struct Html {
    out: String,
}

impl Html {
    /// Adds `template` with each `{}` replaced by a value, escaped for text and for quoted attributes alike.
    pub(super) fn put(&mut self, template: &'static str, values: &[&dyn Display]) {
        let mut values = values.iter();
        let mut pieces = template.split("{}").peekable();
        while let Some(piece) = pieces.next() {
            self.out.push_str(piece);
            if pieces.peek().is_some()
                && let Some(value) = values.next()
            {
                self.text(value);
            }
        }
        debug_assert!(values.next().is_none(), "more values than places in `{template}`");
    }

    pub(super) fn text(&mut self, value: impl Display) {
        let written = write!(Escaped(&mut self.out), "{value}");
        debug_assert!(written.is_ok(), "writing to a string cannot fail");
    }

    pub(super) fn into_string(self) -> String {
        self.out
    }
}

struct Escaped<'a>(&'a mut String);

impl std::fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                _ if misleads(c) && c != '\n' && c != '\t' => self.0.push(char::REPLACEMENT_CHARACTER),
                _ => self.0.push(c),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Html;

    #[test]
    fn values_are_inert_and_literals_are_markup() {
        let mut html = Html::default();
        html.put("<p title=\"{}\">{}</p>", &[&"\"' onload=", &"<script>&\u{202e}\u{0}"]);
        let expected = "<p title=\"&quot;&#39; onload=\">&lt;script&gt;&amp;\u{fffd}\u{fffd}</p>";
        assert_eq!(html.into_string(), expected);
    }

    #[test]
    fn a_value_that_looks_like_a_place_is_text() {
        let mut html = Html::default();
        html.put("{}-{}", &[&"{}", &1]);
        assert_eq!(html.into_string(), "{}-1");
    }
}
