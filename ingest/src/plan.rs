//! The field plan: which values of a record are wanted, as a trie over raw paths.
//!
//! A node stands for the set of paths that are still alive at a place in the record. `[]` and `[*]` make that set
//! depend on arrays too, so the trie is built like a small automaton: one edge for each key, one for "an element of
//! this array". Knows nothing of bytes beyond keys.

use std::collections::BTreeMap;

use keytrail_model::{RawPath, Want};

/// A path, how many of its segments are behind us, and whether the last one still waits for its array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Alive {
    path: u32,
    done: u32,
    waits: bool,
}

#[derive(Clone, Debug)]
struct Edge {
    key: Box<[u8]>,
    node: u32,
}

/// What is to be done with the value at a node. The numbers are columns.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    edges: Vec<Edge>,
    /// Bucket → where its edges begin; one more entry than buckets.
    buckets: Vec<u16>,
    /// The node of each element when the value is an array.
    pub(crate) element: Option<u32>,
    /// One text a record.
    pub(crate) texts: Vec<u32>,
    /// An item of a list, arrays and objects as their JSON.
    pub(crate) lists: Vec<u32>,
    /// An item of a list, arrays taken apart.
    pub(crate) anys: Vec<u32>,
    /// Reached by the key being there at all.
    pub(crate) presents: Vec<u32>,
    /// Lists that exist, if empty, once the value is an array.
    pub(crate) opens: Vec<u32>,
    /// Lists that get a null for an element that gave them nothing.
    pub(crate) pads: Vec<u32>,
}

/// Column `i` of the plan holds `paths[i]`.
#[derive(Clone, Debug)]
pub struct FieldPlan {
    nodes: Vec<Node>,
    wants: Vec<Want>,
}

impl FieldPlan {
    #[must_use]
    pub fn new(paths: &[RawPath]) -> Self {
        let mut build = Build { paths, nodes: Vec::new(), known: BTreeMap::new() };
        let start = (0u32..).zip(paths).map(|(path, _)| Alive { path, done: 0, waits: false }).collect();
        build.node(start);
        Self { nodes: build.nodes, wants: paths.iter().map(|path| path.want).collect() }
    }

    #[must_use]
    pub fn wants(&self) -> &[Want] {
        &self.wants
    }

    pub(crate) fn node_count(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn node(&self, id: u32) -> Option<&Node> {
        self.nodes.get(id as usize)
    }
}

impl Node {
    pub(crate) fn has_edges(&self) -> bool {
        !self.edges.is_empty()
    }

    /// The node behind a key, unescaped.
    #[inline]
    pub(crate) fn child(&self, key: &[u8]) -> Option<u32> {
        let bucket = bucket_of(key, self.buckets.len().wrapping_sub(2));
        let first = *self.buckets.get(bucket)?;
        let end = *self.buckets.get(bucket + 1)?;
        let edges = self.edges.get(usize::from(first)..usize::from(end))?;
        edges.iter().find(|edge| *edge.key == *key).map(|edge| edge.node)
    }
}

/// Length, first and last byte tell nearly all keys of one object apart; the rest is one `memcmp`.
#[inline]
fn bucket_of(key: &[u8], mask: usize) -> usize {
    let first = usize::from(key.first().copied().unwrap_or_default());
    let last = usize::from(key.last().copied().unwrap_or_default());
    (key.len().wrapping_mul(5) ^ first.wrapping_mul(3) ^ last.wrapping_mul(17)) & mask
}

struct Build<'a> {
    paths: &'a [RawPath],
    nodes: Vec<Node>,
    known: BTreeMap<Vec<Alive>, u32>,
}

