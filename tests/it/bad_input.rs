//! Bad input gets a message with file, position and remedy; everything beside it is still processed.

use std::io::{Seek, SeekFrom, Write};
use std::process::Stdio;
use std::time::Duration;

use flate2::{Compression, write::GzEncoder};

use crate::run::{Folder, Ran, repository};

const SAMPLE: &str = "aws.cloudtrail/mcp-ambient-key.jsonl";

fn lines() -> Vec<String> {
    let text = std::fs::read_to_string(repository(&format!("sample-events/{SAMPLE}"))).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn text(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// The sample with another line after its third.
fn with_fourth(line: &str) -> String {
    let mut all = lines();
    all.insert(3, line.to_owned());
    text(&all)
}

/// The sample with its fourth line changed.
fn fourth(change: impl Fn(&str) -> String) -> String {
    let mut all = lines();
    all[3] = change(&all[3]);
    text(&all)
}

fn folder(name: &str, bytes: impl AsRef<[u8]>) -> Folder {
    let folder = Folder::new();
    folder.write(name, bytes);
    folder
}

fn scan(folder: &Folder, path: &str) -> Ran {
    folder.run(&["scan", "--dry-run", path])
}

/// The other lines were read and the findings in them are there.
#[track_caller]
fn rest_is_there(ran: &Ran, events: usize) {
    assert!(ran.stderr.contains(&format!("{events} events read")), "{}", ran.stderr);
    let rules: Vec<String> = ran.rows().iter().map(|row| row["rule"].as_str().unwrap().to_owned()).collect();
    assert!(rules.iter().any(|rule| rule == "aws-static-key-used"), "{rules:?}");
}

#[test]
fn truncated_gzip_gives_what_came_before_the_cut() {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(text(&lines()).as_bytes()).unwrap();
    let bytes = gzip.finish().unwrap();
    let folder = folder("cut.jsonl.gz", &bytes[..bytes.len() * 3 / 4]);
    folder.sample("whole.jsonl", SAMPLE);
    let ran = folder.run(&["scan", "--dry-run", "cut.jsonl.gz", "whole.jsonl"]).ok();
    let ran = ran.says(&["1 rejects", "cut.jsonl.gz byte ", "truncated", "fetch it again, what came before was read"]);
    let events: usize =
        ran.stderr.split(" events read").next().unwrap().rsplit(['\n', ' ']).next().unwrap().parse().unwrap();
    assert!(events > lines().len(), "{events} events");
    rest_is_there(&ran, events);
}

#[test]
fn half_a_line_loses_only_itself() {
    let folder = folder("half.jsonl", fourth(|line| line.chars().take(line.len() / 2).collect()));
    let ran =
        scan(&folder, "half.jsonl").ok().says(&["1 rejects, first at half.jsonl:4: truncated", "fetch the file again"]);
    rest_is_there(&ran, lines().len() - 1);
}

#[test]
fn a_deep_line_loses_only_itself() {
    let deep = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    let inside =
        |line: &str| format!("{},\"x\":{}{}}}", line.trim_end_matches('}'), "[".repeat(10_000), "]".repeat(10_000));
    for (name, text, lost) in [("deep.jsonl", with_fourth(&deep), 0), ("inside.jsonl", fourth(inside), 1)] {
        let folder = folder(name, text);
        let ran = scan(&folder, name).ok().says(&["1 rejects", &format!("{name}:4: nested deeper than 128 levels")]);
        rest_is_there(&ran, lines().len() - lost);
    }
}

#[test]
fn utf_16_is_named_with_the_way_out() {
    let folder = Folder::new();
    let utf16: Vec<u8> =
        "\u{feff}".encode_utf16().chain(text(&lines()).encode_utf16()).flat_map(u16::to_le_bytes).collect();
    folder.write("logs/windows.jsonl", utf16).sample("logs/whole.jsonl", SAMPLE);
    let ran = scan(&folder, "logs").ok().says(&[
        "1 rejects, first at logs/windows.jsonl byte 0",
        "UTF-16",
        "iconv -f UTF-16 -t UTF-8",
    ]);
    rest_is_there(&ran, lines().len());
}

#[test]
fn invalid_utf_8_loses_only_its_line() {
    let mut bytes = text(&lines()[..3]).into_bytes();
    bytes.extend(
        lines()[3]
            .replacen("eu-west-1", "eu-\u{7f}\u{7f}", 1)
            .bytes()
            .map(|byte| if byte == 0x7f { 0xff } else { byte }),
    );
    bytes.extend(format!("\n{}", text(&lines()[4..])).into_bytes());
    let folder = folder("latin.jsonl", bytes);
    let ran = scan(&folder, "latin.jsonl").ok().says(&["1 rejects, first at latin.jsonl:4: not UTF-8", "iconv"]);
    rest_is_there(&ran, lines().len() - 1);
}

#[test]
fn a_duplicate_key_loses_only_its_record() {
    let folder = folder("twice.jsonl", fourth(|line| format!("{{\"awsRegion\":\"xx-twice-1\",{}", &line[1..])));
    let ran = scan(&folder, "twice.jsonl").ok().says(&["1 rejects, first at twice.jsonl:4: duplicate key `awsRegion`"]);
    rest_is_there(&ran, lines().len() - 1);
    let regions = folder.run(&["query", "--data", "twice.jsonl", "SELECT DISTINCT region FROM events"]).ok();
    assert!(!regions.stdout.contains("xx-twice-1"), "{}", regions.stdout);
}

#[test]
fn digests_and_unknown_files_are_counted_and_named() {
    let folder = Folder::new();
    folder.sample("logs/a.jsonl", SAMPLE).write("logs/notes.docx", "x").write("logs/picture.png", "x");
    folder.write(
        "logs/digest.json",
        r#"{"awsAccountId":"111122223333","digestStartTime":"2026-11-02T00:00:00Z",
        "digestEndTime":"2026-11-02T01:00:00Z","digestS3Bucket":"example-trail","digestS3Object":"x","logFiles":[]}"#,
    );
    folder.write("logs/other.jsonl", "{\"who\":\"x\",\"what\":\"y\"}\n{\"who\":\"x\",\"what\":\"z\"}\n");
    let ran = scan(&folder, "logs").ok().says(&[
        "1 records left aside: a digest file",
        "2 records of no known log source, first at logs/other.jsonl:1 (keys: what, who)",
        "2 files in folders passed by",
        "logs/notes.docx",
    ]);
    rest_is_there(&ran, lines().len());
}

/// The sample as the trail delivers it: one document, its fourth record changed.
fn trail(change: impl Fn(&str) -> String) -> String {
    let mut all = lines();
    all[3] = change(&all[3]);
    format!("{{\"Records\":[{}]}}", all.join(","))
}

#[test]
fn a_broken_trail_object_gives_its_whole_records() {
    let text = trail(str::to_owned);
    let cut = &text[..text.len() * 3 / 4];
    let folder = folder("cut.json", cut);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(text.as_bytes()).unwrap();
    let bytes = gzip.finish().unwrap();
    folder.write("cut.json.gz", &bytes[..bytes.len() * 3 / 4]);
    for name in ["cut.json", "cut.json.gz"] {
        let ran = scan(&folder, name).ok().says(&["truncated"]);
        assert!(!ran.stderr.contains("0 events read:"), "{}", ran.stderr);
        assert!(!ran.rows().is_empty());
    }
}

#[test]
fn one_bad_record_of_a_trail_object_loses_only_itself() {
    let deep = |line: &str| {
        let inner = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        format!("{},\"x\":{inner}}}", line.strip_suffix('}').unwrap())
    };
    let twice = |line: &str| format!("{{\"awsRegion\":\"xx-twice-1\",{}", &line[1..]);
    for (name, text) in [("twice.json", trail(twice)), ("deep.json", trail(deep))] {
        let ran = scan(&folder(name, text), name).ok().says(&["1 rejects"]);
        rest_is_there(&ran, lines().len() - 1);
    }
    let broken = trail(|line| line.replacen("eu-west-1", "eu-\u{7f}\u{7f}", 1)).into_bytes();
    let broken: Vec<u8> = broken.into_iter().map(|byte| if byte == 0x7f { 0xff } else { byte }).collect();
    let ran = scan(&folder("latin.json", broken), "latin.json").ok().says(&["1 rejects", "not UTF-8"]);
    rest_is_there(&ran, lines().len() - 1);
}

#[cfg(unix)]
#[test]
fn a_link_to_nowhere_in_a_folder_loses_only_itself() {
    let folder = Folder::new();
    folder.sample("logs/a.jsonl", SAMPLE);
    std::os::unix::fs::symlink("nowhere.json", folder.path("logs/b.json")).unwrap();
    let ran = scan(&folder, "logs").ok().says(&["logs/b.json"]);
    rest_is_there(&ran, lines().len());
}

/// Peak memory of a scan, polled while it runs: the peak never falls, so that the last look is near the truth.
fn peak_memory(folder: &Folder, path: &str) -> u64 {
    let mut child =
        folder.command().args(["scan", "--dry-run", path]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().split(' ').next()?.parse().ok());
        peak = peak.max(kilobytes.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(3));
    }
    peak << 10
}

