//! Owns reading the events that a query means, from both ends, over all chunks.
//!
//! Promises: such events in the order of the log, each once, whichever end they are taken from; a
//! posting that leads to another event is damage, never served (F54). Chunks are looked into when
//! the read comes to them, and one without the names that are asked for costs a look at its filter.

use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::event::RecordedEvent;
use crate::index::fetch::Open;
use crate::index::plan::Plan;
use crate::index::segments::{Segment, Snapshot};
use crate::position::Position;
use crate::query::Query;

/// Events of a chunk that are planned together while its index is in memory, from which postings
/// are copied. Few in tests, so that chunks have several such rows.
const COPIED_MAX: u64 = if cfg!(test) { 50 } else { 64 << 10 };

/// The events that a query means, from [`View::read`](crate::View::read).
#[derive(Debug)]
pub struct ReadQuery {
    source: Source,
    /// What is not read yet.
    front: Position,
    back: Position,
    front_piece: Option<Piece>,
    back_piece: Option<Piece>,
}

#[derive(Debug)]
struct Source {
    segments: Snapshot,
    query: Query,
}

/// A row of events of one chunk, and which of them are meant.
#[derive(Debug)]
struct Piece {
    positions: Range<Position>,
    first_position: Position,
    chunk: Open,
    plan: Plan,
}

impl ReadQuery {
    pub(super) fn new(segments: Snapshot, query: &Query, range: Range<Position>) -> Result<Self> {
        if let Some(problem) = query.problem() {
            return Err(Error::new(ErrorKind::Invalid, format!("the query {problem}")));
        }
        let source = Source { segments, query: query.clone() };
        let (front, back) = (range.start.min(range.end), range.end);
        Ok(Self { source, front, back, front_piece: None, back_piece: None })
    }
}

impl Source {
    /// The row of events around `position` that are planned together.
    fn row(&self, position: Position) -> (&Arc<Segment>, Range<Position>) {
        let behind = self.segments.partition_point(|next| next.first_position() <= position);
        let segment = &self.segments[behind.saturating_sub(1)];
        let first = segment.first_position();
        let next = self.segments.get(behind);
        let end = next.map_or(Position::new(u64::MAX), |next| next.first_position());
        let row = match segment.index.memory() {
            Some(_) => {
                let ordinal = position.since(first);
                let start = first.plus(ordinal - ordinal % COPIED_MAX);
                start..end.min(start.plus(COPIED_MAX))
            }
            None => first..end,
        };
        (segment, row)
    }

    /// Makes `piece` one that holds `position`, of events that are `left` to read. Damage that
    /// leaves no plan is told with the events that it hides.
    fn turn<'a>(
        &self,
        piece: &'a mut Option<Piece>,
        position: Position,
        left: Range<Position>,
    ) -> Result<&'a mut Piece, (Error, Range<Position>)> {
        let fits = piece.as_ref().is_some_and(|piece| piece.positions.contains(&position));
        if !fits {
            let (segment, row) = self.row(position);
            let positions = row.start.max(left.start)..row.end.min(left.end);
            let ordinals = segment.ordinal_of(positions.start)..segment.ordinal_of(positions.end);
            let plan = segment.ask(|index| Plan::of(index, &self.query, ordinals.clone()));
            let plan = plan.map_err(|error| (error, positions.clone()))?;
            let first_position = segment.first_position();
            let chunk = Open::new(Arc::clone(segment));
            *piece = Some(Piece { positions, first_position, chunk, plan });
        }
        Ok(piece.as_mut().expect("a piece that does not fit was replaced"))
    }
}

impl Piece {
    fn ordinal(&self, position: Position) -> u32 {
        self.chunk.segment.ordinal_of(position)
    }

    fn ceil(&mut self, from: Position) -> Option<Position> {
        let ordinal = self.plan.ceil(self.ordinal(from))?;
        Some(self.first_position.plus(ordinal.into()))
    }

    fn floor(&mut self, limit: Position) -> Option<Position> {
        let ordinal = self.plan.floor(self.ordinal(limit))?;
        Some(self.first_position.plus(ordinal.into()))
    }

    /// The event at `position`, when it is one that the query means; `None` where it was removed.
    fn event(&self, position: Position, query: &Query) -> Result<Option<RecordedEvent>> {
        let event = self.chunk.event(self.ordinal(position));
        match event {
            Ok(Some(event)) if !query.matches(&event) => Err(self.stray(&event, query)),
            event => event,
        }
    }

    /// Damage: a posting has led to another event.
    #[cold]
    fn stray(&self, event: &RecordedEvent, query: &Query) -> Error {
        let place = format!("an event of {:?} at position {}", event.stream(), event.position());
        let what = ("event of a posting", format!("one of {query}"), place);
        self.chunk.segment.chunk.damage(0, what).into()
    }
}

impl Iterator for ReadQuery {
    type Item = Result<RecordedEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.front < self.back {
            let left = self.front..self.back;
            let piece = match self.source.turn(&mut self.front_piece, self.front, left) {
                Ok(piece) => piece,
                Err((error, hidden)) => {
                    self.front = hidden.end;
                    return Some(Err(error));
                }
            };
            let Some(position) = piece.ceil(self.front) else {
                self.front = piece.positions.end;
                continue;
            };
            self.front = position.plus(1);
            if position < self.back
                && let Some(event) = piece.event(position, &self.source.query).transpose()
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

impl DoubleEndedIterator for ReadQuery {
    fn next_back(&mut self) -> Option<Self::Item> {
        while self.front < self.back {
            let (left, last) = (self.front..self.back, Position::new(self.back.get() - 1));
            let piece = match self.source.turn(&mut self.back_piece, last, left) {
                Ok(piece) => piece,
                Err((error, hidden)) => {
                    self.back = hidden.start;
                    return Some(Err(error));
                }
            };
            let Some(position) = piece.floor(self.back) else {
                self.back = piece.positions.start;
                continue;
            };
            self.back = position;
            if position >= self.front
                && let Some(event) = piece.event(position, &self.source.query).transpose()
            {
                return Some(event);
            }
        }
        None
    }
}
