//! Sigma files as a user brings them: correlations, filters, placeholders, keywords, and rules that do not load.

use serde_json::json;

use crate::run::{Folder, Ran};

/// One CloudTrail record: minute, user, event, and the error if it was refused.
fn record(minute: u32, user: &str, event: &str, error: Option<&str>) -> String {
    let mut record = json!({
        "eventVersion": "1.11",
        "userIdentity": {"type": "IAMUser", "principalId": "AIDACKCEVSQ6C2EXAMPLE", "userName": user,
            "arn": format!("arn:aws:iam::111122223333:user/{user}"), "accountId": "111122223333",
            "accessKeyId": "AKIAIOSFODNN7EXAMPLE"},
        "eventTime": format!("2026-03-02T09:{minute:02}:00Z"), "eventSource": "s3.amazonaws.com", "eventName": event,
        "awsRegion": "eu-west-1", "sourceIPAddress": "203.0.113.24", "userAgent": "aws-cli/2.27.50",
        "requestParameters": {"bucketName": "ledger \"north\""}, "responseElements": null,
        "eventID": format!("{user}-{event}-{minute}"), "eventType": "AwsApiCall", "recipientAccountId": "111122223333",
    });
    if let Some(error) = error {
        record["errorCode"] = json!(error);
    }
    format!("{record}\n")
}

/// Three refusals and then a success of one user; refusals of another, far apart.
fn events() -> String {
    let refused = |minute, user| record(minute, user, "GetObject", Some("AccessDenied"));
    let mut text: String = [1, 2, 3].map(|minute| refused(minute, "ann")).concat();
    text.push_str(&record(4, "ann", "ListBuckets", None));
    text.push_str(&[1, 20, 40].map(|minute| refused(minute, "ben")).concat());
    text.push_str(&record(41, "ben", "ListBuckets", None));
    text
}

const BASE: &str = "title: Refused\nname: refused\nlogsource: {product: aws, service: cloudtrail}\ndetection:\n  \
                    s: {errorCode: AccessDenied}\n  condition: s\nlevel: low\n---\n\
                    title: Buckets listed\nname: listed\nlogsource: {product: aws, service: cloudtrail}\ndetection:\n  \
                    s: {eventName: ListBuckets}\n  condition: s\nlevel: low\n";

const MANY: &str = "---\ntitle: Refused often\nname: often\ncorrelation:\n  type: event_count\n  rules: [refused]\n  \
                    group-by: [userIdentity.userName]\n  timespan: 5m\n  condition: {gte: 3}\nlevel: high\n";

fn scan(files: &[(&str, &str)], more: &[&str]) -> Ran {
    let folder = Folder::new();
    folder.write("events.jsonl", events());
    files.iter().for_each(|(name, text)| {
        folder.write(&format!("mine/{name}"), text);
    });
    let mut arguments = vec!["scan", "--dry-run", "--no-builtin-rules", "--rules", "mine", "events.jsonl"];
    arguments.extend(more);
    folder.run(&arguments)
}

fn found(ran: &Ran) -> Vec<(String, u64)> {
    let mut found: Vec<(String, u64)> = ran
        .rows()
        .iter()
        .map(|row| {
            (row["rule"].as_str().unwrap().to_owned(), row["events"].as_u64().or(row["count"].as_u64()).unwrap())
        })
        .collect();
    found.sort();
    found
}

#[test]
fn a_correlation_counts_within_its_time_and_its_rules_stay_silent() {
    let ran = scan(&[("c.yml", &format!("{BASE}{MANY}"))], &[]).ok();
    assert_eq!(found(&ran), [("listed".to_owned(), 1), ("listed".to_owned(), 1), ("often".to_owned(), 3)][..].to_vec());
}

#[test]
fn a_correlation_of_a_correlation_takes_its_matches_in_order() {
    let nested = "---\ntitle: Refused often, then let in\nname: nested\ncorrelation:\n  type: temporal_ordered\n  \
                  rules: [often, listed]\n  group-by: [who]\n  timespan: 10m\n  aliases:\n    \
                  who: {often: userIdentity.userName, listed: userIdentity.userName}\nlevel: critical\n";
    let ran = scan(&[("c.yml", &format!("{BASE}{MANY}{nested}"))], &[]).ok();
    let rules: Vec<String> = found(&ran).into_iter().map(|(rule, _)| rule).collect();
    assert_eq!(rules, ["nested"], "{}", ran.stdout);
    let swapped = nested.replace("[often, listed]", "[listed, often]");
    let ran = scan(&[("c.yml", &format!("{BASE}{MANY}{swapped}"))], &[]).ok();
    assert!(found(&ran).is_empty(), "{}", ran.stdout);
}

#[test]
fn keywords_and_filters_narrow_as_written() {
    let keywords = "title: North\nname: north\nlogsource: {product: aws, service: cloudtrail}\ndetection:\n  \
                    words: ['ledger \"NORTH\"']\n  error: {errorCode|exists: true}\n  condition: words and not error\n";
    let ran = scan(&[("k.yml", keywords)], &[]).ok();
    assert_eq!(found(&ran).iter().map(|(_, count)| count).sum::<u64>(), 2, "{}", ran.stdout);
    let filter = "title: Ann may\nlogsource: {product: aws}\nfilter:\n  rules: [north]\n  \
                  ann: {userIdentity.userName: ANN}\n  condition: not ann\n";
    let ran = scan(&[("k.yml", keywords), ("f.yml", filter)], &[]).ok();
    assert_eq!(found(&ran).iter().map(|(_, count)| count).sum::<u64>(), 1, "{}", ran.stdout);
}

#[test]
fn rules_that_do_not_load_end_the_run_or_are_left_out_as_asked() {
    let bad = BASE.replace("errorCode", "errorCod");
    let good = "title: Good\nname: good\nlogsource: {product: aws, service: cloudtrail}\ndetection:\n  \
                s: {eventName: ListBuckets}\n  condition: s\n";
    let files = [("bad.yml", bad.as_str()), ("good.yml", good)];
    scan(&files, &[]).ends(2).says(&[
        "mine/bad.yml:5: `errorCod` is neither",
        "did you mean `errorCode`",
        "--skip-bad-rules",
    ]);
    let ran = scan(&files, &["--skip-bad-rules"]).ok().says(&["rule left out: mine/bad.yml:5: `errorCod`"]);
    assert_eq!(found(&ran).len(), 2, "{}", ran.stdout);
}

#[test]
fn a_placeholder_takes_its_values_from_the_users_folder() {
    let rule = "title: Theirs\nname: theirs\nlogsource: {product: aws, service: cloudtrail}\ndetection:\n  \
                s:\n    userIdentity.arn|endswith|expand: 'user/%people%'\n  condition: s\n";
    let ran = scan(&[("r.yml", rule)], &[]).ok();
    assert!(found(&ran).is_empty());
    ran.says(&["mine/r.yml:6: rule skipped: placeholder `%people%` has no values", "placeholders/"]);
    let ran = scan(&[("detections/r.yml", rule), ("placeholders/p.yaml", "people: [ben, nobody]\n")], &[]).ok();
    assert_eq!(found(&ran).iter().map(|(_, count)| count).sum::<u64>(), 4, "{}", ran.stdout);
}
