//! Owns the keeper's step, the control plane: the hint, zeros ahead of the writer, the next chunk,
//! sealing, and, when nothing else is to do, more zeros and the scrub.
//!
//! Promises: the writer finds room ready in steady state; a full chunk gets its index without
//! holding anybody up; the hint follows what is durable. A full disk is told and tried again by
//! itself (R11). Never touches a byte that is settled.

mod pace;
mod scrub;

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::chunk::directory::HINT;
use crate::chunk::supply::{DurablePlace, Need, Orders, Supply};
use crate::chunk::{Body, Chunk, ChunkFile, ZERO_PIECE, file_name, recover};
use crate::clock::Clock;
use crate::disk::{Access, Disk, DiskFile, is_full};
use crate::error::{Damage, Error, Result};
use crate::format::event::{FIXED_SIZE, time_of};
use crate::format::hint::Hint;
use crate::index::ChunkIndex;
use crate::index::segments::{Segment, Segments};
use crate::index::table::{self, SealedPlace, Table};
use crate::options::Options;
use crate::position::ChunkNumber;
use crate::stage::meter::{CutMeter, DiskMeter, ScrubMeter, StageMeter, moment};
use crate::stage::page::StatsPage;
use crate::stage::{Failure, Step};

use pace::{Pace, least_ready};
use scrub::Scrub;

/// Zeros are synced in steps of so many bytes, each of which changes the file system's own records.
const ZERO_SYNC: u64 = 16 << 20;
/// The same in quiet moments: what comes to the disk in between waits for no more than that.
const REST_SYNC: u64 = 1 << 20;
/// When zeros that nobody needs yet are tried again on a disk that had no space for them.
const REST_RETRY: Duration = Duration::from_secs(10);
/// How old the hint may become while the log grows; also how soon a full disk is tried again.
pub(crate) const HINT_AGE_MAX: Duration = Duration::from_millis(100);

/// What the keeper shares with the rest of the log.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) supply: Arc<Supply>,
    pub(crate) segments: Arc<Segments>,
    pub(crate) failure: Arc<Failure>,
    pub(crate) page: Arc<StatsPage>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) meter: Arc<StageMeter>,
    pub(crate) disk_meter: Arc<DiskMeter>,
    pub(crate) scrub: Arc<ScrubMeter>,
    pub(crate) cuts: Arc<CutMeter>,
}

/// The keeper.
#[derive(Debug)]
pub(crate) struct Keeper {
    shared: Shared,
    options: Options,
    log: Uuid,
    hint: HintFile,
    /// The next chunk while it is being prepared for the first time.
    preparing: Option<Arc<ChunkFile>>,
    /// Not before this moment is a disk tried again that was full or refused a new file.
    retry_at: Duration,
    /// Nobody waited for what the disk refused last; whoever waits for it now has it tried at once.
    is_patient: bool,
    /// Not before this moment are zeros written that nobody needs yet.
    rest_at: Duration,
    hint_due: Duration,
    pace: Pace,
    scrub: Option<Scrub>,
}

/// Why nothing could be prepared.
#[derive(Debug)]
struct Refusal {
    error: io::Error,
    doing: String,
    /// Whether bytes were written, so that nothing is known of them.
    is_final: bool,
}

impl Keeper {
    pub(crate) fn new(shared: Shared, options: Options, log: Uuid, hint: HintFile) -> Self {
        let (retry_at, hint_due) = (Duration::ZERO, Duration::ZERO);
        let scrub = options.scrub.map(|rate| Scrub::new(rate, Arc::clone(&shared.scrub)));
        Self {
            shared,
            options,
            log,
            hint,
            preparing: None,
            retry_at,
            is_patient: false,
            rest_at: Duration::ZERO,
            hint_due,
            pace: Pace::default(),
            scrub,
        }
    }

