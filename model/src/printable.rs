//! Text from logs is written by whoever made the call: what could move a cursor or turn the reading order is taken out
//! before a person sees it.

/// Control characters, and those that make text read in another order than it is written.
#[must_use]
pub fn misleads(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text with each such character replaced by a blank.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if misleads(c) { ' ' } else { c }).collect()
}

/// The same for text of several lines: line breaks are ours, every other such character came from a log.
#[must_use]
pub fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn escapes_and_direction_marks_are_gone() {
        assert_eq!(printable("curl\x1b]0;x\x07\u{202e}\r\n"), "curl ]0;x    ");
        assert_eq!(printable("Zoë → ok"), "Zoë → ok");
    }
}
