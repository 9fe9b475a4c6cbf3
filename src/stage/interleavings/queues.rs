//! Models of the queue and of the room that the writer waits for.
//!
//! Promises: every item is taken once, or turned away; whoever sleeps is woken by an item, by room,
//! by a nudge, by the end, or by its deadline.

use std::sync::Arc;
use std::time::Duration;

use super::{FOREVER, check, drain, place, queue, spawn};
use crate::chunk::ChunkFile;
use crate::chunk::supply::{Need, Supply};
use crate::clock::SimClock;
use crate::disk::sim::SimDisk;
use crate::position::ChunkNumber;
use crate::stage::queue::{Queue, Refused};
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::{thread, time};

#[test]
fn a_queue_neither_loses_nor_doubles_an_item() {
    check("a queue of one, two producers that wait for room", || {
        let queue = queue(1);
        let producers =
            [1, 2].map(|item| spawn(&queue, move |queue| queue.push(item, 1, FOREVER).unwrap()));
        let mut all = Vec::new();
        while all.len() < 2 {
            queue.wait(1, None);
            drain(&queue, &mut all);
        }
        producers.into_iter().for_each(|producer| producer.join().unwrap());
        all.sort_unstable();
        assert_eq!(all, [1, 2]);
        assert!(queue.is_handled());
        assert_eq!((queue.stats().pushed, queue.stats().popped), (2, 2));
    });
}

#[test]
fn a_producer_keeps_its_order_and_counts_until_it_is_handled() {
    check("a producer of two, and the counter of what is not handled", || {
        let (queue, pushed) = (queue(4), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&pushed);
        let producer = spawn(&queue, move |queue| {
            for item in 0..2 {
                queue.push(item, 1, Duration::ZERO).unwrap();
                count.fetch_add(1, Ordering::Release);
            }
        });
        let mut all = Vec::new();
        while all.len() < 2 {
            let pushed = pushed.load(Ordering::Acquire);
            assert!(pushed <= all.len() || !queue.is_handled(), "an item waits and counts");
            queue.wait(1, None);
            drain(&queue, &mut all);
        }
        producer.join().unwrap();
        assert_eq!(all, [0, 1]);
    });
}

#[test]
fn a_consumer_that_waits_for_two_items_is_woken_by_the_second() {
    check("a consumer that waits for two items of two producers", || {
        let queue = queue(4);
        let producers =
            [1, 2].map(|item| spawn(&queue, move |queue| queue.push(item, 1, FOREVER).unwrap()));
        queue.wait(2, None);
        let mut all = Vec::new();
        drain(&queue, &mut all);
        assert_eq!(all.len(), 2);
        producers.into_iter().for_each(|producer| producer.join().unwrap());
    });
}

#[test]
fn f05_closing_a_queue_wakes_everybody_and_loses_nothing() {
    check("a full queue that is closed", || {
        let queue = queue(1);
        queue.push(1, 1, FOREVER).unwrap();
        let outcome = Arc::new(AtomicU64::new(0));
        let told = Arc::clone(&outcome);
        let producer = spawn(&queue, move |queue| match queue.push(2, 1, FOREVER) {
            Ok(()) => told.store(1, Ordering::Release),
            Err(refused) => assert_eq!(refused, Refused::Closed),
        });
        let closer = spawn(&queue, |queue| queue.close());
        let mut all = Vec::new();
        while !queue.is_finished() {
            queue.wait(1, None);
            drain(&queue, &mut all);
        }
        producer.join().unwrap();
        closer.join().unwrap();
        assert_eq!(all.len() as u64, 1 + outcome.load(Ordering::Acquire));
        assert!(queue.is_handled());
    });
}

#[test]
fn a_refused_item_lets_nobody_wait_for_it() {
    check("two items that are turned away while the consumer waits for them", || {
        let queue = queue(1);
        queue.push(0, 1, FOREVER).unwrap();
        let producers =
            [1, 2].map(|item| spawn(&queue, move |queue| _ = queue.push(item, 1, Duration::ZERO)));
        let mut all = Vec::new();
        drain(&queue, &mut all);
        while !queue.is_handled() {
            queue.wait(1, None);
            drain(&queue, &mut all);
        }
        producers.into_iter().for_each(|producer| producer.join().unwrap());
        drain(&queue, &mut all);
        assert_eq!(all.len() as u64 + queue.stats().rejected, 3);
    });
}

#[test]
fn a_nudge_ends_the_next_wait() {
    check("an item that is told of later, and a nudge", || {
        let queue = queue(4);
        let producer = spawn(&queue, |queue| {
            queue.push_quietly(1, 1, FOREVER).unwrap();
            queue.nudge();
        });
        let mut all = Vec::new();
        while all.is_empty() {
            queue.wait_for_nudge();
            drain(&queue, &mut all);
        }
        producer.join().unwrap();
    });
}

#[test]
fn a_deadline_ends_a_wait_for_items_and_for_room() {
    check("a full queue whose deadlines pass", || {
        let clock = Arc::new(SimClock::new());
        let queue = Arc::new(Queue::new(1, usize::MAX, Arc::clone(&clock) as _));
        queue.push(1, 1, FOREVER).unwrap();
        let wait = Duration::from_millis(1);
        let producer = spawn(&queue, move |queue| {
            assert_eq!(queue.push(2, 1, wait), Err(Refused::Full));
        });
        // Until the producer has left: it sleeps, or has counted itself and not slept yet.
        while queue.stats().rejected == 0 {
            clock.advance(wait);
            time::pass();
            thread::yield_now();
        }
        producer.join().unwrap();
        drain(&queue, &mut Vec::new());
        assert!(queue.is_handled());
    });
}

#[test]
fn the_writer_that_waits_for_room_is_woken() {
    const CAPACITY: u64 = 8 << 10;
    check("a writer without room, and the keeper that makes it", || {
        let file = ChunkFile::create(&SimDisk::new(), ChunkNumber::FIRST, CAPACITY).unwrap();
        let supply = Arc::new(Supply::new(Arc::new(file), None, place(0)));
        let keeper = spawn(&supply, |supply| {
            while supply.orders().need.is_none() {
                supply.wait_for_kick(FOREVER);
            }
            supply.orders().active.prepare(CAPACITY).unwrap();
            supply.prepared(None);
        });
        let active = supply.orders().active;
        while active.prepared() < CAPACITY {
            assert!(!supply.need(Need::Active(CAPACITY)), "the disk is not full");
            supply.wait_for_room(FOREVER);
        }
        keeper.join().unwrap();
        assert_eq!(supply.orders().need, None);
    });
}

#[test]
fn the_end_of_the_keeper_leaves_no_writer_waiting() {
    const CAPACITY: u64 = 8 << 10;
    check("a writer without room, and the end", || {
        let file = ChunkFile::create(&SimDisk::new(), ChunkNumber::FIRST, CAPACITY).unwrap();
        let supply = Arc::new(Supply::new(Arc::new(file), None, place(0)));
        let closer = spawn(&supply, |supply| supply.stop());
        let keeper = spawn(&supply, |supply| {
            while !supply.is_stopped() {
                supply.wait_for_kick(FOREVER);
            }
        });
        supply.need(Need::Active(CAPACITY));
        while !supply.is_stopped() {
            supply.wait_for_room(FOREVER);
        }
        closer.join().unwrap();
        keeper.join().unwrap();
    });
}
