//! Public records of the log sources beside the four cloud families: each becomes an event, or stands here with its
//! reason. Many of them are test records of other products, cut down to what one rule of theirs reads.

use std::collections::BTreeMap;

use crate::golden::{mappings, normalise};
use crate::reference::{data, fates};

/// File, its records, and those that are no events.
type Listed = (&'static str, usize, &'static [(&'static [u64], &'static str)]);

const FILES: &[Listed] = &[
    (
        "panther/okta_systemlog",
        51,
        &[
            (&OKTA_LOWER, "unknown: its keys are in lower case"),
            (&[23, 24, 34, 35, 36, 37, 38, 39, 47], "unknown: cut down, without `published`"),
        ],
    ),
    ("streamalert/okta", 1, &[]),
    (
        "panther/gsuite_activityevent",
        71,
        &[(&WORKSPACE_TIMELESS, "rejected: cut down, has no time"), (&[71], "unknown: empty")],
    ),
    (
        "panther/amazon_eks_audit",
        121,
        &[
            (&EKS_TIMELESS, "rejected: cut down, has no time"),
            (&EKS_CUT, "unknown: cut down, without `apiVersion`"),
            (&[120, 121], "unknown: empty"),
        ],
    ),
    ("panther/microsoft365_audit_azureactivedirectory", 4, &[]),
    ("otrf/office_activity", 1, &[]),
    ("plaso/m365_audit", 4, &[]),
];

const OKTA_LOWER: [u64; 20] = [7, 8, 9, 10, 11, 12, 13, 19, 20, 21, 22, 25, 26, 27, 28, 29, 30, 31, 32, 33];
const WORKSPACE_TIMELESS: [u64; 26] =
    [16, 17, 18, 26, 27, 28, 29, 32, 33, 34, 39, 40, 41, 42, 55, 56, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70];
const EKS_TIMELESS: [u64; 37] = [
    4, 5, 6, 7, 21, 26, 27, 28, 29, 30, 37, 41, 42, 47, 53, 54, 58, 62, 66, 67, 68, 69, 72, 78, 84, 85, 86, 87, 88, 89,
    90, 91, 98, 102, 109, 110, 111,
];
const EKS_CUT: [u64; 65] = [
    22, 23, 24, 31, 32, 33, 34, 35, 36, 38, 39, 40, 43, 44, 45, 46, 48, 49, 50, 51, 52, 55, 56, 57, 59, 60, 61, 63, 64,
    65, 70, 71, 73, 74, 75, 76, 77, 79, 80, 81, 82, 83, 92, 93, 94, 95, 96, 97, 99, 100, 101, 103, 104, 105, 106, 107,
    108, 112, 113, 114, 115, 116, 117, 118, 119,
];

#[test]
fn every_record_of_the_other_sources_is_an_event_or_is_listed_here() {
    let Some(data) = data() else { return };
    for (file, records, listed) in FILES {
        let fates = fates(&data.join(format!("{file}.jsonl")));
        assert_eq!(fates.len(), *records, "{file}");
        let other: BTreeMap<u64, &str> = fates.into_iter().filter(|(_, fate)| *fate != "event").collect();
        let reasons = listed
            .iter()
            .flat_map(|(lines, reason)| lines.iter().map(|line| (*line, reason.split(':').next().unwrap_or_default())));
        assert_eq!(other, reasons.collect(), "{file}");
    }
}

#[test]
fn the_text_logs_beside_an_audit_log_are_left_aside() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("aks.jsonl");
    let record =
        r#"{"time":"2026-11-05T09:02:00Z","category":"kube-apiserver","properties":{"log":"I1105 started\n"}}"#;
    std::fs::write(&file, record).expect("a log");
    let found = normalise(&mappings(), &[file]);
    assert_eq!((found.ignored.values().sum::<u64>(), found.rejects.len(), found.unknown.len()), (1, 0, 0));
}
