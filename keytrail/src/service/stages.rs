//! Everything that rules, mappings, inventory and playbooks become: made whole before it takes the place of the one before.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Result;
use keytrail_detect::{Plan, Rule};
use keytrail_ingest::{Limits, Mapping, Needed, Normaliser};
use keytrail_lineage::Enricher;
use keytrail_model::{Action, Finding};
use keytrail_remediate::{Playbooks, plan};

use crate::failure::Failure;
use crate::pack::Pack;
use crate::pipeline::{LEARNT, check_playbooks};

pub struct Stages {
    mappings: Vec<Arc<Mapping>>,
    /// All rules.
    pub plan: Arc<Plan>,
    /// Those that look at one record alone, and so can be answered when it arrives.
    pub immediate: Arc<Plan>,
    /// Knows the inventory and has learnt nothing.
    pub enricher: Enricher,
    playbooks: Playbooks,
    protected: Vec<String>,
    pub limits: Limits,
}

impl Stages {
    pub fn build(pack: &Pack, limits: Limits) -> Result<Self> {
        let mappings = pack.mappings()?;
        let plan = Arc::new(pack.plan(pack.rules()?, &mappings)?);
        let playbooks = pack.playbooks()?;
        check_playbooks(plan.rules(), &playbooks)?;
        let immediate: Vec<Rule> = plan.rules().iter().filter(|rule| !rule.settled()).cloned().collect();
        let immediate = Arc::new(pack.plan(immediate, &mappings)?);
        let mut enricher = pack.enricher()?;
        if plan.joined().next().is_some() {
            enricher.learn_uses();
        }
        let protected = enricher.inventory().protected().map(str::to_owned).collect();
        Ok(Self { mappings, plan, immediate, enricher, playbooks, protected, limits })
    }

    /// For who learns from events and does no more.
    pub fn learner(&self) -> Result<Normaliser> {
        self.normaliser(&Needed { columns: Some(names(&LEARNT)), paths: std::collections::BTreeMap::new() })
    }

    /// For who evaluates every rule: events with all their columns.
    pub fn reader(&self) -> Result<Normaliser> {
        self.normaliser(&Needed { columns: None, paths: self.plan.paths().clone() })
    }

    /// For who takes records in: what immediate rules read and what records are known by.
    pub fn taker(&self) -> Result<Normaliser> {
        let mut columns = names(&["time", "event_id", "raw", "credential_lifetime", "credential_note"]);
        columns.extend(self.immediate.columns().iter().cloned());
        self.normaliser(&Needed { columns: Some(columns), paths: self.immediate.paths().clone() })
    }

    fn normaliser(&self, needed: &Needed) -> Result<Normaliser> {
        Normaliser::new(&self.mappings, needed, self.limits.clone()).map_err(Failure::rules)
    }

    /// Whether a rule's findings wait until event time has passed them.
    #[must_use]
    pub fn is_settled(&self, rule: &str) -> bool {
        self.immediate.rules().iter().all(|immediate| immediate.id != rule)
    }

    /// What a playbook would do about a finding.
    #[must_use]
    pub fn actions(&self, finding: &Finding) -> Vec<Action> {
        plan(finding, &self.playbooks, &self.protected)
    }
}

fn names(all: &[&str]) -> BTreeSet<String> {
    all.iter().map(|&name| name.to_owned()).collect()
}
