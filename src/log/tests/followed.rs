//! Tests of following on one thread: a seeded scheduler steps the stages of a log and a follower of
//! it over the simulated disk, through rolls, seals, kills and reopenings.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::stepped::Random;
use crate::chunk::file_name;
use crate::chunk::supply::DurablePlace;
use crate::clock::{Clock, SimClock};
use crate::disk::sim::SimDisk;
use crate::disk::{Access, Disk, DiskFile, LockError};
use crate::error::{Error, ErrorKind};
use crate::event::{Expected, NewEvent};
use crate::log::engine::Engine;
use crate::log::follow::WriterState;
use crate::log::follow::trail::Trail;
use crate::options::{Durability, Options};
use crate::position::{ChunkNumber, Position};
use crate::read::{ChunkState, View};
use crate::stage::Step;
use crate::stage::page::STATS;

struct World {
    disk: SimDisk,
    clock: Arc<SimClock>,
    random: Random,
    durability: Durability,
    trail: Option<Trail>,
    /// The ids of all events that a follower has shown, by position.
    seen: Vec<Uuid>,
}

impl World {
    fn new(seed: u64, durability: Durability) -> Self {
        println!("PAPERCHASE_SEED={seed}");
        Self {
            disk: SimDisk::new(),
            clock: Arc::new(SimClock::new()),
            random: Random(seed),
            durability,
            trail: None,
            seen: Vec::new(),
        }
    }

    fn engine(&self) -> Engine {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let options = Options::new().chunk_size(1 << 20).prepare_ahead(128 << 10);
        let options = options.durability(self.durability);
        let engine = Engine::open(disk, Arc::clone(&self.clock) as _, options).unwrap().0;
        // What was seen is in the log, whatever became of the writer (R3).
        let view = engine.core.reader().view();
        assert!(view.end().get() >= self.seen.len() as u64, "seen events are gone");
        let ids = view.read_all(..).map(|event| event.unwrap().id());
        assert!(ids.zip(&self.seen).all(|(id, seen)| id == *seen), "seen events are others now");
        engine
    }

    fn run(&mut self, engine: &mut Engine, steps: u32) {
        for _ in 0..steps {
            match self.random.below(7) {
                0 => self.append(engine),
                1 | 2 => _ = engine.writer.step(),
                3 => _ = engine.chaser.step(),
                4 => {
                    engine.keeper.step();
                    self.clock.advance(Duration::from_micros(self.random.below(1500)));
                }
                _ => self.follow(),
            }
            let visible = engine.core.marks.visible().get();
            let ahead = self.durability == Durability::Sync && self.seen.len() as u64 > visible;
            // A hint may say so a moment before the writer's own chaser has read it back.
            assert!(!ahead || self.seen.len() as u64 <= engine.core.marks.durable().get());
        }
    }

    fn append(&mut self, engine: &Engine) {
        let size = self.random.below(20_000) as usize;
        let events = (0..=self.random.below(3)).map(|_| NewEvent::new("Sized", vec![1; size]));
        let name = format!("sized-{}", self.random.below(3));
        let events: Vec<_> = events.collect();
        drop(engine.core.submit(&name, Expected::Any, events, Duration::ZERO).unwrap());
    }

    /// Steps the follower, or now and then begins with a new one.
    fn follow(&mut self) {
        let now = self.clock.monotonic();
        let effects = |disk: &SimDisk| {
            (disk.writes(), disk.syncs(), disk.directory_syncs(), disk.list().unwrap())
        };
        let before = effects(&self.disk);
        let trail = match &mut self.trail {
            Some(trail) if self.random.below(400) > 0 => {
                trail.step(&self.disk, now).unwrap();
                trail
            }
            trail => trail.insert(Trail::open(&self.disk, now).unwrap()),
        };
        let view = trail.view();
        take(&mut self.seen, &view);
        assert_eq!(effects(&self.disk), before, "a follower changes nothing");
    }

    /// Steps all stages until nothing is left to do, and closes the log.
    fn close(&mut self, engine: &mut Engine) {
        for _ in 0..2_000 {
            engine.writer.step();
            engine.chaser.step();
            engine.keeper.step();
            self.clock.advance(Duration::from_millis(1));
        }
        engine.core.appends.close();
        engine.writer.finish();
        engine.chaser.step();
        engine.keeper.finish().unwrap();
    }

    /// Kills the writing process, and takes from the files what it has not synced.
    fn kill(&mut self, engine: Engine) {
        let place = engine.core.supply.orders().place;
        drop(engine);
        let number = place.chunk;
        let ends = [(number, place.end.data_end), (number.next(), 4096), (number.next().next(), 0)];
        for (number, end) in ends {
            if let Ok(file) = self.disk.open(&file_name(number), Access::Write) {
                let size = file.size().unwrap().min(1 << 20);
                file.write_at(&vec![0; size.saturating_sub(end) as usize], end).unwrap();
            }
        }
    }

    /// Lets the follower come as far as it can.
    fn catch_up(&mut self) -> &Trail {
        self.follow();
        for _ in 0..100 {
            let trail = self.trail.as_mut().unwrap();
            while trail.step(&self.disk, self.clock.monotonic()).unwrap() == Step::Worked {}
            self.clock.advance(Duration::from_millis(50));
        }
        self.follow();
        self.trail.as_ref().unwrap()
    }
}

