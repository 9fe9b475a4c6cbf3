//! Tests of what once went wrong, or would have: each plays the case that showed it.

use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use uuid::Uuid;

use super::failing::failing;
use super::{MIB, count, event, small};
use crate::append::{Append, Appended};
use crate::clock::{Clock, SimClock, SystemClock, Timestamp};
use crate::disk::sim::SimDisk;
use crate::disk::{Access, Disk};
use crate::error::{AppendError, Error, ErrorKind, OpenError, Result};
use crate::event::{Expected, NewEvent};
use crate::format::footer::{Footer, section};
use crate::log::Log;
use crate::log::engine::Engine;
use crate::options::{Durability, Options};
use crate::position::Position;

pub(super) fn open(disk: &SimDisk, options: Options) -> Result<Log, OpenError> {
    options.open_on(Arc::new(disk.clone()), Arc::new(SystemClock::default()))
}

pub(super) fn append(log: &Log, size: usize) -> Result<Appended, AppendError> {
    log.append("big", Expected::Any, [NewEvent::new("Big", vec![1; size])])?.wait()
}

/// Writes zeros over all of a file, as after a loss of power that took what was not synced.
fn blank(disk: &SimDisk, name: &str) {
    let length = disk.read_file(name).unwrap().len();
    disk.write_file(name, vec![0; length]);
}

fn engine(disk: &SimDisk, clock: &Arc<SimClock>) -> Engine {
    let options = Options::new().chunk_size(MIB).prepare_ahead(128 << 10);
    Engine::open(Arc::new(disk.clone()), Arc::clone(clock) as _, options).unwrap().0
}

#[test]
fn a_gathered_group_is_answered_when_another_stage_fails() {
    let clock = Arc::new(SimClock::new());
    let mut engine = engine(&SimDisk::new(), &clock);
    // A client that is about to enqueue makes the writer wait with what it has gathered.
    let appends = Arc::clone(&engine.core.appends);
    let other = appends.about_to_push();
    let ack = engine.core.submit("s", Expected::Any, [event(1)], Duration::ZERO).unwrap();
    engine.writer.step();
    engine.core.failure.record(Error::new(ErrorKind::Io, "the keeper's disk"));
    drop(other);
    engine.writer.step();
    assert!(ack.is_ready());
    assert!(matches!(ack.wait(), Err(AppendError::Failed(_))));
}

#[test]
fn a_log_is_opened_with_larger_chunks_than_the_one_that_lies_ready() {
    let disk = SimDisk::new();
    let log = open(&disk, small()).unwrap();
    (0..7).for_each(|_| _ = append(&log, 100 << 10).unwrap());
    log.close().unwrap();
    disk.write_file("chunk-0000000001", vec![0; 100]);
    let log = open(&disk, Options::new().chunk_size(8 * MIB)).unwrap();
    append(&log, 2 << 20).unwrap();
    append(&log, 10).unwrap();
    log.close().unwrap();
    assert_eq!(open(&disk, small()).unwrap().view().end(), Position::new(9));
}

#[test]
fn a_file_of_any_size_may_lie_ready() {
    for size in [100, MIB as usize - 1, MIB as usize + 1] {
        let disk = SimDisk::new();
        let log = open(&disk, small()).unwrap();
        (0..7).for_each(|_| _ = append(&log, 100 << 10).unwrap());
        log.close().unwrap();
        disk.write_file("chunk-0000000001", vec![0; size]);
        let log = open(&disk, small()).unwrap();
        (0..7).for_each(|_| _ = append(&log, 100 << 10).unwrap());
        log.close().unwrap();
        assert_eq!(open(&disk, small()).unwrap().view().end(), Position::new(14), "{size}");
    }
}

