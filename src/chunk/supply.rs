//! Owns the hand-over between the threads that fill chunks and the keeper that prepares and seals
//! them.
//!
//! Promises: the writer finds room ready, or learns at once that it must wait or that the disk is
//! full. One lock, held for moments, taken once per flush. Never does IO.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::ChunkFile;
use crate::format::header::ChainEnd;
use crate::position::{ChunkNumber, Position};
use crate::sync::{Condvar, Mutex, MutexGuard};

/// How far the log is durable, and where that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DurablePlace {
    pub(crate) position: Position,
    pub(crate) chunk: ChunkNumber,
    pub(crate) end: ChainEnd,
}

/// Room that the writer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// In the active chunk, prepared through this offset.
    Active(u64),
    /// A next chunk, prepared through this offset.
    Next(u64),
}

/// What the keeper finds when it looks.
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    pub(crate) active: Arc<ChunkFile>,
    pub(crate) next: Option<Arc<ChunkFile>>,
    /// What the writer waits for.
    pub(crate) need: Option<Need>,
    pub(crate) place: DurablePlace,
}

#[derive(Debug)]
struct State {
    active: Arc<ChunkFile>,
    next: Option<Arc<ChunkFile>>,
    need: Option<Need>,
    full: bool,
    kicked: bool,
    stopped: bool,
    torn: bool,
    seals: VecDeque<ChunkNumber>,
    place: DurablePlace,
    waits: u64,
}

/// Chunks on their way between keeper, writer and chaser.
#[derive(Debug)]
pub(crate) struct Supply {
    state: Mutex<State>,
    for_keeper: Condvar,
    for_writer: Condvar,
}

