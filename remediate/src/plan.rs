//! A finding and the playbooks give the actions: one for each step that applies, planned or refused, never none.

use keytrail_model::{Action, Finding, Mode, Refusal, Target, Undo, did_you_mean, stable_id};

use crate::guard::guarded;
use crate::playbook::{Playbook, Playbooks};
use crate::refusal::refuse;
use crate::remediator::{Plan, Remediator};
use crate::remediators;

const TELL: &str = "owner.notify";

/// Every finding gets at least one action, unless its rule is on trial. The playbook is the one that the rule names, if it is made for such a
/// credential; else the most specific one that is; else the owner is told and nothing is called.
#[must_use]
pub fn plan(finding: &Finding, playbooks: &Playbooks, protected: &[String]) -> Vec<Action> {
    if finding.shadow {
        return Vec::new();
    }
    let target = as_last_seen(finding);
    let named = finding.playbook.as_deref();
    if let Some(name) = named.filter(|name| playbooks.get(name).is_none()) {
        return vec![unknown_playbook(finding, name, playbooks)];
    }
    let playbook = named
        .and_then(|name| playbooks.get(name))
        .filter(|playbook| playbook.applies_to.matches(&target))
        .or_else(|| playbooks.for_target(&target));
    let Some(playbook) = playbook else { return vec![tell(finding, &target)] };
    let actions = steps(finding, playbook, &target, protected);
    if actions.is_empty() { vec![tell(finding, &target)] } else { actions }
}

/// The target as of the last event of the finding, so that a cut-off reaches all that was seen.
fn as_last_seen(finding: &Finding) -> Target {
    let mut target = finding.target.clone();
    target.time = target.time.max(finding.last_seen);
    target
}

fn steps(finding: &Finding, playbook: &Playbook, target: &Target, protected: &[String]) -> Vec<Action> {
    let steps = playbook.steps.iter().filter(|step| step.when.matches(target));
    let chosen = steps.filter_map(|step| remediators::find(&step.remediator));
    chosen.map(|remediator| action(finding, (&playbook.id, playbook.mode), remediator, target, protected)).collect()
}

fn action(
    finding: &Finding,
    (playbook, mode): (&str, Mode),
    remediator: &dyn Remediator,
    target: &Target,
    protected: &[String],
) -> Action {
    match guarded(remediator, target, protected) {
        Ok(plan) => planned(finding, (playbook, mode), remediator.name(), plan),
        Err(refusal) => refused(finding, (playbook, mode), remediator.name(), refusal),
    }
}

fn planned(finding: &Finding, (playbook, mode): (&str, Mode), remediator: &str, plan: Plan) -> Action {
    let mut limits = plan.limits;
    // What cannot be taken back is never done without a person.
    let irreversible = matches!(plan.undo, Undo::Irreversible(_));
    let mode = if irreversible && mode == Mode::Enforce { Mode::Approve } else { mode };
    if irreversible {
        limits.push("it cannot be undone, so it waits for approval by a named person, whatever the mode".to_owned());
    }
    Action {
        id: stable_id("act", &[&finding.id, remediator]),
        finding: finding.id.clone(),
        playbook: playbook.to_owned(),
        remediator: remediator.to_owned(),
        mode,
        target: plan.target,
        summary: plan.summary,
        calls: plan.calls,
        undo: plan.undo,
        limits,
        refused: None,
    }
}

fn refused(finding: &Finding, (playbook, mode): (&str, Mode), remediator: &str, refusal: Refusal) -> Action {
    Action {
        id: stable_id("act", &[&finding.id, remediator]),
        finding: finding.id.clone(),
        playbook: playbook.to_owned(),
        remediator: remediator.to_owned(),
        mode,
        target: subject(&finding.target).to_owned(),
        summary: format!("nothing is called by {remediator}: {}", refusal.reason),
        calls: Vec::new(),
        undo: Undo::Calls(Vec::new()),
        limits: Vec::new(),
        refused: Some(refusal),
    }
}

fn unknown_playbook(finding: &Finding, name: &str, playbooks: &Playbooks) -> Action {
    let hint = did_you_mean(name, playbooks.ids());
    let reason = format!("rule `{}` names playbook `{name}`, which does not exist{hint}", finding.rule);
    refused(finding, (name, Mode::Shadow), TELL, refuse("no_remediator", reason))
}

fn tell(finding: &Finding, target: &Target) -> Action {
    let made = remediators::find(TELL).map(|remediator| remediator.plan(target));
    match made {
        Some(Ok(plan)) => planned(finding, ("notify-owner", Mode::Shadow), TELL, plan),
        Some(Err(refusal)) => refused(finding, ("notify-owner", Mode::Shadow), TELL, refusal),
        None => refused(
            finding,
            ("notify-owner", Mode::Shadow),
            TELL,
            refuse("no_remediator", "nothing can tell the owner"),
        ),
    }
}

/// What an action is about when it could not be planned.
pub fn subject(target: &Target) -> &str {
    let named = [&target.credential, &target.session, &target.actor, &target.actor_name, &target.agent];
    named.into_iter().flatten().map(String::as_str).find(|text| !text.is_empty()).unwrap_or("no credential known")
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
