//! Owns the index of a chunk that is not sealed: where each event lies, and which events each key
//! has.
//!
//! Promises: postings ascend without repeats; a hash collision never mixes two keys; posting to a
//! known key allocates only as its list grows. Assumes events in the order of the log, decoded,
//! from one chunk of at most 2 GiB. Never reads events or files.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as TableEntry;
use uuid::Uuid;

use super::key::{Key, KeyKind};
use crate::chunk::scan::ScannedEvent;
use crate::event::{category_of, tags};
use crate::position::StreamVersion;

/// What an event is found by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    /// Offset of the event in its chunk's file.
    pub(crate) offset: u32,
    pub(crate) stream: &'a [u8],
    pub(crate) version: StreamVersion,
    pub(crate) event_type: &'a [u8],
    /// In their stored form.
    pub(crate) tags: &'a [u8],
    pub(crate) operation: Option<Uuid>,
}

impl<'a> Entry<'a> {
    fn of(event: &ScannedEvent<'a>) -> Self {
        Self {
            offset: u32::try_from(event.offset).expect("offsets in a chunk fit 32 bits"),
            stream: event.stream(),
            version: event.version(),
            event_type: event.event_type(),
            tags: event.tags(),
            operation: event.operation(),
        }
    }
}

/// The index of a chunk that still grows.
#[derive(Debug, Default)]
pub(crate) struct MemoryIndex {
    /// Per ordinal, the offset of the event.
    offsets: Vec<u32>,
    /// The names of all keys, without separators.
    names: Vec<u8>,
    keys: Vec<Slot>,
    /// Finds keys by their hashes. Kept small, because as it grows it is made anew while an append
    /// waits.
    places: HashTable<Place>,
    /// The stream, category and type of the last event, which the next one often shares: then they
    /// are neither hashed nor looked up.
    last: [u32; 3],
}

/// Where a key stands among the keys, and the upper half of its hash.
#[derive(Debug)]
struct Place {
    hash: u32,
    key: u32,
}

/// A key and its postings. The name lies in the shared names.
#[derive(Debug)]
struct Slot {
    hash: u64,
    first_version: StreamVersion,
    postings: Ordinals,
    name: u32,
    name_length: u16,
    kind: KeyKind,
}

/// Ascending ordinals, at least one. Most operation ids and many streams have just one, which needs
/// no allocation.
#[derive(Debug)]
enum Ordinals {
    One(u32),
    Many(Vec<u32>),
}

/// A key of the index with what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyPostings<'a> {
    pub(crate) hash: u64,
    pub(crate) key: Key<'a>,
    /// Of a stream: version of its first event in this chunk. Of other kinds: 0.
    pub(crate) first_version: StreamVersion,
    /// The ordinals of its events, ascending, at least one.
    pub(crate) postings: &'a [u32],
}

impl MemoryIndex {
    /// Adds the next event.
    pub(crate) fn insert(&mut self, event: &Entry<'_>) {
        self.post_all(event, |_| {});
    }

    /// Adds the next event, checked by a walk over its chunk.
    pub(crate) fn insert_event(&mut self, event: &ScannedEvent<'_>) {
        self.insert(&Entry::of(event));
    }

    /// The same, and tells `heard` the hash of each of its keys.
    pub(crate) fn insert_heard(&mut self, event: &ScannedEvent<'_>, heard: impl FnMut(u64)) {
        self.post_all(&Entry::of(event), heard);
    }

    fn post_all(&mut self, event: &Entry<'_>, mut heard: impl FnMut(u64)) {
        let ordinal = self.event_count();
        self.offsets.push(event.offset);
        let recurring = [
            (Key::stream(event.stream), event.version),
            (Key::category(category_of(event.stream)), StreamVersion::FIRST),
            (Key::event_type(event.event_type), StreamVersion::FIRST),
        ];
        for (place, (key, version)) in recurring.iter().enumerate() {
            let last = self.keys.get_mut(self.last[place] as usize);
            if let Some(slot) = last.filter(|slot| slot.key(&self.names) == *key) {
                slot.postings.push(ordinal);
            } else {
                self.last[place] = self.post(key, *version, ordinal);
            }
            heard(self.keys[self.last[place] as usize].hash);
        }
        let tags = tags(event.tags).map(Key::tag);
        for key in tags.chain(event.operation.as_ref().map(Key::operation)) {
            let number = self.post(&key, StreamVersion::FIRST, ordinal);
            heard(self.keys[number as usize].hash);
        }
    }

