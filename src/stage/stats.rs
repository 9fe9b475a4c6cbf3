//! Owns the figures of queues, stages and the disk: counters that one thread writes and all may
//! read.
//!
//! Promises: counting takes no lock. A snapshot of a queue is consistent: pushed = popped + length.
//! Figures are totals since the log was opened; utilisation, saturation and errors per stage follow
//! from two snapshots (USE, B. Gregg).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::error::Damage;
use crate::position::{ChunkNumber, Position};

/// What a log has done since it was opened, from [`Log::stats`](crate::Log::stats).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// All events below this position were written.
    pub written: Position,
    /// All events below this position are durable.
    pub durable: Position,
    /// All events below this position are checked, indexed, and visible to readers.
    pub visible: Position,
    /// The queue from clients to the writer; an item is an append.
    pub appends: QueueStats,
    /// The queue from the writer to the chaser; an item is a group.
    pub groups: QueueStats,
    /// The writer thread.
    pub writer: StageStats,
    /// The chaser thread.
    pub chaser: StageStats,
    /// The keeper thread.
    pub keeper: StageStats,
    /// The disk, as the writer uses it.
    pub disk: DiskStats,
    /// The reading of sealed chunks that [`Options::scrub`](crate::Options::scrub) asks for.
    pub scrub: ScrubStats,
}

/// What scrubbing has read and found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScrubStats {
    /// Bytes read.
    pub bytes: u64,
    /// Chunks read to their end.
    pub chunks: u64,
    /// How often all sealed chunks were read.
    pub rounds: u64,
    /// Damaged places found; one that stays is found again in each round.
    pub damages: u64,
    /// The last of them. `paperchase verify` lists all, with what is wrong.
    pub last_damage: Option<ScrubDamage>,
}

/// A damaged place that scrubbing found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScrubDamage {
    /// The chunk.
    pub chunk: ChunkNumber,
    /// Offset in the chunk's file.
    pub offset: u64,
    /// What was checked there.
    pub what: &'static str,
}

/// The figures of one queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueStats {
    /// Items that entered.
    pub pushed: u64,
    /// Items that left.
    pub popped: u64,
    /// Items in it.
    pub length: u64,
    /// The most items that were in it at once.
    pub high_water: u64,
    /// Items that were turned away because it was full.
    pub rejected: u64,
    /// Sum of the times that items spent in it.
    pub wait_total: Duration,
    /// The longest time that an item spent in it.
    pub wait_max: Duration,
}

/// The figures of one thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StageStats {
    /// Time spent in steps that did something, including the calls of the operating system within
    /// them.
    pub busy: Duration,
    /// Time spent waiting for something to do.
    pub idle: Duration,
    /// Items finished: appends for the writer, groups for the chaser, duties for the keeper.
    pub items: u64,
    /// Steps that failed.
    pub errors: u64,
}

impl StageStats {
    /// Busy time as a part of all time, 0.0 to 1.0.
    #[must_use]
    pub fn utilisation(&self) -> f64 {
        let all = self.busy + self.idle;
        if all.is_zero() { 0.0 } else { self.busy.as_secs_f64() / all.as_secs_f64() }
    }
}

/// The figures of the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiskStats {
    /// Groups written, each with one write.
    pub groups: u64,
    /// Events in them.
    pub events: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Syncs by the writer.
    pub flushes: u64,
    /// Flushes because no append was left to handle.
    pub flushes_idle: u64,
    /// Flushes because the oldest unflushed append had waited for the longest delay.
    pub flushes_deadline: u64,
    /// Flushes because a chunk was full or had no room ready.
    pub flushes_size: u64,
    /// Time spent in writes.
    pub write_time: Duration,
    /// Time spent in syncs.
    pub sync_time: Duration,
    /// The longest sync.
    pub sync_max: Duration,
    /// How often the writer had to wait until zeros lay ready, or a chunk.
    pub waits_for_chunk: u64,
}

