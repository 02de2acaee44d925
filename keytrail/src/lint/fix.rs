//! What `--fix` puts right: changes that need no judgement, made in the text, so that comments survive.
//!
//! Each change is checked: the file must still say the same. Doing it twice changes nothing more.

use keytrail_model::read_yaml;
use serde_json::Value;

use super::blocks::{Block, Blocks};
use super::table::{ID, KEY_FORM, KEY_ORDER, Lint, SPACES, TAG_FORM};
use super::{Problem, tags};
use crate::cli::FileKind;
use crate::pack::Pack;

/// The order in which a rule is read.
pub const ORDER: [&str; 22] = [
    "id",
    "title",
    "severity",
    "status",
    "state",
    "source",
    "tags",
    "description",
    "summary",
    "where",
    "sql",
    "sigma",
    "window",
    "steps",
    "select",
    "group_by",
    "suppress_for",
    "playbook",
    "false_positives",
    "runbook",
    "references",
    "tests",
];

/// As other rule formats write it, and as we do.
const SPELLINGS: [(&str, &str); 7] = [
    ("name", "title"),
    ("level", "severity"),
    ("query", "sql"),
    ("condition", "where"),
    ("fields", "select"),
    ("falsepositives", "false_positives"),
    ("group-by", "group_by"),
];

/// One change that was made.
#[derive(Clone, Debug)]
pub struct Fix {
    pub lint: &'static Lint,
    pub line: u64,
    pub what: String,
}

/// The text with everything put right, and what was changed. A text that is no YAML stays as it is, and one with the
/// line ends of Windows, which would all change.
#[must_use]
pub fn fixed(file: &str, text: &str, kind: FileKind) -> (String, Vec<Fix>) {
    let mut fixes = Vec::new();
    if text.contains('\r') || read_yaml::<Value>(file, text).is_err() {
        return (text.to_owned(), fixes);
    }
    let mut text = step(file, text.to_owned(), spaces, &mut fixes);
    if kind == FileKind::Rule {
        text = step(file, text, tag_forms, &mut fixes);
        let sigma = text.lines().any(|line| line.starts_with("detection:"));
        if !sigma {
            text = step(file, text, key_forms, &mut fixes);
            text = step(file, text, |text| missing_id(file, text), &mut fixes);
            text = step(file, text, order, &mut fixes);
        }
    }
    (text, fixes)
}

/// What `fixed` would change, as problems.
#[must_use]
pub fn problems(files: &Pack) -> Vec<Problem> {
    let kinds = [
        (&files.detections, FileKind::Rule),
        (&files.exceptions, FileKind::Exception),
        (&files.overlays, FileKind::Overlay),
    ];
    let mut found = Vec::new();
    for (texts, kind) in kinds {
        for (file, text) in texts {
            let (_, fixes) = fixed(file, text, kind);
            found.extend(fixes.into_iter().map(|fix| {
                Problem::new(fix.lint, file, Some(fix.line), format!("{}: `rule lint --fix` puts it right", fix.what))
            }));
        }
    }
    found
}

/// The line that tells editors where the schema is, put first or brought up to date.
#[must_use]
pub fn with_editor_header(text: &str, schema: &str) -> String {
    const MARK: &str = "# yaml-language-server:";
    let rest = text.lines().filter(|line| !line.starts_with(MARK)).map(|line| format!("{line}\n"));
    format!("{MARK} $schema={schema}\n{}", rest.collect::<String>())
}

/// Makes a change if the file still reads after it.
fn step(file: &str, text: String, change: impl Fn(&str) -> (String, Vec<Fix>), fixes: &mut Vec<Fix>) -> String {
    let (changed, made) = change(&text);
    if made.is_empty() || read_yaml::<Value>(file, &changed).is_err() {
        return text;
    }
    fixes.extend(made);
    changed
}

