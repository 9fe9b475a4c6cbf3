//! Owns the flushable counter: appends enqueued and not yet handled by the writer.
//!
//! Promises: every append that is raised is lowered exactly once, on every path, because the guard
//! that raised it travels with it. The writer flushes when the counter reaches zero: then nobody is
//! left who could share the flush.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The counter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flushable(Arc<AtomicUsize>);

/// One append that counts; dropped when the append is handled or turned away.
#[derive(Debug)]
pub(crate) struct Raised(Arc<AtomicUsize>);

impl Flushable {
    /// Counts an append.
    pub(crate) fn raise(&self) -> Raised {
        self.0.fetch_add(1, Ordering::AcqRel);
        Raised(Arc::clone(&self.0))
    }

    /// Whether every append is handled.
    pub(crate) fn is_zero(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_not_handled() {
        let flushable = Flushable::default();
        let first = flushable.raise();
        let second = flushable.raise();
        drop(first);
        assert!(!flushable.is_zero());
        drop(second);
        assert!(flushable.is_zero());
    }
}