#[test]
fn an_empty_chunk_is_sealed_with_the_time_of_its_making() {
    let disk = SimDisk::new();
    open(&disk, small()).unwrap().close().unwrap();
    let log = open(&disk, Options::new().chunk_size(8 * MIB)).unwrap();
    append(&log, 2 << 20).unwrap();
    log.close().unwrap();
    let log = open(&disk, Options::new().chunk_size(8 * MIB)).unwrap();
    assert_eq!(log.view().chunks()[0].events, 0);
    assert!(append(&log, 10).unwrap().time <= SystemClock::default().wall());
}

#[test]
fn a_weaker_mode_syncs_the_first_group_of_a_chunk() {
    let disk = SimDisk::new();
    let clock = Arc::new(SimClock::new());
    let options = small().durability(Durability::Os);
    let shared = Arc::clone(&clock) as _;
    let mut engine = Engine::open(Arc::new(disk.clone()), shared, options).unwrap().0;
    let mut synced_through = 0;
    for number in 0..12 {
        let event = NewEvent::new("Big", vec![1; 100 << 10]);
        let ack = engine.core.submit("s", Expected::Any, [event], Duration::ZERO).unwrap();
        while !ack.is_ready() {
            engine.writer.step();
            engine.chaser.step();
            engine.keeper.step();
            clock.advance(Duration::from_millis(1));
        }
        let place = engine.core.supply.orders().place;
        if place.chunk.get() == 1 && synced_through == 0 {
            synced_through = number;
            assert_eq!(place.position, Position::new(number + 1));
        }
    }
    assert!(synced_through > 0, "a chunk is sealed only when the next one's header is durable");
}

#[test]
fn a_flush_of_answers_alone_begins_no_chunk() {
    let disk = SimDisk::new();
    let clock = Arc::new(SimClock::new());
    let options = small().durability(Durability::Os);
    let shared = Arc::clone(&clock) as _;
    let mut engine = Engine::open(Arc::new(disk.clone()), shared, options).unwrap().0;
    let mut append = |expected, size| {
        let event = NewEvent::new("Big", vec![1; size]);
        let ack = engine.core.submit("s", expected, [event], Duration::ZERO).unwrap();
        while !ack.is_ready() {
            engine.writer.step();
            engine.chaser.step();
            engine.keeper.step();
            clock.advance(Duration::from_millis(1));
        }
        (ack.wait(), engine.core.supply.orders().place.chunk.get())
    };
    (0..9).for_each(|_| _ = append(Expected::Any, 100 << 10).0.unwrap());
    // It does not fit behind the others, so the writer rolls before it decides against it.
    let (rejected, chunk) = append(Expected::NoStream, 500 << 10);
    assert!(matches!(rejected, Err(AppendError::WrongVersion { .. })));
    assert_eq!(chunk, 0);
    let (stored, chunk) = append(Expected::Any, 10);
    assert_eq!((stored.is_ok(), chunk), (true, 1), "the header of the chunk is synced");
}

#[test]
fn no_second_chunk_lies_ready_before_the_first_is_begun_durably() {
    let disk = SimDisk::new();
    let clock = Arc::new(SimClock::new());
    let mut engine = engine(&disk, &clock);
    let submit = |engine: &Engine| {
        let event = NewEvent::new("Big", vec![1; 100 << 10]);
        engine.core.submit("s", Expected::Any, [event], Duration::ZERO).unwrap()
    };
    for _ in 0..10 {
        let ack = submit(&engine);
        while !ack.is_ready() {
            engine.writer.step();
            engine.chaser.step();
            engine.keeper.step();
            clock.advance(Duration::from_millis(1));
        }
    }
    let acks: Vec<_> = (0..14).map(|_| submit(&engine)).collect();
    for _ in 0..30 {
        engine.writer.step();
        (0..20).for_each(|_| _ = engine.keeper.step());
        let third = disk.list().unwrap().contains(&"chunk-0000000002".to_owned());
        assert!(!third || engine.core.supply.orders().place.chunk.get() >= 1);
    }
    assert_eq!(acks.len(), 14);
}

