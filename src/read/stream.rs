//! Owns reading one stream by versions, from both ends, over all chunks that hold some of it.
//!
//! Promises: its events in order, each once, by version and by position; a posting that leads to an
//! event of another stream, or to one out of this order, is damage, never served (F54). Chunks
//! without the stream cost a look at a filter.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::event::RecordedEvent;
use crate::index::Postings;
use crate::index::fetch::Open;
use crate::index::segments::Segment;
use crate::position::{Position, StreamVersion};

/// The events of a stream, from [`View::read_stream`](crate::View::read_stream).
#[derive(Debug)]
pub struct ReadStream {
    stream: String,
    parts: VecDeque<Part>,
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
    segment: Arc<Segment>,
    open: Option<Open>,
    postings: Postings,
    left: Range<usize>,
}

impl ReadStream {
    /// The events of a stream among `versions` and below `end`.
    pub(super) fn new(
        segments: &[Arc<Segment>],
        stream: &str,
        versions: Range<StreamVersion>,
        end: Position,
    ) -> Result<Self> {
        let mut parts = VecDeque::new();
        for segment in segments {
            let limit = segment.ordinal_of(end);
            let postings =
                segment.ask(|index| index.stream_postings(stream, versions.clone(), limit))?;
            let left = 0..postings.len();
            if !left.is_empty() {
                let segment = Arc::clone(segment);
                parts.push_back(Part { segment, open: None, postings, left });
            }
        }
        Ok(Self { stream: stream.to_owned(), parts, ends: [None; 2] })
    }

    fn take(&mut self, from_back: bool) -> Option<Result<RecordedEvent>> {
        loop {
            let part = if from_back { self.parts.back_mut() } else { self.parts.front_mut() }?;
            let place = if from_back { part.left.next_back() } else { part.left.next() };
            let Some(ordinal) = place.and_then(|place| part.postings.get(place)) else {
                if from_back {
                    self.parts.pop_back()
                } else {
                    self.parts.pop_front()
                };
                continue;
            };
            let segment = &part.segment;
            let open = part.open.get_or_insert_with(|| Open::new(Arc::clone(segment)));
            return match open.event(ordinal) {
                Ok(None) => continue,
                Ok(Some(event)) if event.stream() != self.stream => {
                    Some(Err(stray(segment, &event, &self.stream)))
                }
                Ok(Some(event)) => {
                    let place = Place::of(&event);
                    let [front, back] = self.ends;
                    let is_between = front.is_none_or(|front| front.is_before(place))
                        && back.is_none_or(|back| place.is_before(back));
                    if !is_between {
                        return Some(Err(disordered(segment, place, self.ends)));
                    }
                    self.ends[usize::from(from_back)] = Some(place);
                    Some(Ok(event))
                }
                Err(error) => Some(Err(error)),
            };
        }
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
        self.take(false)
    }
}

impl DoubleEndedIterator for ReadStream {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.take(true)
    }
}
