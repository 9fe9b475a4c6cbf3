//! Owns the numbering of an append's events: each gets the next version of its stream.
//!
//! Promises: versions of a stream follow each other without a gap, also within one append and
//! across streams that take turns. Allocates nothing for an append to one stream.

use std::sync::Arc;

use super::decide::NextVersions;
use super::draft::Terms;
use super::heads::Heads;
use crate::append::Versions;
use crate::position::StreamVersion;

/// The versions that an append's events get.
#[derive(Debug)]
pub(super) struct Numbering {
    streams: Streams,
    last: StreamVersion,
}

#[derive(Debug)]
enum Streams {
    One {
        stream: Arc<str>,
        first: StreamVersion,
        next: StreamVersion,
    },
    Each {
        first: Vec<StreamVersion>,
        next: Vec<StreamVersion>,
        stream_of: Vec<u32>,
        names: Vec<Arc<str>>,
    },
}

impl Numbering {
    pub(super) fn new(next: NextVersions, terms: Terms) -> Self {
        let streams = match (next, terms) {
            (NextVersions::Each(next), Terms::Full(terms)) => Streams::Each {
                first: next.clone(),
                next,
                stream_of: terms.stream_of,
                names: terms.streams,
            },
            (NextVersions::One(next), Terms::OneStream(stream, _)) => {
                Streams::One { stream, first: next, next }
            }
            _ => unreachable!("an append to one stream has one next version, and no other has"),
        };
        Self { streams, last: StreamVersion::FIRST }
    }

    /// The version of the append's next event, which is the one of this number.
    pub(super) fn number(&mut self, event: u32) -> StreamVersion {
        let next = match &mut self.streams {
            Streams::One { next, .. } => next,
            Streams::Each { next, stream_of, .. } => &mut next[stream_of[event as usize] as usize],
        };
        self.last = *next;
        *next = next.next();
        self.last
    }

    /// The version of the last event.
    pub(super) fn last(&self) -> StreamVersion {
        self.last
    }

    /// Notes the new heads.
    pub(super) fn note(&self, heads: &mut Heads) {
        match &self.streams {
            Streams::One { stream, next, .. } => heads.set(stream, *next),
            Streams::Each { next, names, .. } => {
                names.iter().zip(next).for_each(|(name, next)| heads.set(name, *next));
            }
        }
    }

    /// First and last version of each stream.
    pub(super) fn versions(self) -> Versions {
        let before = |next: StreamVersion| StreamVersion::new(next.get().saturating_sub(1));
        match self.streams {
            Streams::One { first, next, .. } => Versions::One(first, before(next)),
            Streams::Each { first, next, .. } => {
                Versions::Each(first.into_iter().zip(next.into_iter().map(before)).collect())
            }
        }
    }
}
