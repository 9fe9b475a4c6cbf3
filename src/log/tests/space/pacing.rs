//! Tests of how zeros keep step with a log that grows: never in a hurry, never late, and most of
//! them while it rests.

use std::sync::Arc;
use std::time::Duration;

use crate::chunk::supply::Need;
use crate::chunk::{ChunkFile, ZERO_PIECE};
use crate::clock::{Clock, SimClock};
use crate::disk::sim::{Prices, SimDisk};
use crate::event::{Expected, NewEvent};
use crate::log::engine::Engine;
use crate::log::tests::faulty::{FaultyDisk, Kind, Part, Plan, Spell};
use crate::options::Options;
use crate::stage::Step;
use crate::stage::stats::DiskWork;

const CHUNK: u64 = 16 << 20;
const AHEAD: u64 = 1 << 20;
const ENOSPC: i32 = 28;
const EACCES: i32 = 13;
const SIZE: usize = 60 << 10;
/// A piece of zeros, and what the next chunk is begun with.
const SLACK: u64 = (256 << 10) + AHEAD / 8;

/// Bytes with zeros or groups, of all chunks up to the next one.
fn made_ready(engine: &Engine) -> u64 {
    let orders = engine.core.supply.orders();
    let next = orders.next.map_or(0, |next| next.zeroed());
    orders.active.number.get() * CHUNK + orders.active.zeroed() + next
}

/// Every call of a kind fails.
fn failing(kind: Kind, errno: i32) -> Plan {
    let (spell, part) = (Spell::Always, Part::Nothing);
    Plan { call: 0, of: Some(kind), errno, spell, part, lies: false }
}

/// A log with a clock that only the test moves.
struct Grown {
    left: SimDisk,
    disk: FaultyDisk,
    engine: Engine,
    clock: Arc<SimClock>,
}

impl Grown {
    fn new() -> Self {
        Self::on(SimDisk::new())
    }

    fn on(left: SimDisk) -> Self {
        let options = Options::new().chunk_size(CHUNK).prepare_ahead(AHEAD);
        let clock = Arc::new(SimClock::new());
        let disk = FaultyDisk::on(left.clone());
        let (shared, time) = (Arc::new(disk.clone()), Arc::clone(&clock));
        let engine = Engine::open(shared, time, options).unwrap().0;
        let mut opened = Self { left, disk, engine, clock };
        opened.keep();
        opened
    }

    /// The keeper does all that it finds to do at this moment. Returns when it wants to look again.
    fn keep(&mut self) -> Duration {
        loop {
            if let Step::Until(look) = self.engine.keeper.step() {
                return look;
            }
        }
    }

    /// Appends one event, with a look of the keeper every millisecond until it is acked.
    fn append(&mut self) {
        let event = NewEvent::new("Sized", vec![7; SIZE]);
        let ack = self.engine.core.submit("s", Expected::Any, [event], Duration::ZERO).unwrap();
        while !ack.is_ready() {
            self.engine.writer.step();
            self.engine.chaser.step();
            self.keep();
            self.clock.advance(Duration::from_millis(1));
        }
        ack.wait().unwrap();
        self.keep();
    }

    /// Lets the log lie for so many milliseconds. The keeper looks when it said that it would.
    fn rest(&mut self, milliseconds: u64) {
        let end = self.clock.monotonic() + Duration::from_millis(milliseconds);
        while self.clock.monotonic() < end {
            let look = self.keep().min(end);
            self.clock.advance(look - self.clock.monotonic());
        }
        self.keep();
    }

    /// Whether writes find no space from now on.
    fn fill(&self, is_full: bool) {
        self.disk.fail(is_full.then_some(failing(Kind::WriteAt, ENOSPC)));
    }

    fn zeros(&self) -> u64 {
        self.engine.core.stats().disk.zeros
    }

    fn active(&self) -> Arc<ChunkFile> {
        self.engine.core.supply.orders().active
    }

    /// All bytes of the log, counted as those that have zeros are.
    fn written(&self) -> u64 {
        let active = self.active();
        active.number.get() * CHUNK + active.written()
    }
}

#[test]
fn zeros_go_in_step_with_the_log_and_are_whole_from_the_third_chunk_on() {
    let mut log = Grown::new();
    let mut chunk = 0;
    while chunk < 5 {
        let before = made_ready(&log.engine);
        log.append();
        let active = log.active();
        assert!(active.prepared() >= (active.written() + AHEAD / 2).min(CHUNK), "late");
        let is_rolled = std::mem::replace(&mut chunk, active.number.get()) != chunk;
        if is_rolled && chunk >= 2 {
            assert_eq!(active.prepared(), CHUNK, "chunk {chunk} is whole when it becomes active");
        }
        // The rest of a chunk that no event fits counts as made ready.
        let grown = made_ready(&log.engine) - before;
        let most = 2 * SIZE as u64 + SLACK;
        assert!(is_rolled || grown <= most, "{grown} bytes at {} of {chunk}", active.written());
    }
}

#[test]
fn a_log_that_rests_is_given_as_many_zeros_as_it_has_grown_a_piece_at_a_time() {
    let mut log = Grown::new();
    log.rest(1000);
    assert_eq!(made_ready(&log.engine), AHEAD, "a log that did not grow");
    for events in [20, 60, 100, 160, 300] {
        (0..events).for_each(|_| log.append());
        let mut before = made_ready(&log.engine);
        for _ in 0..500 {
            log.rest(5);
            let grown = made_ready(&log.engine) - before;
            assert!(grown <= ZERO_PIECE as u64, "{grown} bytes of zeros in one look");
            before += grown;
        }
        let active = log.active();
        let most = (active.number.get() + 2) * CHUNK;
        let wanted = (2 * log.written()).min(most);
        let in_step = AHEAD + log.written() / 2 * 3;
        assert!(before <= wanted.max(in_step.min(most)) + SLACK, "{before} for {wanted}");
        // A small part of the next chunk would not be given to the writer.
        let least = wanted - wanted.min(2 * ZERO_PIECE as u64 + AHEAD / 8);
        assert!(before >= least, "{before} for {wanted} in {events}");
    }
    assert_eq!(log.active().number.get(), 2, "all sizes of a log were met");
}

