//! Owns the measure of the way that an append takes: when its group was where, and the histograms
//! of the parts.
//!
//! Promises: one thread at a time records, and only ways that ended with the facts told; the parts
//! of a way add up to the whole of it, but that the parts behind the queue are those of its group.
//! Never waits.

use std::time::Duration;

use crate::stage::histogram::Recorder;
use crate::stage::stats::PathStats;

/// When a group was where, by the monotonic clock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stamps {
    /// Its first append left the queue.
    pub(crate) taken: Duration,
    /// Its first append was decided.
    pub(crate) begun: Duration,
    /// Its write began.
    pub(crate) framed: Duration,
    /// Its write ended.
    pub(crate) written: Duration,
    /// The number of the flush that makes it durable.
    pub(crate) flush: u64,
}

/// The histograms of the parts of the way, without the first, which is the queue's, and the last,
/// which is the waiter's.
#[derive(Debug, Default)]
pub(crate) struct PathMeter {
    gather: Recorder,
    write: Recorder,
    sync: Recorder,
    chase: Recorder,
    total: Recorder,
    pub(crate) releases: Recorder,
}

impl PathMeter {
    /// Records the way of a group's appends, which came at these moments, until it was visible.
    pub(crate) fn record(
        &self,
        stamps: &Stamps,
        (durable, visible): (Duration, Duration),
        appends: impl ExactSizeIterator<Item = Duration>,
    ) {
        let count = appends.len() as u64;
        let Stamps { taken, framed, written, .. } = *stamps;
        self.gather.record_many(framed.saturating_sub(taken), count);
        self.write.record_many(written.saturating_sub(framed), count);
        self.sync.record_many(durable.saturating_sub(written), count);
        self.chase.record_many(visible.saturating_sub(durable), count);
        for since in appends {
            self.total.record(visible.saturating_sub(since));
        }
    }

    pub(crate) fn snapshot(&self, wakes: &Recorder) -> PathStats {
        PathStats {
            wake: wakes.snapshot(),
            total: self.total.snapshot(),
            chase: self.chase.snapshot(),
            sync: self.sync.snapshot(),
            write: self.write.snapshot(),
            gather: self.gather.snapshot(),
        }
    }
}