    /// Does the most urgent duty.
    pub(crate) fn step(&mut self) -> Step {
        let now = self.shared.clock.monotonic();
        let orders = self.shared.supply.orders();
        self.shared.page.beat(self.shared.failure.get().is_some());
        self.shared.page.synced(&orders.place);
        if now >= self.hint_due {
            self.hint_due = now + HINT_AGE_MAX;
            match self.hint.write(self.log, orders.place, false) {
                Ok(true) => return self.worked(now),
                Ok(false) => {}
                Err(_) => self.shared.meter.errors.add(1),
            }
        }
        let is_due = now >= self.retry_at || (self.is_patient && orders.need.is_some());
        let may_prepare = self.shared.failure.get().is_none() && is_due;
        let ahead = self.options.prepare_ahead;
        if may_prepare {
            let goal = self.pace.in_step(&orders, ahead);
            match self.prepare(&orders, goal, ZERO_SYNC) {
                Ok(true) => return self.worked(now),
                Ok(false) => {}
                Err(refusal) => return self.could_not_prepare(now, &orders, refusal),
            }
        }
        if let Some(number) = self.shared.supply.next_seal() {
            if self.seal(number).is_err() {
                // The chunk stays readable as it is, and is sealed when the log is opened the next
                // time.
                self.shared.meter.errors.add(1);
            }
            return self.worked(now);
        }
        let is_quiet = self.pace.is_quiet(now, &orders) && !self.shared.disk_meter.is_at_work();
        if is_quiet && may_prepare && now >= self.rest_at && !self.shared.supply.is_stopped() {
            let goal = self.pace.at_rest(&orders, ahead);
            match self.prepare(&orders, goal, REST_SYNC) {
                Ok(true) => {
                    self.pace.go_on(self.shared.clock.monotonic());
                    return self.worked(now);
                }
                Ok(false) => {}
                // Nobody needs it yet, so the writer is told nothing.
                Err(refusal) if is_full(&refusal.error) || !refusal.is_final => {
                    let is_error = !is_full(&refusal.error);
                    self.shared.meter.errors.add(is_error.into());
                    self.rest_at = now + REST_RETRY;
                }
                Err(refusal) => return self.could_not_prepare(now, &orders, refusal),
            }
        }
        self.scrub(now, self.pace.next_look(self.hint_due))
    }

    /// Reads a piece of the sealed chunks, when that is wanted and due. Returns when to look again,
    /// at `look` at the latest.
    fn scrub(&mut self, now: Duration, look: Duration) -> Step {
        let Shared { disk, segments, supply, failure, .. } = &self.shared;
        match &mut self.scrub {
            Some(scrub) if !supply.is_stopped() && failure.get().is_none() => {
                match scrub.step(&**disk, segments, now) {
                    Some(due) => Step::Until(due.min(look)),
                    None => Step::Worked,
                }
            }
            _ => Step::Until(look),
        }
    }

    /// Writes what a clean close leaves behind.
    pub(crate) fn finish(&mut self) -> Result<()> {
        let place = self.shared.supply.orders().place;
        let is_clean = !self.shared.supply.is_torn();
        let written = self.hint.write(self.log, place, is_clean).and_then(|_| self.hint.sync());
        written.map_err(|error| Error::from_io("write the hint", error))?;
        self.shared.page.synced(&place);
        self.shared.page.close();
        Ok(())
    }

    fn worked(&self, begun: Duration) -> Step {
        self.shared.meter.service.record(moment(&*self.shared.clock).saturating_sub(begun));
        self.shared.meter.items.add(1);
        Step::Worked
    }

    fn could_not_prepare(&mut self, now: Duration, orders: &Orders, refusal: Refusal) -> Step {
        let Refusal { error, doing, is_final } = refusal;
        self.is_patient = orders.need.is_none();
        if is_full(&error) {
            self.retry_at = now + HINT_AGE_MAX;
            self.shared.supply.disk_full();
        } else if !is_final && orders.need.is_none() {
            // Nobody waits for the file, and nothing was written to it (F28).
            self.retry_at = now + HINT_AGE_MAX;
        } else {
            // The writer's sync could hide this error: the kernel reports it once per file (R1).
            self.shared.failure.record(Error::from_io(&doing, error));
            self.shared.supply.disk_full();
        }
        // Who sees it counted sees what it was.
        self.shared.meter.errors.add(1);
        Step::Worked
    }

    /// Brings the room ahead of the writer to what is wanted, a step at a time: zeros up to `goal`,
    /// counted from the start of the active chunk and on into the next, or what the writer needs.
    /// They are synced after `most` bytes of them at the latest.
    fn prepare(&mut self, orders: &Orders, goal: u64, most: u64) -> Result<bool, Refusal> {
        let ahead = self.options.prepare_ahead;
        let active = &orders.active;
        let wanted = match orders.need {
            Some(Need::Active(through)) => through.max(goal),
            _ => goal,
        };
        let (before, waits_for_next) =
            (active.prepared(), matches!(orders.need, Some(Need::Next(_))));
        let step = most.min(ahead / 2);
        if !waits_for_next && self.prepare_piece(active, wanted, step, orders.need.is_some())? {
            let short = matches!(orders.need, Some(Need::Active(end)) if end > active.prepared());
            if !short && active.prepared() > before {
                self.shared.supply.prepared(None);
            }
            return Ok(true);
        }
        let Some(wanted) = wanted_of_next(orders, goal, ahead) else { return Ok(false) };
        let next = match orders.next.clone().or_else(|| self.preparing.clone()) {
            Some(next) => next,
            None => self.create_next(active.number.next())?,
        };
        let unknown = orders.next.is_none();
        let step = if unknown { most.min(least_ready(ahead)) } else { most };
        let worked = self.prepare_piece(&next, wanted, step, unknown || orders.need.is_some())?;
        let least = match orders.need {
            Some(Need::Next(room)) => room,
            _ => least_ready(ahead),
        };
        // Also when nothing was left to prepare: an earlier, larger need may have left it here.
        let ready =
            (unknown || orders.need.is_some()) && next.prepared() >= least.min(next.capacity);
        if ready {
            self.preparing = None;
            self.shared.supply.prepared(Some(next));
        }
        Ok(worked || ready)
    }

