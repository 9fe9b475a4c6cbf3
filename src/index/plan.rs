//! Owns the finding of a query's events in one chunk, by postings alone: unions and intersections
//! of sorted lists of ordinals, from both ends.
//!
//! Promises: tells exactly the ordinals whose events the index says are meant. A way through all of
//! them is linear in the rarest list that all must be in; a name that the chunk does not have costs
//! one look into its filter. Never looks at events, and never runs in circles on lists that do not
//! ascend.

use std::convert::Infallible;
use std::ops::Range;

use super::key::Key;
use super::memory::MemoryIndex;
use super::table::TableFlaw;
use super::{ChunkIndex, Ordinals, Postings, read};
use crate::query::{Query, QueryItem};

#[cfg(test)]
mod tests;

/// The ordinals that a query means among some of one chunk.
#[derive(Debug)]
pub(crate) struct Plan<L = Postings> {
    ordinals: Range<u32>,
    /// Those that can have events.
    alternatives: Vec<Alternative<L>>,
}

/// What is in each of several unions; without any, everything.
#[derive(Debug)]
struct Alternative<L> {
    unions: Vec<Union<L>>,
    /// The last search each way. One that began before and ends behind need not be made again, so
    /// that a dense alternative does not repeat the searches of a sparse one.
    searched: [Option<Searched>; 2],
}

#[derive(Clone, Copy, Debug)]
struct Searched {
    from: u32,
    found: Option<u32>,
}

/// What is in any of several lists.
#[derive(Debug)]
struct Union<L> {
    walks: Vec<Walk<L>>,
}

/// A list with the place at which the last search of it ended.
#[derive(Debug)]
struct Walk<L> {
    list: L,
    place: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

/// A sorted list of ordinals.
trait List {
    fn ordinals(&self) -> Ordinals<'_>;
}

impl List for Postings {
    fn ordinals(&self) -> Ordinals<'_> {
        self.all()
    }
}

impl List for &[u32] {
    fn ordinals(&self) -> Ordinals<'_> {
        Ordinals::Memory(self)
    }
}

/// The first of some ordinals whose event is meant. Costs as much as there is to tell of these
/// ordinals, however large the chunk is.
pub(crate) fn first_match(
    index: &ChunkIndex,
    query: &Query,
    ordinals: Range<u32>,
) -> Result<Option<u32>, TableFlaw> {
    let start = ordinals.start;
    match index {
        ChunkIndex::Memory(index) => Ok(first_match_in(&read(index), query, ordinals)),
        ChunkIndex::Table(table) => {
            let ordinals = start..ordinals.end.min(table.ordinals());
            Ok(Plan::of(index, query, ordinals)?.ceil(start))
        }
    }
}

/// The same for an index that is in memory, without a copy of postings.
pub(crate) fn first_match_in(
    index: &MemoryIndex,
    query: &Query,
    ordinals: Range<u32>,
) -> Option<u32> {
    let ordinals = ordinals.start..ordinals.end.min(index.event_count());
    let look_up = |key: &Key<'_>| {
        let all = index.find(key).map(|found| found.postings).unwrap_or_default();
        let part = Ordinals::Memory(all).range(&ordinals);
        Ok::<_, Infallible>(&all[part])
    };
    let Ok(mut plan) = Plan::new(query, ordinals.clone(), look_up);
    plan.ceil(ordinals.start)
}

impl Plan {
    /// The plan of a query for some ordinals that a chunk has.
    pub(crate) fn of(
        index: &ChunkIndex,
        query: &Query,
        ordinals: Range<u32>,
    ) -> Result<Self, TableFlaw> {
        Self::new(query, ordinals.clone(), |key| index.postings(key, ordinals.clone()))
    }
}

