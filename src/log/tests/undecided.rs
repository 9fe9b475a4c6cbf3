//! Tests of decisions that rest on what is not indexed yet: the stages are stepped one by one, so
//! that an append meets another in its own group, in a group that is not flushed, in one that is
//! flushed and not indexed, and in one that is indexed just now.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::append::{Append, Appended};
use crate::clock::SimClock;
use crate::disk::sim::SimDisk;
use crate::error::AppendError;
use crate::event::{Expected, NewEvent};
use crate::log::engine::Engine;
use crate::options::Options;
use crate::position::{Position, StreamVersion};
use crate::query::Query;
use crate::stage::ack::Ack;

type Answer = Result<Appended, AppendError>;

const OPERATION: Uuid = Uuid::from_u128(77);

/// How far the first append has come when the second is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Met {
    InItsGroup,
    Unflushed,
    Unindexed,
    /// Indexed after the writer began the group in which the second append is decided.
    IndexedMeanwhile,
    Indexed,
    /// Indexed, in the chunk before.
    InTheChunkBefore,
    /// Not indexed, in the chunk before.
    UnindexedInTheChunkBefore,
}

const ALL: [Met; 7] = [
    Met::InItsGroup,
    Met::Unflushed,
    Met::Unindexed,
    Met::IndexedMeanwhile,
    Met::Indexed,
    Met::InTheChunkBefore,
    Met::UnindexedInTheChunkBefore,
];

struct Stage {
    engine: Engine,
    clock: Arc<SimClock>,
}

impl Stage {
    fn new(met: Met) -> Self {
        let clock = Arc::new(SimClock::new());
        let group_size = if met == Met::InItsGroup { 1 << 20 } else { 4096 };
        let options = Options::new().chunk_size(1 << 20).prepare_ahead(1 << 20);
        let options = options.group_size(group_size);
        let disk = Arc::new(SimDisk::new());
        let engine = Engine::open(disk, Arc::clone(&clock) as _, options).unwrap().0;
        let mut stage = Self { engine, clock };
        let before = stage.submit(Append::new().event("before", event(99)));
        stage.settle(&before);
        stage
    }

    fn submit(&self, append: Append) -> Ack {
        self.engine.core.submit_full(append, Duration::ZERO).unwrap()
    }

    fn settle(&mut self, ack: &Ack) {
        for _ in 0..1_000 {
            if ack.is_ready() {
                return;
            }
            self.engine.writer.step();
            self.engine.chaser.step();
            self.engine.keeper.step();
            self.clock.advance(Duration::from_millis(1));
        }
        panic!("the append is never answered");
    }

    fn groups(&self) -> u64 {
        self.engine.core.stats().disk.groups
    }

    fn chunks_written(&self) -> u64 {
        self.engine.core.supply.orders().place.chunk.get() + 1
    }

    /// Fills chunks without a step of the chaser, until one more is begun.
    fn roll(&mut self) -> Ack {
        let chunks = self.chunks_written();
        let filler = NewEvent::new("Filler", vec![1; 600 << 10]);
        let fillers = [(); 2].map(|()| self.submit(Append::new().event("filler", filler.clone())));
        for _ in 0..1_000 {
            self.engine.writer.step();
            self.engine.keeper.step();
            self.clock.advance(Duration::from_millis(1));
        }
        assert_eq!(self.chunks_written(), chunks + 1);
        let [_, last] = fillers;
        last
    }

