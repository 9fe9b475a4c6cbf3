//! Tests of sealed indexes: what was built is found again, and damage is told, never followed.

use super::build::Sealed;
use super::*;
use crate::clock::Timestamp;
use crate::format::checksum::LogSalt;
use crate::format::header::ChainEnd;
use crate::index::memory::{Entry, MemoryIndex};
use crate::position::Position;
use uuid::Uuid;

fn place() -> SealedPlace {
    let log = Uuid::from_u128(5);
    let number = ChunkNumber::new(3);
    SealedPlace {
        log,
        salt: LogSalt::new(log).chunk(number),
        number,
        first_position: Position::new(1000),
        end: ChainEnd { chain: 77, data_end: 5000 },
        least_size: 16384,
        first_time: Timestamp::from_nanos(5),
        last_time: Timestamp::from_nanos(6),
    }
}

fn sample() -> MemoryIndex {
    let mut index = MemoryIndex::default();
    for number in 0..4_u32 {
        index.insert(&Entry {
            offset: 4160 + number * 64,
            stream: ["cart-7", "-audit", "cart-7", "b-\u{e9}"][number as usize].as_bytes(),
            version: StreamVersion::new([5, 0, 6, 0][number as usize]),
            event_type: ["Added", "Removed"][number as usize % 2].as_bytes(),
            tags: b"\x03\0red",
            operation: (number == 1).then(|| Uuid::from_u128(9)),
        });
    }
    index
}

/// The whole file of a sealed chunk, whose groups are left zero.
fn file(sealed: &Sealed) -> Vec<u8> {
    let mut file = vec![0; usize::try_from(sealed.footer.file_size).unwrap()];
    let mut put = |at: u64, bytes: &[u8]| {
        file[usize::try_from(at).unwrap()..][..bytes.len()].copy_from_slice(bytes);
    };
    put(sealed.sections_offset, &sealed.sections);
    put(sealed.footer_offset, &sealed.footer.encode());
    file
}

fn sealed() -> (Vec<u8>, Footer) {
    let sealed = build(&sample(), &place());
    (file(&sealed), sealed.footer)
}

fn table(file: &[u8], footer: &Footer) -> Table {
    Table::open(&Bytes::copy_from_slice(file), footer).unwrap()
}

fn range(section: &Section) -> std::ops::Range<usize> {
    usize::try_from(section.offset).unwrap()..usize::try_from(section.end()).unwrap()
}

/// Makes the checksums of the sections fit `file` again.
fn resummed(file: &[u8], footer: &Footer) -> Footer {
    let mut footer = footer.clone();
    for section in &mut footer.sections {
        section.checksum = place().salt.at_place(section.offset, &file[range(section)]);
    }
    footer
}

#[test]
fn the_footer_stands_at_the_end_of_a_file_that_holds_all() {
    let sealed = build(&sample(), &place());
    assert_eq!((sealed.sections_offset, sealed.footer_offset), (8192, 16384 - 4096));
    let file = file(&sealed);
    assert_eq!(Footer::decode(&file[file.len() - 4096..]), Ok(sealed.footer.clone()));
    assert_eq!((sealed.footer.ordinals, sealed.footer.keys), (4, 10));

    let tight = SealedPlace { least_size: 8192, ..place() };
    let sealed = build(&sample(), &tight);
    assert_eq!((sealed.footer_offset, sealed.footer.file_size), (12288, 16384));
    assert_eq!(build(&sample(), &place()).sections, build(&sample(), &place()).sections);
}

#[test]
fn lookups_copy_nothing() {
    let (bytes, footer) = sealed();
    let file = Bytes::from(bytes);
    let table = Table::open(&file, &footer).unwrap();
    let found = table.find(&Key::tag("red")).unwrap().unwrap();
    assert!(file.as_ptr_range().contains(&found.postings.as_ptr()));
    assert!(file.as_ptr_range().contains(&table.offsets.bytes.as_ptr()));
}

#[test]
fn a_removed_event_has_no_offset() {
    let (mut file, footer) = sealed();
    let at = range(footer.section(section::OFFSETS).unwrap()).start;
    file[at + 4..at + 8].fill(0);
    let footer = resummed(&file, &footer);
    let table = table(&file, &footer);
    assert_eq!([table.offset(0), table.offset(1)], [Ok(Some(4160)), Ok(None)]);
    assert_eq!(table.offset(4).unwrap_err().what, "ordinal of an event");
    assert_eq!(table.check(), Ok(()));
}

#[test]
fn sections_of_unknown_kinds_are_passed_over_and_checked() {
    let (file, mut footer) = sealed();
    let unknown = Section { kind: 99, checksum: 0, offset: 12000, length: 16 };
    footer.sections.push(unknown);
    let footer = resummed(&file, &footer);
    assert_eq!(table(&file, &footer).check(), Ok(()));
    let mut damaged = file;
    damaged[12001] ^= 1;
    assert_eq!(table(&damaged, &footer).check().unwrap_err().offset, 12000);
}

