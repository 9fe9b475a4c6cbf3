//! Owns the view of a log's directory: which chunks there are, what each says of itself, and
//! whether they fit together.
//!
//! Promises: reads headers and footers only; refuses gaps, strangers and other versions by name
//! (F43-F45). Changes nothing.

use std::io;
use std::sync::Arc;

use uuid::Uuid;

use super::{Chunk, file_name, number_of, recover};
use crate::disk::{Access, Disk, DiskFile};
use crate::error::{Damage, Error, OpenError};
use crate::format::footer::Footer;
use crate::format::header::{ChainEnd, ChunkHeader};
use crate::format::hint::{self, Hint};
use crate::format::page::Flaw;
use crate::format::{CHUNK_HEADER_SIZE, VERSION, is_zero};
use crate::position::{ChunkNumber, Position};

/// Name of the file of hints.
pub(crate) const HINT: &str = "hint";

/// What a directory holds.
#[derive(Debug)]
pub(crate) enum Directory {
    /// No log; perhaps the blank file of a first chunk whose creation was cut short.
    Empty { blank: Option<Arc<dyn DiskFile>> },
    /// A log.
    Log(Listing),
}

/// The chunks of a log, in order, none missing.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) chunks: Vec<Listed>,
    /// The file behind the last chunk, whose header block is zero.
    pub(crate) blank: Option<(ChunkNumber, Arc<dyn DiskFile>)>,
    pub(crate) hint: Option<Hint>,
}

/// A chunk as found.
#[derive(Debug)]
pub(crate) enum Listed {
    Sealed(Chunk),
    Unsealed {
        header: ChunkHeader,
        file: Arc<dyn DiskFile>,
        /// Where the next chunk's header says that this one ends; `None` for the last chunk.
        complete: Option<(ChainEnd, Position)>,
    },
}

/// Reads what the directory holds.
pub(crate) fn read(disk: &dyn Disk, access: Access) -> Result<Directory, OpenError> {
    let label = disk.label();
    let failed = |doing: &str| {
        let doing = format!("{doing} {label}");
        move |error| OpenError::Failed(Error::from_io(&doing, error))
    };
    let names = disk.list().map_err(failed("list"))?;
    let numbers: Vec<_> = names.iter().filter_map(|name| number_of(name)).collect();
    let mut chunks = Vec::new();
    let mut blank = None;
    let mut last: Option<(ChunkHeader, Arc<dyn DiskFile>)> = None;
    for (index, number) in numbers.iter().enumerate() {
        let expected = ChunkNumber::new(index as u64);
        if *number != expected {
            return Err(OpenError::MissingChunk(expected));
        }
        let file = disk.open(&file_name(*number), access).map_err(failed("open a chunk of"))?;
        let is_last = index + 1 == numbers.len();
        match read_header(&*file).map_err(failed("read a chunk of"))? {
            Header::Blank if is_last => blank = Some((*number, file)),
            Header::Blank => return Err(bad_header(*number, Flaw::Magic)),
            Header::Bad(flaw) => return Err(bad_header(*number, flaw)),
            Header::Sound(header) => {
                check_place(&header, *number, last.as_ref().map_or(header.log, |it| it.0.log))?;
                if let Some((before, file)) = last.take() {
                    chunks.push(list(before, file, Some(&header))?);
                }
                last = Some((header, file));
            }
        }
    }
    let Some((header, file)) = last else {
        return no_chunks(disk, blank.map(|(_, file)| file));
    };
    let log = header.log;
    let chunk = list(header, file, None).map_err(|error| match (error, &blank) {
        // The file is there, and has lost its header.
        (OpenError::MissingChunk(next), Some((at, _))) if *at == next => {
            bad_header(next, Flaw::Magic)
        }
        (error, _) => error,
    })?;
    chunks.push(chunk);
    let hint = read_hint(disk).map_err(failed("read the hint of"))?;
    Ok(Directory::Log(Listing { chunks, blank, hint: Hint::newest(&hint, log) }))
}

fn no_chunks(disk: &dyn Disk, blank: Option<Arc<dyn DiskFile>>) -> Result<Directory, OpenError> {
    let number = ChunkNumber::FIRST;
    let hint = read_hint(disk).unwrap_or_default();
    // A hint is only written when the first chunk is durable.
    if Hint::newest_of_any(&hint).is_some() {
        return Err(match blank {
            Some(_) => bad_header(number, Flaw::Magic),
            None => OpenError::MissingChunk(number),
        });
    }
    let is_headless = |file: &dyn DiskFile| -> io::Result<bool> {
        let is_written = recover::garbage(file)?.is_some();
        // Whoever is making the log writes the header first.
        Ok(is_written && matches!(read_header(file)?, Header::Blank))
    };
    let headless = blank.as_ref().map(|file| is_headless(&**file)).transpose();
    let headless = headless.map_err(|error| {
        OpenError::Failed(Error::from_io(&format!("read {}", file_name(number)), error))
    })?;
    // A log is made of zeros and a header that is written at once, so this was one.
    if headless == Some(true) {
        return Err(bad_header(number, Flaw::Magic));
    }
    Ok(Directory::Empty { blank })
}

enum Header {
    Blank,
    Bad(Flaw),
    Sound(ChunkHeader),
}

fn read_header(file: &dyn DiskFile) -> io::Result<Header> {
    let mut block = [0; CHUNK_HEADER_SIZE as usize];
    let size = file.size()?.min(CHUNK_HEADER_SIZE);
    file.read_at(&mut block[..size as usize], 0)?;
    Ok(match ChunkHeader::decode(&block) {
        Ok(header) => Header::Sound(header),
        Err(_) if is_zero(&block) => Header::Blank,
        Err(flaw) => Header::Bad(flaw),
    })
}

