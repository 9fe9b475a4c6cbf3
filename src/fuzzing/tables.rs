//! Owns the target of sealed indexes: sections of any bytes behind checksums that fit, asked
//! everything that an index can be asked.
//!
//! Promises: an index that passes its full check gives consistent answers, and finds each of its
//! keys; any other gives an answer or a flaw.

use bytes::Bytes;

use super::{CHUNK, LOG, POSITION, salt};
use crate::clock::Timestamp;
use crate::format::footer::{FOOTER_SIZE, Footer, SECTIONS_ALIGNMENT, Section};
use crate::format::header::ChainEnd;
use crate::index::key::{Key, KeyKind};
use crate::index::plan;
use crate::index::table::{Table, TableFlaw};
use crate::index::{ChunkIndex, Postings};
use crate::position::StreamVersion;
use crate::query::Query;

/// The sizes that an input begins with: ordinals, keys, data end, then the length of each section,
/// two bytes each; then a byte that says which sections have a wrong checksum.
pub(crate) const SIZES: usize = 9;
/// Where the sections of an input begin.
pub(crate) const SECTIONS: usize = 2 * SIZES + 1;
const KINDS: [KeyKind; 5] =
    [KeyKind::Stream, KeyKind::Category, KeyKind::Type, KeyKind::Tag, KeyKind::Operation];
/// Most names that one input asks for.
const ASKED_MAX: usize = 40;

/// Opens an index and asks it.
pub fn table(data: &[u8]) {
    let Some((head, sections)) = data.split_at_checked(SECTIONS) else { return };
    let size = |index: usize| u16::from_le_bytes([head[2 * index], head[2 * index + 1]]);
    let (file, footer) = file_of(&size, head[2 * SIZES], sections);
    let decoded = Footer::decode(&file[file.len() - FOOTER_SIZE as usize..]);
    let Ok(footer) = decoded else { panic!("{decoded:?} of {footer:?}") };
    let Ok(table) = Table::open(&Bytes::from(file), &footer) else { return };
    let is_sound = table.check().is_ok();
    let listed: Vec<_> = KINDS.iter().map(|kind| keys_of(&table, *kind, is_sound)).collect();
    for ordinal in (0..footer.ordinals.saturating_add(2)).take(200) {
        let _ = table.offset(ordinal);
    }
    let index = ChunkIndex::Table(Box::new(table));
    for (kind, names) in KINDS.iter().zip(&listed) {
        for name in names.iter().map(Vec::as_slice).chain([&b"a"[..], b"", &[7; 16]]) {
            ask(&index, &Key { kind: *kind, name }, is_sound);
        }
        for limit in [0, 1, footer.ordinals, u32::MAX] {
            let mut count = 0;
            let told = index.list(*kind, limit, |key| count += key.count);
            assert!(!is_sound || told.is_ok(), "{told:?}");
        }
    }
    let texts: Vec<Vec<&str>> = (listed.iter())
        .map(|names| names.iter().filter_map(|name| std::str::from_utf8(name).ok()).collect())
        .collect();
    ask_queries(&index, &texts, footer.ordinals, is_sound);
}

/// The file of a sealed chunk with these sections, and its footer.
fn file_of(size: &dyn Fn(usize) -> u16, wrong: u8, mut bytes: &[u8]) -> (Vec<u8>, Footer) {
    let data_end = 4096 + u64::from(size(2));
    let start = data_end.next_multiple_of(SECTIONS_ALIGNMENT);
    let (mut file, mut sections) = (vec![0; start as usize], Vec::new());
    for kind in 1..=6_u32 {
        let length = usize::from(size(2 + kind as usize)).min(bytes.len());
        let (content, behind) = bytes.split_at(length);
        bytes = behind;
        let offset = file.len() as u64;
        let flaw = u32::from(wrong >> kind & 1);
        let checksum = salt().at_place(offset, content) ^ flaw;
        // The section of operation times may be missing.
        if kind < 6 || wrong & 1 == 0 {
            sections.push(Section { kind, checksum, offset, length: length as u64 });
        }
        file.extend_from_slice(content);
        file.resize(file.len().next_multiple_of(8), 0);
    }
    file.resize(file.len().next_multiple_of(4096), 0);
    let footer = Footer {
        log: LOG,
        number: CHUNK,
        first_position: POSITION,
        ordinals: size(0).into(),
        keys: size(1).into(),
        end: ChainEnd { chain: 7, data_end },
        first_time: Timestamp::default(),
        last_time: Timestamp::default(),
        file_size: file.len() as u64 + FOOTER_SIZE,
        sections,
    };
    file.extend_from_slice(&footer.encode());
    (file, footer)
}

