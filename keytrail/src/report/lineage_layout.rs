//! Where the boxes of a lineage picture stand: columns by distance from the start, rows by what they hang from.

use keytrail_model::Hop;

/// Boxes in one column; what is beyond stands as "+ n more".
const ROWS: usize = 6;
/// Hops read into one picture.
const HOPS: usize = 200;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) kind: String,
    pub(super) label: String,
    pub(super) column: usize,
    pub(super) row: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Line {
    Declared,
    Observed,
    /// Denied, or breaks a guardrail.
    Denied,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) words: Vec<String>,
    pub(super) line: Line,
}

#[derive(Debug, Default)]
pub(super) struct Layout {
    pub(super) nodes: Vec<Node>,
    pub(super) edges: Vec<Edge>,
    pub(super) columns: usize,
    pub(super) rows: usize,
}

impl Layout {
    pub(super) fn new(hops: &[Hop]) -> Self {
        let mut layout = Self::default();
        for hop in hops.iter().take(HOPS) {
            let from = layout.node(&hop.from_kind, &hop.from);
            let to = layout.node(&hop.to_kind, &hop.to);
            layout.edge(from, to, &hop.edge, line(hop));
        }
        layout.place_in_columns();
        layout.fold_long_columns();
        layout.place_in_rows();
        layout
    }

    fn node(&mut self, kind: &str, label: &str) -> usize {
        if let Some(index) = self.nodes.iter().position(|node| node.kind == kind && node.label == label) {
            return index;
        }
        self.nodes.push(Node { kind: kind.to_owned(), label: label.to_owned(), column: 0, row: 0 });
        self.nodes.len() - 1
    }

    /// One line between two boxes, whatever happened between them; the gravest decides how it is drawn.
    fn edge(&mut self, from: usize, to: usize, word: &str, line: Line) {
        let known = self.edges.iter_mut().find(|edge| edge.from == from && edge.to == to);
        let Some(edge) = known else {
            self.edges.push(Edge { from, to, words: vec![word.to_owned()], line });
            return;
        };
        edge.line = edge.line.max(line);
        if !edge.words.iter().any(|known| known == word) {
            edge.words.push(word.to_owned());
        }
    }

    /// Longest path from the start. The rounds are bounded, so that a circle ends too.
    fn place_in_columns(&mut self) {
        for _ in 0..self.nodes.len().min(12) {
            for edge in &self.edges {
                let least = self.nodes.get(edge.from).map_or(0, |node| node.column + 1);
                if edge.from != edge.to
                    && let Some(node) = self.nodes.get_mut(edge.to)
                {
                    node.column = node.column.max(least);
                }
            }
        }
        let mut used: Vec<_> = self.nodes.iter().map(|node| node.column).collect();
        used.sort_unstable();
        used.dedup();
        for node in &mut self.nodes {
            node.column = used.binary_search(&node.column).unwrap_or(0);
        }
        self.columns = used.len();
    }

    fn fold_long_columns(&mut self) {
        for column in 0..self.columns {
            let members: Vec<_> = (0..self.nodes.len()).filter(|index| self.column(*index) == Some(column)).collect();
            let (Some(folded), true) = (members.get(ROWS - 1..), members.len() > ROWS) else { continue };
            let Some((&stand_in, gone)) = folded.split_first() else { continue };
            if let Some(node) = self.nodes.get_mut(stand_in) {
                node.label = format!("+ {} more", folded.len());
            }
            self.redirect(gone, stand_in);
        }
    }

    fn redirect(&mut self, gone: &[usize], stand_in: usize) {
        for edge in std::mem::take(&mut self.edges) {
            let end = |index: usize| if gone.contains(&index) { stand_in } else { index };
            for word in &edge.words {
                self.edge(end(edge.from), end(edge.to), word, edge.line);
            }
        }
        for index in gone {
            if let Some(node) = self.nodes.get_mut(*index) {
                node.column = usize::MAX;
            }
        }
    }

    fn column(&self, index: usize) -> Option<usize> {
        self.nodes.get(index).map(|node| node.column)
    }

    /// In each column, beside the boxes that lead there; in the order of the hops where that says nothing.
    fn place_in_rows(&mut self) {
        for column in 0..self.columns {
            let members = (0..self.nodes.len()).filter(|index| self.column(*index) == Some(column));
            let mut ordered: Vec<_> = members.map(|index| (self.mean_row_before(index), index)).collect();
            ordered.sort_unstable();
            self.rows = self.rows.max(ordered.len());
            for (row, (_, index)) in ordered.into_iter().enumerate() {
                if let Some(node) = self.nodes.get_mut(index) {
                    node.row = row;
                }
            }
        }
    }

    /// In hundredths of a row.
    fn mean_row_before(&self, index: usize) -> usize {
        let own = self.column(index).unwrap_or(0);
        let before = self.edges.iter().filter(|edge| edge.to == index).filter_map(|edge| self.nodes.get(edge.from));
        let rows: Vec<_> = before.filter(|node| node.column < own).map(|node| node.row * 100).collect();
        rows.iter().sum::<usize>() / rows.len().max(1)
    }
}

fn line(hop: &Hop) -> Line {
    match (hop.edge.as_str(), hop.basis.as_str()) {
        ("denied" | "breaks", _) => Line::Denied,
        (_, "observed") => Line::Observed,
        _ => Line::Declared,
    }
}

#[cfg(test)]
mod tests {
    use keytrail_model::Hop;

    use super::{Layout, Line};

    fn hop(from: &str, edge: &str, to: &str) -> Hop {
        let kind = "principal".to_owned();
        Hop {
            from_kind: kind.clone(),
            from: from.to_owned(),
            edge: edge.to_owned(),
            to_kind: kind,
            to: to.to_owned(),
            basis: "observed".to_owned(),
        }
    }

    #[test]
    fn columns_follow_the_longest_path_and_a_circle_ends() {
        let layout = Layout::new(&[hop("a", "uses", "b"), hop("b", "called", "c"), hop("a", "reached", "c")]);
        assert_eq!(layout.nodes.iter().map(|node| node.column).collect::<Vec<_>>(), [0, 1, 2]);
        let circle = Layout::new(&[hop("a", "uses", "b"), hop("b", "uses", "a"), hop("a", "uses", "a")]);
        assert_eq!((circle.columns, circle.nodes.len()), (2, 2));
    }

    #[test]
    fn two_things_between_two_boxes_are_one_line_and_the_gravest_colours_it() {
        let layout = Layout::new(&[hop("a", "called", "b"), hop("a", "denied", "b"), hop("a", "called", "b")]);
        assert_eq!(layout.edges.len(), 1);
        assert_eq!((layout.edges[0].words.join(" "), layout.edges[0].line), ("called denied".to_owned(), Line::Denied));
    }

    #[test]
    fn a_long_column_is_folded() {
        let hops: Vec<_> = (0..20).map(|n| hop("a", "reached", &format!("r{n}"))).collect();
        let layout = Layout::new(&hops);
        assert_eq!((layout.rows, layout.edges.len()), (6, 6));
        assert!(layout.nodes.iter().any(|node| node.label == "+ 15 more"));
    }
}
