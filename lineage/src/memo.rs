//! A bounded memory of answers already computed. Clearing it costs time, never correctness.

use std::collections::HashMap;

/// Beyond this many answers the memory starts again empty.
const LIMIT: usize = 8_000;

/// Answers by key. Never iterated, so that hash order cannot reach an output.
#[derive(Clone, Debug)]
pub struct Memo<V> {
    answers: HashMap<String, V>,
}

impl<V> Default for Memo<V> {
    fn default() -> Self {
        Self { answers: HashMap::new() }
    }
}

impl<V: Clone> Memo<V> {
    pub fn get(&self, key: &str) -> Option<V> {
        self.answers.get(key).cloned()
    }

    pub fn put(&mut self, key: String, answer: V) -> V {
        if self.answers.len() >= LIMIT {
            self.answers.clear();
        }
        self.answers.insert(key, answer.clone());
        answer
    }

    pub fn clear(&mut self) {
        self.answers.clear();
    }
}

/// One key from several parts; lengths keep two lists of parts from meeting in one key.
pub fn key(parts: &[Option<&str>]) -> String {
    let mut key = String::with_capacity(parts.iter().map(|part| part.map_or(1, str::len) + 4).sum());
    for part in parts {
        match part {
            None => key.push('-'),
            Some(text) => {
                key.push_str(&text.len().to_string());
                key.push(':');
                key.push_str(text);
            }
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::{LIMIT, Memo, key};

    #[test]
    fn keys_tell_parts_apart() {
        assert_ne!(key(&[Some("ab"), Some("c")]), key(&[Some("a"), Some("bc")]));
        assert_ne!(key(&[None, Some("-")]), key(&[Some("-"), None]));
        assert_ne!(key(&[Some("")]), key(&[None]));
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut memo = Memo::default();
        for number in 0..=LIMIT {
            memo.put(number.to_string(), number);
        }
        assert_eq!(memo.answers.len(), 1);
    }
}
