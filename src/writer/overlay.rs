//! Owns what the writer has written and the chaser has perhaps not indexed yet, so that a decision
//! sees every event before it.
//!
//! Promises: every event at or beyond what was visible when it was last trimmed is here. Events are
//! indexed only when somebody asks, so appends without conditions pay for keeping their bytes and
//! nothing else. Assumes appends in the order of the log.

use std::collections::VecDeque;

use bytes::Bytes;
use uuid::Uuid;

use super::heads::Heads;
use super::repeat::split;
use crate::error::{Error, ErrorKind, Result};
use crate::event::RecordedEvent;
use crate::format::checksum::ChunkSalt;
use crate::format::event::{self, Layout};
use crate::index::key::Key;
use crate::index::memory::{Entry, MemoryIndex};
use crate::index::plan;
use crate::position::{Position, StreamVersion};
use crate::query::Query;

#[cfg(test)]
mod tests;

/// Events written lately.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    recent: VecDeque<Recent>,
    /// Two indexes, the second of the later events: an index cannot forget its older half, but the
    /// older index can be dropped as a whole.
    generations: [Generation; 2],
}

/// An append that was written lately.
#[derive(Debug)]
struct Recent {
    first: Position,
    events: u32,
    salt: ChunkSalt,
    /// Its events, stamped.
    bytes: Vec<u8>,
}

/// An index over a run of events.
#[derive(Debug, Default)]
struct Generation {
    first: Position,
    index: MemoryIndex,
}

impl Overlay {
    /// Adds an append that joins the log at `first`.
    pub(crate) fn push(&mut self, first: Position, events: u32, salt: ChunkSalt, bytes: Vec<u8>) {
        self.recent.push_back(Recent { first, events, salt, bytes });
    }

    /// Forgets what lies at or beyond `end`: it did not join the log.
    pub(crate) fn take_back(&mut self, end: Position) {
        while self.recent.back().is_some_and(|recent| recent.first >= end) {
            self.recent.pop_back();
        }
        if self.generations.iter().any(|generation| generation.end() > end) {
            // What is left is indexed again when somebody asks.
            self.generations = <[Generation; 2]>::default();
        }
    }

    /// Notes the next version of each stream that has an event here.
    pub(crate) fn note_heads(&self, heads: &mut Heads) {
        for event in self.recent.iter().flat_map(|recent| split(&recent.bytes)) {
            heads.set(event::stream_of(event), event::version_of(event).next());
        }
    }

    /// Forgets what lies below `visible`: the index has it.
    pub(crate) fn trim(&mut self, visible: Position) {
        while self.recent.front().is_some_and(|recent| recent.end() <= visible) {
            self.recent.pop_front();
        }
        let [older, newer] = &mut self.generations;
        if newer.end() <= visible {
            if newer.index.event_count() > 0 || older.index.event_count() > 0 {
                self.generations = <[Generation; 2]>::default();
            }
        } else if older.end() <= visible {
            let index = MemoryIndex::default();
            let next = Generation { first: newer.end(), index };
            *older = std::mem::replace(newer, next);
        }
    }

    /// The first event of the query at or beyond `from`.
    pub(crate) fn first_match(&mut self, query: &Query, from: Position) -> Option<Position> {
        self.index();
        self.generations.iter().find_map(|generation| {
            let start = u32::try_from(from.since(generation.first)).unwrap_or(u32::MAX);
            let ordinals = start..generation.index.event_count();
            let found = plan::first_match_in(&generation.index, query, ordinals)?;
            Some(generation.first.plus(found.into()))
        })
    }

    /// The position of the last event that carries an operation's id.
    pub(crate) fn operation(&mut self, id: &Uuid) -> Option<Position> {
        self.index();
        self.generations.iter().rev().find_map(|generation| {
            let found = generation.index.find(&Key::operation(id))?;
            Some(generation.first.plus((*found.postings.last()?).into()))
        })
    }

    /// The position of the event of a stream with this version.
    pub(crate) fn place(&mut self, stream: &str, version: StreamVersion) -> Option<Position> {
        self.index();
        self.generations.iter().find_map(|generation| {
            let found = generation.index.find(&Key::stream(stream))?;
            let place = version.get().checked_sub(found.first_version.get())?;
            let ordinal = found.postings.get(usize::try_from(place).ok()?)?;
            Some(generation.first.plus((*ordinal).into()))
        })
    }

    /// The events of the append that holds the event at `position`; `None` where it is not here.
    pub(crate) fn append_at(&self, position: Position) -> Option<Result<Vec<RecordedEvent>>> {
        let behind = self.recent.partition_point(|recent| recent.first <= position);
        let recent = self.recent.get(behind.checked_sub(1)?)?;
        (position < recent.end()).then(|| recent.decode())
    }

    fn index(&mut self) {
        let newer = &mut self.generations[1];
        let behind = self.recent.partition_point(|recent| recent.first < newer.end());
        for recent in self.recent.range(behind..) {
            if newer.index.event_count() == 0 {
                newer.first = recent.first;
            }
            recent.index(&mut newer.index);
        }
    }
}

impl Generation {
    fn end(&self) -> Position {
        self.first.plus(self.index.event_count().into())
    }
}

impl Recent {
    fn end(&self) -> Position {
        self.first.plus(self.events.into())
    }

    fn decode(&self) -> Result<Vec<RecordedEvent>> {
        let all = Bytes::copy_from_slice(&self.bytes);
        let mut at = 0;
        let positions = (0..self.events).map(|event| self.first.plus(event.into()));
        let decoded = positions.map(|position| {
            let bytes = all.slice(at..);
            let flaw = || Error::new(ErrorKind::Bug, "an event was stored in a form of no version");
            at += Layout::of(&bytes).ok_or_else(flaw)?.padded_length();
            event::decode(&bytes, self.salt, position).map_err(|_| flaw())
        });
        decoded.collect()
    }

    fn index(&self, index: &mut MemoryIndex) {
        let mut rest = &self.bytes[..];
        while let Some(layout) = Layout::of(rest) {
            let part = |part: &std::ops::Range<u32>| &rest[part.start as usize..part.end as usize];
            index.insert(&Entry {
                offset: 0,
                stream: part(&layout.parts.stream),
                version: event::version_of(rest),
                event_type: part(&layout.parts.event_type),
                tags: part(&layout.parts.tags),
                operation: layout.operation(rest),
            });
            rest = &rest[layout.padded_length()..];
        }
    }
}
