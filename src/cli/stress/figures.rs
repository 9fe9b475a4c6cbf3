//! Owns the arithmetic of a report: from two snapshots of the log's statistics to what happened
//! between them.
//!
//! Promises: values in, values out; no division by zero, no negative difference. Peaks and longest
//! waits cannot be subtracted and are those since the log was opened. What held up the log is not
//! guessed from too short a time.

use std::time::Duration;

use super::super::top::report::VerdictReport;
use super::report::{Disk, Distribution, Queue, Stage, histogram};
use crate::stage::verdict::MEAN_WAY;
use crate::{DiskStats, Histogram, QueueStats, StageStats, Stats};

/// In a shorter time a single sync or wait can stand for all of it.
const VERDICT_TIME_MIN: Duration = Duration::from_millis(50);

/// What held up the log, where there was time enough to tell. Its evidence has no mean of latencies
/// either.
pub(super) fn verdict(before: &Stats, after: &Stats) -> Option<VerdictReport> {
    let between = after.uptime.saturating_sub(before.uptime);
    let mut found = (between >= VERDICT_TIME_MIN).then(|| VerdictReport::of(after, before))?;
    for finding in &mut found.findings {
        finding.evidence.retain(|line| !line.starts_with(MEAN_WAY));
    }
    Some(found)
}

/// What the three stages did.
pub(super) fn stages(before: &Stats, after: &Stats) -> Vec<Stage> {
    vec![
        stage("writer", &before.writer, &after.writer),
        stage("chaser", &before.chaser, &after.chaser),
        stage("keeper", &before.keeper, &after.keeper),
    ]
}

/// What passed through the two queues.
pub(super) fn queues(before: &Stats, after: &Stats) -> Vec<Queue> {
    vec![
        queue("appends", &before.appends, &after.appends),
        queue("groups", &before.groups, &after.groups),
    ]
}

fn queue(name: &str, before: &QueueStats, after: &QueueStats) -> Queue {
    let popped = after.popped.saturating_sub(before.popped);
    let waited = after.waits.total().saturating_sub(before.waits.total());
    Queue {
        name: name.to_owned(),
        pushed: after.pushed.saturating_sub(before.pushed),
        popped,
        length: after.length,
        peak: after.high_water,
        rejected: after.rejected.saturating_sub(before.rejected),
        wait_ns_per_item: per(nanos(waited) as f64, popped as f64),
        wait_max_ns: nanos(after.waits.max()),
    }
}

fn stage(name: &str, before: &StageStats, after: &StageStats) -> Stage {
    let busy = after.busy.saturating_sub(before.busy).as_secs_f64();
    let idle = after.idle.saturating_sub(before.idle).as_secs_f64();
    Stage {
        name: name.to_owned(),
        // A quotient of floats may pass its bound by a bit.
        busy_percent: per(busy * 100.0, busy + idle).min(100.0),
        items: after.items.saturating_sub(before.items),
        errors: after.errors.saturating_sub(before.errors),
    }
}

/// What the writer did to the disk; `payload` is the mean payload of an event in bytes.
pub(super) fn disk(before: &DiskStats, after: &DiskStats, seconds: f64, payload: f64) -> Disk {
    let flushes = after.flushes.saturating_sub(before.flushes);
    let groups = after.groups.saturating_sub(before.groups);
    let events = after.events.saturating_sub(before.events);
    let bytes = after.bytes.saturating_sub(before.bytes);
    let wrote = after.writes.since(&before.writes).total();
    let synced = after.syncs.since(&before.syncs).total();
    Disk {
        groups,
        events,
        bytes,
        flushes,
        flushes_per_second: per(flushes as f64, seconds),
        events_per_flush: per(events as f64, flushes as f64),
        events_per_group: per(events as f64, groups as f64),
        flushes_idle: after.flushes_idle.saturating_sub(before.flushes_idle),
        flushes_deadline: after.flushes_deadline.saturating_sub(before.flushes_deadline),
        flushes_size: after.flushes_size.saturating_sub(before.flushes_size),
        write_amplification: per(bytes as f64, events as f64 * payload),
        write_ns_per_group: per(nanos(wrote) as f64, groups as f64),
        sync_ns_per_flush: per(nanos(synced) as f64, flushes as f64),
        sync_max_ns: nanos(after.syncs.max()),
        waits_for_chunk: after.waits_for_chunk.saturating_sub(before.waits_for_chunk),
        zeros: after.zeros.saturating_sub(before.zeros),
        ready: [before.ready, after.ready],
    }
}

/// How the times of a histogram of the log were spread; `None` where there are none.
pub(super) fn spread(times: &Histogram) -> Option<Distribution> {
    let mut all = histogram();
    for (nanos, count) in times.counts() {
        all.saturating_record_n(nanos, count);
    }
    (!all.is_empty()).then(|| Distribution::of(&all))
}

