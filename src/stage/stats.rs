//! Owns the figures of a log as values: what queues, stages, the disk and subscribers have counted.
//!
//! Promises: plain values, equal when they say the same. Figures are totals since the log was
//! opened; utilisation, saturation and errors per stage follow from two snapshots (USE, B. Gregg).
//! Never counts: that is done in `meter.rs` and by the queues.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::position::{ChunkNumber, Position};
use crate::stage::histogram::{CountHistogram, Histogram};

/// What a log has done since it was opened, from [`Log::stats`](crate::Log::stats).
///
/// A snapshot fits together: in each queue `pushed = popped + length`, and what is later on the way
/// of an append never counts more than what is earlier. What passed between two snapshots is their
/// difference. `docs/insight.md` says how to read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// When the snapshot was taken, by the time of day.
    pub time: Timestamp,
    /// How long the log had been open then.
    pub uptime: Duration,
    /// Whether the log has failed.
    pub has_failed: bool,
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
    /// The writer thread. Its service is deciding and framing a group, without the disk.
    pub writer: StageStats,
    /// The chaser. Its service is reading a group back, checking and indexing it, of a large group
    /// while it is synced; where little waits, the writer's thread does it and is busy with it.
    pub chaser: StageStats,
    /// The keeper thread. Its service is a duty: preparing space, sealing a chunk, writing the
    /// hint.
    pub keeper: StageStats,
    /// How long it took to answer the appends of a group, once it was visible: waking who waits.
    pub releases: Histogram,
    /// The way of each append, in parts.
    pub path: PathStats,
    /// The disk, as the writer uses it.
    pub disk: DiskStats,
    /// The subscriptions of this process.
    pub subscribers: SubscriberStats,
    /// The reading of sealed chunks that [`Options::scrub`](crate::Options::scrub) asks for.
    pub scrub: ScrubStats,
}

impl Stats {
    /// Appends that were submitted and are not answered.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        let answered = self.path.total.count().saturating_add(self.disk.refused);
        self.appends.pushed.saturating_sub(answered)
    }

    /// What has happened since an earlier snapshot of the same log: counts, times and histograms
    /// are differences, `uptime` is the time between the two. What is at a moment - marks, lengths,
    /// high-water marks, subscribers, what is going on - is as it is in this snapshot. Without
    /// meaning, but harmless, where the other is not earlier.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            uptime: self.uptime.saturating_sub(earlier.uptime),
            appends: self.appends.since(&earlier.appends),
            groups: self.groups.since(&earlier.groups),
            writer: self.writer.since(&earlier.writer),
            chaser: self.chaser.since(&earlier.chaser),
            keeper: self.keeper.since(&earlier.keeper),
            releases: self.releases.since(&earlier.releases),
            path: PathStats {
                gather: self.path.gather.since(&earlier.path.gather),
                write: self.path.write.since(&earlier.path.write),
                sync: self.path.sync.since(&earlier.path.sync),
                chase: self.path.chase.since(&earlier.path.chase),
                wake: self.path.wake.since(&earlier.path.wake),
                total: self.path.total.since(&earlier.path.total),
            },
            disk: self.disk.since(&earlier.disk),
            scrub: ScrubStats {
                bytes: self.scrub.bytes.saturating_sub(earlier.scrub.bytes),
                chunks: self.scrub.chunks.saturating_sub(earlier.scrub.chunks),
                rounds: self.scrub.rounds.saturating_sub(earlier.scrub.rounds),
                damages: self.scrub.damages.saturating_sub(earlier.scrub.damages),
                last_damage: self.scrub.last_damage,
            },
            ..self.clone()
        }
    }
}

/// The way of the appends that were answered, in parts that follow each other. It begins with
/// [`QueueStats::waits`] of the queue of appends. A sample is an append; appends that were answered
/// because the log had failed are not among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PathStats {
    /// From leaving the queue until its group was complete: decided, numbered, framed, and behind
    /// other groups that left the queue with it.
    pub gather: Histogram,
    /// The write of its group.
    pub write: Histogram,
    /// From written to durable: the wait for the flush, and the sync.
    pub sync: Histogram,
    /// From durable to visible: the wait for the chaser, and what it had not checked and indexed
    /// before.
    pub chase: Histogram,
    /// From visible until the waiting thread or task ran, of those that waited: who asks when the
    /// answer is there already is not woken. Waking others before is part of it.
    pub wake: Histogram,
    /// All of it from the submission to visible: without the wake.
    pub total: Histogram,
}

