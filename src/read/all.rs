//! Owns reading by position, from both ends.
//!
//! Promises: events of the range in order, each once, whichever end they are taken from; a damaged
//! event is one `Err`, and reading goes on behind it.

use std::sync::Arc;

use crate::error::Result;
use crate::event::RecordedEvent;
use crate::index::fetch::Open;
use crate::index::segments::Snapshot;
use crate::position::Position;

/// The events of a range of positions, from [`View::read_all`](crate::View::read_all).
#[derive(Debug)]
pub struct ReadAll {
    segments: Snapshot,
    front: Position,
    back: Position,
    front_chunk: Option<Open>,
    back_chunk: Option<Open>,
}

impl ReadAll {
    pub(super) fn new(segments: Snapshot, start: Position, end: Position) -> Self {
        let (front, back) = (start.min(end), end);
        Self { segments, front, back, front_chunk: None, back_chunk: None }
    }
}

/// The event at `position`, whose chunk is kept in `open` for the next one.
fn fetch(
    segments: &Snapshot,
    open: &mut Option<Open>,
    position: Position,
) -> Result<Option<RecordedEvent>> {
    let behind = segments.partition_point(|segment| segment.first_position() <= position);
    let segment = &segments[behind.saturating_sub(1)];
    let fits = open.as_ref().is_some_and(|open| Arc::ptr_eq(&open.segment, segment));
    if !fits {
        *open = Some(Open::new(Arc::clone(segment)));
    }
    match open {
        Some(open) => open.event(segment.ordinal_of(position)),
        None => Ok(None),
    }
}

impl Iterator for ReadAll {
    type Item = Result<RecordedEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.front < self.back {
            let position = self.front;
            self.front = position.plus(1);
            if let Some(event) = fetch(&self.segments, &mut self.front_chunk, position).transpose()
            {
                return Some(event);
            }
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, usize::try_from(self.back.since(self.front)).ok())
    }
}

impl DoubleEndedIterator for ReadAll {
    fn next_back(&mut self) -> Option<Self::Item> {
        while self.front < self.back {
            self.back = Position::new(self.back.get() - 1);
            if let Some(event) = fetch(&self.segments, &mut self.back_chunk, self.back).transpose()
            {
                return Some(event);
            }
        }
        None
    }
}
