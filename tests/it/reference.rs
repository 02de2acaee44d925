//! The promised counts over public logs that are not in this repository: `../shared/data`, or `KEYTRAIL_REFERENCE_DATA`.
//!
//! Says so and passes where they are absent. Nothing of those logs is copied here: only counts, ids and line numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use indicatif::ProgressBar;
use keytrail::pack::Pack;
use keytrail::pipeline::{Input, Outcome, Pipeline};
use keytrail_ingest::{Chunk, Limits, Needed, Normalised, Normaliser, Reader, Span, expand};
use keytrail_model::{EventBatch, Finding};

use crate::golden::{mappings, root, skipped};

/// Lines that are no event, of the four log families, and why. Every line that is not here is at least one event.
const NOT_EVENTS: &[(&str, &[u64], &str)] = &[
    ("panther/aws_cloudtrail", &[17, 18, 19, 100, 101, 102], "unknown: all its keys are in lower case"),
    ("panther/aws_cloudtrail", &[222, 223], "unknown: cut down to eventName without eventSource"),
    ("panther/aws_cloudtrail", &[220, 221, 224, 229, 230, 233, 234], "unknown: empty, or of another product"),
    ("panther/aws_cloudtrail", &[42, 165, 166, 197, 210, 216, 217], "rejected: cut down, has no time"),
    ("streamalert/aws_cloudtrail", &[1, 3, 4, 5], "rejected: a template, `eventTime` is a word"),
    ("streamalert/aws_cloudtrail", &[2], "ignored: an insight is a statistic over calls"),
    ("streamalert/eventbridge_cloudtrail", &[3, 4, 5, 6, 7, 8, 9, 10, 12, 13], "rejected: a template without a time"),
    ("panther/azure_monitoractivity", &KUBE_AUDIT, "rejected: Kubernetes audit, cut down, has no time"),
    ("gcp_csa/gcp_other", &[2, 3, 4], "unknown: application logs, no audit payload"),
    ("plaso/gcp_logging", &[8, 9], "unknown: application logs, no audit payload"),
    ("panther/gcp_auditlog", &[16, 17, 18, 24, 34, 60], "unknown: its keys are in lower case"),
    ("panther/gcp_auditlog", &[25, 26, 30, 31, 35, 36], "unknown: cut down to methodName"),
    ("panther/gcp_auditlog", &GCP_TIMELESS, "rejected: cut down, has no time"),
    ("panther/github_audit", &[38, 39, 40, 41, 42, 54, 55, 56, 57, 58], "rejected: cut down, has no time"),
];

const KUBE_AUDIT: [u64; 20] = run(114);
const GCP_TIMELESS: [u64; 26] = [
    15, 87, 88, 89, 90, 91, 92, 93, 94, 95, 96, 97, 100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112,
    113,
];

const fn run(first: u64) -> [u64; 20] {
    let mut lines = [first; 20];
    let mut index = 0;
    while index < lines.len() {
        lines[index] += index as u64;
        index += 1;
    }
    lines
}

/// CloudTrail, Azure and Entra, GCP audit, GitHub.
const FAMILIES: &[&str] = &[
    "invictus/aws_cloudtrail",
    "otrf/aws_cloudtrail",
    "panther/aws_cloudtrail",
    "plaso/aws_cloudtrail",
    "streamalert/aws_cloudtrail",
    "streamalert/eventbridge_cloudtrail",
    "traildiscover/aws_cloudtrail",
    "cloud_custodian/eventbridge_cloudtrail",
    "otrf/aad_audit",
    "panther/azure_audit",
    "panther/azure_monitoractivity",
    "plaso/azure_activity",
    "gcloudevents/gcp_audit",
    "gcloudevents/gcp_audit_cloudevent",
    "gcp_csa/gcp_audit",
    "gcp_csa/gcp_other",
    "panther/gcp_auditlog",
    "plaso/gcp_logging",
    "azure_sentinel_excerpt/github_audit",
    "panther/github_audit",
    "streamalert/github_ghe_syslog",
];

