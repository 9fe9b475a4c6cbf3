//! Owns the arithmetic of a report: from two snapshots of the log's statistics to what happened
//! between them.
//!
//! Promises: values in, values out; no division by zero, no negative difference. High-water marks
//! and longest waits cannot be subtracted and are those since the log was opened.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::{DiskStats, QueueStats, StageStats};

/// Longest latency that is told apart from a longer one: one hour.
const LATENCY_NANOS_MAX: u64 = 3_600_000_000_000;

/// An empty histogram of nanoseconds, of three significant digits.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NANOS_MAX, 3)
        .expect("these bounds and digits are allowed")
}

/// Percentiles of a latency, in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Latency {
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) max: f64,
    pub(super) samples: u64,
}

impl Latency {
    /// The percentiles of a histogram of nanoseconds.
    pub(super) fn of(nanos: &Histogram<u64>) -> Self {
        let at = |quantile| nanos.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: nanos.max() as f64 / 1e3,
            samples: nanos.len(),
        }
    }
}

/// What passed through a queue.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct QueueFigures {
    pub(super) pushed: u64,
    pub(super) popped: u64,
    pub(super) length: u64,
    pub(super) high_water: u64,
    pub(super) rejected: u64,
    pub(super) wait_mean_us: f64,
    pub(super) wait_max_us: f64,
}

impl QueueFigures {
    pub(super) fn between(before: &QueueStats, after: &QueueStats) -> Self {
        let popped = after.popped.saturating_sub(before.popped);
        Self {
            pushed: after.pushed.saturating_sub(before.pushed),
            popped,
            length: after.length,
            high_water: after.high_water,
            rejected: after.rejected.saturating_sub(before.rejected),
            wait_mean_us: per(
                micros(after.waits.total().saturating_sub(before.waits.total())),
                popped as f64,
            ),
            wait_max_us: micros(after.waits.max()),
        }
    }
}

/// What a stage did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct StageFigures {
    /// Part of the time in which the stage worked.
    pub(super) busy_percent: f64,
    pub(super) items: u64,
    pub(super) errors: u64,
}

impl StageFigures {
    pub(super) fn between(before: &StageStats, after: &StageStats) -> Self {
        let busy = after.busy.saturating_sub(before.busy).as_secs_f64();
        let idle = after.idle.saturating_sub(before.idle).as_secs_f64();
        Self {
            busy_percent: per(busy * 100.0, busy + idle),
            items: after.items.saturating_sub(before.items),
            errors: after.errors.saturating_sub(before.errors),
        }
    }
}

/// What the writer did to the disk.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct DiskFigures {
    pub(super) groups: u64,
    pub(super) flushes: u64,
    pub(super) flushes_per_second: f64,
    pub(super) events_per_flush: f64,
    pub(super) events_per_group: f64,
    /// Bytes written to the log for each byte of payload.
    pub(super) bytes_per_payload_byte: f64,
    pub(super) megabytes_per_second: f64,
    /// Why the flushes were made: nothing else waited, the deadline passed, enough was gathered.
    pub(super) flushes_idle: u64,
    pub(super) flushes_deadline: u64,
    pub(super) flushes_size: u64,
    pub(super) write_mean_us: f64,
    pub(super) sync_mean_us: f64,
    pub(super) sync_max_us: f64,
    /// How often the writer had to wait for the keeper to prepare its file.
    pub(super) waits_for_chunk: u64,
}

impl DiskFigures {
    pub(super) fn between(
        before: &DiskStats,
        after: &DiskStats,
        seconds: f64,
        payload_size: u64,
    ) -> Self {
        let flushes = after.flushes.saturating_sub(before.flushes);
        let groups = after.groups.saturating_sub(before.groups);
        let events = after.events.saturating_sub(before.events) as f64;
        let bytes = after.bytes.saturating_sub(before.bytes) as f64;
        Self {
            groups,
            flushes,
            flushes_per_second: per(flushes as f64, seconds),
            events_per_flush: per(events, flushes as f64),
            events_per_group: per(events, groups as f64),
            bytes_per_payload_byte: per(bytes, events * payload_size as f64),
            megabytes_per_second: per(bytes / 1e6, seconds),
            flushes_idle: after.flushes_idle.saturating_sub(before.flushes_idle),
            flushes_deadline: after.flushes_deadline.saturating_sub(before.flushes_deadline),
            flushes_size: after.flushes_size.saturating_sub(before.flushes_size),
            write_mean_us: per(
                micros(after.writes.total().saturating_sub(before.writes.total())),
                groups as f64,
            ),
            sync_mean_us: per(
                micros(after.syncs.total().saturating_sub(before.syncs.total())),
                flushes as f64,
            ),
            sync_max_us: micros(after.syncs.max()),
            waits_for_chunk: after.waits_for_chunk.saturating_sub(before.waits_for_chunk),
        }
    }
}

