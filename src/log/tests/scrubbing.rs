//! Tests of the scrub, with the keeper stepped over the simulated disk and clock.

use std::sync::Arc;
use std::time::Duration;

use crate::chunk::file_name;
use crate::clock::{Clock, SimClock};
use crate::disk::Disk;
use crate::disk::sim::SimDisk;
use crate::event::{Expected, NewEvent};
use crate::format::footer::Footer;
use crate::log::engine::Engine;
use crate::options::Options;
use crate::position::ChunkNumber;
use crate::stage::Step;
use crate::stage::stats::ScrubStats;

const RATE: u64 = 100 << 10;

/// A log with at least three sealed chunks.
fn log(scrub: Option<u64>) -> (SimDisk, Arc<SimClock>, Engine) {
    let (disk, clock) = (SimDisk::new(), Arc::new(SimClock::new()));
    let mut options = Options::new().chunk_size(64 << 10).prepare_ahead(64 << 10);
    options.scrub = scrub;
    let door: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut engine, _) = Engine::open(door, Arc::clone(&clock) as _, options).unwrap();
    for round in 0..1_000 {
        if sealed(&engine).len() >= 3 {
            return (disk, clock, engine);
        }
        let events = [NewEvent::new("Sized", vec![1; 3_000]).tag("big")];
        let stream = format!("sized-{}", round % 3);
        let _ack = engine.core.submit(&stream, Expected::Any, events, Duration::ZERO).unwrap();
        engine.writer.step();
        engine.chaser.step();
        (0..5).for_each(|_| _ = engine.keeper.step());
        clock.advance(Duration::from_millis(1));
    }
    panic!("no chunk is sealed");
}

fn sealed(engine: &Engine) -> Vec<(ChunkNumber, Footer)> {
    let segments = engine.core.segments.snapshot();
    let footers = segments.iter().map(|it| (it.chunk.number(), it.chunk.footer().cloned()));
    footers.filter_map(|(number, footer)| Some((number, footer?))).collect()
}

fn stats(engine: &Engine) -> ScrubStats {
    engine.core.stats().scrub
}

/// Steps the keeper for so long, each time when it asks for it.
fn pass(engine: &mut Engine, clock: &SimClock, time: Duration) {
    let end = clock.monotonic() + time;
    while clock.monotonic() < end {
        match engine.keeper.step() {
            Step::Until(moment) => clock.set_monotonic(moment.min(end)),
            Step::Worked => {}
            other => panic!("{other:?}"),
        }
    }
}

fn pass_rounds(engine: &mut Engine, clock: &SimClock, rounds: u64) {
    let wanted = stats(engine).rounds + rounds;
    for _ in 0..1_000 {
        if stats(engine).rounds >= wanted {
            return;
        }
        pass(engine, clock, Duration::from_millis(100));
    }
    panic!("no round ends: {:?}", stats(engine));
}

#[test]
fn damage_in_a_sealed_chunk_is_found_within_a_round() {
    let (disk, clock, mut engine) = log(Some(RATE));
    pass_rounds(&mut engine, &clock, 2);
    let before = stats(&engine);
    assert_eq!((before.damages, before.last_damage), (0, None), "a sound log");
    let (number, footer) = sealed(&engine)[1].clone();
    let name = file_name(number);
    let sound = disk.read_file(&name).unwrap();
    let data_end = footer.end.data_end;
    let mut places = vec![20, 4096 + 9, 4096 + 64 + 8, 9_000, data_end - 9, footer.offset() + 70];
    places.extend(footer.sections.iter().map(|section| section.offset + section.length / 2));
    for place in places {
        let mut bytes = sound.clone();
        bytes[place as usize] ^= 0x20;
        disk.write_file(&name, bytes);
        let before = stats(&engine);
        // The round that goes on may have passed the place already.
        pass_rounds(&mut engine, &clock, 2);
        let after = stats(&engine);
        assert!(after.damages > before.damages, "offset {place}");
        let last = after.last_damage.unwrap();
        assert_eq!(last.chunk, number, "offset {place}: {last:?}");
        assert!(last.offset <= place || last.offset == footer.offset(), "{place}: {last:?}");
        disk.write_file(&name, sound.clone());
    }
    disk.remove(&name);
    let before = stats(&engine).damages;
    pass_rounds(&mut engine, &clock, 2);
    assert!(stats(&engine).damages > before, "a chunk that cannot be opened");
    assert!(engine.core.failure.get().is_none(), "nothing of it stops the log");
}

#[test]
fn the_budget_is_kept() {
    for rate in [4 << 10, RATE, 10 << 20] {
        let (_disk, clock, mut engine) = log(Some(rate));
        let before = stats(&engine).bytes;
        pass(&mut engine, &clock, Duration::from_secs(20));
        let read = stats(&engine).bytes - before;
        // One piece may be read at the very beginning.
        let most = 20 * rate + (256 << 10).min(rate.max(8 << 10));
        assert!(read <= most, "{read} bytes of at most {most}");
        assert!(read >= 20 * rate * 8 / 10, "{read} bytes of about {}", 20 * rate);
    }
}

#[test]
fn urgent_duties_go_first() {
    let (_disk, clock, mut engine) = log(Some(RATE));
    pass(&mut engine, &clock, Duration::from_secs(1));
    // A new durable place wants a hint, and both it and the next piece are due.
    let _ack = engine
        .core
        .submit("more", Expected::Any, [NewEvent::new("A", "x")], Duration::ZERO)
        .unwrap();
    for _ in 0..10 {
        engine.writer.step();
        engine.chaser.step();
        clock.advance(Duration::from_millis(200));
    }
    let (scrubbed, duties) = (stats(&engine).bytes, engine.core.stats().keeper.items);
    assert_eq!(engine.keeper.step(), Step::Worked);
    assert_eq!(stats(&engine).bytes, scrubbed, "the hint goes first");
    assert_eq!(engine.core.stats().keeper.items, duties + 1);
    for _ in 0..10 {
        engine.keeper.step();
    }
    assert!(stats(&engine).bytes > scrubbed, "and then the scrub");
    // Who closes the log does not wait for a round to end.
    engine.core.supply.stop();
    clock.advance(Duration::from_secs(10));
    let scrubbed = stats(&engine).bytes;
    for _ in 0..10 {
        engine.keeper.step();
    }
    assert_eq!(stats(&engine).bytes, scrubbed);
}

#[test]
fn nothing_is_read_unless_it_is_asked_for() {
    let (_disk, clock, mut engine) = log(None);
    pass(&mut engine, &clock, Duration::from_secs(5));
    assert_eq!(stats(&engine), ScrubStats::default());
    for rate in [0, 4095] {
        assert!(Options::new().scrub(rate).check().is_err());
    }
    assert!(Options::new().scrub(4096).check().is_ok());
}
