//! Tests of how zeros keep step with a log that grows: never in a hurry, and never late.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::SimClock;
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

#[test]
fn zeros_go_in_step_with_the_log_and_are_whole_from_the_third_chunk_on() {
    let options = Options::new().chunk_size(CHUNK).prepare_ahead(AHEAD);
    let clock = Arc::new(SimClock::new());
    let mut engine =
        Engine::open(Arc::new(SimDisk::new()), Arc::clone(&clock) as _, options).unwrap().0;
    let mut chunk = 0;
    while chunk < 5 {
        let before = made_ready(&engine);
        let event = NewEvent::new("Sized", vec![7; SIZE]);
        let ack = engine.core.submit("s", Expected::Any, [event], Duration::ZERO).unwrap();
        while !ack.is_ready() {
            engine.writer.step();
            engine.chaser.step();
            while engine.keeper.step() == Step::Worked {}
            clock.advance(Duration::from_millis(1));
        }
        ack.wait().unwrap();
        while engine.keeper.step() == Step::Worked {}
        let active = engine.core.supply.orders().active;
        assert!(active.prepared() >= (active.written() + AHEAD / 2).min(CHUNK), "late");
        let is_rolled = std::mem::replace(&mut chunk, active.number.get()) != chunk;
        if is_rolled && chunk >= 2 {
            assert_eq!(active.prepared(), CHUNK, "chunk {chunk} is whole when it becomes active");
        }
        // The rest of a chunk that no event fits counts as made ready.
        let grown = made_ready(&engine) - before;
        let most = 2 * SIZE as u64 + SLACK;
        assert!(is_rolled || grown <= most, "{grown} bytes at {} of {chunk}", active.written());
    }
}
