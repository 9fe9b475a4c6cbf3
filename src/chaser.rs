//! Owns the chaser's step: follow what is written, read it back, check it, index it; and once it is
//! durable, make it visible, release the answers, and ring for who waits for its events.
//!
//! Promises: an answer goes out only after its events were read back, checked and indexed, and are
//! durable; answers go out in the order of the log; readers see at most what is durable (R3): the
//! index may know more, and whoever asks it names the end that it sees. Bytes that read back wrong
//! fail the log. Never writes files.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

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

/// Room for so many bytes of a group is kept for the next.
const COPY_KEPT_MAX: usize = 4 << 20;

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
    /// Groups of `segment`, in the order of the log.
    checked: VecDeque<Checked>,
    segment: Arc<Segment>,
    /// Behind the last group that was checked.
    cursor: Cursor,
    /// Bytes of the group that is being checked, where it is not durable.
    copy: Vec<u8>,
    /// Whether a group was answered that the log has failed. None behind it is answered otherwise.
    has_lost: bool,
    /// Tasks whose appends are answered, until all answers of their group are given.
    tasks: Vec<Waker>,
    /// Who is to be woken for what became visible.
    called: Vec<Waker>,
}

/// A group whose events, if it has any, were read back, checked and indexed. It waits to be
/// durable.
#[derive(Debug)]
struct Checked {
    group: PendingGroup,
    /// Behind the group.
    end: Cursor,
    /// Those of its events; `None` where it has none.
    keys: Option<Keys>,
}

/// What has become of a group that was written.
#[derive(Debug)]
enum Fate {
    Open,
    Durable,
    /// The log failed before.
    Lost(Error),
}

impl Chaser {
    /// A chaser that has followed the log up to `cursor`.
    pub(crate) fn new(shared: Shared, cursor: Cursor) -> Self {
        let segment = shared.segments.last();
        let (taken, checked) = (Taken::default(), VecDeque::new());
        let (tasks, called) = (Vec::new(), Vec::new());
        let (copy, has_lost) = (Vec::new(), false);
        Self { shared, taken, checked, segment, cursor, copy, has_lost, tasks, called }
    }

    /// Does all that [`Chaser::advance`] does, and wakes who waits for what became visible.
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

    /// Follows the log as far as it is written, and shows it as far as it is durable. Those who
    /// wait for what became visible are called, and not woken yet.
    pub(crate) fn advance(&mut self) -> Step {
        let mut step = Step::Idle;
        // Answers go out before more is checked: somebody waits for them.
        while self.release_next() || self.check_next() {
            step = Step::Worked;
        }
        step
    }

    /// Answers everybody that the log has failed, without following it any further.
    pub(crate) fn abandon(&mut self, error: &Error) {
        self.has_lost = true;
        for checked in self.checked.drain(..) {
            checked.group.fail(error);
        }
        loop {
            while let Some(group) = self.taken.pop() {
                group.fail(error);
            }
            if !self.shared.groups.take(&mut self.taken) {
                return;
            }
        }
    }

    /// Shows and answers the oldest checked group, if its fate is known. Returns whether it is.
    fn release_next(&mut self) -> bool {
        let Some(oldest) = self.checked.front() else { return false };
        let fate = self.fate(&oldest.group);
        if matches!(fate, Fate::Open) {
            return false;
        }
        if let Some(checked) = self.checked.pop_front() {
            match fate {
                Fate::Lost(error) => self.fail(checked.group, &error),
                _ => self.show(checked),
            }
        }
        true
    }

    /// Checks and indexes the next written group. Returns whether there is one that can be.
    fn check_next(&mut self) -> bool {
        if self.taken.is_empty() && !self.shared.groups.take(&mut self.taken) {
            return false;
        }
        let Some(next) = self.taken.front() else { return false };
        let fate = self.fate(next);
        // Before its header is durable nobody knows of a chunk, and the one before stays unsealed.
        let begins = next.bytes.as_ref().is_some_and(|place| place.begins.is_some());
        if begins && (matches!(fate, Fate::Open) || !self.checked.is_empty()) {
            return false;
        }
        // Who is called for what is visible comes before what nobody can be told of yet.
        if matches!(fate, Fate::Open) && self.is_anybody_called() {
            return false;
        }
        if let Some(group) = self.taken.pop() {
            match fate {
                Fate::Lost(error) => self.fail_in_order(group, &error),
                _ => self.check(group),
            }
        }
        true
    }

    fn fate(&self, group: &PendingGroup) -> Fate {
        // Asked before the mark is read: a group that was durable when the log failed is still
        // answered.
        let failure = self.shared.failure.get();
        if group.rests_on <= self.shared.marks.durable() && !self.has_lost {
            return Fate::Durable;
        }
        failure.map_or(Fate::Open, |error| Fate::Lost(error.clone()))
    }

