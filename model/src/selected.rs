//! The columns that a rule shows of an event, by name. A list, not a tree: there are few of them, and many events.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Text;

/// In the order of the names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selected(Vec<(Text, Text)>);

impl Selected {
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Text> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    pub fn iter(&self) -> impl Iterator<Item = &(Text, Text)> {
        self.0.iter()
    }
}

impl FromIterator<(Text, Text)> for Selected {
    fn from_iter<I: IntoIterator<Item = (Text, Text)>>(from: I) -> Self {
        Self(from.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect())
    }
}

impl Serialize for Selected {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for Selected {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(BTreeMap::<Text, Text>::deserialize(from)?.into_iter().collect())
    }
}
