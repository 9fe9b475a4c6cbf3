//! Tests of a group that finds no space while it is written: nothing of it is in the log, the
//! writer forgets what it had noted, and a later append takes its place (F23).

mod pacing;

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::faulty::{FaultyDisk, Kind, Part, Plan, Spell};
use crate::append::{Append, Appended};
use crate::clock::{SimClock, Timestamp};
use crate::disk::sim::SimDisk;
use crate::disk::{Access, Disk};
use crate::error::AppendError;
use crate::event::{Expected, NewEvent};
use crate::log::engine::Engine;
use crate::log::follow::trail::Trail;
use crate::options::Options;
use crate::position::{Position, StreamVersion};
use crate::query::Query;
use crate::read::View;
use crate::stage::ack::Ack;

const ENOSPC: i32 = 28;
const EDQUOT: i32 = 122;
const PARTS: [Part; 5] = [Part::Nothing, Part::Byte, Part::Sector, Part::Half, Part::AllButAByte];

struct World {
    disk: FaultyDisk,
    clock: Arc<SimClock>,
    engine: Engine,
}

impl World {
    fn new() -> Self {
        Self::on(FaultyDisk::default())
    }

    fn on(disk: FaultyDisk) -> Self {
        let clock = Arc::new(SimClock::new());
        clock.set_wall(Timestamp::from_nanos(1_800_000_000_000_000_000));
        let options = Options::new().chunk_size(64 << 10).prepare_ahead(64 << 10).group_size(4096);
        let opened = Engine::open(Arc::new(disk.clone()), Arc::clone(&clock) as _, options);
        Self { disk, clock, engine: opened.unwrap().0 }
    }

    /// Fails the writer's next writes.
    fn fill(&self, errno: i32, part: Part, spell: Spell) {
        let of = Some(Kind::WriteAt);
        self.disk.fail(Some(Plan { call: 0, of, errno, spell, part, lies: false }));
    }

    /// Fails the write after so many.
    fn fill_later(&self, call: usize, part: Part) {
        let (of, spell) = (Some(Kind::WriteAt), Spell::Once);
        self.disk.fail(Some(Plan { call, of, errno: ENOSPC, spell, part, lies: false }));
    }

    fn submit(&self, append: Append) -> Ack {
        self.engine.core.submit_full(append, Duration::ZERO).unwrap()
    }

    fn one(&self, number: u64, size: usize) -> Ack {
        self.submit(Append::new().event("s", sized(number, size)))
    }

    /// Steps all stages until the ack is there.
    fn answer(&mut self, ack: Ack) -> Result<Appended, AppendError> {
        for _ in 0..100 {
            self.engine.writer.step();
            self.engine.chaser.step();
            self.engine.keeper.step();
            self.clock.advance(Duration::from_millis(20));
            if ack.is_ready() {
                return ack.wait();
            }
        }
        panic!("never answered");
    }

    fn append(&mut self, number: u64, size: usize) -> Result<Appended, AppendError> {
        let ack = self.one(number, size);
        self.answer(ack)
    }

    fn close(mut self) -> FaultyDisk {
        self.engine.core.appends.close();
        while !self.engine.core.appends.is_finished() {
            self.engine.writer.step();
        }
        self.engine.writer.finish();
        self.engine.core.groups.close();
        self.engine.chaser.step();
        self.engine.keeper.finish().unwrap();
        self.disk
    }
}

/// An event whose stored form has no padding, when the size is 2 modulo 8.
fn sized(number: u64, size: usize) -> NewEvent {
    let mut data = number.to_le_bytes().to_vec();
    data.resize(size.max(8), 7);
    NewEvent::new("Sized", data)
}

fn numbers(view: &View) -> Vec<u64> {
    let number = |data: &[u8]| u64::from_le_bytes(*data.first_chunk().unwrap());
    view.read_all(..).map(|event| number(event.unwrap().data())).collect()
}

/// The numbers of the events in a log, opened from what is left of it.
fn reopened(left: SimDisk) -> (Vec<u64>, bool) {
    let world = World::on(FaultyDisk::on(left));
    let view = View::new(world.engine.core.segments.snapshot(), world.engine.core.marks.visible());
    let is_cut = world.disk.list().unwrap().iter().any(|name| name.starts_with("lost-"));
    (numbers(&view), is_cut)
}

