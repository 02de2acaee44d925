//! The bounds of everything that is read. Each has a default that real logs stay under by far.

/// Sizes are in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How much is read before the records so far are handed on. 1 MiB: large enough that the cost of a batch
    /// is small, small enough that a batch with all its columns costs each worker some 50 MB less than one of 4 MiB.
    pub chunk_bytes: usize,
    /// The longest line that is one record. 16 MiB: CloudTrail stops at 256 KiB, Kafka's usual ceiling is 1 MiB.
    pub record_bytes_max: usize,
    /// The longest document that holds many records, such as `{"Records":[…]}`; it is held in memory. 256 MiB.
    pub document_bytes_max: usize,
    /// The deepest nesting of objects and arrays, at most 128 (one bit each in the scanner).
    pub depth_max: usize,
    /// What one envelope may inflate to in one step and in total. 256 MiB.
    pub inflate_max: usize,
    /// How many times the size of what is packed may come of it. Logs pack to a tenth, the dullest to a hundredth: 500.
    pub inflate_ratio_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            chunk_bytes: 1 << 20,
            record_bytes_max: 16 << 20,
            document_bytes_max: 256 << 20,
            depth_max: 128,
            inflate_max: 256 << 20,
            inflate_ratio_max: 500,
        }
    }
}
