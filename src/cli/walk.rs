//! Owns the way through one chunk file as it is on disk, sound or not: group by group, past damage,
//! to its end.
//!
//! Promises: reads by calls, never through a map, so that a bad sector is an answer and not the end
//! of the process. Accepts exactly what recovery accepts (`chunk::scan`). Memory is bounded by one
//! group and one piece. Changes nothing.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::chunk::scan::{self, BadGroup, Cursor};
use crate::disk::DiskFile;
use crate::error::Damage;
use crate::format::checksum::ChunkSalt;
use crate::format::event::{self, EventFlaw};
use crate::format::group::{CheckedHeader, GroupHeader, MAGIC};
use crate::format::header::ChunkHeader;
use crate::format::page::Flaw;
use crate::format::{ALIGNMENT, GROUP_HEADER_SIZE, is_zero};
use crate::options::CHUNK_SIZE_MAX;
use crate::position::{ChunkNumber, Position};

/// How much is read at once: several of the largest groups that are usual, of which the last is
/// mostly cut and read again with the next piece.
const PIECE: u64 = 4 << 20;
/// How much is lost with a byte that cannot be read.
const SECTOR: u64 = 4096;

/// The bytes of a file, read in pieces.
#[derive(Debug)]
pub(super) struct Pieces {
    file: Arc<dyn DiskFile>,
    pub(super) size: u64,
    piece: Bytes,
    start: u64,
    /// What could not be read and is taken for zeros, in the order in which it was met; `None`
    /// where an error of a read is an error.
    gaps: Option<Vec<Gap>>,
}

/// A part of a file that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Gap {
    range: Range<u64>,
    error: String,
}

/// A group that fits its checksums and what came before it.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) at: Cursor,
    pub(super) checked: CheckedHeader,
    pub(super) body: Bytes,
}

/// Damage, with the position of the event or group that it hides where that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) damage: Damage,
    pub(super) position: Option<Position>,
}

impl From<Damage> for Finding {
    fn from(damage: Damage) -> Self {
        Self { damage, position: None }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.damage)?;
        self.position.map_or(Ok(()), |position| write!(f, ", at position {position}"))
    }
}

/// What stands behind the last sound group of a file whose end nothing else names.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// From there to behind the last byte that is not zero.
    pub(super) garbage: Option<Range<u64>>,
    /// The first sound group header in it.
    pub(super) group: Option<u64>,
    /// The greatest durable-through mark of all sound group headers in it.
    pub(super) durable: Position,
}

impl Pieces {
    pub(super) fn new(file: Arc<dyn DiskFile>) -> io::Result<Self> {
        let size = file.size()?;
        Ok(Self { file, size, piece: Bytes::new(), start: 0, gaps: None })
    }

    /// The same, but what cannot be read is taken for zeros and noted, and the rest is read.
    pub(super) fn past_gaps(file: Arc<dyn DiskFile>) -> io::Result<Self> {
        Ok(Self { gaps: Some(Vec::new()), ..Self::new(file)? })
    }

