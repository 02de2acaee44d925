//! Ids that do not depend on arrival order, clock or machine: the same parts give the same id, always.

use sha2::{Digest, Sha256};

/// Hex of the first 16 bytes of SHA-256 over the parts, each preceded by its length so that no two lists collide.
#[must_use]
pub fn stable_id(prefix: &str, parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let hex: String = hash.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{prefix}-{hex}")
}

#[cfg(test)]
mod tests {
    use super::stable_id;

    #[test]
    fn boundaries_between_parts_count() {
        assert_ne!(stable_id("f", &["ab", "c"]), stable_id("f", &["a", "bc"]));
        assert_eq!(stable_id("f", &["ab", "c"]), stable_id("f", &["ab", "c"]));
    }
}
