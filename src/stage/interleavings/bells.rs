//! Models of the bell: rings and the close that meet looks, arms and drops of seats.
//!
//! Promises: whoever arms and then finds nothing is woken by what becomes visible, and by the end.

use std::sync::Arc;
use std::task::Waker;

use super::{Counter, FOREVER, check, spawn};
use crate::clock::SimClock;
use crate::stage::bell::{Bell, Interest, Keys};
use crate::stage::park;
use crate::sync::atomic::{AtomicU64, Ordering};

fn keys(bell: &Bell, hashes: &[u64]) -> Keys {
    let mut keys = Keys::heard_by(bell);
    hashes.iter().for_each(|hash| keys.add(*hash));
    keys
}

/// A mark that grows and the bell that tells of it, as chaser and subscription share them.
#[derive(Default)]
struct Told {
    bell: Arc<Bell>,
    mark: AtomicU64,
}

impl Told {
    /// Shows more, and rings as the chaser does.
    fn tell(&self, mark: u64, hashes: &[u64]) {
        let keys = keys(&self.bell, hashes);
        self.mark.store(mark, Ordering::Release);
        self.bell.ring(&keys);
    }

    /// Waits as a subscription does: look, leave a waker, look again, sleep.
    fn await_mark(&self, interest: Interest, mark: u64) {
        let place = self.bell.take_place(interest);
        let look = || (self.mark.load(Ordering::Acquire) >= mark).then_some(());
        let found = park::wait(&SimClock::new(), FOREVER, |waker| {
            look().or_else(|| {
                place.arm(waker);
                look()
            })
        });
        assert!(found.is_some());
    }
}

#[test]
fn f67_no_ring_is_missed_between_a_look_and_a_sleep() {
    check("a subscriber of everything and two rings", || {
        let told = Arc::new(Told::default());
        let ringer = spawn(&told, |told| {
            told.tell(1, &[7]);
            told.tell(2, &[7]);
        });
        told.await_mark(Interest::Everything, 2);
        ringer.join().unwrap();
    });
}

#[test]
fn f67_no_ring_for_a_key_is_missed() {
    check("two subscribers of keys and a ring for both", || {
        let told = Arc::new(Told::default());
        let other = spawn(&told, |told| told.await_mark(Interest::Keys(vec![8]), 1));
        let ringer = spawn(&told, |told| told.tell(1, &[7, 8]));
        told.await_mark(Interest::Keys(vec![7]), 1);
        ringer.join().unwrap();
        other.join().unwrap();
    });
}

#[test]
fn f67_the_close_ends_every_wait_with_all_that_was_shown() {
    check("a subscriber of another key, a ring and the close", || {
        let told = Arc::new(Told::default());
        let ringer = spawn(&told, |told| {
            told.tell(1, &[7]);
            told.bell.close();
        });
        let place = told.bell.take_place(Interest::Keys(vec![8]));
        let look = || told.bell.is_closed().then(|| told.mark.load(Ordering::Relaxed));
        let seen = park::wait(&SimClock::new(), FOREVER, |waker| {
            look().or_else(|| {
                place.arm(waker);
                look()
            })
        });
        assert_eq!(seen, Some(1), "whoever sees the end sees all before it");
        ringer.join().unwrap();
    });
}

#[test]
fn a_seat_that_is_left_while_the_bell_rings_is_counted_once() {
    check("a seat that is armed twice and left while the bell rings", || {
        let bell = Arc::new(Bell::default());
        let ringer = spawn(&bell, |bell| bell.ring(&keys(bell, &[7])));
        let counters = [Counter::new(), Counter::new()];
        let place = bell.take_place(Interest::Keys(vec![7]));
        counters.iter().for_each(|counter| place.arm(&Waker::from(Arc::clone(counter))));
        drop(place);
        ringer.join().unwrap();
        assert!(counters.iter().all(|counter| counter.wakes() <= 1));
        assert_eq!(bell.armed(), 0);
    });
}
