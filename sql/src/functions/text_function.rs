//! Adapts a plain Rust function over texts to a DataFusion scalar function: coerces arguments, walks rows, builds the
//! result. Knows nothing of any provider. A row never fails: what a function cannot answer is null.

use std::{
    borrow::Cow,
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, ListBuilder, StringViewArray, StringViewBuilder},
    array::{TimestampMicrosecondArray, new_empty_array},
    datatypes::{DataType, Field},
};
use datafusion::{
    common::{Result, ScalarValue, exec_err, plan_err},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};
use keytrail_model::schema::Kind;

/// The arguments of one row; absent and null are both `None`.
pub type Row<'r, 'a> = &'r [Option<&'a str>];

/// What a domain function computes for one row.
#[derive(Clone, Copy)]
pub enum Call {
    Text(for<'a> fn(Row<'_, 'a>) -> Option<Cow<'a, str>>),
    Flag(fn(Row<'_, '_>) -> Option<bool>),
    /// Microseconds since the epoch, UTC.
    Time(fn(Row<'_, '_>) -> Option<i64>),
    Texts(for<'a> fn(Row<'_, 'a>) -> Option<Vec<Cow<'a, str>>>),
}

/// One domain function. An argument ending in `?` may be left out; a last one ending in `…` takes any number of texts
/// and text lists, a list standing for its elements.
#[derive(Clone, Copy)]
pub struct Function {
    pub name: &'static str,
    pub arguments: &'static [&'static str],
    pub doc: &'static str,
    pub call: Call,
}

impl Function {
    pub fn returns(&self) -> Kind {
        match self.call {
            Call::Text(_) => Kind::Text,
            Call::Flag(_) => Kind::Flag,
            Call::Time(_) => Kind::Time,
            Call::Texts(_) => Kind::Texts,
        }
    }

    pub fn udf(self) -> ScalarUDF {
        ScalarUDF::from(TextFunction { function: self, signature: Signature::user_defined(Volatility::Immutable) })
    }

    fn variadic(&self) -> bool {
        self.arguments.last().is_some_and(|name| name.ends_with('…'))
    }

    fn takes(&self, count: usize) -> bool {
        let needed = self.arguments.iter().filter(|name| !name.ends_with(['?', '…'])).count();
        count >= needed && (self.variadic() || count <= self.arguments.len())
    }

    fn takes_list_at(&self, index: usize) -> bool {
        self.variadic() && index + 1 >= self.arguments.len()
    }
}

#[derive(Clone)]
struct TextFunction {
    function: Function,
    signature: Signature,
}

impl std::fmt::Debug for TextFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TextFunction({})", self.function.name)
    }
}

impl PartialEq for TextFunction {
    fn eq(&self, other: &Self) -> bool {
        self.function.name == other.function.name
    }
}

impl Eq for TextFunction {}

impl Hash for TextFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.name.hash(state);
    }
}

impl ScalarUDFImpl for TextFunction {
    fn name(&self) -> &str {
        self.function.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(self.function.returns().arrow())
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let Function { name, arguments, .. } = self.function;
        if !self.function.takes(types.len()) {
            return plan_err!("`{name}` takes ({}), but got {} arguments", arguments.join(", "), types.len());
        }
        types.iter().enumerate().map(|(index, given)| self.coerced(index, given)).collect()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let arguments = args.args.iter().map(Argument::new).collect::<Result<Vec<_>>>()?;
        let result = self.function.call.over(&arguments, rows);
        if constant {
            return ScalarValue::try_from_array(&result, 0).map(ColumnarValue::Scalar);
        }
        Ok(ColumnarValue::Array(result))
    }
}

impl TextFunction {
    fn coerced(&self, index: usize, given: &DataType) -> Result<DataType> {
        match given {
            DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
                if !self.function.takes_list_at(index) {
                    let name = self.function.name;
                    return plan_err!("argument {} of `{name}` is a text, but got a list", index + 1);
                }
                Ok(Kind::Texts.arrow())
            }
            _ => Ok(DataType::Utf8View),
        }
    }
}