    /// Plays two appends that meet so, and tells both answers.
    fn play(&mut self, met: Met, first: Append, second: Append) -> [Answer; 2] {
        let groups = self.groups();
        let first = self.submit(first);
        let appends = Arc::clone(&self.engine.core.appends);
        let second = match met {
            Met::InItsGroup => {
                let second = self.submit(second);
                self.engine.writer.step();
                assert!(appends.is_handled(), "both are decided");
                assert_eq!(self.groups(), groups + 1, "and in one group");
                second
            }
            Met::Unflushed => {
                // What is larger than a group is written at once when more waits.
                let next = self.submit(second);
                let other = appends.about_to_push();
                self.engine.writer.step();
                assert_eq!(self.groups(), groups + 1);
                assert!(self.engine.core.marks.durable() < self.engine.core.marks.written());
                drop(other);
                next
            }
            Met::IndexedMeanwhile => {
                self.engine.writer.step();
                // A group is begun and held back, because a client is about to enqueue.
                let other = appends.about_to_push();
                let check = self.submit(Append::new().expect("before", Expected::Exists));
                self.engine.writer.step();
                self.engine.chaser.step();
                assert!(first.is_ready() && !check.is_ready());
                let second = self.submit(second);
                drop(other);
                second
            }
            Met::Unindexed => {
                self.engine.writer.step();
                assert!(!first.is_ready() && self.unindexed());
                self.submit(second)
            }
            Met::UnindexedInTheChunkBefore => {
                let filler = self.roll();
                assert!(!first.is_ready() && !filler.is_ready() && self.unindexed());
                self.submit(second)
            }
            Met::Indexed => {
                self.settle(&first);
                assert!(!self.unindexed());
                self.submit(second)
            }
            Met::InTheChunkBefore => {
                let filler = self.roll();
                self.settle(&filler);
                self.submit(second)
            }
        };
        self.settle(&second);
        assert!(first.is_ready(), "answers come in the order of the appends");
        [first.wait(), second.wait()]
    }

    fn unindexed(&self) -> bool {
        self.engine.core.marks.visible() < self.engine.core.marks.durable()
    }

    fn end(&self) -> u64 {
        self.engine.core.marks.visible().get()
    }
}

fn event(id: u64) -> NewEvent {
    NewEvent::with_id(Uuid::from_u128(id.into()), "Counted", id.to_le_bytes())
}

/// Larger than a group, so that it is written without waiting for more.
fn large(id: u64) -> NewEvent {
    event(id).metadata([7; 5000], crate::event::ContentKind::Bytes).tag("large")
}

fn to(stream: &str, ids: impl IntoIterator<Item = u64>) -> Append {
    Append::new().events(stream, ids.into_iter().map(large))
}

fn is_repeat(met: Met, [first, second]: [Answer; 2]) {
    let (first, mut second) = (first.unwrap(), second.unwrap());
    assert!(!first.repeated && std::mem::take(&mut second.repeated), "{met:?}");
    assert_eq!(first, second, "{met:?}");
}

#[test]
fn a_condition_sees_the_append_before() {
    for met in ALL {
        for query in [
            Query::tag("large"),
            Query::stream("raced-1"),
            Query::category("raced").types(["Counted"]),
            Query::event_type("Never").or(Query::tag("never")).or(Query::stream("raced-1")),
        ] {
            let mut stage = Stage::new(met);
            let after = Position::new(stage.end());
            let append = |id| to("raced-1", [id]).no_events(query.clone(), after);
            let [first, second] = stage.play(met, append(1), append(2));
            let stored = first.unwrap().first_position;
            match second {
                Err(AppendError::ConditionFailed { position, after: place, query: asked }) => {
                    assert_eq!((position, place, asked), (stored, after, query), "{met:?}");
                }
                other => panic!("{met:?}: {other:?}"),
            }
        }
    }
}

#[test]
fn an_expectation_sees_the_append_before() {
    for met in ALL {
        let mut stage = Stage::new(met);
        let append = |id| to("raced", [id]).expect("raced", Expected::NoStream);
        let [first, second] = stage.play(met, append(1), append(2));
        first.unwrap();
        match second {
            Err(AppendError::WrongVersion { stream, expected, actual }) => {
                assert_eq!((stream.as_str(), expected), ("raced", Expected::NoStream), "{met:?}");
                assert_eq!(actual, Some(StreamVersion::FIRST), "{met:?}");
            }
            other => panic!("{met:?}: {other:?}"),
        }
    }
}

#[test]
fn an_append_follows_the_one_before() {
    for met in ALL {
        let mut stage = Stage::new(met);
        let append = |id, expected| to("chained", [id, id + 1]).expect("chained", expected);
        let next = append(3, Expected::Exact(StreamVersion::new(1)));
        let [first, second] = stage.play(met, append(1, Expected::NoStream), next);
        let (first, second) = (first.unwrap(), second.unwrap());
        assert_eq!((first.version.get(), second.version.get()), (1, 3), "{met:?}");
        // Of all streams of an append, in whatever order they are named.
        let first = to("a", [1]).event("b", large(2)).event("c", large(3)).event("b", large(4));
        let second = to("c", [5]).event("b", large(6)).event("a", large(7));
        let expected = [("a", 0), ("b", 1), ("c", 0)].into_iter();
        let second = expected.fold(second, |all, (stream, version)| {
            all.expect(stream, Expected::Exact(StreamVersion::new(version)))
        });
        let [_, second] = Stage::new(met).play(met, first, second);
        let second = second.unwrap();
        let parts = second.streams().iter();
        let parts: Vec<_> = parts.map(|it| (&*it.stream, it.last_version.get())).collect();
        assert_eq!(parts, [("c", 1), ("b", 2), ("a", 1)], "{met:?}");
    }
}