#[test]
fn every_record_of_the_four_families_is_an_event_or_is_listed_here() {
    let Some(data) = data() else { return };
    let mut listed: BTreeMap<String, BTreeMap<u64, &str>> = BTreeMap::new();
    for (file, lines, reason) in NOT_EVENTS {
        let fates = lines.iter().map(|line| (*line, reason.split(':').next().unwrap_or_default()));
        listed.entry((*file).to_owned()).or_default().extend(fates);
    }
    for family in FAMILIES {
        let fates = fates(&data.join(format!("{family}.jsonl")));
        let other: BTreeMap<u64, &str> = fates.into_iter().filter(|(_, fate)| *fate != "event").collect();
        assert_eq!(other, listed.remove(*family).unwrap_or_default(), "{family}");
    }
    assert!(listed.is_empty(), "lines are listed of files that are no family: {:?}", listed.keys());
}

#[test]
fn static_credentials_are_counted_exactly_over_all_files() {
    let Some(data) = data() else { return };
    let found = events(&logs(&data));
    let count = |test: &dyn Fn(&EventBatch, usize) -> bool| {
        let rows = |batch: &EventBatch| (0..batch.rows()).filter(|&row| test(batch, row)).count();
        found.iter().map(rows).sum::<usize>()
    };
    let is = |batch: &EventBatch, row: usize, column: &str, want: &str| batch.text(column, row) == Some(want);
    let of = |batch: &EventBatch, source: &str| batch.source.as_ref() == source;
    let fixed = |batch: &EventBatch, row: usize| is(batch, row, "credential_lifetime", "static");
    let akia = |batch: &EventBatch, row| batch.text("credential", row).is_some_and(|id| id.starts_with("AKIA"));

    let by_user = |batch: &EventBatch, row: usize| {
        of(batch, "aws.cloudtrail")
            && fixed(batch, row)
            && is(batch, row, "credential_kind", "aws_access_key")
            && is(batch, row, "actor_kind", "user")
    };
    assert_eq!(count(&by_user), 2332, "CloudTrail events by an IAM user's long-term key");
    assert_eq!(count(&|batch, row| of(batch, "aws.cloudtrail") && fixed(batch, row)), 2332, "and nothing else is");
    let contradiction = |batch: &EventBatch, row: usize| akia(batch, row) && is(batch, row, "actor_kind", "role");
    assert_eq!(count(&contradiction), 35, "AKIA with AssumedRole");
    assert_eq!(count(&|batch, row| contradiction(batch, row) && fixed(batch, row)), 0, "is never called static");
    let noted = |batch: &EventBatch, row| is(batch, row, "credential_note", "akia_with_assumed_role");
    assert_eq!(count(&|batch, row| contradiction(batch, row) && noted(batch, row)), 35, "and says why");

    let gcp_key = |batch: &EventBatch, row: usize| is(batch, row, "credential_kind", "gcp_service_account_key");
    assert_eq!(count(&|batch, row| gcp_key(batch, row) && fixed(batch, row)), 6, "service-account key");
    let secret = |batch: &EventBatch, row: usize| {
        of(batch, "entra.signin") && is(batch, row, "credential_kind", "azure_client_secret") && fixed(batch, row)
    };
    assert_eq!(count(&secret), 1, "sign-in with servicePrincipalCredentialKeyId");
    let hashed = |batch: &EventBatch, row: usize| {
        let hash = |column| batch.text(column, row).is_some_and(|id| id.ends_with('=') && id.len() > 40);
        of(batch, "github.audit") && (hash("credential") || hash("issued_credential"))
    };
    assert_eq!(count(&hashed), 7, "hashed GitHub tokens");
}

/// All families and all formats, known or not: other products' logs must not stop a scan either.
#[test]
fn nothing_panics_on_any_file() {
    let Some(data) = data() else { return };
    let outcome = scan(&[data.display().to_string()]);
    assert!(outcome.rule_failures.is_empty(), "{:?}", outcome.rule_failures);
    assert!(outcome.census.total() > 3_000, "{}", outcome.census.total());
}

#[test]
fn invictus_by_the_query_command() {
    let Some(file) = invictus() else { return };
    let sql =
        "SELECT credential, actor, count(*) n FROM events WHERE credential_lifetime='static' GROUP BY 1, 2 ORDER BY n";
    let rows = query(&file, sql);
    let said = |key: &str| rows.iter().map(|row| row[key].to_string()).collect::<BTreeSet<_>>().len();
    let total: u64 = rows.iter().filter_map(|row| row["n"].as_u64()).sum();
    assert_eq!((said("credential"), said("actor"), total), (3, 2, 2182), "{rows:?}");
    let sql = "SELECT credential_lifetime, count(*) n FROM events WHERE credential LIKE 'ASIA%' GROUP BY 1 ORDER BY 1";
    let rows = query(&file, sql);
    let lifetimes: Vec<&str> = rows.iter().filter_map(|row| row["credential_lifetime"].as_str()).collect();
    let total: u64 = rows.iter().filter_map(|row| row["n"].as_u64()).sum();
    assert_eq!((lifetimes, total), (vec!["derived_from_static", "ephemeral"], 633), "{rows:?}");
}

