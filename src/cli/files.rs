//! Owns what a verb learns of a log from its directory alone: which chunk files there are, what the
//! hint says, and whether somebody writes.
//!
//! Promises: changes no byte of the log. Works on damaged logs, where nothing else does.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::{CliError, failure};
use crate::chunk::directory::HINT;
use crate::chunk::recover::garbage;
use crate::chunk::{file_name, number_of};
use crate::disk::{Access, Disk, DiskFile, LockError, OsDisk};
use crate::format::checksum::LogSalt;
use crate::format::group::GroupHeader;
use crate::format::header::ChunkHeader;
use crate::format::hint::{self, Hint};
use crate::format::page::Flaw;
use crate::format::{CHUNK_HEADER_SIZE, GROUP_HEADER_SIZE, is_zero};
use crate::position::ChunkNumber;

/// A log's directory.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) disk: OsDisk,
    pub(super) place: String,
    /// The chunks that have a file, in order. There is at least one.
    pub(super) chunks: Vec<ChunkNumber>,
    /// The names of all files.
    pub(super) names: Vec<String>,
}

/// How far a log is noted as durable, and whether that is all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Noted {
    /// The newest hint's number; 0 without a hint.
    pub(super) sequence: u64,
    /// Whether no group stands behind the end that the hint names.
    pub(super) is_all: bool,
}

/// Who has a log open for writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    Nobody,
    /// A process, by its id when the lock file names it.
    Process(Option<u32>),
}

impl Files {
    /// Looks into `dir`, which must hold a log.
    pub(super) fn of(dir: &Path) -> Result<Self, CliError> {
        let place = dir.display().to_string();
        let refused = |error: io::Error| match error.kind() {
            io::ErrorKind::NotADirectory if dir.is_file() => failure::not_a_directory(&place),
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => failure::missing(&place),
            _ => CliError::cannot(format_args!("{place}: {error}")),
        };
        let disk = OsDisk::open(dir).map_err(refused)?;
        let names = disk.list().map_err(refused)?;
        let chunks: Vec<_> = names.iter().filter_map(|name| number_of(name)).collect();
        if chunks.is_empty() && !names.iter().any(|name| name == HINT) {
            return Err(failure::missing(&place));
        }
        Ok(Self { disk, place, chunks, names })
    }

    pub(super) fn open(&self, number: ChunkNumber) -> Result<Arc<dyn DiskFile>, CliError> {
        let name = file_name(number);
        let file = self.disk.open(&name, Access::Read);
        file.map_err(|error| failure::unreadable(&self.place, &name, &error))
    }

    /// The first file of events or hints that cannot be read at all, and why.
    pub(super) fn unreadable(&self) -> Option<(String, io::Error)> {
        let hint = self.names.iter().filter(|name| *name == HINT).cloned();
        self.chunks.iter().map(|number| file_name(*number)).chain(hint).find_map(|name| {
            let file = self.disk.open(&name, Access::Read);
            let read = file.and_then(|file| match file.size()? {
                0 => Ok(()),
                _ => file.read_at(&mut [0], 0),
            });
            read.err().map(|error| (name, error))
        })
    }

    /// Size of all files and how much of them is not holes.
    pub(super) fn sizes(&self) -> (u64, u64) {
        let files = self.names.iter().filter_map(|name| self.disk.open(name, Access::Read).ok());
        files.fold((0, 0), |(whole, used), file| {
            let size = file.size().unwrap_or(0);
            (whole + size, used + without_holes(&*file, size).unwrap_or(size))
        })
    }

    /// Length of a chunk's file.
    pub(super) fn size(&self, number: ChunkNumber) -> Option<u64> {
        self.open(number).ok()?.size().ok()
    }

    /// The header of the last chunk that has a sound one.
    pub(super) fn last_header(&self) -> Option<ChunkHeader> {
        self.chunks.iter().rev().find_map(|number| self.header(*number))
    }

    pub(super) fn header(&self, number: ChunkNumber) -> Option<ChunkHeader> {
        ChunkHeader::decode(&self.block(number)?).ok()
    }

    /// The first bytes of a chunk's file, as many as a header has or as there are.
    fn block(&self, number: ChunkNumber) -> Option<Vec<u8>> {
        let file = self.open(number).ok()?;
        let mut block = vec![0; usize::try_from(file.size().ok()?.min(CHUNK_HEADER_SIZE)).ok()?];
        file.read_at(&mut block, 0).ok()?;
        Some(block)
    }

    /// Whether nothing was ever written where the header of this chunk should be.
    pub(super) fn is_blank(&self, number: ChunkNumber) -> bool {
        self.block(number).is_some_and(|block| is_zero(&block))
    }

