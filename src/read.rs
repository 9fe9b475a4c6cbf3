//! Owns reading: a view of the log as it was at one moment, and what can be asked of it.
//!
//! Promises: a view never changes; it shows at most what was visible when it was taken, so nothing
//! in it can vanish (R3). Every event is checked as it is read, and shares the log's bytes. Holding
//! a view holds up nobody.

mod all;
mod key;

use std::collections::BTreeMap;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;

use uuid::Uuid;

pub use all::ReadAll;
pub use key::ReadKey;

use crate::chunk::Body;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::index::ChunkIndex;
use crate::index::key::KeyKind;
use crate::index::segments::{Segment, Snapshot, head};
use crate::index::table::TableFlaw;
use crate::position::{ChunkNumber, Position, StreamVersion};

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

/// A stream in a view.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamInfo {
    /// Its name.
    pub name: String,
    /// Number of its events.
    pub events: u64,
    /// Version of its last event.
    pub version: StreamVersion,
    /// Position of its last event.
    pub last_position: Position,
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

    /// All events of a range of positions, in order; `.rev()` reads backwards.
    pub fn read_all(&self, range: impl RangeBounds<Position>) -> ReadAll {
        let range = self.positions(&range);
        ReadAll::new(Arc::clone(&self.segments), range.start, range.end)
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

    /// The events of all streams of a category in a range of positions, in order; `.rev()` reads
    /// backwards.
    ///
    /// # Errors
    /// Damage in the index of a chunk and in its events, of which it would be made again.
    pub fn read_category(
        &self,
        category: &str,
        range: impl RangeBounds<Position>,
    ) -> Result<ReadKey> {
        let range = self.positions(&range);
        ReadKey::of_key(&self.segments, (KeyKind::Category, category), range)
    }

    /// The events of a type in a range of positions, in order; `.rev()` reads backwards.
    ///
    /// # Errors
    /// Damage in the index of a chunk and in its events, of which it would be made again.
    pub fn read_type(
        &self,
        event_type: &str,
        range: impl RangeBounds<Position>,
    ) -> Result<ReadKey> {
        let range = self.positions(&range);
        ReadKey::of_key(&self.segments, (KeyKind::Type, event_type), range)
    }

    /// The events with a tag in a range of positions, in order; `.rev()` reads backwards.
    ///
    /// # Errors
    /// Damage in the index of a chunk and in its events, of which it would be made again.
    pub fn read_tag(&self, tag: &str, range: impl RangeBounds<Position>) -> Result<ReadKey> {
        let range = self.positions(&range);
        ReadKey::of_key(&self.segments, (KeyKind::Tag, tag), range)
    }

    /// The events of a stream in a range of versions, in order; `.rev()` reads backwards. A stream
    /// that does not exist has none.
    ///
    /// # Errors
    /// Damage in the index of a chunk and in its events, of which it would be made again.
    pub fn read_stream(
        &self,
        stream: &str,
        range: impl RangeBounds<StreamVersion>,
    ) -> Result<ReadKey> {
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
        ReadKey::of_stream(&self.segments, stream, start..end, self.end)
    }

    /// The version of a stream's last event; `None` when it has no event.
    ///
    /// # Errors
    /// Damage in the index of a chunk and in its events, of which it would be made again.
    pub fn stream_version(&self, stream: &str) -> Result<Option<StreamVersion>> {
        head(&self.segments, stream, self.end)
    }

    /// All streams, sorted by name.
    ///
    /// # Errors
    /// Damage in the index of a chunk and in its events, of which it would be made again.
    pub fn streams(&self) -> Result<Vec<StreamInfo>> {
        let mut streams: BTreeMap<String, StreamInfo> = BTreeMap::new();
        for segment in self.segments.iter() {
            for part in segment.ask(|index| self.streams_of(segment, index))? {
                match streams.get_mut(&part.name) {
                    Some(known) => {
                        known.events += part.events;
                        known.version = part.version;
                        known.last_position = part.last_position;
                    }
                    None => _ = streams.insert(part.name.clone(), part),
                }
            }
        }
        Ok(streams.into_values().collect())
    }

    /// The part of each stream that lies in one chunk.
    fn streams_of(
        &self,
        segment: &Segment,
        index: &ChunkIndex,
    ) -> Result<Vec<StreamInfo>, TableFlaw> {
        let mut parts = Vec::new();
        index.list(KeyKind::Stream, segment.ordinal_of(self.end), |key| {
            let behind = key.first_version.get().saturating_add(u64::from(key.count));
            parts.push(StreamInfo {
                name: String::from_utf8_lossy(key.name).into_owned(),
                events: u64::from(key.count),
                version: StreamVersion::new(behind.saturating_sub(1)),
                last_position: segment.first_position().plus(key.last_ordinal.into()),
            });
        })?;
        Ok(parts)
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
