//! Owns the proof that a write which was cut short costs nothing but itself: F10, and F03 for the
//! recovery from it.
//!
//! Promises: tries every byte of the last group as the place of the tear, with each fill, and stops
//! recovery at every call that changes something, twice in a row. The log has no hint, as when it
//! was never written after the last group.

#![cfg(feature = "sim")]
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "what is wrong ends the test"
)]

mod support;

use paperchase::disk::Disk;
use paperchase::disk::sim::SimDisk;
use paperchase::{Cut, NewEvent, OpenError};
use support::Content;
use support::sim::{FIRST, StoppingDisk, append, file, groups, open, open_on};

const GROUPS: u64 = 6;

/// A log of some groups as a crash leaves it, what it holds, and the place of its last group.
struct Case {
    disk: SimDisk,
    chunk: Vec<u8>,
    whole: Content,
    before: Content,
    earlier: Vec<u8>,
    last: std::ops::Range<usize>,
}

impl Case {
    fn new() -> Self {
        let disk = SimDisk::new();
        let log = open(&disk).unwrap();
        for number in 0..GROUPS {
            let event = |part: u64| {
                let length = 9 + number as usize % 3;
                NewEvent::new("Torn", vec![0x30 + (number * 3 + part) as u8; length]).tag("t")
            };
            append(&log, &format!("s-{}", number % 2), [event(0), event(1)]);
        }
        let whole = Content::of(&log.view());
        let crashed = disk.snapshot();
        drop(log);
        crashed.remove("hint");
        crashed.remove("LOCK");
        let chunk = file(&crashed, FIRST);
        let places = groups(&chunk);
        assert_eq!(places.len() as u64, GROUPS, "each append is a group of its own");
        let last = places[GROUPS as usize - 1].clone();
        let earlier = chunk[places[2].clone()].to_vec();
        let before = whole.until(2 * (GROUPS - 1));
        Self { disk: crashed, chunk, whole, before, earlier, last }
    }

    fn with_chunk(&self, chunk: Vec<u8>) -> SimDisk {
        let disk = self.disk.snapshot();
        disk.write_file(FIRST, chunk);
        disk
    }

    /// The chunk with the last group torn at `at` and the rest of it replaced.
    fn torn(&self, at: usize, fill: Fill) -> Vec<u8> {
        let mut chunk = self.chunk.clone();
        let (start, end) = (self.last.start, self.last.end);
        let old = |from: usize| {
            let old = self.earlier.iter().skip(from).copied();
            old.chain(std::iter::repeat(0)).take(end - at).collect()
        };
        let rest: Vec<u8> = match fill {
            Fill::Zeros => vec![0; end - at],
            Fill::Ones => vec![0xff; end - at],
            Fill::OldInPlace => old(at - start),
            Fill::OldFromItsStart => old(0),
            Fill::Shortened => {
                chunk.truncate(at);
                return chunk;
            }
        };
        chunk[at..end].copy_from_slice(&rest);
        chunk
    }

    /// Whether all that is missing is zeros, which a file that ends early gets back.
    fn is_whole(&self, chunk: &[u8]) -> bool {
        let mut chunk = chunk.to_vec();
        chunk.resize(self.chunk.len(), 0);
        chunk == self.chunk
    }

    /// What recovery must cut out of a chunk: all from the last group's start to the last byte that
    /// is not zero.
    fn garbage<'a>(&self, chunk: &'a [u8]) -> &'a [u8] {
        let rest = &chunk[self.last.start.min(chunk.len())..];
        let end = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        &rest[..end]
    }
}

#[derive(Clone, Copy, Debug)]
enum Fill {
    Zeros,
    Ones,
    OldInPlace,
    OldFromItsStart,
    Shortened,
}

/// Opens a torn log, checks what is there and what was cut, appends to it, and opens it again.
fn check(case: &Case, chunk: Vec<u8>) {
    let is_whole = case.is_whole(&chunk);
    let wanted = if is_whole { &case.whole } else { &case.before };
    let garbage = if is_whole { Vec::new() } else { case.garbage(&chunk).to_vec() };
    let disk = case.with_chunk(chunk);
    let log = open(&disk).unwrap();
    assert_eq!(wanted.compare(&log.view()), Ok(0));
    check_cut(case, &disk, log.report().cut.as_ref(), &garbage);
    append(&log, "s-0", [NewEvent::new("After", "a")]);
    let content = Content::of(&log.view());
    assert_eq!(content.until(wanted.events.len() as u64), *wanted);
    // As left by a crash once more, so that the second opening scans what the first one wrote.
    let crashed = disk.snapshot();
    drop(log);
    crashed.remove("hint");
    let again = open(&crashed).unwrap();
    assert_eq!((again.report().cut.as_ref(), content.compare(&again.view())), (None, Ok(0)));
    again.close().unwrap();
}

fn check_cut(case: &Case, disk: &SimDisk, cut: Option<&Cut>, garbage: &[u8]) {
    let aside: Vec<_> = disk.list().unwrap();
    let aside: Vec<_> = aside.into_iter().filter(|name| name.starts_with("lost-")).collect();
    let Some(cut) = cut else {
        assert!(garbage.is_empty() && aside.is_empty(), "{} bytes, {aside:?}", garbage.len());
        return;
    };
    assert_eq!(aside, std::slice::from_ref(&cut.kept_in));
    assert_eq!(cut.kept_in, format!("lost-{FIRST}@{:010}", case.last.start));
    assert_eq!((cut.chunk.get(), cut.offset), (0, case.last.start as u64));
    assert_eq!(cut.bytes, garbage.len() as u64);
    assert_eq!(file(disk, &cut.kept_in), garbage);
}

