//! Owns the counters of stages and of the disk, which one thread raises and all may read.
//!
//! Promises: counting takes no lock. What one thread counts later is never seen without what it
//! counted before, so a reader that goes from the end of the way to its beginning sees nothing
//! later than its cause. Times are those of the log's monotonic clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::chunk::recover::Cut;
use crate::clock::Clock;
use crate::error::Damage;
use crate::stage::histogram::{CountHistogram, IS_MEASURED, Recorder, nanos};
use crate::stage::stats::{DiskStats, DiskWork, ScrubDamage, ScrubStats, StageStats};

/// The moment, where it serves to measure and nothing else.
pub(crate) fn moment(clock: &dyn Clock) -> Duration {
    if IS_MEASURED { clock.monotonic() } else { Duration::ZERO }
}

/// A counter that one thread raises and all may read.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        // One writer: a plain load and store cost less than an atomic addition and lose nothing.
        self.0.store(self.get().wrapping_add(count), Ordering::Release);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// The counters of one stage.
#[derive(Debug, Default)]
pub(crate) struct StageMeter {
    /// When the thread began, in nanoseconds plus one; 0 where no thread steps the stage.
    began: AtomicU64,
    /// While the thread works, the time that it has waited; with the bit [`WAITS`], that time less
    /// the moment at which it began to wait. So one load tells the idle time at any moment.
    idle: AtomicU64,
    pub(crate) items: Counter,
    pub(crate) errors: Counter,
    pub(crate) service: Recorder,
}

const WAITS: u64 = 1 << 63;

impl StageMeter {
    /// The thread begins.
    pub(crate) fn begin(&self, now: Duration) {
        self.began.store(nanos(now) + 1, Ordering::Release);
    }

    /// The thread begins to wait.
    pub(crate) fn begin_wait(&self, now: Duration) {
        let idle = self.idle.load(Ordering::Relaxed).wrapping_sub(nanos(now));
        self.idle.store(idle | WAITS, Ordering::Release);
    }

    /// The thread works again.
    pub(crate) fn end_wait(&self, now: Duration) {
        let idle = self.idle.load(Ordering::Relaxed).wrapping_add(nanos(now));
        self.idle.store(idle & !WAITS, Ordering::Release);
    }

    /// The time that the thread has waited, and the time since it began.
    fn times(&self, clock: &dyn Clock) -> (Duration, Duration) {
        let began = self.began.load(Ordering::Acquire).checked_sub(1);
        let idle = self.idle.load(Ordering::Acquire);
        // Asked after the moment at which the wait began was read, so it is not before it.
        let now = nanos(clock.monotonic());
        let idle = if idle & WAITS == 0 { idle } else { idle.wrapping_add(now) & !WAITS };
        let age = began.map_or(0, |began| now.saturating_sub(began));
        (Duration::from_nanos(idle.min(age)), Duration::from_nanos(age))
    }