/// `amount / count`, and 0 where there is nothing to divide by.
pub(super) fn per(amount: f64, count: f64) -> f64 {
    if count > 0.0 { amount / count } else { 0.0 }
}

pub(super) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Histogram as Times;
    use crate::stage::histogram::Recorder;

    fn close(found: f64, expected: f64) -> bool {
        (found - expected).abs() <= expected * 0.001
    }

    #[test]
    fn percentiles_are_those_of_the_samples() {
        let mut nanos = histogram();
        for micros in 1..=10_000 {
            nanos.saturating_record(micros * 1_000);
        }
        let latency = Latency::of(&nanos);
        assert!(close(latency.p50, 5_000.0) && close(latency.p90, 9_000.0), "{latency:?}");
        assert!(close(latency.p99, 9_900.0) && close(latency.p999, 9_990.0), "{latency:?}");
        assert!(close(latency.max, 10_000.0) && latency.samples == 10_000, "{latency:?}");
        nanos.saturating_record(u64::MAX);
        assert!(Latency::of(&nanos).max >= 3.6e9, "a sample beyond the bound is kept");
        assert_eq!(Latency::of(&histogram()), Latency::default());
    }

    /// So many samples of this sum in microseconds.
    fn times(count: u64, micros: u64) -> Times {
        let recorder = Recorder::default();
        recorder.record_many(Duration::from_micros(micros) / count as u32, count);
        recorder.snapshot()
    }

    #[test]
    fn queues_and_stages_are_what_happened_in_between() {
        let queue = |pushed, popped, wait| QueueStats {
            pushed,
            popped,
            length: pushed - popped,
            high_water: 7,
            rejected: popped / 10,
            waits: times(4, wait),
            ..QueueStats::default()
        };
        let figures = QueueFigures::between(&queue(100, 90, 500), &queue(303, 290, 900));
        assert_eq!((figures.pushed, figures.popped, figures.length), (203, 200, 13));
        assert_eq!((figures.high_water, figures.rejected), (7, 20));
        assert!(close(figures.wait_mean_us, 2.0) && close(figures.wait_max_us, 225.0));

        let stage = |busy, idle, items| StageStats {
            busy: Duration::from_millis(busy),
            idle: Duration::from_millis(idle),
            items,
            errors: 1,
            ..StageStats::default()
        };
        let figures = StageFigures::between(&stage(10, 90, 5), &stage(40, 160, 25));
        assert_eq!((figures.items, figures.errors), (20, 0));
        assert!(close(figures.busy_percent, 30.0));
        assert_eq!(StageFigures::between(&stage(1, 1, 1), &stage(1, 1, 1)).busy_percent, 0.0);
    }

    #[test]
    fn the_disk_is_counted_by_flush_by_group_and_by_byte() {
        let disk = |times| DiskStats {
            groups: 20 * times,
            events: 1_000 * times,
            bytes: 320_000 * times,
            flushes: 10 * times,
            flushes_idle: 6 * times,
            flushes_deadline: 3 * times,
            flushes_size: times,
            writes: self::times(1, 100 * times),
            syncs: self::times(1, 800 * times),
            waits_for_chunk: times,
            ..DiskStats::default()
        };
        let figures = DiskFigures::between(&disk(1), &disk(3), 0.5, 256);
        let expected = DiskFigures {
            groups: 40,
            flushes: 20,
            flushes_per_second: 40.0,
            events_per_flush: 100.0,
            events_per_group: 50.0,
            bytes_per_payload_byte: 1.25,
            megabytes_per_second: 1.28,
            flushes_idle: 12,
            flushes_deadline: 6,
            flushes_size: 2,
            write_mean_us: figures.write_mean_us,
            sync_mean_us: figures.sync_mean_us,
            sync_max_us: figures.sync_max_us,
            waits_for_chunk: 2,
        };
        assert_eq!(figures, expected);
        assert!(close(figures.write_mean_us, 5.0) && close(figures.sync_mean_us, 80.0));
        assert_eq!(DiskFigures::between(&disk(1), &disk(1), 0.0, 0).events_per_flush, 0.0);
    }
}