#[test]
fn sections_that_cannot_be_are_not_opened() {
    let (file, footer) = sealed();
    let file = Bytes::from(file);
    let refused = |change: &dyn Fn(&mut Footer)| {
        let mut footer = footer.clone();
        change(&mut footer);
        Table::open(&file, &footer).err()
    };
    assert_eq!(refused(&|_| {}), None);
    assert_eq!(refused(&|footer| footer.ordinals += 1), Some("section of offsets"));
    assert_eq!(refused(&|footer| footer.ordinals = u32::MAX), Some("section of offsets"));
    assert_eq!(refused(&|footer| footer.keys -= 1), Some("section of keys"));
    assert_eq!(refused(&|footer| footer.sections[3].length -= 1), Some("section of postings"));
    assert_eq!(refused(&|footer| footer.sections[4].length -= 8), Some("section of the filter"));
    assert_eq!(refused(&|footer| footer.sections[2].length = 1 << 20), Some("section of names"));
    assert_eq!(refused(&|footer| footer.sections[2].offset = u64::MAX), Some("section of names"));
    for index in 0..5 {
        assert!(refused(&|footer| footer.sections[index].kind = 99).is_some());
    }
    let short = file.slice(..8200);
    assert_eq!(Table::open(&short, &footer).err(), Some("section of offsets"));
}

/// Asks everything that can be asked; the number of flaws met.
fn ask_all(table: &Table) -> usize {
    let index = sample();
    let mut flaws = index.keys().filter(|key| table.find(&key.key).is_err()).count();
    flaws += (0..5).filter(|ordinal| table.offset(*ordinal).is_err()).count();
    for kind in (1..=5).filter_map(KeyKind::from_u8) {
        flaws += table.keys(kind).map_or(1, |keys| keys.filter(Result::is_err).count());
    }
    flaws
}

#[test]
fn no_damaged_byte_goes_unnoticed_or_panics() {
    let (mut file, footer) = sealed();
    let undamaged = ask_all(&table(&file, &footer));
    assert_eq!(undamaged, 1, "only the ordinal beyond the end");
    let mut flaws = 0;
    for place_of in &footer.sections {
        for at in range(place_of) {
            for mask in [1, 0x80, 0xFF] {
                file[at] ^= mask;
                let table = table(&file, &footer);
                flaws += ask_all(&table) - undamaged.min(ask_all(&table));
                let found = table.check().unwrap_err();
                assert_eq!((found.offset, found.what), (place_of.offset, "checksum of a section"));
                // With checksums that fit, the damage must still not panic.
                let _ = self::table(&file, &resummed(&file, &footer)).check();
                file[at] ^= mask;
            }
        }
    }
    assert!(flaws > 100, "lookups meet the damage: {flaws}");
}

#[test]
fn each_rule_of_the_sections_is_checked() {
    let (file, footer) = sealed();
    let start_of = |kind| range(footer.section(kind).unwrap()).start;
    let rows = start_of(section::KEYS);
    let row_of = |kind| (rows..).step_by(ROW_SIZE).find(|row| file[row + 14] == kind).unwrap();
    let (stream, tag) = (row_of(1), row_of(4));
    let posting = u32::from_le_bytes(*file[tag + 16..].first_chunk().unwrap()) as usize;
    let posting = start_of(section::POSTINGS) + posting * 4;
    let found = |at: usize, bytes: &[u8]| {
        let mut file = file.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        let flaw = table(&file, &resummed(&file, &footer)).check().unwrap_err();
        (flaw.what, usize::try_from(flaw.offset).unwrap())
    };
    let (row, next) = (&file[rows..rows + ROW_SIZE], &file[rows + ROW_SIZE..rows + 2 * ROW_SIZE]);
    assert_eq!(found(rows, &[next, row].concat()), ("order of the keys", rows + ROW_SIZE));
    assert_eq!(found(rows, &[row, row].concat()), ("order of the keys", rows + ROW_SIZE));
    assert_eq!(found(stream, &[!file[stream]]), ("hash of a key", stream));
    assert_eq!(found(stream + 11, &[0xFF]), ("name of a key", stream));
    assert_eq!(found(stream + 12, &[0, 0]), ("name of a key", stream));
    assert_eq!(found(stream + 14, &[9]), ("kind of a key", stream));
    assert_eq!(found(stream + 14, &[5]), ("name of a key", stream));
    assert_eq!(found(stream + 15, &[1]), ("reserved byte of a key", stream));
    assert_eq!(found(stream + 19, &[0xFF]), ("postings of a key", stream));
    assert_eq!(found(stream + 20, &[0; 4]), ("postings of a key", stream));
    assert_eq!(found(tag + 24, &[1]), ("first version of a key", tag));
    assert_eq!(found(posting + 4, &[0]), ("ordinal of an event", posting + 4));
    assert_eq!(found(posting + 12, &[4]), ("ordinal of an event", posting + 12));
    let offsets = start_of(section::OFFSETS);
    assert_eq!(found(offsets + 4, &4160_u32.to_le_bytes()), ("offset of an event", offsets + 4));
    assert_eq!(found(offsets, &4161_u32.to_le_bytes()), ("offset of an event", offsets));
    assert_eq!(found(offsets, &64_u32.to_le_bytes()), ("offset of an event", offsets));
    assert_eq!(found(offsets + 12, &5000_u32.to_le_bytes()), ("offset of an event", offsets + 12));
    let filter = start_of(section::FILTER);
    assert_eq!(found(filter, &[0; 32]), ("filter", filter));
}

