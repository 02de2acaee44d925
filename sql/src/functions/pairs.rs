//! Lists of named members, `[{"name": "X", "value": "…"}]`, as audit logs write parameters and changed properties.
//! A field plan reaches every value of such a list, but cannot say which one is meant.

use std::borrow::Cow;

use serde_json::Value;

use super::json::{document, plain};
use super::text_function::{Call, Function, Row};

pub const FUNCTIONS: &[Function] = &[
    Function {
        name: "named_value",
        arguments: &["name", "member", "pairs…"],
        doc: "of the objects in the JSON texts given, the member of the first one whose `name` (or `key`) is the name, \
              both without regard to case; `value` also stands for multiValue, intValue, boolValue and multiIntValue. \
              An object without names is read as name: value",
        call: Call::Text(|row| named(row)?.next().map(Cow::Owned)),
    },
    Function {
        name: "named_values",
        arguments: &["name", "member", "pairs…"],
        doc: "the same, every value of every one of that name as a list of texts",
        call: Call::Texts(|row| some(named(row)?.map(Cow::Owned).collect())),
    },
    Function {
        name: "element_value",
        arguments: &["key", "is", "member", "lists…"],
        doc: "of the objects in the JSON texts given, the member of the first one whose key is that text, without \
              regard to case: the id of the target whose type is Token",
        call: Call::Text(|row| element(row).map(Cow::Owned)),
    },
];

/// What `value` stands for beside itself: one of them is there, by the type of the value.
const TYPED: &[&str] = &["multivalue", "intvalue", "boolvalue", "multiintvalue"];

/// The values of each that has the name, list by list as far as they are asked for.
fn named(row: Row<'_, '_>) -> Option<impl Iterator<Item = String>> {
    let (name, rest) = row.split_first()?;
    let (member, lists) = rest.split_first()?;
    let (name, member) = ((*name)?, (*member)?);
    let lists = lists.iter().flatten().filter_map(|text| document(text));
    Some(lists.flat_map(move |list| in_list(&list, name, member)))
}

fn in_list(list: &Value, name: &str, member: &str) -> Vec<String> {
    match list {
        Value::Array(elements) => elements.iter().flat_map(|element| in_list(element, name, member)).collect(),
        Value::Object(_) => in_object(list, name, member).map(values).unwrap_or_default(),
        _ => Vec::new(),
    }
}

fn in_object<'v>(object: &'v Value, name: &str, member: &str) -> Option<&'v Value> {
    match lookup(object, "name").or_else(|| lookup(object, "key")) {
        Some(own) if own.as_str().is_some_and(|own| own.eq_ignore_ascii_case(name)) => {
            lookup(object, member).or_else(|| typed(object, member))
        }
        Some(_) => None,
        None => lookup(object, name),
    }
}

/// A list without elements is none.
fn some<T>(all: Vec<T>) -> Option<Vec<T>> {
    (!all.is_empty()).then_some(all)
}

fn element(row: Row<'_, '_>) -> Option<String> {
    let [key, is, member, lists @ ..] = row else { return None };
    let (key, is, member) = ((*key)?, (*is)?, (*member)?);
    lists.iter().flatten().filter_map(|text| document(text)).find_map(|list| {
        let fits =
            |object: &&Value| lookup(object, key).and_then(plain).is_some_and(|own| own.eq_ignore_ascii_case(is));
        plain(lookup(elements(&list).find(fits)?, member)?)
    })
}

fn elements(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().map_or(std::slice::from_ref(list), Vec::as_slice).iter()
}

fn typed<'v>(object: &'v Value, member: &str) -> Option<&'v Value> {
    let wanted = member.eq_ignore_ascii_case("value");
    wanted.then(|| TYPED.iter().find_map(|name| lookup(object, name)))?
}

fn lookup<'v>(object: &'v Value, name: &str) -> Option<&'v Value> {
    let members = object.as_object()?;
    let any_case = || members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    let found = members.get(name).or_else(any_case);
    found.filter(|value| !value.is_null())
}

fn values(value: &Value) -> Vec<String> {
    match value {
        Value::Array(elements) => elements.iter().filter_map(plain).collect(),
        one => plain(one).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKSPACE: &str = r#"[{"name":"client_id","value":"c-1"},{"name":"scope","multiValue":["a","b"]},
                               {"name":"count","intValue":"3"},{"name":"empty","value":""}]"#;
    const M365: &str = r#"[{"Name":"Role","NewValue":"Owner","OldValue":""}]"#;

    fn get(name: &str, member: &str, lists: &[&str]) -> Option<String> {
        let row: Vec<_> = [name, member].iter().chain(lists).copied().map(Some).collect();
        some(named(&row)?.collect()).map(|values| values.join(","))
    }

    #[test]
    fn the_member_of_the_named_one() {
        for (name, member, list, want) in [
            ("client_id", "value", WORKSPACE, Some("c-1")),
            ("scope", "value", WORKSPACE, Some("a,b")),
            ("COUNT", "value", WORKSPACE, Some("3")),
            ("empty", "value", WORKSPACE, None),
            ("other", "value", WORKSPACE, None),
            ("role", "newvalue", M365, Some("Owner")),
            ("role", "value", M365, None),
            ("a", "to", r#"[{"key":"a","from":"1","to":"2"}]"#, Some("2")),
            ("a", "value", r#"{"a":true}"#, Some("true")),
            ("a", "value", "not json", None),
        ] {
            assert_eq!(get(name, member, &[list]).as_deref(), want, "{name} {member}");
        }
    }

    #[test]
    fn the_element_that_fits() {
        let targets = r#"[{"id":"u","type":"User"},{"id":"t","type":"Token"},{"type":"App"}]"#;
        let get = |is, member, list| element(&[Some("type"), Some(is), Some(member), Some(list)]);
        assert_eq!(get("token", "id", targets).as_deref(), Some("t"));
        assert_eq!(get("App", "id", targets), None);
        assert_eq!(get("Group", "id", targets), None);
        assert_eq!(get("User", "id", r#"{"id":"u","type":"User"}"#).as_deref(), Some("u"));
        assert_eq!(get("User", "id", "not json"), None);
    }

    #[test]
    fn every_list_that_has_it() {
        assert_eq!(get("role", "newvalue", &["not json", WORKSPACE, M365]).as_deref(), Some("Owner"));
        assert_eq!(get("scope", "value", &[&format!("[{WORKSPACE}]")]).as_deref(), Some("a,b"));
        let other = r#"[{"name":"scope","value":"c"},{"name":"Scope","value":"d"}]"#;
        assert_eq!(get("scope", "value", &[WORKSPACE, other]).as_deref(), Some("a,b,c,d"));
    }
}
