//! The scratch that a scan fills: for each planned column where its value stands, and the items of its lists.

use std::ops::Range;

use crate::plan::FieldPlan;

/// Where a planned value stands in the chunk. Missing and null are not the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Slot {
    #[default]
    Missing,
    Null,
    /// Usable as it stands: a string without escapes (quotes left out), a number, a bool, an object, an array.
    Plain {
        start: u32,
        len: u32,
    },
    /// A string with backslashes, quotes left out.
    Escaped {
        start: u32,
        len: u32,
    },
    /// There, for `path?`; or a list, whose items stand in the row.
    Reached,
}

impl Slot {
    #[must_use]
    pub fn range(self) -> Option<Range<usize>> {
        match self {
            Self::Plain { start, len } | Self::Escaped { start, len } => {
                Some(start as usize..start as usize + len as usize)
            }
            Self::Missing | Self::Null | Self::Reached => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Item {
    pub(crate) column: u32,
    pub(crate) slot: Slot,
}

/// Scratch for one record, reused for the next.
#[derive(Clone, Debug, Default)]
pub struct Row {
    pub(crate) slots: Vec<Slot>,
    pub(crate) items: Vec<Item>,
    /// For each node of the plan, the object that it was last seen in.
    stamps: Vec<u32>,
    objects: u32,
    /// A key without its escapes.
    pub(super) key: Vec<u8>,
}

impl Row {
    #[must_use]
    pub fn new(plan: &FieldPlan) -> Self {
        let mut row = Self::default();
        row.reset(plan);
        row
    }

    #[must_use]
    pub fn slot(&self, column: usize) -> Slot {
        self.slots.get(column).copied().unwrap_or_default()
    }

    /// A list column's items, in the record's order.
    pub fn items(&self, column: usize) -> impl Iterator<Item = Slot> + '_ {
        self.items.iter().filter(move |item| item.column as usize == column).map(|item| item.slot)
    }

    /// Where the values of a column stand in the chunk, whatever its kind.
    pub fn ranges(&self, column: usize) -> impl Iterator<Item = Range<usize>> + '_ {
        let slot = self.slot(column);
        // Items stand together for all lists, so they are gone through only for a list that has some.
        let items = if slot == Slot::Reached { self.items.as_slice() } else { &[] };
        let own = items.iter().filter(move |item| item.column as usize == column).filter_map(|item| item.slot.range());
        slot.range().into_iter().chain(own)
    }

    pub(super) fn reset(&mut self, plan: &FieldPlan) {
        self.slots.clear();
        self.slots.resize(plan.wants().len(), Slot::Missing);
        self.items.clear();
        if self.stamps.len() != plan.node_count() || self.objects > u32::MAX / 2 {
            self.stamps.clear();
            self.stamps.resize(plan.node_count(), 0);
            self.objects = 0;
        }
    }

    pub(super) fn next_object(&mut self) -> u32 {
        self.objects += 1;
        self.objects
    }

    /// Whether a node was met before in this object; from now on it was.
    #[inline]
    pub(super) fn seen(&mut self, node: u32, object: u32) -> bool {
        self.stamps.get_mut(node as usize).is_some_and(|stamp| std::mem::replace(stamp, object) == object)
    }

    #[inline]
    pub(super) fn set(&mut self, columns: &[u32], slot: Slot) {
        for column in columns {
            if let Some(into) = self.slots.get_mut(*column as usize) {
                *into = slot;
            }
        }
    }

    #[inline]
    pub(super) fn push(&mut self, columns: &[u32], slot: Slot) {
        self.set(columns, Slot::Reached);
        self.items.extend(columns.iter().map(|&column| Item { column, slot }));
    }

    /// Every element counts, so that lists of one array stay side by side.
    pub(super) fn pad(&mut self, columns: &[u32], before: usize) {
        for &column in columns {
            let got = self.items.get(before..).is_some_and(|new| new.iter().any(|item| item.column == column));
            if !got {
                self.items.push(Item { column, slot: Slot::Null });
            }
        }
    }
}