/// The names of a kind, as far as they can be listed.
fn keys_of(table: &Table, kind: KeyKind, is_sound: bool) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    let keys = match table.keys(kind) {
        Ok(keys) => keys,
        Err(flaw) if is_sound => panic!("{flaw:?} in a sound index"),
        Err(_) => return names,
    };
    for listed in keys.take(ASKED_MAX) {
        match listed {
            Ok((name, listed)) => {
                if is_sound {
                    let found = table.find(&Key { kind, name }).map(|it| it.map(|it| it.postings));
                    assert_eq!(found, Ok(Some(listed.postings)), "{kind:?} {name:?}");
                }
                names.push(name.to_vec());
            }
            Err(flaw) => assert!(!is_sound, "{flaw:?} in a sound index"),
        }
    }
    names
}

/// Asks all that can be asked of one key.
fn ask(index: &ChunkIndex, key: &Key<'_>, is_sound: bool) {
    let end = index.event_count();
    let all = checked(index.postings(key, 0..u32::MAX), is_sound).unwrap_or_default();
    let all = ordinals(&all, is_sound);
    for range in [0..0, 0..1, 1..end, end..0, end / 2..u32::MAX] {
        let Some(part) = checked(index.postings(key, range.clone()), is_sound) else { continue };
        let part = ordinals(&part, is_sound);
        if is_sound {
            let expected = all.iter().copied().filter(|ordinal| range.contains(ordinal));
            assert!(expected.eq(part), "{key:?} in {range:?} of {all:?}");
        }
    }
    let Some(name) = std::str::from_utf8(key.name).ok().filter(|_| key.kind == KeyKind::Stream)
    else {
        return;
    };
    for limit in [0, end / 2, end, u32::MAX] {
        let part = checked(index.stream(name, limit), is_sound).flatten();
        if let Some(part) = part {
            assert!(part.first_version <= part.last_version);
            let version = part.last_version;
            let range = version..StreamVersion::new(u64::MAX);
            let last = checked(index.stream_postings(name, range, limit), is_sound);
            let last = last.unwrap_or_default();
            if is_sound && version.get() < u64::MAX {
                assert_eq!((last.len(), last.get(0)), (1, Some(part.last_ordinal)));
            }
        }
    }
}

fn ordinals(postings: &Postings, is_sound: bool) -> Vec<u32> {
    let all: Vec<u32> = (0..postings.len()).filter_map(|place| postings.get(place)).collect();
    assert!(!is_sound || all.is_sorted_by(|a, b| a < b), "{all:?}");
    all
}

fn checked<T>(answer: Result<T, TableFlaw>, is_sound: bool) -> Option<T> {
    assert!(!is_sound || answer.is_ok(), "{:?} in a sound index", answer.err());
    answer.ok()
}

/// Asks queries of some of the names; a sound index gives what its postings say.
fn ask_queries(index: &ChunkIndex, names: &[Vec<&str>], end: u32, is_sound: bool) {
    let some = |kind: usize, from: usize| names[kind].iter().skip(from).take(2).copied();
    let queries = [
        Query::new(),
        Query::new().types(some(2, 0)).tags(some(3, 0)),
        Query::new().streams(some(0, 0)).categories(some(1, 1)),
        Query::new().streams(some(0, 1)).tags(some(3, 1)).or(Query::new().types(some(2, 1))),
    ];
    for query in &queries {
        let mut from = 0;
        for _ in 0..ASKED_MAX {
            match checked(plan::first_match(index, query, from..u32::MAX), is_sound).flatten() {
                Some(ordinal) => {
                    assert!(ordinal >= from && (!is_sound || ordinal < end), "{ordinal} of {end}");
                    from = ordinal.saturating_add(1);
                }
                None => break,
            }
        }
    }
}
