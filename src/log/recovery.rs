//! Owns opening: from the files of a directory to a log that can go on, or to the reason why it
//! must not.
//!
//! Promises: what was acked is there, in order, once; what is in doubt is hardened (R4) before
//! anything rests on it; damage below what was durable is refused with its place (R6). Reads
//! footers, and the chunks that have none. Run again after being cut short, it ends in the same
//! state.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::chunk::directory::{self, Directory, Listed, Listing};
use crate::chunk::recover::{self, Cut, Rest, Walk};
use crate::chunk::scan::{BadGroup, Cursor};
use crate::chunk::supply::DurablePlace;
use crate::chunk::{Chunk, ChunkFile, file_name};
use crate::clock::{Clock, Timestamp, fresh_log_id};
use crate::disk::{Access, Disk, DiskFile, LockError, is_full};
use crate::error::{Damage, Error, OpenError};
use crate::format::CHUNK_HEADER_SIZE;
use crate::format::checksum::LogSalt;
use crate::format::header::{ChainEnd, ChunkHeader};
use crate::index::ChunkIndex;
use crate::index::memory::MemoryIndex;
use crate::index::segments::Segment;
use crate::keeper::open_sealed;
use crate::options::{CHUNK_SIZE_MAX, Options};
use crate::position::{ChunkNumber, Position};
use crate::sync::RwLock;

/// How often, and how far apart, the lock is tried: a process that just ended may still be letting
/// go of it.
const LOCK_TRIES: u32 = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(40);
// Whoever comes second learns of it within 300 ms (F60).
const _: () = assert!(LOCK_TRIES as u128 * LOCK_PAUSE.as_millis() <= 300);
/// How much of a new log is prepared before it is open; the keeper goes on from there.
const FIRST_PREPARED: u64 = 1 << 20;

/// What opening a log found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenReport {
    /// There was no log, and one was made.
    pub created: bool,
    /// The log had been closed, and nothing was left to do.
    pub clean: bool,
    /// Chunks of the log.
    pub chunks: u64,
    /// Chunks without an index of their own, whose groups were read.
    pub chunks_scanned: u64,
    /// Bytes of groups that were read.
    pub bytes_scanned: u64,
    /// Events of the log.
    pub events: u64,
    /// Bytes at the end that were written and synced again, because nothing proved that they were
    /// durable.
    pub bytes_hardened: u64,
    /// Bytes of a write that was cut short; they were never acked.
    pub cut: Option<Cut>,
    /// Full chunks that are sealed again.
    pub resealed: u64,
    /// How long it took.
    pub took: Duration,
    /// How long reading the chunks took that have no index of their own, without the file that lies
    /// ready behind them; a part of `took`.
    pub took_scanning: Duration,
}

/// A log that can go on.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) lock: Box<dyn fmt::Debug + Send + Sync>,
    pub(crate) header: ChunkHeader,
    pub(crate) file: Arc<ChunkFile>,
    pub(crate) cursor: Cursor,
    pub(crate) next: Option<Arc<ChunkFile>>,
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) to_seal: Vec<ChunkNumber>,
    pub(crate) hint_sequence: u64,
    pub(crate) report: OpenReport,
}

impl Recovered {
    pub(crate) fn place(&self) -> DurablePlace {
        DurablePlace {
            position: self.cursor.position,
            chunk: self.header.number,
            end: self.cursor.end(),
        }
    }
}

/// Opens the log in `disk` for writing.
pub(crate) fn open(
    disk: &dyn Disk,
    options: &Options,
    clock: &dyn Clock,
) -> Result<Recovered, OpenError> {
    options.check()?;
    if let Some(file_system) = disk.network_file_system()
        && !options.allow_network_file_system
    {
        return Err(OpenError::NetworkFileSystem { directory: disk.label(), file_system });
    }
    let start = clock.monotonic();
    // What is wrong in the files of a running writer may be what it is changing: the lock tells.
    if !options.create
        && let Ok(Directory::Empty { .. }) = directory::read(disk, Access::Read)
    {
        return Err(OpenError::Missing(disk.label()));
    }
    let lock = lock(disk)?;
    let mut recovered = match directory::read(disk, Access::Write)? {
        Directory::Empty { blank } => create(disk, options, clock, blank, lock)?,
        Directory::Log(listing) => {
            Recovery::new((disk, clock), options, &listing).run(listing, lock)?
        }
    };
    recovered.report.chunks = recovered.segments.len() as u64;
    recovered.report.events = recovered.cursor.position.get();
    recovered.report.took = clock.monotonic().saturating_sub(start);
    Ok(recovered)
}

