//! Owns the bell that tells subscriptions of events: who waits for which, and their waking.
//!
//! Promises: who arms and then finds nothing is woken by the next ring that concerns it, and by the
//! close; a ring wakes each waker at most once, and only those whose key it names; while nobody
//! waits it costs one look. A waker is the caller's code: it runs outside all locks, and its panic
//! ends here (F04). A key is its hash: who shares a hash is woken in vain. Never looks at events.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64 as Count;
use std::sync::{Arc, Mutex as Roll, MutexGuard as RollGuard, PoisonError};
use std::task::Waker;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::disk::map::Home;
use crate::position::Position;
use crate::stage::stats::SubscriberStats;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use crate::sync::{Mutex, MutexGuard};

#[cfg(test)]
mod tests;

/// What somebody waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Any event.
    Everything,
    /// An event with one of these keys, each named by its hash.
    Keys(Vec<u64>),
}

/// The bell.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    /// Seats that hold a waker.
    armed: AtomicUsize,
    /// Seats of those who wait for keys, armed or not.
    keyed: AtomicUsize,
    closed: AtomicBool,
    board: Mutex<Board>,
    /// All seats, for the count alone: nobody waits by it, so that no checker needs to look at it.
    roll: Roll<Seats>,
    home: Home,
}

#[derive(Debug, Default)]
struct Board {
    /// Seats taken and rings so far, which number both.
    count: u64,
    everything: Seats,
    rows: HashTable<Row>,
}

/// By the number of the seat.
type Seats = BTreeMap<u64, Arc<Seat>>;

/// Who waits for a key.
#[derive(Debug)]
struct Row {
    hash: u64,
    /// The ring that last came by, so that a key that many events have is looked up once.
    rung: u64,
    seats: Seats,
}

/// Where one subscription waits. Its lock is taken after the board's, never before.
#[derive(Debug, Default)]
struct Seat {
    waker: Mutex<Option<Waker>>,
    /// All events below this position were looked at.
    reached: Count,
}

/// A seat at the bell; dropping it leaves.
pub(crate) struct Place {
    bell: Arc<Bell>,
    seat: Arc<Seat>,
    number: u64,
    interest: Interest,
}

/// The keys of the events that a ring is about.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    hashes: Vec<u64>,
    /// Whether they were collected. Otherwise a ring concerns everybody.
    collected: bool,
}

impl Keys {
    /// None yet. Where nobody waits for keys, none are collected.
    pub(crate) fn heard_by(bell: &Bell) -> Self {
        Self { hashes: Vec::new(), collected: bell.keyed.load(Ordering::Relaxed) > 0 }
    }

    /// Adds the hash of a key.
    pub(crate) fn add(&mut self, hash: u64) {
        if self.collected {
            self.hashes.push(hash);
        }
    }

    fn collected(&self) -> Option<&[u64]> {
        self.collected.then_some(&self.hashes)
    }
}

/// Wakes all of them. A waker is the caller's code; its panic is not the log's (F04).
pub(crate) fn wake(wakers: impl IntoIterator<Item = Waker>) {
    for waker in wakers {
        let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
    }
}

impl Bell {
    pub(crate) fn new(home: &Home) -> Self {
        Self { home: home.clone(), ..Self::default() }
    }

    /// Takes a seat, which is not armed.
    pub(crate) fn take_place(self: &Arc<Self>, interest: Interest) -> Place {
        let seat = Arc::new(Seat::default());
        let mut board = self.board();
        board.count += 1;
        let number = board.count;
        match &interest {
            Interest::Everything => _ = board.everything.insert(number, Arc::clone(&seat)),
            Interest::Keys(hashes) => {
                self.keyed.fetch_add(1, Ordering::Relaxed);
                for hash in hashes {
                    board.row(*hash).seats.insert(number, Arc::clone(&seat));
                }
            }
        }
        drop(board);
        self.roll().insert(number, Arc::clone(&seat));
        Place { bell: Arc::clone(self), seat, number, interest }
    }

    /// Tells of events that have just become visible: wakes who waits for one of their keys, and
    /// who waits for everything. Keys that were not collected concern everybody.
    pub(crate) fn ring(&self, keys: &Keys) {
        let mut wakers = Vec::new();
        self.call(keys, &mut wakers);
        wake(wakers);
    }

    /// The same, but leaves the waking to the caller, who owes it to each of `wakers`.
    pub(crate) fn call(&self, keys: &Keys, wakers: &mut Vec<Waker>) {
        if self.is_anybody_armed() {
            self.board().take_wakers(keys.collected(), &self.armed, wakers);
        }
    }

