//! Owns the chaser's step: follow what has become durable, check it in the mapped chunk, index it,
//! make it visible, release the answers, and ring for who waits for its events.
//!
//! Promises: an answer goes out only after its events were read back, checked and indexed; answers
//! go out in the order of the log; readers see at most what is durable (R3). Bytes that read back
//! wrong fail the log. Never writes files.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use crate::chunk::Chunk;
use crate::chunk::scan::{self, Cursor, ScannedEvent};
use crate::chunk::supply::{DurablePlace, Supply};
use crate::clock::Clock;
use crate::error::{Damage, Error, ErrorKind, Result};
use crate::index::ChunkIndex;
use crate::index::segments::{Segment, Segments};
use crate::stage::bell::{self, Bell, Keys};
use crate::stage::lounge::{Lounge, Rooms};
use crate::stage::meter::{DiskMeter, StageMeter, moment};
use crate::stage::page::StatsPage;
use crate::stage::path::PathMeter;
use crate::stage::pending::{GroupPlace, PendingGroup};
use crate::stage::queue::{Queue, Taken};
use crate::stage::{Failure, Step};
use crate::watermark::Watermarks;

/// What the chaser shares with the rest of the log.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) groups: Arc<Queue<PendingGroup>>,
    pub(crate) supply: Arc<Supply>,
    pub(crate) segments: Arc<Segments>,
    pub(crate) marks: Arc<Watermarks>,
    pub(crate) bell: Arc<Bell>,
    pub(crate) lounge: Arc<Lounge>,
    pub(crate) page: Arc<StatsPage>,
    pub(crate) failure: Arc<Failure>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) meter: Arc<StageMeter>,
    pub(crate) path: Arc<PathMeter>,
    pub(crate) disk: Arc<DiskMeter>,
}

/// The chaser.
#[derive(Debug)]
pub(crate) struct Chaser {
    shared: Shared,
    taken: Taken<PendingGroup>,
    segment: Arc<Segment>,
    cursor: Cursor,
    /// Of the events of the group that is being followed.
    keys: Keys,
    /// Tasks whose appends are answered, until all answers of their group are given.
    tasks: Vec<Waker>,
    /// Who is to be woken for what became visible.
    called: Vec<Waker>,
}

impl Chaser {
    /// A chaser that has followed the log up to `cursor`.
    pub(crate) fn new(shared: Shared, cursor: Cursor) -> Self {
        let segment = shared.segments.last();
        let (taken, keys) = (Taken::default(), Keys::default());
        let (tasks, called) = (Vec::new(), Vec::new());
        Self { shared, taken, segment, cursor, keys, tasks, called }
    }

    /// Follows the log as far as it is durable, and wakes who waits for what became visible.
    pub(crate) fn step(&mut self) -> Step {
        let step = self.advance();
        bell::wake(self.called.drain(..));
        step
    }

    /// Takes some of those who are to be woken, to be woken without the chaser.
    pub(crate) fn take_called(&mut self, most: usize) -> Vec<Waker> {
        self.called.drain(..most.min(self.called.len())).collect()
    }

    /// Whether somebody is left to be woken.
    pub(crate) fn is_anybody_called(&self) -> bool {
        !self.called.is_empty()
    }

    /// Follows the log as far as it is durable. Those who wait for what became visible are called,
    /// and not woken yet.
    pub(crate) fn advance(&mut self) -> Step {
        let mut step = Step::Idle;
        loop {
            if self.taken.is_empty() && !self.shared.groups.take(&mut self.taken) {
                return step;
            }
            // Asked before the mark is read: a group that was durable when the log failed is still
            // answered.
            let failure = self.shared.failure.get().cloned();
            let durable = self.shared.marks.durable();
            let due = self.taken.front().is_some_and(|group| group.rests_on <= durable);
            if !due && failure.is_none() {
                return step;
            }
            if let Some(group) = self.taken.pop() {
                match failure.filter(|_| !due) {
                    Some(error) => group.fail(&error),
                    None => self.follow(group),
                }
                self.shared.meter.items.add(1);
                step = Step::Worked;
            }
        }
    }

    /// Answers everybody that the log has failed, without following it any further.
    pub(crate) fn abandon(&mut self, error: &Error) {
        loop {
            while let Some(group) = self.taken.pop() {
                group.fail(error);
            }
            if !self.shared.groups.take(&mut self.taken) {
                return;
            }
        }
    }

