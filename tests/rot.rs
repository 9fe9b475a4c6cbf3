//! Owns the proof that damage at rest is found: after any change of a log's files, every answer is
//! right or a named error, and durable bytes that are damaged are never cut away as if they were
//! torn.
//!
//! Promises: small structures are tried bit by bit, large ones at places that a printed seed picks;
//! with `PAPERCHASE_ROT=20` in the environment at twenty times as many.

#![cfg(feature = "sim")]
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "what is wrong ends the test"
)]

mod support;

use paperchase::disk::Disk;
use paperchase::disk::sim::SimDisk;
use paperchase::{Ack, AppendError, Damage, Expected, NewEvent, OpenError};
use support::Random;
use support::rot::{LARGE, Outcome, SMALL, Sound};
use support::sim::{FIRST, MIB, change, file, groups, open, u32_at, u64_at};

const SECOND: &str = "chunk-0000000001";
const THIRD: &str = "chunk-0000000002";

fn flip(name: &str, bit: usize) -> impl FnOnce(&SimDisk) {
    move |disk| change(disk, name, |bytes| bytes[bit / 8] ^= 1 << (bit % 8))
}

fn bits(bytes: std::ops::Range<usize>) -> std::ops::Range<usize> {
    bytes.start * 8..bytes.end * 8
}

/// So many random bits of a range of bytes.
fn some_bits(random: &mut Random, count: usize, bytes: std::ops::Range<usize>) -> Vec<usize> {
    let scale = std::env::var("PAPERCHASE_ROT")
        .map_or(1, |scale| scale.parse().expect("PAPERCHASE_ROT is a number"));
    let bits = bits(bytes);
    let pick = |_| bits.start + random.below(bits.len() as u64) as usize;
    (0..count * scale).map(pick).collect()
}

fn corrupt(sound: &Sound, disk: &SimDisk, what: &dyn std::fmt::Debug) -> Damage {
    match sound.ask(disk, what) {
        Outcome::Refused(OpenError::Corrupt(damage)) => damage,
        other => panic!("{what:?}: {other:?}"),
    }
}

fn end_of(sound: &Sound, name: &str) -> usize {
    file(&sound.disk, name).len()
}

/// Every bit of every group but the last, which later groups prove to be durable; there is no hint
/// to help.
#[test]
fn f40_every_bit_of_an_earlier_group() {
    let places = groups(&file(&SMALL.disk, FIRST));
    for group in &places[..places.len() - 1] {
        for bit in bits(group.clone()) {
            let disk = SMALL.changed(flip(FIRST, bit));
            disk.remove("hint");
            let damage = corrupt(&SMALL, &disk, &bit);
            assert_eq!((damage.chunk.get(), damage.offset), (0, group.start as u64), "{bit}");
            assert_eq!(disk.list().unwrap(), ["LOCK", FIRST], "a refusal changes nothing");
        }
    }
}

/// The last group has no later one; that it was durable is what the hint says.
#[test]
fn f40_every_bit_of_the_last_group() {
    let group = groups(&file(&SMALL.disk, FIRST)).pop().unwrap();
    for bit in bits(group.clone()) {
        let damage = corrupt(&SMALL, &SMALL.changed(flip(FIRST, bit)), &bit);
        assert_eq!((damage.chunk.get(), damage.offset), (0, group.start as u64), "{bit}");
    }
}

#[test]
fn f40_every_bit_of_a_chunk_header() {
    let mut random = Random::new();
    for (name, number) in [(FIRST, 0), (THIRD, 2)] {
        let picked = some_bits(&mut random, 200, 80..4096);
        for bit in bits(0..80).chain(picked) {
            match LARGE.ask(&LARGE.changed(flip(name, bit)), &(name, bit)) {
                Outcome::Refused(OpenError::Corrupt(damage)) => {
                    assert_eq!((damage.chunk.get(), damage.offset), (number, 0), "{bit}");
                }
                Outcome::Refused(OpenError::Version { file, .. }) => assert_eq!(file, name),
                other => panic!("{name}, bit {bit}: {other:?}"),
            }
        }
    }
}

