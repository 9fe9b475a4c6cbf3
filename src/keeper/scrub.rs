//! Owns the scrub: the reading of sealed chunks in the background, a small piece at a time, within
//! a budget of bytes a second.
//!
//! Promises: each round checks every group, event and section of every sealed chunk by the
//! functions that readers and recovery go by; what is wrong is counted, with its place, and stops
//! nothing. A step makes one read of at most a quarter of a MiB. Reads by calls, never through a
//! map, so a bad sector is a finding. Never writes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::chunk::scan::{self, Cursor};
use crate::chunk::{Chunk, file_name};
use crate::disk::{Access, Disk, DiskFile};
use crate::error::Damage;
use crate::format::checksum::crc;
use crate::format::footer::{FOOTER_SIZE, Footer};
use crate::format::group::GroupHeader;
use crate::format::header::ChunkHeader;
use crate::format::{CHUNK_HEADER_SIZE, GROUP_HEADER_SIZE};
use crate::index::segments::{Segment, Segments};
use crate::position::ChunkNumber;
use crate::stage::meter::ScrubMeter;

/// Most bytes of one read: what a disk gives in well under a millisecond to some milliseconds.
const PIECE_MAX: u64 = 256 << 10;
const PIECE_MIN: u64 = 4 << 10;
/// Pieces a second that a small budget is spread over.
const PIECES: u64 = 8;
/// How soon a log without a sealed chunk is looked at again.
const EMPTY_WAIT: Duration = Duration::from_secs(1);

/// The scrub of one log.
#[derive(Debug)]
pub(super) struct Scrub {
    bytes_per_second: u64,
    meter: Arc<ScrubMeter>,
    /// Not before this moment is the next piece read.
    due: Duration,
    /// The chunk that comes next.
    next: ChunkNumber,
    reading: Option<Reading>,
}

/// One chunk while it is read.
#[derive(Debug)]
struct Reading {
    segment: Arc<Segment>,
    file: Arc<dyn DiskFile>,
    at: At,
    /// What this step has found.
    found: Vec<Damage>,
}

/// Where in a chunk the reading is.
#[derive(Debug)]
enum At {
    Header,
    /// Among the groups: the cursor of the next one, and what was read of it.
    Groups(Cursor, Vec<u8>),
    /// Within a section: how far, and the checksum up to there.
    Section {
        index: usize,
        done: u64,
        sum: u32,
    },
    Footer,
    End,
}

impl Scrub {
    pub(super) fn new(bytes_per_second: u64, meter: Arc<ScrubMeter>) -> Self {
        let (due, next) = (Duration::ZERO, ChunkNumber::FIRST);
        Self { bytes_per_second, meter, due, next, reading: None }
    }

    /// Reads the next piece when it is due; otherwise tells when it is.
    pub(super) fn step(
        &mut self,
        disk: &dyn Disk,
        segments: &Segments,
        now: Duration,
    ) -> Option<Duration> {
        if now < self.due {
            return Some(self.due);
        }
        let Some(mut reading) = self.reading.take().or_else(|| self.begin(disk, segments)) else {
            self.due = now + EMPTY_WAIT;
            return Some(self.due);
        };
        let piece = (self.bytes_per_second / PIECES).clamp(PIECE_MIN, PIECE_MAX);
        let read = reading.step(piece);
        self.meter.bytes.add(read);
        reading.found.drain(..).for_each(|damage| self.meter.damage(&damage));
        if matches!(reading.at, At::End) {
            self.meter.chunks.add(1);
        } else {
            self.reading = Some(reading);
        }
        // What a late step has missed is not made up for: the budget is a limit.
        self.due = now + time_for(read, self.bytes_per_second);
        None
    }

    /// The next sealed chunk, from the first one again when there is no further one.
    fn begin(&mut self, disk: &dyn Disk, segments: &Segments) -> Option<Reading> {
        let list = segments.snapshot();
        let mut sealed = list.iter().filter(|segment| segment.chunk.footer().is_some());
        let first = sealed.clone().next()?;
        let further = sealed.find(|segment| segment.chunk.number() >= self.next);
        let segment = further.unwrap_or_else(|| {
            self.meter.rounds.add(1);
            first
        });
        let number = segment.chunk.number();
        self.next = number.next();
        match disk.open(&file_name(number), Access::Read) {
            Ok(file) => {
                let (segment, found) = (Arc::clone(segment), Vec::new());
                Some(Reading { segment, file, at: At::Header, found })
            }
            Err(error) => {
                self.meter.damage(&unreadable(&segment.chunk, 0, &error));
                None
            }
        }
    }
}

