//! `docs/REFERENCE.md` says what the code says: event columns, reference tables and functions come from the tables in the code.
//! `UPDATE_GOLDEN=1` rewrites it.

use std::fmt::Write;
use std::path::Path;

use keytrail_model::schema;

fn page() -> String {
    let mut page = String::from(
        "# Reference\n\nMade from the tables in the code by `tests/it/reference_page.rs`; `UPDATE_GOLDEN=1 tests/run reference_page` \
         rewrites it.\n\n## Event columns\n\n| column | type | filled by | OCSF 1.8 | meaning |\n|---|---|---|---|---|\n",
    );
    for field in schema::FIELDS {
        let (name, kind, filled) = (field.name, field.kind.name(), format!("{:?}", field.filled).to_lowercase());
        writeln!(page, "| `{name}` | {kind} | {filled} | `{}` | {} |", field.ocsf, cell(field.doc)).unwrap();
    }
    page.push_str("\n## Reference tables\n\nA rule may join them as of the event's time: `JOIN credentials c ON c.credential = e.credential`.\n");
    for table in keytrail_model::tables::TABLES {
        writeln!(page, "\n### {}\n\n{}.\n\n| column | type | meaning |\n|---|---|---|", table.name, table.doc).unwrap();
        for column in table.columns {
            writeln!(page, "| `{}` | {} | {} |", column.name, column.kind.name(), cell(column.doc)).unwrap();
        }
    }
    page.push_str("\n## Functions\n\nBeside DataFusion's own. An argument with `?` may be left out, one with `…` takes any number.\n\n| function | gives | meaning |\n|---|---|---|\n");
    for function in keytrail_sql::functions::catalogue() {
        let call = format!("{}({})", function.name, function.args.join(", "));
        writeln!(page, "| `{call}` | {} | {} |", function.returns.name(), cell(function.doc)).unwrap();
    }
    page
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[test]
fn the_reference_page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/REFERENCE.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, page()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page(), "docs/REFERENCE.md is behind the code: run UPDATE_GOLDEN=1 tests/run reference_page");
}