#[test]
fn an_operation_is_known_however_far_it_has_come() {
    for met in ALL {
        let append = || to("a", [1, 2]).event("b", event(3)).operation(OPERATION);
        is_repeat(met, Stage::new(met).play(met, append(), append()));
        let other = to("a", [1]).operation(OPERATION);
        let [first, second] = Stage::new(met).play(met, append(), other);
        match second {
            Err(AppendError::OperationConflict { operation, position }) => {
                assert_eq!((operation, position), (OPERATION, first.unwrap().first_position));
            }
            other => panic!("{met:?}: {other:?}"),
        }
    }
}

#[test]
fn repeats_are_known_however_far_the_first_has_come() {
    let place =
        |append: Append| append.expect("a", Expected::NoStream).expect("b", Expected::NoStream);
    for met in ALL {
        let one = || to("a", [1, 2, 3]).expect("a", Expected::NoStream);
        is_repeat(met, Stage::new(met).play(met, one(), one()));
        let two = || place(to("a", [1]).event("b", event(2)).event("a", event(3)));
        is_repeat(met, Stage::new(met).play(met, two(), two()));
        let [_, more] = Stage::new(met).play(met, to("a", [1, 2]), one());
        let partly = matches!(more, Err(AppendError::PartlyStored { stored: 2, of: 3, actual, .. })
            if actual == Some(StreamVersion::new(1)));
        assert!(partly, "{met:?}: {more:?}");
        let [_, other] = Stage::new(met).play(met, to("a", [1, 9, 3]), one());
        let diverged = matches!(other, Err(AppendError::Diverged { stored: 1, of: 3, version, .. })
            if version.get() == 1);
        assert!(diverged, "{met:?}: {other:?}");
        let [_, wrong] = Stage::new(met).play(met, to("a", [9, 2, 3]), one());
        assert!(matches!(wrong, Err(AppendError::WrongVersion { .. })), "{met:?}: {wrong:?}");
        let content = Append::new().events("a", [event(1), large(2), large(3)]);
        let [_, wrong] = Stage::new(met).play(met, content, one());
        assert!(matches!(wrong, Err(AppendError::WrongVersion { .. })), "{met:?}: {wrong:?}");
    }
}

#[test]
fn a_check_tells_the_end_that_it_saw() {
    for met in ALL {
        let mut stage = Stage::new(met);
        let check = Append::new().expect("a", Expected::Exact(StreamVersion::new(1)));
        let [first, second] = stage.play(met, to("a", [1, 2]), check);
        let (first, second) = (first.unwrap(), second.unwrap());
        let rolls = matches!(met, Met::InTheChunkBefore | Met::UnindexedInTheChunkBefore);
        let fillers = if rolls { 2 } else { 0 };
        assert_eq!(second.first_position, first.last_position.plus(1 + fillers), "{met:?}");
        assert_eq!((second.events(), second.version.get()), (0, 1), "{met:?}");
    }
}

/// The horizon is told by the times of the log alone, not by how far the index has come.
#[test]
fn the_horizon_holds_for_what_is_not_indexed() {
    for late in [10, 11] {
        let mut stage = Stage::new(Met::Unindexed);
        let clock = Arc::clone(&stage.clock);
        let options = Options::new().operation_horizon(Duration::from_secs(10)).group_size(4096);
        let disk = Arc::new(SimDisk::new());
        stage.engine = Engine::open(disk, Arc::clone(&clock) as _, options).unwrap().0;
        let append = || to("a", [1]).operation(OPERATION);
        let first = stage.submit(append());
        stage.engine.writer.step();
        assert!(stage.unindexed());
        clock.advance(Duration::from_secs(late));
        let second = stage.submit(append());
        stage.engine.writer.step();
        stage.settle(&second);
        first.wait().unwrap();
        assert_eq!(second.wait().unwrap().repeated, late == 10, "{late} s later");
    }
}
