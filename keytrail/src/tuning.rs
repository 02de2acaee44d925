//! What users say about rules that others maintain: overlays change them, exceptions except events from them.

use keytrail_detect::{Exception, Overlay, Rule, apply_overlays, attach_exceptions};
use keytrail_model::FileError;

use crate::pack::{Pack, read_each};

/// The overlays and exceptions of a pack, as far as they read.
pub struct Tuning {
    pub overlays: Vec<Overlay>,
    pub exceptions: Vec<Exception>,
    /// What is wrong with files of either kind.
    pub overlay_errors: Vec<FileError>,
    pub exception_errors: Vec<FileError>,
}

impl Tuning {
    #[must_use]
    pub fn read(pack: &Pack) -> Self {
        let (overlays, overlay_errors) = read_each(&pack.overlays, Overlay::read);
        let (exceptions, exception_errors) = read_each(&pack.exceptions, Exception::read);
        let (overlays, exceptions) =
            (overlays.into_iter().flatten().collect(), exceptions.into_iter().flatten().collect());
        Self { overlays, exceptions, overlay_errors, exception_errors }
    }

    /// Changes the rules; every error, those of reading included.
    #[must_use]
    pub fn apply(mut self, rules: &mut [Rule]) -> Vec<FileError> {
        self.overlay_errors.extend(apply_overlays(rules, &self.overlays));
        self.overlay_errors.append(&mut self.exception_errors);
        self.overlay_errors.extend(attach_exceptions(rules, self.exceptions));
        self.overlay_errors
    }
}
