//! Starts a CloudTrail trail that somebody stopped. Restores; takes nothing from anyone.

use keytrail_model::{Call, Refusal, Target, Undo};

use crate::aws;
use crate::command::quoted;
use crate::refusal::{missing_field, needs_look_up, not_exact};
use crate::remediator::{Plan, Remediator};

pub struct StartLogging;

impl Remediator for StartLogging {
    fn name(&self) -> &'static str {
        "aws.start_logging"
    }

    fn permissions(&self) -> &'static [&'static str] {
        &["cloudtrail:StartLogging", "cloudtrail:StopLogging"]
    }

    fn contains(&self) -> bool {
        false
    }

    fn plan(&self, target: &Target) -> Result<Plan, Refusal> {
        let trail = trail(target)?;
        Ok(Plan {
            target: trail.to_owned(),
            summary: format!("start logging again on trail {trail}"),
            calls: vec![switch("StartLogging", trail)],
            undo: Undo::Calls(vec![switch("StopLogging", trail)]),
            limits: vec![
                "what happened while the trail was off is in no log of it: Event history keeps 90 days of \
                 management events"
                    .to_owned(),
                "a deleted trail cannot be started: create it again from your infrastructure code".to_owned(),
                "it does not contain whoever stopped the trail".to_owned(),
            ],
        })
    }
}

fn trail(target: &Target) -> Result<&str, Refusal> {
    let is_trail =
        |text: &&String| text.starts_with("arn:") && text.contains(":cloudtrail:") && text.contains(":trail/");
    let mut arns: Vec<&str> = target.resources.iter().filter(is_trail).map(String::as_str).collect();
    arns.sort_unstable();
    arns.dedup();
    match (arns.as_slice(), target.resources.as_slice()) {
        ([arn], _) => Ok(arn),
        ([], []) => Err(missing_field("resources", "the trail's ARN is taken from it")),
        ([], [name, ..]) => Err(needs_look_up(format!(
            "the event names trail `{name}` without its region: `aws cloudtrail describe-trails --trail-name-list {}` \
             gives its ARN",
            quoted(name)
        ))),
        (many, _) => Err(not_exact(format!("the event names {} trails", many.len()))),
    }
}

fn switch(operation: &str, trail: &str) -> Call {
    aws::call("cloudtrail", operation, &[("Name", trail)])
}