    fn follow(&mut self, mut group: PendingGroup) {
        let begun = moment(&*self.shared.clock);
        let place = group.bytes.take();
        let grows = place.is_some();
        if let Some(place) = place
            && let Err(error) = self.index(place)
        {
            self.shared.failure.record(error.clone());
            self.shared.meter.errors.add(1);
            group.fail(&error);
            return;
        }
        if self.cursor.position < group.rests_on {
            // An earlier group could not be followed, so nothing behind it can.
            let stopped = Error::new(ErrorKind::Stopped, "an earlier group could not be read back");
            group.fail(self.shared.failure.get().unwrap_or(&stopped));
            return;
        }
        self.show();
        self.release(group, begun);
        if grows {
            self.shared.bell.call(&self.keys, &mut self.called);
        }
    }

    /// Answers the appends of a visible group, of which the chaser began to care at `begun`.
    fn release(&mut self, group: PendingGroup, begun: Duration) {
        let Shared { clock, meter, path, disk, .. } = &self.shared;
        let visible = moment(&**clock);
        meter.service.record(visible.saturating_sub(begun));
        // A group of answers alone may be due before the flush that it was counted for.
        let flushed = disk.flushed_at(group.stamps.flush);
        let durable = flushed.max(group.stamps.written).min(visible);
        let appends = group.answers.iter().map(|answer| answer.since);
        path.record(&group.stamps, (durable, visible), appends);
        let mut rooms = Rooms::default();
        for answer in group.answers {
            let room = answer.promise.release(answer.outcome, visible, &mut self.tasks);
            rooms = rooms.and(room);
        }
        // Threads first: a waker is the caller's code, and may wait for one of them.
        self.shared.lounge.wake(rooms);
        bell::wake(self.tasks.drain(..));
        path.releases.record(moment(&**clock).saturating_sub(visible));
    }

    /// Makes visible what was read back, here and to other processes, before any of it is acked.
    fn show(&self) {
        if self.shared.marks.visible() == self.cursor.position {
            return;
        }
        self.shared.marks.advance_visible(self.cursor.position);
        let (position, end) = (self.cursor.position, self.cursor.end());
        self.shared.page.visible(&DurablePlace {
            position,
            chunk: self.segment.chunk.number(),
            end,
        });
    }

    fn index(&mut self, place: GroupPlace) -> Result<()> {
        if let Some((header, file)) = place.begins {
            let full = self.segment.chunk.number();
            let segment = Segment::new(Chunk::unsealed(header, file), ChunkIndex::empty());
            self.segment = Arc::new(segment);
            self.shared.segments.push(Arc::clone(&self.segment));
            self.shared.supply.request_seal(full);
            self.cursor.offset = place.offset;
        }
        let end = place.offset + place.length;
        self.keys.begin(&self.shared.bell);
        self.cursor = index_group(&self.segment, &self.cursor, end, &mut self.keys)?;
        Ok(())
    }
}

/// Checks the group at the cursor, which ends at or before `end`, and adds its events to the index
/// of its chunk, and their keys to those of which the bell will tell. Returns where the next group
/// stands.
pub(crate) fn index_group(
    segment: &Segment,
    at: &Cursor,
    end: u64,
    keys: &mut Keys,
) -> Result<Cursor> {
    let chunk = &segment.chunk;
    let bytes = chunk.view(at.offset..end)?;
    let number = chunk.number();
    let group =
        scan::check_group(&bytes, chunk.salt, at).map_err(|bad| bad.damage(number, at.offset))?;
    let body = scan::body_of(&bytes, &group.header).unwrap_or(&[]);
    let index = segment.index.memory();
    let index = index.ok_or_else(|| Error::new(ErrorKind::Bug, "the active chunk is sealed"))?;
    let mut index = index.write().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut insert = |event: ScannedEvent<'_>| index.insert_heard(&event, |hash| keys.add(hash));
    scan::visit_events(body, chunk.salt, at, &group.header, &mut insert).map_err(
        |(offset, flaw)| {
            let (what, expected, found) = flaw.describe();
            Damage::new((number, offset), what, expected, found)
        },
    )?;
    Ok(at.after(&group))
}