#[test]
fn a_line_of_200_megabytes_is_passed_over_in_bounded_memory() {
    const LONG: u64 = 200 << 20;
    let folder = Folder::new();
    folder.write("small.jsonl", text(&lines())).write("long.jsonl", text(&lines()[..3]));
    // A hole in the file: nothing is written but its two ends.
    let mut file = std::fs::OpenOptions::new().append(false).write(true).open(folder.path("long.jsonl")).unwrap();
    file.seek(SeekFrom::End(0)).unwrap();
    file.write_all(b"{\"eventVersion\":\"1.11\",\"x\":\"").unwrap();
    file.seek(SeekFrom::Current(i64::try_from(LONG).unwrap())).unwrap();
    file.write_all(format!("\"}}\n{}", text(&lines()[3..])).as_bytes()).unwrap();
    let ran = scan(&folder, "long.jsonl").ok();
    let ran = ran.says(&[
        "1 rejects, first at long.jsonl:4: line of 2097",
        "longer than the limit of 16777216",
        "raise `record_bytes_max`",
    ]);
    rest_is_there(&ran, lines().len());
    if cfg!(target_os = "linux") {
        let (small, long) = (peak_memory(&folder, "small.jsonl"), peak_memory(&folder, "long.jsonl"));
        assert!(small > 0 && long < small + LONG / 2, "{small} bytes without, {long} bytes with the long line");
    } else {
        eprintln!("not measured: peak memory is read from /proc");
    }
}

