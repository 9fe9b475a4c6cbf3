//! Owns the places where threads sleep until their appends are answered.
//!
//! Promises: who looks for an answer and then sleeps is woken when the room is, and loses no wake
//! in between; all who sleep in a room are woken by one call of the operating system. A thread that
//! is woken in vain looks once more. Knows nothing of answers.

use std::sync::atomic::AtomicUsize as Crowd;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::disk::map::Home;
use crate::stage::histogram::Recorder;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Condvar, Mutex, MutexGuard};

/// Where threads wait: how many do, how long one may spin before it sleeps, and the rooms where
/// they sleep.
///
/// Threads whose appends come while the same group is gathered share a room, and are woken
/// together: each wake by itself costs a call of the operating system, and often a halted core its
/// sleep. A thread that sleeps in a room with others whose answers come first wakes in vain, and
/// sleeps again.
#[derive(Debug)]
pub(crate) struct Lounge {
    rooms: [Room; ROOMS],
    /// How often the room has changed into which the next thread goes.
    turns: AtomicUsize,
    pub(super) waiting: AtomicUsize,
    /// How many answers the group had that was answered last; refusals do not count. No checker
    /// needs to look at it: it decides nothing but who spins.
    crowd: Crowd,
    pub(super) spin: Duration,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) home: Home,
    /// How long those who waited for an answer waited for their wake, when it could be given.
    pub(crate) wakes: Recorder,
}

/// Where threads sleep that are woken together.
#[derive(Debug)]
struct Room {
    door: Mutex<()>,
    bell: Condvar,
}

/// A bit for each room where somebody may sleep who is to be woken.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rooms(u32);

/// Where more threads wait, or a group has more answers, nobody spins: they would take the cores
/// from the threads they wait for.
const SPINNERS_MAX: usize = 2;

/// Groups on their way at one time are fewer, but for a burst, whose threads share rooms.
const ROOMS: usize = if cfg!(any(loom, shuttle)) { 2 } else { 32 };

impl Lounge {
    pub(crate) fn new(spin: Duration, clock: Arc<dyn Clock>, home: Home) -> Self {
        let (turns, waiting) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (rooms, wakes) = (std::array::from_fn(|_| Room::new()), Recorder::default());
        let crowd = Crowd::new(0);
        Self { rooms, turns, waiting, crowd, spin, clock, home, wakes }
    }

    /// A group with so many answers is answered now.
    pub(crate) fn note_crowd(&self, count: usize) {
        self.crowd.store(count, Ordering::Relaxed);
    }

    /// Whether a thread may spin that is one of so many that wait.
    pub(crate) fn is_calm(&self, waiting: usize) -> bool {
        waiting <= SPINNERS_MAX && self.crowd.load(Ordering::Relaxed) <= SPINNERS_MAX
    }

    /// Where a thread is to sleep that comes now.
    pub(super) fn room(&self) -> usize {
        self.turns.load(Ordering::Relaxed) % ROOMS
    }

    /// Those who come from now on wait in another room.
    pub(crate) fn turn(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    /// Wakes all who sleep in these rooms.
    pub(crate) fn wake(&self, rooms: Rooms) {
        for (number, room) in self.rooms.iter().enumerate() {
            if rooms.0 & (1 << number) != 0 {
                // Who has found no answer and holds the door is asleep when it is free again.
                drop(room.lock());
                room.bell.notify_all();
            }
        }
    }

    /// Polls until there is something, at most until the moment `end`, and sleeps in the room in
    /// between.
    pub(super) fn sleep<T>(
        &self,
        room: usize,
        end: Option<Duration>,
        mut poll: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        let room = &self.rooms[room];
        let mut door = room.lock();
        loop {
            if let Some(found) = poll() {
                return Some(found);
            }
            let Some(end) = end else {
                door = room.bell.wait(door).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = end.saturating_sub(self.clock.monotonic());
            if left.is_zero() {
                return None;
            }
            door = room.bell.wait_timeout(door, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Room {
    fn new() -> Self {
        Self { door: Mutex::new(()), bell: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.door.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rooms {
    pub(super) fn one(room: usize) -> Self {
        Self(1 << room)
    }

    /// These and those of `other`.
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
