//! Rule tests as JUnit XML, as CI servers read it. Times are 0, so that the same rules give the same bytes.

use std::collections::BTreeMap;

use crate::run_rules::Verdict;

/// One `testsuite` for each of the files, also for one without tests.
#[must_use]
pub fn document(files: &[&str], verdicts: &[Verdict]) -> String {
    let mut by_file: BTreeMap<&str, Vec<&Verdict>> = files.iter().map(|&file| (file, Vec::new())).collect();
    for verdict in verdicts {
        by_file.entry(&verdict.file).or_default().push(verdict);
    }
    let suites: String = by_file.iter().map(|(file, verdicts)| suite(file, verdicts)).collect();
    let counts = counts(verdicts.iter());
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"keytrail rule test\" {counts}>\n{suites}</testsuites>\n"
    )
}

fn suite(file: &str, verdicts: &[&Verdict]) -> String {
    let cases: String = verdicts.iter().map(|verdict| case(verdict)).collect();
    let counts = counts(verdicts.iter().copied());
    format!("  <testsuite name=\"{}\" {counts}>\n{cases}  </testsuite>\n", escaped(file))
}

fn counts<'a>(verdicts: impl Iterator<Item = &'a Verdict>) -> String {
    let (mut tests, mut failures) = (0, 0);
    for verdict in verdicts {
        tests += 1;
        failures += usize::from(verdict.failure.is_some());
    }
    format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" skipped=\"0\" time=\"0\"")
}

fn case(verdict: &Verdict) -> String {
    let (rule, test, file) = (escaped(&verdict.rule), escaped(&verdict.test), escaped(&verdict.file));
    let open = format!("    <testcase classname=\"{rule}\" name=\"{test}\" file=\"{file}\" time=\"0\"");
    match &verdict.failure {
        None => format!("{open}/>\n"),
        Some(reason) => {
            let reason = escaped(reason);
            format!(
                "{open}>\n      <failure message=\"{reason}\" type=\"findings\">{reason}</failure>\n    </testcase>\n"
            )
        }
    }
}

/// For attributes and texts alike. What XML 1.0 cannot hold at all becomes U+FFFD.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\n' | '\r' | '\t' => out.push_str(&format!("&#{};", u32::from(letter))),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            _ => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn nothing_breaks_out_of_an_attribute() {
        assert_eq!(escaped("a\"<b>&'\n\u{1b}[31m"), "a&quot;&lt;b&gt;&amp;&apos;&#10;\u{fffd}[31m");
    }
}
