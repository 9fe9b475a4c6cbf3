//! Tests that chunks which surely lack a stream or an operation are passed over, and no others: in
//! every state of a chunk, and whatever became of its filter.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::super::{MIB, found::open, small};
use crate::append::Append;
use crate::clock::SimClock;
use crate::disk::sim::SimDisk;
use crate::event::{Expected, NewEvent};
use crate::format::footer::{FOOTER_SIZE, Footer, section};
use crate::log::Log;
use crate::log::engine::Engine;
use crate::options::Options;
use crate::position::{Position, StreamVersion};
use crate::read::{ChunkState, View};

/// Events of which a chunk holds few.
fn large() -> NewEvent {
    NewEvent::new("Large", vec![7; 200 << 10])
}

/// Asks for streams with an event each, at the position of their number, and for one without.
fn check(view: &View, streams: u64) {
    for _ in 0..3 {
        assert_eq!(view.stream_version("never").unwrap(), None);
        assert_eq!(view.read_stream("never", ..).unwrap().count(), 0);
        for number in 0..streams {
            let stream = format!("s-{number}");
            assert_eq!(view.stream_version(&stream).unwrap(), Some(StreamVersion::FIRST));
            let read = || view.read_stream(&stream, ..).unwrap().map(|it| it.unwrap().position());
            assert!(read().eq([Position::new(number)]), "{stream}");
            assert!(read().rev().eq([Position::new(number)]), "{stream}");
        }
    }
}

#[test]
fn a_stream_is_found_in_whichever_chunk_while_chunks_come_and_are_sealed() {
    let options = Options::new().chunk_size(MIB).prepare_ahead(MIB);
    let clock = Arc::new(SimClock::new());
    let (mut engine, _) = Engine::open(Arc::new(SimDisk::new()), clock, options).unwrap();
    let (mut full, mut sealed) = (0, 0);
    for number in 0..24 {
        let stream = format!("s-{number}");
        let (core, wait) = (&engine.core, Duration::ZERO);
        let ack = core.submit(&stream, Expected::NoStream, [large()], wait).unwrap();
        for _ in 0..100 {
            engine.writer.step();
            engine.chaser.step();
            if ack.is_ready() {
                break;
            }
            engine.keeper.step();
        }
        assert!(ack.is_ready());
        ack.wait().unwrap();
        // Of the same view, before and behind what the keeper does.
        let view = engine.core.reader().view();
        for _ in 0..10 {
            let now = engine.core.reader().view();
            for chunk in now.chunks() {
                full += u64::from(chunk.state == ChunkState::Full);
                sealed += u64::from(chunk.state == ChunkState::Sealed);
            }
            check(&view, number + 1);
            check(&now, number + 1);
            engine.keeper.step();
        }
    }
    assert!(full > 0 && sealed > 0, "{full} full, {sealed} sealed");
}

fn operation(number: u64) -> Uuid {
    // Times that are those of the clock, of no other chunk, and of none.
    match number % 3 {
        0 => Uuid::now_v7(),
        1 => uuid::Builder::from_unix_timestamp_millis(number * 1000, &[7; 10]).into_uuid(),
        _ => Uuid::new_v4(),
    }
}

fn append(log: &Log, number: u64, id: Uuid) -> (Position, bool) {
    let append = Append::new().event(format!("s-{number}"), large()).operation(id);
    let done = append.submit(log).unwrap().wait().unwrap();
    (done.first_position, done.repeated)
}

#[test]
fn f54_a_damaged_filter_hides_no_stream_and_no_operation() {
    let disk = SimDisk::new();
    let log = open(&disk, small()).unwrap();
    let ids: Vec<_> = (0..24).map(operation).collect();
    for (number, id) in (0..).zip(&ids) {
        assert_eq!(append(&log, number, *id), (Position::new(number), false));
    }
    let sealed = log.view().chunks().len() - 1;
    log.close().unwrap();
    assert!(sealed >= 4);
    // A filter of zeros would deny all that its chunk has.
    for damaged in [0..0, 0..1, sealed - 1..sealed, 0..sealed] {
        let disk = disk.snapshot();
        for chunk in damaged {
            let name = format!("chunk-{chunk:010}");
            let mut bytes = disk.read_file(&name).unwrap();
            let footer = Footer::decode(&bytes[bytes.len() - FOOTER_SIZE as usize..]).unwrap();
            let filter = footer.section(section::FILTER).unwrap();
            bytes[filter.offset as usize..filter.end() as usize].fill(0);
            disk.write_file(&name, bytes);
        }
        check(&View::open_on(&disk).unwrap(), 24);
        let log = open(&disk, small()).unwrap();
        for _ in 0..3 {
            for (number, id) in (0..).zip(&ids) {
                assert_eq!(append(&log, number, *id), (Position::new(number), true));
            }
        }
        check(&log.view(), 24);
    }
}
