//! Owns what a follower knows of the writing process: how far it says that the log may be read, and
//! whether it lives.
//!
//! Promises: a page is believed when it was written for this log, this file and this run of the
//! system, and until a place that it names turns out not to be in the log; then, and where there is
//! none, the hint is all that counts. A log that was replaced is told. Assumes of what it names
//! nothing: whoever reads up to there proves it first. Takes no lock.

use std::time::Duration;

use uuid::Uuid;

use super::WriterState;
use crate::chunk::directory;
use crate::chunk::supply::DurablePlace;
use crate::disk::Disk;
use crate::error::{Error, ErrorKind, OpenError, Result};
use crate::format::hint::Hint;
use crate::format::stats::{CLOSED, FAILED};
use crate::position::{ChunkNumber, Position};
use crate::stage::page::{PageReader, Told};

/// How often the hint and the name of the page are looked at, when the page alone does not do.
pub(super) const LOOK: Duration = Duration::from_millis(100);
/// A page that has not changed for so long may be one that nobody writes any more.
const FRESH: Duration = Duration::from_millis(300);
/// A writer that has not given a sign of life for so long counts as gone: many times as long as it
/// takes between two.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is known of the writing process.
#[derive(Debug)]
pub(super) struct Signs {
    log: Uuid,
    page: Option<Page>,
    hint: Option<Hint>,
    /// When the hint is to be looked at next.
    look_due: Duration,
    /// When the last sign of life was seen; `None` when none ever was.
    alive: Option<Duration>,
}

/// The page, and what was read from it last.
#[derive(Debug)]
struct Page {
    reader: PageReader,
    sequence: u64,
    heartbeat: u64,
    told: Told,
    is_believed: bool,
}

/// A place that the log is said to have reached.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said {
    pub(super) place: DurablePlace,
    /// Whether the page says so, not the hint.
    pub(super) by_page: bool,
}

impl Signs {
    /// What is known at first. The hint is the one that the log's files were listed with.
    pub(super) fn new(disk: &dyn Disk, log: Uuid, hint: Option<Hint>, now: Duration) -> Self {
        let page = PageReader::open(disk).and_then(|reader| Page::of(reader, log));
        let alive = page.as_ref().map(|_| now);
        Self { log, page, hint, look_due: now + LOOK, alive }
    }

    /// Looks for news; `seen` is how far the log was followed.
    pub(super) fn look(&mut self, disk: &dyn Disk, seen: Position, now: Duration) -> Result<()> {
        if let Some(page) = &mut self.page
            && page.look(disk, self.log, seen)?
        {
            self.alive = Some(now);
        }
        if now >= self.look_due && !self.is_fresh(now) {
            self.look_due = now + LOOK;
            self.look_around(disk, seen, now)?;
        }
        Ok(())
    }

    /// Whether the page alone says all that there is to know.
    pub(super) fn is_fresh(&self, now: Duration) -> bool {
        let is_believed = self.page.as_ref().is_some_and(|page| page.is_believed);
        is_believed && self.alive.is_some_and(|alive| now.saturating_sub(alive) < FRESH)
    }

    /// The process that says on the page how far the log is acked, by its id.
    #[cfg(feature = "cli")]
    pub(super) fn teller_of_acks(&self) -> Option<u64> {
        let page = self.page.as_ref().filter(|page| page.is_believed)?;
        let teller = page.told.identity;
        (!teller.acks_early).then_some(teller.pid)
    }

    /// Looks where a log is found by its names: another may have taken its place.
    fn look_around(&mut self, disk: &dyn Disk, seen: Position, now: Duration) -> Result<()> {
        let log = self.log;
        if let Err(OpenError::Foreign { .. }) = directory::begun(disk, ChunkNumber::FIRST, log) {
            return Err(replaced("another log is in its place"));
        }
        let file = self.page.as_ref().and_then(|page| page.reader.file());
        let reader = PageReader::open(disk).filter(|reader| reader.file() != file);
        if let Some(mut page) = reader.and_then(|reader| Page::of(reader, log)) {
            page.is_believed = !is_turned_back(disk, &page.told, seen)?;
            self.page = Some(page);
            self.alive = Some(now);
        }
        let Some(hint) = newest_hint(disk, log) else { return Ok(()) };
        if let Some(known) = &self.hint {
            let is_older = hint.sequence.saturating_add(1) < known.sequence;
            // A hint that was taken away is made anew, with a sequence that begins again.
            if is_older && hint.durable_through < known.durable_through {
                return Err(replaced("its hint is older than one that was seen"));
            }
            // The one before is all that is left while the newest is being written.
            if !is_older && hint.sequence <= known.sequence {
                return Ok(());
            }
        }
        self.hint = Some(hint);
        self.alive = Some(now);
        Ok(())
    }

    /// A place beyond `position` that the log is said to have reached.
    pub(super) fn beyond(&self, position: Position) -> Option<Said> {
        let page = self.page.as_ref().filter(|page| page.is_believed);
        let page = page.map(|page| Said { place: page.told.place, by_page: true });
        let hint = self.hint.map(|hint| {
            let (position, chunk, end) = (hint.durable_through, hint.chunk, hint.end);
            Said { place: DurablePlace { position, chunk, end }, by_page: false }
        });
        [page, hint].into_iter().flatten().find(|said| said.place.position > position)
    }

