//! Owns the index of one chunk, whichever form it has: in memory while the chunk grows, in its own
//! file once sealed.
//!
//! Promises: both forms give the same answers. Whoever asks names the first ordinal that it must
//! not see, and nothing at or beyond that is told. Only postings that are asked for are copied out
//! of memory, and none out of a file. Never looks at events: whether a posting fits its event is
//! for the reader to check.

use std::ops::Range;
use std::sync::PoisonError;

use bytes::Bytes;

pub(crate) mod fetch;
pub(crate) mod filter;
pub(crate) mod key;
pub(crate) mod lookup;
pub(crate) mod memory;
pub(crate) mod plan;
pub(crate) mod segments;
mod sieve;
pub(crate) mod table;
#[cfg(test)]
mod tests;
#[cfg(feature = "cli")]
pub(crate) mod witness;

use key::{Key, KeyKind};
use memory::MemoryIndex;
use table::{Table, TableFlaw};

use crate::position::StreamVersion;
use crate::sync::{RwLock, RwLockReadGuard};

const ORDINAL_SIZE: usize = 4;

/// The index of one chunk.
#[derive(Debug)]
pub(crate) enum ChunkIndex {
    /// Of a chunk that is not sealed.
    Memory(RwLock<MemoryIndex>),
    /// Of a sealed chunk.
    Table(Box<Table>),
}

/// Ordinals of events, ascending: a part of one key's postings.
#[derive(Clone, Debug)]
pub(crate) enum Postings {
    /// As stored in a sealed chunk, a little-endian u32 each.
    Mapped(Bytes),
    /// Copied from an index in memory.
    Memory(Vec<u32>),
}

/// The part of a stream that lies in one chunk: at least one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamPart {
    pub(crate) first_version: StreamVersion,
    pub(crate) last_version: StreamVersion,
    /// Ordinal of the last event.
    pub(crate) last_ordinal: u32,
}

/// A key as listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListedKey<'a> {
    pub(crate) name: &'a [u8],
    /// Of a stream: version of its first event in this chunk. Of other kinds: 0.
    pub(crate) first_version: StreamVersion,
    /// Number of its events in this chunk, at least 1.
    pub(crate) count: u32,
    pub(crate) last_ordinal: u32,
}

impl ChunkIndex {
    /// The index of a chunk without events.
    pub(crate) fn empty() -> Self {
        Self::Memory(RwLock::default())
    }

    /// Number of ordinals that the index knows.
    pub(crate) fn event_count(&self) -> u32 {
        match self {
            Self::Memory(index) => read(index).event_count(),
            Self::Table(table) => table.ordinals(),
        }
    }

    /// Where the event with this ordinal lies in the file; `None` where it was removed, or is not
    /// in memory yet.
    pub(crate) fn offset(&self, ordinal: u32) -> Result<Option<u32>, TableFlaw> {
        match self {
            Self::Memory(index) => Ok(read(index).offset(ordinal)),
            Self::Table(table) => table.offset(ordinal),
        }
    }

    /// The index in memory, to add events to or to seal; `None` of a sealed chunk.
    pub(crate) fn memory(&self) -> Option<&RwLock<MemoryIndex>> {
        match self {
            Self::Memory(index) => Some(index),
            Self::Table(_) => None,
        }
    }

    /// The part of the stream `name` that lies in this chunk below the ordinal `limit`.
    pub(crate) fn stream(&self, name: &str, limit: u32) -> Result<Option<StreamPart>, TableFlaw> {
        let part = self.with(&Key::stream(name), |first_version, all| {
            let (count, last_ordinal) = all.end_below(limit)?;
            let last_version = first_version.get().saturating_add(u64::from(count) - 1);
            let last_version = StreamVersion::new(last_version);
            Some(StreamPart { first_version, last_version, last_ordinal })
        });
        Ok(part?.flatten())
    }

    /// The events of `key` among `ordinals`.
    pub(crate) fn postings(
        &self,
        key: &Key<'_>,
        ordinals: Range<u32>,
    ) -> Result<Postings, TableFlaw> {
        let part = |_, all: Ordinals<'_>| all.part(all.range(&ordinals));
        Ok(self.with(key, part)?.unwrap_or_default())
    }

