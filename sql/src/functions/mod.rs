//! The domain functions of mappings and rules: what is not plain SQL about clouds, their ids and their credentials.
//! One file a family. All are pure: same texts, same answer; a row that they cannot answer is null, never an error.

mod agent;
mod aws;
mod aws_credential;
mod azure;
mod azure_credential;
mod gcp;
mod github;
mod json;
mod pairs;
mod text_function;
mod texts;
mod time;

use datafusion::logical_expr::ScalarUDF;
use keytrail_model::schema::Kind;

use text_function::Function;

/// What `rule fields` and the docs say about a function.
#[derive(Clone, Copy, Debug)]
pub struct FunctionDoc {
    pub name: &'static str,
    /// One ending in `?` may be left out; one ending in `…` takes any number of texts and text lists.
    pub args: &'static [&'static str],
    pub returns: Kind,
    pub doc: &'static str,
}

/// Every domain function, ready to be registered.
#[must_use]
pub fn all() -> Vec<ScalarUDF> {
    functions().map(Function::udf).collect()
}

/// What each does, in the order of the families.
#[must_use]
pub fn catalogue() -> Vec<FunctionDoc> {
    functions().map(document).collect()
}

fn document(function: Function) -> FunctionDoc {
    let Function { name, arguments, doc, .. } = function;
    FunctionDoc { name, args: arguments, returns: function.returns(), doc }
}

fn functions() -> impl Iterator<Item = Function> {
    FAMILIES.iter().copied().flatten().copied()
}

const FAMILIES: &[&[Function]] = &[
    time::FUNCTIONS,
    texts::FUNCTIONS,
    json::FUNCTIONS,
    pairs::FUNCTIONS,
    agent::FUNCTIONS,
    aws::FUNCTIONS,
    aws_credential::FUNCTIONS,
    azure::FUNCTIONS,
    azure_credential::FUNCTIONS,
    gcp::FUNCTIONS,
    github::FUNCTIONS,
];

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc};

    use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringViewArray, new_null_array};
    use arrow::datatypes::DataType;

    use super::*;
    use crate::{Planner, Scope, SqlError, evaluate, parse_expression, schema_of};

    /// Plans and runs an expression over one column `a` (and a list column of nulls), like a mapping would.
    fn run(text: &str, want: &DataType, values: &[Option<&str>]) -> Result<ArrayRef, SqlError> {
        let expression = parse_expression(text, Scope::Mapping)?;
        let schema = schema_of(&expression.names);
        let expr = Planner::new().plan(&expression, &schema, want)?;
        let column: ArrayRef = Arc::new(StringViewArray::from(values.to_vec()));
        let columns = schema.fields().iter().map(|field| match field.data_type() {
            DataType::Utf8View => Arc::clone(&column),
            other => new_null_array(other, values.len()),
        });
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns.collect()).expect("a batch");
        evaluate(&expr, &batch)
    }

    #[test]
    fn every_function_is_named_once_and_documented() {
        let names: BTreeSet<_> = catalogue().iter().map(|function| function.name).collect();
        assert_eq!(names.len(), catalogue().len());
        assert!(catalogue().iter().all(|function| function.doc.len() > 20 && !function.args.is_empty()));
        let variadic = |arg: &&str| arg.ends_with('…');
        assert!(catalogue().iter().all(|function| !function.args.iter().rev().skip(1).any(variadic)));
    }

    #[test]
    fn every_function_answers_nulls_without_failing() {
        for FunctionDoc { name, args, returns, .. } in catalogue() {
            let call = format!("{name}({})", vec!["a"; args.len()].join(", "));
            let rows = run(&call, &returns.arrow(), &[None, Some(""), Some("x")]);
            assert_eq!(rows.expect(name).len(), 3, "{name}");
        }
    }

    #[test]
    fn constants_and_columns_mix() {
        let rows = run(
            "arn_name(first_of(a, 'arn:aws:iam::111122223333:user/maya'))",
            &DataType::Utf8View,
            &[None, Some("arn:aws:iam::111122223333:user/ben")],
        );
        let rows = rows.expect("evaluates");
        let names: Vec<_> = rows.as_string_view().iter().collect();
        assert_eq!(names, [Some("maya"), Some("ben")]);
        let constant = "CASE WHEN a IS NULL THEN event_time('2026-11-03') END";
        assert_eq!(run(constant, &Kind::Time.arrow(), &[None, Some("x")]).expect("evaluates").null_count(), 1);
    }

    #[test]
    fn lists_flatten_and_null_lists_are_nothing() {
        let rows = run("texts(\"l[].x\", make_array(a, 'z'), a, 'y')", &Kind::Texts.arrow(), &[Some("q"), None]);
        let rows = rows.expect("evaluates");
        let lengths: Vec<_> = rows.as_list::<i32>().iter().map(|list| list.map_or(0, |list| list.len())).collect();
        assert_eq!(lengths, [3, 2]);
        assert!(run("json_text(\"l[].x\", 'k')", &DataType::Utf8View, &[None]).is_err());
    }

    #[test]
    fn a_wrong_number_of_arguments_is_named() {
        let error = run("arn_account(a, a)", &DataType::Utf8View, &[None]).expect_err("too many");
        assert!(error.to_string().contains("`arn_account` takes (arn), but got 2"), "{error}");
    }
}