    /// Brings a file a piece nearer to lie ready as far as is wanted, unless less than a piece is
    /// missing and nothing is urgent. Zeros are synced `step` bytes at a time. Whether there was
    /// anything to do.
    fn prepare_piece(
        &self,
        file: &ChunkFile,
        wanted: u64,
        step: u64,
        urgent: bool,
    ) -> Result<bool, Refusal> {
        let wanted = wanted.min(file.capacity);
        let missing = wanted.saturating_sub(file.zeroed());
        let unsynced = file.zeroed().saturating_sub(file.prepared());
        let to_the_end = urgent || wanted == file.capacity;
        let told = |error| {
            let doing = format!("prepare {}", file_name(file.number));
            Refusal { error, doing, is_final: true }
        };
        if unsynced >= step || (unsynced > 0 && missing == 0 && to_the_end) {
            file.finish_zeros().map_err(told)?;
        } else if missing >= step.min(ZERO_PIECE as u64) || (missing > 0 && to_the_end) {
            let before = file.zeroed();
            file.zero(wanted).map_err(told)?;
            self.shared.disk_meter.zeros.add(file.zeroed() - before);
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn create_next(&mut self, number: ChunkNumber) -> Result<Arc<ChunkFile>, Refusal> {
        let told = |is_final| {
            move |error| Refusal { error, doing: format!("create {}", file_name(number)), is_final }
        };
        let disk = &*self.shared.disk;
        let size = self.options.chunk_size;
        let next = ChunkFile::create(disk, number, size).or_else(|error| {
            if error.kind() != io::ErrorKind::AlreadyExists {
                return Err(error);
            }
            // Of an earlier try that found no space.
            let file = disk.open(&file_name(number), Access::Write)?;
            ChunkFile::adopt(disk, file, number, size, 0)
        });
        let next = next.map_err(told(false))?;
        // Once per chunk: its entry is durable before anything in it is acked (R2).
        disk.sync_directory().map_err(io::Error::other).map_err(told(true))?;
        let next = Arc::new(next);
        self.preparing = Some(Arc::clone(&next));
        Ok(next)
    }

    fn seal(&mut self, number: ChunkNumber) -> Result<()> {
        let Some(segment) = self.shared.segments.get(number) else { return Ok(()) };
        let sealed = seal(&self.shared, &segment)?;
        self.shared.segments.replace(Arc::new(sealed));
        Ok(())
    }
}

/// How far the next chunk is to be prepared: as far as the goal lies behind the active one.
///
/// Nothing before the active chunk itself has a durable group: otherwise a loss of power could
/// leave two files without a header at the end of the log.
fn wanted_of_next(orders: &Orders, goal: u64, ahead: u64) -> Option<u64> {
    let active = &orders.active;
    if orders.place.chunk != active.number {
        return None;
    }
    let behind = goal.checked_sub(active.capacity).filter(|behind| *behind > 0);
    match orders.need {
        Some(Need::Next(room)) => Some(room.max(behind.unwrap_or(ahead))),
        _ => behind,
    }
}

/// Writes the sections and the footer of a full chunk whose events are all indexed, and maps it
/// anew.
fn seal(shared: &Shared, segment: &Segment) -> Result<Segment> {
    let (Body::Unsealed(file), ChunkIndex::Memory(index)) = (&segment.chunk.body, &segment.index)
    else {
        return Err(Error::new(crate::error::ErrorKind::Bug, "a chunk is sealed once"));
    };
    let number = segment.chunk.number();
    let failed = |error| Error::from_io(&format!("seal {}", file_name(number)), error);
    let next = shared.segments.get(number.next());
    let next =
        next.ok_or_else(|| Error::new(crate::error::ErrorKind::Bug, "the last chunk is active"))?;
    let header = segment.chunk.header.clone();
    let (first_time, last_time) = times(segment)?;
    let place = SealedPlace {
        log: header.log,
        salt: segment.chunk.salt,
        number,
        first_position: header.first_position,
        end: next.chunk.header.previous,
        // A file that somebody made longer keeps its length, so the footer stands at its end.
        least_size: file.size().map_err(failed)?.max(header.capacity),
        first_time,
        last_time,
    };
    let sealed = {
        let index = index.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        table::build(&index, &place)
    };
    file.write(&sealed.sections, sealed.sections_offset).map_err(failed)?;
    let behind = sealed.sections_offset + sealed.sections.len() as u64;
    clear(shared, number, behind..sealed.footer_offset)?;
    file.sync().map_err(failed)?;
    // The footer says that all before it is there, so it goes last.
    file.write(&sealed.footer.encode(), sealed.footer_offset).map_err(failed)?;
    file.sync().map_err(failed)?;
    let mapped = shared.disk.open(&file_name(number), Access::Read).map_err(failed)?;
    Ok(open_sealed(Chunk::sealed(header, &*mapped, sealed.footer)?)?)
}

/// Takes out what stands between the sections and the footer: in a file that somebody made longer
/// it may be an old footer. A sealed chunk holds nothing there but zeros. What is taken out is kept
/// aside and told (R7).
fn clear(shared: &Shared, number: ChunkNumber, range: Range<u64>) -> Result<()> {
    let disk = &*shared.disk;
    let failed = |error| Error::from_io(&format!("seal {}", file_name(number)), error);
    let file = disk.open(&file_name(number), Access::Write).map_err(failed)?;
    if let Some(end) = recover::garbage_in(&*file, range.clone()).map_err(failed)? {
        shared.cuts.note(recover::cut(disk, &*file, number, &(range.start..end))?);
    }
    Ok(())
}

/// A sealed chunk with the index in its file.
pub(crate) fn open_sealed(chunk: Chunk) -> Result<Segment, Damage> {
    let Body::Sealed { file, footer } = &chunk.body else {
        unreachable!("only sealed chunks are opened as such");
    };
    let index = Table::open(file, footer).map_err(|what| {
        chunk.damage(footer.offset(), (what, "a sound one".to_owned(), "another".to_owned()))
    })?;
    Ok(Segment::new(chunk, ChunkIndex::Table(Box::new(index))))
}

/// The times of the first and the last event of a chunk.
fn times(segment: &Segment) -> Result<(crate::clock::Timestamp, crate::clock::Timestamp)> {
    if segment.index.event_count() == 0 {
        let created = segment.chunk.header.created;
        return Ok((created, created));
    }
    let bytes = segment.chunk.readable();
    let time = |ordinal| {
        let offset = segment.index.offset(ordinal).ok().flatten().unwrap_or_default() as usize;
        let fixed = bytes.get(offset..).and_then(|bytes| bytes.get(..FIXED_SIZE));
        fixed.map(time_of)
    };
    let last = segment.index.event_count().saturating_sub(1);
    time(0)
        .zip(time(last))
        .ok_or_else(|| Error::new(crate::error::ErrorKind::Bug, "an empty chunk"))
}

/// The file of hints.
#[derive(Debug)]
pub(crate) struct HintFile {
    file: Arc<dyn DiskFile>,
    sequence: u64,
    last: Option<(DurablePlace, bool)>,
}

impl HintFile {
    /// Opens the file, or makes it; `sequence` is that of the newest slot.
    pub(crate) fn open(disk: &dyn Disk, sequence: u64) -> io::Result<Self> {
        let file = match disk.open(HINT, Access::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = disk.create(HINT)?;
                disk.sync_directory()?;
                file
            }
            other => other?,
        };
        Ok(Self { file, sequence, last: None })
    }

    /// Writes a slot, unless the last one says the same.
    pub(crate) fn write(
        &mut self,
        log: Uuid,
        place: DurablePlace,
        clean: bool,
    ) -> io::Result<bool> {
        if self.last == Some((place, clean)) {
            return Ok(false);
        }
        let sequence = self.sequence.saturating_add(1);
        let hint = Hint {
            log,
            sequence,
            durable_through: place.position,
            chunk: place.chunk,
            end: place.end,
            clean,
        };
        let (bytes, offset) = hint.encode();
        self.file.write_at(&bytes, offset)?;
        // Only now: a write that failed has perhaps torn its slot, and the next one must not tear
        // the other, which is sound.
        self.sequence = sequence;
        self.last = Some((place, clean));
        Ok(true)
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