/// Spaces in a block of text that YAML keeps are the author's.
fn spaces(text: &str) -> (String, Vec<Fix>) {
    let mut changed: String = text.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    changed.truncate(changed.trim_end().len());
    changed.push('\n');
    let same = |other: &str| read_yaml::<Value>("", text).ok() == read_yaml::<Value>("", other).ok();
    if changed == text || !same(&changed) {
        return (text.to_owned(), Vec::new());
    }
    let first = text.lines().position(|line| line.trim_end() != line);
    let (line, what) = match first {
        Some(line) => (line + 1, "spaces at the end of a line"),
        None => (text.lines().count(), "the file does not end in exactly one line break"),
    };
    (changed, vec![Fix { lint: &SPACES, line: line as u64, what: what.to_owned() }])
}

fn tag_forms(text: &str) -> (String, Vec<Fix>) {
    let Some(mut blocks) = Blocks::of(text) else { return (text.to_owned(), Vec::new()) };
    let mut fixes = Vec::new();
    for index in 0..blocks.blocks.len() {
        let line = blocks.line(index);
        if let Some(block) = blocks.blocks.get_mut(index).filter(|block| block.key == "tags") {
            let above = block.above;
            for (offset, text) in block.lines.iter_mut().enumerate().skip(above) {
                let (changed, made) = tags_in(text, line + (offset - above) as u64);
                *text = changed;
                fixes.extend(made);
            }
        }
    }
    (blocks.text(), fixes)
}

/// The line with every tag well formed; what stands behind `#` is left alone.
fn tags_in(line: &str, number: u64) -> (String, Vec<Fix>) {
    let (said, comment) = line.split_once(" #").map_or((line, None), |(said, comment)| (said, Some(comment)));
    let mut fixes = Vec::new();
    let mut changed = String::new();
    let mut word = String::new();
    for letter in said.chars().chain(['\n']) {
        if letter.is_ascii_alphanumeric() || "._-".contains(letter) {
            word.push(letter);
            continue;
        }
        if let Some(formed) = tags::well_formed(&word) {
            fixes.push(Fix { lint: &TAG_FORM, line: number, what: format!("tag `{word}` is written `{formed}`") });
            word = formed;
        }
        changed.push_str(&word);
        word.clear();
        changed.push(letter);
    }
    changed.pop();
    if let Some(comment) = comment {
        changed.push_str(&format!(" #{comment}"));
    }
    (changed, fixes)
}

fn key_forms(text: &str) -> (String, Vec<Fix>) {
    let Some(mut blocks) = Blocks::of(text) else { return (text.to_owned(), Vec::new()) };
    let mut fixes = Vec::new();
    for index in 0..blocks.blocks.len() {
        let line = blocks.line(index);
        let taken: Vec<String> = blocks.blocks.iter().map(|block| block.key.clone()).collect();
        let Some(block) = blocks.blocks.get_mut(index) else { continue };
        let known =
            SPELLINGS.iter().find(|(theirs, ours)| *theirs == block.key && !taken.iter().any(|key| key == ours));
        if let Some((theirs, ours)) = known {
            rename(block, theirs, ours);
            fixes.push(Fix { lint: &KEY_FORM, line, what: format!("key `{theirs}` is written `{ours}`") });
        }
    }
    (blocks.text(), fixes)
}

fn rename(block: &mut Block, from: &str, to: &str) {
    let above = block.above;
    if let Some(line) = block.lines.get_mut(above) {
        *line = line.replacen(from, to, 1);
    }
    to.clone_into(&mut block.key);
}

fn missing_id(file: &str, text: &str) -> (String, Vec<Fix>) {
    let Some(mut blocks) = Blocks::of(text).filter(|blocks| !blocks.has("id")) else {
        return (text.to_owned(), Vec::new());
    };
    let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
    let id = name.trim_end_matches(".yaml").trim_end_matches(".yml");
    let block = Block { key: "id".to_owned(), lines: vec![format!("id: {id}")], above: 0 };
    blocks.blocks.insert(0, block);
    (blocks.text(), vec![Fix { lint: &ID, line: 1, what: format!("the id is missing: it is `{id}`, the file's name") }])
}

