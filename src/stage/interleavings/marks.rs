//! Models of the watermarks and of the shared page: what a reader may conclude from what it sees.
//!
//! Promises: `visible <= durable <= written` for every reader; all below a mark is there for
//! whoever sees the mark; half of a change of the page is never believed.

use std::sync::Arc;

use uuid::Uuid;

use super::{check, place, spawn};
use crate::disk::sim::SimDisk;
use crate::options::Durability;
use crate::position::Position;
use crate::stage::page::{Opening, PageReader, StatsPage};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::watermark::Watermarks;

#[test]
fn f68_whoever_sees_a_mark_sees_all_below_it() {
    check("writer, chaser and reader at the watermarks", || {
        let marks = Arc::new(Watermarks::at(Position::START));
        // What is written, told by nothing but the marks.
        let bytes: Arc<[AtomicU64; 2]> = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let whole = |bytes: &[AtomicU64; 2], end: Position| {
            let below = &bytes[..usize::try_from(end.get()).unwrap()];
            assert!(below.iter().all(|byte| byte.load(Ordering::Relaxed) == 1));
        };
        let written = Arc::clone(&bytes);
        let writer = spawn(&marks, move |marks| {
            for (end, byte) in (1..).zip(&*written) {
                byte.store(1, Ordering::Relaxed);
                marks.advance_written(Position::new(end));
                marks.advance_durable(Position::new(end));
            }
        });
        let read_back = Arc::clone(&bytes);
        let chaser = spawn(&marks, move |marks| {
            for _ in 0..2 {
                let durable = marks.durable();
                whole(&read_back, durable);
                marks.advance_visible(durable);
            }
        });
        let mut last = Position::START;
        for _ in 0..2 {
            let visible = marks.visible();
            assert!(visible >= last, "a mark only grows");
            last = visible;
            whole(&bytes, visible);
            let durable = marks.durable();
            assert!(visible <= durable && durable <= marks.written());
        }
        writer.join().unwrap();
        chaser.join().unwrap();
    });
}

/// The log of the page that the models share.
const LOG: Uuid = Uuid::from_u128(5);

fn page() -> (Arc<StatsPage>, PageReader) {
    let (disk, durability) = (SimDisk::new(), Durability::Sync);
    let opening = Opening { log: LOG, durability, place: place(1), hint_sequence: 0 };
    let page = StatsPage::open(&disk, &opening);
    (Arc::new(page), PageReader::open(&disk).unwrap())
}

/// Tells of the positions up to `end` while it is read so often.
fn read_a_changing_page(end: u64, reads: u32) {
    let (page, reader) = page();
    let writer = spawn(&page, move |page| (2..=end).for_each(|told| page.visible(&place(told))));
    let mut last = 1;
    for _ in 0..reads {
        let Some(told) = reader.read(LOG) else { continue };
        let position = told.place.position.get();
        assert_eq!(told.place, place(position), "torn");
        assert!(position >= last, "what is told only grows");
        last = position;
    }
    writer.join().unwrap();
    assert_eq!(reader.read(LOG).unwrap().place, place(end));
}

#[test]
fn f68_half_of_a_change_of_the_page_is_never_believed() {
    check("a page that changes once and is read twice", || read_a_changing_page(2, 2));
    check("a page that changes twice and is read once", || read_a_changing_page(3, 1));
}

#[test]
fn f68_whoever_sees_a_page_closed_sees_its_end() {
    check("a page that is closed while it is read", || {
        let (page, reader) = page();
        let writer = spawn(&page, |page| {
            page.visible(&place(2));
            page.close();
        });
        if reader.state() == crate::format::stats::CLOSED {
            assert_eq!(reader.read(LOG).unwrap().place, place(2));
        }
        writer.join().unwrap();
    });
}
