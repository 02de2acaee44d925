//! The fields that a rule names and its log source does not have, told for rules that do not run: their values are
//! missing, but their names can be looked at.

use rsigma_parser::Detection;

use super::SigmaBody;
use super::place::{Fault, Place};
use super::resolve::Resolver;

pub(crate) fn unknown_fields(body: &SigmaBody, resolver: &Resolver<'_>) -> Vec<Fault> {
    let mut named: Vec<_> = body.detections.named.iter().collect();
    named.sort_by_key(|(name, _)| *name);
    let mut faults = Vec::new();
    for (_, detection) in named {
        of_detection(detection, &body.place, resolver, &mut faults);
    }
    faults
}

fn of_detection(detection: &Detection, place: &Place, resolver: &Resolver<'_>, faults: &mut Vec<Fault>) {
    match detection {
        Detection::AllOf(items) => {
            let fields = items.iter().filter_map(|item| item.field.name.as_ref());
            let unknown = |field: &String| resolver.targets(field).err().map(|message| place.fault(field, message));
            faults.extend(fields.filter_map(unknown));
        }
        Detection::AnyOf(parts) | Detection::And(parts) => {
            parts.iter().for_each(|part| of_detection(part, place, resolver, faults));
        }
        Detection::Keywords(_) | Detection::ArrayMatch { .. } | Detection::Conditional { .. } => {}
    }
}