fn lock(disk: &dyn Disk) -> Result<Box<dyn fmt::Debug + Send + Sync>, OpenError> {
    for attempt in 1.. {
        match disk.lock() {
            Ok(lock) => return Ok(lock),
            Err(LockError::Held { pid }) if attempt == LOCK_TRIES => {
                return Err(OpenError::Locked { pid });
            }
            Err(LockError::Held { .. }) => std::thread::sleep(LOCK_PAUSE),
            Err(LockError::Io(error)) => {
                let doing = format!("lock {}", disk.label());
                return Err(Error::from_io(&doing, error).into());
            }
        }
    }
    Err(OpenError::Locked { pid: None })
}

fn create(
    disk: &dyn Disk,
    options: &Options,
    clock: &dyn Clock,
    blank: Option<Arc<dyn DiskFile>>,
    lock: Box<dyn fmt::Debug + Send + Sync>,
) -> Result<Recovered, OpenError> {
    let number = ChunkNumber::FIRST;
    let make = || {
        let file = match blank {
            Some(file) => {
                let capacity = capacity_of_blank(&*file, options)?;
                ChunkFile::adopt(disk, file, number, capacity, 0)?
            }
            None => ChunkFile::create(disk, number, options.chunk_size)?,
        };
        file.prepare(FIRST_PREPARED)?;
        // The entry of the file is durable before its header makes it a log (R2).
        disk.sync_directory()?;
        let header = ChunkHeader {
            log: fresh_log_id(),
            number,
            first_position: Position::START,
            capacity: file.capacity,
            previous: ChainEnd::default(),
            created: clock.wall(),
        };
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        file.write(&bytes, 0)?;
        file.sync()?;
        Ok((header, Arc::new(file)))
    };
    let (header, file) = make().map_err(|error| {
        OpenError::Failed(Error::from_io(&format!("create a log in {}", disk.label()), error))
    })?;
    let cursor = Cursor::start(&header);
    file.settle(cursor.offset);
    let chunk = Chunk::unsealed(header.clone(), Arc::clone(&file));
    Ok(Recovered {
        lock,
        header,
        file,
        cursor,
        next: None,
        segments: vec![Arc::new(Segment::new(chunk, ChunkIndex::empty()))],
        to_seal: Vec::new(),
        hint_sequence: 0,
        report: OpenReport { created: true, clean: true, ..OpenReport::default() },
    })
}

/// The capacity of a chunk whose file is there already: at least what the options say, because
/// appends are admitted by them, and all of the file, because files never shrink.
fn capacity_of_blank(file: &dyn DiskFile, options: &Options) -> std::io::Result<u64> {
    let capacity = file.size()?.max(options.chunk_size).next_multiple_of(CHUNK_HEADER_SIZE);
    if capacity <= CHUNK_SIZE_MAX {
        return Ok(capacity);
    }
    let problem = "the file that lies ready for the next chunk is larger than a chunk may be";
    Err(std::io::Error::new(std::io::ErrorKind::InvalidData, problem))
}

/// The walk over a listing, oldest chunk first.
struct Recovery<'a> {
    disk: &'a dyn Disk,
    clock: &'a dyn Clock,
    options: &'a Options,
    /// How far the log is known to have been durable.
    known: Position,
    position: Position,
    time: Timestamp,
    segments: Vec<Arc<Segment>>,
    to_seal: Vec<ChunkNumber>,
    report: OpenReport,
}

/// What was found in a chunk that is not sealed.
struct Scanned {
    index: MemoryIndex,
    walk: Walk,
    bad: BadGroup,
    rest: Rest,
}

impl<'a> Recovery<'a> {
    fn new(
        (disk, clock): (&'a dyn Disk, &'a dyn Clock),
        options: &'a Options,
        listing: &Listing,
    ) -> Self {
        Self {
            disk,
            clock,
            options,
            known: listing.hint.map_or(Position::START, |hint| hint.durable_through),
            position: Position::START,
            time: Timestamp::default(),
            segments: Vec::new(),
            to_seal: Vec::new(),
            report: OpenReport::default(),
        }
    }

