//! Calls nothing: the ticket is the action. For findings that no provider call can answer.

use keytrail_model::{Refusal, Target, Undo};

use crate::plan::subject;
use crate::remediator::{Plan, Remediator};

pub struct Notify;

impl Remediator for Notify {
    fn name(&self) -> &'static str {
        "owner.notify"
    }

    fn permissions(&self) -> &'static [&'static str] {
        &[]
    }

    fn contains(&self) -> bool {
        false
    }

    fn plan(&self, target: &Target) -> Result<Plan, Refusal> {
        Ok(Plan {
            target: subject(target).to_owned(),
            summary: "tell the owner and call nothing".to_owned(),
            calls: Vec::new(),
            undo: Undo::Calls(Vec::new()),
            limits: vec!["nothing is contained: whoever holds the credential can go on using it".to_owned()],
        })
    }
}