/// Adds what a view shows beyond what was seen; what was seen must still be there.
fn take(seen: &mut Vec<Uuid>, view: &View) {
    let from = (seen.len() as u64).saturating_sub(3).min(view.end().get());
    for event in view.read_all(Position::new(from)..) {
        let event = event.unwrap();
        let position = event.position().get() as usize;
        match seen.get(position) {
            Some(id) => assert_eq!(*id, event.id()),
            None => {
                assert_eq!(position, seen.len(), "in order, without a gap");
                seen.push(event.id());
            }
        }
    }
}

/// Runs a log through some sessions, and the follower beside it. `orphan` takes the page away while
/// the log is open, so that only the hint is left.
fn sessions(seed: u64, durability: Durability, orphan: bool) {
    let mut world = World::new(seed, durability);
    for session in 0..5 {
        let mut engine = world.engine();
        if orphan {
            world.disk.remove(STATS);
        }
        world.run(&mut engine, 1_200);
        if session == 4 || world.random.below(3) == 0 {
            world.close(&mut engine);
        } else {
            world.kill(engine);
        }
    }
    let trail = world.catch_up();
    assert_eq!(trail.writer(), WriterState::Closed);
    let chunks = trail.view().chunks();
    let (active, sealed) = chunks.split_last().unwrap();
    assert_eq!(active.state, ChunkState::Active);
    assert!(sealed.iter().all(|chunk| chunk.state == ChunkState::Sealed), "{sealed:?}");
    let engine = world.engine();
    assert_eq!(engine.core.marks.visible().get(), world.seen.len() as u64, "all of it was seen");
    assert!(world.seen.len() > 200 && !sealed.is_empty());
}

fn seeds() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("PAPERCHASE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..1 + number("PAPERCHASE_RUNS").unwrap_or(20),
    }
}

#[test]
fn one_thread_runs_a_log_and_its_follower() {
    for seed in seeds() {
        sessions(seed, Durability::Sync, false);
    }
}

#[test]
fn a_follower_without_a_page_goes_by_the_hint() {
    for seed in seeds() {
        sessions(seed, Durability::Sync, true);
    }
}

#[test]
fn a_follower_beside_early_acks_sees_what_is_synced() {
    for seed in seeds() {
        sessions(seed, Durability::Os, false);
    }
}

/// A world with a log of some events and a follower that has seen them.
fn followed() -> (World, Engine) {
    let mut world = World::new(1, Durability::Sync);
    let mut engine = world.engine();
    append(&mut world, &mut engine, 10);
    world.follow();
    assert_eq!(world.seen.len(), 10);
    (world, engine)
}

fn append(world: &mut World, engine: &mut Engine, count: u64) {
    for _ in 0..count {
        let event = [NewEvent::new("Counted", "x")];
        drop(engine.core.submit("counted", Expected::Any, event, Duration::ZERO).unwrap());
        world.turn(engine);
    }
}

impl World {
    /// Steps all stages once around.
    fn turn(&mut self, engine: &mut Engine) {
        engine.writer.step();
        engine.chaser.step();
        engine.keeper.step();
        self.clock.advance(Duration::from_millis(1));
    }

    /// Lets time pass in which the follower looks, and the keeper of `engine` too.
    fn pass(&mut self, mut engine: Option<&mut Engine>, time: Duration) -> WriterState {
        let end = self.clock.monotonic() + time;
        while self.clock.monotonic() < end {
            if let Some(engine) = engine.as_mut() {
                engine.keeper.step();
            }
            let trail = self.trail.as_mut().unwrap();
            trail.step(&self.disk, self.clock.monotonic()).unwrap();
            self.clock.advance(Duration::from_millis(20));
        }
        self.trail.as_ref().unwrap().writer()
    }

    fn failure(&mut self) -> Option<ErrorKind> {
        let trail = self.trail.as_mut().unwrap();
        for _ in 0..100 {
            match trail.step(&self.disk, self.clock.monotonic()) {
                Ok(_) => self.clock.advance(Duration::from_millis(20)),
                Err(error) => return Some(error.kind()),
            }
        }
        None
    }
}

#[test]
fn an_acked_event_is_seen_by_the_page_before_the_keeper_tells_of_it() {
    let (mut world, mut engine) = followed();
    let event = [NewEvent::new("Counted", "x")];
    let ack = engine.core.submit("counted", Expected::Any, event, Duration::ZERO).unwrap();
    while !ack.is_ready() {
        engine.writer.step();
        engine.chaser.step();
    }
    let trail = world.trail.as_mut().unwrap();
    while trail.step(&world.disk, world.clock.monotonic()).unwrap() == Step::Worked {}
    assert_eq!(trail.view().end().get(), 11);
}