/// One argument column; a constant has one row that stands for all.
struct Argument {
    constant: bool,
    values: Values,
}

enum Values {
    One(StringViewArray),
    Many(ListArray, StringViewArray),
}

impl Argument {
    fn new(value: &ColumnarValue) -> Result<Self> {
        let (constant, array) = match value {
            ColumnarValue::Array(array) => (false, Arc::clone(array)),
            ColumnarValue::Scalar(scalar) => (true, scalar.to_array_of_size(1)?),
        };
        Ok(Self { constant, values: Values::new(&array)? })
    }

    fn push<'a>(&'a self, row: usize, out: &mut Vec<Option<&'a str>>) {
        let row = if self.constant { 0 } else { row };
        match &self.values {
            Values::One(texts) => out.push(text_at(texts, row)),
            Values::Many(lists, _) if lists.is_null(row) => {}
            Values::Many(lists, texts) => {
                let offsets = lists.value_offsets();
                let bound = |at: usize| offsets.get(at).and_then(|offset| usize::try_from(*offset).ok()).unwrap_or(0);
                out.extend((bound(row)..bound(row + 1)).map(|at| text_at(texts, at)));
            }
        }
    }
}

impl Values {
    fn new(array: &ArrayRef) -> Result<Self> {
        match array.data_type() {
            DataType::Utf8View => Ok(Self::One(array.as_string_view().clone())),
            DataType::List(_) => {
                let lists = array.as_list::<i32>().clone();
                let texts = match lists.values().as_string_view_opt() {
                    Some(texts) => texts.clone(),
                    None => new_empty_array(&DataType::Utf8View).as_string_view().clone(),
                };
                Ok(Self::Many(lists, texts))
            }
            other => exec_err!("a domain function got a column of {other}"),
        }
    }
}

fn text_at(texts: &StringViewArray, row: usize) -> Option<&str> {
    (row < texts.len() && !texts.is_null(row)).then(|| texts.value(row))
}

impl Call {
    fn over(self, arguments: &[Argument], rows: usize) -> ArrayRef {
        match self {
            Self::Text(call) => {
                let mut texts = StringViewBuilder::with_capacity(rows);
                each_row(arguments, rows, |row| texts.append_option(call(row)));
                Arc::new(texts.finish())
            }
            Self::Flag(call) => {
                let mut flags = Vec::with_capacity(rows);
                each_row(arguments, rows, |row| flags.push(call(row)));
                Arc::new(BooleanArray::from(flags))
            }
            Self::Time(call) => {
                let mut times = Vec::with_capacity(rows);
                each_row(arguments, rows, |row| times.push(call(row)));
                Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))
            }
            Self::Texts(call) => {
                let item = Field::new_list_field(DataType::Utf8View, true);
                let mut lists = ListBuilder::new(StringViewBuilder::new()).with_field(item);
                each_row(arguments, rows, |row| append_list(&mut lists, call(row)));
                Arc::new(lists.finish())
            }
        }
    }
}

fn append_list(lists: &mut ListBuilder<StringViewBuilder>, texts: Option<Vec<Cow<'_, str>>>) {
    let valid = texts.is_some();
    for text in texts.into_iter().flatten() {
        lists.values().append_value(text);
    }
    lists.append(valid);
}

fn each_row<'a>(arguments: &'a [Argument], rows: usize, mut call: impl FnMut(Row<'_, 'a>)) {
    let mut row_texts = Vec::with_capacity(arguments.len());
    for row in 0..rows {
        row_texts.clear();
        for argument in arguments {
            argument.push(row, &mut row_texts);
        }
        call(&row_texts);
    }
}

/// The argument at `index`, where empty text counts as absent.
pub fn text<'a>(row: Row<'_, 'a>, index: usize) -> Option<&'a str> {
    row.get(index).copied().flatten().filter(|text| !text.is_empty())
}

/// Whether a flag written as a JSON bool or as text is set.
pub fn is_true(text: Option<&str>) -> bool {
    text.is_some_and(|text| text.eq_ignore_ascii_case("true"))
}
