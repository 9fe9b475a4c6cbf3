//! Owns what a stage is made of: a bounded, measured queue, a step, a thread that runs it, and its
//! figures.
//!
//! Promises: every queue counts what passes through it, every thread how long it was busy; nothing
//! waits without a bound or a way to be woken. Knows nothing of chunks or events.

pub(crate) mod ack;
pub(crate) mod bell;
pub(crate) mod fields;
pub(crate) mod histogram;
pub(crate) mod lounge;
pub(crate) mod meter;
pub(crate) mod metrics;
pub(crate) mod page;
pub(crate) mod park;
pub(crate) mod path;
pub(crate) mod pending;
pub(crate) mod queue;
pub(crate) mod spin;
pub(crate) mod stats;
pub(crate) mod verdict;
pub(crate) mod worker;

#[cfg(all(test, loom))]
mod interleavings;

use std::time::Duration;

use crate::disk::map::Home;
use crate::error::Error;
use crate::sync::OnceLock;

/// What a step found to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It did something; there may be more.
    Worked,
    /// There was nothing to do.
    Idle,
    /// There is nothing to do before this moment of the monotonic clock, unless something arrives.
    Until(Duration),
    /// There is nothing to do before this moment, unless so many appends arrive or something else
    /// happens.
    Gather { until: Duration, appends: usize },
    /// It needs another stage to come further first.
    Blocked,
}

/// The first failure of a log, which is final (R1): nothing is acked after it.
/// It also knows the process of the log: a forked one has none of the log's threads, and finds
/// their locks as they were at that moment, so it must neither wait nor lock (F62).
#[derive(Debug, Default)]
pub(crate) struct Failure {
    first: OnceLock<Error>,
    home: Home,
}

impl Failure {
    /// The process of the log.
    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    /// Refuses in a process that is a fork of the log's.
    pub(crate) fn check_home(&self) -> Result<(), Error> {
        if self.home.is_here() { Ok(()) } else { Err(Error::forked()) }
    }

    /// Records a failure; the first one counts.
    pub(crate) fn record(&self, error: Error) {
        // A later failure is a consequence of the first, which stays the cause that is told.
        let _ = self.first.set(error);
    }

    /// The failure, if the log has failed.
    pub(crate) fn get(&self) -> Option<&Error> {
        self.first.get()
    }
}