/// Opening does not read the data of a sealed chunk; reading finds what is damaged, event by event.
#[test]
fn f40_bits_of_a_sealed_chunks_data() {
    let mut random = Random::new();
    let chunk = file(&LARGE.disk, FIRST);
    let places = groups(&chunk);
    let mut picked = some_bits(&mut random, 300, 4096..places.last().unwrap().end);
    for group in places.iter().filter(|group| group.len() < 1000).take(2) {
        picked.extend(bits(group.clone()));
    }
    for bit in picked {
        let (byte, outcome) = (bit / 8, LARGE.ask(&LARGE.changed(flip(FIRST, bit)), &bit));
        let group = places.iter().find(|group| group.contains(&byte)).unwrap();
        let in_header = byte < group.start + 64;
        match outcome {
            Outcome::Open { damages: 0, .. } if in_header => {}
            // Padding behind an event belongs to no event.
            Outcome::Open { damages: 0, .. } if byte >= group.end - 7 => {}
            // Forwards and backwards, of the log and of the stream.
            Outcome::Open { damages: 4, .. } if !in_header => {}
            other => panic!("bit {bit} of {group:?}: {other:?}"),
        }
    }
}

/// A footer that is damaged does not count, and the next chunk's header proves that the chunk is
/// complete.
#[test]
fn f40_every_bit_of_a_footer() {
    let mut random = Random::new();
    let start = end_of(&LARGE, FIRST) - 4096;
    let picked = some_bits(&mut random, 200, start + 224..start + 4096);
    for bit in bits(start..start + 224).chain(picked) {
        let disk = LARGE.changed(flip(FIRST, bit));
        let outcome = LARGE.ask(&disk, &bit);
        assert!(
            matches!(outcome, Outcome::Open { damages: 0, resealed: 1 }),
            "bit {bit}: {outcome:?}"
        );
        assert_eq!(file(&disk, FIRST), file(&LARGE.disk, FIRST), "sealed to the same bytes");
    }
}

fn hint_bits() -> impl Iterator<Item = usize> {
    bits(0..88).chain(bits(512..600))
}

#[test]
fn f40_every_bit_of_the_hint() {
    assert_eq!(end_of(&SMALL, "hint"), 600, "both slots are there");
    for bit in hint_bits() {
        SMALL.ask_equal(&SMALL.changed(flip("hint", bit)), &bit);
    }
    for bit in hint_bits().step_by(8) {
        LARGE.ask_equal(&LARGE.changed(flip("hint", bit)), &bit);
    }
}

/// Pages that changed places, within a chunk and between chunks.
#[test]
fn f41_misplaced_pages() {
    let mut random = Random::new();
    let names = [FIRST, SECOND, THIRD];
    let data = |name: &str| groups(&file(&LARGE.disk, name)).last().unwrap().end / 4096;
    for _ in 0..150 {
        let mut pick = || {
            let name = names[random.below(3) as usize];
            (name, 4096 * random.below(data(name) as u64) as usize)
        };
        let (one, other) = (pick(), pick());
        let page = |(name, at): (&str, usize)| file(&LARGE.disk, name)[at..at + 4096].to_vec();
        let disk = LARGE.changed(|disk| {
            for ((name, at), page) in [(one, page(other)), (other, page(one))] {
                change(disk, name, |bytes| bytes[at..at + 4096].copy_from_slice(&page));
            }
        });
        LARGE.ask(&disk, &(one, other));
    }
}

/// Pages of the last chunk as they were before it had its later groups: a write that the disk
/// forgot.
#[test]
fn f42_stale_page() {
    let chunk = file(&LARGE.disk, THIRD);
    let places = groups(&chunk);
    let end = places.last().unwrap().end;
    for group in &places[..places.len() - 1] {
        let end_of_page = (group.start + 1).next_multiple_of(4096);
        let disk = LARGE.changed(|disk| {
            change(disk, THIRD, |bytes| bytes[group.start..end_of_page].fill(0));
        });
        match LARGE.ask(&disk, group) {
            Outcome::Refused(OpenError::Corrupt(damage)) => {
                assert_eq!((damage.chunk.get(), damage.offset), (2, group.start as u64));
            }
            // The page held the rest of the log.
            Outcome::Refused(OpenError::LostData { .. }) if end_of_page >= end => {}
            other => panic!("{group:?}: {other:?}"),
        }
    }
}

#[test]
fn f43_sealed_sizes() {
    let size = end_of(&LARGE, FIRST);
    let data_end = groups(&file(&LARGE.disk, FIRST)).last().unwrap().end;
    let resized =
        |size: usize| LARGE.changed(|disk| change(disk, FIRST, |bytes| bytes.resize(size, 0)));
    // All of the data is there: the chunk is sealed again.
    for size in [size - 1, size - 4096, data_end, size + 1, size + 4096, size + MIB as usize] {
        let disk = resized(size);
        LARGE.ask_equal(&disk, &size);
        LARGE.ask_equal(&disk, &("again", size));
    }
    for size in [data_end - 8, data_end - 100, 200_000, 5000, 4160, 4096, 4095, 512, 80, 1] {
        let damage = corrupt(&LARGE, &resized(size), &size);
        assert_eq!(damage.chunk.get(), 0, "{size}: {damage}");
    }
    corrupt(&LARGE, &resized(0), &0);
    let bare = LARGE.changed(|disk| change(disk, FIRST, |bytes| bytes[size - 4096..].fill(0)));
    LARGE.ask_equal(&bare, &"no footer");
}