    /// Adds an event to a key; returns the key's number.
    fn post(&mut self, key: &Key<'_>, version: StreamVersion, ordinal: u32) -> u32 {
        let hash = key.hash();
        let same = |place: &Place| self.keys[place.key as usize].is(hash, key, &self.names);
        match self.places.entry(spread(upper(hash)), same, |place| spread(place.hash)) {
            TableEntry::Occupied(place) => {
                let number = place.get().key;
                self.keys[number as usize].postings.push(ordinal);
                number
            }
            TableEntry::Vacant(vacancy) => {
                let number = u32::try_from(self.keys.len())
                    .expect("a chunk of at most 2 GiB has fewer keys");
                vacancy.insert(Place { hash: upper(hash), key: number });
                self.keys.push(Slot {
                    hash,
                    first_version: version,
                    postings: Ordinals::One(ordinal),
                    name: u32::try_from(self.names.len())
                        .expect("names take at most twice the bytes of their events"),
                    name_length: u16::try_from(key.name.len())
                        .expect("a decoded event has names of at most 1024 bytes"),
                    kind: key.kind,
                });
                self.names.extend_from_slice(key.name);
                number
            }
        }
    }

    /// Number of events.
    pub(crate) fn event_count(&self) -> u32 {
        u32::try_from(self.offsets.len()).expect("a chunk of at most 2 GiB has fewer events")
    }

    /// Where the event with this ordinal lies in the file.
    pub(crate) fn offset(&self, ordinal: u32) -> Option<u32> {
        self.offsets.get(ordinal as usize).copied()
    }

    /// Where the events lie in the file, in order.
    pub(crate) fn offsets(&self) -> &[u32] {
        &self.offsets
    }

    /// What is known of `key`; `None` where no event has it.
    pub(crate) fn find(&self, key: &Key<'_>) -> Option<KeyPostings<'_>> {
        let hash = key.hash();
        let same = |place: &Place| self.keys[place.key as usize].is(hash, key, &self.names);
        let place = self.places.find(spread(upper(hash)), same)?;
        Some(self.keys[place.key as usize].postings(&self.names))
    }

    /// All keys, in the order of their first events.
    pub(crate) fn keys(&self) -> impl Iterator<Item = KeyPostings<'_>> {
        self.keys.iter().map(|slot| slot.postings(&self.names))
    }
}

fn upper(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// The hash as the hash table wants it: it picks places by the lowest bits and compares the
/// highest.
fn spread(upper: u32) -> u64 {
    u64::from(upper) << 32 | u64::from(upper)
}

impl Slot {
    fn is(&self, hash: u64, key: &Key<'_>, names: &[u8]) -> bool {
        self.hash == hash && self.key(names) == *key
    }

    fn key<'a>(&self, names: &'a [u8]) -> Key<'a> {
        let start = self.name as usize;
        Key { kind: self.kind, name: &names[start..start + usize::from(self.name_length)] }
    }

    fn postings<'a>(&'a self, names: &'a [u8]) -> KeyPostings<'a> {
        KeyPostings {
            hash: self.hash,
            key: self.key(names),
            first_version: self.first_version,
            postings: self.postings.as_slice(),
        }
    }
}

impl Ordinals {
    /// Adds an ordinal that is not below any other; one that is there already stays alone.
    fn push(&mut self, ordinal: u32) {
        match self {
            Self::One(first) if *first == ordinal => {}
            Self::One(first) => *self = Self::Many(vec![*first, ordinal]),
            Self::Many(all) if all.last() == Some(&ordinal) => {}
            Self::Many(all) => all.push(ordinal),
        }
    }

    fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(first) => std::slice::from_ref(first),
            Self::Many(all) => all,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(tags: &[&str]) -> Vec<u8> {
        tags.iter()
            .flat_map(|tag| [&[u8::try_from(tag.len()).unwrap(), 0], tag.as_bytes()].concat())
            .collect()
    }

    fn insert(index: &mut MemoryIndex, stream: &str, version: u64, tags: &[&str]) {
        index.insert(&Entry {
            offset: 4160 + index.event_count() * 64,
            stream: stream.as_bytes(),
            version: StreamVersion::new(version),
            event_type: b"Added",
            tags: &stored(tags),
            operation: (version == 5).then(|| Uuid::from_u128(9)),
        });
    }