#[expect(private_bounds, reason = "the lists of a plan are for this file to choose")]
impl<L: List> Plan<L> {
    fn new<E>(
        query: &Query,
        ordinals: Range<u32>,
        look_up: impl Fn(&Key<'_>) -> Result<L, E>,
    ) -> Result<Self, E> {
        let mut alternatives = Vec::new();
        if !ordinals.is_empty() {
            for item in &query.items {
                alternatives.extend(Alternative::new(item, &look_up)?);
            }
        }
        Ok(Self { ordinals, alternatives })
    }

    /// The first meant ordinal that is not below `from`.
    pub(crate) fn ceil(&mut self, from: u32) -> Option<u32> {
        let from = from.max(self.ordinals.start);
        self.seek(from, Way::Up).filter(|found| *found < self.ordinals.end)
    }

    /// The last meant ordinal below `limit`.
    pub(crate) fn floor(&mut self, limit: u32) -> Option<u32> {
        let from = limit.min(self.ordinals.end).checked_sub(1)?;
        self.seek(from, Way::Down).filter(|found| *found >= self.ordinals.start)
    }

    fn seek(&mut self, from: u32, way: Way) -> Option<u32> {
        way.nearest(self.alternatives.iter_mut().map(|alternative| alternative.seek(from, way)))
    }
}

impl<L: List> Alternative<L> {
    /// The plan of an alternative of a query; `None` where no event can meet it.
    fn new<E>(
        item: &QueryItem,
        look_up: &impl Fn(&Key<'_>) -> Result<L, E>,
    ) -> Result<Option<Self>, E> {
        let mut unions = Vec::new();
        // Tags first: they are the rarest, so nothing else is looked up where one is missing.
        for tag in &item.tags {
            match Union::new([Key::tag(tag)], look_up)? {
                Some(union) => unions.push(union),
                None => return Ok(None),
            }
        }
        let types = item.types.iter().map(Key::event_type);
        let streams = item.streams.iter().map(Key::stream);
        let categories = item.categories.iter().map(Key::category);
        if !item.types.is_empty() {
            match Union::new(types, look_up)? {
                Some(union) => unions.push(union),
                None => return Ok(None),
            }
        }
        if !item.streams.is_empty() || !item.categories.is_empty() {
            match Union::new(streams.chain(categories), look_up)? {
                Some(union) => unions.push(union),
                None => return Ok(None),
            }
        }
        // The rarest leads, and the others are only looked into where it has something.
        unions.sort_by_key(Union::count);
        Ok(Some(Self { unions, searched: [None; 2] }))
    }

    fn seek(&mut self, from: u32, way: Way) -> Option<u32> {
        let searched = &mut self.searched[way as usize];
        if let Some(known) = searched.filter(|known| known.holds(from, way)) {
            return known.found;
        }
        let found = meet(&mut self.unions, from, way);
        *searched = Some(Searched { from, found });
        found
    }
}

/// The nearest ordinal that all unions have.
fn meet<L: List>(unions: &mut [Union<L>], from: u32, way: Way) -> Option<u32> {
    let (mut at, mut agreed, mut next) = (from, 0, 0);
    while agreed < unions.len() {
        let found = unions[next].seek(at, way)?;
        agreed = if found == at { agreed + 1 } else { 1 };
        at = found;
        next = if next + 1 < unions.len() { next + 1 } else { 0 };
    }
    Some(at)
}

impl Searched {
    /// Whether a search from there would find the same.
    fn holds(self, from: u32, way: Way) -> bool {
        way.reaches(self.from, from) && self.found.is_none_or(|found| way.reaches(from, found))
    }
}

impl<L: List> Union<L> {
    /// The union of the lists of all keys; `None` where none has any.
    fn new<'a, E>(
        keys: impl IntoIterator<Item = Key<'a>>,
        look_up: &impl Fn(&Key<'_>) -> Result<L, E>,
    ) -> Result<Option<Self>, E> {
        let mut walks = Vec::new();
        for key in keys {
            let list = look_up(&key)?;
            if list.ordinals().len() > 0 {
                walks.push(Walk { list, place: 0 });
            }
        }
        Ok((!walks.is_empty()).then_some(Self { walks }))
    }

    fn count(&self) -> usize {
        self.walks.iter().map(|walk| walk.list.ordinals().len()).sum()
    }

    fn seek(&mut self, from: u32, way: Way) -> Option<u32> {
        way.nearest(self.walks.iter_mut().map(|walk| walk.seek(from, way)))
    }
}

impl<L: List> Walk<L> {
    fn seek(&mut self, from: u32, way: Way) -> Option<u32> {
        let all = self.list.ordinals();
        let found = match way {
            Way::Up => {
                self.place = all.below_from(self.place, from);
                all.get(self.place)
            }
            Way::Down => {
                self.place = all.below_from(self.place, from.saturating_add(1));
                all.get(self.place.checked_sub(1)?)
            }
        };
        // Of lists that ascend this holds; of others it is what ends a search.
        found.filter(|found| way.reaches(from, *found))
    }
}

impl Way {
    fn nearest(self, found: impl Iterator<Item = Option<u32>>) -> Option<u32> {
        match self {
            Self::Up => found.flatten().min(),
            Self::Down => found.flatten().max(),
        }
    }

    /// Whether a search from `from` can find `to`.
    fn reaches(self, from: u32, to: u32) -> bool {
        match self {
            Self::Up => from <= to,
            Self::Down => from >= to,
        }
    }
}
