//! Owns the writer's step: gather what waits into one group, decide versions, frame, write once,
//! flush, publish.
//!
//! Promises: an append is in the log whole or not at all; what is published as durable was synced
//! (R2); the first failure is final (R1). On its path it formats nothing, logs nothing, allocates
//! nothing per event, and makes no call of the operating system but one write per group and one
//! sync per flush, besides hand-overs. Assumes that it alone writes.

mod batching;
mod decide;
pub(crate) mod draft;
mod flush;
mod group;
mod heads;
mod numbering;
mod overlay;
mod repeat;
mod space;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::append::Stored;
use crate::chunk::ChunkFile;
use crate::chunk::scan::Cursor;
use crate::chunk::supply::{Need, Supply};
use crate::clock::Clock;
use crate::error::{AppendError, Error, Result};
use crate::format::checksum::{ChunkSalt, LogSalt};
use crate::format::header::ChunkHeader;
use crate::format::{CHUNK_HEADER_SIZE, GROUP_HEADER_SIZE};
use crate::index::segments::Segments;
use crate::options::{Durability, Options};
use crate::stage::ack::{Outcome, Promise};
use crate::stage::lounge::Lounge;
use crate::stage::meter::{DiskMeter, StageMeter, moment};
use crate::stage::path::Stamps;
use crate::stage::pending::{Answer, GroupPlace, PendingGroup};
use crate::stage::queue::{Queue, Taken};
use crate::stage::stats::DiskWork;
use crate::stage::{Failure, Step};
use crate::watermark::Watermarks;
use batching::{Batching, Hold};
use decide::{Ground, NextVersions, Verdict};
use draft::Draft;
use group::Group;
use heads::Heads;
use numbering::Numbering;
use overlay::Overlay;

/// A group with so many answers is written, whether or not it has grown: rejections take no room.
const ANSWERS_MAX: usize = 64 << 10;
/// From this length on, checking a group takes longer than to wake the chaser for it, so it is
/// checked while it is synced.
const CHECKED_AHEAD_MIN: u64 = 4 << 10;

/// An append and the promise to answer it.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) draft: Draft,
    pub(crate) promise: Promise,
}

/// What the writer shares with the rest of the log.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) appends: Arc<Queue<Submission>>,
    pub(crate) lounge: Arc<Lounge>,
    pub(crate) groups: Arc<Queue<PendingGroup>>,
    pub(crate) supply: Arc<Supply>,
    pub(crate) segments: Arc<Segments>,
    pub(crate) marks: Arc<Watermarks>,
    pub(crate) failure: Arc<Failure>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) meter: Arc<StageMeter>,
    pub(crate) disk: Arc<DiskMeter>,
}

/// The writer.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Shared,
    options: Options,
    salt: LogSalt,
    /// The chunk being written: its file, its salt, and its header as long as that is not written.
    file: Arc<ChunkFile>,
    chunk_salt: ChunkSalt,
    unwritten_header: Option<ChunkHeader>,
    /// Whether nothing of the chunk is known to be durable.
    chunk_begins: bool,
    /// Where bytes of a group may stand that found no space, at or behind the cursor.
    torn: Option<Range<u64>>,
    log: uuid::Uuid,
    cursor: Cursor,
    /// How far the log is synced, which is what groups state as durable.
    synced: crate::position::Position,
    heads: Heads,
    overlay: Overlay,
    waiting: Taken<Submission>,
    group: Group,
    /// When the group was where.
    stamps: Stamps,
    /// Since when the writer waits for room.
    lacks_room: Option<Duration>,
    /// When the oldest append that is not flushed was gathered.
    oldest: Option<Duration>,
    unflushed_groups: u32,
    unflushed_answers: usize,
    /// Answers handed over and not yet told of as due.
    answers: usize,
    /// Appends handled and not yet taken off the flushable counter.
    handled: usize,
    /// The prepared mark at which the keeper was last asked to go on.
    asked_at: u64,
    batching: Batching,
    /// Why the gathered group is not flushed yet.
    hold: Option<Hold>,
}

/// Why gathering stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gathered {
    /// Nothing waits.
    All,
    /// The group has its size, or the next append does not fit behind it.
    Full,
    /// The next append does not fit where the group would begin.
    NoRoom(Need),
}

impl Writer {
    /// A writer that goes on at `cursor` of the active chunk, whose header is `header`.
    pub(crate) fn new(
        shared: Shared,
        options: Options,
        header: &ChunkHeader,
        file: Arc<ChunkFile>,
        cursor: Cursor,
    ) -> Self {
        let salt = LogSalt::new(header.log);
        file.advance_written(cursor.offset);
        Self {
            shared,
            options,
            salt,
            file,
            chunk_salt: salt.chunk(header.number),
            unwritten_header: None,
            chunk_begins: false,
            torn: None,
            log: header.log,
            cursor,
            synced: cursor.position,
            heads: Heads::default(),
            overlay: Overlay::default(),
            waiting: Taken::default(),
            group: Group::default(),
            stamps: Stamps::default(),
            lacks_room: None,
            oldest: None,
            unflushed_groups: 0,
            unflushed_answers: 0,
            answers: 0,
            handled: 0,
            asked_at: 0,
            batching: Batching::default(),
            hold: None,
        }
    }

