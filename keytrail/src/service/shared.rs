//! What the parts of the service know of each other: how full the inbox is, how each source does, and when to stop.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use keytrail_model::Micros;
use tokio::sync::{Notify, watch};

/// Why a source gives nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub said: String,
}

/// How one source does.
#[derive(Clone, Debug, Default)]
pub struct Doing {
    pub trouble: Option<Trouble>,
    /// When it last gave something or was found idle.
    pub progress: Option<Micros>,
    pub exhausted: bool,
}

#[derive(Debug, Default)]
pub struct Shared {
    /// Something new is in the inbox.
    pub arrived: Notify,
    pub inbox_bytes: AtomicU64,
    /// Whether the store answered when it was last asked.
    pub store_up: AtomicBool,
    /// Last checkpoint, in microseconds; 0 before the first.
    pub checkpoint: AtomicU64,
    /// Whether this replica evaluates.
    pub leads: AtomicBool,
    /// Why evaluation began anew, and when, until it has saved something.
    evaluation: Mutex<Option<(String, Micros)>>,
    slowest: Mutex<Option<String>>,
    sources: Mutex<BTreeMap<String, Doing>>,
}

impl Shared {
    #[must_use]
    pub fn of(sources: impl Iterator<Item = String>) -> Self {
        let sources = sources.map(|name| (name, Doing::default())).collect();
        Self { sources: Mutex::new(sources), store_up: AtomicBool::new(true), ..Self::default() }
    }

    /// Whether a source has to wait. The one that evaluation waits for does not: the others wait for it too.
    #[must_use]
    pub fn is_full(&self, source: &str, bytes_max: u64) -> bool {
        self.inbox_bytes.load(Ordering::Relaxed) > bytes_max && lock(&self.slowest).as_deref() != Some(source)
    }

    pub fn slowest(&self, source: Option<&str>) {
        *lock(&self.slowest) = source.map(str::to_owned);
    }

    pub fn evaluates(&self, fault: Option<(String, Micros)>) {
        *lock(&self.evaluation) = fault;
    }

    #[must_use]
    pub fn evaluation_fault(&self) -> Option<(String, Micros)> {
        lock(&self.evaluation).clone()
    }

    pub fn trouble(&self, source: &str, trouble: Option<Trouble>) {
        self.change(source, |doing| doing.trouble = trouble);
    }

    pub fn progress(&self, source: &str, at: Micros) {
        self.change(source, |doing| doing.progress = Some(at));
    }

    pub fn exhausted(&self, source: &str, exhausted: bool) {
        self.change(source, |doing| doing.exhausted = exhausted);
    }

    #[must_use]
    pub fn sources(&self) -> BTreeMap<String, Doing> {
        lock(&self.sources).clone()
    }

    #[must_use]
    pub fn all_exhausted(&self) -> bool {
        lock(&self.sources).values().all(|doing| doing.exhausted)
    }

    fn change(&self, source: &str, change: impl FnOnce(&mut Doing)) {
        change(lock(&self.sources).entry(source.to_owned()).or_default());
    }
}

/// What a panic elsewhere left is still true.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether it is time to stop.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// And the handle that sets it.
    #[must_use]
    pub fn new() -> (watch::Sender<bool>, Self) {
        let (set, stop) = watch::channel(false);
        (set, Self(stop))
    }

    #[must_use]
    pub fn is_set(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    pub async fn wait(&mut self) {
        // An error means that nobody is left who could set it, which is as good.
        self.0.wait_for(|set| *set).await.ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_inbox_stops_all_but_the_one_that_is_waited_for() {
        let shared = Shared::of(["a".to_owned(), "b".to_owned()].into_iter());
        shared.inbox_bytes.store(101, Ordering::Relaxed);
        assert!(!shared.is_full("a", 101) && shared.is_full("a", 100));
        shared.slowest(Some("a"));
        assert!(!shared.is_full("a", 100) && shared.is_full("b", 100));
        // There is something to evaluate: nobody is waited for.
        shared.slowest(None);
        assert!(shared.is_full("a", 100));
    }
}
