//! Owns what the writer knows of streams beyond the index: the versions it has given out itself.
//!
//! Promises: forgets a stream only when all that was written of it is indexed; so a stream that is
//! not here is whole in the index. Forgets the streams that were not asked for lately also while
//! the index never catches up, so its size is bounded. Names are compared, hashes alone never
//! decide. Allocates only as the number of streams grows.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::Result;
use crate::position::{Position, StreamVersion};

/// With so many streams a generation is full.
const STREAMS_MAX: usize = 64 << 10;

#[derive(Debug)]
struct Head {
    hash: u64,
    name: usize,
    name_length: u16,
    /// Version that the next event of the stream gets.
    next: StreamVersion,
}

/// The next versions of the streams that were asked for lately.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    newer: Generation,
    /// Streams that were asked for before those; a stream that is in both counts as in the newer.
    older: Generation,
    /// Behind all that was written when the older generation became that.
    older_end: Position,
}

/// Streams that are forgotten together.
#[derive(Debug, Default)]
struct Generation {
    table: HashTable<Head>,
    names: Vec<u8>,
}

/// A stream in [`Heads`], until the next change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamAt<'a> {
    pub(crate) name: &'a str,
    hash: u64,
}

impl Heads {
    /// The next version of a stream, from here or else from the index (`look_up` gives the last
    /// version there).
    pub(crate) fn next(
        &mut self,
        name: &str,
        look_up: impl FnOnce(&str) -> Result<Option<StreamVersion>>,
    ) -> Result<StreamVersion> {
        let stream = StreamAt { name, hash: xxh3_64(name.as_bytes()) };
        if let Some(head) = self.newer.find(stream) {
            return Ok(head.next);
        }
        let next = match self.older.find(stream) {
            Some(head) => head.next,
            None => look_up(name)?.map_or(StreamVersion::FIRST, StreamVersion::next),
        };
        self.newer.insert(stream, next);
        Ok(next)
    }

    /// Sets the next version of a stream that [`Heads::next`] was asked for.
    pub(crate) fn set(&mut self, name: &str, next: StreamVersion) {
        let stream = StreamAt { name, hash: xxh3_64(name.as_bytes()) };
        self.newer.insert(stream, next);
    }

    /// Forgets all streams. What was written and is perhaps not indexed is to be set anew.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Forgets the older generation when the newer one is full, as far as the index has come:
    /// everything below `visible` is indexed, everything written lies below `end`.
    pub(crate) fn trim(&mut self, visible: Position, end: Position) {
        if self.newer.table.len() >= STREAMS_MAX && visible >= self.older_end {
            std::mem::swap(&mut self.newer, &mut self.older);
            self.newer.clear();
            self.older_end = end;
        }
    }
}

impl Generation {
    fn find(&self, stream: StreamAt<'_>) -> Option<&Head> {
        self.table.find(stream.hash, |head| is(head, &self.names, stream))
    }

    fn insert(&mut self, stream: StreamAt<'_>, next: StreamVersion) {
        let names = &mut self.names;
        let same = |head: &Head| is(head, names, stream);
        match self.table.entry(stream.hash, same, |head| head.hash) {
            Entry::Occupied(mut head) => head.get_mut().next = next,
            Entry::Vacant(place) => {
                let name = names.len();
                let name_length = u16::try_from(stream.name.len()).expect("names are bounded");
                names.extend_from_slice(stream.name.as_bytes());
                place.insert(Head { hash: stream.hash, name, name_length, next });
            }
        }
    }

    fn clear(&mut self) {
        self.table.clear();
        self.names.clear();
    }
}

fn is(head: &Head, names: &[u8], stream: StreamAt<'_>) -> bool {
    let start = head.name;
    head.hash == stream.hash
        && names[start..start + usize::from(head.name_length)] == *stream.name.as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_the_index_once_and_counts_on() {
        let mut heads = Heads::default();
        let known = |_: &str| Ok(Some(StreamVersion::new(4)));
        let never = |_: &str| panic!("the stream is known here");
        assert_eq!(heads.next("cart-1", known).unwrap(), StreamVersion::new(5));
        assert_eq!(heads.next("cart-1", never).unwrap(), StreamVersion::new(5));
        heads.set("cart-1", StreamVersion::new(7));
        assert_eq!(heads.next("cart-1", never).unwrap(), StreamVersion::new(7));
        assert_eq!(heads.next("cart-2", |_| Ok(None)).unwrap(), StreamVersion::FIRST);
    }

    fn fill(heads: &mut Heads, named: &str) {
        for number in 0..STREAMS_MAX {
            heads.set(&format!("{named}-{number}"), StreamVersion::FIRST);
        }
    }

    #[test]
    fn forgets_only_when_there_are_many_and_those_asked_for_lately_last() {
        let mut heads = Heads::default();
        let (unknown, all) = (|_: &str| Ok(None), Position::new(9));
        heads.set("cart-1", StreamVersion::new(7));
        heads.set("cart-2", StreamVersion::new(8));
        heads.trim(all, all);
        assert_eq!(heads.next("cart-1", unknown).unwrap(), StreamVersion::new(7));
        fill(&mut heads, "a");
        heads.trim(all, all);
        assert_eq!(heads.next("cart-1", unknown).unwrap(), StreamVersion::new(7));
        fill(&mut heads, "b");
        heads.trim(all, all);
        assert_eq!(heads.next("cart-1", unknown).unwrap(), StreamVersion::new(7));
        assert_eq!(heads.next("cart-2", unknown).unwrap(), StreamVersion::FIRST);
    }

    #[test]
    fn never_forgets_what_is_not_indexed() {
        let mut heads = Heads::default();
        let never = |_: &str| panic!("the index does not have the stream yet");
        let (indexed, end) = (Position::new(4), Position::new(5));
        heads.set("cart-1", StreamVersion::new(7));
        for named in ["a", "b", "c"] {
            fill(&mut heads, named);
            heads.trim(indexed, end);
        }
        assert_eq!(heads.next("cart-1", never).unwrap(), StreamVersion::new(7));
    }

    #[test]
    fn stays_small_also_when_the_index_never_catches_up() {
        let mut heads = Heads::default();
        for number in 0..8 * STREAMS_MAX as u64 {
            let end = Position::new(number);
            heads.trim(Position::new(number.saturating_sub(1_000)), end);
            heads.set(&format!("stream-{number}"), StreamVersion::FIRST);
        }
        let streams = heads.newer.table.len() + heads.older.table.len();
        assert!(streams <= 2 * STREAMS_MAX + 1_000, "{streams} streams");
    }
}