    /// Forgets the page, until a new session writes to it: it has said what is not so.
    pub(super) fn distrust_page(&mut self) {
        if let Some(page) = &mut self.page {
            page.is_believed = false;
        }
        self.look_due = Duration::ZERO;
    }

    /// What the writing process is at. It counts as closed when all that it told was read, so that
    /// whoever has come up to there has everything.
    pub(super) fn writer(&self, now: Duration) -> WriterState {
        let is_alive = self.alive.is_some_and(|alive| now.saturating_sub(alive) < PATIENCE);
        let page = self.page.as_ref().filter(|page| page.is_believed);
        // The state first: whoever sees the log closed also sees the last change of the page.
        let state = page.map(|page| (page.reader.state(), page.has_changed()));
        match state {
            Some((CLOSED, false)) => WriterState::Closed,
            Some((FAILED, _)) => WriterState::Failed,
            None if self.hint.is_some_and(|hint| hint.clean) => WriterState::Closed,
            _ if is_alive => WriterState::Live,
            _ => WriterState::Gone,
        }
    }
}

impl Page {
    fn of(reader: PageReader, log: Uuid) -> Option<Self> {
        let heartbeat = reader.heartbeat();
        let told = reader.read(log)?;
        Some(Self { reader, sequence: told.sequence, heartbeat, told, is_believed: true })
    }

    /// Whether it says more than was read.
    fn has_changed(&self) -> bool {
        self.reader.sequence() != self.sequence
    }

    /// Reads the page when it has changed. Returns whether it has.
    fn look(&mut self, disk: &dyn Disk, log: Uuid, seen: Position) -> Result<bool> {
        let heartbeat = self.reader.heartbeat();
        let is_alive = std::mem::replace(&mut self.heartbeat, heartbeat) != heartbeat;
        if !self.has_changed() {
            return Ok(is_alive);
        }
        // One that says nothing is asked again at the next look.
        let Some(told) = self.reader.read(log) else { return Ok(is_alive) };
        self.sequence = told.sequence;
        if told.identity != self.told.identity {
            self.is_believed = !is_turned_back(disk, &told, seen)?;
        }
        self.told = told;
        Ok(true)
    }
}

/// Whether a new session begins before what was seen. Recovery removes nothing that was visible, so
/// the page is an old one, or the log is.
fn is_turned_back(disk: &dyn Disk, told: &Told, seen: Position) -> Result<bool> {
    if told.place.position >= seen {
        return Ok(false);
    }
    match newest_hint(disk, told.identity.log) {
        Some(hint) if hint.durable_through >= seen => Ok(true),
        _ => Err(replaced("it was opened at an earlier position")),
    }
}

/// The newest hint; one that cannot be read says nothing.
fn newest_hint(disk: &dyn Disk, log: Uuid) -> Option<Hint> {
    directory::newest_hint(disk, log).ok().flatten()
}

fn replaced(why: &str) -> Error {
    Error::new(ErrorKind::Replaced, format!("the log that was followed was replaced: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::sim::SimDisk;
    use crate::format::header::ChainEnd;
    use crate::options::Durability;
    use crate::stage::page::{Opening, StatsPage};

    const LOG: Uuid = Uuid::from_u128(5);

    fn place(position: u64) -> DurablePlace {
        let end = ChainEnd { chain: position, data_end: position };
        DurablePlace { position: Position::new(position), chunk: ChunkNumber::FIRST, end }
    }

    #[test]
    fn a_writer_that_tells_of_events_and_closes_is_not_closed_before_they_are_read() {
        let (disk, now) = (SimDisk::new(), Duration::from_secs(9));
        let durability = Durability::Sync;
        let opening = Opening { log: LOG, durability, place: place(3), hint_sequence: 1 };
        let page = StatsPage::open(&disk, &opening);
        let mut signs = Signs::new(&disk, LOG, None, now);
        assert_eq!(signs.writer(now), WriterState::Live);
        page.visible(&place(4));
        page.close();
        assert_eq!(signs.writer(now), WriterState::Live, "what it told last was not read");
        signs.look(&disk, Position::new(3), now).unwrap();
        assert_eq!(signs.beyond(Position::new(3)).map(|said| said.place), Some(place(4)));
        assert_eq!(signs.writer(now), WriterState::Closed);
    }
    #[test]
    fn a_hint_that_was_made_anew_is_believed_and_an_older_one_is_not() {
        let (disk, log) = (SimDisk::new(), LOG);
        let hint = |sequence, position| {
            let DurablePlace { position: durable_through, chunk, end } = place(position);
            Hint { log, sequence, durable_through, chunk, end, clean: false }
        };
        for (found, is_told) in [(hint(1, 9), true), (hint(1, 8), false)] {
            let mut signs = Signs::new(&disk, log, Some(hint(5, 8)), Duration::ZERO);
            let (bytes, offset) = found.encode();
            disk.write_file("hint", [&vec![0; offset as usize], &bytes[..]].concat());
            let seen = signs.look(&disk, Position::new(8), LOOK);
            println!("{seen:?}");
            assert_eq!(seen.is_ok() && signs.beyond(Position::new(8)).is_some(), is_told);
        }
        let mut signs = Signs::new(&disk, log, Some(hint(5, 9)), Duration::ZERO);
        assert_eq!(
            signs.look(&disk, Position::new(9), LOOK).unwrap_err().kind(),
            ErrorKind::Replaced
        );
    }
}