    /// The events of the stream `name` among `versions` that lie in this chunk below the ordinal
    /// `limit`.
    pub(crate) fn stream_postings(
        &self,
        name: &str,
        versions: Range<StreamVersion>,
        limit: u32,
    ) -> Result<Postings, TableFlaw> {
        let part = |first: StreamVersion, all: Ordinals<'_>| {
            let count = all.below(limit);
            let place = |version: StreamVersion| {
                let place = version.get().saturating_sub(first.get());
                usize::try_from(place).unwrap_or(count).min(count)
            };
            all.part(place(versions.start)..place(versions.end))
        };
        Ok(self.with(&Key::stream(name), part)?.unwrap_or_default())
    }

    /// Tells `each` all keys of a kind that have an event below the ordinal `limit`, in no order.
    /// An index in memory takes no events meanwhile.
    pub(crate) fn list(
        &self,
        kind: KeyKind,
        limit: u32,
        mut each: impl FnMut(ListedKey<'_>),
    ) -> Result<(), TableFlaw> {
        let mut tell = |name, first_version, all: Ordinals<'_>| {
            if let Some((count, last_ordinal)) = all.end_below(limit) {
                each(ListedKey { name, first_version, count, last_ordinal });
            }
        };
        match self {
            Self::Memory(index) => {
                for found in read(index).keys().filter(|found| found.key.kind == kind) {
                    tell(found.key.name, found.first_version, Ordinals::Memory(found.postings));
                }
            }
            Self::Table(table) => {
                for entry in table.keys(kind)? {
                    let (name, found) = entry?;
                    tell(name, found.first_version, Ordinals::Mapped(&found.postings));
                }
            }
        }
        Ok(())
    }

    fn with<T>(
        &self,
        key: &Key<'_>,
        then: impl FnOnce(StreamVersion, Ordinals<'_>) -> T,
    ) -> Result<Option<T>, TableFlaw> {
        match self {
            Self::Memory(index) => {
                let index = read(index);
                let found = index.find(key);
                Ok(found.map(|found| then(found.first_version, Ordinals::Memory(found.postings))))
            }
            Self::Table(table) => {
                let found = table.find(key)?;
                Ok(found.map(|found| then(found.first_version, Ordinals::Mapped(&found.postings))))
            }
        }
    }
}

/// An index of which one insertion was cut short by a bug still answers within its bounds; the bug
/// stops the log.
fn read(index: &RwLock<MemoryIndex>) -> RwLockReadGuard<'_, MemoryIndex> {
    index.read().unwrap_or_else(PoisonError::into_inner)
}

/// All postings of a key, where they stand.
#[derive(Clone, Copy)]
enum Ordinals<'a> {
    Mapped(&'a Bytes),
    Memory(&'a [u32]),
}

impl Ordinals<'_> {
    fn len(self) -> usize {
        match self {
            Self::Mapped(stored) => stored.len() / ORDINAL_SIZE,
            Self::Memory(ordinals) => ordinals.len(),
        }
    }

    fn get(self, index: usize) -> Option<u32> {
        match self {
            Self::Mapped(stored) => words(stored).get(index).map(|word| u32::from_le_bytes(*word)),
            Self::Memory(ordinals) => ordinals.get(index).copied(),
        }
    }

    /// How many lie below `limit`. Looks from the end on, where most limits are.
    fn below(self, limit: u32) -> usize {
        self.below_from(self.len(), limit)
    }

    /// The same, quickest where that is near to `place`.
    fn below_from(self, place: usize, limit: u32) -> usize {
        let is_below = |index| self.get(index).is_some_and(|ordinal| ordinal < limit);
        // All before `low` are below, and none from `high` on, once neither loop moves it.
        let place = place.min(self.len());
        let (mut low, mut high, mut step) = (place, place, 1);
        while low > 0 && !is_below(low - 1) {
            high = low - 1;
            low = high.saturating_sub(step);
            step *= 2;
        }
        while high < self.len() && is_below(high) {
            low = high + 1;
            high = low.saturating_add(step).min(self.len());
            step *= 2;
        }
        low + match self {
            Self::Mapped(stored) => {
                words(stored)[low..high].partition_point(|word| u32::from_le_bytes(*word) < limit)
            }
            Self::Memory(ordinals) => {
                ordinals[low..high].partition_point(|ordinal| *ordinal < limit)
            }
        }
    }

    /// The places of those among `ordinals`.
    fn range(self, ordinals: &Range<u32>) -> Range<usize> {
        let end = self.below(ordinals.end);
        self.below_from(end, ordinals.start).min(end)..end
    }

    /// How many lie below `limit`, and the last of them; `None` where none does.
    fn end_below(self, limit: u32) -> Option<(u32, u32)> {
        let count = self.below(limit);
        let last = self.get(count.checked_sub(1)?)?;
        Some((u32::try_from(count).ok()?, last))
    }

    /// A part of them; none where the range is reversed.
    fn part(self, range: Range<usize>) -> Postings {
        let range = range.start.min(range.end)..range.end;
        match self {
            Self::Mapped(stored) => {
                let (start, end) = (range.start * ORDINAL_SIZE, range.end * ORDINAL_SIZE);
                Postings::Mapped(stored.slice(start..end))
            }
            Self::Memory(ordinals) => Postings::Memory(ordinals[range].to_vec()),
        }
    }
}

fn words(stored: &[u8]) -> &[[u8; ORDINAL_SIZE]] {
    stored.as_chunks().0
}

impl Default for Postings {
    fn default() -> Self {
        Self::Memory(Vec::new())
    }
}

impl Postings {
    fn all(&self) -> Ordinals<'_> {
        match self {
            Self::Mapped(stored) => Ordinals::Mapped(stored),
            Self::Memory(ordinals) => Ordinals::Memory(ordinals),
        }
    }

    /// Number of ordinals.
    pub(crate) fn len(&self) -> usize {
        self.all().len()
    }

    /// The ordinal at this place of the list.
    pub(crate) fn get(&self, index: usize) -> Option<u32> {
        self.all().get(index)
    }
}
