//! Owns the proof that format version 1 stays what it is: files under `tests/data/format-v1/`,
//! committed once, open and give back every field, and stand byte by byte as docs/format.md draws
//! them.
//!
//! The files were made by `cargo test --features sim --test golden -- --ignored regenerate`. A log
//! is random in its id alone; all else follows from the table below. Files of a released version
//! are never made anew: a change that needs new ones is a new version, with a folder of its own.

#![cfg(feature = "sim")]
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "what is wrong ends the test"
)]

mod support;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use paperchase::clock::SimClock;
use paperchase::disk::sim::SimDisk;
use paperchase::{
    ChunkState, ContentKind, Expected, Log, NewEvent, OpenError, Position, Timestamp, View,
};
use support::sim::{FIRST, MIB, change, file, groups, open, small, u32_at, u64_at};
use support::{Content, image};
use uuid::Uuid;

const SECOND: &str = "chunk-0000000001";
const NAMES: [&str; 3] = [FIRST, SECOND, "hint"];
const START: u64 = 1_700_000_000_000_000_000;
const SECOND_NANOS: u64 = 1_000_000_000;
const BLANK: usize = 600 << 10;

/// An event of the golden log: append, stream, version, type, data, metadata, tags.
struct Row(u64, &'static str, u64, &'static str, Body, Body, &'static [&'static str]);