impl Build<'_> {
    fn node(&mut self, mut alive: Vec<Alive>) -> u32 {
        alive.sort_unstable();
        alive.dedup();
        if let Some(known) = self.known.get(&alive) {
            return *known;
        }
        let id = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        self.known.insert(alive.clone(), id);
        self.nodes.push(self.leaves(&alive));
        let element = self.element(&alive);
        let edges = self.edges(&alive);
        if let Some(node) = self.nodes.get_mut(id as usize) {
            node.element = element;
            (node.edges, node.buckets) = bucketed(edges);
        }
        id
    }

    fn leaves(&self, alive: &[Alive]) -> Node {
        let mut node = Node::default();
        for at in alive {
            let Some(path) = self.paths.get(at.path as usize) else { continue };
            let done = at.done as usize;
            if at.waits {
                node.opens.push(at.path);
                let last = path.segments.iter().skip(done).all(|segment| !segment.each);
                if last && path.want == Want::List {
                    node.pads.push(at.path);
                }
            } else if done == path.segments.len() {
                let into = match path.want {
                    Want::Text => &mut node.texts,
                    Want::List => &mut node.lists,
                    Want::Any => &mut node.anys,
                    Want::Present => &mut node.presents,
                };
                into.push(at.path);
            }
        }
        node
    }

    /// Who is still alive inside an array: those that waited for it, and those that cross every array.
    fn element(&mut self, alive: &[Alive]) -> Option<u32> {
        let crosses = |at: &Alive| self.paths.get(at.path as usize).is_some_and(|path| path.want == Want::Any);
        let inside: Vec<_> =
            alive.iter().filter(|at| at.waits || crosses(at)).map(|at| Alive { waits: false, ..*at }).collect();
        (!inside.is_empty()).then(|| self.node(inside))
    }

    fn edges(&mut self, alive: &[Alive]) -> Vec<Edge> {
        let mut by_key: BTreeMap<&str, Vec<Alive>> = BTreeMap::new();
        for at in alive.iter().filter(|at| !at.waits) {
            let Some(path) = self.paths.get(at.path as usize) else { continue };
            let Some(segment) = path.segments.get(at.done as usize) else { continue };
            let waits = segment.each && path.want != Want::Any;
            let next = Alive { path: at.path, done: at.done + 1, waits };
            by_key.entry(&segment.key).or_default().push(next);
        }
        by_key.into_iter().map(|(key, alive)| Edge { key: key.as_bytes().into(), node: self.node(alive) }).collect()
    }
}

fn bucketed(mut edges: Vec<Edge>) -> (Vec<Edge>, Vec<u16>) {
    let count = (edges.len() * 2).next_power_of_two();
    let bucket = |edge: &Edge| bucket_of(&edge.key, count - 1);
    edges.sort_by_key(bucket);
    let starts = (0..=count).map(|at| {
        let before = edges.partition_point(|edge| bucket(edge) < at);
        u16::try_from(before).unwrap_or(u16::MAX)
    });
    let starts = starts.collect();
    (edges, starts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(paths: &[&str]) -> FieldPlan {
        let paths: Vec<_> = paths.iter().map(|path| RawPath::parse(path).expect(path)).collect();
        FieldPlan::new(&paths)
    }

    #[test]
    fn keys_are_found_and_others_are_not() {
        let keys: Vec<String> = (0..300).map(|i| format!("key{i}x")).collect();
        let plan = plan(&keys.iter().map(String::as_str).collect::<Vec<_>>());
        let root = plan.node(0).expect("root");
        for key in &keys {
            assert!(root.child(key.as_bytes()).is_some(), "{key}");
        }
        for other in ["", "key", "key1", "key300x", "x"] {
            assert!(root.child(other.as_bytes()).is_none(), "{other}");
        }
    }

    #[test]
    fn shared_beginnings_share_nodes() {
        let plan = plan(&["a.b", "a.c", "a", "a[].b", "a.b[*]"]);
        let root = plan.node(0).expect("root");
        let a = plan.node(root.child(b"a").expect("a")).expect("node");
        assert_eq!((a.texts.as_slice(), a.opens.as_slice()), (&[2][..], &[3][..]));
        assert!(a.child(b"b").is_some() && a.child(b"c").is_some() && a.child(b"d").is_none());
        let element = plan.node(a.element.expect("element")).expect("node");
        assert!(element.child(b"b").is_some() && element.child(b"c").is_none());
    }
}
