//! Owns the follower's step: go by what the writing process says, prove it, check and index the
//! groups, make them visible here.
//!
//! Promises: shows what was durable, and nothing else (R3), each event once, in order, checked. No
//! byte is opened for reading before the groups were proven to lead to an end that is durable (R8).
//! A passed chunk is read by its own index as soon as it has one. Assumes that what was proven is
//! never written again but with itself. Never writes, never takes a lock of the log.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::WriterState;
use super::signs::{LOOK, Signs};
use crate::chaser::index_group;
use crate::chunk::directory::{self, Directory, Listed, Listing};
use crate::chunk::scan::Cursor;
use crate::chunk::supply::DurablePlace;
use crate::chunk::{Body, Chunk, ChunkFile, file_name, prove};
use crate::clock::Clock;
use crate::disk::{Access, Disk, DiskFile};
use crate::error::{Error, OpenError, Result};
use crate::format::CHUNK_HEADER_SIZE;
use crate::format::header::{ChainEnd, ChunkHeader};
use crate::index::ChunkIndex;
use crate::index::memory::MemoryIndex;
use crate::index::segments::{Segment, Segments};
use crate::keeper::open_sealed;
use crate::position::{ChunkNumber, Position};
use crate::read::View;
use crate::stage::bell::{Bell, Keys};
use crate::stage::{Failure, Step};
use crate::subscribe::feed::Feed;
use crate::sync::RwLock;
use crate::watermark::Watermarks;

/// How much is indexed in one step.
const PIECE: u64 = 4 << 20;
/// Looks at the files before a chunk that is named and not found counts as missing.
const LOOKS_MAX: u32 = 5;
const LOOK_PAUSE: Duration = Duration::from_millis(2);
/// How long after news the next is awaited with how little rest: events that come one after the
/// other are seen soon, and a log that rests costs little.
const PACES: [(Duration, Duration); 2] = [
    (Duration::from_millis(50), Duration::from_micros(200)),
    (Duration::from_secs(1), Duration::from_millis(1)),
];
const SLOWEST_PACE: Duration = Duration::from_millis(5);

/// The way through a log that another process writes.
#[derive(Debug)]
pub(in crate::log) struct Trail {
    segments: Arc<Segments>,
    marks: Arc<Watermarks>,
    bell: Arc<Bell>,
    /// The keys of what was indexed and not shown.
    keys: Keys,
    signs: Signs,
    /// The chunk that is being followed, and how far.
    segment: Arc<Segment>,
    cursor: Cursor,
    /// Chunks that lie behind and have no index of their own yet.
    passed: VecDeque<ChunkNumber>,
    seals_due: Duration,
    /// When the log was last seen to grow.
    news: Duration,
    writer: WriterState,
}

impl Trail {
    /// Follows the log in `disk` up to where it is said to be now.
    pub(in crate::log) fn open(disk: &dyn Disk, now: Duration) -> Result<Self, OpenError> {
        for _ in 1..LOOKS_MAX {
            match Self::look(disk, now) {
                // The writing process has rolled between the look at the files and the look into
                // them; the next look sees the chunk.
                Err(OpenError::MissingChunk(number)) if is_there(disk, number) => {}
                // A header that is just being written may be read by half.
                Err(OpenError::Corrupt(_)) => std::thread::sleep(LOOK_PAUSE),
                other => return other,
            }
        }
        Self::look(disk, now)
    }