/// The subscriptions of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriberStats {
    /// How many there are.
    pub count: u64,
    /// How many have not looked at all that is visible, and do not wait for more.
    pub behind: u64,
    /// By how many events the last of these is behind.
    pub lag_max: u64,
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueStats {
    /// Items that entered.
    pub pushed: u64,
    /// Items that left.
    pub popped: u64,
    /// Items in it.
    pub length: u64,
    /// The most items that it takes; a bound on bytes may make it full earlier.
    pub capacity: u64,
    /// The most items that were in it at once.
    pub high_water: u64,
    /// How often it was full, or too old to take more, when an item came, which then waited or was
    /// turned away.
    pub full: u64,
    /// Items that were turned away for that.
    pub rejected: u64,
    /// How long items waited in it, and before it where it was full.
    pub waits: Histogram,
}

impl QueueStats {
    fn since(&self, earlier: &Self) -> Self {
        Self {
            pushed: self.pushed.saturating_sub(earlier.pushed),
            popped: self.popped.saturating_sub(earlier.popped),
            full: self.full.saturating_sub(earlier.full),
            rejected: self.rejected.saturating_sub(earlier.rejected),
            waits: self.waits.since(&earlier.waits),
            ..self.clone()
        }
    }
}

/// The figures of one stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StageStats {
    /// Time that its thread did not wait, calls of the operating system within its work included.
    pub busy: Duration,
    /// Time that its thread spent waiting for something to do.
    pub idle: Duration,
    /// Items finished: appends for the writer, groups for the chaser, duties for the keeper.
    pub items: u64,
    /// Steps that failed.
    pub errors: u64,
    /// How long the work took, per group or duty.
    pub service: Histogram,
}

impl StageStats {
    fn since(&self, earlier: &Self) -> Self {
        Self {
            busy: self.busy.saturating_sub(earlier.busy),
            idle: self.idle.saturating_sub(earlier.idle),
            items: self.items.saturating_sub(earlier.items),
            errors: self.errors.saturating_sub(earlier.errors),
            service: self.service.since(&earlier.service),
        }
    }

    /// Busy time as a part of all time, 0.0 to 1.0.
    #[must_use]
    pub fn utilisation(&self) -> f64 {
        let all = self.busy + self.idle;
        if all.is_zero() { 0.0 } else { self.busy.as_secs_f64() / all.as_secs_f64() }
    }
}

/// The figures of the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiskStats {
    /// Groups written, each with one write.
    pub groups: u64,
    /// Events in them.
    pub events: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Flushes: moments at which all that was written became durable.
    pub flushes: u64,
    /// Flushes because no append was left to handle.
    pub flushes_idle: u64,
    /// Flushes because the oldest unflushed append had waited for the longest delay.
    pub flushes_deadline: u64,
    /// Flushes because a chunk was full or had no room ready.
    pub flushes_size: u64,
    /// How often the writer had to wait until zeros lay ready, or a chunk.
    pub waits_for_chunk: u64,
    /// Bytes of zeros that the keeper wrote ahead. Opening the log writes some too.
    pub zeros: u64,
    /// Bytes that lie ready ahead of the writer at this moment.
    pub ready: u64,
    /// Appends that the writer refused because there was no space, or because the log has failed.
    pub refused: u64,
    /// How long it waited.
    pub room_waits: Histogram,
    /// How long writes took.
    pub writes: Histogram,
    /// How long syncs took.
    pub syncs: Histogram,
    /// Events that became durable by one flush.
    pub events_per_flush: CountHistogram,
    /// What the writer waits for at this moment, and how long it has.
    pub ongoing: Option<(DiskWork, Duration)>,
}

impl DiskStats {
    fn since(&self, earlier: &Self) -> Self {
        let (count, before) = (self, earlier);
        Self {
            groups: count.groups.saturating_sub(before.groups),
            events: count.events.saturating_sub(before.events),
            bytes: count.bytes.saturating_sub(before.bytes),
            flushes: count.flushes.saturating_sub(before.flushes),
            flushes_idle: count.flushes_idle.saturating_sub(before.flushes_idle),
            flushes_deadline: count.flushes_deadline.saturating_sub(before.flushes_deadline),
            flushes_size: count.flushes_size.saturating_sub(before.flushes_size),
            waits_for_chunk: count.waits_for_chunk.saturating_sub(before.waits_for_chunk),
            zeros: count.zeros.saturating_sub(before.zeros),
            ready: count.ready,
            refused: count.refused.saturating_sub(before.refused),
            room_waits: count.room_waits.since(&before.room_waits),
            writes: count.writes.since(&before.writes),
            syncs: count.syncs.since(&before.syncs),
            events_per_flush: count.events_per_flush.since(&before.events_per_flush),
            ongoing: count.ongoing,
        }
    }
}

/// What the writer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiskWork {
    /// A write.
    Write,
    /// A sync.
    Sync,
    /// Prepared space.
    Room,
}