fn bad_header(number: ChunkNumber, flaw: Flaw) -> OpenError {
    if let Flaw::Version(found) = flaw {
        return OpenError::Version { file: file_name(number), found, supported: VERSION };
    }
    let (what, expected, found) = flaw.describe();
    let what = match what {
        "magic" => "chunk header magic",
        "checksum" => "chunk header checksum",
        other => other,
    };
    OpenError::Corrupt(Damage::new((number, 0), what, expected, found))
}

/// Whether a chunk belongs where it was found, among those of `log`, which begins at position 0.
fn check_place(header: &ChunkHeader, number: ChunkNumber, log: Uuid) -> Result<(), OpenError> {
    let foreign = |why: String| Err(OpenError::Foreign { file: file_name(number), why });
    if header.number != number {
        return foreign(format!("its header says that it is chunk {}", header.number));
    }
    if header.log != log {
        return foreign(format!("it is of log {}, the others are of {log}", header.log));
    }
    // Each later chunk is held to the end of the one before it.
    if number == ChunkNumber::FIRST && header.first_position != Position::START {
        let (what, found) = ("first position of the chunk", header.first_position);
        return Err(Damage::new((number, 0), what, Position::START, found).into());
    }
    Ok(())
}

/// What a chunk is, before the chunk `next`.
pub(crate) fn list(
    header: ChunkHeader,
    file: Arc<dyn DiskFile>,
    next: Option<&ChunkHeader>,
) -> Result<Listed, OpenError> {
    let number = header.number;
    let reading = |error| {
        OpenError::Failed(Error::from_io(
            &format!("read the footer of {}", file_name(number)),
            error,
        ))
    };
    let complete = next.map(|next| (next.previous, next.first_position));
    let Some((footer, offset)) = read_footer(&*file, &header).map_err(reading)? else {
        return Ok(Listed::Unsealed { header, file, complete });
    };
    let is_short = file.size().map_err(reading)? < footer.file_size;
    // A chunk is sealed only after the next one has durable groups.
    let (end, end_position) = complete.ok_or(OpenError::MissingChunk(number.next()))?;
    let place = (number, offset);
    if footer.log != header.log || footer.number != number {
        let found = format!("those of chunk {} of log {}", footer.number, footer.log);
        return Err(Damage::new(place, "footer's log and number", "the header's", found).into());
    }
    if footer.first_position != header.first_position || footer.end_position() != end_position {
        let expected = format!("{} to {end_position}", header.first_position);
        let found = format!("{} to {}", footer.first_position, footer.end_position());
        return Err(Damage::new(place, "positions of the footer", expected, found).into());
    }
    if footer.end != end {
        let expected = format!("chain {:#018x} at {}", end.chain, end.data_end);
        let found = format!("chain {:#018x} at {}", footer.end.chain, footer.end.data_end);
        return Err(Damage::new(place, "end of the chunk", expected, found).into());
    }
    if is_short {
        // Its zeros are lacking, so it is sealed again.
        return Ok(Listed::Unsealed { header, file, complete });
    }
    Ok(Listed::Sealed(Chunk::sealed(header, &*file, footer)?))
}

/// The footer at the end of the file and its offset, when there is a sound one that agrees with the
/// file's size. What a file lacks of the chunk's capacity counts as zeros, because opening makes it
/// that long: no footer comes up then that was not looked at.
fn read_footer(file: &dyn DiskFile, header: &ChunkHeader) -> io::Result<Option<(Footer, u64)>> {
    let size = file.size()?;
    let end = size.max(header.capacity);
    let Some(offset) = end.checked_sub(CHUNK_HEADER_SIZE).filter(|at| *at >= CHUNK_HEADER_SIZE)
    else {
        return Ok(None);
    };
    let mut block = [0; CHUNK_HEADER_SIZE as usize];
    let there = size.saturating_sub(offset).min(CHUNK_HEADER_SIZE);
    if there > 0 {
        file.read_at(&mut block[..there as usize], offset)?;
    }
    Ok(Footer::decode(&block).ok().filter(|it| it.file_size == end).map(|it| (it, offset)))
}

/// The newest hint of a log, where there is one.
pub(crate) fn newest_hint(disk: &dyn Disk, log: Uuid) -> io::Result<Option<Hint>> {
    Ok(Hint::newest(&read_hint(disk)?, log))
}

/// The header of a chunk and its file, where it has a sound header that says that it belongs there.
pub(crate) fn begun(
    disk: &dyn Disk,
    number: ChunkNumber,
    log: Uuid,
) -> Result<(ChunkHeader, Arc<dyn DiskFile>), OpenError> {
    let name = file_name(number);
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => OpenError::MissingChunk(number),
        _ => OpenError::Failed(Error::from_io(&format!("read {name}"), error)),
    };
    let file = disk.open(&name, Access::Read).map_err(failed)?;
    match read_header(&*file).map_err(failed)? {
        Header::Blank => Err(OpenError::MissingChunk(number)),
        Header::Bad(flaw) => Err(bad_header(number, flaw)),
        Header::Sound(header) => {
            check_place(&header, number, log)?;
            Ok((header, file))
        }
    }
}

fn read_hint(disk: &dyn Disk) -> io::Result<Vec<u8>> {
    let file = match disk.open(HINT, Access::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut bytes = vec![0; file.size()?.min(hint::FILE_SIZE) as usize];
    file.read_at(&mut bytes, 0)?;
    Ok(bytes)
}
