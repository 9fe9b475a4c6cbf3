//! Owns the small inputs in `fuzz/corpus/`: every test run plays them, without any fuzzer.
//!
//! They were made by `cargo test --lib --all-features fuzzing -- --ignored regenerate`; inputs that
//! found a bug lie beside them. Those of `operations` and `directory` mean something else when the
//! code changes that reads them, and are worth having then too.

use std::path::PathBuf;

use uuid::Uuid;

use super::{CHUNK, LOG, POSITION, salt};
use crate::clock::Timestamp;
use crate::disk::{Access, Disk, OsDisk};
use crate::event::{ContentKind, NewEvent};
use crate::format::event::{Place, encode};
use crate::format::footer::Footer;
use crate::format::group::GroupHeader;
use crate::format::header::{ChainEnd, ChunkHeader};
use crate::format::hint::Hint;
use crate::format::mend::{self, At, Extent};
use crate::format::stats::Identity;
use crate::index::memory::MemoryIndex;
use crate::index::table::{SealedPlace, build};
use crate::position::{ChunkNumber, Position};

type Target = (&'static str, fn(&[u8]));

const BYTES: [Target; 7] = [
    ("chunk_header", super::chunk_header),
    ("event", super::event),
    ("footer", super::footer),
    ("group", super::group),
    ("hint", super::hint),
    ("query_text", super::query_text),
    ("stats_page", super::stats_page),
];
/// Those whose inputs an enemy may have made, with checksums that fit.
const FILES: [Target; 2] = [("directory", super::directory), ("table", super::table)];

fn folder(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

fn play(target: &str, run: fn(&[u8])) {
    let disk = OsDisk::open(folder(target)).unwrap();
    let names = disk.list().unwrap();
    assert!(!names.is_empty(), "{target} has no inputs");
    for name in names {
        println!("fuzz/corpus/{target}/{name}");
        let file = disk.open(&name, Access::Read).unwrap();
        let mut bytes = vec![0; file.size().unwrap() as usize];
        file.read_at(&mut bytes, 0).unwrap();
        run(&bytes);
        // Every beginning of a small input is an input too.
        let step = (bytes.len() / 16).max(1);
        (0..bytes.len()).step_by(step).for_each(|end| run(&bytes[..end]));
    }
}

#[test]
fn f48_the_small_inputs_of_decoders_break_no_promise() {
    BYTES.iter().for_each(|(target, run)| play(target, *run));
}

#[test]
fn f49_the_small_inputs_of_an_enemy_break_no_promise() {
    FILES.iter().for_each(|(target, run)| play(target, *run));
}

#[test]
fn the_small_inputs_of_operations_break_no_promise() {
    play("operations", super::operations);
}

#[cfg(feature = "cli")]
#[test]
fn the_small_inputs_of_lines_break_no_promise() {
    play("cli_lines", super::cli_lines);
}

fn put(target: &str, inputs: &[Vec<u8>]) {
    let disk = OsDisk::create(folder(target)).unwrap();
    for (number, input) in inputs.iter().enumerate() {
        let name = format!("seed-{number}");
        let file = disk.create(&name).unwrap();
        file.write_at(input, 0).unwrap();
    }
}

fn some_events() -> Vec<NewEvent> {
    let id = |number: u128| Uuid::from_u128(0x0001_0203_0405_0607_0809_0a0b_0c0d_0e00 + number);
    vec![
        NewEvent::json("Placed", br#"{"sku":7}"#).id(id(0)).tag("customer:9").tag("caf\u{e9}"),
        NewEvent::new("Paid", []).id(id(1)).metadata(b"{}", ContentKind::Json),
        NewEvent::new("Shipped", [1, 2, 3]).id(id(2)).tag("customer:9"),
    ]
}

fn encoded(number: usize) -> Vec<u8> {
    let operation = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);
    let place = match number {
        0 => Place::First(Some(operation)),
        1 => Place::Later,
        _ => Place::First(None),
    };
    let mut bytes = Vec::new();
    let stream = ["order-1", "order-1", "audit"][number];
    encode(&mut bytes, salt().log(), stream, &some_events()[number], place).unwrap();
    bytes
}

/// Two groups, one behind the other, as they stand in a chunk.
fn some_groups() -> Vec<u8> {
    let mut bytes = Vec::new();
    for events in [0..2, 2..3] {
        let body: Vec<u8> = events.flat_map(encoded).collect();
        let start = bytes.len();
        bytes.resize(start + 64, 0);
        bytes.extend_from_slice(&body);
        let header = GroupHeader {
            previous_chain: 7,
            first_position: POSITION,
            durable_through: POSITION,
            time: Timestamp::from_nanos(9),
            body_length: u32::try_from(body.len()).unwrap(),
            events: 1,
            appends: 1,
        };
        header.close(&mut bytes[start..], salt(), 4096);
    }
    mend::groups(&mut bytes, 4096, salt(), first(), Extent::Counts);
    bytes
}

fn first() -> At {
    At { offset: 4096, chain: 7, position: POSITION }
}

fn header(numbers: u64) -> ChunkHeader {
    ChunkHeader {
        log: LOG,
        number: CHUNK,
        first_position: Position::new(1000 * numbers),
        capacity: 1 << 20,
        previous: ChainEnd { chain: 7 * numbers, data_end: 8192 },
        created: Timestamp::from_nanos(numbers),
    }
}

/// The sections and the footer of a chunk with some groups.
fn sealed() -> (Vec<u8>, Footer) {
    let mut chunk = vec![0; 4096];
    chunk.extend_from_slice(&some_groups());
    let mut index = MemoryIndex::default();
    let (walk, _) =
        crate::chunk::recover::walk(&chunk, (&header(1), salt()), POSITION, &mut |event| {
            index.insert_event(&event);
        })
        .unwrap();
    assert_eq!(index.event_count(), 3, "the groups of the inputs are sound");
    let sealed = build(
        &index,
        &SealedPlace {
            log: LOG,
            salt: salt(),
            number: CHUNK,
            first_position: POSITION,
            end: walk.end.end(),
            least_size: 16384,
            first_time: Timestamp::from_nanos(9),
            last_time: Timestamp::from_nanos(9),
        },
    );
    (sealed.sections, sealed.footer)
}

fn some_table() -> Vec<u8> {
    let (sections, footer) = sealed();
    let small = |number: u64| u16::try_from(number).unwrap().to_le_bytes();
    let mut input = Vec::new();
    input.extend(small(footer.ordinals.into()));
    input.extend(small(footer.keys.into()));
    input.extend(small(footer.end.data_end - 4096));
    footer.sections.iter().for_each(|section| input.extend(small(section.length)));
    input.push(0);
    let start = footer.sections[0].offset;
    for section in &footer.sections {
        let from = usize::try_from(section.offset - start).unwrap();
        input.extend_from_slice(&sections[from..][..usize::try_from(section.length).unwrap()]);
    }
    input
}

fn some_hints() -> Vec<u8> {
    let mut file = vec![0; 600];
    for sequence in 1..=2 {
        let hint = Hint {
            log: LOG,
            sequence,
            durable_through: Position::new(10 * sequence),
            chunk: ChunkNumber::FIRST,
            end: ChainEnd { chain: 9, data_end: 4160 },
            clean: sequence == 2,
        };
        let (bytes, offset) = hint.encode();
        file[usize::try_from(offset).unwrap()..][..bytes.len()].copy_from_slice(&bytes);
    }
    file
}

fn some_page() -> Vec<u8> {
    let identity = Identity {
        log: LOG,
        boot: Uuid::from_u128(1),
        file: 0,
        pid: 4711,
        session: 3,
        acks_early: true,
    };
    let mut page: Vec<u8> = identity.encode().iter().flat_map(|word| word.to_le_bytes()).collect();
    page.resize(208, 0);
    page
}

#[test]
#[ignore = "writes the small inputs anew"]
fn regenerate() {
    let mut block = Vec::new();
    header(1).encode(&mut block);
    let mut next = Vec::new();
    header(u64::MAX / 1000).encode(&mut next);
    put("chunk_header", &[block[..80].to_vec(), next[..96].to_vec(), vec![0; 80]]);
    let (_, footer) = sealed();
    put("footer", &[footer.encode()[..260].to_vec(), footer.encode()[..128].to_vec()]);
    put("hint", &[some_hints(), some_hints()[512..].to_vec()]);
    put("stats_page", &[some_page()]);
    let mut events: Vec<_> = (0..3).map(encoded).collect();
    events.iter_mut().for_each(|event| _ = mend::event(event, salt(), POSITION));
    put("event", &events);
    put("group", &[some_groups()]);
    put("table", &[some_table()]);
    let queries: [&[u8]; 3] = [
        br#"type=CourseDefined tag="course:c 1" or stream=audit"#,
        b"all or category=cart",
        br#"tag="a\"b\\c" tag="" or all"#,
    ];
    put("query_text", &queries.map(<[u8]>::to_vec));
    let lines: [&[u8]; 2] = [
        concat!(
            r#"{"stream":"s-1","type":"T","data":{"a":[1, "x"]},"tags":["t"]}"#,
            "\r\n\n",
            r#"{"stream":"","type":"T","data_base64":"AP8=","kind":"json","id":"#,
            r#""01900000-0000-7000-8000-000000000001"}"#
        )
        .as_bytes(),
        br#"{"position":1,"stream":"\u00e9","type":"T","metadata":null,"metadata_kind":"bytes"}"#,
    ];
    put("cli_lines", &lines.map(<[u8]>::to_vec));
    let changes: [&[u8]; 8] = [
        &[4],
        &[5],
        &[4, 0, 0, 5, 9, 1, 3],
        &[1, 2, 3, 4, 200, 8, 0],
        &[4, 1, 1, 3, 0, 16, 0, 0],
        &[5, 4, 0, 1, 5, 0, 1, 6, 0, 2, 4, 0, 1],
        &[2, 9, 1, 5, 40, 3, 8, 1, 2, 3, 4, 5, 6, 7, 8, 11],
        &[6, 10, 1, 3, 48, 0, 10, 2, 0, 40, 4, 0, 0, 1, 0],
    ];
    put("directory", &changes.map(<[u8]>::to_vec));
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut byte = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 56) as u8
    };
    let sequences: Vec<Vec<u8>> = (1..=3).map(|n| (0..n * 150).map(|_| byte()).collect()).collect();
    put("operations", &sequences);
}
