//! Choosing among texts, lists of texts, and stable ids from texts. Provider-neutral.

use std::borrow::Cow;

use keytrail_model::stable_id;

use super::text_function::{Call, Function, Row, text};

pub const FUNCTIONS: &[Function] = &[
    Function {
        name: "first_of",
        arguments: &["values…"],
        doc: "the first text that is there and not empty; a list stands for its elements",
        call: Call::Text(|row| present(row).next().map(Cow::Borrowed)),
    },
    Function {
        name: "texts",
        arguments: &["values…"],
        doc: "a list of the texts that are there and not empty, each once, in order; null when there is none",
        call: Call::Texts(texts),
    },
    Function {
        name: "record_id",
        arguments: &["values…"],
        doc: "a stable id for a record that has none: a hash of the texts given, so give what tells records apart",
        call: Call::Text(record_id),
    },
    Function {
        name: "text_after",
        arguments: &["text", "mark"],
        doc: "what follows the first occurrence of the mark; null when the mark is not in the text",
        call: Call::Text(|row| text(row, 0)?.split_once(text(row, 1)?).map(|(_, after)| Cow::Borrowed(after.trim()))),
    },
    Function {
        name: "joined",
        arguments: &["separator", "values…"],
        doc: "the texts that are there and not empty, with the separator between them; null when there is none",
        call: Call::Text(joined),
    },
    Function {
        name: "any_contains",
        arguments: &["part", "values…"],
        doc: "whether any of the texts holds the part, without regard to case; a list stands for its elements",
        call: Call::Flag(any_contains),
    },
    Function {
        name: "any_glob",
        arguments: &["pattern", "values…"],
        doc: "whether any of the texts matches the pattern as a whole: `*` any run, `?` any one character",
        call: Call::Flag(any_glob),
    },
];

fn present<'r, 'a: 'r>(row: Row<'r, 'a>) -> impl Iterator<Item = &'a str> + 'r {
    row.iter().copied().flatten().filter(|text| !text.is_empty())
}

fn texts<'a>(row: Row<'_, 'a>) -> Option<Vec<Cow<'a, str>>> {
    let mut list = Vec::new();
    for text in present(row).map(Cow::Borrowed) {
        if !list.contains(&text) {
            list.push(text);
        }
    }
    (!list.is_empty()).then_some(list)
}

/// Absent and empty differ, as do the positions of absent values.
fn record_id<'a>(row: Row<'_, 'a>) -> Option<Cow<'a, str>> {
    let parts: Vec<String> = row.iter().map(|text| text.map_or_else(String::new, |text| format!("={text}"))).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    Some(Cow::Owned(stable_id("r", &parts)))
}

fn joined<'a>(row: Row<'_, 'a>) -> Option<Cow<'a, str>> {
    let (separator, values) = row.split_first()?;
    let values: Vec<_> = present(values).collect();
    (!values.is_empty()).then(|| Cow::Owned(values.join(separator.unwrap_or_default())))
}

fn any_contains(row: Row<'_, '_>) -> Option<bool> {
    let (part, values) = row.split_first()?;
    let part = (*part)?.to_lowercase();
    Some(present(values).any(|value| value.to_lowercase().contains(&part)))
}

fn any_glob(row: Row<'_, '_>) -> Option<bool> {
    let (pattern, values) = row.split_first()?;
    let pattern: Vec<char> = (*pattern)?.chars().collect();
    Some(present(values).any(|value| matches(&pattern, value)))
}

/// Greedy with one point of return, so linear in practice and quadratic at worst.
fn matches(pattern: &[char], value: &str) -> bool {
    let value: Vec<char> = value.chars().collect();
    let (mut at, mut seen, mut star) = (0, 0, None);
    while seen < value.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at + 1, seen));
                at += 1;
            }
            Some(wanted) if *wanted == '?' || value.get(seen) == Some(wanted) => (at, seen) = (at + 1, seen + 1),
            _ => match star {
                Some((after, from)) => {
                    star = Some((after, from + 1));
                    (at, seen) = (after, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(at).all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_into_lists() {
        let row = |first| [Some(first), None, Some("arn:aws:rds:eu-west-1:111122223333:cluster:Orders")];
        for (pattern, want) in
            [("*:cluster:*", true), ("*:Order?", true), ("arn:*:orders", false), ("*", true), ("rds", false)]
        {
            assert_eq!(any_glob(&row(pattern)), Some(want), "{pattern}");
        }
        assert_eq!(any_contains(&row("CLUSTER:orders")), Some(true));
        assert_eq!(any_contains(&row("customers")), Some(false));
        assert_eq!(any_contains(&[Some("x"), None]), Some(false));
        assert_eq!(any_contains(&[None, Some("x")]), None);
    }

    #[test]
    fn lists_hold_what_is_there_once() {
        let row = [None, Some("a"), Some(""), Some("b"), Some("a")];
        assert_eq!(texts(&row), Some(vec![Cow::Borrowed("a"), Cow::Borrowed("b")]));
        assert_eq!(texts(&[None, Some("")]), None);
        assert_eq!(present(&row).next(), Some("a"));
    }

    #[test]
    fn record_ids_tell_absent_from_empty_and_keep_positions() {
        assert_eq!(record_id(&[Some("a"), None]), record_id(&[Some("a"), None]));
        assert_ne!(record_id(&[Some("a"), None]), record_id(&[Some("a"), Some("")]));
        assert_ne!(record_id(&[Some("a"), None]), record_id(&[None, Some("a")]));
    }

    #[test]
    fn joins_only_what_is_there() {
        assert_eq!(joined(&[Some("/"), Some("server"), None, Some("tool")]).as_deref(), Some("server/tool"));
        assert_eq!(joined(&[Some("/"), None]), None);
    }
}
