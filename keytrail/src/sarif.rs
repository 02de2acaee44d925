//! Problems in rules as a SARIF 2.1.0 log, as code scanning services read it.

use keytrail_model::stable_id;
use serde_json::{Value, json};

use crate::lint::{LINTS, Lint, Problem};

const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// Where file names are relative to: the folder that was checked out.
const BASE: &str = "%SRCROOT%";

/// One run with every lint and the problems in their order.
#[must_use]
pub fn log(problems: &[Problem]) -> Value {
    let rules: Vec<Value> = LINTS.iter().map(|lint| rule(lint)).collect();
    let results: Vec<Value> = problems.iter().map(result).collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "keytrail", "semanticVersion": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn rule(lint: &Lint) -> Value {
    json!({
        "id": lint.id,
        "shortDescription": {"text": lint.doc},
        "defaultConfiguration": {"level": lint.level.name()},
        "properties": {"fixable": lint.fixable},
    })
}

fn result(problem: &Problem) -> Value {
    let index = LINTS.iter().position(|lint| lint.id == problem.lint.id);
    let mut place = json!({"artifactLocation": location(&problem.file)});
    if let (Some(line), Some(place)) = (problem.line, place.as_object_mut()) {
        place.insert("region".to_owned(), json!({"startLine": line.max(1)}));
    }
    // The line is left out: a problem stays the same one when lines are added above it.
    let fingerprint = stable_id("lint", &[problem.lint.id, &problem.file, &problem.message]);
    json!({
        "ruleId": problem.lint.id,
        "ruleIndex": index,
        "level": problem.lint.level.name(),
        "message": {"text": problem.message},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {"keytrail/v1": fingerprint},
    })
}

/// A relative URI below the base; an absolute name as it is.
fn location(file: &str) -> Value {
    let file = file.replace('\\', "/");
    let path = encoded(file.trim_start_matches("./"));
    if path.starts_with('/') {
        return json!({"uri": format!("file://{path}")});
    }
    json!({"uri": path, "uriBaseId": BASE})
}

fn encoded(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/+@,=".contains(&byte);
    path.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::location;

    #[test]
    fn names_of_files_are_uris() {
        assert_eq!(location("./my rules/ä.yaml")["uri"], "my%20rules/%C3%A4.yaml");
        assert_eq!(location("/tmp/a.yaml"), serde_json::json!({"uri": "file:///tmp/a.yaml"}));
    }
}