/// The same events as CloudTrail delivered them: objects of `Records`.
#[test]
fn invictus_in_its_original_objects_gives_the_same() {
    let Some(file) = invictus() else { return };
    let folder = file.with_file_name("original_records_json");
    let (lines, objects) = (scan(&[file.display().to_string()]), scan(&[folder.display().to_string()]));
    assert_eq!(lines.census.events, objects.census.events);
    let uses = |outcome: &Outcome| {
        let counted =
            outcome.census.credentials.iter().map(|(id, seen)| (id.clone(), seen.events, seen.lifetime.clone()));
        counted.collect::<Vec<_>>()
    };
    assert_eq!(uses(&lines), uses(&objects));
    let ids = |outcome: &Outcome| outcome.findings.iter().map(|it| (it.id.clone(), it.count)).collect::<BTreeSet<_>>();
    assert_eq!(ids(&lines), ids(&objects));
}

#[test]
fn invictus_findings() {
    let Some(file) = invictus() else { return };
    let outcome = scan(&[file.display().to_string()]);
    let of = |rule: &str| outcome.findings.iter().filter(|it| it.rule == rule).collect::<Vec<_>>();

    let keys = of("aws-static-key-used");
    let distinct: BTreeSet<_> = keys.iter().filter_map(|it| it.target.credential.clone()).collect();
    assert_eq!((keys.len(), distinct.len()), (3, 3), "one finding a key");
    assert_eq!(keys.iter().map(|it| it.count).sum::<u64>(), 2182);

    let made = of("aws-access-key-created-for-other");
    let summaries: String = made.iter().map(|it| it.summary.clone()).collect();
    assert_eq!(made.len(), 2, "{summaries}");
    for name in ["stratus-red-team-backdoor-u-user", "malicious-iam-user"] {
        assert!(summaries.contains(name), "{summaries}");
    }
    assert_eq!(outcomes(&of("aws-trail-turned-off"), "cloudtrail:StopLogging"), [("error".to_owned(), 3)].into());
    let deleted = [("allowed".to_owned(), 2), ("error".to_owned(), 1)];
    assert_eq!(outcomes(&of("aws-trail-turned-off"), "cloudtrail:DeleteTrail"), deleted.into());

    let secrets = of("aws-secrets-read-with-static-key");
    let read: Vec<u64> =
        secrets.iter().filter(|it| in_group(it, "secretsmanager:GetSecretValue")).map(|it| it.count).collect();
    assert_eq!(read, [60], "all GetSecretValue events are one group");
}

#[test]
fn no_console_session_is_called_static_or_derived() {
    let Some(file) = invictus() else { return };
    let mut console = BTreeSet::new();
    for batch in events(std::slice::from_ref(&file)) {
        for row in 0..batch.rows() {
            if batch.text("raw", row).is_some_and(|raw| raw.contains("\"sessionCredentialFromConsole\"")) {
                console.insert(batch.position(row).to_string());
                assert_eq!(batch.text("credential_lifetime", row), Some("ephemeral"), "{}", batch.position(row));
            }
        }
    }
    assert_eq!(console.len(), 256);
    let outcome = scan(&[file.display().to_string()]);
    let derived = outcome.findings.iter().filter(|it| it.target.lifetime.as_deref() == Some("derived_from_static"));
    let shown = derived.flat_map(|it| &it.examples).find(|example| console.contains(&example.position));
    assert!(shown.is_none(), "{shown:?}");
}

/// Rules with more than ten findings on these logs, and why that many is right. None today.
const MANY: &[(&str, &str)] = &[];