    fn sample() -> MemoryIndex {
        let mut index = MemoryIndex::default();
        insert(&mut index, "cart-7", 5, &["red", "blue", "red"]);
        insert(&mut index, "audit", 0, &[]);
        insert(&mut index, "cart-8", 1, &["red"]);
        insert(&mut index, "cart-7", 6, &["cart-7", "red", "red"]);
        index
    }

    #[test]
    fn every_key_of_an_event_finds_it_once() {
        let index = sample();
        let postings = |key: Key<'_>| index.find(&key).map(|found| found.postings);
        assert_eq!(postings(Key::stream("cart-7")), Some(&[0, 3][..]));
        assert_eq!(postings(Key::category("cart")), Some(&[0, 2, 3][..]));
        assert_eq!(postings(Key::category("audit")), Some(&[1][..]));
        assert_eq!(postings(Key::event_type("Added")), Some(&[0, 1, 2, 3][..]));
        assert_eq!(postings(Key::tag("red")), Some(&[0, 2, 3][..]));
        assert_eq!(postings(Key::tag("blue")), Some(&[0][..]));
        assert_eq!(postings(Key::operation(&Uuid::from_u128(9))), Some(&[0][..]));
        assert_eq!(postings(Key::stream("cart")), None);
        assert_eq!(postings(Key::tag("Added")), None);
        assert_eq!(postings(Key::operation(&Uuid::nil())), None);
    }

    #[test]
    fn the_hash_of_each_key_is_heard_also_where_events_share_it() {
        let mut index = MemoryIndex::default();
        for stream in ["a", "a", "b-1", "a", "b-2", "b-2"] {
            let (tags, mut heard) = (stored(&["a", "b"]), Vec::new());
            let entry = Entry {
                offset: 4160,
                stream: stream.as_bytes(),
                version: StreamVersion::FIRST,
                event_type: b"a",
                tags: &tags,
                operation: None,
            };
            index.post_all(&entry, |hash| heard.push(hash));
            let category = Key::category(category_of(stream.as_bytes()));
            let keys = [Key::stream(stream), category, Key::event_type("a")];
            let keys = keys.into_iter().chain([Key::tag("a"), Key::tag("b")]);
            assert_eq!(heard, keys.map(|key| key.hash()).collect::<Vec<_>>(), "{stream}");
        }
        assert_eq!(index.find(&Key::category("a")).unwrap().postings, [0, 1, 3]);
        assert_eq!(index.find(&Key::stream("b-2")).unwrap().postings, [4, 5]);
    }

    #[test]
    fn streams_know_their_first_version_here() {
        let index = sample();
        let first = |name| index.find(&Key::stream(name)).map(|found| found.first_version.get());
        assert_eq!([first("cart-7"), first("cart-8"), first("x")], [Some(5), Some(1), None]);
        assert_eq!(index.find(&Key::tag("red")).unwrap().first_version, StreamVersion::FIRST);
    }

    #[test]
    fn events_and_keys_are_counted() {
        let index = sample();
        assert_eq!(index.event_count(), 4);
        assert_eq!(index.keys().count(), 10);
        assert_eq!(index.keys().map(|key| key.postings.len()).sum::<usize>(), 18);
        assert_eq!((index.offset(3), index.offset(4)), (Some(4160 + 192), None));
        assert_eq!(index.offsets(), [4160, 4224, 4288, 4352]);
    }

    #[test]
    fn keys_of_one_hash_stay_apart() {
        let mut index = MemoryIndex::default();
        index.post(&Key::tag("a"), StreamVersion::FIRST, 0);
        let hash = Key::tag("b").hash();
        index.keys[0].hash = hash;
        index.places.clear();
        let forged = Place { hash: upper(hash), key: 0 };
        index.places.insert_unique(spread(upper(hash)), forged, |place| spread(place.hash));
        assert_eq!(index.find(&Key::tag("b")), None);
        index.post(&Key::tag("b"), StreamVersion::FIRST, 1);
        assert_eq!(index.find(&Key::tag("b")).unwrap().postings, [1]);
        assert_eq!(index.keys.len(), 2);
    }
}