#[test]
fn a_log_that_has_rested_needs_no_zeros_for_a_quarter_of_a_chunk() {
    let mut log = Grown::new();
    while log.active().number.get() < 3 {
        log.append();
    }
    log.rest(2000);
    let (ready, from) = (made_ready(&log.engine), log.written());
    assert_eq!(ready, 5 * CHUNK, "the active chunk and the next are whole");
    let disk = log.engine.core.stats().disk;
    assert_eq!((disk.ready, disk.zeros), (ready - from, ready - AHEAD));
    while log.written() < 4 * CHUNK + CHUNK / 4 - SIZE as u64 {
        log.append();
        assert_eq!(made_ready(&log.engine), ready, "zeros at {} after {from}", log.written());
    }
}

#[test]
fn a_log_that_was_just_opened_writes_no_zeros_for_what_it_held_before() {
    let mut log = Grown::new();
    while log.active().number.get() < 1 || log.active().written() < CHUNK / 2 {
        log.append();
    }
    let mut log = Grown::on(log.left.killed());
    log.rest(2000);
    let active = log.active();
    let ready = active.zeroed() - active.written();
    assert!(ready <= AHEAD, "{ready} bytes of zeros for a log that did not grow");
    let pieces = 20;
    (0..pieces).for_each(|_| log.append());
    log.rest(2000);
    let ready = log.active().zeroed() - log.active().written();
    let most = AHEAD.max(pieces * (SIZE as u64 + 1024));
    assert!(ready <= most, "{ready} bytes of zeros for {most}");
}

/// A log of which much is still to be made ready when it rests.
fn grown() -> Grown {
    let mut log = Grown::new();
    while log.written() < 2 * CHUNK + CHUNK / 2 {
        log.append();
    }
    log
}

#[test]
fn zeros_that_nobody_needs_yet_find_no_space_and_nobody_is_told() {
    let mut log = grown();
    log.rest(20);
    log.fill(true);
    let before = log.zeros();
    log.rest(1000);
    log.fill(false);
    assert_eq!(log.engine.core.stats().keeper.errors, 0);
    assert!(!log.engine.core.supply.need(Need::Next(CHUNK)), "the writer takes the disk for full");
    // What is needed is not held up by it.
    log.append();
    assert!(log.zeros() > before);
}

#[test]
fn zeros_that_nobody_needs_yet_are_tried_again_after_a_while() {
    let mut log = grown();
    log.fill(true);
    log.rest(1000);
    log.fill(false);
    let before = log.zeros();
    log.rest(8000);
    assert_eq!(log.zeros(), before);
    log.rest(2000);
    assert!(log.zeros() > before);
}

#[test]
fn a_file_that_cannot_be_made_for_zeros_that_nobody_needs_yet_is_counted() {
    let mut log = Grown::new();
    while log.written() < CHUNK / 16 * 9 {
        log.append();
    }
    log.disk.fail(Some(failing(Kind::Create, EACCES)));
    log.rest(1000);
    assert_eq!(log.active().zeroed(), CHUNK);
    assert_eq!(log.engine.core.stats().keeper.errors, 1, "once in ten seconds");
    assert!(log.engine.core.failure.get().is_none());
    log.append();
    log.disk.fail(None);
    log.rest(10_000);
    assert!(log.engine.core.supply.orders().next.is_some(), "tried again");
    assert_eq!(log.engine.core.stats().keeper.errors, 1);
}

#[test]
fn a_chunk_that_is_left_while_the_disk_is_full_is_followed() {
    let mut log = grown();
    while log.active().written() + 2 * (SIZE as u64) < CHUNK {
        log.append();
    }
    log.fill(true);
    log.rest(100);
    assert!(!log.engine.core.supply.need(Need::Next(CHUNK)), "the next chunk is begun");
    log.fill(false);
    let number = log.active().number;
    while log.active().number == number {
        log.append();
    }
    log.rest(20);
    assert!(log.active().prepared() >= AHEAD);
}

#[test]
fn a_disk_that_is_at_work_for_the_writer_is_not_quiet() {
    let mut log = grown();
    log.rest(5);
    let before = log.zeros();
    log.engine.core.meters.disk.begin(DiskWork::Sync, log.clock.monotonic());
    log.rest(1000);
    assert_eq!(log.zeros(), before);
    log.engine.core.meters.disk.end(DiskWork::Sync, Duration::from_secs(1));
    log.rest(1000);
    assert!(log.zeros() > before);
}

#[test]
fn a_log_that_is_closed_writes_no_zeros_that_nobody_needs() {
    let mut log = grown();
    log.rest(20);
    log.clock.advance(Duration::from_millis(10));
    let before = log.zeros();
    log.engine.core.supply.stop();
    log.keep();
    assert_eq!(log.zeros(), before);
}

#[test]
fn a_disk_that_takes_long_for_a_piece_is_given_time_between_two() {
    let mut log = grown();
    log.rest(20);
    let slow = Prices::new().write(Duration::from_millis(6));
    log.left.charge(Arc::clone(&log.clock), slow);
    for _ in 0..20 {
        let before = log.zeros();
        let look = log.keep();
        assert!(log.zeros() <= before + ZERO_PIECE as u64, "more than one piece at a time");
        log.clock.advance(look.saturating_sub(log.clock.monotonic()));
    }
}