#[test]
fn f44_missing_chunks() {
    for (missing, number) in [(FIRST, 0), (SECOND, 1), (THIRD, 2)] {
        let disk = LARGE.changed(|disk| assert!(disk.remove(missing)));
        match LARGE.ask(&disk, &missing) {
            Outcome::Refused(OpenError::MissingChunk(chunk)) => assert_eq!(chunk.get(), number),
            other => panic!("{missing}: {other:?}"),
        }
    }
    let none = SMALL.changed(|disk| assert!(disk.remove(FIRST)));
    assert!(matches!(open(&none), Err(OpenError::MissingChunk(_))));
    // The chunk before the missing one is not sealed yet, so that only the hint can tell.
    let unsealed = LARGE.changed(|disk| {
        change(disk, SECOND, |bytes| {
            let size = bytes.len();
            bytes[size - 4096..].fill(0);
        });
        assert!(disk.remove(THIRD));
        // The file that may lie ready behind it.
        disk.remove("chunk-0000000003");
    });
    match LARGE.ask(&unsealed, &"the last of two") {
        Outcome::Refused(OpenError::LostData { expected, found }) => {
            assert_eq!(expected.get(), LARGE.content.events.len() as u64);
            assert!(found < expected);
        }
        Outcome::Refused(OpenError::Corrupt(_)) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn f45_foreign_chunks() {
    let (first, second) = (file(&LARGE.disk, FIRST), file(&LARGE.disk, SECOND));
    let alien = file(&SMALL.disk, FIRST);
    let foreign = |what: &str, disk: &SimDisk| match LARGE.ask(disk, &what) {
        Outcome::Refused(OpenError::Foreign { .. }) => {}
        other => panic!("{what}: {other:?}"),
    };
    let put = |name: &'static str, bytes: &[u8]| {
        let bytes = bytes.to_vec();
        LARGE.changed(move |disk| disk.write_file(name, bytes))
    };
    foreign("a copy of the second as the first", &put(FIRST, &second));
    foreign("a copy of the first as the second", &put(SECOND, &first));
    foreign("a chunk of another log", &put(FIRST, &alien));
    foreign("a copy behind the last", &put("chunk-0000000003", &second));
    let swapped = put(FIRST, &second);
    swapped.write_file(SECOND, first);
    foreign("both swapped", &swapped);
    // Names that are none of the log's are left alone.
    for name in ["chunk-0000000003.tmp", "chunk-7", "lost-chunk-0000000000@0000004096", "notes"] {
        let disk = put(name, &alien);
        LARGE.ask_equal(&disk, &name);
        assert_eq!(file(&disk, name), alien);
    }
    // A hint of another log says nothing about this one.
    let hint = file(&LARGE.disk, "hint");
    SMALL.ask_equal(&SMALL.changed(|disk| disk.write_file("hint", hint)), &"another log's hint");
}

/// The newest slot of a hint file, by docs/format.md.
fn newest_slot(hint: &[u8]) -> usize {
    let sequence = |slot: usize| u64_at(hint, slot + 32);
    if sequence(512) > sequence(0) { 512 } else { 0 }
}

#[test]
fn f50_old_hint() {
    for sound in [&*SMALL, &*LARGE] {
        let newest = newest_slot(&file(&sound.disk, "hint"));
        let old = sound.changed(|disk| {
            change(disk, "hint", |hint| hint[newest..newest + 88].fill(0));
        });
        let log = open(&old).unwrap();
        assert!(!log.report().clean, "the older slot does not speak of the end");
        drop(log);
        sound.ask_equal(&old, &"old");
    }
}

#[test]
fn f51_torn_hint() {
    for length in (0..600).step_by(7).chain([511, 512, 513, 599]) {
        let cut = SMALL.changed(|disk| change(disk, "hint", |hint| hint.truncate(length)));
        SMALL.ask_equal(&cut, &length);
        let newest = newest_slot(&file(&SMALL.disk, "hint"));
        let torn = SMALL.changed(|disk| {
            change(disk, "hint", |hint| {
                hint[newest + length % 88..newest + 88].fill(0xff);
            });
        });
        SMALL.ask_equal(&torn, &("torn", length));
    }
    SMALL.ask_equal(&SMALL.changed(|disk| assert!(disk.remove("hint"))), &"missing");
}

/// The hint of a later moment beside the files of an earlier one.
#[test]
fn f52_hint_ahead() {
    let places = groups(&file(&SMALL.disk, FIRST));
    for (kept, group) in places.iter().enumerate() {
        let disk = SMALL.changed(|disk| {
            change(disk, FIRST, |bytes| bytes[group.start..].fill(0));
        });
        match SMALL.ask(&disk, &kept) {
            Outcome::Refused(OpenError::LostData { expected, found }) => {
                assert_eq!(expected.get(), SMALL.content.events.len() as u64);
                assert_eq!(found.get(), 2 * kept as u64);
            }
            other => panic!("{kept}: {other:?}"),
        }
    }
}

/// The sections of a sealed chunk, by the footer that docs/format.md draws: kind and place.
fn sections(chunk: &[u8]) -> Vec<(u32, std::ops::Range<usize>)> {
    let footer = &chunk[chunk.len() - 4096..];
    let section = |index: usize| {
        let at = 104 + 24 * index;
        let start = u64_at(footer, at + 8) as usize;
        (u32_at(footer, at), start..start + u64_at(footer, at + 16) as usize)
    };
    (0..u32_at(footer, 96) as usize).map(section).collect()
}

/// Flips bits of the sections of a kind, and lists the wrong answers.
fn rot_section(kind: u32) {
    let mut random = Random::new();
    let chunk = file(&LARGE.disk, FIRST);
    let (_, place) = sections(&chunk).into_iter().find(|section| section.0 == kind).unwrap();
    let all = bits(place.clone());
    let picked = if all.len() <= 512 { all.collect() } else { some_bits(&mut random, 300, place) };
    let ask = |bit: &usize| {
        let wrong = LARGE.try_ask(&LARGE.changed(flip(FIRST, *bit))).err()?;
        Some(format!("bit {bit}: {wrong:.200}"))
    };
    let wrong: Vec<_> = picked.iter().filter_map(ask).collect();
    let count = (wrong.len(), picked.len());
    assert!(
        wrong.is_empty(),
        "{} of {} are wrong:\n{}",
        count.0,
        count.1,
        wrong[..wrong.len().min(4)].join("\n")
    );
}

/// Whole sections that read as nothing, as ones, or as those of another chunk.
#[test]
fn f54_replaced_sections() {
    let (first, second) = (file(&LARGE.disk, FIRST), file(&LARGE.disk, SECOND));
    let mut wrong = Vec::new();
    for (section, other) in sections(&first).into_iter().zip(sections(&second)) {
        let (kind, place) = section;
        let mut foreign = second[other.1].to_vec();
        foreign.resize(place.len(), 0);
        for bytes in [vec![0; place.len()], vec![0xff; place.len()], foreign] {
            let what = format!("section {kind} replaced by {:?}..", &bytes[..4]);
            let disk = LARGE.changed(|disk| {
                change(disk, FIRST, |chunk| chunk[place.clone()].copy_from_slice(&bytes));
            });
            wrong.extend(LARGE.try_ask(&disk).err().map(|wrong| format!("{what}: {wrong:.200}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The writer asks the index too: a stream that is there must not seem to be new.
#[test]
fn f54_a_wrong_index_numbers_no_append() {
    let append = |disk: &SimDisk| {
        let log = open(disk).unwrap();
        let event = NewEvent::new("Again", "");
        log.append("large-9", Expected::NoStream, [event]).and_then(Ack::wait)
    };
    let refused = append(&LARGE.disk.snapshot());
    assert!(matches!(refused, Err(AppendError::WrongVersion { .. })), "{refused:?}");
    for (kind, place) in sections(&file(&LARGE.disk, FIRST)) {
        let disk = LARGE.changed(|disk| {
            change(disk, FIRST, |chunk| chunk[place].fill(0));
        });
        assert!(append(&disk).is_err(), "the section of kind {kind} says that there is no stream");
    }
}

#[test]
fn f54_wrong_index_of_offsets() {
    rot_section(1);
}

#[test]
fn f54_wrong_index_of_keys() {
    rot_section(2);
}

#[test]
fn f54_wrong_index_of_names() {
    rot_section(3);
}

#[test]
fn f54_wrong_index_of_postings() {
    rot_section(4);
}

#[test]
fn f54_wrong_index_of_the_filter() {
    rot_section(5);
}
