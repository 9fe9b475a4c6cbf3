//! Owns reading: a view of the log as it was at one moment, and what can be asked of it.
//!
//! Promises: a view never changes; it shows at most what was visible when it was taken, so nothing
//! in it can vanish (R3). Every event is checked as it is read, and shares the log's bytes. Holding
//! a view holds up nobody.

mod all;
mod names;
mod query;
mod size;
mod stream;

use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;

use uuid::Uuid;

pub use all::ReadAll;
pub use names::{NameInfo, StreamInfo};
pub use query::ReadQuery;
pub use stream::ReadStream;

use crate::chunk::Body;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::index::segments::{Segment, Snapshot, head};
use crate::position::{ChunkNumber, Place, Position, StreamVersion};
use crate::query::Query;

/// The log as it was at one moment, from [`Reader::view`](crate::Reader::view) or, beside a writing
/// process, from [`View::open`]. Cheap to clone.
///
/// ```
/// # use paperchase::{Expected, Log, NewEvent, Position};
/// # let dir = tempfile::tempdir()?;
/// # let log = Log::open(dir.path())?;
/// log.append("cart-7", Expected::Any, [NewEvent::new("ItemAdded", "1")])?.wait()?;
/// let view = log.view();
/// log.append("cart-7", Expected::Any, [NewEvent::new("ItemAdded", "2")])?.wait()?;
/// assert_eq!(view.read_all(Position::START..).count(), 1);
/// assert_eq!(log.view().end().get(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct View {
    segments: Snapshot,
    end: Position,
}

/// What a chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChunkState {
    /// The last chunk, which is being written.
    Active,
    /// Full, and not sealed yet.
    Full,
    /// Immutable, with its own index.
    Sealed,
}

/// A chunk in a view.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChunkInfo {
    /// Its number.
    pub number: ChunkNumber,
    /// What it is.
    pub state: ChunkState,
    /// Position of its first event.
    pub first_position: Position,
    /// Number of its events in the view.
    pub events: u64,
    /// Bytes of header and groups.
    pub data_bytes: u64,
    /// Most bytes of header and groups.
    pub capacity: u64,
    /// Length of its file.
    pub file_size: u64,
    /// Time of its first event.
    pub first_time: Option<Timestamp>,
    /// Time of its last event in the view.
    pub last_time: Option<Timestamp>,
}

impl View {
    pub(crate) fn new(segments: Snapshot, end: Position) -> Self {
        Self { segments, end }
    }

    /// The same view, ended before a position.
    #[cfg(test)]
    pub(crate) fn until(mut self, end: Position) -> Self {
        self.end = self.end.min(end);
        self
    }

    /// The id of the log.
    #[must_use]
    pub fn log_id(&self) -> Uuid {
        self.segments[0].chunk.header.log
    }

    /// The position behind the last event of the view, which is the number of its events.
    #[must_use]
    pub fn end(&self) -> Position {
        self.end
    }

