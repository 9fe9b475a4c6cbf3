//! Tests of how zeros keep step with a log that grows: never in a hurry, never late, and most of
//! them while it rests.

use std::sync::Arc;
use std::time::Duration;

use crate::chunk::{ChunkFile, ZERO_PIECE};
use crate::clock::{Clock, SimClock};
use crate::disk::sim::SimDisk;
use crate::event::{Expected, NewEvent};
use crate::log::engine::Engine;
use crate::options::Options;
use crate::stage::Step;

const CHUNK: u64 = 16 << 20;
const AHEAD: u64 = 1 << 20;
const SIZE: usize = 60 << 10;
/// A piece of zeros, and what the next chunk is begun with.
const SLACK: u64 = (256 << 10) + AHEAD / 8;

/// Bytes with zeros or groups, of all chunks up to the next one.
fn made_ready(engine: &Engine) -> u64 {
    let orders = engine.core.supply.orders();
    let next = orders.next.map_or(0, |next| next.zeroed());
    orders.active.number.get() * CHUNK + orders.active.zeroed() + next
}

/// A log with a clock that only the test moves.
struct Grown {
    disk: SimDisk,
    engine: Engine,
    clock: Arc<SimClock>,
}

impl Grown {
    fn new() -> Self {
        Self::on(SimDisk::new())
    }

    fn on(disk: SimDisk) -> Self {
        let options = Options::new().chunk_size(CHUNK).prepare_ahead(AHEAD);
        let clock = Arc::new(SimClock::new());
        let (shared, time) = (Arc::new(disk.clone()), Arc::clone(&clock));
        let engine = Engine::open(shared, time, options).unwrap().0;
        let mut opened = Self { disk, engine, clock };
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
    let mut log = Grown::on(log.disk.killed());
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
