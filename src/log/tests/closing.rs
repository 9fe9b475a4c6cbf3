//! Tests of how a log ends and of the times it records.

use std::sync::Arc;
use std::time::Duration;

use super::{count, event, on_both, open, open_with, small};
use crate::clock::{SimClock, Timestamp};
use crate::disk::Disk;
use crate::disk::sim::SimDisk;
use crate::error::{AppendError, OpenError};
use crate::event::{Expected, NewEvent};
use crate::log::engine::Engine;
use crate::position::Position;
use crate::read::View;

#[test]
fn f05_closing_under_load_stores_or_refuses() {
    on_both(|disk| {
        let log =
            open_with(&disk, small().queue_appends(4).admission_wait(Duration::ZERO)).unwrap();
        let mut acks = Vec::new();
        for number in 0..5_000 {
            match log.append("s", Expected::Any, [event(number)]) {
                Ok(ack) => acks.push(ack),
                Err(AppendError::Busy) => {}
                Err(other) => panic!("{other}"),
            }
        }
        log.close().unwrap();
        let stored = acks.len() as u64;
        let last = acks.into_iter().map(|ack| ack.wait().unwrap().last_position).last();
        assert_eq!(last, Some(Position::new(stored - 1)), "what was taken is stored");
        let log = open(&disk);
        assert!(log.report().clean && log.report().bytes_hardened == 0);
        assert_eq!(log.view().end(), Position::new(stored));
    });
}

#[test]
fn acks_are_answered_when_the_handle_is_dropped() {
    on_both(|disk| {
        let log = open(&disk);
        let append = |number| log.append("s", Expected::Any, [event(number)]).unwrap();
        let acks: Vec<_> = (0..1_000).map(append).collect();
        drop(log);
        assert!(acks.into_iter().all(|ack| ack.wait().is_ok()));
        assert_eq!(open(&disk).view().end(), Position::new(1_000));
    });
}

#[test]
fn f65_record_times_never_run_backwards() {
    let clock = Arc::new(SimClock::new());
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let mut latest = 0;
    for walls in [[500, 900, 100, 950, 3], [2_000, 7, 2_001, 0, 1]] {
        let mut engine = Engine::open(Arc::clone(&disk), clock.clone(), small()).unwrap().0;
        for wall in walls {
            clock.set_wall(Timestamp::from_nanos(wall));
            let event = NewEvent::new("Timed", "");
            let ack = engine.core.submit("s", Expected::Any, [event], Duration::ZERO).unwrap();
            engine.writer.step();
            engine.chaser.step();
            latest = latest.max(wall);
            assert_eq!(ack.wait().unwrap().time, Timestamp::from_nanos(latest));
        }
        let view = View::new(engine.core.segments.snapshot(), engine.core.marks.visible());
        let times: Vec<_> = view.read_all(..).map(|event| event.unwrap().time()).collect();
        assert!(times.is_sorted(), "{times:?}");
    }
}

#[test]
fn f15_a_full_chunk_without_a_footer_is_sealed_again() {
    let disk = SimDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let log = open(&shared);
    count(&log, 0..40_000);
    log.close().unwrap();
    for name in ["chunk-0000000000", "chunk-0000000001"] {
        let mut file = disk.read_file(name).unwrap();
        let footer = file.len() - 4096;
        file[footer..].fill(0);
        disk.write_file(name, file);
    }
    let before = disk.read_file("chunk-0000000000").unwrap();
    let log = open(&shared);
    assert_eq!((log.report().resealed, log.report().chunks_scanned), (2, 3));
    super::check(&log.view(), 40_000);
    log.close().unwrap();
    assert_ne!(disk.read_file("chunk-0000000000").unwrap(), before);
    let log = open(&shared);
    assert_eq!((log.report().resealed, log.report().chunks_scanned), (0, 1));
    super::check(&log.view(), 40_000);
}

/// Sealing keeps aside what it takes out, and tells of it (R7).
#[test]
fn what_sealing_takes_out_of_a_chunk_that_has_grown_is_told() {
    let disk = SimDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let log = open(&shared);
    count(&log, 0..40_000);
    log.close().unwrap();
    let name = "chunk-0000000000";
    let mut file = disk.read_file(name).unwrap();
    let remains = [&file[file.len() - 4096..], &[7; 900]].concat();
    file.resize(file.len() + 900, 7);
    // So that the footer of the longer file stands behind all of this.
    file.resize(file.len() + 60_000, 0);
    disk.write_file(name, file);
    let log = open(&shared);
    assert_eq!((&log.report().cut, log.report().resealed), (&None, 1));
    let cuts = Arc::clone(&log.core.meters.cuts);
    log.close().unwrap();
    let [cut] = &cuts.snapshot()[..] else { panic!("one chunk has grown") };
    let kept = disk.read_file(&cut.kept_in).unwrap();
    assert_eq!((cut.chunk.get(), cut.bytes), (0, kept.len() as u64));
    assert!(kept.ends_with(&remains), "the old footer and what stood behind it");
    let log = open(&shared);
    assert_eq!((log.report().resealed, log.cuts()), (0, Vec::new()));
    super::check(&log.view(), 40_000);
}

#[test]
fn a_recorded_event_makes_the_same_new_one() {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let log = open(&disk);
    let (plain, full) = (NewEvent::new("Plain", [0xff, 0]), NewEvent::json("Full", "1"));
    let with_metadata = plain.clone().metadata("{}", crate::event::ContentKind::Json);
    let events = [with_metadata, full.tag("b").tag("a"), plain];
    log.append("s", Expected::Any, events.clone()).unwrap().wait().unwrap();
    let again = log.view().read_all(..).map(|event| NewEvent::from(&event.unwrap()));
    assert_eq!(again.collect::<Vec<_>>(), events);
}

/// Files that a writer is changing may look damaged for a moment.
#[test]
fn a_log_that_is_open_elsewhere_is_locked_whatever_its_files_look_like() {
    let disk = SimDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let log = open(&shared);
    count(&log, 0..100);
    let name = "chunk-0000000000";
    let mut file = disk.read_file(name).unwrap();
    file[60] ^= 1;
    disk.write_file(name, file);
    for create in [false, true] {
        let refused = open_with(&shared, small().create(create));
        assert!(matches!(refused, Err(OpenError::Locked { .. })), "{refused:?}");
    }
    drop(log);
    let refused = open_with(&shared, small().create(false));
    assert!(matches!(refused, Err(OpenError::Corrupt(_))), "{refused:?}");
}