    /// All bytes of a file that nobody will ever change again, such as a sealed chunk. Those who
    /// cannot bear the end of the process read them by calls first.
    pub(super) fn mapped(&self) -> io::Result<Bytes> {
        let map = self.file.map(self.size)?;
        map.settle(self.size);
        map.view(0..self.size).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// The bytes from `offset`, as many as wanted or as there are.
    pub(super) fn bytes(&mut self, offset: u64, length: u64) -> io::Result<Bytes> {
        let end = offset.saturating_add(length).min(self.size);
        let offset = offset.min(end);
        if offset < self.start || end > self.start + self.piece.len() as u64 {
            let wanted = (end - offset).max(PIECE).min(self.size - offset);
            // An old piece must not answer for a place that could not be read.
            let old = std::mem::take(&mut self.piece);
            // Its room serves again, unless somebody still looks at it.
            let mut piece = old.try_into_mut().unwrap_or_default();
            piece.resize(usize::try_from(wanted).map_err(io::Error::other)?, 0);
            self.fill(&mut piece, offset)?;
            (self.piece, self.start) = (piece.freeze(), offset);
        }
        let (start, length) = (offset - self.start, end - offset);
        let start = usize::try_from(start).map_err(io::Error::other)?;
        Ok(self.piece.slice(start..start + usize::try_from(length).map_err(io::Error::other)?))
    }

    fn fill(&mut self, piece: &mut [u8], offset: u64) -> io::Result<()> {
        let Some(gaps) = &mut self.gaps else {
            return self.file.read_at(piece, offset);
        };
        if self.file.read_at(piece, offset).is_ok() {
            return Ok(());
        }
        // One bad sector fails the whole call, so each is asked for alone.
        let (mut at, mut rest) = (offset, piece);
        while !rest.is_empty() {
            let length = (SECTOR - at % SECTOR).min(rest.len() as u64);
            let (sector, behind) = rest.split_at_mut(length as usize);
            if let Err(error) = self.file.read_at(sector, at) {
                sector.fill(0);
                add_gap(gaps, at..at + length, &error);
            }
            (at, rest) = (at + length, behind);
        }
        Ok(())
    }

    /// Whether a part of `range` was met that cannot be read.
    pub(super) fn has_gap(&self, range: &Range<u64>) -> bool {
        let mut gaps = self.gaps.iter().flatten();
        gaps.any(|gap| gap.range.start < range.end && range.start < gap.range.end)
    }

    /// All parts that were met and cannot be read, as damage.
    pub(super) fn gaps(&self, chunk: ChunkNumber) -> Vec<Finding> {
        let mut gaps: Vec<_> = self.gaps.iter().flatten().collect();
        gaps.sort_by_key(|gap| gap.range.start);
        let damage = gaps.into_iter().map(|gap| {
            let (start, length) = (gap.range.start, gap.range.end - gap.range.start);
            let found = format!("{length} bytes that cannot be read: {}", gap.error);
            Damage::new((chunk, start), "bytes of the file", "readable", found).into()
        });
        damage.collect()
    }

    /// The group at the cursor, when it is sound and ends at or before `end`.
    pub(super) fn group(
        &mut self,
        salt: ChunkSalt,
        at: &Cursor,
        end: u64,
    ) -> io::Result<Result<Group, BadGroup>> {
        let room = end.saturating_sub(at.offset);
        let head = self.bytes(at.offset, GROUP_HEADER_SIZE.min(room))?;
        let length = GroupHeader::decode(&head, salt, at.offset)
            .map_or(GROUP_HEADER_SIZE, |group| group.header.length());
        let bytes = self.bytes(at.offset, length.min(room))?;
        Ok(scan::check_group(&bytes, salt, at).map(|checked| {
            let body = bytes.slice(GROUP_HEADER_SIZE as usize..);
            Group { at: *at, checked, body }
        }))
    }

    /// The group header at `offset`, when it fits its checksum, whatever its fit to other groups.
    pub(super) fn header(
        &mut self,
        salt: ChunkSalt,
        offset: u64,
    ) -> io::Result<Option<CheckedHeader>> {
        let head = self.bytes(offset, GROUP_HEADER_SIZE)?;
        Ok(GroupHeader::decode(&head, salt, offset).ok())
    }

    /// The first place at or behind `from` and before `end` where a sound group header stands, with
    /// the cursor that it wants to be read with.
    pub(super) fn resume(
        &mut self,
        salt: ChunkSalt,
        from: u64,
        end: u64,
    ) -> io::Result<Option<Cursor>> {
        let mut at = from.next_multiple_of(ALIGNMENT);
        while at < end {
            let piece = self.bytes(at, PIECE.min(end - at))?;
            for start in (0..piece.len()).step_by(ALIGNMENT as usize) {
                let offset = at + start as u64;
                if piece[start..].starts_with(&MAGIC)
                    && let Some(group) = self.header(salt, offset)?
                {
                    return Ok(Some(Cursor {
                        offset,
                        chain: group.header.previous_chain,
                        position: group.header.first_position,
                        time: group.header.time,
                    }));
                }
            }
            at += PIECE;
        }
        Ok(None)
    }

    /// How far groups can reach: recovery looks at nothing behind the capacity of a chunk, of which
    /// the file may be longer.
    pub(super) fn reach(&self, header: Option<&ChunkHeader>) -> u64 {
        self.size.min(header.map_or(CHUNK_SIZE_MAX, |header| header.capacity))
    }

    /// From `from` to behind the last byte before `to` that is not zero, where there is one.
    pub(super) fn garbage(&mut self, from: u64, to: u64) -> io::Result<Option<Range<u64>>> {
        let mut garbage = None;
        let (mut at, to) = (from, to.min(self.size));
        while at < to {
            // Holes are passed over: a large chunk is mostly ahead of its writer.
            let Some(data) = self.file.next_data(at)?.filter(|data| *data < to) else {
                break;
            };
            at = data.max(at);
            let piece = self.bytes(at, PIECE.min(to - at))?;
            if let Some(last) = piece.iter().rposition(|byte| *byte != 0) {
                garbage = Some(from..at + last as u64 + 1);
            }
            at += piece.len().max(1) as u64;
        }
        Ok(garbage)
    }

    /// What stands from `from` to `to`.
    pub(super) fn rest(&mut self, salt: ChunkSalt, from: u64, to: u64) -> io::Result<Rest> {
        let mut rest = Rest { garbage: self.garbage(from, to)?, ..Rest::default() };
        let end = rest.garbage.as_ref().map_or(from, |garbage| garbage.end);
        let mut place = from + ALIGNMENT;
        while let Some(found) = self.resume(salt, place, end)? {
            if let Some(group) = self.header(salt, found.offset)? {
                rest.group.get_or_insert(found.offset);
                rest.durable = rest.durable.max(group.header.durable_through);
            }
            place = found.offset + ALIGNMENT;
        }
        Ok(rest)
    }

    /// Whether all bytes of `range` are zero.
    pub(super) fn is_zero(&mut self, range: Range<u64>) -> io::Result<bool> {
        let mut at = range.start;
        while at < range.end.min(self.size) {
            let piece = self.bytes(at, PIECE.min(range.end - at))?;
            if !is_zero(&piece) {
                return Ok(false);
            }
            at += PIECE;
        }
        Ok(true)
    }

    /// What is wrong with a group that is not sound: its damaged events where their own checksums
    /// name them, otherwise the group. With its header, where that can be trusted.
    pub(super) fn diagnose(
        &mut self,
        salt: ChunkSalt,
        (chunk, offset): (ChunkNumber, u64),
        bad: BadGroup,
    ) -> io::Result<(Option<CheckedHeader>, Vec<Finding>)> {
        let header = self.header(salt, offset)?.filter(|_| bad.header);
        let events = match &header {
            Some(group) if !bad.body => {
                self.damaged_events(salt, (chunk, offset), &group.header)?
            }
            _ => Vec::new(),
        };
        let damage =
            if events.is_empty() { vec![bad.damage(chunk, offset).into()] } else { events };
        Ok((header, damage))
    }

    fn damaged_events(
        &mut self,
        salt: ChunkSalt,
        (chunk, offset): (ChunkNumber, u64),
        group: &GroupHeader,
    ) -> io::Result<Vec<Finding>> {
        let body = self.bytes(offset + GROUP_HEADER_SIZE, group.body_length.into())?;
        let mut found = Vec::new();
        if body.len() as u64 != u64::from(group.body_length) {
            return Ok(found);
        }
        let mut at = 0;
        for ordinal in 0..u64::from(group.events) {
            let position = group.first_position.plus(ordinal);
            let rest = &body[at.min(body.len())..];
            let length = match event::check_event(rest, salt, position) {
                Ok(layout) => layout.padded_length(),
                Err(flaw) => {
                    let place = (chunk, offset + GROUP_HEADER_SIZE + at as u64);
                    let damage = event_damage(place, flaw);
                    found.push(Finding { damage, position: Some(position) });
                    // The lengths stand in the fixed fields: only a flaw behind those leaves them
                    // to be trusted.
                    let is_trusted = !matches!(flaw, EventFlaw::Checksum { .. });
                    let layout = is_trusted.then(|| event::Layout::of(rest)).flatten();
                    let Some(layout) = layout else { break };
                    layout.padded_length()
                }
            };
            at += length;
        }
        Ok(found)
    }
}

/// Adds a gap, grown together with one that it touches.
fn add_gap(gaps: &mut Vec<Gap>, range: Range<u64>, error: &io::Error) {
    if gaps.iter().any(|gap| gap.range.contains(&range.start)) {
        return;
    }
    match gaps.iter_mut().find(|gap| gap.range.end == range.start) {
        Some(gap) => gap.range.end = range.end,
        None => gaps.push(Gap { range, error: error.to_string() }),
    }
}

/// What is wrong with the header of a chunk.
pub(super) fn header_damage(number: ChunkNumber, flaw: Flaw) -> Damage {
    let (what, expected, found) = flaw.describe();
    let what = match what {
        "magic" => "chunk header magic",
        "checksum" => "chunk header checksum",
        other => other,
    };
    Damage::new((number, 0), what, expected, found)
}

/// What is wrong with the event at a place.
pub(super) fn event_damage(place: (ChunkNumber, u64), flaw: EventFlaw) -> Damage {
    let (what, expected, found) = flaw.describe();
    Damage::new(place, what, expected, found)
}
