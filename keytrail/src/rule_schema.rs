//! JSON Schemas of rule, exception and overlay files, from documented mirrors of what the readers take.
//!
//! For editors: the readers say more, and with better words. A test holds that both know the same keys.

#![expect(dead_code, reason = "the types are only described, never filled")]

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, generate::SchemaSettings};
use serde_json::{Map, Value};

use crate::cli::FileKind;

/// The schema, draft 2020-12.
#[must_use]
pub fn schema(of: FileKind) -> Schema {
    let generator = SchemaSettings::draft2020_12().into_generator();
    match of {
        FileKind::Rule => generator.into_root_schema_for::<RuleFile>(),
        FileKind::Exception => generator.into_root_schema_for::<Entries<Exception>>(),
        FileKind::Overlay => generator.into_root_schema_for::<Entries<Overlay>>(),
    }
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// One, or a list of them.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Entries<T> {
    One(T),
    Several(Vec<T>),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Severity {
    Informational,
    Low,
    Medium,
    High,
    Critical,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Status {
    Experimental,
    Test,
    Stable,
    Deprecated,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum State {
    Off,
    Shadow,
    On,
}

/// A Keytrail detection rule.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, title = "Keytrail rule")]
struct RuleFile {
    /// The file's name without its ending.
    id: String,
    /// A few words, without names of this very case.
    title: String,
    severity: Severity,
    status: Option<Status>,
    /// off: not loaded, still tested and linted. shadow: evaluated and listed, no plan, no ticket. Default: on.
    state: Option<State>,
    /// The log source whose events are looked at, several of them, or `any`.
    source: OneOrMany,
    /// attack.tNNNN(.NNN), attack.tactic-name, owasp.nhi1 to owasp.nhi10.
    tags: Option<Vec<String>>,
    /// What happened and why it matters, for the owner who gets the ticket.
    description: String,
    /// One sentence about this very finding; `{column}` is an event column.
    summary: String,
    /// The condition: SQL over event columns and raw paths. Give exactly one of `where`, `sql`, `sigma` and `steps`.
    r#where: Option<String>,
    /// SELECT evidence FROM events WHERE condition.
    sql: Option<String>,
    /// A Sigma detection: selections and a condition.
    sigma: Option<Map<String, Value>>,
    /// Makes the rule stateful: which events are looked at together, and what must hold of them.
    window: Option<Window>,
    /// With `sequence`, `all_of` and `absence`, in place of `where`.
    steps: Option<BTreeMap<String, Step>>,
    /// Evidence shown with each event.
    select: Option<Vec<String>>,
    /// Event columns: one finding for each combination of their values.
    group_by: Vec<String>,
    /// How long a group stays one finding: 30m, 24h, 7d. Default: 24h.
    #[schemars(regex(pattern = "^[1-9][0-9]*[smhd]$"))]
    suppress_for: Option<String>,
    /// Id of the playbook that contains it.
    playbook: Option<String>,
    /// What is known to be harmless.
    false_positives: Option<Vec<String>>,
    /// What the owner does now.
    runbook: Option<String>,
    references: Option<Vec<String>>,
    /// At least one that finds something and one that finds nothing.
    tests: Option<Vec<Test>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Kind {
    /// The last `within` before an event.
    Sliding,
    /// UTC-aligned buckets.
    Tumbling,
    /// Events whose gap to the one before is `within` at most.
    Session,
}

/// Give exactly one measure.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Window {
    /// 30s, 10m, 24h, 7d. A session's is its longest gap.
    within: Option<String>,
    /// Default: sliding.
    kind: Option<Kind>,
    /// How many events.
    count: Option<Bounds>,
    /// How many different values.
    distinct: Option<Over>,
    sum: Option<Over>,
    avg: Option<Over>,
    percentile: Option<Ranked>,
    /// A value that is new for the group, after a time of learning. Has no `within`.
    first_seen: Option<FirstSeen>,
    /// Steps in this order.
    sequence: Option<Vec<String>>,
    /// Steps in any order.
    all_of: Option<Vec<String>>,
    /// A step that is not followed by another.
    absence: Option<Absence>,
}

/// All of them must hold.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Bounds {
    gt: Option<f64>,
    gte: Option<f64>,
    lt: Option<f64>,
    lte: Option<f64>,
    eq: Option<f64>,
    neq: Option<f64>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Over {
    /// Event columns or raw paths; several are one tuple.
    of: OneOrMany,
    gt: Option<f64>,
    gte: Option<f64>,
    lt: Option<f64>,
    lte: Option<f64>,
    eq: Option<f64>,
    neq: Option<f64>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Ranked {
    of: OneOrMany,
    /// 0 to 100.
    rank: f64,
    gt: Option<f64>,
    gte: Option<f64>,
    lt: Option<f64>,
    lte: Option<f64>,
    eq: Option<f64>,
    neq: Option<f64>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct FirstSeen {
    /// ip, network, region, tool, action, resource, or any column.
    of: OneOrMany,
    /// How long after the group's first event values are only learnt.
    learn: String,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Absence {
    /// The step that must be followed.
    after: String,
    /// The step that must follow.
    of: String,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Step {
    r#where: String,
    /// Default: the rule's.
    source: Option<OneOrMany>,
    /// This step's keys, parallel to the rule's `group_by`. Default: `group_by` itself.
    by: Option<Vec<String>>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Test {
    name: String,
    /// Shaped like a file of rules/inventory/.
    inventory: Option<Map<String, Value>>,
    /// Rows of the table `credentials`.
    credentials: Option<Vec<Map<String, Value>>>,
    /// Rows of the table `owners`.
    owners: Option<Vec<Map<String, Value>>>,
    /// Rows of the table `edges`.
    edges: Option<Vec<Map<String, Value>>>,
    /// The watermark when the test is judged, RFC 3339. Default: after everything.
    at: Option<String>,
    /// Raw records as the vendor writes them.
    records: Option<Vec<Map<String, Value>>>,
    /// One raw record.
    record: Option<Map<String, Value>>,
    /// How many findings they give.
    findings: u32,
}

/// Events that are known and accepted until a date.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Exception {
    id: String,
    /// A rule, several, or `any`.
    rule: OneOrMany,
    /// Which events: SQL over event columns and raw paths.
    r#where: String,
    /// Who answers for it.
    owner: String,
    reason: String,
    /// A date; an event at that time or later counts again.
    expires: String,
}

/// What is changed about a rule that somebody else maintains.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Overlay {
    rule: String,
    reason: Option<String>,
    set: Option<Set>,
    /// One condition more that an event must meet.
    and: Option<String>,
    #[schemars(rename = "false_positives+")]
    false_positives: Option<Vec<String>>,
    #[schemars(rename = "tags+")]
    tags: Option<Vec<String>>,
    #[schemars(rename = "references+")]
    references: Option<Vec<String>>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Set {
    title: Option<String>,
    severity: Option<Severity>,
    status: Option<Status>,
    state: Option<State>,
    tags: Option<Vec<String>>,
    description: Option<String>,
    summary: Option<String>,
    group_by: Option<Vec<String>>,
    suppress_for: Option<String>,
    playbook: Option<String>,
    false_positives: Option<Vec<String>>,
    runbook: Option<String>,
    references: Option<Vec<String>>,
}
