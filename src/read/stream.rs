//! Owns reading one stream by versions, from both ends, over all chunks that hold some of it.
//!
//! Promises: its events in order, each once; a posting that leads to an event of another stream is
//! damage, never served (F54). Chunks without the stream cost a look at a filter.

use std::collections::VecDeque;
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
        Ok(Self { stream: stream.to_owned(), parts })
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
                Ok(Some(event)) => Some(Ok(event)),
                Err(error) => Some(Err(error)),
            };
        }
    }
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