#[test]
fn a_first_chunk_that_lost_its_header_is_never_taken_for_a_new_log() {
    let disk = SimDisk::new();
    let log = open(&disk, small()).unwrap();
    count(&log, 0..1000);
    log.close().unwrap();
    let mut bytes = disk.read_file("chunk-0000000000").unwrap();
    bytes[..4096].fill(0);
    disk.write_file("chunk-0000000000", bytes.clone());
    disk.remove("hint");
    assert!(matches!(open(&disk, small()), Err(OpenError::Corrupt(_))));
    assert_eq!(disk.read_file("chunk-0000000000").unwrap(), bytes);
    blank(&disk, "chunk-0000000000");
    assert!(open(&disk, small()).unwrap().report().created, "zeros alone are no log");
}

#[test]
fn a_last_chunk_that_lost_its_header_is_not_cut_when_it_was_durable() {
    let disk = SimDisk::new();
    let log = open(&disk, small()).unwrap();
    (0..15).for_each(|_| _ = append(&log, 100 << 10).unwrap());
    log.close().unwrap();
    let mut bytes = disk.read_file("chunk-0000000001").unwrap();
    bytes[..4096].fill(0);
    disk.write_file("chunk-0000000001", bytes);
    let mut first = disk.read_file("chunk-0000000000").unwrap();
    let footer = first.len() - 4096;
    first[footer..].fill(0);
    disk.write_file("chunk-0000000000", first);
    disk.remove("hint");
    assert!(matches!(open(&disk, small()), Err(OpenError::Corrupt(_))));
}

#[test]
fn a_panicking_waker_is_its_owners_trouble() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("the caller's waker");
        }
    }
    let log = open(&SimDisk::new(), small()).unwrap();
    let waker = Waker::from(Arc::new(Panics));
    let mut ack = log.append("s", Expected::Any, [event(1)]).unwrap();
    let _ = Pin::new(&mut ack).poll(&mut Context::from_waker(&waker));
    append(&log, 10).unwrap();
    append(&log, 10).unwrap();
}

#[test]
fn options_out_of_bounds_are_refused() {
    let refused = |options: Options| {
        let error = open(&SimDisk::new(), options).map(drop).unwrap_err();
        assert!(matches!(error, OpenError::InvalidOption { .. }), "{error}");
    };
    refused(Options::new().spin(Duration::MAX));
    refused(Options::new().prepare_ahead(u64::MAX));
    refused(Options::new().max_delay(Duration::MAX));
    refused(Options::new().chunk_size(MIB + 1));
    refused(Options::new().queue_appends(0));
    refused(Options::new().group_size(1));
}

#[test]
fn f20_a_sync_of_the_keeper_hides_no_error_from_the_writer() {
    let (_, faults, log) = failing();
    count(&log, 0..3);
    faults.told_once.store(true, Ordering::SeqCst);
    // The keeper is asked for more room during these appends, and syncs the same file.
    let outcomes: Vec<_> = (0..9).map(|_| append(&log, 100 << 10)).collect();
    for outcome in outcomes {
        assert!(matches!(outcome, Err(AppendError::Failed(_))), "{outcome:?}");
    }
    assert_eq!(log.view().end(), Position::new(3));
}

#[test]
fn f22_no_space_for_a_new_chunk_is_told_and_gone_on_from() {
    let (_, faults, log) = failing();
    faults.no_room.store(true, Ordering::SeqCst);
    let mut stored = 0;
    while stored < 25 {
        match append(&log, 100 << 10) {
            Ok(_) => stored += 1,
            Err(AppendError::Full) => std::thread::sleep(Duration::from_millis(10)),
            Err(other) => panic!("{other}"),
        }
    }
    assert!(!faults.no_room.load(Ordering::SeqCst), "the disk was never full");
}

