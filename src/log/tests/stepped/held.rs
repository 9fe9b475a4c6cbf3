//! Tests of flushes that are held back: for whom they are, and when there is nothing to hold.

use std::sync::Arc;
use std::time::Duration;

use super::super::event;
use crate::clock::SimClock;
use crate::disk::Disk;
use crate::disk::sim::{Prices, SimDisk};
use crate::error::AppendError;
use crate::event::{Expected, NewEvent};
use crate::log::engine::Engine;
use crate::options::{Durability, Options};
use crate::stage::Step;
use crate::stage::ack::Ack;

const MICRO: Duration = Duration::from_micros(1);

/// A log whose syncs take 10 ms and that has answered eight appends, and did so before to clients
/// that came back within 100 us.
fn answered(options: Options) -> (Engine, Arc<SimClock>) {
    let (disk, clock) = (SimDisk::new(), Arc::new(SimClock::new()));
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let options = options.chunk_size(1 << 20).prepare_ahead(128 << 10);
    let mut engine = Engine::open(shared, Arc::clone(&clock) as _, options).unwrap().0;
    while engine.keeper.step() == Step::Worked {}
    disk.charge(Arc::clone(&clock), Prices::new().sync(MICRO * 10_000));
    for _ in 0..2 {
        let acks = submit(&engine, 8, Expected::Any);
        assert_eq!(engine.writer.step(), Step::Worked);
        engine.chaser.step();
        acks.into_iter().for_each(|ack| _ = ack.wait().unwrap());
        clock.advance(MICRO * 100);
    }
    (engine, clock)
}

fn submit(engine: &Engine, count: u64, expected: Expected) -> Vec<Ack> {
    let submit =
        |number| engine.core.submit("s", expected, [event(number)], Duration::ZERO).unwrap();
    (0..count).map(submit).collect()
}

#[test]
fn a_flush_waits_for_those_who_were_just_answered() {
    let (mut engine, clock) = answered(Options::new());
    let first = submit(&engine, 4, Expected::Any);
    let step = engine.writer.step();
    let Step::Gather { until, appends: 4 } = step else { panic!("{step:?}") };
    let flushes = engine.core.stats().disk.flushes;
    let rest = submit(&engine, 4, Expected::Any);
    engine.writer.step();
    assert_eq!(engine.core.stats().disk.flushes, flushes + 1, "one flush for all eight");
    engine.chaser.step();
    assert!(first.iter().chain(&rest).all(Ack::is_ready));

    let late = submit(&engine, 4, Expected::Any);
    assert!(matches!(engine.writer.step(), Step::Gather { .. }));
    clock.advance(until);
    engine.writer.step();
    engine.chaser.step();
    assert!(late.iter().all(Ack::is_ready), "who does not come is not waited for");
}

#[test]
fn nothing_is_held_where_no_sync_is_to_come() {
    let options = Options::new().durability(Durability::Os);
    for options in [options, Options::new().batching(false)] {
        let (mut engine, _) = answered(options);
        let acks = submit(&engine, 4, Expected::Any);
        assert_eq!(engine.writer.step(), Step::Worked);
        engine.chaser.step();
        assert!(acks.iter().all(Ack::is_ready));
    }
    let (mut engine, _) = answered(Options::new());
    let refused = submit(&engine, 4, Expected::NoStream);
    assert_eq!(engine.writer.step(), Step::Worked);
    engine.chaser.step();
    for ack in refused {
        assert!(matches!(ack.wait(), Err(AppendError::WrongVersion { .. })));
    }
}

#[test]
fn nothing_is_held_once_the_log_is_closed() {
    let (mut engine, _) = answered(Options::new());
    let acks = submit(&engine, 4, Expected::Any);
    engine.core.appends.close();
    assert_eq!(engine.writer.step(), Step::Worked);
    engine.chaser.step();
    assert!(acks.iter().all(Ack::is_ready));
}

/// A log to which more is always about to come, so that only the writer's own limits flush; with as
/// many appends of 5,000 bytes in its queue.
fn hurried(options: Options, appends: u64) -> Engine {
    let clock = Arc::new(SimClock::new());
    let options = options.chunk_size(4 << 20);
    let mut engine = Engine::open(Arc::new(SimDisk::new()), clock, options).unwrap().0;
    while engine.keeper.step() == Step::Worked {}
    std::mem::forget(engine.core.appends.about_to_push());
    for _ in 0..appends {
        let event = NewEvent::new("Large", vec![0; 5_000]);
        drop(engine.core.submit("s", Expected::Any, [event], Duration::ZERO).unwrap());
    }
    engine
}

/// The chaser's queue has no place for more groups than these.
#[test]
fn no_more_than_64_groups_stay_unflushed() {
    let options = Options::new().prepare_ahead(1 << 20).group_size(4096);
    let mut engine = hurried(options, 140);
    for step in 1..=130 {
        engine.writer.step();
        let disk = engine.core.stats().disk;
        assert_eq!((disk.groups, disk.flushes_size), (step, step / 65));
    }
}

/// The keeper may have made room by the time the writer cannot do without.
#[test]
fn a_lack_of_room_flushes_when_nothing_else_is_left_to_do() {
    let mut engine = hurried(Options::new().prepare_ahead(128 << 10).group_size(2 << 20), 300);
    let figures = |engine: &Engine| {
        let disk = engine.core.stats().disk;
        (disk.groups, disk.flushes)
    };
    engine.writer.step();
    assert_eq!(figures(&engine), (1, 0));
    engine.writer.step();
    assert_eq!(figures(&engine), (1, 1));
}

#[test]
fn nobody_spins_where_many_wait_or_many_were_answered_together() {
    let (mut engine, _) = answered(Options::new().batching(false));
    let lounge = Arc::clone(&engine.core.lounge);
    assert!(!lounge.is_calm(1), "eight were answered together");
    for (count, is_calm) in [(2, true), (3, false), (1, true)] {
        let acks = submit(&engine, count, Expected::Any);
        engine.writer.step();
        engine.chaser.step();
        assert!(acks.iter().all(Ack::is_ready));
        assert_eq!(lounge.is_calm(1), is_calm, "{count} were answered together");
    }
    assert!(lounge.is_calm(2));
    assert!(!lounge.is_calm(3), "three wait");
}
