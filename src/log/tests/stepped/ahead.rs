//! Tests of groups that are checked and indexed before they are durable: that nobody sees them,
//! that none is acked, and that a chunk is not known before its header is durable.

use std::sync::Arc;
use std::time::Duration;

use super::super::failing::failing_disk;
use super::super::faulty::FaultyDisk;
use super::super::small;
use crate::append::Append;
use crate::clock::{SimClock, SystemClock};
use crate::disk::Disk;
use crate::disk::sim::SimDisk;
use crate::error::AppendError;
use crate::event::{Expected, NewEvent};
use crate::log::engine::Engine;
use crate::options::Options;
use crate::position::Position;
use crate::read::View;
use crate::stage::Step;
use crate::stage::ack::Ack;
use std::sync::atomic::Ordering;

fn large() -> NewEvent {
    NewEvent::new("Large", vec![7; 5_000])
}

/// A log whose groups have an event each; the writer is told that more is about to come, and so
/// writes without a flush.
fn hurried(disk: Arc<dyn Disk>) -> Engine {
    let options = Options::new().chunk_size(1 << 20).prepare_ahead(1 << 20).group_size(4096);
    let mut engine = Engine::open(disk, Arc::new(SimClock::new()), options).unwrap().0;
    while engine.keeper.step() == Step::Worked {}
    std::mem::forget(engine.core.appends.about_to_push());
    engine
}

fn submit(engine: &Engine, count: usize) -> Vec<Ack> {
    let submit = |_| engine.core.submit("s", Expected::Any, [large()], Duration::ZERO).unwrap();
    (0..count).map(submit).collect()
}

fn view(engine: &Engine) -> View {
    View::new(engine.core.segments.snapshot(), engine.core.marks.visible())
}

fn indexed(engine: &Engine) -> u32 {
    engine.core.segments.last().index.event_count()
}

fn flush(engine: &mut Engine) {
    let flushes = engine.core.stats().disk.flushes;
    while engine.core.stats().disk.flushes == flushes {
        engine.writer.step();
    }
}

#[test]
fn what_is_checked_before_it_is_durable_is_seen_by_nobody() {
    let mut engine = hurried(Arc::new(SimDisk::new()));
    let acks = submit(&engine, 70);
    engine.writer.step();
    engine.chaser.step();
    assert_eq!(indexed(&engine), 1, "checked while it waits for its flush");
    let seen = view(&engine);
    assert_eq!(seen.end(), Position::START);
    assert_eq!(seen.read_all(..).count(), 0);
    assert_eq!(seen.read_stream("s", ..).unwrap().count(), 0);
    assert_eq!(seen.stream_version("s").unwrap(), None);
    assert!(!acks.iter().any(Ack::is_ready));

    flush(&mut engine);
    assert!(!acks[0].is_ready(), "visible before it is acked");
    engine.chaser.step();
    let durable = engine.core.marks.durable();
    assert!(durable > Position::START);
    assert_eq!(view(&engine).read_all(..).map(Result::unwrap).count() as u64, durable.get());
    let answered = acks.iter().filter(|ack| ack.is_ready()).count();
    assert_eq!(answered as u64, durable.get());
}

/// What was stored for an operation ends before what nobody may read yet.
#[test]
fn a_repeat_is_answered_while_the_event_behind_it_is_not_durable() {
    let mut engine = hurried(Arc::new(SimDisk::new()));
    let operation = uuid::Uuid::from_u128(7);
    let append = |engine: &Engine| {
        let append = Append::new().event("t", large()).operation(operation);
        engine.core.submit_full(append, Duration::ZERO).unwrap()
    };
    // As many as the writer leaves unflushed, so that the one is the last that is flushed.
    let _others = submit(&engine, 64);
    let first = append(&engine);
    flush(&mut engine);
    engine.chaser.step();
    let stored = first.wait().unwrap();
    // Written and indexed, not durable; and the writer has forgotten what is visible.
    let _behind = submit(&engine, 2);
    engine.writer.step();
    engine.chaser.step();
    assert!(u64::from(indexed(&engine)) > engine.core.marks.durable().get());
    let again = append(&engine);
    let _others = submit(&engine, 64);
    flush(&mut engine);
    engine.chaser.step();
    assert!(again.is_ready());
    let again = again.wait().unwrap();
    assert!(again.repeated && again.first_position == stored.first_position);
}

#[test]
fn f20_what_is_checked_and_then_not_synced_is_never_acked() {
    let (_, faults, disk) = failing_disk();
    let mut engine = hurried(disk);
    let acks = submit(&engine, 70);
    engine.writer.step();
    engine.chaser.step();
    assert_eq!(indexed(&engine), 1);
    faults.sync.store(true, Ordering::SeqCst);
    while engine.core.failure.get().is_none() {
        engine.writer.step();
    }
    engine.chaser.step();
    engine.writer.step();
    for ack in acks {
        assert!(ack.is_ready() && matches!(ack.wait(), Err(AppendError::Failed(_))));
    }
    assert_eq!(view(&engine).read_all(..).count(), 0);
}

#[test]
fn f15_a_chunk_is_not_known_before_its_header_is_durable() {
    let mut engine = hurried(Arc::new(SimDisk::new()));
    let acks = submit(&engine, 300);
    let chunk = |engine: &Engine| engine.core.segments.last().chunk.number().get();
    let mut behind = Position::START;
    while chunk(&engine) == 0 {
        let durable = engine.core.marks.durable();
        engine.writer.step();
        engine.keeper.step();
        engine.chaser.step();
        behind = engine.core.segments.last().first_position();
        let is_known = behind > Position::START;
        assert!(!is_known || engine.core.marks.durable() > behind, "known at {durable}");
    }
    assert!(engine.core.marks.visible() > behind, "all before it was shown first");
    assert!(acks[0].is_ready());
}

#[test]
fn a_large_group_is_checked_while_it_is_synced() {
    let disk = FaultyDisk::default();
    let log = small().open_on(Arc::new(disk.clone()), Arc::new(SystemClock::default())).unwrap();
    disk.hold_syncs(true);
    let ack = log.append("s", Expected::Any, [large()]).unwrap();
    // Were nobody told to check it, this would never end.
    while log.core.segments.last().index.event_count() == 0 {
        std::thread::yield_now();
    }
    assert!(!ack.is_ready());
    assert_eq!(log.view().end(), Position::START);
    disk.hold_syncs(false);
    assert_eq!(ack.wait().unwrap().first_position, Position::START);
    log.close().unwrap();
}
