//! A finding as OCSF 1.8 Detection Finding (class 2004). What OCSF has no place for stands under `unmapped`.

use keytrail_model::{Action, Example, Finding, Ownership};
use serde_json::{Value, json};

const CLASS: u32 = 2004;
const ACTIVITY_CREATE: u32 = 1;

/// One finding with the actions that are planned for it.
#[must_use]
pub fn finding(finding: &Finding, actions: &[&Action]) -> Value {
    json!({
        "class_uid": CLASS,
        "class_name": "Detection Finding",
        "category_uid": 2,
        "category_name": "Findings",
        "activity_id": ACTIVITY_CREATE,
        "activity_name": "Create",
        "type_uid": CLASS * 100 + ACTIVITY_CREATE,
        "time": finding.first_seen.0 / 1000,
        "start_time": finding.first_seen.0 / 1000,
        "end_time": finding.last_seen.0 / 1000,
        "count": finding.count,
        "severity_id": finding.severity.ocsf(),
        "severity": finding.severity.name(),
        "status_id": 1,
        "status": "New",
        "message": finding.summary,
        "is_alert": !finding.shadow,
        "confidence_score": confidence(finding),
        "metadata": metadata(),
        "cloud": {"provider": finding.target.provider, "account": {"uid": finding.target.account}},
        "finding_info": info(finding),
        "evidences": finding.examples.iter().map(|example| evidence(finding, example)).collect::<Vec<_>>(),
        "resources": finding.resources.iter().map(|uid| json!({"uid": uid, "owner": owner(finding)})).collect::<Vec<_>>(),
        "remediation": remediation(finding, actions),
        "unmapped": unmapped(finding, actions),
    })
}

fn metadata() -> Value {
    json!({
        "version": "1.8.0",
        "product": {"name": "Keytrail", "vendor_name": "Keytrail", "version": env!("CARGO_PKG_VERSION")},
        "profiles": ["cloud"],
    })
}

fn info(finding: &Finding) -> Value {
    let attacks = finding.tags.iter().filter_map(|tag| tag.strip_prefix("attack.t"));
    let attacks: Vec<Value> = attacks.map(|id| json!({"technique": {"uid": format!("T{id}")}})).collect();
    json!({
        "uid": finding.id,
        "title": finding.title,
        "desc": finding.summary,
        "analytic": {"uid": finding.rule, "name": finding.title, "type_id": 1, "type": "Rule"},
        "attacks": attacks,
        "types": finding.tags,
        "created_time": finding.first_seen.0 / 1000,
        "first_seen_time": finding.first_seen.0 / 1000,
        "last_seen_time": finding.last_seen.0 / 1000,
        "related_events": finding.examples.iter().map(|event| json!({"uid": event.event_id})).collect::<Vec<_>>(),
        "related_events_count": finding.count,
        "data_sources": [finding.source],
    })
}

fn evidence(finding: &Finding, example: &Example) -> Value {
    let target = &finding.target;
    json!({
        "actor": {
            "user": {"uid": example.actor, "name": target.actor_name, "type": target.actor_kind},
            "session": {"uid": target.session, "credential_uid": target.credential},
        },
        "api": {"operation": example.action, "response": {"message": example.outcome}},
        "src_endpoint": {"ip": example.ip},
        "http_request": {"user_agent": example.user_agent},
        "resources": example.resources.iter().map(|uid| json!({"uid": uid})).collect::<Vec<_>>(),
        "data": {
            "time": example.time,
            "event_uid": example.event_id,
            "position": example.position,
            "tool": example.tool,
            "prompt_ref": example.prompt_ref,
            "selected": example.selected,
        },
    })
}

fn owner(finding: &Finding) -> Value {
    let owner = finding.ownership.as_ref().and_then(|ownership| ownership.owners.first());
    owner.map_or(Value::Null, |owner| json!({"uid": owner.id, "name": owner.name, "email_addr": owner.email}))
}

fn confidence(finding: &Finding) -> u32 {
    let confidence = finding.ownership.as_ref().map_or(0.0, |ownership: &Ownership| ownership.confidence);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share between 0 and 1")]
    let percent = (confidence.clamp(0.0, 1.0) * 100.0).round() as u32;
    percent
}

fn remediation(finding: &Finding, actions: &[&Action]) -> Value {
    let planned: Vec<&str> = actions.iter().map(|action| action.summary.as_str()).collect();
    let text = if planned.is_empty() { "tell the owner".to_owned() } else { planned.join("; ") };
    json!({"desc": text, "references": finding.references})
}

fn unmapped(finding: &Finding, actions: &[&Action]) -> Value {
    json!({
        "credential": finding.target,
        "group": finding.group.iter().map(|(name, value)| json!({"name": name, "value": value})).collect::<Vec<_>>(),
        "period_start": finding.period_start,
        "outcomes": finding.outcomes,
        "guardrails": finding.guardrails,
        "ips": finding.ips,
        "ip_count": finding.ip_count,
        "resource_count": finding.resource_count,
        "ownership": finding.ownership,
        "lineage": finding.lineage,
        "playbook": finding.playbook,
        "actions": actions,
        "runbook": finding.runbook,
        "false_positives": finding.false_positives,
    })
}