fn rank(key: &str) -> Option<usize> {
    ORDER.iter().position(|known| *known == key)
}

fn order(text: &str) -> (String, Vec<Fix>) {
    let Some(mut blocks) = Blocks::of(text) else { return (text.to_owned(), Vec::new()) };
    // Where a key that is not known belongs is not known either.
    let ranks: Option<Vec<usize>> = blocks.blocks.iter().map(|block| rank(&block.key)).collect();
    let Some(ranks) = ranks else { return (text.to_owned(), Vec::new()) };
    let Some(first) = ranks.iter().zip(ranks.iter().skip(1)).position(|(one, next)| one > next) else {
        return (text.to_owned(), Vec::new());
    };
    let line = blocks.line(first + 1);
    let out = blocks.blocks.get(first + 1).map(|block| block.key.clone()).unwrap_or_default();
    blocks.blocks.sort_by_key(|block| rank(&block.key));
    let same = read_yaml::<Value>("", text).ok() == read_yaml::<Value>("", &blocks.text()).ok();
    if !same {
        return (text.to_owned(), Vec::new());
    }
    let index = blocks.blocks.iter().position(|block| block.key == out).unwrap_or_default();
    let before = index.checked_sub(1).and_then(|index| blocks.blocks.get(index));
    let place = before.map_or("first".to_owned(), |before| format!("after `{}`", before.key));
    (blocks.text(), vec![Fix { lint: &KEY_ORDER, line, what: format!("key `{out}` stands {place}") }])
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSY: &str = "# ours\n\ntitle: a   \nfalsepositives: [x]  # known\ntags: [attack.T1078, attack.defense_evasion]  # T1078\n\
                         # as bad as it gets\nlevel: high\nwhere: >-\n  a = 'b'\n\n\n";

    #[test]
    fn comments_survive_and_a_second_time_changes_nothing() {
        let (text, fixes) = fixed("rules/mine.yaml", MESSY, FileKind::Rule);
        assert_eq!(
            text,
            "# ours\n\nid: mine\ntitle: a\n# as bad as it gets\nseverity: high\n\
             tags: [attack.t1078, attack.defense-evasion]  # T1078\nwhere: >-\n  a = 'b'\nfalse_positives: [x]  # known\n"
        );
        let said: Vec<String> = fixes.iter().map(|fix| format!("{} {}: {}", fix.line, fix.lint.id, fix.what)).collect();
        assert_eq!(
            said,
            [
                "3 trailing-spaces: spaces at the end of a line",
                "5 tag-form: tag `attack.T1078` is written `attack.t1078`",
                "5 tag-form: tag `attack.defense_evasion` is written `attack.defense-evasion`",
                "4 key-form: key `falsepositives` is written `false_positives`",
                "7 key-form: key `level` is written `severity`",
                "1 id-missing: the id is missing: it is `mine`, the file's name",
                "6 key-order: key `tags` stands after `severity`",
            ]
        );
        let (again, more) = fixed("rules/mine.yaml", &text, FileKind::Rule);
        assert!(again == text && more.is_empty(), "{more:?}");
    }

    #[test]
    fn text_that_yaml_keeps_and_what_is_no_yaml_stay_as_they_are() {
        for text in ["id: r\nrunbook: |\n  two spaces  \n  end\n", "id: [\n", "- id: a\n- id: b\n"] {
            let (same, fixes) = fixed("r.yaml", text, FileKind::Rule);
            assert!(same == text && fixes.is_empty(), "{fixes:?}");
        }
    }

    #[test]
    fn the_editor_header_stands_once() {
        let once = with_editor_header("id: a\n", "s.json");
        assert_eq!(once, "# yaml-language-server: $schema=s.json\nid: a\n");
        assert_eq!(with_editor_header(&once, "t.json"), "# yaml-language-server: $schema=t.json\nid: a\n");
    }
}