#[test]
fn f54_a_damaged_index_is_made_again_from_the_events() {
    let disk = SimDisk::new();
    let log = open(&disk, small()).unwrap();
    count(&log, 0..20_000);
    log.close().unwrap();
    let sound = disk.read_file("chunk-0000000000").unwrap();
    let footer = Footer::decode(&sound[sound.len() - 4096..]).unwrap();
    for section in &footer.sections {
        let mut bytes = sound.clone();
        bytes[section.offset as usize] ^= 1;
        disk.write_file("chunk-0000000000", bytes.clone());
        let log = open(&disk, small()).unwrap();
        super::check(&log.view(), 20_000);
        assert_eq!(log.view().streams("").unwrap().len(), 7);
        let known = log.append("counter-1", Expected::NoStream, [event(1)]).unwrap().wait();
        assert!(matches!(known, Err(AppendError::WrongVersion { .. })), "{known:?}");
        drop(log);
        // Where an event is damaged too, there is nothing to make an index of.
        bytes[5_000] ^= 1;
        disk.write_file("chunk-0000000000", bytes);
        let log = open(&disk, small()).unwrap();
        assert!(log.view().read_all(..).any(|event| event.is_err()));
        drop(log);
        disk.write_file("chunk-0000000000", sound.clone());
    }
}

#[test]
fn a_fresh_operation_and_a_fresh_stream_read_no_keys_of_sealed_chunks() {
    let disk = SimDisk::new();
    let log = open(&disk, small()).unwrap();
    let made = |millis| uuid::Builder::from_unix_timestamp_millis(millis, &[3; 10]).into_uuid();
    let once = |log: &Log, stream: &str, id| {
        let large = NewEvent::new("Big", vec![1; 200 << 10]);
        Append::new().event(stream, large).operation(id).submit(log)?.wait()
    };
    (1_000..1_040).for_each(|millis| _ = once(&log, "big", made(millis)).unwrap());
    log.close().unwrap();
    let chunks = disk.list().unwrap().into_iter().filter(|name| name.starts_with("chunk-"));
    let mut sealed: Vec<_> = chunks.map(|name| (disk.read_file(&name).unwrap(), name)).collect();
    sealed.retain(|(bytes, _)| Footer::decode(&bytes[bytes.len() - 4096..]).is_ok());
    assert!(sealed.len() > 5);
    // What is read of these is damage: of sections of these kinds, and of events, so that nothing
    // can be made again.
    let damage = |kinds: &[u32]| {
        for (bytes, name) in &mut sealed.clone() {
            let footer = Footer::decode(&bytes[bytes.len() - 4096..]).unwrap();
            for kind in kinds {
                bytes[footer.section(*kind).unwrap().offset as usize] ^= 1;
            }
            bytes[5_000] ^= 1;
            disk.write_file(name, bytes.clone());
        }
    };
    damage(&[section::KEYS, section::NAMES, section::POSTINGS, section::OFFSETS]);
    let log = open(&disk, small()).unwrap();
    // No filter takes these for a key of its chunk.
    assert!(!once(&log, "fresh", Uuid::from_u128(77)).unwrap().repeated);
    assert!(!once(&log, "fresher", made(5_000)).unwrap().repeated);
    assert!(matches!(once(&log, "fresher", made(1_001)), Err(AppendError::Failed(_))));
    drop(log);
    // Of an operation made at another time than those of a chunk not even its filter is read.
    damage(&[section::KEYS, section::FILTER]);
    let log = open(&disk, small()).unwrap();
    assert!(!once(&log, "fresh", made(9_000)).unwrap().repeated);
    assert!(matches!(once(&log, "fresh", Uuid::from_u128(79)), Err(AppendError::Failed(_))));
}

