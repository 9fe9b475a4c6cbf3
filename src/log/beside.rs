//! Owns reading beside a writing process: a view of the log's files, without a lock and without a
//! change.
//!
//! Promises: shows what is proven to be durable and nothing else (R3): whole chunks, and of the
//! last one as much as the writing process has noted in its hint, at most a moment ago. Never waits
//! for the writer, never disturbs it.

use std::path::Path;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use crate::chunk::directory::{self, Directory, Listed, Listing};
use crate::chunk::recover;
use crate::chunk::{Chunk, ChunkFile, file_name};
use crate::disk::{Access, Disk, DiskFile, OsDisk};
use crate::error::{Error, OpenError};
use crate::format::footer::Footer;
use crate::format::header::{ChainEnd, ChunkHeader};
use crate::index::ChunkIndex;
use crate::index::memory::MemoryIndex;
use crate::index::segments::Segment;
use crate::keeper::open_sealed;
use crate::position::{ChunkNumber, Position};
use crate::read::View;

/// Looks at the files before a chunk that is named and not found counts as missing.
const LOOKS_MAX: u32 = 5;
const LOOK_PAUSE: Duration = Duration::from_millis(2);

impl View {
    /// Opens a view of the log in a directory, beside a process that may be writing it.
    ///
    /// It shows what that process has noted as durable: all but what was acked within the last
    /// tenth of a second, or some more while that process seals a chunk. Of a log that is written
    /// with [`Durability::Os`](crate::Durability::Os) it shows what was synced: up to the last roll
    /// to a new chunk. After an unclean stop the newest events may be missing from it until the log
    /// has been opened for writing once.
    ///
    /// # Errors
    /// [`OpenError`] names each case, such as damage or a missing chunk. Nothing is changed.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, OpenError> {
        let directory = directory.as_ref();
        let disk = OsDisk::open(directory).map_err(|error| {
            if error.kind() == std::io::ErrorKind::NotFound {
                return OpenError::Missing(directory.display().to_string());
            }
            OpenError::Failed(Error::from_io(&format!("open {}", directory.display()), error))
        })?;
        Self::open_on(&disk)
    }

    pub(crate) fn open_on(disk: &dyn Disk) -> Result<Self, OpenError> {
        for _ in 1..LOOKS_MAX {
            match look(disk) {
                // The writing process has rolled between the look at the files and the look into
                // them; the next look sees the chunk.
                Err(OpenError::MissingChunk(number)) if is_there(disk, number) => {}
                // A header that is just being written may be read by half.
                Err(OpenError::Corrupt(_)) => std::thread::sleep(LOOK_PAUSE),
                other => return other,
            }
        }
        look(disk)
    }
}

fn is_there(disk: &dyn Disk, number: ChunkNumber) -> bool {
    disk.open(&file_name(number), Access::Read).is_ok()
}

fn look(disk: &dyn Disk) -> Result<View, OpenError> {
    let Directory::Log(listing) = directory::read(disk, Access::Read)? else {
        return Err(OpenError::Missing(disk.label()));
    };
    // The hint is read last, so it may name a chunk that was not listed yet.
    let behind = ChunkNumber::new(listing.chunks.len() as u64);
    match listing.hint {
        Some(hint) if hint.chunk >= behind => Err(OpenError::MissingChunk(behind)),
        _ => view(listing),
    }
}

fn view(listing: Listing) -> Result<View, OpenError> {
    let mut segments = Vec::new();
    let mut end = Position::START;
    for listed in listing.chunks {
        let (header, file, chunk_end) = match listed {
            Listed::Sealed(chunk) => {
                end = chunk.footer().map_or(end, Footer::end_position);
                segments.push(Arc::new(open_sealed(chunk)?));
                continue;
            }
            Listed::Unsealed { header, file, complete: Some((chunk_end, _)) } => {
                (header, file, chunk_end)
            }
            Listed::Unsealed { header, file, complete: None } => {
                let noted = listing.hint.filter(|hint| hint.chunk == header.number);
                let start = ChainEnd {
                    chain: header.previous.chain,
                    data_end: crate::format::CHUNK_HEADER_SIZE,
                };
                (header, file, noted.map_or(start, |hint| hint.end))
            }
        };
        let (segment, behind) = scan(header, file, chunk_end)?;
        segments.push(Arc::new(segment));
        end = behind;
    }
    Ok(View::new(Arc::new(segments), end))
}

/// Reads the groups of a chunk up to a place that is known to be durable.
fn scan(
    header: ChunkHeader,
    file: Arc<dyn DiskFile>,
    end: ChainEnd,
) -> Result<(Segment, Position), OpenError> {
    let number = header.number;
    let failed = |error| Error::from_io(&format!("read {}", file_name(number)), error);
    let size = file.size().map_err(failed)?;
    let end_of_data = end.data_end.min(size);
    let file = ChunkFile::beside(file, number, end_of_data).map_err(failed)?;
    // The writing process never writes below what it has noted as durable.
    file.settle(end_of_data);
    let chunk = Chunk::unsealed(header, Arc::new(file));
    let mut index = MemoryIndex::default();
    let bytes = chunk.readable();
    let known = Position::START;
    let (walk, bad) = recover::walk(&bytes, (&chunk.header, chunk.salt), known, &mut |event| {
        index.insert_event(&event);
    })?;
    if walk.end.end() != end {
        return Err(OpenError::Corrupt(bad.damage(number, walk.end.offset)));
    }
    Ok((Segment::new(chunk, ChunkIndex::Memory(RwLock::new(index))), walk.end.position))
}