/// An operation id that was made at this moment.
fn made(milliseconds: u64) -> Uuid {
    uuid::Builder::from_unix_timestamp_millis(milliseconds, &[7; 10]).into_uuid()
}

#[test]
fn operations_of_another_time_cost_no_look_at_keys() {
    let mut index = MemoryIndex::default();
    for (number, id) in [made(1000), Uuid::from_u128(9), made(5000)].into_iter().enumerate() {
        index.insert(&Entry {
            offset: 4160 + number as u32 * 64,
            stream: b"cart-7",
            version: StreamVersion::new(number as u64),
            event_type: b"Added",
            tags: &[],
            operation: Some(id),
        });
    }
    let sealed = build(&index, &place());
    let (mut bytes, mut footer) = (file(&sealed), sealed.footer);
    let find = |table: &Table, id| table.find(&Key::operation(&id)).map(|found| found.is_some());
    let sound = table(&bytes, &footer);
    assert_eq!(sound.check(), Ok(()));
    // A range that lacks the time of an id would hide it; a wider one hides nothing.
    let times = range(footer.section(section::OPERATIONS).unwrap()).start;
    for (at, time, is_sound) in
        [(0, 999, true), (8, 5001, true), (0, 1001, false), (8, 4999, false), (8, 999, false)]
    {
        let mut bytes = bytes.clone();
        bytes[times + at..][..8].copy_from_slice(&u64::to_le_bytes(time));
        let checked = table(&bytes, &resummed(&bytes, &footer)).check();
        let flaw = ("times of operation ids", times as u64);
        let expected = if is_sound { Ok(()) } else { Err(flaw) };
        assert_eq!(checked.map_err(|flaw| (flaw.what, flaw.offset)), expected, "{at} {time}");
    }
    for id in [made(1000), Uuid::from_u128(9), made(5000)] {
        assert_eq!(find(&sound, id), Ok(true));
    }
    // With damaged keys and a damaged filter only ids of the range are flaws.
    bytes[range(footer.section(section::FILTER).unwrap()).start] ^= 1;
    let damaged = table(&bytes, &footer);
    assert_eq!([find(&damaged, made(999)), find(&damaged, made(5001))], [Ok(false), Ok(false)]);
    for id in [made(1000), made(3000), made(5000), Uuid::from_u128(8)] {
        assert!(find(&damaged, id).is_err());
    }
    // Chunks of before have no such section.
    footer.sections.pop();
    assert!(find(&table(&bytes, &footer), made(999)).is_err());
}

#[test]
fn keys_of_one_hash_stay_apart() {
    let (mut file, footer) = sealed();
    let section_of = |kind| range(footer.section(kind).unwrap());
    file[section_of(section::FILTER)].fill(0xFF);
    let mut find = |key: Key<'_>| {
        for row in section_of(section::KEYS).step_by(ROW_SIZE) {
            file[row..row + 8].copy_from_slice(&key.hash().to_le_bytes());
        }
        table(&file, &resummed(&file, &footer))
            .find(&key)
            .unwrap()
            .map(|found| found.postings.len() / ORDINAL_SIZE)
    };
    assert_eq!(find(Key::tag("red")), Some(4));
    assert_eq!(find(Key::stream("cart-7")), Some(2));
    assert_eq!(find(Key::event_type("red")), None);
    assert_eq!(find(Key::tag("blue")), None);
}

#[test]
fn the_first_row_of_a_hash_is_found_wherever_it_is() {
    let spread = |count: u64| (0..count).map(|n| n.wrapping_mul(u64::MAX / count)).collect();
    let uneven = |count: u64| (0..count).map(|n| n * n / 7).collect();
    let equal = |count: u64| (0..count).map(|_| 1 << 63).collect();
    let lists: [&dyn Fn(u64) -> Vec<u64>; 3] = [&spread, &uneven, &equal];
    for count in [1, 2, 3, 10, 100, 1000] {
        for list in lists {
            let hashes = list(count);
            let rows: Vec<_> =
                hashes.iter().map(|hash| Row { hash: *hash, ..Row::default() }.encode()).collect();
            for hash in hashes.iter().flat_map(|hash| [hash.saturating_sub(1), *hash, hash + 1]) {
                let expected = hashes.partition_point(|other| *other < hash);
                assert_eq!(lower_bound(&rows, hash), expected, "{hash} of {hashes:?}");
            }
            assert_eq!(lower_bound(&rows, u64::MAX), rows.len());
        }
    }
    assert_eq!(lower_bound(&[], 7), 0);
}