fn tear_at_every_byte(fill: Fill) {
    let case = Case::new();
    for at in case.last.clone().chain([case.last.end]) {
        let chunk = case.torn(at, fill);
        let outcome = std::panic::catch_unwind(|| check(&case, chunk));
        assert!(outcome.is_ok(), "torn at byte {} of the group, {fill:?}", at - case.last.start);
    }
}

#[test]
fn f10_torn_at_every_byte_and_zeros() {
    tear_at_every_byte(Fill::Zeros);
}

#[test]
fn f10_torn_at_every_byte_and_ones() {
    tear_at_every_byte(Fill::Ones);
}

#[test]
fn f10_torn_at_every_byte_and_old_bytes_of_that_place() {
    tear_at_every_byte(Fill::OldInPlace);
}

#[test]
fn f10_torn_at_every_byte_and_an_old_group() {
    tear_at_every_byte(Fill::OldFromItsStart);
}

#[test]
fn f10_torn_at_every_byte_and_the_file_ends() {
    tear_at_every_byte(Fill::Shortened);
}

/// The end of the group is there and its beginning is not.
#[test]
fn f12_torn_from_the_front() {
    let case = Case::new();
    for at in case.last.clone().step_by(8) {
        let mut chunk = case.chunk.clone();
        chunk[case.last.start..=at].fill(0);
        check(&case, chunk);
    }
}

/// The same tear is refused where the hint says that the group was durable.
#[test]
fn a_group_that_the_hint_names_is_not_cut() {
    let case = Case::new();
    let whole = open(&case.disk.snapshot()).unwrap();
    whole.close().unwrap();
    let closed = case.disk.snapshot();
    drop(open(&closed).unwrap());
    for at in case.last.clone().step_by(3) {
        for fill in [Fill::Zeros, Fill::Ones, Fill::Shortened] {
            let disk = closed.snapshot();
            let torn = case.torn(at, fill);
            if case.is_whole(&torn) {
                continue;
            }
            disk.write_file(FIRST, torn);
            match open(&disk) {
                Err(OpenError::Corrupt(damage)) => {
                    assert_eq!(damage.offset, case.last.start as u64, "{damage}");
                }
                Err(OpenError::LostData { expected, found }) => {
                    assert_eq!((expected.get(), found.get()), (2 * GROUPS, 2 * GROUPS - 2));
                    assert_eq!(at, case.last.start, "bytes of the group are there");
                }
                other => panic!("{fill:?} at {at}: {other:?}"),
            }
            let lost = disk.list().unwrap().into_iter().any(|name| name.starts_with("lost-"));
            assert!(!lost, "a refusal changes nothing");
        }
    }
}

/// Recovery that is stopped at each of its calls, and stopped again at each call of the next
/// attempt, ends in the same log as one that is not, with the cut bytes kept.
#[test]
fn f03_recovery_cut_short() {
    let case = Case::new();
    let torn = case.torn(case.last.start + 100, Fill::Ones);
    let garbage = case.garbage(&torn).to_vec();
    let disk = case.with_chunk(torn);
    let stopped_at_once = stops(&disk);
    assert!(stopped_at_once.len() > 5, "recovery makes several calls: {}", stopped_at_once.len());
    for (first, once) in stopped_at_once.into_iter().enumerate() {
        check_recovered(&case, &once, &garbage, &format!("{first}"));
        for (second, twice) in stops(&once).into_iter().enumerate() {
            check_recovered(&case, &twice, &garbage, &format!("{first}, {second}"));
        }
    }
}

/// The disk as left by openings that are stopped after each number of calls that is too small for
/// them.
fn stops(disk: &SimDisk) -> Vec<SimDisk> {
    let mut stopped = Vec::new();
    for calls in 1.. {
        let copy = disk.snapshot();
        match open_on(std::sync::Arc::new(StoppingDisk::new(copy.clone(), calls))) {
            Err(OpenError::Failed(_)) => stopped.push(copy.snapshot()),
            Err(other) => panic!("stopped after {calls}: {other}"),
            Ok(_) => break,
        }
    }
    stopped
}

fn check_recovered(case: &Case, stopped: &SimDisk, garbage: &[u8], calls: &str) {
    let disk = stopped.snapshot();
    let log = open(&disk).unwrap();
    assert_eq!(case.before.compare(&log.view()), Ok(0), "stopped after {calls}");
    drop(log);
    let chunk = file(&disk, FIRST);
    assert_eq!(chunk[..case.last.start], case.chunk[..case.last.start], "stopped after {calls}");
    assert!(chunk[case.last.start..].iter().all(|byte| *byte == 0), "stopped after {calls}");
    let names = disk.list().unwrap();
    let mut kept = names.iter().filter(|name| name.starts_with("lost-"));
    assert!(kept.any(|name| file(&disk, name) == garbage), "stopped after {calls}: {names:?}");
    let log = open(&disk).unwrap();
    assert!(log.report().clean && log.report().cut.is_none(), "stopped after {calls}");
}
