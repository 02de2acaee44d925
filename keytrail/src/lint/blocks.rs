//! A YAML file as blocks of lines, one for each top-level key with the comments above it. Nothing is parsed and printed
//! again, so that comments, quotes and line breaks survive every change.

/// The lines of one top-level key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub key: String,
    pub lines: Vec<String>,
    /// How many lines above the key belong to it.
    pub above: usize,
}

/// Comments at the top, the blocks, and comments at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocks {
    pub header: Vec<String>,
    pub blocks: Vec<Block>,
    pub footer: Vec<String>,
}

impl Blocks {
    /// `None` for what is not one mapping written in block style.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let mut found = Self::default();
        let mut pending: Vec<String> = Vec::new();
        for line in text.lines() {
            if let Some(key) = key(line) {
                let above = std::mem::take(&mut pending);
                let (header, above) = if found.blocks.is_empty() { split_header(above) } else { (Vec::new(), above) };
                found.header.extend(header);
                let (key, count) = (key.to_owned(), above.len());
                found.blocks.push(Block { key, above: count, lines: [above, vec![line.to_owned()]].concat() });
            } else if is_aside(line) {
                pending.push(line.to_owned());
            } else {
                let block = found.blocks.last_mut()?;
                block.lines.append(&mut pending);
                block.lines.push(line.to_owned());
            }
        }
        found.footer = pending;
        (!found.blocks.is_empty()).then_some(found)
    }

    #[must_use]
    pub fn text(&self) -> String {
        let lines = self.header.iter().chain(self.blocks.iter().flat_map(|block| &block.lines)).chain(&self.footer);
        lines.map(|line| format!("{line}\n")).collect()
    }

    /// One-based line of a block's key.
    #[must_use]
    pub fn line(&self, index: usize) -> u64 {
        let before: usize = self.blocks.iter().take(index).map(|block| block.lines.len()).sum();
        let above = self.blocks.get(index).map_or(0, |block| block.above);
        (self.header.len() + before + above + 1) as u64
    }

    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.blocks.iter().any(|block| block.key == key)
    }
}

/// A comment or empty line at the left edge: whose it is, is known when the next line is.
fn is_aside(line: &str) -> bool {
    line.trim().is_empty() || line.starts_with('#')
}

/// What stands above the first key up to the last empty line, document marks included, is the file's.
fn split_header(mut lines: Vec<String>) -> (Vec<String>, Vec<String>) {
    let mark = |line: &String| line.trim().is_empty() || line.starts_with("# yaml-language-server:") || line == "---";
    let ends = lines.iter().rposition(mark).map_or(0, |last| last + 1);
    let rest = lines.split_off(ends);
    (lines, rest)
}

/// The key of a line like `severity: high`.
fn key(line: &str) -> Option<&str> {
    let (key, rest) = line.split_once(':')?;
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_-+".contains(letter);
    let is_key = !key.is_empty() && key.chars().all(plain) && !key.starts_with('-');
    (is_key && (rest.is_empty() || rest.starts_with([' ', '\t']))).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_go_with_the_key_below_them() {
        let text =
            "# the file\n\n# about id\nid: a\ntitle: b\n\n# why high\nseverity: high\nwhere: |\n  x\n\n  y\n# end\n";
        let blocks = Blocks::of(text).expect("blocks");
        assert_eq!(blocks.header, ["# the file", ""]);
        assert_eq!(blocks.blocks.iter().map(|block| block.lines.len()).collect::<Vec<_>>(), [2, 1, 3, 4]);
        assert_eq!((blocks.line(0), blocks.line(2), blocks.footer.len()), (4, 8, 1));
        assert_eq!(blocks.text(), text);
        assert_eq!(Blocks::of("- a: 1\n"), None);
        assert_eq!(Blocks::of("{a: 1}\n"), None);
    }
}
