//! Owns reading one stream by versions, from both ends, over all chunks that hold some of it.
//!
//! Promises: its events in order, each once, by version and by position; a posting that leads to an
//! event of another stream, or to one out of this order, is damage, never served (F54). Chunks are
//! asked as the read comes to them, so that the last events of a stream cost the same in a log of
//! any size; those without the stream cost a look at a filter.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::event::RecordedEvent;
use crate::index::Postings;
use crate::index::fetch::Open;
use crate::index::key::Key;
use crate::index::segments::{Segment, Snapshot, Sought};
use crate::position::{Position, StreamVersion};

/// The events of a stream, from [`View::read_stream`](crate::View::read_stream).
#[derive(Debug)]
pub struct ReadStream {
    stream: String,
    sought: Sought,
    versions: Range<StreamVersion>,
    end: Position,
    segments: Snapshot,
    /// Chunks that were not asked for the stream yet.
    unasked: Range<usize>,
    /// What is left of the chunks that were asked last, from the front and from the back.
    parts: [Option<Part>; 2],
    /// The last event that was read from the front, and from the back: what is left lies between.
    ends: [Option<Place>; 2],
}

/// Where an event stands in the log and in its stream: both ascend together.
#[derive(Clone, Copy, Debug)]
struct Place {
    position: Position,
    version: StreamVersion,
}

/// The events of the stream in one chunk that are not read yet.
#[derive(Debug)]
struct Part {
    open: Open,
    postings: Postings,
    left: Range<usize>,
}

const FRONT: usize = 0;
const BACK: usize = 1;

impl ReadStream {
    /// The events of a stream among `versions` and below `end`.
    pub(super) fn new(
        segments: Snapshot,
        stream: &str,
        versions: Range<StreamVersion>,
        end: Position,
    ) -> Self {
        let (unasked, sought) = (0..segments.len(), Sought::new(&Key::stream(stream)));
        let (stream, parts, ends) = (stream.to_owned(), [None, None], [None; 2]);
        Self { stream, sought, versions, end, segments, unasked, parts, ends }
    }

    fn take(&mut self, from: usize) -> Option<Result<RecordedEvent>> {
        while !self.is_at_bound(from) {
            let holder = match self.find_part(from) {
                Ok(holder) => holder?,
                Err(error) => return Some(Err(error)),
            };
            let part = self.parts[holder].as_mut()?;
            let place = if from == BACK { part.left.next_back() } else { part.left.next() };
            let Some(ordinal) = place.and_then(|place| part.postings.get(place)) else {
                self.parts[holder] = None;
                continue;
            };
            return match part.open.event(ordinal) {
                Ok(None) => continue,
                Ok(Some(event)) if event.stream() != self.stream => {
                    Some(Err(stray(&part.open.segment, &event, &self.stream)))
                }
                Ok(Some(event)) => {
                    let place = Place::of(&event);
                    let [front, back] = self.ends;
                    let is_between = front.is_none_or(|front| front.is_before(place))
                        && back.is_none_or(|back| place.is_before(back));
                    if !is_between {
                        return Some(Err(disordered(&part.open.segment, place, self.ends)));
                    }
                    self.ends[from] = Some(place);
                    Some(Ok(event))
                }
                Err(error) => Some(Err(error)),
            };
        }
        None
    }

    /// Whether all is read of a range that ends within the stream, so that no more chunks need be
    /// asked for it.
    fn is_at_bound(&self, from: usize) -> bool {
        let Some(last) = self.ends[from] else { return false };
        match from {
            BACK => {
                self.versions.start > StreamVersion::FIRST && last.version <= self.versions.start
            }
            _ => last.version.next() >= self.versions.end,
        }
    }

    /// Which of the parts has the next event from this side: its own, of the next chunk that has
    /// some of the stream, or at last what the other side has left.
    fn find_part(&mut self, from: usize) -> Result<Option<usize>> {
        while self.parts[from].is_none() {
            let next = if from == BACK { self.unasked.next_back() } else { self.unasked.next() };
            let Some(number) = next else {
                let other = 1 - from;
                return Ok(self.parts[other].is_some().then_some(other));
            };
            if self.segments.may_have(number, &self.sought) {
                self.parts[from] = self.ask(&self.segments[number])?;
            }
        }
        Ok(Some(from))
    }

    /// What a chunk has of the stream.
    fn ask(&self, segment: &Arc<Segment>) -> Result<Option<Part>> {
        let (versions, limit) = (&self.versions, segment.ordinal_of(self.end));
        let found =
            segment.ask(|index| index.stream_postings(&self.stream, versions.clone(), limit));
        let postings = found?;
        let left = 0..postings.len();
        let is_here = !left.is_empty();
        Ok(is_here.then(|| Part { open: Open::new(Arc::clone(segment)), postings, left }))
    }
}

impl Place {
    fn of(event: &RecordedEvent) -> Self {
        Self { position: event.position(), version: event.version() }
    }

    fn is_before(self, other: Self) -> bool {
        self.position < other.position && self.version < other.version
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {} at position {}", self.version, self.position)
    }
}

/// Damage: an event stands in the log before one of a lower version, or twice in its stream.
#[cold]
fn disordered(segment: &Segment, place: Place, [front, back]: [Option<Place>; 2]) -> Error {
    let begin = front.map_or("the begin".to_owned(), |front| front.to_string());
    let end = back.map_or("the end".to_owned(), |back| back.to_string());
    let expected = format!("an event between {begin} and {end}");
    segment.chunk.damage(0, ("order of a stream", expected, place.to_string())).into()
}

/// Damage: a posting has led to an event of another stream.
#[cold]
fn stray(segment: &Segment, event: &RecordedEvent, stream: &str) -> Error {
    let place = format!("an event of {:?} at position {}", event.stream(), event.position());
    segment.chunk.damage(0, ("stream of a posting", format!("{stream:?}"), place)).into()
}

impl Iterator for ReadStream {
    type Item = Result<RecordedEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        self.take(FRONT)
    }
}

impl DoubleEndedIterator for ReadStream {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.take(BACK)
    }
}
