//! The yardsticks that `run` measures Keytrail by, one a word on the command line: `dom FILE` and `pointers FILE` are
//! bare sonic-rs parses, `rsigma FILE RULES` is another engine over the same rules. One thread, JSON lines in, counts
//! out, as `name value`.

use std::error::Error;
use std::fs::File;
use std::hint::black_box;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use rsigma_eval::{Engine, JsonEvent};
use rsigma_parser::parse_sigma_file;
use sonic_rs::PointerTree;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// As much at a time as Keytrail reads.
const CHUNK: usize = 4 << 20;

/// The twenty fields that CloudTrail rules, ours and public ones, name most.
const POINTERS: [&[&str]; 20] = [
    &["eventTime"],
    &["eventSource"],
    &["eventName"],
    &["eventType"],
    &["eventID"],
    &["awsRegion"],
    &["sourceIPAddress"],
    &["userAgent"],
    &["errorCode"],
    &["errorMessage"],
    &["recipientAccountId"],
    &["userIdentity", "type"],
    &["userIdentity", "arn"],
    &["userIdentity", "accountId"],
    &["userIdentity", "accessKeyId"],
    &["userIdentity", "userName"],
    &["userIdentity", "invokedBy"],
    &["userIdentity", "sessionContext", "sessionIssuer", "type"],
    &["requestParameters"],
    &["responseElements"],
];

fn main() -> Outcome<()> {
    let words: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    match words.iter().map(PathBuf::as_path).collect::<Vec<_>>().as_slice() {
        [what, file] if what.as_os_str() == "dom" => dom(file),
        [what, file] if what.as_os_str() == "pointers" => pointers(file),
        [what, file, rules] if what.as_os_str() == "rsigma" => rsigma(file, rules),
        _ => Err("say `dom FILE`, `pointers FILE` or `rsigma FILE RULES`".into()),
    }
}

fn dom(file: &Path) -> Outcome<()> {
    let events = each_line(file, |line| {
        black_box(sonic_rs::from_slice::<sonic_rs::Value>(line)?);
        Ok(())
    })?;
    say(&[("events", events)])
}

/// All twenty in one pass: sonic-rs's own fastest way, six times cheaper than twenty calls of `get`.
fn pointers(file: &Path) -> Outcome<()> {
    let mut tree = PointerTree::new();
    for pointer in POINTERS {
        tree.add_path(pointer);
    }
    let mut found = 0;
    let events = each_line(file, |line| {
        let values = black_box(sonic_rs::get_many(line, &tree)?);
        found += values.iter().flatten().count() as u64;
        Ok(())
    })?;
    say(&[("events", events), ("found", found)])
}

/// As its documentation says to use it: rules compiled once, each event borrowed from a `serde_json::Value`.
fn rsigma(file: &Path, rules: &Path) -> Outcome<()> {
    let engine = engine(rules)?;
    let (mut matched, mut matches) = (0, 0);
    let events = each_line(file, |line| {
        let value: serde_json::Value = serde_json::from_slice(line)?;
        let found = black_box(engine.evaluate(&JsonEvent::borrow(&value))).len() as u64;
        matched += u64::from(found > 0);
        matches += found;
        Ok(())
    })?;
    say(&[("events", events), ("rules", engine.rule_count() as u64), ("matched", matched), ("matches", matches)])
}

fn engine(folder: &Path) -> Outcome<Engine> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let mut rules = Vec::new();
    for file in files {
        let read = parse_sigma_file(&file)?;
        if read.rules.is_empty() {
            writeln!(io::stderr(), "not loaded: {}: {}", file.display(), read.errors.join("; "))?;
        }
        rules.extend(read.rules);
    }
    let mut engine = Engine::new();
    for (number, error) in engine.add_rules(&rules) {
        let title = rules.get(number).map_or("", |rule| rule.title.as_str());
        writeln!(io::stderr(), "not loaded: {title}: {error}")?;
    }
    Ok(engine)
}

fn each_line(file: &Path, mut work: impl FnMut(&[u8]) -> Outcome<()>) -> Outcome<u64> {
    let mut file = BufReader::with_capacity(CHUNK, File::open(file)?);
    let mut line = Vec::new();
    let mut count = 0;
    while file.read_until(b'\n', &mut line)? > 0 {
        work(&line)?;
        line.clear();
        count += 1;
    }
    Ok(count)
}

fn say(counts: &[(&str, u64)]) -> Outcome<()> {
    for (name, count) in counts {
        writeln!(io::stdout(), "{name} {count}")?;
    }
    Ok(())
}
