//! Owns what the writer does about space: the roll to the next chunk, the answer that there is no
//! room, and the way back from a group that found no space while it was written.
//!
//! Promises: an append that is answered `Full` is not in the log and never gets there, also by a
//! loss of power; what was noted for it is forgotten, and a later append takes its place and its
//! numbers (F23). Never goes back from a failed sync (R1).

use std::io;
use std::sync::Arc;

use super::Writer;
use crate::chunk::ChunkFile;
use crate::chunk::supply::Need;
use crate::disk;
use crate::error::{AppendError, Result};
use crate::format::CHUNK_HEADER_SIZE;
use crate::format::header::ChunkHeader;
use crate::stage::lounge::Rooms;
use crate::stage::meter::moment;
use crate::stage::stats::DiskWork;
use crate::stage::{Step, bell};

impl Writer {
    /// Rolls to the next chunk, or waits for room, or answers that there is none.
    pub(super) fn make_room(&mut self, need: Need) -> Result<Step> {
        if let Need::Next(room) = need {
            // Nothing but zeros may stand behind the groups of a chunk that is left.
            if !self.clear_torn()? {
                return Ok(self.refuse_all(&AppendError::Full));
            }
            // The next chunk's header will state that this one is durable as a whole.
            self.sync()?;
            if let Some(next) = self.shared.supply.take_next(room) {
                self.roll(next);
                return Ok(Step::Worked);
            }
        }
        if !self.shared.supply.need(need) {
            self.begin_room_wait();
            return Ok(Step::Blocked);
        }
        // The keeper records a failure before it gives up on room.
        let failed = self.shared.failure.get().cloned();
        failed.map_or_else(|| Ok(self.refuse_all(&AppendError::Full)), Err)
    }

    fn begin_room_wait(&mut self) {
        let clock = &self.shared.clock;
        let since = *self.lacks_room.get_or_insert_with(|| moment(&**clock));
        self.shared.disk.begin(DiskWork::Room, since);
    }

    /// The writer goes on, whether it has got room or not.
    pub(super) fn end_room_wait(&mut self) {
        if let Some(since) = self.lacks_room.take() {
            let waited = moment(&*self.shared.clock).saturating_sub(since);
            self.shared.disk.end(DiskWork::Room, waited);
        }
    }

    fn roll(&mut self, next: Arc<ChunkFile>) {
        self.unwritten_header = Some(ChunkHeader {
            log: self.log,
            number: next.number,
            first_position: self.cursor.position,
            capacity: next.capacity,
            previous: self.cursor.end(),
            created: self.shared.clock.wall().max(self.cursor.time),
        });
        self.chunk_salt = self.salt.chunk(next.number);
        self.chunk_begins = true;
        self.cursor.offset = CHUNK_HEADER_SIZE;
        self.file = next;
    }

    pub(super) fn refuse_all(&mut self, error: &AppendError) -> Step {
        if self.waiting.is_empty() {
            self.shared.appends.take(&mut self.waiting);
        }
        let step = if self.waiting.is_empty() { Step::Idle } else { Step::Worked };
        // Who comes from now on sleeps elsewhere, and is not woken in vain.
        self.shared.lounge.turn();
        let (mut rooms, mut tasks) = (Rooms::default(), Vec::new());
        while let Some(submission) = self.waiting.pop() {
            rooms = rooms.and(submission.promise.give(Err(error.clone()), &mut tasks));
            self.shared.disk.refused.add(1);
            self.handled += 1;
        }
        self.shared.lounge.wake(rooms);
        bell::wake(tasks);
        self.settle_handled();
        step
    }

    /// Whether the group whose write at `at` found no space stands there all the same. Any other
    /// error of a write is final.
    ///
    /// A write that finds no space has written a part. When nothing is missing but zeros, which
    /// stood there before, the group is whole: a crash could leave it in the log, so it is not
    /// taken back. Otherwise a byte is missing that no write has brought there, and no crash can.
    pub(super) fn stands_all_the_same(&self, at: u64, error: io::Error) -> Result<bool> {
        if !disk::is_full(&error) {
            return Err(self.failed("write", error));
        }
        self.shared.meter.errors.add(1);
        let written = self.group.bytes();
        let mut found = vec![0; written.len()];
        self.file.read(&mut found, at).map_err(|error| self.failed("read", error))?;
        Ok(found == written)
    }

    /// Makes the group one of answers alone, all of which tell that the disk is full, and forgets
    /// what was noted for its events. Answers that rest on older events alone tell the same: what
    /// they would tell may be asked for again.
    pub(super) fn take_back(&mut self) {
        self.group.events = 0;
        for answer in &mut self.group.answers {
            answer.outcome = Err(AppendError::Full);
        }
        self.overlay.take_back(self.cursor.position);
        self.heads.clear();
        self.overlay.note_heads(&mut self.heads);
    }

    /// Durably overwrites with zeros what is left of a group that found no space. Returns whether
    /// nothing is left; otherwise there is still no space.
    ///
    /// Durably, before anything else is written there: sectors of two groups must never meet.
    pub(super) fn clear_torn(&mut self) -> Result<bool> {
        let Some(torn) = &self.torn else { return Ok(true) };
        let zeros = vec![0; (torn.end - torn.start) as usize];
        if let Err(error) = self.file.write(&zeros, torn.start) {
            let full = disk::is_full(&error);
            return if full { Ok(false) } else { Err(self.failed("clear", error)) };
        }
        self.sync_file()?;
        self.torn = None;
        Ok(true)
    }
}