    fn look(disk: &dyn Disk, now: Duration) -> Result<Self, OpenError> {
        let Directory::Log(Listing { chunks, hint, .. }) = directory::read(disk, Access::Read)?
        else {
            return Err(OpenError::Missing(disk.label()));
        };
        let behind = ChunkNumber::new(chunks.len() as u64);
        // The hint is read last, so it may name a chunk that was not listed yet.
        if hint.is_some_and(|hint| hint.chunk >= behind) {
            return Err(OpenError::MissingChunk(behind));
        }
        let (mut segments, mut passed) = (Vec::new(), VecDeque::new());
        let mut last = None;
        for listed in chunks {
            let (segment, at) = match listed {
                Listed::Sealed(chunk) => {
                    segments.push(Arc::new(open_sealed(chunk)?));
                    continue;
                }
                Listed::Unsealed { header, file, complete } => {
                    let at = Cursor::start(&header);
                    let segment = Arc::new(unsealed(header, file)?);
                    match complete {
                        Some(end) => {
                            passed.push_back(segment.chunk.number());
                            (Arc::clone(&segment), index_to(&segment, at, end)?)
                        }
                        None => (segment, at),
                    }
                }
            };
            segments.push(Arc::clone(&segment));
            last = Some((segment, at));
        }
        let (segment, cursor) = last.ok_or(OpenError::MissingChunk(behind))?;
        let mut trail = Self {
            signs: Signs::new(disk, segment.chunk.header.log, hint, now),
            segments: Arc::new(Segments::new(segments)),
            marks: Arc::new(Watermarks::at(cursor.position)),
            bell: Arc::new(Bell::default()),
            keys: Keys::default(),
            segment,
            cursor,
            passed,
            seals_due: now + LOOK,
            news: now,
            writer: WriterState::Live,
        };
        while trail.advance(disk)? {}
        trail.writer = trail.signs.writer(now);
        Ok(trail)
    }

    /// What was followed so far.
    pub(in crate::log) fn view(&self) -> View {
        View::new(self.segments.snapshot(), self.marks.visible())
    }

    /// What readers and subscriptions of the log share.
    pub(in crate::log) fn feed(&self, failure: &Arc<Failure>, clock: &Arc<dyn Clock>) -> Feed {
        Feed {
            segments: Arc::clone(&self.segments),
            marks: Arc::clone(&self.marks),
            bell: Arc::clone(&self.bell),
            failure: Arc::clone(failure),
            clock: Arc::clone(clock),
        }
    }

    /// What the writing process is at. Whoever reads `Closed` here sees all that it wrote.
    pub(in crate::log) fn writer(&self) -> WriterState {
        self.writer
    }

    /// The process of which all that it had acked before the last look is visible here, by its id.
    #[cfg(feature = "cli")]
    pub(in crate::log) fn teller_of_acks(&self) -> Option<u64> {
        self.signs.teller_of_acks()
    }

    /// Does the next piece of work.
    pub(in crate::log) fn step(&mut self, disk: &dyn Disk, now: Duration) -> Result<Step> {
        if now >= self.seals_due {
            self.seals_due = now + LOOK;
            self.take_sealed(disk);
        }
        if self.index_piece()? {
            self.news = now;
            return Ok(Step::Worked);
        }
        self.signs.look(disk, self.cursor.position, now)?;
        let writer = self.signs.writer(now);
        if self.advance(disk).map_err(following)? {
            if writer == WriterState::Live {
                self.writer = writer;
            }
            self.news = now;
            return Ok(Step::Worked);
        }
        self.writer = writer;
        Ok(Step::Until(now + self.pace(now)))
    }

    fn pace(&self, now: Duration) -> Duration {
        let calm = now.saturating_sub(self.news);
        let pace = PACES.iter().find(|(within, _)| calm < *within);
        pace.map_or(SLOWEST_PACE, |(_, pace)| *pace)
    }