#[test]
fn f23_a_group_that_finds_no_space_leaves_nothing_and_its_place_is_taken_again() {
    for errno in [ENOSPC, EDQUOT] {
        for part in PARTS {
            // No event ends with padding. Behind a shorter second, bytes of the first could stay.
            for (size, next) in [(3_002, 602), (602, 3_002), (698, 698)] {
                let mut world = World::new();
                world.append(0, 500).unwrap();
                world.fill(errno, part, Spell::Once);
                let full = world.append(1, size);
                assert!(matches!(full, Err(AppendError::Full)), "{full:?}");
                world.disk.fail(None);
                let images = [world.disk.left(false), world.disk.left(true), world.disk.seen()];
                for left in images {
                    assert_eq!(reopened(left).0, [0], "{part:?} {size}");
                }
                let done = world.append(2, next).unwrap();
                assert_eq!(done.first_position, Position::new(1), "gapless");
                assert_eq!(done.version, StreamVersion::new(1));
                assert_eq!(reopened(world.disk.left(false)), (vec![0, 2], false));
                assert_eq!(reopened(world.close().left(false)), (vec![0, 2], false));
            }
        }
    }
}

#[test]
fn f23_a_chunk_whose_first_group_finds_no_space_is_begun_later() {
    for part in PARTS {
        let mut world = World::new();
        world.append(0, 30_000).unwrap();
        world.append(1, 20_000).unwrap();
        // The writer rolls in a step of its own, and then writes.
        let ack = world.one(2, 30_002);
        while world.engine.core.supply.orders().active.number.get() == 0 {
            world.engine.writer.step();
            world.engine.chaser.step();
            world.engine.keeper.step();
        }
        world.fill(ENOSPC, part, Spell::Once);
        world.engine.writer.step();
        let full = world.answer(ack);
        assert!(matches!(full, Err(AppendError::Full)), "{full:?}");
        world.disk.fail(None);
        for left in [world.disk.left(false), world.disk.left(true), world.disk.seen()] {
            assert_eq!(reopened(left).0, [0, 1], "{part:?}");
        }
        for (number, size) in [(3, 100), (4, 31_000), (5, 50_000)] {
            world.append(number, size).unwrap();
        }
        assert_eq!(reopened(world.disk.left(false)), (vec![0, 1, 3, 4, 5], false));
        assert_eq!(reopened(world.close().left(false)), (vec![0, 1, 3, 4, 5], false));
    }
}

#[test]
fn f23_a_log_that_is_full_to_its_end_is_closed_and_cut_when_it_is_opened() {
    let mut world = World::new();
    world.append(0, 500).unwrap();
    world.fill(ENOSPC, Part::Half, Spell::Once);
    assert!(matches!(world.append(1, 1_002), Err(AppendError::Full)));
    world.fill(ENOSPC, Part::Nothing, Spell::Always);
    for number in 2..4 {
        let full = world.append(number, 1_000);
        assert!(matches!(full, Err(AppendError::Full)), "{full:?}");
    }
    world.engine.core.appends.close();
    world.engine.writer.finish();
    assert!(world.engine.core.failure.get().is_none());
    assert_eq!(reopened(world.disk.seen()), (vec![0], true));
}

#[test]
fn f23_a_chunk_is_left_only_when_nothing_torn_stands_in_it() {
    let mut world = World::new();
    world.append(0, 30_000).unwrap();
    world.fill(ENOSPC, Part::Half, Spell::Once);
    assert!(matches!(world.append(1, 20_000), Err(AppendError::Full)));
    world.disk.fail(None);
    // Too large for what is left of the chunk.
    world.append(2, 40_000).unwrap();
    let end = world.engine.core.segments.last().chunk.header.previous.data_end as usize;
    let chunk = world.disk.seen().read_file("chunk-0000000000").unwrap();
    let gap = &chunk[end..end.next_multiple_of(4096)];
    assert!(gap.iter().all(|byte| *byte == 0), "sections follow zeros");
    assert_eq!(reopened(world.disk.left(false)), (vec![0, 2], false));
}

