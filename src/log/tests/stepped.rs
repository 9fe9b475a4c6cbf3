//! Tests of the whole log on one thread: a seeded scheduler steps writer, chaser, keeper and
//! clients over the simulated disk and clock, so that a failure can be played again.

mod ahead;
mod causes;
mod held;
mod measured;
#[cfg(feature = "tracing")]
mod traced;

use std::sync::Arc;
use std::time::Duration;

use crate::append::Appended;
use crate::clock::SimClock;
use crate::disk::Disk;
use crate::disk::sim::SimDisk;
use crate::event::{Expected, NewEvent};
use crate::log::engine::Engine;
use crate::options::Options;
use crate::position::{Position, StreamVersion};
use crate::read::View;
use crate::stage::ack::Ack;

/// A small generator of pseudo-random numbers (xorshift64*, S. Vigna).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % end
    }
}

struct World {
    disk: SimDisk,
    clock: Arc<SimClock>,
    random: Random,
    /// What was acked, by its first position.
    acked: Vec<Appended>,
    versions: [u64; 3],
}

impl World {
    fn engine(&self) -> Engine {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let options = Options::new().chunk_size(1 << 20).prepare_ahead(128 << 10);
        Engine::open(disk, Arc::clone(&self.clock) as _, options).unwrap().0
    }

    /// Lets the scheduler choose who goes next, `steps` times. Returns the acks that are still
    /// open.
    fn run(&mut self, engine: &mut Engine, steps: u32) -> Vec<Ack> {
        let mut open: Vec<Ack> = Vec::new();
        for _ in 0..steps {
            match self.random.below(5) {
                0 => open.push(self.append(engine)),
                1 | 2 => _ = engine.writer.step(),
                3 => _ = engine.chaser.step(),
                _ => {
                    engine.keeper.step();
                    self.clock.advance(Duration::from_micros(self.random.below(1500)));
                }
            }
            self.collect(&mut open, engine);
        }
        open
    }

    fn append(&mut self, engine: &Engine) -> Ack {
        let stream = self.random.below(3);
        let size = self.random.below(20_000) as usize;
        let events = (0..=self.random.below(3)).map(|_| NewEvent::new("Sized", vec![1; size]));
        let events: Vec<_> = events.collect();
        let next = &mut self.versions[stream as usize];
        let expected = match next.checked_sub(1) {
            None => Expected::NoStream,
            Some(last) => Expected::Exact(StreamVersion::new(last)),
        };
        *next += events.len() as u64;
        let name = format!("sized-{stream}");
        engine.core.submit(&name, expected, events, Duration::ZERO).unwrap()
    }

    /// Takes the answers that are there; they come in the order of the appends.
    fn collect(&mut self, open: &mut Vec<Ack>, engine: &Engine) {
        while open.first().is_some_and(Ack::is_ready) {
            let done = open.remove(0).wait().expect("every expectation is right");
            assert!(done.last_position < engine.core.marks.visible(), "acked means visible");
            let before = self.acked.last().map(|before| before.last_position.plus(1));
            assert_eq!(done.first_position, before.unwrap_or(Position::START), "in order");
            self.acked.push(done);
        }
        assert!(!open.iter().any(Ack::is_ready), "answers come in the order of the log");
    }

    /// Steps all stages until nothing is left to do.
    fn settle(&mut self, engine: &mut Engine, mut open: Vec<Ack>) {
        for _ in 0..10_000 {
            if open.is_empty() {
                return;
            }
            engine.writer.step();
            engine.chaser.step();
            engine.keeper.step();
            self.clock.advance(Duration::from_millis(1));
            self.collect(&mut open, engine);
        }
        panic!("{} appends were never answered", open.len());
    }
}

#[test]
fn one_thread_runs_the_whole_log() {
    let seed = std::env::var("PAPERCHASE_SEED").ok().and_then(|seed| seed.parse().ok());
    let first: u64 = seed.unwrap_or(1);
    for seed in first..first + if seed.is_some() { 1 } else { 40 } {
        println!("PAPERCHASE_SEED={seed}");
        let mut world = World {
            disk: SimDisk::new(),
            clock: Arc::new(SimClock::new()),
            random: Random(seed),
            acked: Vec::new(),
            versions: [0; 3],
        };
        for _ in 0..3 {
            let mut engine = world.engine();
            let open = world.run(&mut engine, 1_500);
            world.settle(&mut engine, open);
            drop(engine);
        }
        let engine = world.engine();
        let view = View::new(engine.core.segments.snapshot(), engine.core.marks.visible());
        assert_eq!(
            view.chunks().len() as u64,
            engine.core.segments.last().chunk.number().get() + 1
        );
        let total = world.acked.last().map_or(0, |last| last.last_position.get() + 1);
        assert_eq!(view.end(), Position::new(total));
        assert_eq!(view.read_all(..).map(Result::unwrap).count() as u64, total);
        for (stream, next) in world.versions.iter().enumerate() {
            let events = view.read_stream(&format!("sized-{stream}"), ..).unwrap();
            let versions = events.map(|event| event.unwrap().version().get());
            assert!(versions.eq(0..*next));
        }
    }
}