    /// Tells that nothing more will become visible, and wakes everybody.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        if self.is_anybody_armed() {
            let mut wakers = Vec::new();
            self.board().take_wakers(None, &self.armed, &mut wakers);
            wake(wakers);
        }
    }

    /// Whether nothing more will become visible. Whoever finds it so sees everything that ever
    /// will be.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn is_anybody_armed(&self) -> bool {
        // The ringer has advanced a mark and looks for wakers; who waits has left a waker and looks
        // at the mark ([`Place::arm`]). Each stores one thing and loads the other, and with only
        // release and acquire both loads may find the old value: nobody would be woken. With a
        // sequentially consistent fence between store and load on both sides at least one finds
        // the new value (Dekker).
        fence(Ordering::SeqCst);
        self.armed.load(Ordering::Relaxed) > 0
    }

    /// Who waits, and how far those have come who do not.
    pub(crate) fn subscribers(&self, visible: Position) -> SubscriberStats {
        let seats: Vec<_> = self.roll().values().map(Arc::clone).collect();
        let mut stats = SubscriberStats { count: seats.len() as u64, ..SubscriberStats::default() };
        for seat in seats {
            let reached = seat.reached.load(Ordering::Relaxed);
            // Who holds a waker has looked at all that concerns it.
            let lag = visible.get().saturating_sub(reached);
            if lag > 0 && seat.waker().is_none() {
                stats.behind += 1;
                stats.lag_max = stats.lag_max.max(lag);
            }
        }
        stats
    }

    /// How many seats hold a waker.
    #[cfg(test)]
    pub(crate) fn armed(&self) -> usize {
        self.armed.load(Ordering::SeqCst)
    }

    fn roll(&self) -> RollGuard<'_, Seats> {
        self.roll.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    /// Takes the wakers of those who are concerned: everybody where no keys are named.
    fn take_wakers(&mut self, keys: Option<&[u64]>, armed: &AtomicUsize, wakers: &mut Vec<Waker>) {
        self.count += 1;
        let rung = self.count;
        let mut take = |seats: &Seats| {
            wakers.extend(seats.values().filter_map(|seat| seat.take(armed)));
        };
        take(&self.everything);
        let Some(keys) = keys else {
            return self.rows.iter().for_each(|row| take(&row.seats));
        };
        for hash in keys {
            if let Some(row) = self.rows.find_mut(*hash, |row| row.hash == *hash)
                && row.rung != rung
            {
                row.rung = rung;
                take(&row.seats);
            }
        }
    }

    fn row(&mut self, hash: u64) -> &mut Row {
        let entry = self.rows.entry(hash, |row| row.hash == hash, |row| row.hash);
        entry.or_insert_with(|| Row { hash, rung: 0, seats: Seats::new() }).into_mut()
    }

    fn leave(&mut self, number: u64, interest: &Interest) {
        match interest {
            Interest::Everything => _ = self.everything.remove(&number),
            Interest::Keys(hashes) => {
                for hash in hashes {
                    let entry = self.rows.entry(*hash, |row| row.hash == *hash, |row| row.hash);
                    if let Entry::Occupied(mut row) = entry {
                        row.get_mut().seats.remove(&number);
                        if row.get().seats.is_empty() {
                            row.remove();
                        }
                    }
                }
            }
        }
    }
}

impl Seat {
    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, armed: &AtomicUsize) -> Option<Waker> {
        let mut place = self.waker();
        let waker = place.take()?;
        // Under the lock, as it is raised, so that the count is that of the wakers.
        armed.fetch_sub(1, Ordering::Relaxed);
        Some(waker)
    }
}

impl Place {
    /// All events below this position were looked at.
    pub(crate) fn reached(&self, position: Position) {
        self.seat.reached.store(position.get(), Ordering::Relaxed);
    }

    /// Leaves a waker for the next ring that concerns this seat. What is looked at afterwards shows
    /// everything of which no such ring will tell.
    pub(crate) fn arm(&self, waker: &Waker) {
        let same = self.seat.waker().as_ref().is_some_and(|old| old.will_wake(waker));
        if !same {
            let waker = waker.clone();
            let mut place = self.seat.waker();
            let old = place.replace(waker);
            if old.is_none() {
                self.bell.armed.fetch_add(1, Ordering::Relaxed);
            }
            // Dropping a waker is the caller's code too, and runs outside the lock.
            drop(place);
            drop(old);
        }
        // The other side is in `is_anybody_armed`. A ring that took the board's lock before this
        // seat was armed passed it by, and had advanced the mark before: the lock of the seat
        // shows that here.
        fence(Ordering::SeqCst);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The locks of a forked process may be held by threads that it does not have (F62).
        if !self.bell.home.is_here() {
            return;
        }
        self.bell.board().leave(self.number, &self.interest);
        self.bell.roll().remove(&self.number);
        if matches!(self.interest, Interest::Keys(_)) {
            self.bell.keyed.fetch_sub(1, Ordering::Relaxed);
        }
        drop(self.seat.take(&self.bell.armed));
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Place").field(&self.interest).finish()
    }
}
