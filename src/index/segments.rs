//! Owns the list of all chunks with their indexes, oldest first, as readers, writer and chaser
//! share it.
//!
//! Promises: whoever takes a snapshot keeps a list that no roll or sealing changes under its feet;
//! a change swaps the whole list. Chunks that surely lack a key are passed over by what lies side
//! by side in the list (`sieve.rs`), without a look at themselves. Assumes that chunks are added in
//! order. Never reads event contents.

use std::cell::LazyCell;
use std::ops::Deref;
use std::sync::{Arc, PoisonError};

use super::key::Key;
use super::memory::MemoryIndex;
use super::sieve::Sieve;
pub(crate) use super::sieve::Sought;
use super::table::TableFlaw;
use super::{ChunkIndex, plan};
use crate::chunk::{Chunk, recover};
use crate::error::{Error, Result};
use crate::position::{ChunkNumber, Position, StreamVersion};
use crate::query::Query;
use crate::sync::{OnceLock, RwLock};

/// One chunk and its index.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) chunk: Chunk,
    pub(crate) index: ChunkIndex,
    /// Made of the chunk's events when the index in its file was found damaged.
    rebuilt: OnceLock<Option<ChunkIndex>>,
}

/// The chunks of a log at one moment, oldest first, never empty.
pub(crate) type Snapshot = Arc<List>;

/// Chunks, oldest first.
#[derive(Clone, Debug)]
pub(crate) struct List {
    segments: Vec<Arc<Segment>>,
    /// That of each chunk.
    sieves: Vec<Sieve>,
}

impl Deref for List {
    type Target = [Arc<Segment>];

    fn deref(&self) -> &Self::Target {
        &self.segments
    }
}

impl List {
    /// Whether the chunk at this place perhaps has the key; `false` is certain.
    pub(crate) fn may_have(&self, place: usize, sought: &Sought) -> bool {
        self.sieves[place].may_have(sought, &self.segments[place].index)
    }

    /// The chunks from this place on that perhaps have `key`, newest first. The last chunk of all,
    /// which answers most questions, has no filter, so it is not worth a hash.
    pub(crate) fn perhaps(
        &self,
        from: usize,
        key: &Key<'_>,
    ) -> impl Iterator<Item = &Arc<Segment>> {
        let (key, last) = (*key, self.len() - 1);
        let sought = LazyCell::new(move || Sought::new(&key));
        let perhaps = move |place: &usize| *place == last || self.may_have(*place, &sought);
        (from..self.len()).rev().filter(perhaps).map(|place| &self[place])
    }
}

impl Segment {
    pub(crate) fn new(chunk: Chunk, index: ChunkIndex) -> Self {
        Self { chunk, index, rebuilt: OnceLock::new() }
    }

    /// Asks the index. Where it is damaged, asks one that is made of the chunk's events: the log is
    /// the only truth (R10). The first such question reads the whole chunk.
    pub(crate) fn ask<T>(
        &self,
        question: impl Fn(&ChunkIndex) -> Result<T, TableFlaw>,
    ) -> Result<T> {
        let index = self.rebuilt.get().and_then(Option::as_ref).unwrap_or(&self.index);
        let flaw = match question(index) {
            Ok(answer) => return Ok(answer),
            Err(flaw) => flaw,
        };
        let rebuilt = self.rebuilt.get_or_init(|| self.rebuild());
        let answer = rebuilt.as_ref().map_or_else(|| Err(flaw), question);
        answer.map_err(|flaw| self.damage(flaw))
    }

    fn damage(&self, flaw: TableFlaw) -> Error {
        flaw.in_chunk(self.chunk.number()).into()
    }