    /// The end of the view, as a place in this log: behind all that it shows.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place_at(self.end)
    }

    /// The place in this log before the event at a position, which may lie ahead of the view.
    #[must_use]
    pub fn place_at(&self, position: Position) -> Place {
        Place { log: self.log_id(), position }
    }

    /// All events of a range of positions, in order; `.rev()` reads backwards.
    pub fn read_all(&self, range: impl RangeBounds<Position>) -> ReadAll {
        let range = self.positions(&range);
        ReadAll::new(Arc::clone(&self.segments), range.start, range.end)
    }

    /// The events that a query means in a range of positions, in order; `.rev()` reads backwards.
    /// Chunks are looked into as the read comes to them.
    ///
    /// ```
    /// # use paperchase::{Expected, Log, NewEvent, Position, Query};
    /// # let dir = tempfile::tempdir()?;
    /// # let log = Log::open(dir.path())?;
    /// let added = |sku: u8| NewEvent::new("ItemAdded", [sku]).tag(format!("sku:{sku}"));
    /// log.append("cart-7", Expected::Any, [added(1), added(2)])?.wait()?;
    /// log.append("cart-8", Expected::Any, [added(2)])?.wait()?;
    /// let query = Query::category("cart").types(["ItemAdded"]).tags(["sku:2"]);
    /// let carts = log.view().read(&query, ..)?.rev().map(|event| Ok(event?.stream().to_owned()));
    /// assert_eq!(carts.collect::<paperchase::Result<Vec<_>>>()?, ["cart-8", "cart-7"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) when the query is larger than its limits.
    /// While reading, damage: of an event, and reading goes on behind it; or in the index of a
    /// chunk and in its events, of which it would be made again, and reading goes on behind the
    /// chunk.
    pub fn read(&self, query: &Query, range: impl RangeBounds<Position>) -> Result<ReadQuery> {
        ReadQuery::new(Arc::clone(&self.segments), query, self.positions(&range))
    }

    fn positions(&self, range: &impl RangeBounds<Position>) -> Range<Position> {
        let start = match range.start_bound() {
            Bound::Included(position) => *position,
            Bound::Excluded(position) => position.plus(1),
            Bound::Unbounded => Position::START,
        };
        let end = match range.end_bound() {
            Bound::Included(position) => position.plus(1),
            Bound::Excluded(position) => *position,
            Bound::Unbounded => self.end,
        };
        start..end.min(self.end)
    }

    /// The events of all streams of a category, as [`View::read`] gives them.
    ///
    /// # Errors
    /// As [`View::read`].
    pub fn read_category(
        &self,
        category: &str,
        range: impl RangeBounds<Position>,
    ) -> Result<ReadQuery> {
        self.read(&Query::category(category), range)
    }

    /// The events of a type, as [`View::read`] gives them.
    ///
    /// # Errors
    /// As [`View::read`].
    pub fn read_type(
        &self,
        event_type: &str,
        range: impl RangeBounds<Position>,
    ) -> Result<ReadQuery> {
        self.read(&Query::event_type(event_type), range)
    }

    /// The events with a tag, as [`View::read`] gives them.
    ///
    /// # Errors
    /// As [`View::read`].
    pub fn read_tag(&self, tag: &str, range: impl RangeBounds<Position>) -> Result<ReadQuery> {
        self.read(&Query::tag(tag), range)
    }

    /// The events of a stream in a range of versions, in order; `.rev()` reads backwards. A stream
    /// that does not exist has none. Chunks are looked into as the read comes to them.
    ///
    /// # Errors
    /// None today. While reading, damage: of an event, and reading goes on behind it; or in the
    /// index of a chunk and in its events, of which it would be made again, and reading goes on
    /// behind the chunk.
    pub fn read_stream(
        &self,
        stream: &str,
        range: impl RangeBounds<StreamVersion>,
    ) -> Result<ReadStream> {
        let start = match range.start_bound() {
            Bound::Included(version) => *version,
            Bound::Excluded(version) => version.next(),
            Bound::Unbounded => StreamVersion::FIRST,
        };
        let end = match range.end_bound() {
            Bound::Included(version) => version.next(),
            Bound::Excluded(version) => *version,
            Bound::Unbounded => StreamVersion::new(u64::MAX),
        };
        Ok(ReadStream::new(Arc::clone(&self.segments), stream, start..end, self.end))
    }

    /// The version of a stream's last event; `None` when it has no event.
    ///
    /// # Errors
    /// Damage in the index of a chunk and in its events, of which it would be made again.
    pub fn stream_version(&self, stream: &str) -> Result<Option<StreamVersion>> {
        head(&self.segments, stream, self.end)
    }

    /// All chunks, in order.
    #[must_use]
    pub fn chunks(&self) -> Vec<ChunkInfo> {
        let ends = self.segments.iter().skip(1).map(|next| next.first_position());
        let ends = ends.chain([self.end]);
        self.segments.iter().zip(ends).map(|(segment, end)| self.chunk(segment, end)).collect()
    }

    fn chunk(&self, segment: &Arc<Segment>, end: Position) -> ChunkInfo {
        let header = &segment.chunk.header;
        let first_position = header.first_position;
        let end = end.min(self.end);
        let time = |position: Position| {
            let event = self.read_all(position..position.plus(1)).next();
            event.and_then(Result::ok).map(|event| event.time())
        };
        let last = self.segments.last().is_some_and(|last| Arc::ptr_eq(last, segment));
        let (state, data_bytes, file_size) = match &segment.chunk.body {
            Body::Sealed { footer, .. } => {
                (ChunkState::Sealed, footer.end.data_end, footer.file_size)
            }
            Body::Unsealed(file) => {
                let state = if last { ChunkState::Active } else { ChunkState::Full };
                let size = file.size().unwrap_or(header.capacity);
                (state, segment.chunk.readable().len() as u64, size)
            }
        };
        let events = end.since(first_position);
        let some = |position: Position| (events > 0).then(|| time(position)).flatten();
        ChunkInfo {
            number: header.number,
            state,
            first_position,
            events,
            data_bytes,
            capacity: header.capacity,
            file_size,
            first_time: some(first_position),
            last_time: some(Position::new(end.get().saturating_sub(1))),
        }
    }
}
