//! Text that fits a mail: wrapped at about 100 columns, and without characters that could fool a reader.

use keytrail_model::printable;

pub const WIDTH: usize = 98;

/// One paragraph. The first line starts with `first`, the others with as many blanks; a word longer than a line stays
/// whole, so that ids can be copied.
pub fn paragraph(first: &str, text: &str) -> String {
    let indent = first.chars().count();
    let mut out = first.to_owned();
    let mut column = indent;
    for word in printable(text).split_whitespace() {
        let width = word.chars().count();
        if column > indent && column + 1 + width > WIDTH {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else if column > indent {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
    }
    out.push('\n');
    out
}

/// A command in pieces, broken between pieces only and with the shell's own continuation.
pub fn shell(first: &str, pieces: &[String]) -> String {
    let indent = first.chars().count();
    let mut out = first.to_owned();
    let mut column = indent;
    for (index, piece) in pieces.iter().enumerate() {
        let width = piece.chars().count();
        if index > 0 && column + 3 + width > WIDTH {
            out.push_str(" \\\n");
            out.push_str(&" ".repeat(indent + 2));
            column = indent + 2;
        } else if index > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(piece);
        column += width;
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_longer_than_it_must_be() {
        let text = paragraph("  why  ", &"some words that go on and on ".repeat(20));
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(text.lines().skip(1).all(|line| line.starts_with("       ")), "{text}");
        assert_eq!(paragraph("- ", &"x".repeat(200)), format!("- {}\n", "x".repeat(200)));
    }

    #[test]
    fn a_user_agent_cannot_write_lines_of_its_own() {
        assert_eq!(paragraph("", "curl\r\nNOT YOURS\u{202e}?"), "curl NOT YOURS ?\n");
    }
}
