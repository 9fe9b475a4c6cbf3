//! Owns logs made by hand, byte by byte as `docs/format.md` draws them, and what verification says
//! of each.
//!
//! Promises: rests on the encoders of `format` and `index` alone, so that it would find an engine
//! that writes other files.

mod ways;

use std::path::Path;

use indicatif::ProgressBar;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::chunk::directory::HINT;
use crate::chunk::file_name;
use crate::clock::Timestamp;
use crate::format::checksum::{ChunkSalt, LogSalt};
use crate::format::event::{self, Place};
use crate::format::group::GroupHeader;
use crate::format::header::ChunkHeader;
use crate::format::hint::Hint;
use crate::format::{CHUNK_HEADER_SIZE, GROUP_HEADER_SIZE};
use crate::index::memory::{Entry, MemoryIndex};
use crate::index::table::{SealedPlace, build};
use crate::position::Position;
use crate::position::StreamVersion;
use crate::{NewEvent, category};

const CAPACITY: u64 = 12 << 10;
const LOG: Uuid = Uuid::from_u128(0xABCD);

/// Writes chunks one after the other.
struct Maker {
    dir: TempDir,
    number: ChunkNumber,
    bytes: Vec<u8>,
    index: MemoryIndex,
    before: ChainEnd,
    chain: u64,
    position: Position,
    first: Position,
    time: u64,
    first_time: u64,
    /// A stream whose events the index of the next sealed chunk forgets.
    forgotten: Option<&'static str>,
    versions: std::collections::HashMap<&'static str, u64>,
}

impl Maker {
    fn new() -> Self {
        let mut maker = Self {
            dir: tempfile::tempdir().unwrap(),
            number: ChunkNumber::FIRST,
            bytes: Vec::new(),
            index: MemoryIndex::default(),
            before: ChainEnd::default(),
            chain: 0,
            position: Position::START,
            first: Position::START,
            time: 1_000,
            first_time: 0,
            forgotten: None,
            versions: std::collections::HashMap::new(),
        };
        maker.begin();
        maker
    }

    fn salt(&self) -> ChunkSalt {
        LogSalt::new(LOG).chunk(self.number)
    }

    fn begin(&mut self) {
        self.bytes.clear();
        let header = ChunkHeader {
            log: LOG,
            number: self.number,
            first_position: self.position,
            capacity: CAPACITY,
            previous: self.before,
            created: Timestamp::from_nanos(self.time),
        };
        header.encode(&mut self.bytes);
        self.index = MemoryIndex::default();
        self.first = self.position;
        self.first_time = self.time + 10;
    }