/// `amount / count`, and 0 where there is nothing to divide by.
pub(super) fn per(amount: f64, count: f64) -> f64 {
    if count > 0.0 { amount / count } else { 0.0 }
}

/// A time in nanoseconds.
pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::histogram::Recorder;

    /// So many samples of this sum in microseconds.
    fn times(count: u64, micros: u64) -> Histogram {
        let recorder = Recorder::default();
        recorder.record_many(Duration::from_micros(micros) / count as u32, count);
        recorder.snapshot()
    }

    #[test]
    fn times_of_the_log_are_spread_as_they_were_seen() {
        assert_eq!(spread(&Histogram::default()), None);
        let (few, many) = (times(10, 90_000), times(990, 99_000));
        let found = spread(&few.merged(&many)).unwrap();
        assert_eq!(found.samples, 1_000);
        assert!((100_000..107_000).contains(&found.at(90.0)), "{found:?}");
        assert!((9_000_000..9_600_000).contains(&found.at(99.9)), "{found:?}");
    }

    #[test]
    fn what_held_up_the_log_is_told_where_there_was_time_to_see_it() {
        let at = |millis, synced| Stats {
            uptime: Duration::from_millis(millis),
            disk: DiskStats { syncs: times(100, synced), ..DiskStats::default() },
            ..Stats::default()
        };
        let found = verdict(&at(7_000, 1_000), &at(8_000, 801_000)).unwrap();
        assert_eq!((found.cause.as_str(), found.findings.len()), ("sync", 1));
        let finding = &found.findings[0];
        assert_eq!(finding.line, "the disk: 80 % of the time is spent in syncs");
        assert!(!finding.advice.is_empty() && finding.evidence.len() == 5, "{finding:?}");
        assert!(finding.evidence.iter().all(|line| !line.contains("mean")), "{finding:?}");
        assert_eq!(verdict(&at(7_000, 1_000), &at(8_000, 1_000)).unwrap().cause, "idle");
        assert_eq!(verdict(&at(7_000, 1_000), &at(7_001, 2_000)), None);
        assert_eq!(verdict(&at(8_000, 1_000), &at(7_000, 1_000)), None);
    }

    fn close(found: f64, expected: f64) -> bool {
        (found - expected).abs() <= expected * 0.001
    }

    #[test]
    fn queues_and_stages_are_what_happened_in_between() {
        let at = |pushed, popped, wait| QueueStats {
            pushed,
            popped,
            length: pushed - popped,
            high_water: 7,
            rejected: popped / 10,
            waits: times(4, wait),
            ..QueueStats::default()
        };
        let figures = queue("appends", &at(100, 90, 500), &at(303, 290, 900));
        assert_eq!((figures.pushed, figures.popped, figures.length), (203, 200, 13));
        assert_eq!((figures.peak, figures.rejected, figures.wait_max_ns), (7, 20, 225_000));
        assert!(close(figures.wait_ns_per_item, 2_000.0));

        let at = |busy, idle, items| StageStats {
            busy: Duration::from_millis(busy),
            idle: Duration::from_millis(idle),
            items,
            errors: 1,
            ..StageStats::default()
        };
        let figures = stage("writer", &at(10, 90, 5), &at(40, 160, 25));
        assert_eq!((figures.items, figures.errors), (20, 0));
        assert!(close(figures.busy_percent, 30.0));
        assert_eq!(stage("writer", &at(1, 1, 1), &at(1, 1, 1)).busy_percent, 0.0);
    }

    #[test]
    fn the_disk_is_counted_by_flush_by_group_and_by_byte() {
        let at = |times| DiskStats {
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
            zeros: 400_000 * times,
            ready: 1_000 / times,
            ..DiskStats::default()
        };
        let figures = disk(&at(1), &at(3), 0.5, 256.0);
        let expected = Disk {
            groups: 40,
            events: 2_000,
            bytes: 640_000,
            flushes: 20,
            flushes_per_second: 40.0,
            events_per_flush: 100.0,
            events_per_group: 50.0,
            flushes_idle: 12,
            flushes_deadline: 6,
            flushes_size: 2,
            write_amplification: 1.25,
            write_ns_per_group: 5_000.0,
            sync_ns_per_flush: 80_000.0,
            sync_max_ns: 2_400_000,
            waits_for_chunk: 2,
            zeros: 800_000,
            ready: [1_000, 333],
        };
        assert_eq!(figures, expected);
        assert_eq!(disk(&at(1), &at(1), 0.0, 0.0).events_per_flush, 0.0);
    }
}
