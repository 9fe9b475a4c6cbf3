//! Owns the sealing of an index: the sections and the footer that a finished chunk's file ends
//! with.
//!
//! Promises: equal indexes give equal bytes. A pure function of values: the caller writes the
//! sections, syncs, and then writes the footer. Assumes an index of all events of the chunk. Never
//! touches files.

use uuid::Uuid;

use super::{OFFSET_SIZE, OPERATIONS_SIZE, ROW_SIZE, Row};
use crate::clock::Timestamp;
use crate::format::ALIGNMENT;
use crate::format::checksum::ChunkSalt;
use crate::format::footer::{FOOTER_SIZE, Footer, SECTIONS_ALIGNMENT, Section, section};
use crate::format::header::ChainEnd;
use crate::index::key::{KeyKind, made_at};
use crate::index::memory::{KeyPostings, MemoryIndex};
use crate::index::{ORDINAL_SIZE, filter};
use crate::position::{ChunkNumber, Position};

const SECTION_ALIGNMENT: usize = 8;

const _: () = assert!(SECTION_ALIGNMENT as u64 == ALIGNMENT, "sections begin where readers look");

/// The chunk that is sealed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SealedPlace {
    pub(crate) log: Uuid,
    pub(crate) salt: ChunkSalt,
    pub(crate) number: ChunkNumber,
    pub(crate) first_position: Position,
    /// The end of the chunk's groups.
    pub(crate) end: ChainEnd,
    /// The sealed file is at least this long.
    pub(crate) least_size: u64,
    pub(crate) first_time: Timestamp,
    pub(crate) last_time: Timestamp,
}

/// What makes a chunk sealed, ready to be written.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) sections_offset: u64,
    pub(crate) sections: Vec<u8>,
    pub(crate) footer: Footer,
    pub(crate) footer_offset: u64,
}

/// The sections and the footer of the chunk that `index` is of.
pub(crate) fn build(index: &MemoryIndex, chunk: &SealedPlace) -> Sealed {
    let mut keys: Vec<KeyPostings<'_>> = index.keys().collect();
    keys.sort_unstable_by_key(|key| (key.hash, key.key.kind.to_u8(), key.key.name));
    let mut sections = Sections {
        salt: chunk.salt,
        start: chunk.end.data_end.next_multiple_of(SECTIONS_ALIGNMENT),
        bytes: Vec::with_capacity(size(index, &keys)),
        places: Vec::new(),
    };
    sections.add(section::OFFSETS, |out| put_all(out, index.offsets()));
    sections.add(section::KEYS, |out| put_rows(out, &keys));
    sections.add(section::NAMES, |out| {
        keys.iter().for_each(|key| out.extend_from_slice(key.key.name));
    });
    sections.add(section::POSTINGS, |out| keys.iter().for_each(|key| put_all(out, key.postings)));
    sections.add(section::FILTER, |out| {
        let start = out.len();
        out.resize(start + filter::size(keys.len()), 0);
        filter::build(&mut out[start..], keys.iter().map(|key| key.hash));
    });
    sections.add(section::OPERATIONS, |out| put_operation_times(out, &keys));
    let end = (sections.start + sections.bytes.len() as u64).next_multiple_of(SECTIONS_ALIGNMENT);
    let footer = Footer {
        log: chunk.log,
        number: chunk.number,
        first_position: chunk.first_position,
        ordinals: index.event_count(),
        keys: small(keys.len()),
        end: chunk.end,
        first_time: chunk.first_time,
        last_time: chunk.last_time,
        file_size: chunk.least_size.max(end + FOOTER_SIZE),
        sections: sections.places,
    };
    Sealed {
        sections_offset: sections.start,
        sections: sections.bytes,
        footer_offset: footer.offset(),
        footer,
    }
}

/// The sections so far, each at its place.
struct Sections {
    salt: ChunkSalt,
    /// Where the first one begins in the file.
    start: u64,
    bytes: Vec<u8>,
    places: Vec<Section>,
}

impl Sections {
    fn add(&mut self, kind: u32, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len().next_multiple_of(SECTION_ALIGNMENT);
        self.bytes.resize(start, 0);
        write(&mut self.bytes);
        let offset = self.start + start as u64;
        let content = &self.bytes[start..];
        let checksum = self.salt.at_place(offset, content);
        self.places.push(Section { kind, checksum, offset, length: content.len() as u64 });
    }
}

/// Room for all sections and the padding between them.
fn size(index: &MemoryIndex, keys: &[KeyPostings<'_>]) -> usize {
    let key_size =
        |key: &KeyPostings<'_>| ROW_SIZE + key.key.name.len() + key.postings.len() * ORDINAL_SIZE;
    let padding = 6 * SECTION_ALIGNMENT + OPERATIONS_SIZE;
    index.offsets().len() * OFFSET_SIZE
        + keys.iter().map(key_size).sum::<usize>()
        + filter::size(keys.len())
        + padding
}

fn put_all(out: &mut Vec<u8>, numbers: &[u32]) {
    out.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
}

fn put_rows(out: &mut Vec<u8>, keys: &[KeyPostings<'_>]) {
    let (mut name, mut posting) = (0, 0);
    for key in keys {
        let row = Row {
            hash: key.hash,
            name: small(name),
            name_length: small(key.key.name.len()),
            kind: key.key.kind.to_u8(),
            reserved: 0,
            posting: small(posting),
            count: small(key.postings.len()),
            first_version: key.first_version.get(),
        };
        out.extend_from_slice(&row.encode());
        name += key.key.name.len();
        posting += key.postings.len();
    }
}

/// The range of the moments at which the chunk's time-ordered operation ids were made.
fn put_operation_times(out: &mut Vec<u8>, keys: &[KeyPostings<'_>]) {
    let operations = keys.iter().filter(|key| key.key.kind == KeyKind::Operation);
    let (earliest, latest) = operations
        .filter_map(|key| made_at(key.key.name))
        .fold((u64::MAX, 0), |(earliest, latest), made| (made.min(earliest), made.max(latest)));
    out.extend_from_slice(&earliest.to_le_bytes());
    out.extend_from_slice(&latest.to_le_bytes());
}

/// A number that a chunk of at most 2 GiB keeps within its field.
fn small<T: TryFrom<usize>>(number: usize) -> T {
    T::try_from(number).unwrap_or_else(|_| unreachable!("the counts of a chunk fit their fields"))
}
