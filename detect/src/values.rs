//! What is taken of one event beside its columns: the evidence that a rule selects, and the values that its window
//! looks at.

use arrow::array::{Array, ArrayRef, AsArray};
use keytrail_model::EventBatch;
use keytrail_sql::{SqlError, evaluate};

use crate::plan::Feed;
use crate::window::{Value, network};

/// The columns of a feed's values over one batch.
pub(crate) struct Values {
    columns: Vec<(ArrayRef, bool)>,
}

impl Values {
    pub(crate) fn of(feed: &Feed, events: &EventBatch) -> Result<Self, SqlError> {
        let one = |(expr, network): &(_, bool)| evaluate(expr, &events.batch).map(|array| (array, *network));
        feed.values.iter().map(one).collect::<Result<_, _>>().map(|columns| Self { columns })
    }

    /// One for each entry that the event makes: of a list, each element is a value of its own.
    pub(crate) fn at(&self, row: usize) -> Vec<Option<Value>> {
        match self.columns.as_slice() {
            [] => vec![None],
            [(array, network)] => {
                let mut texts = texts(array, row, *network);
                texts.sort_unstable();
                texts.dedup();
                if texts.is_empty() {
                    vec![None]
                } else {
                    texts.into_iter().map(|text| Some(Value::Text(text))).collect()
                }
            }
            several => {
                let joined = |(array, network): &(ArrayRef, bool)| {
                    let texts = texts(array, row, *network);
                    (!texts.is_empty()).then(|| texts.join(", "))
                };
                let parts: Vec<Option<String>> = several.iter().map(joined).collect();
                vec![Value::tuple(&parts.iter().map(Option::as_deref).collect::<Vec<_>>())]
            }
        }
    }
}

fn texts(array: &ArrayRef, row: usize, as_network: bool) -> Vec<String> {
    let text = |text: &str| if as_network { network(text) } else { (!text.is_empty()).then(|| text.to_owned()) };
    if let Some(texts) = array.as_string_view_opt() {
        return texts.is_valid(row).then(|| texts.value(row)).and_then(text).into_iter().collect();
    }
    let Some(lists) = array.as_list_opt::<i32>().filter(|lists| lists.is_valid(row)) else { return Vec::new() };
    let values = lists.value(row);
    values.as_string_view_opt().into_iter().flat_map(|texts| texts.iter().flatten()).filter_map(text).collect()
}

/// Evidence columns of one event that have a value, by name.
pub(crate) type Selection<'a> = Vec<(&'a str, String)>;

/// A feed's evidence columns over one batch, by name.
pub(crate) struct Selected<'a> {
    columns: Vec<(&'a str, ArrayRef)>,
}

impl<'a> Selected<'a> {
    /// A column that does not evaluate shows nothing: the event has matched all the same.
    pub(crate) fn of(feed: &'a Feed, events: &EventBatch) -> Self {
        let one = |(name, expr): &'a (String, _)| Some((name.as_str(), evaluate(expr, &events.batch).ok()?));
        Self { columns: feed.select.iter().filter_map(one).collect() }
    }

    pub(crate) fn at(&self, row: usize) -> Selection<'a> {
        let shown = |(name, array): &(&'a str, ArrayRef)| {
            let texts = texts(array, row, false);
            (!texts.is_empty()).then(|| (*name, texts.join(", ")))
        };
        self.columns.iter().filter_map(shown).collect()
    }
}
