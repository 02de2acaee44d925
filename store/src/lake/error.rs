//! What can go wrong with a lake, each with the place and what to do about it.

#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    #[error("the lake's folder `{place}` cannot be used: {fault}")]
    Folder { place: String, fault: std::io::Error },
    #[error("no lake at `{place}`: `keytrail scan PATH --lake PLACE` makes one")]
    Missing { place: String },
    #[error("a lake is in a folder, or at an s3://, gs:// or az:// URL, not at {scheme}://")]
    Scheme { scheme: String },
    #[error("the URL of a lake holds no user, password or query: how it is reached is read from the environment")]
    Words,
    #[error("`{place}` is no place for a lake ({fault}): name a folder, or an s3://, gs:// or az:// URL")]
    Place { place: String, fault: object_store::Error },
    #[error(
        "{name} is a key that does not expire, and the lake is not opened with one: run with a role, a workload or a \
         managed identity, or set `lake.allow_static_key: true`"
    )]
    StaticKey { name: &'static str },
    #[error("the lake `{place}` cannot be {what}: {fault}")]
    Store { what: &'static str, place: String, fault: object_store::Error },
    #[error("events cannot be written as Parquet: {0}")]
    Write(parquet::errors::ParquetError),
    #[error("`{file}` of the lake cannot be read as events: {fault}")]
    Read { file: String, fault: String },
}

impl LakeError {
    pub(super) fn arrow(fault: arrow::error::ArrowError) -> Self {
        Self::Write(fault.into())
    }
}
