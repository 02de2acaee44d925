//! A Sigma detection as clauses: its condition, the selections that the condition names, and each item of those.

use keytrail_sql::Name;
use rsigma_parser::{ConditionExpr, Detection, Quantifier};

use super::asker::Asker;
use super::clause::{Clause, Joined};
use super::found::{Read, in_column};
use crate::compile::SourceFields;
use crate::sigma::{Piece, Pieces, SigmaBody, Target};

type Said = Result<Clause, String>;

/// The whole body: the detection, the filters that narrow it, and what narrows the log source's name.
pub(super) fn body(body: &SigmaBody, source: &SourceFields<'_>, asker: &Asker<'_>) -> Said {
    let resolver = source.resolver();
    let section = |detections, place| Section { pieces: Pieces { detections, place, resolver: &resolver }, asker };
    let mut parts = vec![section(&body.detections, &body.place).conditions()?];
    for (detections, place) in &body.filters {
        let filter = section(detections, place).conditions()?;
        parts.push(Clause::of(format!("filter {}", place.file()), Joined::All, vec![filter]));
    }
    let narrow = body.narrow.get(source.name).map(Vec::as_slice).unwrap_or_default();
    let narrow = narrow.iter().map(|condition| asker.condition(condition)).collect::<Result<Vec<_>, _>>()?;
    if !narrow.is_empty() {
        parts.push(Clause::of("what Sigma's name for the log source means of it", Joined::Any, narrow));
    }
    Ok(single(parts).unwrap_or_else(|parts| Clause::of("", Joined::All, parts)))
}

fn single(mut parts: Vec<Clause>) -> Result<Clause, Vec<Clause>> {
    match parts.pop() {
        Some(one) if parts.is_empty() => Ok(one),
        last => {
            parts.extend(last);
            Err(parts)
        }
    }
}

/// One detection section.
#[derive(Clone, Copy)]
struct Section<'a> {
    pieces: Pieces<'a>,
    asker: &'a Asker<'a>,
}

impl Section<'_> {
    /// Several conditions are alternatives.
    fn conditions(&self) -> Said {
        let (conditions, texts) = (&self.pieces.detections.conditions, &self.pieces.detections.condition_strings);
        let mut said = Vec::new();
        for (number, condition) in conditions.iter().enumerate() {
            let clause = self.condition(condition)?;
            let written = texts.get(number).cloned().unwrap_or_else(|| condition.to_string());
            // A condition that is one name says no more than the selection of that name.
            let named = matches!(condition, ConditionExpr::Identifier(_));
            said.push(if named { clause } else { Clause { written, ..clause } });
        }
        Ok(single(said).unwrap_or_else(|said| Clause::of("", Joined::Any, said)))
    }

    fn condition(&self, condition: &ConditionExpr) -> Said {
        let written = condition.to_string();
        let each =
            |parts: &[ConditionExpr]| parts.iter().map(|part| self.condition(part)).collect::<Result<Vec<_>, _>>();
        Ok(match condition {
            ConditionExpr::And(parts) => Clause::of(written, Joined::All, each(parts)?),
            ConditionExpr::Or(parts) => Clause::of(written, Joined::Any, each(parts)?),
            ConditionExpr::Not(part) => Clause::of(written, Joined::Not, vec![self.condition(part)?]),
            ConditionExpr::Identifier(name) => self.named(name)?,
            ConditionExpr::Selector { quantifier, pattern } => {
                let joined = match quantifier {
                    Quantifier::Any => Joined::Any,
                    Quantifier::All => Joined::All,
                    Quantifier::Count(count) => Joined::AtLeast(*count),
                };
                let names = self.pieces.selected(pattern);
                let parts = names.into_iter().map(|name| self.named(name)).collect::<Result<_, _>>()?;
                Clause::of(written, joined, parts)
            }
        })
    }

    fn named(&self, name: &str) -> Said {
        let detection = self.pieces.detections.named.get(name);
        let detection = detection.ok_or_else(|| format!("sigma: condition names `{name}`, which is not defined"))?;
        self.detection(name, detection)
    }

    fn detection(&self, name: &str, detection: &Detection) -> Said {
        match detection {
            Detection::AllOf(items) => {
                let items = items.iter().map(|item| self.pieces.item(item).map_err(|fault| fault.message));
                let items = items.map(|piece| self.piece(piece?)).collect::<Result<_, _>>()?;
                Ok(Clause::of(name, Joined::All, items))
            }
            Detection::AnyOf(parts) => Ok(Clause::of(name, Joined::Any, self.numbered(parts)?)),
            Detection::And(parts) => Ok(Clause::of(name, Joined::All, self.numbered(parts)?)),
            Detection::Keywords(words) => {
                let piece = self.pieces.keywords(words).map_err(|fault| fault.message)?;
                Ok(Clause::of(name, Joined::All, vec![self.piece(piece)?]))
            }
            Detection::ArrayMatch { .. } | Detection::Conditional { .. } => {
                Err("sigma: array matching is not supported".to_owned())
            }
        }
    }

    fn numbered(&self, parts: &[Detection]) -> Result<Vec<Clause>, String> {
        (1..).zip(parts).map(|(number, part)| self.detection(&format!("part {number}"), part)).collect()
    }

    fn piece(&self, piece: Piece) -> Said {
        let mut reads: Vec<Read> = Vec::new();
        for (field, target) in &piece.fields {
            let read = self.read(field, target)?;
            if !reads.contains(&read) {
                reads.push(read);
            }
        }
        let holds = self.asker.logical(piece.expr).map_err(|error| error.to_string())?;
        Ok(Clause::test(piece.written, holds, reads))
    }

    fn read(&self, field: &str, target: &Target) -> Result<Read, String> {
        let event = self.asker.event;
        Ok(match target {
            Target::Raw(path) => event.read_as(field, &Name::Raw(path.clone())),
            Target::Event(column, _) => event.read_as(field, &Name::Event(column)),
            Target::Sql(computed) => {
                let value = self.asker.value(&computed.expr).map_err(|error| error.to_string())?;
                Read { name: field.to_owned(), at: computed.text.clone(), found: in_column(&value, 0) }
            }
        })
    }
}
