//! Tests of the shared page: what is told is read whole, or not at all.
//!
//! Promises: changes and looks meet on real threads here; `stage/interleavings` tries all their
//! meetings.

use super::*;
use crate::disk::sim::SimDisk;
use crate::stage::histogram::{BUCKETS, Histogram};

const LOG: Uuid = Uuid::from_u128(5);

fn place(position: u64) -> DurablePlace {
    DurablePlace {
        position: Position::new(position),
        chunk: ChunkNumber::new(position / 10),
        end: ChainEnd { chain: !position, data_end: position * 8 },
    }
}

fn open(disk: &SimDisk, durability: Durability) -> StatsPage {
    let opening = Opening { log: LOG, durability, place: place(3), hint_sequence: 4 };
    StatsPage::open(disk, &opening)
}

#[test]
fn what_is_told_is_read_with_who_tells_it() {
    let disk = SimDisk::new();
    assert!(PageReader::open(&disk).is_none());
    let page = open(&disk, Durability::Sync);
    let reader = PageReader::open(&disk).unwrap();
    let first = reader.read(LOG).unwrap();
    assert_eq!((first.place, first.identity.session), (place(3), 5));
    assert_eq!(reader.read(Uuid::from_u128(6)), None);
    page.visible(&place(17));
    let second = reader.read(LOG).unwrap();
    assert_eq!((second.place, second.identity), (place(17), first.identity));
    assert!(second.sequence > first.sequence);
    let again = open(&disk, Durability::Sync);
    assert_eq!(reader.read(LOG).unwrap().identity.session, 6);
    again.close();
    assert_eq!(reader.state(), CLOSED);
}

#[test]
fn acks_that_do_not_wait_for_the_sync_tell_nothing() {
    let disk = SimDisk::new();
    let page = open(&disk, Durability::Os);
    let reader = PageReader::open(&disk).unwrap();
    page.visible(&place(17));
    assert_eq!(reader.read(LOG).unwrap().place, place(3));
    page.synced(&place(9));
    let told = reader.read(LOG).unwrap();
    assert_eq!((told.place, told.identity.acks_early), (place(9), true));
}

#[test]
fn a_page_left_in_the_midst_of_a_change_says_nothing() {
    let disk = SimDisk::new();
    let page = open(&disk, Durability::Sync);
    let reader = PageReader::open(&disk).unwrap();
    page.change(|_| assert_eq!(reader.read(LOG), None));
    let sequence = reader.sequence();
    page.shared.store(SEQUENCE, sequence + 1);
    assert_eq!(reader.read(LOG), None);
    page.visible(&place(4));
    assert_eq!(reader.read(LOG).unwrap().place, place(4));
    assert_eq!(reader.sequence(), sequence + 2);
}

#[test]
fn no_reader_sees_half_of_a_change() {
    let disk = SimDisk::new();
    let page = open(&disk, Durability::Sync);
    let reader = PageReader::open(&disk).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| (3..20_000).for_each(|position| page.visible(&place(position))));
        let mut last = 0;
        while last < 19_999 {
            let Some(told) = reader.read(LOG) else { continue };
            assert_eq!(told.place, place(told.place.position.get()));
            assert!(told.place.position.get() >= last);
            last = told.place.position.get();
        }
    });
}

/// A snapshot whose numbers all follow from one.
fn figures(number: u64) -> Stats {
    let mut stats = Stats { written: Position::new(number), ..Stats::default() };
    stats.visible = stats.written;
    stats.appends.pushed = number;
    stats.disk.bytes = number;
    stats.path.total = Histogram::new(vec![number; BUCKETS], number, number);
    stats
}

#[test]
fn a_snapshot_is_read_whole_or_not_at_all() {
    let disk = SimDisk::new();
    let page = open(&disk, Durability::Sync);
    let reader = PageReader::open(&disk).unwrap();
    assert_eq!(reader.counted(), Counted::Nothing, "nothing was told yet");
    page.count(figures(1));
    std::thread::scope(|scope| {
        scope.spawn(|| (2..=500).for_each(|number| page.count(figures(number))));
        let mut last = 0;
        while last < 500 {
            let Counted::Stats(stats) = reader.counted() else { continue };
            let number = stats.appends.pushed;
            assert!(*stats == figures(number) && number >= last, "torn at {number}");
            last = number;
        }
    });
    assert_eq!(reader.read(LOG).unwrap().place, place(3), "the place is another matter");
    open(&disk, Durability::Sync);
    assert_eq!(reader.counted(), Counted::Nothing, "of the session before");
}

#[test]
fn counters_of_another_version_are_not_read() {
    let disk = SimDisk::new();
    let page = open(&disk, Durability::Sync);
    let reader = PageReader::open(&disk).unwrap();
    page.count(figures(1));
    page.shared.store(COUNTERS_LAYOUT, 1 + page.shared.load(COUNTERS_LAYOUT));
    assert_eq!(reader.counted(), Counted::OtherVersion);
    page.change_counters(|_| assert_eq!(reader.counted(), Counted::Nothing, "in the midst"));
}