fn time_for(bytes: u64, bytes_per_second: u64) -> Duration {
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(bytes_per_second.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

fn unreadable(chunk: &Chunk, offset: u64, error: &io::Error) -> Damage {
    Damage::new((chunk.number(), offset), "bytes of the file", "readable", error)
}

impl Reading {
    /// Reads and checks the next piece: how many bytes.
    fn step(&mut self, piece: u64) -> u64 {
        let segment = Arc::clone(&self.segment);
        let chunk = &segment.chunk;
        let footer = chunk.footer().expect("only sealed chunks are scrubbed");
        let (at, read) = match std::mem::replace(&mut self.at, At::End) {
            At::Header => {
                self.found.extend(self.header(chunk).err());
                (At::Groups(Cursor::start(&chunk.header), Vec::new()), CHUNK_HEADER_SIZE)
            }
            At::Groups(cursor, bytes) => self.groups(chunk, footer, (cursor, bytes), piece),
            At::Section { index, done, sum } => {
                self.section(chunk, footer, (index, done, sum), piece)
            }
            At::Footer => {
                self.found.extend(self.footer(chunk, footer).err());
                (At::End, FOOTER_SIZE)
            }
            At::End => (At::End, 0),
        };
        self.at = at;
        read
    }

    fn block(&self, chunk: &Chunk, offset: u64, length: u64) -> Result<Vec<u8>, Damage> {
        let mut block = vec![0; length as usize];
        let read = self.file.read_at(&mut block, offset);
        read.map_err(|error| unreadable(chunk, offset, &error))?;
        Ok(block)
    }

    fn header(&self, chunk: &Chunk) -> Result<(), Damage> {
        let block = self.block(chunk, 0, CHUNK_HEADER_SIZE)?;
        if ChunkHeader::decode(&block).as_ref() == Ok(&chunk.header) {
            return Ok(());
        }
        Err(Damage::new((chunk.number(), 0), "chunk header", "that of the opened log", "another"))
    }

    fn footer(&self, chunk: &Chunk, footer: &Footer) -> Result<(), Damage> {
        let offset = footer.offset();
        let block = self.block(chunk, offset, FOOTER_SIZE)?;
        if Footer::decode(&block).as_ref() == Ok(footer) {
            return Ok(());
        }
        let place = (chunk.number(), offset);
        Err(Damage::new(place, "footer", "that of the opened log", "another"))
    }

    /// Reads on, and checks all groups that are whole now.
    fn groups(
        &mut self,
        chunk: &Chunk,
        footer: &Footer,
        (mut cursor, mut bytes): (Cursor, Vec<u8>),
        piece: u64,
    ) -> (At, u64) {
        let end = footer.end.data_end;
        let from = cursor.offset + bytes.len() as u64;
        let length = piece.min(end.saturating_sub(from));
        match self.block(chunk, from, length) {
            Ok(block) => bytes.extend_from_slice(&block),
            Err(flaw) => {
                self.found.push(flaw);
                return (behind_groups(footer), length);
            }
        }
        let mut rest = &bytes[..];
        let is_last = from + length >= end;
        while !rest.is_empty() {
            if !is_last && !holds_group(rest, chunk, cursor.offset) {
                break;
            }
            let Some(next) = check_group(rest, chunk, &cursor, &mut self.found) else {
                // Where the next one begins is not known: the rest is for `verify`.
                return (behind_groups(footer), length);
            };
            rest = rest.get((next.offset - cursor.offset) as usize..).unwrap_or_default();
            cursor = next;
        }
        if !is_last {
            let used = bytes.len() - rest.len();
            bytes.drain(..used);
            return (At::Groups(cursor, bytes), length);
        }
        if cursor.end() != footer.end {
            let place = (chunk.number(), footer.offset());
            let what = "end of the chunk in the footer";
            self.found.push(Damage::new(place, what, cursor.offset, footer.end.data_end));
        }
        (behind_groups(footer), length)
    }

    fn section(
        &mut self,
        chunk: &Chunk,
        footer: &Footer,
        (index, done, sum): (usize, u64, u32),
        piece: u64,
    ) -> (At, u64) {
        let next = At::Section { index: index + 1, done: 0, sum: 0 };
        let Some(section) = footer.sections.get(index) else { return (At::Footer, 0) };
        let length = piece.min(section.length - done);
        let block = match self.block(chunk, section.offset + done, length) {
            Ok(block) => block,
            Err(flaw) => {
                self.found.push(flaw);
                return (next, length);
            }
        };
        let sum = match done {
            0 => chunk.salt.at_place(section.offset, &block),
            _ => crc(sum, &block),
        };
        let done = done + length;
        if done < section.length {
            return (At::Section { index, done, sum }, length);
        }
        if sum != section.checksum {
            let [sum, stored] = [sum, section.checksum].map(|sum| format!("{sum:#010x}"));
            let place = (chunk.number(), section.offset);
            self.found.push(Damage::new(place, "checksum of a section", sum, stored));
        }
        (next, length)
    }
}

fn behind_groups(footer: &Footer) -> At {
    if footer.sections.is_empty() { At::Footer } else { At::Section { index: 0, done: 0, sum: 0 } }
}

/// Whether the bytes hold all of the group they begin with, or enough to see that it is damaged.
fn holds_group(bytes: &[u8], chunk: &Chunk, offset: u64) -> bool {
    bytes.len() as u64 >= GROUP_HEADER_SIZE
        && GroupHeader::decode(bytes, chunk.salt, offset)
            .map_or(true, |group| bytes.len() as u64 >= group.header.length())
}

/// Checks one group and its events: where the next one begins, if that is known.
fn check_group(
    bytes: &[u8],
    chunk: &Chunk,
    at: &Cursor,
    damage: &mut Vec<Damage>,
) -> Option<Cursor> {
    let number = chunk.number();
    match scan::check_group(bytes, chunk.salt, at) {
        Ok(group) => {
            let body = scan::body_of(bytes, &group.header)?;
            let visited = scan::visit_events(body, chunk.salt, at, &group.header, &mut |_| {});
            if let Err((offset, flaw)) = visited {
                let (what, expected, found) = flaw.describe();
                damage.push(Damage::new((number, offset), what, expected, found));
            }
            Some(at.after(&group))
        }
        Err(bad) => {
            let is_known = bad.header;
            damage.push(bad.damage(number, at.offset));
            let group = GroupHeader::decode(bytes, chunk.salt, at.offset).ok();
            group.filter(|_| is_known).map(|group| at.after(&group))
        }
    }
}