#[test]
fn invictus_findings_by_rule() {
    let Some(file) = invictus() else { return };
    let outcome = scan(&[file.display().to_string()]);
    let mut by_rule: BTreeMap<&str, usize> = BTreeMap::new();
    for finding in &outcome.findings {
        *by_rule.entry(finding.rule.as_str()).or_default() += 1;
    }
    for (rule, count) in by_rule.iter().filter(|(_, count)| **count > 10) {
        assert!(MANY.iter().any(|(known, _)| known == rule), "{rule} has {count} findings: add the reason to MANY");
    }
    let lines: Vec<String> = by_rule.iter().map(|(rule, count)| format!("{count:>3} {rule}")).collect();
    insta::assert_snapshot!(format!("{}\n{:>3} together", lines.join("\n"), outcome.findings.len()));
}

fn outcomes(findings: &[&Finding], action: &str) -> BTreeMap<String, u64> {
    let mut counted = BTreeMap::new();
    for finding in findings.iter().filter(|it| in_group(it, action)) {
        finding.outcomes.iter().for_each(|(outcome, count)| *counted.entry(outcome.clone()).or_default() += count);
    }
    counted
}

fn in_group(finding: &Finding, action: &str) -> bool {
    finding.group.iter().any(|(column, value)| column == "action" && value == action)
}

pub(crate) fn data() -> Option<PathBuf> {
    let named = std::env::var_os("KEYTRAIL_REFERENCE_DATA").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| root().join("../shared/data"));
    if folder.is_dir() {
        return Some(folder);
    }
    skipped(&format!("no reference logs at {} (set KEYTRAIL_REFERENCE_DATA)", folder.display()));
    None
}

fn invictus() -> Option<PathBuf> {
    data().map(|data| data.join("invictus/aws_cloudtrail.jsonl"))
}

/// Every line-delimited file except the indexes, which describe the others.
fn logs(data: &Path) -> Vec<PathBuf> {
    let mut files = expand(&[data.display().to_string()]).expect("the reference logs").files;
    files.retain(|file| file.extension().is_some_and(|ending| ending == "jsonl") && !file.ends_with("index.jsonl"));
    files
}

/// Through the mappings alone.
fn events(files: &[PathBuf]) -> Vec<EventBatch> {
    crate::golden::normalise(&mappings(), files).batches
}

/// What a scan without an inventory finds.
fn scan(paths: &[String]) -> Outcome {
    let mut pipeline = Pipeline::build(&Pack::embedded(), Limits::default()).expect("the pack");
    let files = expand(paths).expect("the reference logs").files;
    let inputs: Vec<Input> = files.into_iter().map(Input::File).collect();
    pipeline.run(&inputs, &ProgressBar::hidden(), &mut |_| {}).expect("a scan")
}

fn query(file: &Path, sql: &str) -> Vec<serde_json::Value> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keytrail"));
    let command = command.args(["query", "--quiet", "--output", "ndjson", "--data"]).arg(file).arg(sql);
    // Away from any configuration file.
    let nowhere = tempfile::tempdir().expect("a folder");
    let out = command.current_dir(nowhere.path()).output().expect("the binary");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// What became of each line: documents go through one by one, so that each has its own answer.
pub(crate) fn fates(file: &Path) -> BTreeMap<u64, &'static str> {
    let limits = Limits::default();
    let mut normaliser = Normaliser::new(&mappings(), &Needed::default(), limits.clone()).expect("mappings that plan");
    let mut fates = BTreeMap::new();
    for chunk in Reader::open(file, &limits).expect("a readable file") {
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(reject) => {
                fates.insert(reject.position.line.unwrap_or_default(), "rejected");
                continue;
            }
        };
        for span in &chunk.spans {
            let bytes = chunk.document(span).to_vec();
            let alone = Span { start: 0, end: bytes.len(), place: span.place };
            let mut found = Normalised::default();
            normaliser.normalise(Chunk { origins: chunk.origins.clone(), bytes, spans: vec![alone] }, &mut found);
            fates.insert(span.place.line.unwrap_or_default(), fate(&found));
        }
    }
    fates
}

/// The worst that happened to any record of it.
fn fate(found: &Normalised) -> &'static str {
    let events: usize = found.batches.iter().map(EventBatch::rows).sum();
    match (found.rejects.len(), found.unknown.len(), found.ignored.len(), events) {
        (1.., ..) => "rejected",
        (_, 1.., ..) => "unknown",
        (_, _, 1.., _) => "ignored",
        (0, 0, 0, 0) => "nothing",
        _ => "event",
    }
}