#[test]
fn a_refusal_reads_no_event_behind_the_one_that_decides() {
    let disk = SimDisk::new();
    let log = open(&disk, small()).unwrap();
    let once = |expected, texts: [&str; 2]| {
        let events = texts.map(|text| NewEvent::with_id(Uuid::from_u128(9), "Said", text));
        log.append("said", expected, events).unwrap().wait()
    };
    once(Expected::Any, ["first", "needle in the log"]).unwrap();
    // The writer has these at hand no more.
    (0..2).for_each(|number| _ = log.append("x", Expected::Any, [event(number)]).unwrap().wait());
    let bytes = disk.read_file("chunk-0000000000").unwrap();
    let place = bytes.windows(6).position(|part| part == b"needle").unwrap();
    let file = disk.open("chunk-0000000000", Access::Write).unwrap();
    file.write_at(b"N", place as u64).unwrap();
    let other = once(Expected::NoStream, ["another", "needle in the log"]);
    assert!(matches!(other, Err(AppendError::WrongVersion { .. })), "{other:?}");
    let same = once(Expected::NoStream, ["first", "needle in the log"]);
    assert!(matches!(same, Err(AppendError::Failed(_))), "{same:?}");
}

/// A clock at which something happens in the midst of a step, when it is asked for the time next.
#[derive(Default)]
struct Interrupting {
    clock: SimClock,
    then: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl std::fmt::Debug for Interrupting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.clock.fmt(f)
    }
}

impl Clock for Interrupting {
    fn monotonic(&self) -> Duration {
        let then = self.then.lock().unwrap().take();
        then.into_iter().for_each(|then| then());
        self.clock.monotonic()
    }

    fn wall(&self) -> Timestamp {
        self.clock.wall()
    }
}

#[test]
fn a_keeper_that_fails_while_the_writer_looks_for_room_is_no_full_disk() {
    let clock = Arc::new(Interrupting::default());
    let options = Options::new().chunk_size(8 * MIB).prepare_ahead(128 << 10);
    let disk = Arc::new(SimDisk::new());
    let mut engine = Engine::open(disk, Arc::clone(&clock) as _, options).unwrap().0;
    let large = [NewEvent::new("Big", vec![1; 3 << 20])];
    let ack = engine.core.submit("s", Expected::Any, large, Duration::ZERO).unwrap();
    let (failure, supply) = (Arc::clone(&engine.core.failure), Arc::clone(&engine.core.supply));
    *clock.then.lock().unwrap() = Some(Box::new(move || {
        failure.record(Error::new(ErrorKind::Io, "the keeper's disk"));
        supply.disk_full();
    }));
    engine.writer.step();
    assert!(clock.then.lock().unwrap().is_none(), "it has happened in this step");
    let answer = ack.is_ready().then(|| ack.wait());
    assert!(matches!(answer, Some(Err(AppendError::Failed(_)))), "{answer:?}");
}

#[test]
fn an_event_whose_last_zeros_were_cut_off_with_the_end_of_its_file_is_whole() {
    let (disk, options, chunk) =
        (SimDisk::new(), Options::new().chunk_size(MIB), "chunk-0000000000");
    let log = open(&disk, options.clone()).unwrap();
    let zeros = NewEvent::new("Zeros", vec![0; 300_000]);
    log.append("zeros", Expected::Any, [event(1), zeros]).unwrap().wait().unwrap();
    log.close().unwrap();
    let whole = disk.read_file(chunk).unwrap();
    for size in [304_000, 200_000, 20_000] {
        disk.write_file(chunk, &whole[..size]);
        let log = open(&disk, options.clone()).unwrap();
        let events: Vec<_> = log.view().read_all(..).map(Result::unwrap).collect();
        assert_eq!((events.len(), events[1].data().len()), (2, 300_000), "{size}");
        drop(log);
        assert_eq!(disk.read_file(chunk).unwrap(), whole, "{size}");
    }
    let last = whole.iter().rposition(|byte| *byte != 0).unwrap();
    disk.write_file(chunk, &whole[..last]);
    assert!(open(&disk, options).is_err());
}
