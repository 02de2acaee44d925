//! Text as both databases can hold it. What logs say has no bound and any character; a column has.

use keytrail_model::stable_id;
use sqlx::AssertSqlSafe;

/// `PostgreSQL` indexes no value over some 2,700 bytes, and a long one would stop the stream for good.
const KEY_MAX: usize = 1_000;
const KEY_KEPT: usize = 900;

/// `PostgreSQL` holds no NUL in text.
pub(crate) fn plain(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

pub(crate) fn plains(text: Option<&str>) -> Option<String> {
    text.map(plain)
}

/// For an indexed column: a very long text is its beginning and a hash of the whole.
pub(crate) fn key(text: &str) -> String {
    if text.len() <= KEY_MAX {
        return plain(text);
    }
    let kept = text.get(..text.floor_char_boundary(KEY_KEPT)).unwrap_or_default();
    plain(&format!("{kept}…{}", stable_id("long", &[text])))
}

pub(crate) fn keys(text: Option<&str>) -> Option<String> {
    text.map(key)
}

/// `head` with `rows` groups of `columns` binds after it, then `tail`. Made of constants and numbers only.
pub(crate) fn values(head: &str, rows: usize, columns: usize, tail: &str) -> AssertSqlSafe<String> {
    let mut sql = head.to_owned();
    for row in 0..rows {
        sql.push_str(if row == 0 { " (" } else { ", (" });
        sql.push_str(&binds(row * columns + 1, columns));
        sql.push(')');
    }
    sql.push(' ');
    sql.push_str(tail);
    AssertSqlSafe(sql)
}

/// `$from, …`, `count` of them.
pub(crate) fn binds(from: usize, count: usize) -> String {
    (from..from + count).map(|bind| format!("${bind}")).collect::<Vec<_>>().join(", ")
}

pub(crate) fn amount(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(crate) fn count(amount: i64) -> u64 {
    u64::try_from(amount).unwrap_or(0)
}
