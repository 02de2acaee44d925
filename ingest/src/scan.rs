//! One pass over one record: the planned values' places go into a row, every other subtree is skipped.
//!
//! Nothing is copied and nothing is built. A skipped subtree is checked for its strings, scalars and brackets only, not
//! for its commas. Recursion follows the plan, so it is bounded by the depth limit whatever the bytes are.

mod row;
mod text;

use std::ops::Range;

use crate::Limits;
use crate::plan::{FieldPlan, Node};

pub use row::{Row, Slot};
pub use text::check_text;
pub(crate) use text::unescape;

/// Why a record cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Fault {
    /// From the record's first byte.
    pub byte: usize,
    /// One lower-case sentence with the remedy.
    pub reason: String,
}

/// Fills `row` from the record at `span` of `chunk`. After a fault the row holds what came before it.
pub fn scan(chunk: &[u8], span: Range<usize>, plan: &FieldPlan, limits: &Limits, row: &mut Row) -> Result<(), Fault> {
    row.reset(plan);
    let start = span.start;
    let bytes = u32::try_from(span.end).ok().and_then(|_| chunk.get(..span.end)).unwrap_or_default();
    let mut scanner = Scanner { bytes, at: start, depth: 0, depth_max: limits.depth_max.min(128), plan, row };
    scanner.record().map_err(|fault| Fault { byte: fault.byte.saturating_sub(start), ..fault })
}

/// A string's place, quotes left out.
struct Text {
    start: usize,
    end: usize,
    escaped: bool,
}

impl Text {
    fn slot(&self) -> Slot {
        let (start, len) = narrow(self.start, self.end);
        if self.escaped { Slot::Escaped { start, len } } else { Slot::Plain { start, len } }
    }
}

/// `scan` refuses chunks of 4 GiB, so nothing is lost.
fn narrow(start: usize, end: usize) -> (u32, u32) {
    let wide = |at| u32::try_from(at).unwrap_or(u32::MAX);
    (wide(start), wide(end.saturating_sub(start)))
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    depth_max: usize,
    plan: &'a FieldPlan,
    row: &'a mut Row,
}

impl<'a> Scanner<'a> {
    fn record(&mut self) -> Result<(), Fault> {
        match self.plan.node(0) {
            Some(root) => self.value(root)?,
            None => self.skip()?,
        }
        match self.token() {
            None => Ok(()),
            Some(byte) => Err(self.fault(&format!(
                "the record ends before this `{}`; put each record on a line of its own",
                byte.escape_ascii()
            ))),
        }
    }

    fn value(&mut self, node: &'a Node) -> Result<(), Fault> {
        let first = self.token();
        let start = self.at;
        self.row.set(&node.presents, Slot::Reached);
        match first {
            Some(b'"') => {
                let slot = self.string()?.slot();
                self.leaf(node, slot, true);
            }
            Some(b'{') => {
                self.object(node)?;
                let slot = self.since(start);
                self.leaf(node, slot, true);
            }
            Some(b'[') => {
                self.array(node)?;
                let slot = self.since(start);
                self.leaf(node, slot, false);
            }
            _ => {
                let null = self.scalar()? == b'n';
                let slot = if null { Slot::Null } else { self.since(start) };
                self.leaf(node, slot, true);
            }
        }
        Ok(())
    }

    #[inline]
    fn leaf(&mut self, node: &Node, slot: Slot, whole: bool) {
        self.row.set(&node.texts, slot);
        self.row.push(&node.lists, slot);
        if whole {
            self.row.push(&node.anys, slot);
        }
    }

    fn since(&self, start: usize) -> Slot {
        let (start, len) = narrow(start, self.at);
        Slot::Plain { start, len }
    }

    fn object(&mut self, node: &'a Node) -> Result<(), Fault> {
        if !node.has_edges() {
            return self.skip_container();
        }
        self.enter()?;
        let object = self.row.next_object();
        if self.token() == Some(b'}') {
            self.leave();
            return Ok(());
        }
        loop {
            self.member(node, object)?;
            if self.separator(b'}')? {
                self.leave();
                return Ok(());
            }
        }
    }

    fn member(&mut self, node: &'a Node, object: u32) -> Result<(), Fault> {
        if self.token() != Some(b'"') {
            return Err(self.unexpected("a key in quotes"));
        }
        let at = self.at;
        let key = self.string()?;
        let child = self.child(node, &key);
        if self.token() != Some(b':') {
            return Err(self.unexpected("`:` after a key"));
        }
        self.at += 1;
        let Some(child) = child else { return self.skip() };
        if self.row.seen(child, object) {
            return Err(self.duplicate(at, &key));
        }
        match self.plan.node(child) {
            Some(child) => self.value(child),
            None => self.skip(),
        }
    }

    fn child(&mut self, node: &Node, key: &Text) -> Option<u32> {
        let written = self.bytes.get(key.start..key.end)?;
        if !key.escaped {
            return node.child(written);
        }
        self.row.key.clear();
        unescape(written, &mut self.row.key);
        node.child(&self.row.key)
    }

