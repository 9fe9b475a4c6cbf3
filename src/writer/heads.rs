//! Owns what the writer knows of streams beyond the index: the versions it has given out itself.
//!
//! Promises: holds every stream written since it was last cleared, and is cleared only when all
//! that is written is indexed; so a stream that is not here is whole in the index. Names are
//! compared, hashes alone never decide. Allocates only as the number of streams grows.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::Result;
use crate::position::StreamVersion;

/// More streams than this are forgotten when the index has caught up.
const STREAMS_MAX: usize = 64 << 10;

#[derive(Debug)]
struct Head {
    hash: u64,
    name: usize,
    name_length: u16,
    /// Version that the next event of the stream gets.
    next: StreamVersion,
}

/// The next versions of the streams that were written lately.
#[derive(Debug, Default)]
pub(crate) struct Heads {
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
        if let Some(head) = self.find(stream) {
            return Ok(head.next);
        }
        let next = look_up(name)?.map_or(StreamVersion::FIRST, StreamVersion::next);
        self.insert(stream, next);
        Ok(next)
    }

    /// Sets the next version of a stream that [`Heads::next`] was asked for.
    pub(crate) fn set(&mut self, name: &str, next: StreamVersion) {
        let stream = StreamAt { name, hash: xxh3_64(name.as_bytes()) };
        self.insert(stream, next);
    }

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

    /// Forgets all streams when they are many; everything written is indexed.
    pub(crate) fn trim(&mut self) {
        if self.table.len() > STREAMS_MAX {
            self.table.clear();
            self.names.clear();
        }
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

    #[test]
    fn forgets_only_when_there_are_many() {
        let mut heads = Heads::default();
        heads.set("cart-1", StreamVersion::new(7));
        heads.trim();
        assert_eq!(heads.next("cart-1", |_| Ok(None)).unwrap(), StreamVersion::new(7));
        for number in 0..STREAMS_MAX {
            heads.set(&format!("stream-{number}"), StreamVersion::FIRST);
        }
        heads.trim();
        assert_eq!(heads.next("cart-1", |_| Ok(None)).unwrap(), StreamVersion::FIRST);
    }
}
