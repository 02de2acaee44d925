//! Rebuilds the binary when a shipped rule, mapping or sample is added or removed: they are embedded in it.

fn main() {
    for folder in ["../rules", "../ingest/mappings", "../sample-events"] {
        println!("cargo::rerun-if-changed={folder}");
    }
}