    /// Does the next piece of work.
    pub(crate) fn step(&mut self) -> Step {
        if let Some(error) = self.shared.failure.get().cloned() {
            return self.fail(&error);
        }
        let gathered = self.gather();
        self.settle_handled();
        if !matches!(gathered, Gathered::NoRoom(_)) {
            self.end_room_wait();
        }
        match self.proceed(gathered) {
            Ok(step) => step,
            Err(error) => {
                let step = self.fail(&error);
                // Who sees it counted sees what it was.
                self.shared.meter.errors.add(1);
                step
            }
        }
    }

    /// Answers that were handed to the chaser and became due since the last call.
    pub(crate) fn take_due(&mut self) -> usize {
        if self.oldest.is_some() { 0 } else { std::mem::take(&mut self.answers) }
    }

    fn gather(&mut self) -> Gathered {
        loop {
            while let Some(next) = self.waiting.front() {
                let length = next.draft.encoded.len() as u64;
                if self.group.events > 0
                    && self.group.length() as u64 + length > self.options.group_size as u64
                {
                    return Gathered::Full;
                }
                if self.group.answers.len() >= ANSWERS_MAX {
                    return Gathered::Full;
                }
                if let Some(need) = self.lacking(length) {
                    let full = self.group.events > 0;
                    return if full { Gathered::Full } else { Gathered::NoRoom(need) };
                }
                if let Some((submission, since)) = self.waiting.pop_dated() {
                    self.handle(submission, since);
                }
            }
            self.settle_handled();
            if self.shared.appends.is_handled() || !self.shared.appends.take(&mut self.waiting) {
                return Gathered::All;
            }
        }
    }

    /// Lowers the flushable counter by what was handled, at once: each change of it takes the
    /// counter from the core of a client.
    fn settle_handled(&mut self) {
        if self.handled > 0 {
            self.shared.appends.handled(std::mem::take(&mut self.handled));
        }
    }

    /// What must be made ready before `length` more bytes can be written behind the group.
    fn lacking(&self, length: u64) -> Option<Need> {
        let end = self.cursor.offset + self.group_length() + length;
        if end > self.file.capacity {
            Some(Need::Next(CHUNK_HEADER_SIZE + GROUP_HEADER_SIZE + length))
        } else {
            (end > self.file.prepared()).then_some(Need::Active(end))
        }
    }

    fn group_length(&self) -> u64 {
        if self.group.events == 0 { GROUP_HEADER_SIZE } else { self.group.length() as u64 }
    }

    /// Decides an append: its events join the group, or its rejection does.
    fn handle(&mut self, submission: Submission, since: Duration) {
        let Submission { draft, promise } = submission;
        self.begin();
        self.batching.arrived(since);
        let outcome = self.decide(draft);
        self.group.answers.push(Answer { promise, since, outcome });
        self.shared.meter.items.add(1);
        self.handled += 1;
    }

    fn decide(&mut self, draft: Draft) -> Outcome {
        let mut ground = Ground {
            heads: &mut self.heads,
            overlay: &mut self.overlay,
            segments: &self.shared.segments,
            end: self.cursor.position.plus(self.group.events.into()),
            time: self.group.time,
            horizon: self.options.operation_horizon,
        };
        match ground.decide(&draft)? {
            Verdict::Store(next) => Ok(self.store(draft, next)),
            Verdict::Answer(stored) => Ok(stored),
        }
    }

    /// Lets the events of an append join the group and so the log.
    fn store(&mut self, draft: Draft, next: NextVersions) -> Stored {
        let Draft { mut encoded, terms } = draft;
        let first = self.cursor.position.plus(self.group.events.into());
        let mut numbering = Numbering::new(next, terms);
        let version = |event| numbering.number(event);
        let events = self.group.add(&mut encoded, self.chunk_salt, first, version);
        numbering.note(&mut self.heads);
        self.overlay.push(first, events, self.chunk_salt, encoded);
        Stored {
            first_position: first,
            last_position: first.plus(u64::from(events) - 1),
            events,
            version: numbering.last(),
            time: self.group.time,
            repeated: false,
            versions: numbering.versions(),
        }
    }

    /// Begins a group, unless one is begun.
    fn begin(&mut self) {
        if !self.group.is_empty() {
            return;
        }
        self.stamps.taken = self.waiting.at();
        self.stamps.begun = moment(&*self.shared.clock);
        let visible = self.shared.marks.visible();
        self.overlay.trim(visible);
        self.heads.trim(visible, self.cursor.position);
        // Record times never run backwards (F65).
        let time = self.shared.clock.wall().max(self.cursor.time);
        let header = &self.unwritten_header;
        self.group.begin(time, |buffer| {
            if let Some(header) = header {
                header.encode(buffer);
            }
        });
        self.oldest.get_or_insert_with(|| self.shared.clock.monotonic());
    }

