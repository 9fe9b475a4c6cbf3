//! Owns what tells that a sealed chunk lacks a key without a look at its index: its filter, and
//! when its time-ordered operation ids were made.
//!
//! Promises: never denies a key that the chunk has. Knows only bytes that the chunk's index found
//! sound when it was asked itself (F54), and reads none before that; until then, and of damaged
//! bytes for ever, it denies nothing. Assumes to be asked with the index of its chunk. Lies beside
//! those of other chunks, so that looks at many of them do not wait for each other.

use bytes::Bytes;

use super::ChunkIndex;
use super::filter::Probe;
use super::key::{Key, KeyKind, made_at};
use super::table::Table;
use crate::sync::OnceLock;

/// What denies most keys that a chunk lacks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sieve {
    filter: OnceLock<Bytes>,
    /// In milliseconds since 1970, the first and the last.
    operations: OnceLock<(u64, u64)>,
}

/// A key that is sought in many chunks, hashed once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sought {
    probe: Probe,
    /// Of a time-ordered operation id: when it was made.
    made: Option<u64>,
}

impl Sought {
    pub(crate) fn new(key: &Key<'_>) -> Self {
        let made = if key.kind == KeyKind::Operation { made_at(key.name) } else { None };
        Self { probe: Probe::new(key.hash()), made }
    }
}

impl Sieve {
    /// Whether the chunk with this index perhaps has the key; `false` is certain.
    pub(crate) fn may_have(&self, sought: &Sought, index: &ChunkIndex) -> bool {
        if let Some(made) = sought.made
            && let Some((first, last)) = known(&self.operations, index, Table::known_operations)
            && !(*first..=*last).contains(&made)
        {
            return false;
        }
        let filter = known(&self.filter, index, Table::known_filter);
        filter.is_none_or(|filter| sought.probe.may_be_in(filter))
    }
}

/// What is in `cell`, or else what the index has come to know since.
fn known<'a, T>(
    cell: &'a OnceLock<T>,
    index: &ChunkIndex,
    learn: impl FnOnce(&Table) -> Option<T>,
) -> Option<&'a T> {
    if let Some(known) = cell.get() {
        return Some(known);
    }
    let ChunkIndex::Table(table) = index else { return None };
    let learnt = learn(table)?;
    Some(cell.get_or_init(|| learnt))
}

#[cfg(test)]
mod tests {
    use uuid::{Builder, Uuid};

    use super::super::tests::{Event, in_changed_file, in_memory};
    use super::*;
    use crate::format::footer::section;

    const STREAMS: [&str; 3] = ["cart-1", "cart-2", "order-1"];

    fn made(milliseconds: u64) -> Uuid {
        Builder::from_unix_timestamp_millis(milliseconds, &[7; 10]).into_uuid()
    }

    fn in_memory_index() -> ChunkIndex {
        let events = (2..).zip(STREAMS).map(|(second, stream)| Event {
            stream: stream.to_owned(),
            event_type: "Added".to_owned(),
            tags: Vec::new(),
            operation: Some(made(second * 1000).as_u128()),
        });
        in_memory(&events.collect::<Vec<_>>())
    }

    /// An index whose section of this kind is all zero, or one without damage.
    fn in_file(zeroed: Option<u32>) -> ChunkIndex {
        let table = in_changed_file(&in_memory_index(), |file, footer| {
            for part in footer.sections.iter().filter(|part| Some(part.kind) == zeroed) {
                file[part.offset as usize..part.end() as usize].fill(0);
            }
        });
        ChunkIndex::Table(Box::new(table))
    }

    /// How many of the streams that are there, and of as many that are not.
    fn streams(sieve: &Sieve, index: &ChunkIndex) -> [usize; 2] {
        let may_have = |stream: &str| sieve.may_have(&Sought::new(&Key::stream(stream)), index);
        let absent = STREAMS.map(|stream| format!("no-{stream}"));
        [
            STREAMS.iter().filter(|stream| may_have(stream)).count(),
            absent.iter().filter(|stream| may_have(stream)).count(),
        ]
    }

    #[test]
    fn denies_once_the_filter_was_found_sound_and_for_every_copy() {
        let (sieve, index) = (Sieve::default(), in_file(None));
        assert_eq!(streams(&sieve, &index), [3, 3], "nobody has looked at the filter");
        let copy = sieve.clone();
        index.stream("no-cart-1", 9).unwrap();
        for sieve in [&sieve, &copy, &sieve.clone(), &Sieve::default()] {
            assert_eq!(streams(sieve, &index), [3, 0]);
        }
    }

    #[test]
    fn f54_denies_nothing_by_a_damaged_filter() {
        let (sieve, index) = (Sieve::default(), in_file(Some(section::FILTER)));
        assert_eq!(streams(&sieve, &index), [3, 3]);
        assert!(index.stream("no-cart-1", 9).is_err());
        assert_eq!(streams(&sieve, &index), [3, 3]);
    }

    #[test]
    fn denies_nothing_of_a_chunk_that_is_not_sealed() {
        let (sieve, index) = (Sieve::default(), in_memory_index());
        for _ in 0..2 {
            assert_eq!(streams(&sieve, &index), [3, 3]);
            index.stream("no-cart-1", 9).unwrap();
        }
    }

    #[test]
    fn denies_operations_of_another_time_before_the_filter_is_looked_at() {
        for zeroed in [None, Some(section::FILTER), Some(section::OPERATIONS)] {
            let (sieve, index) = (Sieve::default(), in_file(zeroed));
            let ids = [1999, 2000, 3500, 4000, 4001].map(made);
            let may_have =
                || ids.map(|id| sieve.may_have(&Sought::new(&Key::operation(&id)), &index));
            assert_eq!(may_have(), [true; 5]);
            let asked = index.postings(&Key::operation(&ids[0]), 0..9);
            let is_sound = zeroed != Some(section::OPERATIONS);
            assert_eq!(asked.is_ok(), is_sound);
            assert_eq!(may_have(), [!is_sound, true, true, true, !is_sound]);
        }
    }
}
