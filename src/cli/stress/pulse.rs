//! Owns what is watched beside a load, second by second: the answers, the log's own counters, and
//! how late the machine wakes a thread that only sleeps.
//!
//! Promises: every answer is in exactly one interval, by the moment it was noted. The hiccups are
//! those of a thread that does nothing else, so that the machine's noise is not taken for the
//! log's. Writes nothing while the load runs.

use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use crate::clock::SystemClock;
use crate::{Log, Stats, Timestamp};

use super::figures::per;
use super::load::{Window, now};
use super::report::{Interval, TIME_NS_MAX, histogram};
use super::target::sleep_exactly;

const INTERVAL: u64 = 1_000_000_000;
const HICCUP_SLEEP: Duration = Duration::from_millis(1);
/// How often the recorder looks whether the load has ended.
const LOOK: Duration = Duration::from_millis(50);

/// Where the answers of one thread are noted for the interval that goes on; each on its own cache
/// lines.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Slot {
    /// Events acked so far, for the progress line.
    pub(super) acked: AtomicU64,
    current: Mutex<(u64, Histogram<u64>)>,
}

impl Slot {
    pub(super) fn new() -> Self {
        Self { acked: AtomicU64::new(0), current: Mutex::new((0, empty())) }
    }

    /// Notes an ack of so many events.
    pub(super) fn note(&self, events: u64, nanos: u64) {
        self.acked.fetch_add(events, Ordering::Relaxed);
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.0 += events;
        current.1.record(nanos.min(TIME_NS_MAX)).expect("it grows to what it is given");
    }

    fn take(&self) -> (u64, Histogram<u64>) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *current, (0, empty()))
    }
}

/// A histogram that takes memory only for the times that occur.
fn empty() -> Histogram<u64> {
    let mut small = Histogram::new(3).expect("three digits are allowed");
    small.auto(true);
    small
}

/// One interval with all its answers.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) row: Interval,
    answers: Histogram<u64>,
}

/// Records intervals from the start of the window to its end.
pub(super) fn record(
    log: &Log,
    slots: &[Slot],
    window: &Window,
    clock: &SystemClock,
) -> Vec<Recorded> {
    let mut recorded = Vec::new();
    if !sleep_to(window.start, window, clock) {
        return recorded;
    }
    slots.iter().for_each(|slot| drop(slot.take()));
    let (mut start, mut before) = (now(clock), log.stats());
    let mut next = window.start + INTERVAL;
    loop {
        let goes_on = sleep_to(next.min(window.end()), window, clock);
        let end = now(clock);
        let mut answers = histogram();
        let mut events = 0;
        for slot in slots {
            let (count, taken) = slot.take();
            events += count;
            answers.add(&taken).expect("these bounds take all times that fit the other's");
        }
        let after = log.stats();
        let row = row((start - window.start, end - start), events, &answers, (&before, &after));
        recorded.push(Recorded { row, answers });
        if !goes_on || end >= window.end() {
            return recorded;
        }
        (start, before) = (end, after);
        next += INTERVAL;
    }
}

fn row(
    (start, length): (u64, u64),
    acked_events: u64,
    answers: &Histogram<u64>,
    (before, after): (&Stats, &Stats),
) -> Interval {
    let groups = after.disk.groups.saturating_sub(before.disk.groups);
    let events = after.disk.events.saturating_sub(before.disk.events);
    let at = |quantile| if answers.is_empty() { 0 } else { answers.value_at_quantile(quantile) };
    Interval {
        t_s: seconds(start),
        seconds: seconds(length),
        acked_events,
        samples: answers.len(),
        p50_ns: at(0.5),
        p99_ns: at(0.99),
        p999_ns: at(0.999),
        max_ns: at(1.0),
        flushes: after.disk.flushes.saturating_sub(before.disk.flushes),
        events_per_group: per(events as f64, groups as f64),
        queued: after.appends.length,
    }
}

fn seconds(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64()
}

/// Sleeps until a time; returns false when the window was closed before.
fn sleep_to(time: u64, window: &Window, clock: &SystemClock) -> bool {
    loop {
        let left = Duration::from_nanos(time.saturating_sub(now(clock)));
        if left.is_zero() {
            return true;
        }
        if window.is_closed() {
            return false;
        }
        std::thread::sleep(left.min(LOOK));
    }
}