    /// Writes and flushes as far as the gathered group and the flush policy say.
    fn proceed(&mut self, gathered: Gathered) -> Result<Step> {
        // Decided before the write: what arrives during it is the start of the next group, not a
        // reason to hold this one back.
        let reason = self.flush_reason(gathered);
        let worked = !self.group.is_empty();
        if worked {
            if gathered == Gathered::All && reason.is_none() {
                // All that has arrived is gathered, and more is about to arrive.
                return Ok(self.await_flush());
            }
            self.write()?;
        }
        if let Some(reason) = reason {
            self.flush(reason)?;
            return Ok(Step::Worked);
        }
        match gathered {
            Gathered::NoRoom(need) => self.make_room(need),
            _ if worked => Ok(Step::Worked),
            _ => Ok(self.await_flush()),
        }
    }

    /// Writes the group, if it holds events, and hands it to the chaser. A group that finds no
    /// space is one of answers alone.
    fn write(&mut self) -> Result<()> {
        // Who comes from now on is answered by a later flush than who is in the group.
        self.shared.lounge.turn();
        let bytes = if self.group.events > 0 { self.write_group()? } else { None };
        if bytes.is_none() {
            self.stamps.framed = moment(&*self.shared.clock);
            self.stamps.written = self.stamps.framed;
        }
        let stamps = self.stamps;
        self.shared.meter.service.record(stamps.framed.saturating_sub(stamps.begun));
        let answers = Vec::with_capacity(self.group.answers.len());
        let answers = std::mem::replace(&mut self.group.answers, answers);
        self.answers += answers.len();
        self.unflushed_answers += answers.len();
        self.unflushed_groups += 1;
        let checked_ahead =
            |place: &GroupPlace| place.begins.is_none() && place.length >= CHECKED_AHEAD_MIN;
        let is_checked_ahead = self.options.durability == Durability::Sync
            && bytes.as_ref().is_some_and(checked_ahead);
        let pending = PendingGroup { bytes, rests_on: self.cursor.position, answers, stamps };
        // The queue holds more groups than stay unflushed, so the chaser makes room whatever
        // happens.
        let pushed = self.shared.groups.push_quietly(pending, 0, Duration::MAX);
        if is_checked_ahead {
            self.shared.groups.nudge();
        }
        pushed.map_err(|_| Error::new(crate::error::ErrorKind::Stopped, "the chaser has stopped"))
    }

    /// Writes the group. `None` when there is no space for it, and nothing of it is in the log.
    fn write_group(&mut self) -> Result<Option<GroupPlace>> {
        if !self.clear_torn()? {
            self.take_back();
            return Ok(None);
        }
        let length = self.group.length() as u64;
        let Cursor { offset, chain, position, .. } = self.cursor;
        let durable = self.synced;
        let time = self.group.time;
        let events = self.group.events;
        let (bytes, at, chain) =
            self.group.close(self.chunk_salt, (offset, chain), (position, durable));
        let Shared { clock, disk, .. } = &self.shared;
        let write = || self.file.write(bytes, at);
        let (written, framed, end) = disk.timed(DiskWork::Write, &**clock, write);
        (self.stamps.framed, self.stamps.written) = (framed, end);
        let length_written = bytes.len() as u64;
        if let Err(error) = written
            && !self.stands_all_the_same(at, error)?
        {
            self.torn = Some(at..at + length_written);
            self.take_back();
            return Ok(None);
        }
        let meter = &self.shared.disk;
        meter.groups.add(1);
        meter.events.add(events.into());
        meter.bytes.add(length_written);
        self.group.events = 0;
        self.cursor =
            Cursor { offset: offset + length, chain, position: position.plus(events.into()), time };
        self.file.advance_written(self.cursor.offset);
        self.shared.marks.advance_written(self.cursor.position);
        self.ask_for_more();
        let begins = self.unwritten_header.take().map(|header| (header, Arc::clone(&self.file)));
        Ok(Some(GroupPlace { begins, offset, length }))
    }

    /// Wakes the keeper when half of the room ahead is used, once per piece that it prepares.
    fn ask_for_more(&mut self) {
        let prepared = self.file.prepared();
        let left = prepared.saturating_sub(self.cursor.offset);
        if left < self.options.prepare_ahead / 2 && self.asked_at != prepared {
            self.asked_at = prepared;
            self.shared.supply.kick();
        }
    }

    fn failed(&self, doing: &str, error: std::io::Error) -> Error {
        Error::from_io(&format!("{doing} {}", crate::chunk::file_name(self.file.number)), error)
    }

    /// Records the failure, and answers everybody who waits for the writer that the log has failed.
    fn fail(&mut self, error: &Error) -> Step {
        self.shared.failure.record(error.clone());
        self.end_room_wait();
        for answer in self.group.answers.drain(..) {
            answer.promise.answer(Err(AppendError::Failed(error.clone())));
        }
        self.group.events = 0;
        self.oldest = None;
        self.shared.groups.nudge();
        self.refuse_all(&AppendError::Failed(error.clone()))
    }
}