    /// Whether the file of this chunk lies ready, and holds no event. What stands in it without a
    /// header is the rest of a write that was never acked; but the first chunk is made of zeros and
    /// a header that is written at once, so nothing stands in that without one.
    pub(super) fn is_ready(&self, number: ChunkNumber) -> bool {
        let is_empty =
            || self.open(number).is_ok_and(|file| garbage(&*file).is_ok_and(|it| it.is_none()));
        self.is_blank(number) && (number != ChunkNumber::FIRST || is_empty())
    }

    /// A chunk's file of a format version that this program does not read, and that version.
    pub(super) fn newer(&self) -> Option<(String, u32)> {
        self.chunks.iter().find_map(|number| match ChunkHeader::decode(&self.block(*number)?) {
            Err(Flaw::Version(version)) => Some((file_name(*number), version)),
            _ => None,
        })
    }

    /// The newest hint, when there is one. What cannot be read may be one.
    pub(super) fn hint(&self) -> Result<Option<Hint>, CliError> {
        self.read_hint().map_err(|error| failure::unreadable(&self.place, HINT, &error))
    }

    fn read_hint(&self) -> io::Result<Option<Hint>> {
        let file = match self.disk.open(HINT, Access::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let length = file.size()?.min(hint::FILE_SIZE);
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        file.read_at(&mut bytes, 0)?;
        Ok(match self.last_header() {
            Some(header) => Hint::newest(&bytes, header.log),
            None => Hint::newest_of_any(&bytes),
        })
    }

    /// The newest hint, for those who go by what else they find where it cannot be read.
    fn readable_hint(&self) -> Option<Hint> {
        self.read_hint().ok().flatten()
    }

    /// Whether the log was closed by whoever wrote it last. A writer that is killed soon after it
    /// began leaves the hint of the one before it, so nothing may stand behind the end that the
    /// hint names.
    pub(super) fn is_clean(&self) -> bool {
        let Some(hint) = self.readable_hint().filter(|hint| hint.clean) else { return false };
        let is_last = self.header(hint.chunk.next()).is_none();
        is_last && self.ends_at(hint.chunk, hint.end.data_end).unwrap_or(false)
    }

    fn ends_at(&self, number: ChunkNumber, end: u64) -> Option<bool> {
        self.behind(number, end).map(|next| is_zero(&next))
    }

    /// How far the newest hint goes. A group behind its end may have been acked, so a view that
    /// goes by the hint may lack events.
    pub(super) fn noted(&self) -> Noted {
        let Some(hint) = self.readable_hint() else {
            return Noted { sequence: 0, is_all: self.header(ChunkNumber::FIRST).is_none() };
        };
        let is_behind = self.header(hint.chunk.next()).is_some()
            || self.has_group(hint.chunk, hint.end.data_end).unwrap_or(false);
        Noted { sequence: hint.sequence, is_all: !is_behind }
    }

    fn has_group(&self, number: ChunkNumber, offset: u64) -> Option<bool> {
        let salt = LogSalt::new(self.header(number)?.log).chunk(number);
        Some(GroupHeader::decode(&self.behind(number, offset)?, salt, offset).is_ok())
    }

    /// The bytes at an offset of a chunk's file, as many as a group header has or as there are.
    fn behind(&self, number: ChunkNumber, offset: u64) -> Option<Vec<u8>> {
        let file = self.open(number).ok()?;
        let room = file.size().ok()?.saturating_sub(offset).min(GROUP_HEADER_SIZE);
        let mut bytes = vec![0; usize::try_from(room).ok()?];
        file.read_at(&mut bytes, offset).ok()?;
        Some(bytes)
    }

    /// Who writes. Takes the lock for a moment, so it is asked only of logs that are not closed.
    pub(super) fn writer(&self) -> Writer {
        match self.disk.lock() {
            Err(LockError::Held { pid }) => Writer::Process(pid),
            // Where no lock can be taken, nobody who would need it can write.
            Ok(_) | Err(LockError::Io(_)) => Writer::Nobody,
        }
    }
}

fn without_holes(file: &dyn DiskFile, size: u64) -> io::Result<u64> {
    let (mut at, mut used) = (0, 0);
    while at < size
        && let Some(start) = file.next_data(at)?
    {
        let hole = file.next_hole(start)?;
        let end = if hole <= start { size } else { hole };
        used += end - start;
        at = end;
    }
    Ok(used)
}

/// How many bytes stdin will give, when it is a file.
pub(super) fn stdin_size() -> Option<u64> {
    let stat = rustix::fs::fstat(io::stdin()).ok()?;
    let is_file = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file();
    is_file.then(|| u64::try_from(stat.st_size).ok()).flatten()
}
