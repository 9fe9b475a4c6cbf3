//! Owns how far zeros are to reach ahead of the writer, and when they are written.
//!
//! Promises: room lies ready before the writer comes to it, and from about the third chunk on each
//! chunk of one size is whole when it becomes active. While the log grows fast no more zeros are
//! asked for than that takes, since each costs its syncs a part of the disk; the rest is written in
//! quiet moments. A log that grew little has little ahead.

use std::time::Duration;

use crate::chunk::ZERO_PIECE;
use crate::chunk::supply::Orders;
use crate::position::ChunkNumber;

/// How often the keeper looks how far a busy writer has come, so that it writes zeros in step with
/// it: many at once fill the queue of the disk, in which the writer's syncs wait behind them. Also
/// the time between two pieces in quiet moments.
const PACE: Duration = Duration::from_millis(5);
/// A log that grew by no more than this since the last look is quiet.
const QUIET: u64 = ZERO_PIECE as u64 / 8;

/// What was seen of the writer, and what follows for the zeros. All reaches are counted from the
/// start of the active chunk and on into the next.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// The active chunk, how far it was written when the keeper first saw it, and how many bytes
    /// had zeros then, with those of the next chunk.
    chunk: Option<ChunkNumber>,
    capacity: u64,
    written: u64,
    zeroed: u64,
    /// What chunks before it have taken since the keeper first saw them.
    earlier: u64,
    /// How far the log had grown at the last look.
    seen: u64,
    /// When the next look is due.
    due: Duration,
    /// Whether the next look is to be as soon as it is due.
    is_soon: bool,
}

impl Pace {
    /// How far zeros are to reach whatever else the disk has to do.
    ///
    /// Three bytes go with two of the log, and those of the next chunk begin when a quarter of the
    /// active one is full: so a small log stays small, and the next is whole in time. Preparing a
    /// file that is being written costs the writer's syncs a wait for those zeros, and preparing
    /// another file does not.
    pub(super) fn in_step(&mut self, orders: &Orders, ahead: u64) -> u64 {
        let grown = self.follow(orders);
        let (written, capacity) = (self.written + grown, self.capacity);
        let reach = (self.zeroed + in_proportion(grown)).max(written + ahead);
        let Some(late) = written.checked_sub(capacity / 4).filter(|_| reach >= capacity) else {
            return reach.min(capacity);
        };
        capacity + (reach - capacity).min(in_proportion(late)).max(least_ready(ahead))
    }

    /// How far they are to reach when the disk has little else to do: as many bytes as the log has
    /// grown since it was opened, so that a log which is opened often does not write zeros alone.
    pub(super) fn at_rest(&mut self, orders: &Orders, ahead: u64) -> u64 {
        let grown = self.follow(orders);
        let reach = (self.written + grown) + (self.earlier + grown);
        let is_begun = reach >= self.capacity + least_ready(ahead);
        if is_begun { reach.min(2 * self.capacity) } else { reach.min(self.capacity) }
    }

    /// Whether a look is due and the log has grown little since the last one. One piece of zeros
    /// goes with a look.
    pub(super) fn is_quiet(&mut self, now: Duration, orders: &Orders) -> bool {
        if now < self.due {
            return false;
        }
        self.due = now + PACE;
        let here = self.follow(orders);
        let total = self.earlier + here;
        let grown = total - std::mem::replace(&mut self.seen, total);
        self.is_soon = grown > 0;
        grown <= QUIET
    }

    /// A quiet moment was used until `now`, and there may be more to do in the next.
    pub(super) fn go_on(&mut self, now: Duration) {
        self.due = now + PACE;
        self.is_soon = true;
    }

    /// When to look again, at `latest` at the latest.
    pub(super) fn next_look(&self, latest: Duration) -> Duration {
        if self.is_soon { self.due.min(latest) } else { latest }
    }

    /// By how much the active chunk has grown since it was first seen.
    fn follow(&mut self, orders: &Orders) -> u64 {
        let active = &orders.active;
        let written = active.written();
        if self.chunk != Some(active.number) {
            if self.chunk.is_some() {
                self.earlier += self.capacity - self.written;
            }
            let next = orders.next.as_ref().map_or(0, |next| next.zeroed());
            self.chunk = Some(active.number);
            self.capacity = active.capacity;
            self.written = written.min(active.capacity);
            self.zeroed = active.zeroed() + next;
        }
        written.saturating_sub(self.written)
    }
}

/// Bytes of zeros that go with so many bytes of the log.
fn in_proportion(grown: u64) -> u64 {
    grown + grown / 2
}

/// How much of the next chunk must be ready before the writer may be given it.
pub(super) fn least_ready(ahead: u64) -> u64 {
    ahead / 8
}