    fn run(
        mut self,
        listing: Listing,
        lock: Box<dyn fmt::Debug + Send + Sync>,
    ) -> Result<Recovered, OpenError> {
        let mut active = None;
        for listed in listing.chunks {
            match listed {
                Listed::Sealed(chunk) => self.sealed(chunk)?,
                Listed::Unsealed { header, file, complete: Some(end) } => {
                    self.full(header, file, end)?;
                }
                Listed::Unsealed { header, file, complete: None } => active = Some((header, file)),
            }
        }
        let Some((header, file)) = active else {
            return Err(OpenError::MissingChunk(ChunkNumber::new(self.segments.len() as u64)));
        };
        let hint = listing.hint;
        let (file, cursor) = self.last(&header, file, |end| {
            hint.is_some_and(|hint| hint.clean && hint.chunk == header.number && hint.end == end)
        })?;
        let end = (&header, cursor.position);
        let next = listing.blank.map(|(number, file)| self.blank(number, file, end)).transpose()?;
        Ok(Recovered {
            lock,
            header,
            file,
            cursor,
            next,
            segments: self.segments,
            to_seal: self.to_seal,
            hint_sequence: hint.map_or(0, |hint| hint.sequence),
            report: self.report,
        })
    }

    fn sealed(&mut self, chunk: Chunk) -> Result<(), OpenError> {
        self.check_first_position(&chunk.header)?;
        if let Some(footer) = chunk.footer() {
            self.position = footer.end_position();
            self.time = footer.last_time;
        }
        self.segments.push(Arc::new(open_sealed(chunk)?));
        Ok(())
    }

    /// A chunk without a footer that is followed by another: durable as a whole, and to be sealed
    /// again (F15).
    fn full(
        &mut self,
        header: ChunkHeader,
        file: Arc<dyn DiskFile>,
        (end, end_position): (ChainEnd, Position),
    ) -> Result<(), OpenError> {
        self.check_first_position(&header)?;
        let scanned = self.scan(&header, &*file, Some(end.data_end))?;
        let found = scanned.walk.end;
        if found.end() != end || found.position != end_position {
            return Err(scanned.bad.damage(header.number, found.offset).into());
        }
        let file = self.adopt(&header, file, found.offset)?;
        self.position = end_position;
        self.time = found.time;
        self.to_seal.push(header.number);
        self.report.resealed += 1;
        self.push(header, file, scanned.index);
        Ok(())
    }

    /// The last chunk: where the log ends.
    fn last(
        &mut self,
        header: &ChunkHeader,
        file: Arc<dyn DiskFile>,
        is_clean_end: impl FnOnce(ChainEnd) -> bool,
    ) -> Result<(Arc<ChunkFile>, Cursor), OpenError> {
        self.check_first_position(header)?;
        let Scanned { index, walk, bad, rest } = self.scan(header, &*file, None)?;
        let garbage = recover::judge(header.number, &walk, bad, &rest)?;
        self.report.clean = garbage.is_none() && is_clean_end(walk.end.end());
        if file.size().map_err(|error| failed("read", header.number, error))? < header.capacity {
            file.grow(header.capacity).map_err(|error| failed("grow", header.number, error))?;
        }
        if let Some(range) = garbage {
            self.report.cut = Some(recover::cut(self.disk, &*file, header.number, &range)?);
        }
        if !self.report.clean {
            let doubtful = walk.doubtful_from..walk.end.offset;
            recover::harden(&*file, &doubtful)
                .and_then(|()| self.disk.sync_directory())
                .map_err(|error| failed("harden", header.number, error))?;
            self.report.bytes_hardened = doubtful.end - doubtful.start;
        }
        let file = self.adopt(header, file, walk.end.offset)?;
        let cursor = Cursor { time: walk.end.time.max(self.time), ..walk.end };
        self.push(header.clone(), Arc::clone(&file), index);
        Ok((file, cursor))
    }

