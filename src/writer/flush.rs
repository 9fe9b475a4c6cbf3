//! Owns the flush: when it is due, what it makes durable, and what is published after it.
//!
//! Promises: what is published as durable was synced (R2), or is what a weaker mode promises; a
//! failed sync is final (R1). A lone append is flushed at once; under load one flush serves many,
//! and none waits longer than the options say. Never retries.

use std::time::Duration;

use super::batching::Hold;
use super::{Gathered, Shared, Writer};
use crate::chunk::supply::DurablePlace;
use crate::error::Result;
use crate::options::Durability;
use crate::stage::Step;
use crate::stage::meter::Counter;
use crate::stage::stats::DiskWork;

/// Unflushed groups beyond this are flushed in any case, so that the chaser's queue never fills
/// with what it may not answer.
const UNFLUSHED_MAX: u32 = 64;

/// Why a flush happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flush {
    Idle,
    Deadline,
    Size,
}

impl Writer {
    /// Makes everything durable, also what a weaker mode has left to the operating system.
    pub(crate) fn finish(&mut self) {
        if self.shared.failure.get().is_some() {
            return;
        }
        let finished = self.clear_torn().and_then(|is_clear| {
            if !is_clear {
                // There is no space for it: the next opening clears what is torn.
                self.shared.supply.leave_torn();
            }
            self.sync()
        });
        if let Err(error) = finished {
            _ = self.fail(&error);
        }
    }

    fn deadline(&self) -> Option<Duration> {
        self.oldest.map(|oldest| oldest + self.options.max_delay)
    }

    /// What the writer does while a flush is not due and nothing arrives.
    pub(super) fn await_flush(&self) -> Step {
        match (self.hold, self.deadline()) {
            (_, None) => Step::Idle,
            (Some(Hold { until, appends }), Some(deadline)) => {
                Step::Gather { until: until.min(deadline), appends }
            }
            (None, Some(deadline)) => Step::Until(deadline),
        }
    }

    /// The flush policy: flush when no append is left to handle and none is worth waiting for, or
    /// the oldest has waited for the longest delay; and when the writer cannot go on without.
    pub(super) fn flush_reason(&mut self, gathered: Gathered) -> Option<Flush> {
        self.hold = None;
        let deadline = self.deadline()?;
        let now = self.shared.clock.monotonic();
        if now >= deadline {
            let idle = self.shared.appends.is_handled();
            return Some(if idle { Flush::Idle } else { Flush::Deadline });
        }
        if self.shared.appends.is_handled() {
            if self.options.batching && self.is_sync_due() {
                let unanswered = self.unflushed_answers + self.group.answers.len();
                let hold = self.batching.hold(now, unanswered);
                self.hold = hold.filter(|_| !self.shared.appends.is_closed());
            }
            return self.hold.is_none().then_some(Flush::Idle);
        }
        let stuck = matches!(gathered, Gathered::NoRoom(_));
        (stuck || self.unflushed_groups >= UNFLUSHED_MAX).then_some(Flush::Size)
    }

    /// Whether the next flush takes a sync for the sake of its answers.
    fn is_sync_due(&self) -> bool {
        let is_written = self.synced != self.cursor.position;
        self.options.durability == Durability::Sync && (self.group.events > 0 || is_written)
    }

    pub(super) fn flush(&mut self, reason: Flush) -> Result<()> {
        let (start, mut is_synced) = (self.shared.clock.monotonic(), false);
        // Also in a weaker mode the first group of a chunk, which carries the chunk's header, is
        // synced: the chunk before may be sealed then (F15).
        if self.options.durability == Durability::Sync || self.chunk_begins {
            is_synced = self.sync()?;
            // A flush of answers alone has written no header yet.
            self.chunk_begins = self.unwritten_header.is_some();
        }
        let meter = &self.shared.disk;
        let counter: &Counter = match reason {
            Flush::Idle => &meter.flushes_idle,
            Flush::Deadline => &meter.flushes_deadline,
            Flush::Size => &meter.flushes_size,
        };
        counter.add(1);
        // A chunk that has no group yet has no header either, and nothing of it may be read.
        if self.unwritten_header.is_none() {
            self.file.settle(self.cursor.offset);
        }
        let events = self.cursor.position.since(self.shared.marks.durable());
        let now = self.shared.clock.monotonic();
        meter.flushed(self.stamps.flush, events, now);
        self.shared.marks.advance_durable(self.cursor.position);
        let took = is_synced.then(|| now.saturating_sub(start));
        self.batching.flushed(now, took, self.unflushed_answers);
        self.oldest = None;
        (self.unflushed_groups, self.unflushed_answers) = (0, 0);
        self.stamps.flush += 1;
        Ok(())
    }

    /// Syncs what is written; whether there was anything.
    pub(super) fn sync(&mut self) -> Result<bool> {
        if self.synced == self.cursor.position {
            return Ok(false);
        }
        self.sync_file()?;
        self.synced = self.cursor.position;
        let (position, end) = (self.synced, self.cursor.end());
        self.shared.supply.note_durable(DurablePlace { position, chunk: self.file.number, end });
        Ok(true)
    }

    pub(super) fn sync_file(&self) -> Result<()> {
        let Shared { clock, disk, .. } = &self.shared;
        let (synced, ..) = disk.timed(DiskWork::Sync, &**clock, || self.file.sync());
        synced.map_err(|error| self.failed("sync", error))?;
        // Another stage may have met an error of the same file meanwhile.
        if let Some(error) = self.shared.failure.get() {
            return Err(error.clone());
        }
        Ok(())
    }
}