#[test]
fn f23_what_was_noted_for_a_refused_group_is_forgotten() {
    let mut world = World::new();
    world.append(0, 10).unwrap();
    // A group that is written and not flushed, because more appends wait, stays noted.
    let first = world.submit(Append::new().event("kept", sized(1, 10)).event("s", sized(2, 4_000)));
    let operation = Uuid::from_u128(7);
    let tag = Query::tag("refused");
    let refused = |number| {
        Append::new()
            .event("new", sized(number, 10).tag("refused"))
            .event("s", sized(number + 1, 10))
            .operation(operation)
    };
    let acks = [
        world.submit(refused(3)),
        // These rest on the events before: a repeat, a check of a version, a check of a query.
        world.submit(refused(5)),
        world.submit(Append::new().expect("new", Expected::NoStream).event("new", sized(7, 10))),
        world
            .submit(Append::new().no_events(tag.clone(), Position::START).event("q", sized(8, 10))),
    ];
    world.engine.writer.step();
    world.fill(ENOSPC, Part::Half, Spell::Once);
    world.engine.writer.step();
    assert!(world.disk.calls().iter().any(|call| call.kind == Kind::WriteAt && call.has_failed));
    world.disk.fail(None);
    let fresh = Append::new()
        .no_events(tag, Position::START)
        .expect("new", Expected::NoStream)
        .expect("s", Expected::Exact(StreamVersion::new(1)))
        .expect("kept", Expected::Exact(StreamVersion::FIRST))
        .event("new", sized(9, 10))
        .event("s", sized(10, 10))
        .operation(operation);
    let fresh = world.submit(fresh);
    // Decided while nothing of the first group is indexed.
    world.engine.writer.step();
    assert_eq!(world.answer(first).unwrap().last_position, Position::new(2));
    for ack in acks {
        let answer = world.answer(ack);
        assert!(matches!(answer, Err(AppendError::Full)), "{answer:?}");
    }
    let done = world.answer(fresh).unwrap();
    assert_eq!((done.first_position, done.repeated), (Position::new(3), false));
    assert_eq!(reopened(world.close().left(false)).0, [0, 1, 2, 9, 10]);
}

#[test]
fn f23_sectors_of_two_refused_groups_never_make_one() {
    let mut world = World::new();
    world.append(0, 500).unwrap();
    // The second lacks nothing that the first has not written at the same place.
    let refusals = [(1, 4_002, Part::Half, 0), (2, 1_002, Part::Sector, 1)];
    for (number, size, part, writes_before) in refusals {
        world.fill_later(writes_before, part);
        assert!(matches!(world.append(number, size), Err(AppendError::Full)));
        world.disk.fail(None);
    }
    let left = world.disk.left_where(|bytes| bytes.iter().any(|byte| *byte != 0));
    assert_eq!(reopened(left).0, [0]);
}

#[test]
fn f23_a_group_that_lacks_nothing_but_zeros_is_stored() {
    let mut world = World::new();
    world.append(0, 10).unwrap();
    world.fill(ENOSPC, Part::Half, Spell::Once);
    let zeros = NewEvent::new("Zeros", vec![0; 40_000]);
    let ack = world.submit(Append::new().event("s", zeros));
    assert_eq!(world.answer(ack).unwrap().version, StreamVersion::new(1));
    world.disk.fail(None);
    assert_eq!(reopened(world.disk.left(false)).0, [0, 0]);
}

#[test]
fn f23_a_sync_that_finds_no_space_is_final() {
    let mut world = World::new();
    world.append(0, 10).unwrap();
    let ack = world.one(1, 10);
    let (of, spell, part) = (Some(Kind::SyncData), Spell::Once, Part::Nothing);
    world.disk.fail(Some(Plan { call: 0, of, errno: ENOSPC, spell, part, lies: false }));
    assert!(matches!(world.answer(ack), Err(AppendError::Failed(_))));
    assert!(world.disk.calls().iter().any(|call| call.kind == Kind::SyncData && call.has_failed));
    let late = world.engine.core.submit("s", Expected::Any, [sized(2, 10)], Duration::ZERO);
    assert!(matches!(late, Err(AppendError::Failed(_))));
}