    /// The figures now; a wait that is still going on counts.
    pub(crate) fn snapshot(&self, clock: &dyn Clock) -> StageStats {
        let service = self.service.snapshot();
        let (errors, items) = (self.errors.get(), self.items.get());
        let (idle, age) = self.times(clock);
        StageStats { busy: age.saturating_sub(idle), idle, items, errors, service }
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

/// What sealing has taken out of full chunks: at most one row for each.
#[derive(Debug, Default)]
pub(crate) struct CutMeter(Mutex<Vec<Cut>>);

impl CutMeter {
    pub(crate) fn note(&self, cut: Cut) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(cut);
    }

    pub(crate) fn snapshot(&self) -> Vec<Cut> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Flushes whose moments are kept: more than there can be groups on their way to the chaser and in
/// its hands, each of which waits for one flush.
const FLUSHES_KEPT: usize = 4096;

/// What writer and keeper count of the disk.
#[derive(Debug)]
pub(crate) struct DiskMeter {
    pub(crate) groups: Counter,
    pub(crate) events: Counter,
    pub(crate) bytes: Counter,
    pub(crate) flushes_idle: Counter,
    pub(crate) flushes_deadline: Counter,
    pub(crate) flushes_size: Counter,
    pub(crate) refused: Counter,
    /// Bytes of zeros that the keeper wrote.
    pub(crate) zeros: Counter,
    room_waits: Recorder,
    writes: Recorder,
    syncs: Recorder,
    events_per_flush: Recorder,
    /// What the writer waits for and since when, in nanoseconds times four; 0 for nothing.
    ongoing: AtomicU64,
    /// When the last flushes ended, in nanoseconds, each at its number modulo their count.
    flushed: Box<[AtomicU64]>,
}

impl Default for DiskMeter {
    fn default() -> Self {
        Self {
            groups: Counter::default(),
            events: Counter::default(),
            bytes: Counter::default(),
            flushes_idle: Counter::default(),
            flushes_deadline: Counter::default(),
            flushes_size: Counter::default(),
            refused: Counter::default(),
            zeros: Counter::default(),
            room_waits: Recorder::default(),
            writes: Recorder::default(),
            syncs: Recorder::default(),
            events_per_flush: Recorder::default(),
            ongoing: AtomicU64::new(0),
            flushed: (0..FLUSHES_KEPT).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl DiskMeter {
    /// Does a write or a sync, and tells when it began and ended; one that fails counts too.
    pub(crate) fn timed<T>(
        &self,
        work: DiskWork,
        clock: &dyn Clock,
        call: impl FnOnce() -> T,
    ) -> (T, Duration, Duration) {
        let start = moment(clock);
        self.begin(work, start);
        let result = call();
        let end = moment(clock);
        self.end(work, end.saturating_sub(start));
        (result, start, end)
    }

    /// The writer begins to wait for something.
    pub(crate) fn begin(&self, work: DiskWork, now: Duration) {
        self.ongoing.store(nanos(now) << 2 | code_of(work), Ordering::Relaxed);
    }

    /// Whether the writer waits for a write or a sync.
    pub(crate) fn is_at_work(&self) -> bool {
        let ongoing = work_of(self.ongoing.load(Ordering::Relaxed) & 3);
        matches!(ongoing, Some(DiskWork::Write | DiskWork::Sync))
    }

    /// The writer has waited so long.
    pub(crate) fn end(&self, work: DiskWork, took: Duration) {
        self.ongoing.store(0, Ordering::Relaxed);
        let histogram = match work {
            DiskWork::Write => &self.writes,
            DiskWork::Sync => &self.syncs,
            DiskWork::Room => &self.room_waits,
        };
        histogram.record(took);
    }

    /// Flush number `flush` has made so many events durable, at this moment.
    pub(crate) fn flushed(&self, flush: u64, events: u64, now: Duration) {
        // Seen by whoever sees the mark that is advanced next.
        self.flushed[slot_of(flush)].store(nanos(now), Ordering::Relaxed);
        self.events_per_flush.record_count(events);
    }

    /// When that flush ended. It was seen to be over, and at most [`FLUSHES_KEPT`] came after it.
    pub(crate) fn flushed_at(&self, flush: u64) -> Duration {
        Duration::from_nanos(self.flushed[slot_of(flush)].load(Ordering::Relaxed))
    }

    /// The figures now, read against the order in which they grow.
    pub(crate) fn snapshot(&self, room: (u64, u64), clock: &dyn Clock) -> DiskStats {
        let (waits_for_chunk, ready) = room;
        let reasons = [&self.flushes_idle, &self.flushes_deadline, &self.flushes_size];
        let [flushes_idle, flushes_deadline, flushes_size] = reasons.map(Counter::get);
        let ongoing = self.ongoing.load(Ordering::Relaxed);
        let since = Duration::from_nanos(ongoing >> 2);
        let ongoing = work_of(ongoing & 3);
        DiskStats {
            flushes: flushes_idle + flushes_deadline + flushes_size,
            flushes_idle,
            flushes_deadline,
            flushes_size,
            waits_for_chunk,
            zeros: self.zeros.get(),
            ready,
            refused: self.refused.get(),
            room_waits: self.room_waits.snapshot(),
            events_per_flush: CountHistogram(self.events_per_flush.snapshot()),
            syncs: self.syncs.snapshot(),
            bytes: self.bytes.get(),
            events: self.events.get(),
            groups: self.groups.get(),
            writes: self.writes.snapshot(),
            ongoing: ongoing.map(|work| (work, clock.monotonic().saturating_sub(since))),
        }
    }
}

fn slot_of(flush: u64) -> usize {
    (flush % FLUSHES_KEPT as u64) as usize
}

/// A kind of work as a number that is not 0.
pub(crate) fn code_of(work: DiskWork) -> u64 {
    match work {
        DiskWork::Write => 1,
        DiskWork::Sync => 2,
        DiskWork::Room => 3,
    }
}

/// The kind of work that a number stands for.
pub(crate) fn work_of(code: u64) -> Option<DiskWork> {
    match code {
        1 => Some(DiskWork::Write),
        2 => Some(DiskWork::Sync),
        3 => Some(DiskWork::Room),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SimClock;

    #[test]
    fn all_time_is_busy_or_idle_also_while_it_goes_on() {
        let (meter, clock) = (StageMeter::default(), SimClock::new());
        let times = || {
            let stats = meter.snapshot(&clock);
            (stats.busy.as_millis(), stats.idle.as_millis())
        };
        clock.advance(Duration::from_millis(100));
        assert_eq!(times(), (0, 0), "nobody steps it");
        meter.begin(clock.monotonic());
        clock.advance(Duration::from_millis(3));
        assert_eq!(times(), (3, 0));
        meter.begin_wait(clock.monotonic());
        clock.advance(Duration::from_millis(5));
        assert_eq!(times(), (3, 5), "a wait that goes on");
        meter.end_wait(clock.monotonic());
        clock.advance(Duration::from_millis(2));
        assert_eq!(times(), (5, 5), "work that goes on");
        meter.begin_wait(clock.monotonic());
        assert_eq!(times(), (5, 5));
    }

    #[test]
    fn what_goes_on_is_told_with_its_age() {
        let (meter, clock) = (DiskMeter::default(), SimClock::new());
        for work in [DiskWork::Write, DiskWork::Sync, DiskWork::Room] {
            meter.begin(work, clock.monotonic());
            clock.advance(Duration::from_secs(4));
            let stats = meter.snapshot((0, 0), &clock);
            assert_eq!(stats.ongoing, Some((work, Duration::from_secs(4))));
            meter.end(work, Duration::from_secs(4));
            assert_eq!(meter.snapshot((0, 0), &clock).ongoing, None);
        }
    }
}
