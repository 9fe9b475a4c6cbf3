//! Tests that both forms of a chunk's index give the same answers.

use bytes::Bytes;
use proptest::prelude::*;
use uuid::Uuid;

use super::memory::Entry;
use super::table::{SealedPlace, build};
use super::*;
use crate::clock::Timestamp;
use crate::format::checksum::LogSalt;
use crate::format::footer::Footer;
use crate::format::header::ChainEnd;
use crate::position::{ChunkNumber, Position};

#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) stream: String,
    pub(super) event_type: String,
    pub(super) tags: Vec<String>,
    pub(super) operation: Option<u128>,
}

const DATA_END: u64 = 100_000;

fn insert_all(index: &mut MemoryIndex, events: &[Event]) {
    let mut versions = std::collections::HashMap::new();
    for event in events {
        let version: &mut u64 = versions.entry(&event.stream).or_insert(event.stream.len() as u64);
        let tags: Vec<u8> = (event.tags.iter())
            .flat_map(|tag| [&[u8::try_from(tag.len()).unwrap(), 0], tag.as_bytes()].concat())
            .collect();
        index.insert(&Entry {
            offset: 4160 + index.event_count() * 64,
            stream: event.stream.as_bytes(),
            version: StreamVersion::new(*version),
            event_type: event.event_type.as_bytes(),
            tags: &tags,
            operation: event.operation.map(Uuid::from_u128),
        });
        *version += 1;
    }
}

pub(super) fn in_memory(events: &[Event]) -> ChunkIndex {
    let index = ChunkIndex::empty();
    insert_all(&mut index.memory().unwrap().write().unwrap(), events);
    index
}

/// The same index after a way through the bytes of a file.
pub(super) fn in_file(index: &ChunkIndex) -> ChunkIndex {
    let table = in_changed_file(index, |_, _| {});
    table.check().unwrap();
    ChunkIndex::Table(Box::new(table))
}

/// The same of bytes that are changed, and that nobody has looked at.
pub(super) fn in_changed_file(
    index: &ChunkIndex,
    change: impl FnOnce(&mut [u8], &Footer),
) -> Table {
    let (log, number) = (Uuid::from_u128(5), ChunkNumber::new(3));
    let salt = LogSalt::new(log).chunk(number);
    let place = SealedPlace {
        log,
        salt,
        number,
        first_position: Position::new(1000),
        end: ChainEnd { chain: 77, data_end: DATA_END },
        least_size: 1 << 17,
        first_time: Timestamp::from_nanos(5),
        last_time: Timestamp::from_nanos(6),
    };
    let sealed = build(&index.memory().unwrap().read().unwrap(), &place);
    let mut file = vec![0; usize::try_from(sealed.footer.file_size).unwrap()];
    let start = usize::try_from(sealed.sections_offset).unwrap();
    file[start..start + sealed.sections.len()].copy_from_slice(&sealed.sections);
    change(&mut file, &sealed.footer);
    Table::open(&Bytes::from(file), &sealed.footer).unwrap()
}

fn ordinals(postings: &Postings) -> Vec<u32> {
    (0..=postings.len()).filter_map(|place| postings.get(place)).collect()
}

fn listed(index: &ChunkIndex, kind: KeyKind, limit: u32) -> Vec<(Vec<u8>, u64, u32, u32)> {
    let mut all = Vec::new();
    let tell = |key: ListedKey<'_>| {
        all.push((key.name.to_vec(), key.first_version.get(), key.count, key.last_ordinal));
    };
    index.list(kind, limit, tell).unwrap();
    all.sort();
    all
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let name = "[a-c]{0,2}-?[a-c\u{e9}]{1,2}";
    let event = (name, name, prop::collection::vec(name, 0..4), prop::option::of(0..20_u128));
    let event = event.prop_map(|(stream, event_type, tags, operation)| Event {
        stream,
        event_type,
        tags,
        operation,
    });
    prop::collection::vec(event, 0..60)
}

/// What an index must answer, found by looking at all events.
fn expected(events: &[Event], key: &Key<'_>) -> Vec<u32> {
    let has = |event: &Event| match key.kind {
        KeyKind::Stream => event.stream.as_bytes() == key.name,
        KeyKind::Category => crate::event::category(&event.stream).as_bytes() == key.name,
        KeyKind::Type => event.event_type.as_bytes() == key.name,
        KeyKind::Tag => event.tags.iter().any(|tag| tag.as_bytes() == key.name),
        KeyKind::Operation => {
            event.operation.is_some_and(|id| Uuid::from_u128(id).as_bytes() == key.name)
        }
    };
    (0..).zip(events).filter(|(_, event)| has(event)).map(|(ordinal, _)| ordinal).collect()
}