    /// The index that the events of a sealed chunk give; `None` when they are damaged too.
    fn rebuild(&self) -> Option<ChunkIndex> {
        let footer = self.chunk.footer()?;
        let bytes = self.chunk.readable();
        let groups = bytes.get(..usize::try_from(footer.end.data_end).ok()?)?;
        let mut index = MemoryIndex::default();
        let place = (&self.chunk.header, self.chunk.salt);
        let (walk, _) = recover::walk(groups, place, Position::START, &mut |event| {
            index.insert_event(&event);
        })
        .ok()?;
        (walk.end.end() == footer.end).then(|| ChunkIndex::Memory(RwLock::new(index)))
    }

    pub(crate) fn first_position(&self) -> Position {
        self.chunk.header.first_position
    }

    /// The first ordinal of this chunk that lies at or beyond `end`.
    pub(crate) fn ordinal_of(&self, end: Position) -> u32 {
        u32::try_from(end.since(self.first_position())).unwrap_or(u32::MAX)
    }
}

/// The list that grows and is sealed.
#[derive(Debug)]
pub(crate) struct Segments(RwLock<Snapshot>);

impl Segments {
    pub(crate) fn new(segments: Vec<Arc<Segment>>) -> Self {
        assert!(!segments.is_empty(), "a log has at least one chunk");
        let sieves = segments.iter().map(|_| Sieve::default()).collect();
        Self(RwLock::new(Arc::new(List { segments, sieves })))
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The chunk that is being written.
    pub(crate) fn last(&self) -> Arc<Segment> {
        let segments = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(segments.last().expect("a log has at least one chunk"))
    }

    /// Adds the chunk behind the last one.
    pub(crate) fn push(&self, segment: Arc<Segment>) {
        self.change(|list| {
            let next = list.last().map(|last| last.chunk.number().next());
            assert_eq!(Some(segment.chunk.number()), next, "chunks are added in order");
            list.segments.push(segment);
            list.sieves.push(Sieve::default());
        });
    }

    /// Puts a sealed chunk in the place of the same chunk unsealed.
    pub(crate) fn replace(&self, segment: Arc<Segment>) {
        self.change(|list| {
            let number = segment.chunk.number();
            let place = list.iter().position(|place| place.chunk.number() == number);
            let place = place.expect("a chunk is sealed once it is known");
            list.segments[place] = segment;
            list.sieves[place] = Sieve::default();
        });
    }

    fn change(&self, change: impl FnOnce(&mut List)) {
        let mut shared = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut list = shared.as_ref().clone();
        change(&mut list);
        *shared = Arc::new(list);
    }

    pub(crate) fn get(&self, number: ChunkNumber) -> Option<Arc<Segment>> {
        self.snapshot().iter().find(|segment| segment.chunk.number() == number).cloned()
    }

    /// The version of the last indexed event of a stream.
    pub(crate) fn head(&self, stream: &str) -> Result<Option<StreamVersion>> {
        head(&self.snapshot(), stream, Position::new(u64::MAX))
    }
}

/// The version of the last event of a stream below `end`: newest chunk first, most others answered
/// by their filters.
pub(crate) fn head(list: &List, stream: &str, end: Position) -> Result<Option<StreamVersion>> {
    for segment in list.perhaps(0, &Key::stream(stream)) {
        let part = segment.ask(|index| index.stream(stream, segment.ordinal_of(end)))?;
        if let Some(part) = part {
            return Ok(Some(part.last_version));
        }
    }
    Ok(None)
}

/// The position of the first event at or beyond `from` that a query means.
pub(crate) fn first_match(
    segments: &[Arc<Segment>],
    query: &Query,
    from: Position,
) -> Result<Option<Position>> {
    let behind = segments.partition_point(|segment| segment.first_position() <= from);
    for segment in &segments[behind.saturating_sub(1)..] {
        let ordinals = segment.ordinal_of(from)..u32::MAX;
        let found = segment.ask(|index| plan::first_match(index, query, ordinals.clone()))?;
        if let Some(ordinal) = found {
            return Ok(Some(segment.first_position().plus(ordinal.into())));
        }
    }
    Ok(None)
}
