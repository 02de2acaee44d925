//! What the documentation tells people to type is typed here.
//!
//! Each `keytrail …` and `cargo run -- …` line of an `sh` block runs in a folder that holds what such lines name. A
//! block that cannot run stands below `<!-- not run: reason -->`.

use keytrail::lint::LINTS;
use keytrail_detect::{Exception, Overlay, Rule};

use crate::run::{Folder, repository};

/// One `sh` block: its first line in the file, its text, and why it is not run.
struct Block {
    line: usize,
    text: String,
    not_run: Option<String>,
}

fn blocks(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut not_run = None;
    let mut lines = document.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let line = line.trim();
        if let Some(reason) = line.strip_prefix("<!-- not run:") {
            not_run = Some(reason.trim_end_matches("-->").trim().to_owned());
        } else if let Some(language) = line.strip_prefix("```") {
            let body: Vec<&str> =
                lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim() != "```").collect();
            if ["sh", "bash", "console", "shell"].contains(&language.trim()) {
                blocks.push(Block { line: number + 2, text: body.join("\n"), not_run: not_run.take() });
            }
            not_run = None;
        } else if !line.is_empty() {
            not_run = None;
        }
    }
    blocks
}

/// The commands of a block: lines joined at a trailing backslash, prompts and comments taken off.
fn commands(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let lines = joined.lines().map(|line| line.trim().trim_start_matches("$ ").to_owned());
    let lines =
        lines.map(|line| line.replace("cargo run --release -- ", "keytrail ").replace("cargo run -- ", "keytrail "));
    lines.filter(|line| line.split(['|', ';', '&']).any(|part| part.trim().starts_with("keytrail "))).collect()
}

/// A folder with what the documents name: samples under several names, rules, an inventory.
fn place() -> Folder {
    let folder = Folder::new();
    for name in ["sample-events", "rules"] {
        copy(&folder, name);
    }
    for path in ["cloudtrail/a.jsonl", "logs/a.jsonl", "my-logs/a.jsonl", "trail.jsonl"] {
        folder.sample(path, "aws.cloudtrail/mcp-ambient-key.jsonl");
    }
    let rule = std::fs::read(repository("rules/detections/aws/aws-static-key-used.yaml")).unwrap();
    folder.write("my-rules/aws-static-key-used.yaml", rule);
    folder
}

fn copy(folder: &Folder, name: &str) {
    for entry in std::fs::read_dir(repository(name)).unwrap() {
        let entry = entry.unwrap();
        let inner = format!("{name}/{}", entry.file_name().into_string().unwrap());
        if entry.path().is_dir() {
            copy(folder, &inner);
        } else {
            folder.write(&inner, std::fs::read(entry.path()).unwrap());
        }
    }
}

/// Types every command of a document; how many ran and how many did not.
fn follow(document: &str) -> (usize, usize) {
    let path = repository(document);
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("not run: {} is not there", path.display());
        return (0, 0);
    };
    let (mut ran, mut left) = (0, 0);
    // One folder for the whole document: later lines build on what earlier ones wrote.
    let folder = place();
    for block in blocks(&text) {
        let commands = commands(&block.text);
        if let Some(reason) = block.not_run {
            eprintln!("not run: {document}:{}: {} commands, {reason}", block.line, commands.len());
            assert!(!reason.is_empty(), "{document}:{} does not say why it is not run", block.line);
            left += commands.len();
            continue;
        }
        for command in commands {
            let done = folder.shell(&command);
            assert_eq!(done.code, 0, "{document}:{}: `{command}`: {}", block.line, done.stderr);
            ran += 1;
        }
    }
    (ran, left)
}

#[test]
fn the_readme_can_be_followed() {
    let (ran, left) = follow("README.md");
    let there = repository("README.md").exists();
    assert!(!there || ran >= 2, "{ran} commands ran, {left} did not: the two commands come first");
}

#[test]
fn the_guide_for_rule_authors_can_be_followed() {
    let (ran, left) = follow("docs/RULES.md");
    assert!(ran >= 10 && left == 0, "{ran} commands ran, {left} did not");
}

#[test]
fn the_guide_to_the_service_can_be_followed() {
    let (ran, left) = follow("docs/SERVICE.md");
    assert!(ran >= 5, "{ran} commands ran, {left} did not");
}

/// Each is a whole configuration.
#[test]
fn the_configurations_of_the_guide_to_the_service_read() {
    let text = std::fs::read_to_string(repository("docs/SERVICE.md")).unwrap();
    let folder = Folder::new();
    let mut read = 0;
    for example in text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()) {
        folder.write("keytrail.yaml", example).run(&["config", "validate"]).ok();
        read += 1;
    }
    assert!(read >= 8, "{read} configurations");
}

/// Its examples read, each as the kind of file that it shows.
#[test]
fn the_examples_of_the_guide_for_rule_authors_read() {
    let text = std::fs::read_to_string(repository("docs/RULES.md")).unwrap();
    let examples = text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    let (mut rules, mut tuned) = (0, 0);
    for example in examples {
        let name = |key: &str| Some(example.strip_prefix(key)?.split_whitespace().next()?.to_owned());
        let said = if let Some(id) = name("id: ").filter(|_| !example.contains("expires:")) {
            rules += 1;
            Rule::read(&format!("{id}.yaml"), example).err()
        } else if name("id: ").is_some() {
            tuned += 1;
            Exception::read("e.yaml", example).err()
        } else if name("rule: ").is_some() {
            tuned += 1;
            Overlay::read("o.yaml", example).err()
        } else {
            None
        };
        assert_eq!(said, None, "{example}");
    }
    assert_eq!((rules, tuned), (6, 2));
}

#[test]
fn the_table_of_lints_in_the_guide_is_that_of_the_code() {
    let text = std::fs::read_to_string(repository("docs/RULES.md")).unwrap();
    let written: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("| lint |")).skip(2).collect();
    let written = written.into_iter().take_while(|line| line.starts_with('|'));
    let rows: Vec<String> = LINTS
        .iter()
        .map(|lint| {
            let fixable = if lint.fixable { "yes" } else { "" };
            format!("| `{}` | {} | {fixable} | {} |", lint.id, lint.level.name(), lint.doc)
        })
        .collect();
    assert_eq!(written.collect::<Vec<_>>(), rows);
}

#[test]
fn the_readme_of_the_samples_can_be_followed() {
    follow("sample-events/README.md");
}

#[test]
fn blocks_and_commands_are_found() {
    let document = "a\n```sh\n$ cargo run -- demo  # all of it\nls\n```\n<!-- not run: needs a server -->\n\n```sh\n\
                    keytrail scan \\\n  x\n```\n```json\nkeytrail\n```\n";
    let found = blocks(document);
    let [first, second] = found.as_slice() else { panic!("{} blocks", found.len()) };
    assert_eq!((first.line, commands(&first.text)), (3, vec!["keytrail demo  # all of it".to_owned()]));
    assert_eq!(second.not_run.as_deref(), Some("needs a server"));
    assert_eq!(commands(&second.text), ["keytrail scan    x"]);
}