#[test]
fn nothing_to_read_is_said() {
    let folder = folder("empty.jsonl", "");
    std::fs::create_dir(folder.path("nothing")).unwrap();
    for path in ["empty.jsonl", "nothing"] {
        let ran = scan(&folder, path)
            .ok()
            .says(&["0 findings", "0 events read: nothing here is a record that a mapping knows"]);
        assert!(ran.rows().is_empty());
    }
}

#[test]
fn a_path_that_is_not_there_is_named_with_its_neighbour() {
    let folder = folder("trail.jsonl", text(&lines()));
    scan(&folder, "trial.jsonl").ends(3).says(&["no such file or folder `trial.jsonl`, did you mean `trail.jsonl`?"]);
    scan(&folder, "*.gz").ends(3).says(&["no file matches `*.gz`"]);
    folder.run(&["scan", "--dry-run", "--rules", "rulez", "trail.jsonl"]).ends(3).says(&["no such folder `rulez`"]);
    folder
        .run(&["scan", "--dry-run", "--inventory", "inv.yaml", "trail.jsonl"])
        .ends(3)
        .says(&["no such file or folder `inv.yaml`"]);
}

fn rule(predicate: &str) -> String {
    format!(
        "id: mine\ntitle: Mine\nseverity: medium\nsource: aws.cloudtrail\ndescription: one of my own\n\
         summary: \"{{actor}} did it\"\nwhere: \"{predicate}\"\ngroup_by: [credential]\n"
    )
}

/// Scans with one more file among the rules.
fn scan_with(name: &str, text: &str) -> Ran {
    let folder = Folder::new();
    folder.write(&format!("mine/{name}"), text).sample("a.jsonl", SAMPLE);
    folder.run(&["scan", "--dry-run", "--rules", "mine", "a.jsonl"])
}

#[test]
fn a_rule_with_an_unknown_field_function_or_key_names_the_nearest() {
    scan_with("mine.yaml", &rule("credental_lifetime = 'static'")).ends(2).says(&[
        "mine/mine.yaml:7: ",
        "`credental_lifetime`",
        "did you mean `credential_lifetime`",
    ]);
    scan_with("mine.yaml", &rule("userIdentity.acessKeyId = 'x'")).ends(2).says(&[
        "mine/mine.yaml:7: ",
        "`userIdentity.acessKeyId`",
        "did you mean `userIdentity.accessKeyId`",
    ]);
    scan_with("mine.yaml", &rule("lowr(action) = 'x'")).ends(2).says(&["mine/mine.yaml:7: ", "lowr", "lower"]);
    let key = format!("{}sevrity: low\n", rule("action = 'x'"));
    scan_with("mine.yaml", &key).ends(2).says(&["mine/mine.yaml:9: unknown key `sevrity`, did you mean `severity`?"]);
    scan_with("mine.yaml", "id: [").ends(2).says(&["mine/mine.yaml:"]);
}

#[test]
fn all_errors_of_all_rules_at_once() {
    let folder = Folder::new();
    folder.sample("a.jsonl", SAMPLE).write("mine/mine.yaml", rule("lowr(action) = 'x'"));
    folder.write("mine/other.yaml", rule("nosuch = 'x'").replace("id: mine", "id: other"));
    let ran = folder.run(&["scan", "--dry-run", "--rules", "mine", "a.jsonl"]).ends(2);
    ran.says(&["2 errors in rules", "mine/mine.yaml:7", "mine/other.yaml:7"]);
}