    /// Comes a piece nearer to where the log is said to be. Returns whether there was a way to go.
    fn advance(&mut self, disk: &dyn Disk) -> Result<bool, OpenError> {
        if self.index_piece()? {
            return Ok(true);
        }
        let Some(said) = self.signs.beyond(self.cursor.position) else { return Ok(false) };
        match self.approach(disk, &said.place) {
            Ok(()) => Ok(true),
            // A system that refuses says nothing about the page. What ends too early may: the page
            // has named bytes that are not there.
            Err(OpenError::Failed(error)) if is_refusal(&error) => Err(error.into()),
            Err(_) if said.by_page => {
                self.signs.distrust_page();
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    /// Opens for reading what leads to a place, or begins the chunk in which the way goes on.
    fn approach(&mut self, disk: &dyn Disk, place: &DurablePlace) -> Result<(), OpenError> {
        let chunk = &self.segment.chunk;
        let (number, log) = (chunk.number(), chunk.header.log);
        if place.chunk <= number {
            // A place further back lies at no position that was not seen, so it fails the proof.
            return open_to(chunk, &self.cursor, (place.end, place.position));
        }
        let (next, file) = directory::begun(disk, number.next(), log)?;
        // A header proves that all before it was durable.
        let end = (next.previous, next.first_position);
        if (self.cursor.end(), self.cursor.position) != end {
            return open_to(chunk, &self.cursor, end);
        }
        let segment = Arc::new(unsealed(next, file)?);
        self.segments.push(Arc::clone(&segment));
        self.passed.push_back(number);
        self.segment = segment;
        self.cursor.offset = CHUNK_HEADER_SIZE;
        Ok(())
    }

    /// Indexes some of what is open for reading, and shows it.
    fn index_piece(&mut self) -> Result<bool> {
        let Body::Unsealed(file) = &self.segment.chunk.body else { return Ok(false) };
        let (start, settled) = (self.cursor.offset, file.settled());
        self.keys = Keys::heard_by(&self.bell);
        while self.cursor.offset < settled && self.cursor.offset - start < PIECE {
            let bytes = self.segment.chunk.view(self.cursor.offset..settled)?;
            self.cursor = index_group(&self.segment, &self.cursor, &bytes, &mut self.keys)?;
        }
        self.show();
        Ok(self.cursor.offset > start)
    }

    /// Makes visible what was indexed, and wakes who waits for it.
    fn show(&self) {
        let position = self.cursor.position;
        if position > self.marks.visible() {
            self.marks.advance_written(position);
            self.marks.advance_durable(position);
            self.marks.advance_visible(position);
            self.bell.ring(&self.keys);
        }
    }

    /// Lets go of the indexes in memory of chunks that have got one of their own.
    fn take_sealed(&mut self, disk: &dyn Disk) {
        let segments = &self.segments;
        self.passed.retain(|number| match sealed(disk, segments, *number) {
            Some(segment) => {
                segments.replace(Arc::new(segment));
                false
            }
            None => true,
        });
    }
}

fn is_there(disk: &dyn Disk, number: ChunkNumber) -> bool {
    disk.open(&file_name(number), Access::Read).is_ok()
}

fn is_refusal(error: &Error) -> bool {
    error.io().is_some_and(|io| io.kind() != std::io::ErrorKind::UnexpectedEof)
}

/// A chunk whose groups are not read yet.
fn unsealed(header: ChunkHeader, file: Arc<dyn DiskFile>) -> Result<Segment, OpenError> {
    let number = header.number;
    let beside = || {
        let length = file.size()?.min(header.capacity);
        ChunkFile::beside(file, number, length)
    };
    let file = beside().map_err(|error| {
        OpenError::Failed(Error::from_io(&format!("map {}", file_name(number)), error))
    })?;
    let index = ChunkIndex::Memory(RwLock::new(MemoryIndex::default()));
    Ok(Segment::new(Chunk::unsealed(header, Arc::new(file)), index))
}

/// Opens the groups of a chunk up to a place for reading, when it is proven that they lead there.
fn open_to(chunk: &Chunk, at: &Cursor, to: (ChainEnd, Position)) -> Result<(), OpenError> {
    if let Body::Unsealed(file) = &chunk.body {
        prove::leads_to(chunk, file, at, to)?;
        file.settle(to.0.data_end);
    }
    Ok(())
}

/// Indexes a whole chunk that is not sealed and not the last.
fn index_to(
    segment: &Segment,
    mut at: Cursor,
    to: (ChainEnd, Position),
) -> Result<Cursor, OpenError> {
    open_to(&segment.chunk, &at, to)?;
    while at.offset < to.0.data_end {
        let bytes = segment.chunk.view(at.offset..to.0.data_end)?;
        at = index_group(segment, &at, &bytes, &mut Keys::default())?;
    }
    Ok(at)
}

/// A passed chunk with the index in its file, once it has a sound one.
fn sealed(disk: &dyn Disk, segments: &Segments, number: ChunkNumber) -> Option<Segment> {
    let (chunk, next) = (segments.get(number)?, segments.get(number.next())?);
    let file = disk.open(&file_name(number), Access::Read).ok()?;
    let header = chunk.chunk.header.clone();
    match directory::list(header, file, Some(&next.chunk.header)).ok()? {
        Listed::Sealed(chunk) => open_sealed(chunk).ok(),
        Listed::Unsealed { .. } => None,
    }
}

/// An error of opening, as one of following.
pub(in crate::log) fn following(error: OpenError) -> Error {
    match error {
        OpenError::Failed(error) => error,
        OpenError::Corrupt(damage) => damage.into(),
        other => Error::new(crate::error::ErrorKind::Damage, other.to_string()),
    }
}