#[test]
fn f23_a_sync_that_finds_no_space_is_final_while_a_log_is_opened() {
    let mut world = World::new();
    world.append(0, 30_000).unwrap();
    world.append(1, 100).unwrap();
    let seen = world.disk.seen();
    assert!(seen.list().unwrap().contains(&"chunk-0000000001".to_owned()), "a blank chunk");
    for call in 0.. {
        let disk = FaultyDisk::on(seen.snapshot());
        let (of, spell, part) = (Some(Kind::SyncData), Spell::Once, Part::Nothing);
        disk.fail(Some(Plan { call, of, errno: ENOSPC, spell, part, lies: false }));
        let options = Options::new().chunk_size(64 << 10);
        let opened = Engine::open(Arc::new(disk.clone()), Arc::new(SimClock::new()), options);
        if !disk.calls().iter().any(|call| call.has_failed) {
            assert!(opened.is_ok() && call > 1, "after {call} syncs");
            return;
        }
        assert!(opened.is_err(), "sync {call}");
    }
}

#[test]
fn f23_a_follower_sees_nothing_of_a_refused_group() {
    for part in PARTS {
        let mut world = World::new();
        world.append(0, 500).unwrap();
        let disk: Arc<dyn Disk> = Arc::new(world.disk.clone());
        let mut trail = Trail::open(&*disk, Duration::ZERO).unwrap();
        world.fill(ENOSPC, part, Spell::Once);
        assert!(matches!(world.append(1, 3_002), Err(AppendError::Full)));
        world.disk.fail(None);
        let follow = |trail: &mut Trail, from: u64| {
            for step in 0..20 {
                trail.step(&*disk, Duration::from_millis(from + step * 50)).unwrap();
            }
            numbers(&trail.view())
        };
        assert_eq!(follow(&mut trail, 0), [0]);
        assert_eq!(numbers(&Trail::open(&*disk, Duration::ZERO).unwrap().view()), [0]);
        world.append(2, 200).unwrap();
        assert_eq!(follow(&mut trail, 1_000), [0, 2], "{part:?}");
        assert!(disk.open("hint", Access::Read).is_ok());
    }
}

/// A full disk takes a part of what is to be kept aside, at each opening; it stays one file.
#[test]
fn f23_what_cannot_be_kept_aside_is_kept_in_one_file_when_there_is_room() {
    let mut world = World::new();
    world.append(0, 500).unwrap();
    world.fill(ENOSPC, Part::Half, Spell::Once);
    assert!(matches!(world.append(1, 3_002), Err(AppendError::Full)));
    let torn = world.disk.seen();
    let kept = |disk: &SimDisk| {
        let names = disk.list().unwrap().into_iter().filter(|name| name.starts_with("lost-"));
        names.collect::<Vec<_>>()
    };
    let options = || Options::new().chunk_size(64 << 10);
    let open = |disk: &FaultyDisk| {
        Engine::open(Arc::new(disk.clone()), Arc::new(SimClock::new()), options())
    };
    let mut left = torn.clone();
    for part in PARTS {
        let disk = FaultyDisk::on(left.snapshot());
        let (of, spell) = (Some(Kind::WriteAt), Spell::Once);
        disk.fail(Some(Plan { call: 0, of, errno: ENOSPC, spell, part, lies: false }));
        assert!(open(&disk).is_err(), "{part:?}");
        left = disk.seen();
        assert_eq!(kept(&left).len(), 1, "{part:?}");
    }
    let disk = FaultyDisk::on(left);
    let cut = open(&disk).unwrap().1.cut.unwrap();
    let whole = disk.seen();
    assert_eq!(kept(&whole), [cut.kept_in.as_str()]);
    let chunk = torn.read_file("chunk-0000000000").unwrap();
    let meant = &chunk[cut.offset as usize..][..cut.bytes as usize];
    assert_eq!(whole.read_file(&cut.kept_in).unwrap(), meant);
    // Other bytes, though they stood at the same place, are kept beside these.
    let mut chunk = whole.read_file("chunk-0000000000").unwrap();
    chunk[cut.offset as usize] = 7;
    whole.write_file("chunk-0000000000", chunk);
    let disk = FaultyDisk::on(whole);
    let other = open(&disk).unwrap().1.cut.unwrap();
    let seen = disk.seen();
    assert_eq!((kept(&seen).len(), other.bytes), (2, 1));
    assert_eq!(seen.read_file(&other.kept_in).unwrap(), [7]);
    assert_eq!(seen.read_file(&cut.kept_in).unwrap(), meant);
}