    fn array(&mut self, node: &'a Node) -> Result<(), Fault> {
        self.row.set(&node.opens, Slot::Reached);
        self.row.set(&node.anys, Slot::Reached);
        let Some(element) = node.element.and_then(|id| self.plan.node(id)) else { return self.skip_container() };
        self.enter()?;
        if self.token() == Some(b']') {
            self.leave();
            return Ok(());
        }
        loop {
            let before = self.row.items.len();
            self.value(element)?;
            self.row.pad(&node.pads, before);
            if self.separator(b']')? {
                self.leave();
                return Ok(());
            }
        }
    }

    /// True at the closing bracket, which is left for `leave`.
    fn separator(&mut self, close: u8) -> Result<bool, Fault> {
        match self.token() {
            Some(b',') => {
                self.at += 1;
                Ok(false)
            }
            Some(byte) if byte == close => Ok(true),
            _ => Err(self.unexpected(if close == b'}' { "`,` or `}`" } else { "`,` or `]`" })),
        }
    }

    fn enter(&mut self) -> Result<(), Fault> {
        if self.depth >= self.depth_max {
            return Err(self.too_deep());
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    fn leave(&mut self) {
        self.depth -= 1;
        self.at += 1;
    }

    fn skip(&mut self) -> Result<(), Fault> {
        match self.token() {
            Some(b'"') => self.string().map(drop),
            Some(b'{' | b'[') => self.skip_container(),
            _ => self.scalar().map(drop),
        }
    }

    /// A loop and not a recursion; one bit for each open bracket says which kind it is.
    fn skip_container(&mut self) -> Result<(), Fault> {
        let mut kinds: u128 = 0;
        let mut open = 0;
        loop {
            let Some(&byte) = self.bytes.get(self.at) else { return Err(self.unexpected("a closing bracket")) };
            match byte {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' => {
                    if self.depth + open >= self.depth_max {
                        return Err(self.too_deep());
                    }
                    kinds = kinds << 1 | u128::from(byte == b'{');
                    open += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    if (kinds & 1 == 1) != (byte == b'}') {
                        return Err(self.unexpected("the other kind of bracket"));
                    }
                    kinds >>= 1;
                    open -= 1;
                    self.at += 1;
                    if open == 0 {
                        return Ok(());
                    }
                }
                b',' | b':' | b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                _ => {
                    self.scalar()?;
                }
            }
        }
    }

    /// The next byte that is not white space, without taking it.
    #[inline]
    fn token(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes.get(self.at)?;
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    #[inline]
    fn string(&mut self) -> Result<Text, Fault> {
        let start = self.at + 1;
        let mut from = start;
        let mut escaped = false;
        loop {
            let Some(stop) = text::stop(self.bytes, from) else {
                self.at = self.bytes.len();
                return Err(self.unexpected("a closing `\"`"));
            };
            if self.bytes.get(stop) == Some(&b'"') {
                self.at = stop + 1;
                return Ok(Text { start, end: stop, escaped });
            }
            escaped = true;
            from = stop + self.escape(stop)?;
        }
    }

    fn escape(&mut self, stop: usize) -> Result<usize, Fault> {
        text::escape_len(self.bytes.get(stop + 1..).unwrap_or_default()).ok_or_else(|| {
            self.at = (stop + 1).min(self.bytes.len());
            self.unexpected("an escape such as `\\n` or `\\u0041`")
        })
    }

    /// Takes a number or literal, gives its first byte.
    fn scalar(&mut self) -> Result<u8, Fault> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        match text::scalar_len(rest) {
            Some(len) => {
                self.at += len;
                Ok(rest.first().copied().unwrap_or_default())
            }
            None => Err(self.unexpected("a JSON value")),
        }
    }
}

/// Faults, kept out of the way of the scan.
impl Scanner<'_> {
    #[cold]
    fn fault(&self, reason: &str) -> Fault {
        Fault { byte: self.at, reason: reason.to_owned() }
    }

    #[cold]
    fn unexpected(&self, wanted: &str) -> Fault {
        match self.bytes.get(self.at) {
            None => self.fault(&format!("truncated: expected {wanted}; fetch the file again or restore the record")),
            Some(byte) => {
                let found = byte.escape_ascii();
                self.fault(&format!("not JSON: expected {wanted}, found `{found}`; check what wrote this record"))
            }
        }
    }

    #[cold]
    fn too_deep(&self) -> Fault {
        let max = self.depth_max;
        self.fault(&format!("nested deeper than {max} levels; no log that we know is, so check what wrote this record"))
    }

    #[cold]
    fn duplicate(&self, at: usize, key: &Text) -> Fault {
        let key = String::from_utf8_lossy(self.bytes.get(key.start..key.end).unwrap_or_default());
        let reason = format!("duplicate key `{key}`: readers disagree on which value counts; have the writer send one");
        Fault { byte: at, reason }
    }
}

#[cfg(test)]
mod tests;