    /// Writes one group of one append with an event per stream. All before it is durable.
    fn group(&mut self, streams: &[&'static str]) {
        let start = self.bytes.len();
        self.bytes.resize(start + GROUP_HEADER_SIZE as usize, 0);
        self.time += 10;
        for (ordinal, stream) in streams.iter().enumerate() {
            let version = self.versions.entry(stream).or_default();
            let at = self.bytes.len();
            let event = NewEvent::json("Added", r#"{"sku":1}"#).tag("red");
            let place = if ordinal == 0 { Place::First(None) } else { Place::Later };
            event::encode(&mut self.bytes, LogSalt::new(LOG), stream, &event, place).unwrap();
            let position = self.position.plus(ordinal as u64);
            let salt = LogSalt::new(LOG).chunk(self.number);
            let (time, version_now) =
                (Timestamp::from_nanos(self.time), StreamVersion::new(*version));
            event::stamp(&mut self.bytes[at..], salt, position, version_now, time);
            let named = if self.forgotten == Some(stream) { "other" } else { stream };
            self.index.insert(&Entry {
                offset: at as u32,
                stream: named.as_bytes(),
                version: version_now,
                event_type: b"Added",
                tags: b"\x03\x00red",
                operation: None,
            });
            *version += 1;
        }
        let header = GroupHeader {
            previous_chain: self.chain,
            first_position: self.position,
            durable_through: self.position,
            time: Timestamp::from_nanos(self.time),
            body_length: (self.bytes.len() - start) as u32 - GROUP_HEADER_SIZE as u32,
            events: streams.len() as u32,
            appends: 1,
        };
        let salt = self.salt();
        self.chain = header.close(&mut self.bytes[start..], salt, start as u64);
        self.position = header.end_position();
    }

    fn end(&self) -> ChainEnd {
        ChainEnd { chain: self.chain, data_end: self.bytes.len() as u64 }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join(file_name(self.number))
    }

    /// Writes the chunk with its sections and footer, and begins the next one.
    fn seal(&mut self) {
        let place = SealedPlace {
            log: LOG,
            salt: self.salt(),
            number: self.number,
            first_position: self.first,
            end: self.end(),
            least_size: CAPACITY,
            first_time: Timestamp::from_nanos(self.first_time),
            last_time: Timestamp::from_nanos(self.time),
        };
        let sealed = build(&self.index, &place);
        let mut file = self.bytes.clone();
        file.resize(sealed.sections_offset as usize, 0);
        file.extend_from_slice(&sealed.sections);
        file.resize(sealed.footer_offset as usize, 0);
        file.extend_from_slice(&sealed.footer.encode());
        std::fs::write(self.path(), file).unwrap();
        self.roll();
    }

    fn roll(&mut self) {
        self.before = self.end();
        self.number = self.number.next();
        self.begin();
    }

    /// Writes the chunk as it is while it is active.
    fn flush(&self) {
        let mut file = self.bytes.clone();
        file.resize(CAPACITY as usize, 0);
        std::fs::write(self.path(), file).unwrap();
    }

    fn hint(&self, durable_through: Position, clean: bool) {
        let hint = Hint {
            log: LOG,
            sequence: 1,
            durable_through,
            chunk: self.number,
            end: self.end(),
            clean,
        };
        let (slot, offset) = hint.encode();
        let mut file = vec![0; crate::format::hint::FILE_SIZE as usize];
        file[offset as usize..][..slot.len()].copy_from_slice(&slot);
        std::fs::write(self.dir.path().join(HINT), file).unwrap();
    }
}

/// A sealed chunk of two groups and an active one of two, all durable.
fn sample() -> Maker {
    let mut maker = Maker::new();
    maker.group(&["cart-1", "cart-2"]);
    maker.group(&["audit"]);
    maker.seal();
    maker.group(&["cart-1"]);
    maker.group(&["cart-1", "audit"]);
    maker.flush();
    maker.hint(maker.position, true);
    maker
}

fn verify(dir: &Path) -> Check {
    verify_by(dir, 1)
}

fn verify_by(dir: &Path, jobs: usize) -> Check {
    let files = Files::of(dir).unwrap();
    let mut check = Check::new(&files, ProgressBar::hidden());
    check.known.hint = files.hint().unwrap();
    check.all(&files, jobs).unwrap();
    check
}

fn found(check: &Check) -> Vec<(u64, &'static str)> {
    check.damage.places.iter().map(|it| (it.damage.chunk.get(), it.damage.what)).collect()
}

#[test]
fn a_sound_log_is_sound() {
    let maker = sample();
    std::fs::write(maker.dir.path().join("chunk-0000000002"), vec![0; 4096]).unwrap();
    let check = verify(maker.dir.path());
    assert_eq!(check.damage.places, []);
    assert_eq!(check.notes, [""; 0]);
    assert_eq!(
        (check.counts.chunks, check.counts.sealed, check.counts.groups, check.counts.events),
        (2, 1, 4, 6)
    );
    assert_eq!(check.versions.count(), 3);
    assert_eq!(category("cart-1"), "cart");
}

/// Recovery does not look there, so nothing there is an event or a torn end.
#[test]
fn bytes_behind_the_capacity_are_damage() {
    let maker = sample();
    let mut bytes = std::fs::read(maker.path()).unwrap();
    bytes.resize(CAPACITY as usize + 5000, 0);
    std::fs::write(maker.path(), &bytes).unwrap();
    assert_eq!(found(&verify(maker.dir.path())), []);
    bytes[CAPACITY as usize + 4500] = 1;
    std::fs::write(maker.path(), &bytes).unwrap();
    let check = verify(maker.dir.path());
    assert_eq!(found(&check), [(1, "bytes behind the chunk's capacity")]);
    assert_eq!(check.damage.places[0].damage.offset, CAPACITY);
    assert_eq!((check.counts.events, check.notes.len()), (6, 0));
}

#[test]
fn every_flipped_bit_is_found() {
    let maker = sample();
    for (number, end) in [(0, usize::MAX), (1, maker.bytes.len())] {
        let path = maker.dir.path().join(file_name(ChunkNumber::new(number)));
        let sound = std::fs::read(&path).unwrap();
        for at in 0..sound.len().min(end) {
            let mut bytes = sound.clone();
            bytes[at] ^= 1 << (at % 8);
            std::fs::write(&path, bytes).unwrap();
            let check = verify(maker.dir.path());
            assert_eq!(
                check.damage.count, 1,
                "chunk {number}, byte {at}: {:?}",
                check.damage.places
            );
        }
        std::fs::write(&path, sound).unwrap();
    }
    assert_eq!(verify(maker.dir.path()).damage.count, 0);
}

#[test]
fn what_was_never_acked_is_a_torn_end_and_no_damage() {
    let maker = sample();
    let last = maker.position.get() - 2;
    maker.hint(Position::new(last), false);
    let path = maker.path();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[maker.bytes.len() - 3] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let check = verify(maker.dir.path());
    assert_eq!(check.damage.places, []);
    assert!(check.notes[0].contains("never acked"), "{:?}", check.notes);
    assert_eq!(check.counts.events, 4);
}

#[test]
fn durable_events_that_vanished_are_missed() {
    let maker = sample();
    let path = maker.path();
    let mut bytes = std::fs::read(&path).unwrap();
    let first_group = CHUNK_HEADER_SIZE as usize;
    bytes[first_group..].fill(0);
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(found(&verify(maker.dir.path())), [(1, "durable events")]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(found(&verify(maker.dir.path()))[0], (1, "chunk file"));
    std::fs::remove_file(maker.dir.path().join(HINT)).unwrap();
    assert_eq!(found(&verify(maker.dir.path())), [(1, "chunk file")]);
}

#[test]
fn all_damage_is_listed_and_nothing_is_blamed_for_it() {
    let maker = sample();
    let flip = |number: u64, at: usize| {
        let path = maker.dir.path().join(file_name(ChunkNumber::new(number)));
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[at] ^= 0x40;
        std::fs::write(&path, bytes).unwrap();
    };
    let first = CHUNK_HEADER_SIZE as usize;
    flip(0, 20);
    flip(0, first + 8);
    flip(1, first + GROUP_HEADER_SIZE as usize + 60);
    let check = verify(maker.dir.path());
    let whats =
        [(0, "chunk header checksum"), (0, "group header checksum"), (1, "content checksum")];
    assert_eq!(found(&check), whats);
    assert_eq!(check.damage.places[2].position, Some(Position::new(3)));
    // The groups behind the damage were found again, so only those in damaged ones are hidden.
    assert_eq!(check.counts.uncounted, 3);
}

#[test]
fn a_gap_in_a_stream_is_found() {
    let mut maker = Maker::new();
    maker.group(&["a"]);
    maker.versions.insert("a", 2);
    maker.group(&["a", "b"]);
    maker.flush();
    assert_eq!(found(&verify(maker.dir.path())), [(0, "version in the stream")]);
}

#[test]
fn an_index_that_does_not_tell_the_truth_is_found() {
    let mut maker = Maker::new();
    maker.forgotten = Some("cart-1");
    maker.group(&["cart-1", "other"]);
    maker.seal();
    maker.group(&["cart-1"]);
    maker.flush();
    let check = verify(maker.dir.path());
    assert!(
        found(&check).contains(&(0, "events of a key in the index")),
        "{:?}",
        check.damage.places
    );
    assert!(check.damage.places.iter().any(|it| it.damage.expected.contains("stream \"cart-1\"")));
}

#[test]
fn a_chunk_of_another_place_is_found() {
    let maker = sample();
    let path = |number| maker.dir.path().join(file_name(ChunkNumber::new(number)));
    std::fs::copy(path(0), path(1)).unwrap();
    let check = verify(maker.dir.path());
    assert_eq!(found(&check), [(1, "chunk number")]);
    let bytes = std::fs::read(path(0)).unwrap();
    std::fs::write(path(0), &bytes[..CAPACITY as usize - 1]).unwrap();
    let check = verify(maker.dir.path());
    assert_eq!(found(&check)[0], (0, "size of the file"));
}

#[test]
fn a_full_chunk_without_a_footer_waits_to_be_sealed() {
    let mut maker = Maker::new();
    maker.group(&["a"]);
    maker.flush();
    maker.roll();
    maker.group(&["a"]);
    maker.flush();
    let check = verify(maker.dir.path());
    assert_eq!((check.damage.count, check.counts.events), (0, 2));
    assert!(check.notes[0].contains("not sealed"), "{:?}", check.notes);
}

#[test]
fn no_bytes_at_all_make_it_panic() {
    let maker = sample();
    for length in (0..CAPACITY as usize + 1).step_by(997) {
        for number in 0..2 {
            let path = maker.dir.path().join(file_name(ChunkNumber::new(number)));
            let whole = std::fs::read(&path).unwrap();
            std::fs::write(&path, &whole[..length.min(whole.len())]).unwrap();
            let _ = verify(maker.dir.path());
            std::fs::write(&path, whole).unwrap();
        }
    }
}

#[test]
fn a_stray_file_far_away_is_one_place() {
    let maker = sample();
    std::fs::write(maker.dir.path().join("chunk-3999999999"), b"stray").unwrap();
    let check = verify(maker.dir.path());
    let said = check.damage.places[0].to_string();
    assert!(said.contains("chunks 2 to 3999999998 are missing"), "{said}");
    assert!(said.contains("the file chunk-3999999999 stands behind"), "{said}");
    assert!(check.damage.count <= 2, "{:?}", check.damage.places);
}

#[test]
fn a_log_that_was_not_closed_is_told() {
    let maker = sample();
    maker.hint(maker.position, false);
    let check = verify(maker.dir.path());
    assert_eq!((check.damage.count, check.notes.len()), (0, 1));
    assert!(check.notes[0].contains("not closed"), "{:?}", check.notes);
    std::fs::remove_file(maker.dir.path().join(HINT)).unwrap();
    let check = verify(maker.dir.path());
    assert!(check.notes[0].contains("the hint is missing"), "{:?}", check.notes);
}

/// A hint that cannot be read may say that events are missing, so it is not taken for none.
#[test]
fn a_hint_that_cannot_be_read_is_not_missing() {
    let maker = sample();
    let dir = maker.dir.path();
    std::fs::write(dir.join(HINT), [0xA5; 600]).unwrap();
    let check = verify(dir);
    assert!(check.notes[0].contains("the hint holds nothing sound"), "{:?}", check.notes);
    std::fs::remove_file(dir.join(HINT)).unwrap();
    std::fs::create_dir(dir.join(HINT)).unwrap();
    let files = Files::of(dir).unwrap();
    let error = damage(dir, &files, Writer::Nobody).unwrap_err();
    assert!(error.what().contains("/hint: "), "{error:?}");
}
