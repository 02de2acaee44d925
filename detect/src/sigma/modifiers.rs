//! The modifiers of one detection item, checked against each other, and its values compiled with them.

use rsigma_parser::{Modifier, SigmaString, SigmaValue, StringPart};

use super::encode::{encoded, encodes};
use super::moment::Part;
use super::pattern::{self, Piece};
use super::test::{Compare, Test};

/// What decides about a value. At most one for each item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    /// Equality, or `contains`, `startswith`, `endswith`.
    Text(Option<Modifier>),
    Regex,
    Cidr,
    Exists,
    /// Another field's values, compared the same way.
    Field(Option<Modifier>),
    Compare(Modifier),
    /// A timestamp part, with a comparison or none.
    Moment(Part, Option<Modifier>),
}

#[derive(Debug)]
pub(super) struct Modifiers<'a> {
    written: &'a [Modifier],
    pub(super) operator: Operator,
}

impl<'a> Modifiers<'a> {
    pub(super) fn new(written: &'a [Modifier]) -> Result<Self, String> {
        let modifiers = Self { written, operator: operator(written)? };
        modifiers.check()?;
        Ok(modifiers)
    }

    pub(super) fn has(&self, modifier: Modifier) -> bool {
        self.written.contains(&modifier)
    }

    fn check(&self) -> Result<(), String> {
        if let Some(flag) = self.written.iter().find(|modifier| is_flag(**modifier))
            && self.operator != Operator::Regex
        {
            return Err(format!("modifier `{}` belongs behind `re`", name(*flag)));
        }
        let is_text = matches!(self.operator, Operator::Text(_));
        let transforms = |modifier: &&Modifier| encodes(**modifier) || **modifier == Modifier::WindAsh;
        if let Some(transform) = self.written.iter().find(transforms).filter(|_| !is_text) {
            return Err(format!("modifier `{}` changes texts, and this item compares none", name(*transform)));
        }
        Ok(())
    }

    /// As the rule wrote them, in order.
    pub(super) fn written(&self) -> &[Modifier] {
        self.written
    }

    fn encodings(&self) -> Vec<Modifier> {
        self.written.iter().copied().filter(|modifier| encodes(*modifier)).collect()
    }

    /// The tests of one value: several where an encoding has several forms.
    pub(super) fn tests(&self, value: &SigmaValue) -> Result<Vec<Test>, String> {
        if matches!(value, SigmaValue::Null) {
            return if self.operator == Operator::Text(None) {
                Ok(vec![Test::Null])
            } else {
                Err("null can only be compared as it is: take the modifiers away".to_owned())
            };
        }
        match self.operator {
            Operator::Regex => Ok(vec![pattern::regex(&written(value), |flag| self.has(flag))?]),
            Operator::Cidr => Ok(vec![Test::cidr(&written(value))?]),
            Operator::Compare(by) => Ok(vec![Test::Compare(Compare { by, than: number(value)? })]),
            Operator::Moment(part, by) => {
                let by = by.unwrap_or(Modifier::Neq);
                Ok(vec![Test::Moment(part, Compare { by, than: number(value)? })])
            }
            Operator::Text(operator) => self.text(value, operator),
            Operator::Exists | Operator::Field(_) => Ok(Vec::new()),
        }
    }

    fn text(&self, value: &SigmaValue, operator: Option<Modifier>) -> Result<Vec<Test>, String> {
        let cased = self.has(Modifier::Cased);
        let encodings = self.encodings();
        let pieces = match value {
            SigmaValue::Float(number) if operator.is_none() && encodings.is_empty() => {
                return Ok(vec![Test::Compare(Compare { by: Modifier::Neq, than: *number })]);
            }
            SigmaValue::String(text) => pattern::pieces(text),
            other => vec![Piece::Text(written(other))],
        };
        if encodings.is_empty() {
            let pieces = if self.has(Modifier::WindAsh) { pattern::any_dash(pieces) } else { pieces };
            return Ok(vec![pattern::test(pieces, operator, cased)?]);
        }
        if self.has(Modifier::WindAsh) {
            return Err("modifier `windash` cannot stand beside an encoding: write the variants out".to_owned());
        }
        let anywhere = self.has(Modifier::Base64Offset).then_some(Modifier::Contains);
        let operator = operator.or(anywhere);
        let texts = encoded(&plain(&pieces)?, &encodings)?;
        texts.into_iter().map(|text| pattern::test(vec![Piece::Text(text)], operator, cased)).collect()
    }
}

fn operator(written: &[Modifier]) -> Result<Operator, String> {
    let mut found: Option<(Modifier, Operator)> = None;
    for &modifier in written {
        let Some(next) = alone(modifier) else { continue };
        found = Some(match found {
            None => (modifier, next),
            Some((_, known)) if known == next => (modifier, known),
            Some((first, known)) => {
                let both = together(known, next);
                let clash = || format!("modifiers `{}` and `{}` cannot stand together", name(first), name(modifier));
                (modifier, both.ok_or_else(clash)?)
            }
        });
    }
    Ok(found.map_or(Operator::Text(None), |(_, operator)| operator))
}

fn alone(modifier: Modifier) -> Option<Operator> {
    use Modifier as M;
    match modifier {
        M::Contains | M::StartsWith | M::EndsWith => Some(Operator::Text(Some(modifier))),
        M::Re => Some(Operator::Regex),
        M::Cidr => Some(Operator::Cidr),
        M::Exists => Some(Operator::Exists),
        M::FieldRef => Some(Operator::Field(None)),
        M::Gt | M::Gte | M::Lt | M::Lte => Some(Operator::Compare(modifier)),
        other => Part::new(other).map(|part| Operator::Moment(part, None)),
    }
}

fn together(first: Operator, second: Operator) -> Option<Operator> {
    match (first, second) {
        (Operator::Field(None), Operator::Text(by)) | (Operator::Text(by), Operator::Field(None)) => {
            Some(Operator::Field(by))
        }
        (Operator::Moment(part, None), Operator::Compare(by)) => Some(Operator::Moment(part, Some(by))),
        _ => None,
    }
}

fn is_flag(modifier: Modifier) -> bool {
    matches!(modifier, Modifier::IgnoreCase | Modifier::Multiline | Modifier::DotAll)
}

/// As a rule writes it.
pub(super) fn name(modifier: Modifier) -> String {
    match modifier {
        Modifier::IgnoreCase => "i".to_owned(),
        Modifier::Multiline => "m".to_owned(),
        Modifier::DotAll => "s".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// A value as the rule wrote it.
pub(super) fn written(value: &SigmaValue) -> String {
    match value {
        SigmaValue::String(text) => text.original.clone(),
        other => other.to_string(),
    }
}

fn number(value: &SigmaValue) -> Result<f64, String> {
    match value {
        SigmaValue::Integer(number) => Ok(*number as f64),
        SigmaValue::Float(number) => Ok(*number),
        SigmaValue::String(SigmaString { parts, .. }) => match parts.as_slice() {
            [StringPart::Plain(text)] => text.parse().ok(),
            _ => None,
        }
        .ok_or_else(|| format!("`{value}` cannot be compared with: a number is needed")),
        other => Err(format!("`{other}` cannot be compared with: a number is needed")),
    }
}

fn plain(pieces: &[Piece]) -> Result<String, String> {
    let texts = pieces.iter().map(|piece| match piece {
        Piece::Text(text) => Some(text.as_str()),
        _ => None,
    });
    texts.collect::<Option<String>>().ok_or_else(|| "a wildcard cannot be encoded: write it as `\\*`".to_owned())
}