#[test]
fn a_writer_that_closes_dies_fails_and_comes_back_is_noticed() {
    let second = Duration::from_secs(1);
    let (mut world, mut engine) = followed();
    assert_eq!(world.pass(Some(&mut engine), 5 * second), WriterState::Live);
    world.close(&mut engine);
    assert_eq!(world.pass(None, second), WriterState::Closed);
    drop(engine);
    let mut engine = world.engine();
    assert_eq!(world.pass(Some(&mut engine), second), WriterState::Live);
    drop(engine);
    assert_eq!(world.pass(None, second), WriterState::Live);
    assert_eq!(world.pass(None, 2 * second), WriterState::Gone);
    let mut engine = world.engine();
    assert_eq!(world.pass(Some(&mut engine), second), WriterState::Live);
    let error = Error::new(ErrorKind::Bug, "broken on purpose");
    engine.core.failure.record(error);
    assert_eq!(world.pass(Some(&mut engine), second), WriterState::Failed);
}

#[test]
fn a_writer_without_a_page_is_judged_by_the_hint() {
    let second = Duration::from_secs(1);
    let (mut world, mut engine) = followed();
    world.disk.remove(STATS);
    world.trail = None;
    world.follow();
    assert_eq!(world.pass(Some(&mut engine), 3 * second), WriterState::Gone);
    append(&mut world, &mut engine, 5);
    assert_eq!(world.pass(Some(&mut engine), second), WriterState::Live);
    world.close(&mut engine);
    assert_eq!(world.pass(None, second), WriterState::Closed);
}

#[test]
fn f63_another_log_in_the_place_of_the_followed_one_is_told() {
    for keeps_page in [true, false] {
        let (mut world, engine) = followed();
        drop(engine);
        for name in world.disk.list().unwrap() {
            world.disk.remove(&name);
        }
        if !keeps_page {
            world.disk.remove(STATS);
        }
        world.seen.clear();
        let mut engine = world.engine();
        append(&mut world, &mut engine, 20);
        assert_eq!(world.failure(), Some(ErrorKind::Replaced));
        assert_eq!(world.trail.unwrap().view().end(), Position::new(10));
    }
}

#[test]
fn f63_an_older_state_of_the_followed_log_is_told() {
    for keeps_page in [true, false] {
        let (mut world, engine) = followed();
        let backup = world.disk.snapshot();
        drop(engine);
        let mut engine = world.engine();
        append(&mut world, &mut engine, 200);
        world.pass(Some(&mut engine), Duration::from_secs(1));
        drop(engine);
        world.follow();
        assert_eq!(world.seen.len(), 210);
        for name in backup.list().unwrap() {
            world.disk.write_file(&name, backup.read_file(&name).unwrap());
        }
        if !keeps_page {
            world.disk.remove(STATS);
        }
        world.seen.truncate(10);
        let mut engine = world.engine();
        append(&mut world, &mut engine, 5);
        assert_eq!(world.failure(), Some(ErrorKind::Replaced));
        let end = world.trail.unwrap().view().end();
        assert_eq!(end, Position::new(210), "what was seen stays readable");
    }
}

#[test]
fn f52_a_page_ahead_of_the_log_is_not_believed() {
    let (mut world, mut engine) = followed();
    let place = engine.core.supply.orders().place;
    let told = DurablePlace { position: place.position.plus(1), ..place };
    engine.core.page.visible(&told);
    assert_eq!(world.pass(None, Duration::from_secs(1)), WriterState::Live);
    // The hint goes on to be believed, and so does the next session.
    append(&mut world, &mut engine, 5);
    world.pass(Some(&mut engine), Duration::from_secs(1));
    world.follow();
    assert_eq!(world.seen.len(), 15);
    drop(engine);
    let mut engine = world.engine();
    append(&mut world, &mut engine, 1);
    world.pass(None, Duration::from_millis(30));
    world.follow();
    assert_eq!(world.seen.len(), 16);
}

/// A disk whose files are there and cannot be opened.
#[derive(Debug)]
struct Refusing(SimDisk);

impl Disk for Refusing {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.0.create(name)
    }

    fn open(&self, _: &str, _: Access) -> io::Result<Arc<dyn DiskFile>> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.0.sync_directory()
    }

    fn lock(&self) -> Result<Box<dyn std::fmt::Debug + Send + Sync>, LockError> {
        self.0.lock()
    }

    fn label(&self) -> String {
        self.0.label()
    }
}

#[test]
fn a_system_that_refuses_is_told_and_the_page_stays_believed() {
    let (mut world, mut engine) = followed();
    while engine.core.supply.orders().place.chunk == ChunkNumber::FIRST {
        let event = [NewEvent::new("Sized", vec![1; 100_000])];
        drop(engine.core.submit("sized", Expected::Any, event, Duration::ZERO).unwrap());
        world.turn(&mut engine);
    }
    let (refusing, now) = (Refusing(world.disk.clone()), world.clock.monotonic());
    let trail = world.trail.as_mut().unwrap();
    let refused = (0..100).find_map(|_| trail.step(&refusing, now).err());
    let io = refused.as_ref().and_then(Error::io).map(io::Error::kind);
    assert_eq!(io, Some(io::ErrorKind::PermissionDenied), "{refused:?}");
    world.catch_up();
    assert_eq!(world.seen.len() as u64, engine.core.marks.visible().get());
}
