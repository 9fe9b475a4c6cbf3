//! An append to several streams is there in all of them or in none, wherever its group was torn.

use paperchase::disk::sim::SimDisk;
use paperchase::{Append, Expected, NewEvent};

use crate::support::Content;
use crate::support::sim::{FIRST, file, groups, open};
use crate::{OPERATION, ask, event, exact, put};

const STREAMS: [&str; 4] = ["stock-1", "stock-2", "cart-7", "audit"];

/// Three events to each stream, in turns.
fn append() -> Append {
    let mut append = Append::new().operation(OPERATION).expect("stock-1", exact(1));
    for number in 0..12_u64 {
        append = append.event(STREAMS[number as usize % 4], event(number).tag("torn"));
    }
    append.expect("cart-7", Expected::NoStream)
}

#[test]
fn an_append_to_several_streams_that_was_torn_is_in_none_of_them() {
    let disk = SimDisk::new();
    let log = open(&disk).unwrap();
    put(&log, "stock-1", [91, 92]);
    put(&log, "audit", [93]);
    let before = Content::of(&log.view());
    let done = ask(&log, append()).unwrap();
    let whole = Content::of(&log.view());
    let crashed = disk.snapshot();
    drop(log);
    crashed.remove("hint");
    let chunk = file(&crashed, FIRST);
    let last = groups(&chunk).pop().unwrap();
    for at in last.clone().chain([last.end]) {
        for fill in [0, 0xFF] {
            let mut torn = chunk.clone();
            torn[at..last.end].fill(fill);
            let is_whole = torn == chunk;
            let disk = crashed.snapshot();
            disk.write_file(FIRST, torn);
            let log = open(&disk).unwrap();
            let wanted = if is_whole { &whole } else { &before };
            let case = format!("torn at byte {} of the group, {fill}", at - last.start);
            assert_eq!(wanted.compare(&log.view()), Ok(0), "{case}");
            let torn_events = log.view().read_tag("torn", ..).unwrap().count();
            assert_eq!(torn_events, if is_whole { 12 } else { 0 }, "{case}");
            // Whoever lost the answer asks again, and it is there once.
            let again = ask(&log, append()).unwrap();
            assert_eq!((again.repeated, again.streams()), (is_whole, done.streams()), "{case}");
            assert_eq!(again.first_position, done.first_position, "{case}");
            assert_eq!(log.view().end().get(), 15, "{case}");
        }
    }
}

/// Larger than a group, and than what the chunk has left.
#[test]
fn a_large_append_to_several_streams_is_one_group() {
    let disk = SimDisk::new();
    let options = crate::support::sim::small().group_size(4096);
    let clock = std::sync::Arc::new(paperchase::clock::SimClock::new());
    let log = options.open_on(std::sync::Arc::new(disk.clone()), clock).unwrap();
    for round in 0..8 {
        let large = |_| NewEvent::new("Large", vec![round; 100 << 10]);
        let append = Append::new().events("a", (0..2).map(large)).events("b", (0..2).map(large));
        let done = ask(&log, append).unwrap();
        assert_eq!(done.stream("b").unwrap().last_version.get(), u64::from(round) * 2 + 1);
    }
    let chunks = log.view().chunks();
    assert_eq!(chunks.len(), 4, "two such appends fit a chunk");
    assert_eq!(log.stats().disk.groups, 8);
    drop(log);
    let log = open(&disk).unwrap();
    assert_eq!(Content::of(&log.view()).events.len(), 32);
}
