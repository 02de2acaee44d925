//! The predicate index of one log source: which rules a value may concern, looked up once a batch and column, so that a
//! rule without candidate rows costs nothing.
//!
//! Each predicate hangs on a pivot, atoms of which one must hold. What the values of a column mean for all pivots on it
//! is worked out once a distinct value and kept in a `Memo`. The index only proposes rows; `Filter` decides.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringViewArray};

use crate::predicate::{Ask, Atom, Census, Predicate};
use crate::sigma::Tests;

/// Distinct values of a column whose meaning is kept; more of them start anew.
const MEMO_MAX: usize = 65_536;

/// One column that pivots ask.
#[derive(Debug)]
struct Column {
    name: String,
    /// Lower-case text → the filters that wait for it.
    equal: HashMap<String, Vec<u32>>,
    /// Tests that are no equality, and the filters that wait for them.
    tests: Vec<(Arc<Tests>, Vec<u32>)>,
}

#[derive(Debug, Default)]
pub(crate) struct Index {
    columns: Vec<Column>,
    /// Filters without a pivot: every row is a candidate.
    everywhere: Vec<u32>,
    /// Filters whose pivot stands on several columns, so that a row may be proposed twice.
    several: Vec<bool>,
}

/// What was learnt of a column's values. One for each worker; what is in it never changes an answer.
#[derive(Debug, Default)]
struct Memo {
    meaning: HashMap<Box<str>, u32>,
    /// Set 0 is empty: most values concern no rule.
    sets: Vec<Arc<[u32]>>,
    numbers: HashMap<Arc<[u32]>, u32>,
}

/// The index's memory and scratch for one worker.
#[derive(Debug, Default)]
pub(crate) struct Lookup {
    memos: Vec<Memo>,
    rows: Vec<Vec<u32>>,
    touched: Vec<u32>,
}

impl Index {
    /// An index over the predicates of filters, numbered in their order.
    pub(crate) fn new(predicates: &[&Predicate]) -> Self {
        let census = Census::of(predicates.iter().copied());
        let mut index = Self::default();
        for (filter, predicate) in (0u32..).zip(predicates) {
            match predicate.pivot(&|atom| census.weight(atom)) {
                Some((_, atoms)) => index.hang(filter, &atoms),
                None => index.everywhere.push(filter),
            }
        }
        index
    }

    fn hang(&mut self, filter: u32, atoms: &[&Atom]) {
        let first = atoms.first().map(|atom| atom.column.as_str());
        let several = atoms.iter().any(|atom| Some(atom.column.as_str()) != first);
        self.several.resize(filter as usize + 1, false);
        if let Some(flag) = self.several.last_mut() {
            *flag = several;
        }
        for atom in atoms {
            self.column(&atom.column).hang(filter, atom);
        }
    }

    fn column(&mut self, name: &str) -> &mut Column {
        let at = self.columns.iter().position(|column| column.name == name).unwrap_or_else(|| {
            self.columns.push(Column { name: name.to_owned(), equal: HashMap::new(), tests: Vec::new() });
            self.columns.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "the position was just found or made")]
        &mut self.columns[at]
    }

    /// Proposes rows to filters: each filter once, with its rows in order; `None` means every row.
    pub(crate) fn propose(&self, batch: &RecordBatch, lookup: &mut Lookup, take: &mut dyn FnMut(u32, Option<&[u32]>)) {
        lookup.memos.resize_with(self.columns.len(), Memo::default);
        for (column, memo) in self.columns.iter().zip(&mut lookup.memos) {
            if let Some(array) = batch.column_by_name(&column.name) {
                column.propose(array, memo, &mut lookup.rows, &mut lookup.touched);
            }
        }
        for filter in lookup.touched.drain(..) {
            let Some(rows) = lookup.rows.get_mut(filter as usize) else { continue };
            if self.several.get(filter as usize).copied().unwrap_or_default() {
                rows.sort_unstable();
            }
            rows.dedup();
            take(filter, Some(rows));
            rows.clear();
        }
        self.everywhere.iter().for_each(|filter| take(*filter, None));
    }
}

impl Column {
    fn hang(&mut self, filter: u32, atom: &Atom) {
        match (atom.equalities(), &atom.ask) {
            (Some(texts), _) => texts.into_iter().for_each(|text| self.equal.entry(text).or_default().push(filter)),
            (None, Ask::Sigma(tests)) => match self.tests.iter_mut().find(|(known, _)| known == tests) {
                Some((_, filters)) => filters.push(filter),
                None => self.tests.push((Arc::clone(tests), vec![filter])),
            },
            (None, _) => {}
        }
    }

    fn propose(&self, array: &ArrayRef, memo: &mut Memo, rows: &mut Vec<Vec<u32>>, touched: &mut Vec<u32>) {
        let mut one = |row: u32, texts: &StringViewArray, at: usize| {
            if !texts.is_valid(at) {
                return;
            }
            for &filter in memo.meaning(self, texts.value(at)).iter() {
                note(filter, row, rows, touched);
            }
        };
        if let Some(texts) = array.as_string_view_opt() {
            (0u32..).zip(0..texts.len()).for_each(|(row, at)| one(row, texts, at));
        } else if let Some(lists) = array.as_list_opt::<i32>() {
            let Some(texts) = lists.values().as_string_view_opt() else { return };
            for (row, bounds) in (0u32..).zip(lists.offsets().windows(2)) {
                let &[start, end] = bounds else { continue };
                (start..end).for_each(|at| one(row, texts, usize::try_from(at).unwrap_or_default()));
            }
        }
    }

    /// The filters that a value concerns, worked out.
    fn concerned(&self, value: &str) -> Vec<u32> {
        let folded = value.to_lowercase();
        let mut filters = self.equal.get(&folded).cloned().unwrap_or_default();
        for (_, waiting) in self.tests.iter().filter(|(tests, _)| tests.hold_one(value)) {
            filters.extend(waiting);
        }
        filters.sort_unstable();
        filters.dedup();
        filters
    }
}

fn note(filter: u32, row: u32, rows: &mut Vec<Vec<u32>>, touched: &mut Vec<u32>) {
    let at = filter as usize;
    if at >= rows.len() {
        rows.resize_with(at + 1, Vec::new);
    }
    if let Some(of_filter) = rows.get_mut(at) {
        if of_filter.is_empty() {
            touched.push(filter);
        }
        of_filter.push(row);
    }
}

impl Memo {
    fn meaning(&mut self, column: &Column, value: &str) -> &Arc<[u32]> {
        if self.sets.is_empty() || self.meaning.len() >= MEMO_MAX {
            *self = Self { sets: vec![Arc::from([])], ..Self::default() };
            self.numbers.insert(Arc::from([]), 0);
        }
        let number = match self.meaning.get(value) {
            Some(known) => *known,
            None => self.learn(column, value),
        };
        #[expect(clippy::indexing_slicing, reason = "numbers are handed out with their sets")]
        &self.sets[number as usize]
    }

    #[cold]
    fn learn(&mut self, column: &Column, value: &str) -> u32 {
        let set: Arc<[u32]> = column.concerned(value).into();
        let next = u32::try_from(self.sets.len()).unwrap_or(u32::MAX);
        let number = *self.numbers.entry(Arc::clone(&set)).or_insert(next);
        if number == next {
            self.sets.push(set);
        }
        self.meaning.insert(value.into(), number);
        number
    }
}
