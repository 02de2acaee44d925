//! How state is written down where serde has no form of its own: shared values, sets in
//! one order, so that the same state gives the same bytes.

use std::hash::{DefaultHasher, Hash, Hasher};

/// The same in every process: what is counted, shared and split by it can be saved.
pub(crate) fn hash_of(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hash = DefaultHasher::new();
    value.hash(&mut hash);
    hash.finish()
}

/// A set, sorted.
pub(crate) mod sorted {
    use std::collections::HashSet;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(set: &HashSet<u64>, to: S) -> Result<S::Ok, S::Error> {
        let mut values: Vec<u64> = set.iter().copied().collect();
        values.sort_unstable();
        values.serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<HashSet<u64>, D::Error> {
        Ok(Vec::deserialize(from)?.into_iter().collect())
    }
}

/// A shared value as what it is.
pub(crate) mod one {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<T: Serialize, S: Serializer>(value: &Arc<T>, to: S) -> Result<S::Ok, S::Error> {
        value.as_ref().serialize(to)
    }

    pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<Arc<T>, D::Error>
    where
        T: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        T::deserialize(from).map(Arc::new)
    }
}

/// A list of shared values by key.
pub(crate) mod pairs {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        list: &[(K, Arc<V>)],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(list.iter().map(|(key, value)| (key, value.as_ref())))
    }

    pub(crate) fn deserialize<'de, K, V, D>(from: D) -> Result<Vec<(K, Arc<V>)>, D::Error>
    where
        K: Deserialize<'de>,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        let pairs: Vec<(K, V)> = Vec::deserialize(from)?;
        Ok(pairs.into_iter().map(|(key, value)| (key, Arc::new(value))).collect())
    }
}
