//! How a dialect writes where a field stands: a name, `{sql: …}`, or a list of both. Read without guessing, so that an
//! expression keeps its line.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::computed::WrittenSql;

#[derive(Debug)]
pub(crate) enum WrittenTarget {
    Name(String),
    Sql(WrittenSql),
}

/// Any of them may match.
#[derive(Debug)]
pub(crate) struct WrittenTargets(pub(crate) Vec<WrittenTarget>);

impl<'de> Deserialize<'de> for WrittenTarget {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(One)
    }
}

impl<'de> Deserialize<'de> for WrittenTargets {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Several)
    }
}

struct One;

impl<'de> Visitor<'de> for One {
    type Value = WrittenTarget;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a raw path, an event column or `{sql: …}`")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<WrittenTarget, E> {
        Ok(WrittenTarget::Name(name.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WrittenTarget, A::Error> {
        WrittenSql::deserialize(MapAccessDeserializer::new(map)).map(WrittenTarget::Sql)
    }
}

struct Several;

impl<'de> Visitor<'de> for Several {
    type Value = WrittenTargets;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a raw path, an event column, `{sql: …}`, or a list of them")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<WrittenTargets, E> {
        One.visit_str(name).map(|target| WrittenTargets(vec![target]))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WrittenTargets, A::Error> {
        One.visit_map(map).map(|target| WrittenTargets(vec![target]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<WrittenTargets, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(WrittenTargets)
    }
}