/// A counter that one thread raises and all may read.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        // One writer: a plain load and store cost less than an atomic addition and lose nothing.
        self.0.store(self.get().wrapping_add(count), Ordering::Relaxed);
    }

    pub(crate) fn add_time(&self, time: Duration) {
        self.add(nanos(time));
    }

    pub(crate) fn raise_to_time(&self, time: Duration) {
        self.0.store(self.get().max(nanos(time)), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn time(&self) -> Duration {
        Duration::from_nanos(self.get())
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The counters of one thread.
#[derive(Debug, Default)]
pub(crate) struct StageMeter {
    busy: Counter,
    idle: Counter,
    /// Since when the thread waits, in nanoseconds of the monotonic clock plus one; 0 while it
    /// works.
    waits_since: AtomicU64,
    pub(crate) items: Counter,
    pub(crate) errors: Counter,
}

impl StageMeter {
    /// The thread begins to wait at `now`, after having worked for `time`.
    pub(crate) fn begin_wait(&self, now: Duration, time: Duration) {
        self.busy.add_time(time);
        self.waits_since.store(nanos(now) + 1, Ordering::Relaxed);
    }

    /// The thread works again, after having waited for `time`.
    pub(crate) fn end_wait(&self, time: Duration) {
        self.waits_since.store(0, Ordering::Relaxed);
        self.idle.add_time(time);
    }

    /// The figures at `now`; a wait that is still going on counts.
    pub(crate) fn snapshot(&self, now: Duration) -> StageStats {
        let since = self.waits_since.load(Ordering::Relaxed).checked_sub(1);
        let waiting = since.map(|since| now.saturating_sub(Duration::from_nanos(since)));
        StageStats {
            busy: self.busy.time(),
            idle: self.idle.time() + waiting.unwrap_or_default(),
            items: self.items.get(),
            errors: self.errors.get(),
        }
    }
}

/// What scrubbing counts.
#[derive(Debug, Default)]
pub(crate) struct ScrubMeter {
    pub(crate) bytes: Counter,
    pub(crate) chunks: Counter,
    pub(crate) rounds: Counter,
    damages: Counter,
    last: Mutex<Option<ScrubDamage>>,
}

impl ScrubMeter {
    pub(crate) fn damage(&self, damage: &Damage) {
        let (chunk, offset, what) = (damage.chunk, damage.offset, damage.what);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(ScrubDamage { chunk, offset, what });
        self.damages.add(1);
    }

    pub(crate) fn snapshot(&self) -> ScrubStats {
        ScrubStats {
            bytes: self.bytes.get(),
            chunks: self.chunks.get(),
            rounds: self.rounds.get(),
            damages: self.damages.get(),
            last_damage: *self.last.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

/// The writer's counters of the disk.
#[derive(Debug, Default)]
pub(crate) struct DiskMeter {
    pub(crate) groups: Counter,
    pub(crate) events: Counter,
    pub(crate) bytes: Counter,
    pub(crate) flushes_idle: Counter,
    pub(crate) flushes_deadline: Counter,
    pub(crate) flushes_size: Counter,
    pub(crate) write_time: Counter,
    pub(crate) sync_time: Counter,
    pub(crate) sync_max: Counter,
}

impl DiskMeter {
    pub(crate) fn snapshot(&self, waits_for_chunk: u64) -> DiskStats {
        let reasons = [&self.flushes_idle, &self.flushes_deadline, &self.flushes_size];
        let [flushes_idle, flushes_deadline, flushes_size] = reasons.map(Counter::get);
        DiskStats {
            groups: self.groups.get(),
            events: self.events.get(),
            bytes: self.bytes.get(),
            flushes: flushes_idle + flushes_deadline + flushes_size,
            flushes_idle,
            flushes_deadline,
            flushes_size,
            write_time: self.write_time.time(),
            sync_time: self.sync_time.time(),
            sync_max: self.sync_max.time(),
            waits_for_chunk,
        }
    }
}
