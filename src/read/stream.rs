//! Owns reading one stream, from both ends, over all chunks that hold a part of it.
//!
//! Promises: the events of the stream in the order of their versions; a posting that leads to
//! another stream's event is damage, never served (F54).

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::fetch::Open;
use crate::error::{Error, Result};
use crate::event::RecordedEvent;
use crate::index::Postings;
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
    pub(super) fn new(
        segments: &[Arc<Segment>],
        end: Position,
        stream: &str,
        versions: Range<StreamVersion>,
    ) -> Result<Self> {
        let mut parts = VecDeque::new();
        for segment in segments {
            let limit = segment.ordinal_of(end);
            let postings = segment.index.stream_postings(stream, versions.clone(), limit);
            let postings =
                postings.map_err(|flaw| Error::from(flaw.in_chunk(segment.chunk.number())))?;
            let left = 0..postings.len();
            if !left.is_empty() {
                let segment = Arc::clone(segment);
                parts.push_back(Part { segment, open: None, postings, left });
            }
        }
        Ok(Self { stream: stream.to_owned(), parts })
    }

    fn check(&self, ordinal: u32, part: &Part, event: RecordedEvent) -> Result<RecordedEvent> {
        if event.stream() == self.stream {
            return Ok(event);
        }
        let place = format!("{:?} at ordinal {ordinal}", event.stream());
        let names = ("stream of a posting", format!("{:?}", self.stream), place);
        Err(part.segment.chunk.damage(0, names).into())
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
            let event = open.event(ordinal).transpose();
            let part = if from_back { self.parts.back() } else { self.parts.front() }?;
            if let Some(event) = event {
                return Some(event.and_then(|event| self.check(ordinal, part, event)));
            }
        }
    }
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