/// Measures by how many nanoseconds sleeps are too long, until `over`; those that begin in the
/// window count.
pub(super) fn hiccups(window: &Window, over: &AtomicBool, clock: &SystemClock) -> Histogram<u64> {
    sleep_exactly();
    let mut found = histogram();
    let sleep = u64::try_from(HICCUP_SLEEP.as_nanos()).unwrap_or(u64::MAX);
    while !over.load(Ordering::Relaxed) {
        let start = now(clock);
        std::thread::sleep(HICCUP_SLEEP);
        let late = now(clock).saturating_sub(start).saturating_sub(sleep);
        if window.contains(start) {
            found.saturating_record(late.max(1));
        }
    }
    found
}

/// Writes intervals, and the hiccups as one, in the format of HdrHistogram's logs.
pub(super) fn write_hlog(
    path: &Path,
    (title, started): (&str, Timestamp),
    recorded: &[Recorded],
    hiccups: &Histogram<u64>,
) -> io::Result<()> {
    let mut bytes = Vec::new();
    encode(&mut bytes, (title, started), recorded, hiccups).map_err(io::Error::other)?;
    let mut file = std::fs::File::create(path)?;
    file.write_all(&bytes)
}

fn encode(
    bytes: &mut Vec<u8>,
    (title, started): (&str, Timestamp),
    recorded: &[Recorded],
    hiccups: &Histogram<u64>,
) -> Result<(), String> {
    let mut serializer = V2DeflateSerializer::new();
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment(title)
        .add_comment("values in nanoseconds; shown largest values in milliseconds")
        .with_start_time(started.to_system_time())
        .with_base_time(started.to_system_time())
        .with_max_value_divisor(1e6)
        .begin_log_with(bytes, &mut serializer)
        .map_err(|error| error.to_string())?;
    let mut end = 0.0_f64;
    for Recorded { row, answers } in recorded {
        end = end.max(row.t_s + row.seconds);
        let (start, length) =
            (Duration::from_secs_f64(row.t_s), Duration::from_secs_f64(row.seconds));
        log.write_histogram(answers, start, length, None).map_err(|error| format!("{error:?}"))?;
    }
    log.write_histogram(hiccups, Duration::ZERO, Duration::from_secs_f64(end), Tag::new("hiccup"))
        .map_err(|error| format!("{error:?}"))
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;

    #[test]
    fn a_slot_gives_each_answer_once() {
        let slot = Slot::new();
        slot.note(3, 1_000);
        slot.note(2, 5_000_000_000);
        let (events, answers) = slot.take();
        assert_eq!((events, answers.len()), (5, 2));
        assert!(answers.max() >= 5_000_000_000);
        assert_eq!((slot.take().0, slot.acked.load(Ordering::Relaxed)), (0, 5));
    }

    #[test]
    fn the_log_of_intervals_is_read_back_by_the_reader_of_the_format() {
        let row = |t_s| {
            let mut answers = histogram();
            (1..=100).for_each(|micros| answers.saturating_record(micros * 1_000));
            Recorded { row: Interval { t_s, seconds: 1.0, ..Interval::default() }, answers }
        };
        let mut hiccups = histogram();
        hiccups.saturating_record(77);
        let mut bytes = Vec::new();
        let started = Timestamp::from_nanos(1_700_000_000_000_000_000);
        encode(&mut bytes, ("a run", started), &[row(0.0), row(1.0)], &hiccups).unwrap();
        let mut counts = Vec::new();
        for entry in IntervalLogIterator::new(&bytes) {
            if let LogEntry::Interval(found) = entry.unwrap() {
                let data = base64::Engine::decode(
                    &base64::engine::general_purpose::STANDARD,
                    found.encoded_histogram(),
                );
                let read: Histogram<u64> =
                    Deserializer::new().deserialize(&mut &data.unwrap()[..]).unwrap();
                counts.push((found.start_timestamp().as_secs(), read.len(), read.max() / 1_000));
            }
        }
        assert_eq!(counts, [(0, 100, 100), (1, 100, 100), (0, 1, 0)]);
    }
}