fn names(events: &[Event]) -> Vec<String> {
    let mut names = vec!["absent".to_owned(), String::new()];
    for event in events {
        names.extend([&event.stream, &event.event_type].map(String::clone));
        names.push(crate::event::category(&event.stream).to_owned());
        names.extend(event.tags.iter().cloned());
    }
    names
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_forms_answer_what_the_events_say(events in events(), start: u8, end: u8) {
        let (start, end) = (u32::from(start % 64), u32::from(end % 64));
        let memory = in_memory(&events);
        let file = in_file(&memory);
        let (names, ids) = (names(&events), (0..21).map(Uuid::from_u128).collect::<Vec<_>>());
        let named = names.iter().flat_map(|name| {
            [Key::stream(name), Key::category(name), Key::event_type(name), Key::tag(name)]
        });
        for key in named.chain(ids.iter().map(Key::operation)) {
            let mut expected = expected(&events, &key);
            for index in [&memory, &file] {
                prop_assert_eq!(&ordinals(&index.postings(&key, 0..u32::MAX).unwrap()), &expected);
            }
            expected.retain(|ordinal| (start..end).contains(ordinal));
            for index in [&memory, &file] {
                let found = index.postings(&key, start..end).unwrap();
                prop_assert_eq!(&ordinals(&found), &expected);
            }
        }
        for name in &names {
            prop_assert_eq!(memory.stream(name, end), file.stream(name, end));
        }
        for kind in (1..=5).filter_map(KeyKind::from_u8) {
            prop_assert_eq!(listed(&memory, kind, end), listed(&file, kind, end));
        }
        prop_assert_eq!(memory.event_count(), file.event_count());
        for ordinal in 0..memory.event_count() {
            prop_assert_eq!(memory.offset(ordinal), Ok(Some(4160 + ordinal * 64)));
            prop_assert_eq!(file.offset(ordinal), Ok(Some(4160 + ordinal * 64)));
        }
    }
}

fn cart_events() -> Vec<Event> {
    let event = |stream: &str, tags: &[&str]| Event {
        stream: stream.to_owned(),
        event_type: "Added".to_owned(),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        operation: None,
    };
    // The first version of a stream is the length of its name, so that it is not always 0.
    vec![event("cart", &["red"]), event("b", &[]), event("cart", &[]), event("cart", &["red"])]
}

#[test]
fn a_stream_is_told_up_to_the_limit() {
    let memory = in_memory(&cart_events());
    for index in [in_file(&memory), memory] {
        let part = |limit| {
            let part = index.stream("cart", limit).unwrap()?;
            Some((part.first_version.get(), part.last_version.get(), part.last_ordinal))
        };
        assert_eq!([part(0), part(1), part(2)], [None, Some((4, 4, 0)), Some((4, 4, 0))]);
        assert_eq!([part(3), part(9)], [Some((4, 5, 2)), Some((4, 6, 3))]);
        assert_eq!(index.stream("absent", 9), Ok(None));
    }
}

#[test]
fn a_stream_is_read_by_versions() {
    let memory = in_memory(&cart_events());
    for index in [in_file(&memory), memory] {
        let part = |from, to, limit| {
            let versions = StreamVersion::new(from)..StreamVersion::new(to);
            ordinals(&index.stream_postings("cart", versions, limit).unwrap())
        };
        assert_eq!(part(0, u64::MAX, 9), [0, 2, 3]);
        assert_eq!(part(5, 6, 9), [2]);
        assert_eq!(part(5, u64::MAX, 3), [2]);
        assert_eq!(part(0, 4, 9), [0; 0]);
        assert_eq!(part(7, 9, 9), [0; 0]);
        assert_eq!(part(6, 5, 9), [0; 0]);
    }
}

#[test]
fn keys_beyond_the_limit_are_not_listed() {
    let memory = in_memory(&cart_events());
    for index in [in_file(&memory), memory] {
        assert_eq!(listed(&index, KeyKind::Stream, 1), [(b"cart".to_vec(), 4, 1, 0)]);
        let both = [(b"b".to_vec(), 1, 1, 1), (b"cart".to_vec(), 4, 3, 3)];
        assert_eq!(listed(&index, KeyKind::Stream, 9), both);
        assert_eq!(listed(&index, KeyKind::Tag, 3), [(b"red".to_vec(), 0, 1, 0)]);
        assert_eq!(listed(&index, KeyKind::Operation, 9), []);
    }
}

/// Where a search begins is for its cost alone.
#[test]
fn a_search_finds_the_same_from_wherever_it_begins() {
    for bits in 0..1_u32 << 9 {
        let all: Vec<u32> = (0..9).filter(|bit| bits >> bit & 1 == 1).collect();
        let stored: Vec<u8> = all.iter().flat_map(|ordinal| ordinal.to_le_bytes()).collect();
        let stored = Bytes::from(stored);
        for (place, limit) in (0..11).flat_map(|place| (0..10).map(move |limit| (place, limit))) {
            let below = all.iter().filter(|ordinal| **ordinal < limit).count();
            for ordinals in [Ordinals::Memory(&all), Ordinals::Mapped(&stored)] {
                assert_eq!(ordinals.below_from(place, limit), below, "{all:?} {place} {limit}");
            }
        }
    }
}
