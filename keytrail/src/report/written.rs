//! How times, numbers and long ids are written on the page.

use keytrail_model::{Finding, Micros, Ownership};

use super::escape::Html;

/// `2026-11-03 10:00:00 UTC`: to the second, because people compare it by eye.
pub(super) fn moment(at: Micros) -> String {
    let text = Micros(at.0.div_euclid(Micros::SECOND).saturating_mul(Micros::SECOND)).to_string();
    text.trim_end_matches('Z').replacen('T', " ", 1) + " UTC"
}

/// A `<time>` element.
pub(super) fn time(html: &mut Html, at: Micros) {
    html.put("<time datetime=\"{}\">{}</time>", &[&at, &moment(at)]);
}

/// `first – last`, the day said once when it is the same.
pub(super) fn range(html: &mut Html, (first, last): (Micros, Micros)) {
    if moment(first) == moment(last) {
        return time(html, first);
    }
    let (start, end) = (moment(first), moment(last));
    let same_day = start.get(..10) == end.get(..10);
    let short = if same_day { end.get(11..).unwrap_or(&end) } else { &end };
    html.put("<time datetime=\"{}\">{}</time> – ", &[&first, &start.trim_end_matches(" UTC")]);
    html.put("<time datetime=\"{}\">{}</time>", &[&last, &short]);
}

/// `12,345`.
pub(super) fn number(value: u64) -> String {
    let digits = value.to_string();
    let first = digits.len() % 3;
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && index % 3 == first {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 event`, `3 events`.
pub(super) fn counted(value: u64, noun: &str) -> String {
    let ending = if value == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", number(value))
}

/// At most `width` characters: the end of an ARN or path, which tells most, else both ends.
pub(super) fn short(text: &str, width: usize) -> String {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= width {
        return text.to_owned();
    }
    let keep = width.saturating_sub(1);
    if text.starts_with("arn:") || text.starts_with('/') || text.contains("//") {
        return format!("…{}", whole_parts(&chars, chars.len() - keep));
    }
    let head = keep * 2 / 5;
    let (start, end) = (chars.iter().take(head), chars.iter().skip(chars.len() - (keep - head)));
    format!("{}…{}", start.collect::<String>(), end.collect::<String>())
}

/// The text from `from` on, without the part that is cut there, unless little else is left.
fn whole_parts(chars: &[char], from: usize) -> String {
    let parts = |c: &char| matches!(c, ':' | '/');
    let tail = chars.get(from..).unwrap_or_default();
    let cut_inside = from > 0 && !chars.get(from - 1).is_some_and(parts);
    let skip = tail.iter().position(parts).map_or(0, |at| at + 1);
    let skip = if cut_inside && tail.len() - skip >= 6 { skip } else { 0 };
    tail.iter().skip(skip).collect()
}

/// Names of the owners, or that there is none.
pub(super) fn owners(ownership: Option<&Ownership>) -> String {
    let names: Vec<_> = ownership.iter().flat_map(|known| &known.owners).map(|owner| owner.name.as_str()).collect();
    if names.is_empty() { "no owner".to_owned() } else { names.join(" or ") }
}

/// The credential of a finding, or its actor when the log names no credential.
pub(super) fn credential(finding: &Finding) -> &str {
    let target = &finding.target;
    target.credential.as_deref().or(target.actor.as_deref()).unwrap_or("not named in the log")
}

/// An id in type of one width, breakable anywhere.
pub(super) fn code(html: &mut Html, text: &str) {
    html.put("<code>{}</code>", &[&text]);
}

#[cfg(test)]
mod tests {
    use keytrail_model::Micros;

    use super::{counted, moment, number, short};

    #[test]
    fn numbers_and_times_read_well() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!((counted(1, "event"), counted(2, "event")), ("1 event".to_owned(), "2 events".to_owned()));
        assert_eq!(moment(Micros(1_750_000)), "1970-01-01 00:00:01 UTC");
    }

    #[test]
    fn the_telling_end_is_kept() {
        assert_eq!(short("arn:aws:rds:eu-west-1:111122223333:cluster:orders", 15), "…cluster:orders");
        assert_eq!(short("arn:aws:rds:eu-west-1:111122223333:cluster:orders", 20), "…cluster:orders");
        assert_eq!(short("abcdefghijklmnop", 11), "abcd…klmnop");
        assert_eq!(short("åäö", 3), "åäö");
    }
}
