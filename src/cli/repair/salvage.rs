//! Owns the rescue of sound events from chunks that are not sound: every event that its own
//! checksums prove, in the order of positions, each once.
//!
//! Promises: what it hands out was stored so, at this position of this log. Reads by calls, past
//! damage and past what cannot be read. Assumes nothing of the groups but what their headers'
//! checksums prove.

use std::io;

use uuid::Uuid;

use super::super::walk::Pieces;
use super::plan::Source;
use super::survey;
use crate::RecordedEvent;
use crate::disk::Disk;
use crate::format::checksum::{ChunkSalt, LogSalt};
use crate::format::event::{self, EventFlaw, Layout};
use crate::format::group::GroupHeader;
use crate::format::{ALIGNMENT, GROUP_HEADER_SIZE};
use crate::options::EVENT_SIZE_MAX;
use crate::position::Position;

/// How much is read at first of an event whose length nothing tells.
const EVENT_SIZE_USUAL: u64 = 64 << 10;
/// How much is passed over where a disk cannot read.
const SECTOR: u64 = 4096;

/// Hands each sound event of the sources to `each`.
pub(super) fn events<E: From<io::Error>>(
    disk: &dyn Disk,
    log: Uuid,
    sources: &[Source],
    each: &mut dyn FnMut(&RecordedEvent) -> Result<(), E>,
) -> Result<(), E> {
    let mut next = Position::START;
    for source in sources {
        let pieces = Pieces::new(survey::open(disk, source.file)?)?;
        let salt = LogSalt::new(log).chunk(source.chunk);
        let at = source.position.map(|position| position.max(next));
        let mut walk = Walk { pieces, salt, offset: source.from, position: at, next };
        walk.all(each)?;
        next = walk.next;
    }
    Ok(())
}

struct Walk {
    pieces: Pieces,
    salt: ChunkSalt,
    offset: u64,
    /// The position of what stands at the offset, where that is known.
    position: Option<Position>,
    /// All events below were handed out, or are gone.
    next: Position,
}

impl Walk {
    fn all<E>(&mut self, each: &mut dyn FnMut(&RecordedEvent) -> Result<(), E>) -> Result<(), E> {
        while self.offset < self.pieces.size {
            // A place that cannot be read is passed over like a damaged one.
            let header = self.pieces.header(self.salt, self.offset).ok().flatten();
            match header.map(|group| group.header) {
                Some(group) if group.first_position >= self.next => {
                    self.group(&group, each)?;
                    self.offset = self.offset.saturating_add(group.length());
                    self.position = Some(group.end_position());
                }
                _ if self.headless(each)? => {}
                _ => {
                    let from = self.offset + ALIGNMENT;
                    match self.pieces.resume(self.salt, from, self.pieces.size) {
                        Ok(Some(at)) => {
                            self.offset = at.offset;
                            self.position = Some(at.position);
                        }
                        Ok(None) => break,
                        Err(_) => self.offset = (from + 1).next_multiple_of(SECTOR),
                    }
                }
            }
        }
        Ok(())
    }

    /// The sound events of a group whose header is sound.
    fn group<E>(
        &mut self,
        group: &GroupHeader,
        each: &mut dyn FnMut(&RecordedEvent) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.offset + GROUP_HEADER_SIZE;
        let Ok(body) = self.pieces.bytes(start, group.body_length.into()) else { return Ok(()) };
        let mut at = 0;
        for ordinal in 0..u64::from(group.events) {
            let position = group.first_position.plus(ordinal);
            let rest = body.slice(at.min(body.len())..);
            let layout = match event::decode(&rest, self.salt, position) {
                Ok(event) => {
                    each(&event)?;
                    self.next = position.plus(1);
                    Layout::of(&rest)
                }
                // The lengths stand in the fixed fields, which this flaw leaves in doubt.
                Err(EventFlaw::Checksum { .. }) => None,
                Err(_) => Layout::of(&rest),
            };
            let length = layout.map(|layout| layout.padded_length());
            match length.or_else(|| distance(&rest, self.salt, position.plus(1))) {
                Some(length) => at += length,
                None => break,
            }
        }
        Ok(())
    }

    /// The events behind a damaged group header, when what stands before tells their positions.
    /// Whether there were any.
    fn headless<E>(
        &mut self,
        each: &mut dyn FnMut(&RecordedEvent) -> Result<(), E>,
    ) -> Result<bool, E> {
        let Some(mut position) = self.position.filter(|position| *position >= self.next) else {
            return Ok(false);
        };
        let mut at = self.offset + GROUP_HEADER_SIZE;
        let first = position;
        while let Some((event, length)) = self.event(at, position) {
            each(&event)?;
            position = position.plus(1);
            at += length;
        }
        if position == first {
            return Ok(false);
        }
        self.next = position;
        (self.offset, self.position) = (at, Some(position));
        Ok(true)
    }

    fn event(&mut self, at: u64, position: Position) -> Option<(RecordedEvent, u64)> {
        let mut bytes = self.pieces.bytes(at, EVENT_SIZE_USUAL).ok()?;
        if Layout::of(&bytes).is_none() {
            bytes = self.pieces.bytes(at, EVENT_SIZE_MAX as u64 + ALIGNMENT).ok()?;
        }
        let event = event::decode(&bytes, self.salt, position).ok()?;
        Some((event, Layout::of(&bytes)?.padded_length() as u64))
    }
}

/// How far behind the start of `bytes` the event at a position stands.
fn distance(bytes: &[u8], salt: ChunkSalt, position: Position) -> Option<usize> {
    let places = (ALIGNMENT as usize..bytes.len()).step_by(ALIGNMENT as usize);
    places.into_iter().find(|at| event::check_event(&bytes[*at..], salt, position).is_ok())
}