impl Supply {
    pub(crate) fn new(
        active: Arc<ChunkFile>,
        next: Option<Arc<ChunkFile>>,
        place: DurablePlace,
    ) -> Self {
        let state = State {
            active,
            next,
            need: None,
            full: false,
            kicked: false,
            stopped: false,
            torn: false,
            seals: VecDeque::new(),
            place,
            waits: 0,
        };
        Self { state: Mutex::new(state), for_keeper: Condvar::new(), for_writer: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer takes the next chunk when it is prepared through the offset `room`, and it
    /// becomes the active one.
    pub(crate) fn take_next(&self, room: u64) -> Option<Arc<ChunkFile>> {
        let mut state = self.state();
        let next = state.next.take_if(|next| next.prepared() >= room)?;
        assert_eq!(next.number, state.active.number.next(), "chunks follow each other");
        state.active = Arc::clone(&next);
        state.need = None;
        // A disk that is full still says so again at the next try.
        state.full = false;
        Some(next)
    }

    /// The writer needs more room than is prepared. Returns whether the disk is full.
    pub(crate) fn need(&self, need: Need) -> bool {
        let mut state = self.state();
        // The keeper may have come so far since the writer looked.
        let ready = match need {
            Need::Active(through) => state.active.prepared() >= through,
            Need::Next(room) => state.next.as_ref().is_some_and(|next| next.prepared() >= room),
        };
        if ready {
            state.need = None;
            return false;
        }
        if state.need.is_none() {
            state.waits += 1;
        }
        state.need = Some(need);
        self.kick_locked(&mut state);
        state.full
    }

    /// Waits until the keeper has come further, at most `timeout`.
    pub(crate) fn wait_for_room(&self, timeout: Duration) {
        let state = self.state();
        if state.need.is_some() && !state.full && !state.stopped {
            drop(self.for_writer.wait_timeout(state, timeout));
        }
    }

    /// How often the writer had to wait for room, and how many bytes lie ready ahead of it.
    pub(crate) fn room(&self) -> (u64, u64) {
        let state = self.state();
        let active = state.active.prepared().saturating_sub(state.active.written());
        let next = state.next.as_ref().map_or(0, |next| next.prepared());
        (state.waits, active + next)
    }

    /// The writer tells how far the log is durable.
    pub(crate) fn note_durable(&self, place: DurablePlace) {
        self.state().place = place;
    }

    /// The writer ends, and leaves bytes of a group that found no space.
    pub(crate) fn leave_torn(&self) {
        self.state().torn = true;
    }

    /// Whether the writer has left bytes of a group that found no space.
    pub(crate) fn is_torn(&self) -> bool {
        self.state().torn
    }

    /// A full chunk, all indexed, is to be sealed.
    pub(crate) fn request_seal(&self, number: ChunkNumber) {
        let mut state = self.state();
        state.seals.push_back(number);
        self.kick_locked(&mut state);
    }

    /// Makes the keeper look soon.
    pub(crate) fn kick(&self) {
        self.kick_locked(&mut self.state());
    }

    fn kick_locked(&self, state: &mut State) {
        state.kicked = true;
        self.for_keeper.notify_one();
    }

    /// The keeper reads its orders.
    pub(crate) fn orders(&self) -> Orders {
        let state = self.state();
        Orders {
            active: Arc::clone(&state.active),
            next: state.next.clone(),
            need: state.need,
            place: state.place,
        }
    }

    /// The keeper takes the next chunk to seal.
    pub(crate) fn next_seal(&self) -> Option<ChunkNumber> {
        self.state().seals.pop_front()
    }

    /// The keeper has made progress in preparing: there is more room, and maybe a next chunk.
    pub(crate) fn prepared(&self, next: Option<Arc<ChunkFile>>) {
        let mut state = self.state();
        // The writer may have taken this very chunk while it was prepared further.
        if let Some(next) = next
            && next.number == state.active.number.next()
        {
            state.next = Some(next);
        }
        state.need = None;
        state.full = false;
        self.for_writer.notify_all();
    }

    /// The keeper could not prepare because the disk is full.
    pub(crate) fn disk_full(&self) {
        self.state().full = true;
        self.for_writer.notify_all();
    }

    /// Whether the last try to prepare found the disk full.
    #[cfg(feature = "tracing")]
    pub(crate) fn is_full(&self) -> bool {
        self.state().full
    }

    /// Waits for a kick, at most `timeout`.
    pub(crate) fn wait_for_kick(&self, timeout: Duration) {
        let mut state = self.state();
        if !state.kicked && !state.stopped {
            let waited = self.for_keeper.wait_timeout(state, timeout);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.kicked = false;
    }

    /// Nobody waits any longer.
    pub(crate) fn stop(&self) {
        self.state().stopped = true;
        self.for_keeper.notify_all();
        self.for_writer.notify_all();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.state().stopped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::sim::SimDisk;

    fn file(disk: &SimDisk, number: u64) -> Arc<ChunkFile> {
        Arc::new(ChunkFile::create(disk, ChunkNumber::new(number), 1 << 20).unwrap())
    }

    fn supply(disk: &SimDisk) -> Supply {
        let place = DurablePlace {
            position: Position::START,
            chunk: ChunkNumber::FIRST,
            end: ChainEnd::default(),
        };
        Supply::new(file(disk, 0), None, place)
    }

    #[test]
    fn a_chunk_is_taken_once_even_when_it_is_prepared_further_meanwhile() {
        let disk = SimDisk::new();
        let supply = supply(&disk);
        let next = file(&disk, 1);
        next.prepare(64 << 10).unwrap();
        supply.prepared(Some(Arc::clone(&next)));
        assert!(supply.take_next(128 << 10).is_none(), "not prepared so far");
        assert!(supply.take_next(64 << 10).is_some());
        supply.prepared(Some(next));
        assert!(supply.take_next(0).is_none());
        assert_eq!(supply.orders().active.number, ChunkNumber::new(1));
    }

    #[test]
    fn the_writer_learns_of_a_full_disk_and_of_its_end() {
        let supply = supply(&SimDisk::new());
        assert!(!supply.need(Need::Active(1)));
        supply.disk_full();
        assert!(supply.need(Need::Active(1)));
        supply.prepared(None);
        assert!(!supply.need(Need::Active(1)));
        assert_eq!(supply.room().0, 2, "a need that goes on is one wait");
    }

    /// The writer has appends to refuse then. Who waits wrongly here waits for ever.
    #[test]
    fn nobody_waits_for_room_that_nobody_makes() {
        let forever = Duration::from_secs(1 << 30);
        let supply = supply(&SimDisk::new());
        supply.wait_for_room(forever);
        supply.need(Need::Active(1));
        supply.disk_full();
        supply.wait_for_room(forever);
    }
}