    fn check(&mut self, mut group: PendingGroup) {
        let begun = moment(&*self.shared.clock);
        let keys = match group.bytes.take().map(|place| self.index(place)).transpose() {
            Ok(keys) => keys,
            Err(error) => {
                self.shared.failure.record(error.clone());
                self.shared.meter.errors.add(1);
                return self.fail_in_order(group, &error);
            }
        };
        if self.cursor.position < group.rests_on {
            // After a panic: an earlier group was not followed, so nothing behind it can be.
            let error = Error::new(ErrorKind::Stopped, "an earlier group could not be read back");
            self.shared.failure.record(error.clone());
            return self.fail_in_order(group, &error);
        }
        let took = moment(&*self.shared.clock).saturating_sub(begun);
        self.shared.meter.service.record(took);
        self.checked.push_back(Checked { group, end: self.cursor, keys });
    }

    /// Answers that the log has failed, as is recorded, behind those that were checked before.
    fn fail_in_order(&mut self, group: PendingGroup, error: &Error) {
        while self.release_next() {}
        self.fail(group, error);
    }

    fn fail(&mut self, group: PendingGroup, error: &Error) {
        self.has_lost = true;
        self.shared.meter.items.add(1);
        group.fail(error);
    }

    /// Makes a durable group visible, here and to other processes, before any of it is acked.
    fn show(&mut self, checked: Checked) {
        let Checked { group, end, keys } = checked;
        if keys.is_some() {
            self.shared.marks.advance_visible(end.position);
            let chunk = self.segment.chunk.number();
            let place = DurablePlace { position: end.position, chunk, end: end.end() };
            self.shared.page.visible(&place);
        }
        self.release(group);
        if let Some(keys) = keys {
            self.shared.bell.call(&keys, &mut self.called);
        }
    }

    /// Answers the appends of a visible group.
    fn release(&mut self, group: PendingGroup) {
        let Shared { clock, path, disk, .. } = &self.shared;
        let visible = moment(&**clock);
        // A group of answers alone may be due before the flush that it was counted for.
        let flushed = disk.flushed_at(group.stamps.flush);
        let durable = flushed.max(group.stamps.written).min(visible);
        let appends = group.answers.iter().map(|answer| answer.since);
        path.record(&group.stamps, (durable, visible), appends);
        self.shared.lounge.note_crowd(group.answers.len());
        let mut rooms = Rooms::default();
        for answer in group.answers {
            let room = answer.promise.release(answer.outcome, visible, &mut self.tasks);
            rooms = rooms.and(room);
        }
        // Threads first: a waker is the caller's code, and may wait for one of them.
        self.shared.lounge.wake(rooms);
        bell::wake(self.tasks.drain(..));
        path.releases.record(moment(&**clock).saturating_sub(visible));
        self.shared.meter.items.add(1);
    }

    /// Reads the group back, checks and indexes it. Returns the keys of its events.
    fn index(&mut self, place: GroupPlace) -> Result<Keys> {
        if let Some((header, file)) = place.begins {
            let full = self.segment.chunk.number();
            let segment = Segment::new(Chunk::unsealed(header, file), ChunkIndex::empty());
            self.segment = Arc::new(segment);
            self.shared.segments.push(Arc::clone(&self.segment));
            self.shared.supply.request_seal(full);
            self.cursor.offset = place.offset;
        }
        let (chunk, range) = (&self.segment.chunk, place.offset..place.offset + place.length);
        let settled;
        let bytes = if chunk.copy_unsettled(range.clone(), &mut self.copy)? {
            &self.copy[..]
        } else {
            settled = chunk.view(range)?;
            &settled
        };
        let mut keys = Keys::heard_by(&self.shared.bell);
        self.cursor = index_group(&self.segment, &self.cursor, bytes, &mut keys)?;
        if self.copy.capacity() > COPY_KEPT_MAX {
            self.copy = Vec::new();
        }
        Ok(keys)
    }
}

/// Checks the group at the cursor, with which `bytes` begin, and adds its events to the index of
/// its chunk, and their keys to those of which the bell will tell. Returns where the next group
/// stands.
pub(crate) fn index_group(
    segment: &Segment,
    at: &Cursor,
    bytes: &[u8],
    keys: &mut Keys,
) -> Result<Cursor> {
    let chunk = &segment.chunk;
    let number = chunk.number();
    let group =
        scan::check_group(bytes, chunk.salt, at).map_err(|bad| bad.damage(number, at.offset))?;
    let body = scan::body_of(bytes, &group.header).unwrap_or(&[]);
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