#[test]
fn a_sigma_rule_for_a_log_source_that_no_mapping_reads() {
    let sigma = "title: A provider that is not read\nid: 6f0d6c1e-0000-4000-8000-000000000001\nstatus: test\n\
                 logsource:\n  product: nosuchcloud\n  service: audit\n\
                 detection:\n  selection:\n    eventType: x\n  condition: selection\nlevel: high\n";
    scan_with("sigma.yml", sigma).ends(2).says(&[
        "mine/sigma.yml",
        "no mapping reads the log source `nosuchcloud/audit`",
        "nosuchcloud",
        "known: ",
        "aws/cloudtrail",
    ]);
}

#[test]
fn a_playbook_that_does_not_exist_is_refused_with_the_nearest() {
    let text = format!("{}playbook: contain-aws-acess-key\n", rule("action = 'x'"));
    scan_with("mine.yaml", &text).ends(2).says(&[
        "mine/mine.yaml:",
        "no playbook is called `contain-aws-acess-key`, did you mean `contain-aws-access-key`?",
    ]);
}

#[test]
fn a_guardrail_that_does_not_validate() {
    let policy = "@id(\"mine\")\nforbid(principal in AgentGroup::\"ai\", action == Action::\"use\", resource)\n\
                  when { context.operaton == \"x\" };\n";
    scan_with("guardrails/mine.cedar", policy).ends(2).says(&[
        "mine/guardrails/mine.cedar:",
        "operaton",
        "did you mean `operation`",
    ]);
    scan_with("guardrails/mine.cedar", "forbid(principal").ends(2).says(&["mine/guardrails/mine.cedar:"]);
}

#[test]
fn an_owner_named_twice_is_said_with_both_places() {
    let folder = Folder::new();
    let owner = "owners:\n  - {id: ada, name: Ada, email: ada@example.com, kind: person}\n";
    folder
        .sample("a.jsonl", SAMPLE)
        .write("one.yaml", format!("fallback_owner: ada\n{owner}"))
        .write("two.yaml", owner);
    let ran =
        folder.run(&["scan", "--dry-run", "--inventory", "one.yaml", "--inventory", "two.yaml", "a.jsonl"]).ends(3);
    ran.says(&["two.yaml:2: owner `ada` is named twice, first at one.yaml:3: keep one of the two"]);
}

#[test]
fn a_configuration_that_is_wrong_names_the_key_or_the_file() {
    let folder = Folder::new();
    folder
        .sample("a.jsonl", SAMPLE)
        .write("typo.yaml", "# mine\nouut: x\n")
        .write("gone.yaml", "inventory: [nowhere.yaml]\n");
    let scan = |config: &str| folder.run(&["-c", config, "scan", "--dry-run", "a.jsonl"]).ends(3);
    scan("typo.yaml").says(&["typo.yaml:2: unknown key `ouut`, did you mean `out`?"]);
    scan("gone.yaml").says(&["no such file or folder `nowhere.yaml`"]);
    scan("absent.yaml").says(&["cannot read configuration `absent.yaml`"]);
    folder.run(&["-c", "gone.yaml", "config", "validate"]).ends(3).says(&["nowhere.yaml"]);
}

#[test]
fn a_read_only_folder_is_said_and_the_findings_are_still_shown() {
    let folder = Folder::new();
    folder.sample("a.jsonl", SAMPLE);
    std::fs::create_dir(folder.path("fixed")).unwrap();
    let mut permissions = folder.path("fixed").metadata().unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(folder.path("fixed"), permissions).unwrap();
    let ran = folder.run(&["scan", "--out", "fixed", "a.jsonl"]).ends(3);
    let ran = ran.says(&["store `fixed/keytrail.db` cannot be written", "make the file and its folder writable"]);
    rest_is_there(&ran, lines().len());
}

#[test]
fn a_full_disk_is_said_and_the_findings_are_still_shown() {
    let folder = Folder::new();
    folder.sample("a.jsonl", SAMPLE);
    if std::path::Path::new("/dev/full").exists() {
        let ran = folder.run(&["scan", "--out", "one", "--report", "/dev/full", "a.jsonl"]).ends(3);
        let ran = ran.says(&["cannot write `/dev/full`", "No space left on device"]);
        rest_is_there(&ran, lines().len());
        assert!(folder.path("one/findings.ndjson").is_file());
    } else {
        eprintln!("not run: there is no /dev/full here");
    }
    // In KiB, what one file may be: too little for the store at once, or for its journal later. The signal is ignored,
    // so that the write fails as on a full disk.
    for blocks in ["40", "100"] {
        let ran = folder
            .shell(&format!("trap '' XFSZ; ulimit -f {blocks}; keytrail scan --out limit-{blocks} a.jsonl"))
            .ends(3);
        let ran = ran.says(&[&format!("limit-{blocks}/"), "error: "]);
        rest_is_there(&ran, lines().len());
        assert!(ran.stderr.matches("disk I/O error").count() <= 1, "said more than once: {}", ran.stderr);
    }
}