#[derive(Clone, Copy)]
enum Body {
    Json(&'static str),
    Bytes(&'static [u8]),
    Zeros(usize),
}

use Body::{Bytes, Json, Zeros};

#[rustfmt::skip]
const ROWS: [Row; 6] = [
    Row(0, "order-1", 0, "Placed", Json(r#"{"sku":7}"#), Bytes(&[0, 255]),
        &["customer:9", "caf\u{e9}"]),
    Row(0, "order-1", 1, "Paid", Bytes(&[]), Bytes(&[]), &[]),
    Row(1, "order-2", 0, "Placed", Json(r#"{"sku":8}"#), Json(r#"{"by":"x"}"#), &["customer:9"]),
    Row(2, "blank-1", 0, "Zeros", Zeros(BLANK), Bytes(&[]), &[]),
    Row(3, "blank-1", 1, "Zeros", Zeros(BLANK), Bytes(&[]), &[]),
    Row(4, "order-1", 2, "Shipped", Bytes(&[1, 2, 3]), Bytes(&[]), &["customer:9"]),
];

impl Body {
    fn bytes(self) -> Vec<u8> {
        match self {
            Json(text) => text.as_bytes().to_vec(),
            Bytes(bytes) => bytes.to_vec(),
            Zeros(length) => vec![0; length],
        }
    }

    fn kind(self) -> ContentKind {
        if let Json(_) = self { ContentKind::Json } else { ContentKind::Bytes }
    }
}

fn id(position: u64) -> Uuid {
    Uuid::from_u128(0x0001_0203_0405_0607_0809_0a0b_0c0d_0e00 + u128::from(position))
}

fn event((position, row): (u64, &Row)) -> NewEvent {
    let event = NewEvent::new(row.3, row.4.bytes()).data_kind(row.4.kind()).id(id(position));
    let event = event.metadata(row.5.bytes(), row.5.kind());
    row.6.iter().fold(event, |event, tag| event.tag(*tag))
}

fn time(append: u64) -> Timestamp {
    Timestamp::from_nanos(START + append * SECOND_NANOS)
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/format-v1")
}

fn golden(name: &str) -> Vec<u8> {
    let path = folder().join(format!("{name}.hex"));
    image::decode(&std::fs::read_to_string(&path).unwrap())
}

fn golden_disk() -> SimDisk {
    let disk = SimDisk::new();
    for name in NAMES {
        disk.write_file(name, golden(name));
    }
    disk
}

/// The log of the table, made and closed by the code as it is.
fn made() -> SimDisk {
    let disk = SimDisk::new();
    let clock = Arc::new(SimClock::new());
    clock.set_wall(Timestamp::from_nanos(START - SECOND_NANOS));
    let log = small().open_on(Arc::new(disk.clone()), Arc::<SimClock>::clone(&clock)).unwrap();
    for append in 0..5 {
        clock.set_wall(time(append));
        let rows = (0..).zip(&ROWS);
        let of_append: Vec<_> = rows.filter(|(_, row)| row.0 == append).collect();
        let stream = of_append[0].1.1;
        let events = of_append.into_iter().map(event);
        log.append(stream, Expected::Any, events).unwrap().wait().unwrap();
    }
    log.close().unwrap();
    disk
}

/// What is held to the drawing: the committed files, and those that are written today.
fn golden_and_made() -> [SimDisk; 2] {
    [golden_disk(), made()]
}

#[test]
#[ignore = "writes the golden files anew"]
fn regenerate() {
    let disk = made();
    for name in NAMES {
        let text = image::encode(&file(&disk, name));
        let text =
            format!("# Golden file of format version 1: {name}. See tests/golden.rs.\n{text}");
        std::fs::write(folder().join(format!("{name}.hex")), text).unwrap();
    }
}

fn check_events(view: &View) {
    assert_eq!(view.end(), Position::new(ROWS.len() as u64));
    let mut read = view.read_all(..);
    for (position, row) in (0..).zip(&ROWS) {
        let event = read.next().unwrap().unwrap();
        assert_eq!(event.position(), Position::new(position));
        assert_eq!((event.stream(), event.version().get()), (row.1, row.2));
        assert_eq!((event.event_type(), event.id()), (row.3, id(position)));
        assert_eq!((event.data(), event.data_kind()), (&row.4.bytes()[..], row.4.kind()));
        assert_eq!((event.metadata(), event.metadata_kind()), (&row.5.bytes()[..], row.5.kind()));
        assert_eq!(event.tags().collect::<Vec<_>>(), row.6);
        assert_eq!((event.time(), event.operation()), (time(row.0), None));
    }
    assert!(read.next().is_none());
    let streams = view.streams("").unwrap();
    let streams: Vec<_> = streams.iter().map(|it| (&it.name[..], it.events)).collect();
    assert_eq!(streams, [("blank-1", 2), ("order-1", 3), ("order-2", 1)]);
    // Every other way of reading agrees with the first.
    Content::of(view);
    let states: Vec<_> =
        view.chunks().into_iter().map(|chunk| (chunk.state, chunk.events)).collect();
    assert_eq!(states, [(ChunkState::Sealed, 4), (ChunkState::Active, 2)]);
}

#[test]
fn opens_with_every_field() {
    let disk = golden_disk();
    let log = open(&disk).unwrap();
    assert!(log.report().clean && log.report().resealed == 0, "{:?}", log.report());
    check_events(&log.view());
    let shipped = NewEvent::new("Closed", "");
    let done = log.append("order-1", Expected::Any, [shipped]).unwrap().wait().unwrap();
    assert_eq!((done.first_position.get(), done.version.get()), (6, 3));
    log.close().unwrap();
    assert!(open(&disk).unwrap().report().clean);
}

#[test]
fn opens_on_a_real_disk_and_beside_a_writer() {
    let folder = tempfile::tempdir().unwrap();
    for name in NAMES {
        std::fs::write(folder.path().join(name), golden(name)).unwrap();
    }
    check_events(&View::open(folder.path()).unwrap());
    let log = Log::open(folder.path()).unwrap();
    check_events(&log.view());
    check_events(&View::open(folder.path()).unwrap());
    log.close().unwrap();
    assert!(std::fs::read(folder.path().join(FIRST)).unwrap() == golden(FIRST), "unchanged");
}

#[test]
fn is_sealed_again_to_the_same_bytes() {
    let disk = golden_disk();
    let data_end = groups(&golden(FIRST)).last().unwrap().end;
    change(&disk, FIRST, |chunk| chunk.truncate(data_end));
    let log = open(&disk).unwrap();
    assert_eq!(log.report().resealed, 1);
    log.close().unwrap();
    assert!(file(&disk, FIRST) == golden(FIRST), "the same bytes");
}

#[test]
fn other_versions_are_refused_by_number() {
    let disk = golden_disk();
    change(&disk, SECOND, |chunk| {
        chunk[8] = 2;
        let checksum = page_checksum(&chunk[..4096]);
        chunk[12..16].copy_from_slice(&checksum.to_le_bytes());
    });
    match open(&disk) {
        Err(OpenError::Version { file, found: 2, supported: 1 }) => assert_eq!(file, SECOND),
        other => panic!("{other:?}"),
    }
}

/// CRC-32/ISO-HDLC bit by bit, continued from a CRC value: the definition, shared with nobody.
fn crc(salt: u32, bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 }
        })
    };
    !bytes.iter().fold(!salt, step)
}

fn page_checksum(page: &[u8]) -> u32 {
    crc(crc(0, &page[..12]), &page[16..])
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

/// The salts of a chunk, by the table of docs/format.md.
struct Salts {
    log: u32,
    chunk: u32,
}

impl Salts {
    fn of(chunk: &[u8]) -> Self {
        let log = crc(0, &chunk[16..32]);
        Self { log, chunk: crc(log, &chunk[32..40]) }
    }

    fn at(&self, number: u64) -> u32 {
        crc(self.chunk, &number.to_le_bytes())
    }
}

#[test]
fn the_checksum_is_the_common_one() {
    assert_eq!(crc(0, b"123456789"), 0xcbf4_3926);
    assert_eq!(crc(crc(0, b"1234"), b"56789"), 0xcbf4_3926);
}

#[test]
fn chunk_headers_stand_as_drawn() {
    golden_and_made().iter().for_each(check_chunk_headers);
}

fn check_chunk_headers(disk: &SimDisk) {
    let (first, second) = (file(disk, FIRST), file(disk, SECOND));
    let first_end = groups(&first).last().unwrap().clone();
    let chain = chain_of(&first, &first_end);
    let wanted = [(&first, 0, 0, 0, 0), (&second, 1, 4, chain, first_end.end as u64)];
    for (chunk, number, position, chain, data_end) in wanted {
        assert_eq!(&chunk[..8], b"PCHCHUNK");
        assert_eq!((u32_at(chunk, 8), u32_at(chunk, 12)), (1, page_checksum(&chunk[..4096])));
        assert_eq!(chunk[16..32], first[16..32], "the log's id");
        assert_eq!((u64_at(chunk, 32), u64_at(chunk, 40)), (number, position));
        assert_eq!((u64_at(chunk, 48), u64_at(chunk, 56)), (MIB, chain));
        assert_eq!(u64_at(chunk, 64), data_end);
        let created = if number == 0 { START - SECOND_NANOS } else { time(3).as_nanos() };
        assert_eq!(u64_at(chunk, 72), created);
        assert!(chunk[80..4096].iter().all(|byte| *byte == 0), "reserved");
    }
    assert_eq!(second.len() as u64, MIB, "an active chunk has its capacity");
    assert!(second[groups(&second).last().unwrap().end..].iter().all(|byte| *byte == 0));
}

fn chain_of(chunk: &[u8], group: &Range<usize>) -> u64 {
    let checksum = |at: usize| u64::from(u32_at(chunk, group.start + at));
    checksum(4) << 32 | checksum(44)
}

#[test]
fn groups_and_events_stand_as_drawn() {
    golden_and_made().iter().for_each(check_groups_and_events);
}

fn check_groups_and_events(disk: &SimDisk) {
    let mut rows = (0..).zip(&ROWS);
    let mut durable = 0;
    for name in [FIRST, SECOND] {
        let chunk = file(disk, name);
        let salts = Salts::of(&chunk);
        let mut chain = u64_at(&chunk, 56);
        for place in groups(&chunk) {
            let group = &chunk[place.clone()];
            let salt = salts.at(place.start as u64);
            assert_eq!(place.start % 8 + group.len() % 8, 0);
            assert_eq!(u32_at(group, 4), crc(salt, &group[8..64]), "header checksum");
            assert_eq!(u64_at(group, 8), chain, "chain value of the group before");
            assert_eq!((u64_at(group, 16), u64_at(group, 24)), (durable, durable));
            assert_eq!(u32_at(group, 44), crc(salt, &group[64..]), "body checksum");
            assert_eq!(u32_at(group, 52), 1, "number of appends");
            assert_eq!(group[56..64], [0; 8], "codec and reserved");
            let mut at = 64;
            for number in 0..u32_at(group, 48) {
                let (position, row) = rows.next().unwrap();
                assert_eq!(u64_at(group, 32), time(row.0).as_nanos());
                at += check_event(&group[at..], &salts, position, row, number == 0);
                durable += 1;
            }
            assert_eq!(at, group.len());
            chain = chain_of(&chunk, &place);
        }
    }
    assert!(rows.next().is_none());
}

/// Checks the event that `bytes` begin with; returns its padded length.
fn check_event(bytes: &[u8], salts: &Salts, position: u64, row: &Row, is_first: bool) -> usize {
    let (data, metadata) = (row.4.bytes(), row.5.bytes());
    assert_eq!((u64_at(bytes, 8), u64_at(bytes, 16)), (row.2, time(row.0).as_nanos()));
    assert_eq!(u32_at(bytes, 24) as usize, data.len());
    assert_eq!(u32_at(bytes, 28) as usize, metadata.len());
    assert_eq!(usize::from(u16_at(bytes, 32)), row.1.len());
    assert_eq!(usize::from(u16_at(bytes, 34)), row.3.len());
    let mut tags = Vec::new();
    for tag in row.6 {
        tags.extend_from_slice(&(tag.len() as u16).to_le_bytes());
        tags.extend_from_slice(tag.as_bytes());
    }
    assert_eq!(usize::from(u16_at(bytes, 36)), tags.len());
    assert_eq!(usize::from(bytes[38]), row.6.len());
    let json = |kind, flag| if kind == ContentKind::Json { flag } else { 0 };
    let flags = json(row.4.kind(), 1) + json(row.5.kind(), 2) + if is_first { 4 } else { 0 };
    assert_eq!(bytes[39], flags);
    assert_eq!(&bytes[40..56], id(position).as_bytes());
    let content = [row.1.as_bytes(), row.3.as_bytes(), &tags, &metadata, &data].concat();
    let length = 56 + content.len();
    assert_eq!(bytes[56..length], content);
    let padded = length.next_multiple_of(8);
    assert!(bytes[length..padded].iter().all(|byte| *byte == 0), "padding");
    assert_eq!(u32_at(bytes, 0), crc(salts.at(position), &bytes[4..56]), "checksum");
    assert_eq!(u32_at(bytes, 4), crc(salts.log, &bytes[24..length]), "content checksum");
    padded
}

#[test]
fn the_footer_and_its_sections_stand_as_drawn() {
    golden_and_made().iter().for_each(check_footer);
}

fn check_footer(disk: &SimDisk) {
    let chunk = file(disk, FIRST);
    let places = groups(&chunk);
    let footer = &chunk[chunk.len() - 4096..];
    assert_eq!(&footer[..8], b"PCHFOOTR");
    assert_eq!((u32_at(footer, 8), u32_at(footer, 12)), (1, page_checksum(footer)));
    assert_eq!(footer[16..32], chunk[16..32], "the log's id");
    assert_eq!((u64_at(footer, 32), u64_at(footer, 40), u32_at(footer, 48)), (0, 0, 4));
    let last = places.last().unwrap();
    assert_eq!((u64_at(footer, 56), u64_at(footer, 64)), (last.end as u64, chain_of(&chunk, last)));
    assert_eq!((u64_at(footer, 72), u64_at(footer, 80)), (START, time(2).as_nanos()));
    assert_eq!((u64_at(footer, 88), u32_at(footer, 100)), (chunk.len() as u64, 0));
    let count = u32_at(footer, 96) as usize;
    assert!(footer[104 + 24 * count..].iter().all(|byte| *byte == 0), "reserved");
    let salts = Salts::of(&chunk);
    let mut behind = last.end.next_multiple_of(4096) as u64;
    let sections: Vec<&[u8]> = (0..count)
        .map(|index| {
            let at = 104 + 24 * index;
            let (offset, length) = (u64_at(footer, at + 8), u64_at(footer, at + 16));
            assert_eq!(u32_at(footer, at) as usize, index + 1, "kind");
            assert_eq!((offset % 8, offset), (0, behind.next_multiple_of(8)));
            behind = offset + length;
            let bytes = &chunk[offset as usize..behind as usize];
            assert_eq!(u32_at(footer, at + 4), crc(salts.at(offset), bytes), "checksum");
            bytes
        })
        .collect();
    let [offsets, keys, names, postings, filter, operations] = sections[..] else {
        panic!("six sections")
    };
    assert_eq!((u64_at(operations, 0), u64_at(operations, 8)), (u64::MAX, 0), "none was made");
    for ordinal in 0..4 {
        let offset = u32_at(offsets, 4 * ordinal) as usize;
        assert_eq!(&chunk[offset + 40..offset + 56], id(ordinal as u64).as_bytes());
    }
    check_keys(u32_at(footer, 52) as usize, keys, names, postings, filter);
}

fn check_keys(count: usize, keys: &[u8], names: &[u8], postings: &[u8], filter: &[u8]) {
    #[rustfmt::skip]
    let mut wanted: Vec<(u8, &str, Vec<u32>)> = vec![
        (1, "order-1", vec![0, 1]), (1, "order-2", vec![2]), (1, "blank-1", vec![3]),
        (2, "order", vec![0, 1, 2]), (2, "blank", vec![3]),
        (3, "Placed", vec![0, 2]), (3, "Paid", vec![1]), (3, "Zeros", vec![3]),
        (4, "customer:9", vec![0, 2]), (4, "caf\u{e9}", vec![0]),
    ];
    let hash =
        |kind: u8, name: &str| xxhash_rust::xxh3::xxh3_64(&[&[kind], name.as_bytes()].concat());
    wanted.sort_by_key(|(kind, name, _)| hash(*kind, name));
    assert_eq!((keys.len(), count), (32 * wanted.len(), wanted.len()));
    for (row, (kind, name, ordinals)) in keys.chunks(32).zip(wanted) {
        assert_eq!((u64_at(row, 0), row[14], row[15]), (hash(kind, name), kind, 0));
        let start = u32_at(row, 8) as usize;
        let stored = &names[start..start + usize::from(u16_at(row, 12))];
        assert_eq!(std::str::from_utf8(stored), Ok(name));
        let first = u32_at(row, 16) as usize;
        let places = first..first + u32_at(row, 20) as usize;
        let stored: Vec<_> = places.map(|place| u32_at(postings, 4 * place)).collect();
        assert_eq!(stored, ordinals, "{name}");
        assert_eq!(u64_at(row, 24), 0, "first version");
        check_filter(filter, hash(kind, name));
    }
}

/// The split block Bloom filter, by the specification of Apache Parquet.
fn check_filter(filter: &[u8], hash: u64) {
    const SALTS: [u32; 8] = [
        0x47b6_137b,
        0x4497_4d91,
        0x8824_ad5b,
        0xa2b7_289d,
        0x7054_95c7,
        0x2df1_424b,
        0x9efc_4947,
        0x5c6b_fb31,
    ];
    let blocks = (filter.len() / 32) as u64;
    let block = ((hash >> 32) * blocks) >> 32;
    for (word, salt) in SALTS.into_iter().enumerate() {
        let bit = (hash as u32).wrapping_mul(salt) >> 27;
        let stored = u32_at(filter, 32 * block as usize + 4 * word);
        assert_eq!(stored >> bit & 1, 1, "hash {hash:#x}, word {word}");
    }
}

#[test]
fn the_hint_stands_as_drawn() {
    golden_and_made().iter().for_each(check_hint);
}

fn check_hint(disk: &SimDisk) {
    let (mut hint, second) = (file(disk, "hint"), file(disk, SECOND));
    hint.resize(1024, 0);
    let newest = if u64_at(&hint, 512 + 32) > u64_at(&hint, 32) { 512 } else { 0 };
    let slot = &hint[newest..newest + 88];
    assert_eq!(&slot[..8], b"PCHHINTS");
    assert_eq!(u32_at(slot, 8), 1);
    assert_eq!(u32_at(slot, 12), page_checksum(slot));
    assert_eq!(slot[16..32], second[16..32], "the log's id");
    let last = groups(&second).last().unwrap().clone();
    assert_eq!((u64_at(slot, 40), u64_at(slot, 48)), (6, 1));
    assert_eq!((u64_at(slot, 56), u64_at(slot, 64)), (last.end as u64, chain_of(&second, &last)));
    assert_eq!(slot[72], 1, "clean");
    assert_eq!(slot[73..], [0; 15], "reserved");
}
