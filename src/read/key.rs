//! Owns reading the events that have one key (a stream, a category, a type or a tag), from both
//! ends, over all chunks that hold some of them.
//!
//! Promises: such events in the order of the log, each once; a posting that leads to an event
//! without the key is damage, never served (F54). Chunks without the key cost a look at a filter.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use crate::error::Result;
use crate::event::{RecordedEvent, category};
use crate::index::fetch::Open;
use crate::index::key::{Key, KeyKind};
use crate::index::segments::Segment;
use crate::index::table::TableFlaw;
use crate::index::{ChunkIndex, Postings};
use crate::position::{Position, StreamVersion};

/// The events that have one key, from [`View::read_stream`](crate::View::read_stream) and its
/// neighbours.
#[derive(Debug)]
pub struct ReadKey {
    kind: KeyKind,
    name: String,
    parts: VecDeque<Part>,
}

/// The events with the key in one chunk that are not read yet.
#[derive(Debug)]
struct Part {
    segment: Arc<Segment>,
    open: Option<Open>,
    postings: Postings,
    left: Range<usize>,
}

impl ReadKey {
    /// The events of a stream among `versions` and below `end`.
    pub(super) fn of_stream(
        segments: &[Arc<Segment>],
        stream: &str,
        versions: Range<StreamVersion>,
        end: Position,
    ) -> Result<Self> {
        Self::new(segments, KeyKind::Stream, stream, |segment, index| {
            let limit = segment.ordinal_of(end);
            index.stream_postings(stream, versions.clone(), limit)
        })
    }

    /// The events with a key of this kind and name among `positions`.
    pub(super) fn of_key(
        segments: &[Arc<Segment>],
        (kind, name): (KeyKind, &str),
        positions: Range<Position>,
    ) -> Result<Self> {
        let key = Key { kind, name: name.as_bytes() };
        Self::new(segments, kind, name, |segment, index| {
            let ordinal = |position| segment.ordinal_of(position);
            index.postings(&key, ordinal(positions.start)..ordinal(positions.end))
        })
    }

    fn new(
        segments: &[Arc<Segment>],
        kind: KeyKind,
        name: &str,
        look_up: impl Fn(&Segment, &ChunkIndex) -> Result<Postings, TableFlaw>,
    ) -> Result<Self> {
        let mut parts = VecDeque::new();
        for segment in segments {
            let postings = segment.ask(|index| look_up(segment, index))?;
            let left = 0..postings.len();
            if !left.is_empty() {
                let segment = Arc::clone(segment);
                parts.push_back(Part { segment, open: None, postings, left });
            }
        }
        Ok(Self { kind, name: name.to_owned(), parts })
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
            if let Some(event) = open.event(ordinal).transpose() {
                return Some(event.and_then(|event| check(self.kind, &self.name, segment, event)));
            }
        }
    }
}

/// The event, when it has the key that its posting says it has.
fn check(
    kind: KeyKind,
    name: &str,
    segment: &Segment,
    event: RecordedEvent,
) -> Result<RecordedEvent> {
    let (what, found) = match kind {
        KeyKind::Stream => ("stream of a posting", event.stream() == name),
        KeyKind::Category => ("category of a posting", category(event.stream()) == name),
        KeyKind::Type => ("type of a posting", event.event_type() == name),
        KeyKind::Tag => ("tag of a posting", event.tags().any(|tag| tag == name)),
        KeyKind::Operation => {
            let operation = event.operation().map(|id| id.to_string());
            ("operation of a posting", operation.as_deref() == Some(name))
        }
    };
    if found {
        return Ok(event);
    }
    let place = format!("an event of {:?} at position {}", event.stream(), event.position());
    Err(segment.chunk.damage(0, (what, format!("{name:?}"), place)).into())
}

impl Iterator for ReadKey {
    type Item = Result<RecordedEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        self.take(false)
    }
}

impl DoubleEndedIterator for ReadKey {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.take(true)
    }
}