    /// The file behind the last chunk, whose header is `last`. What stands in it is the rest of a
    /// write that never got its header, unless it says that it was durable.
    fn blank(
        &mut self,
        number: ChunkNumber,
        file: Arc<dyn DiskFile>,
        (last, end): (&ChunkHeader, Position),
    ) -> Result<Arc<ChunkFile>, OpenError> {
        let reading = |error| failed("read", number, error);
        if recover::garbage(&*file).map_err(reading)?.is_some() {
            let salt = LogSalt::new(last.log).chunk(number);
            let view = || {
                let length = file.size()?;
                let map = file.map(length)?;
                map.settle(length);
                let bytes = map.view(0..length).unwrap_or_default();
                recover::look_beyond(&*file, &bytes, salt, 0)
            };
            let rest = view().map_err(reading)?;
            if rest.durable > end {
                let what = "chunk header";
                let found = "zeros before durable groups";
                return Err(Damage::new((number, 0), what, "a header", found).into());
            }
            if let Some(range) = rest.garbage {
                self.report.cut = Some(recover::cut(self.disk, &*file, number, &range)?);
                self.report.clean = false;
            }
        } else if !self.report.clean && file.size().map_err(reading)? >= CHUNK_HEADER_SIZE {
            // A header may be durable over which zeros were written that are not, whatever the
            // memory of the system holds: it must not come back when the chunk before has gone on.
            let rewritten = recover::rewrite(&*file, &(0..CHUNK_HEADER_SIZE));
            // Only a hole lacks space, or a file that is never written in place. A failed sync is
            // final, also when it says so (R1).
            let hole = |error| if is_full(&error) { Ok(()) } else { Err(error) };
            let hardened = rewritten.or_else(hole).and_then(|()| file.sync_data());
            hardened.map_err(|error| failed("harden", number, error))?;
        }
        let adopt = || {
            let capacity = capacity_of_blank(&*file, self.options)?;
            let prepared = file.next_hole(0)?;
            ChunkFile::adopt(self.disk, Arc::clone(&file), number, capacity, prepared)
        };
        adopt().map(Arc::new).map_err(reading)
    }

    fn check_first_position(&self, header: &ChunkHeader) -> Result<(), OpenError> {
        if header.first_position == self.position {
            return Ok(());
        }
        let what = "first position of the chunk";
        Err(Damage::new((header.number, 0), what, self.position, header.first_position).into())
    }

    /// Walks the groups of a chunk, up to `end` where that is known.
    fn scan(
        &mut self,
        header: &ChunkHeader,
        file: &dyn DiskFile,
        end: Option<u64>,
    ) -> Result<Scanned, OpenError> {
        let start = self.clock.monotonic();
        let number = header.number;
        let salt = LogSalt::new(header.log).chunk(number);
        let view = || {
            let capacity = header.capacity;
            if file.size()? < capacity {
                // It is not made longer before it is accepted.
                return Ok(recover::read_short(file, capacity)?.into());
            }
            recover::read_through(file, capacity)?;
            // A map of its own, which is gone before anything is written.
            let map = file.map(capacity)?;
            map.settle(capacity);
            Ok(map.view(0..capacity).unwrap_or_default())
        };
        let bytes: bytes::Bytes = view().map_err(|error| failed("read", number, error))?;
        let limit = end.map_or(bytes.len(), |end| bytes.len().min(end as usize));
        let mut index = MemoryIndex::default();
        let known = if end.is_some() { Position::START } else { self.known };
        let (walk, bad) = recover::walk(&bytes[..limit], (header, salt), known, &mut |event| {
            index.insert_event(&event);
        })?;
        self.report.chunks_scanned += 1;
        self.report.bytes_scanned += walk.end.offset;
        let rest = if end.is_some() {
            Rest::default()
        } else {
            recover::look_beyond(file, &bytes, salt, walk.end.offset)
                .map_err(|error| failed("read", number, error))?
        };
        self.report.took_scanning += self.clock.monotonic().saturating_sub(start);
        Ok(Scanned { index, walk, bad, rest })
    }

    fn adopt(
        &self,
        header: &ChunkHeader,
        file: Arc<dyn DiskFile>,
        end: u64,
    ) -> Result<Arc<ChunkFile>, OpenError> {
        let adopt = || {
            let prepared = file.next_hole(end)?.max(end);
            let prepared = prepared.min(header.capacity);
            ChunkFile::adopt(self.disk, file, header.number, header.capacity, prepared)
        };
        let file = adopt().map_err(|error| failed("map", header.number, error))?;
        file.advance_written(end);
        file.settle(end);
        Ok(Arc::new(file))
    }

    fn push(&mut self, header: ChunkHeader, file: Arc<ChunkFile>, index: MemoryIndex) {
        let index = ChunkIndex::Memory(RwLock::new(index));
        self.segments.push(Arc::new(Segment::new(Chunk::unsealed(header, file), index)));
    }
}

fn failed(doing: &str, number: ChunkNumber, error: std::io::Error) -> OpenError {
    OpenError::Failed(Error::from_io(&format!("{doing} {}", file_name(number)), error))
}
