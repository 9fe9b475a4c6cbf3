//! Owns the index of a sealed chunk: a read view over the sections that the chunk's own file
//! carries.
//!
//! Promises: holds slices of the map and copies nothing; a lookup reads few pages. The first use of
//! a section checks it as a whole, so that no answer rests on damaged bytes (F54): a damaged
//! section gives a flaw with its place, never a wrong answer or a panic. Assumes a decoded footer.
//! Never reads events.

use std::fmt;

use bytes::Bytes;

use super::key::{Key, KeyKind, made_at};
use super::{ORDINAL_SIZE, filter};
use crate::error::Damage;
use crate::format::checksum::{ChunkSalt, LogSalt};
use crate::format::footer::{Footer, Section, section};
use crate::format::{ALIGNMENT, CHUNK_HEADER_SIZE, Fields, GROUP_HEADER_SIZE};
use crate::position::{ChunkNumber, StreamVersion};
use crate::sync::OnceLock;

mod build;
#[cfg(any(test, feature = "cli"))]
mod check;
#[cfg(feature = "cli")]
pub(crate) mod says;
#[cfg(test)]
mod tests;

pub(crate) use build::{SealedPlace, build};

const ROW_SIZE: usize = 32;
const OFFSET_SIZE: usize = 4;
const OPERATIONS_SIZE: usize = 16;

/// The index in a sealed chunk's file.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    offsets: Part,
    keys: Part,
    names: Part,
    postings: Part,
    filter: Part,
    /// Missing in chunks that an earlier version sealed.
    operations: Option<Part>,
    /// Sections of kinds that this version does not know.
    #[cfg(any(test, feature = "cli"))]
    others: Vec<Part>,
    ordinals: u32,
    /// Offset behind the chunk's last event.
    data_end: u64,
}

/// A section and its bytes.
#[derive(Clone, Debug)]
struct Part {
    place: Section,
    bytes: Bytes,
    salt: ChunkSalt,
    /// Whether the bytes fit their checksum, once somebody has asked.
    sound: OnceLock<bool>,
}

/// A place in the sections that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableFlaw {
    /// Offset of the place in the file.
    pub(crate) offset: u64,
    pub(crate) what: &'static str,
    pub(crate) expected: String,
    pub(crate) found: String,
}

/// A key that was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Of a stream: version of its first event in this chunk.
    pub(crate) first_version: StreamVersion,
    /// The ordinals of its events as stored, ascending: a u32 each.
    pub(crate) postings: Bytes,
}

/// A row of the section of keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Row {
    hash: u64,
    name: u32,
    name_length: u16,
    kind: u8,
    reserved: u8,
    posting: u32,
    count: u32,
    first_version: u64,
}

impl Table {
    /// The index in `file`, the whole file of the sealed chunk whose footer is `footer`; or what is
    /// wrong with its sections. Looks at their places and lengths, not at their contents.
    pub(crate) fn open(file: &Bytes, footer: &Footer) -> Result<Self, &'static str> {
        Self::of_sections(footer, &|place| {
            let range = usize::try_from(place.offset).ok()?..usize::try_from(place.end()).ok()?;
            // Asked first, because a slice outside its bytes panics.
            file.get(range.clone()).map(|_| file.slice(range))
        })
    }

    /// The same, of the bytes that `read` gives for each section; `None` where it has not all.
    pub(crate) fn of_sections(
        footer: &Footer,
        read: &dyn Fn(&Section) -> Option<Bytes>,
    ) -> Result<Self, &'static str> {
        let salt = LogSalt::new(footer.log).chunk(footer.number);
        let part = |place: &Section| {
            let bytes = read(place).filter(|bytes| bytes.len() as u64 == place.length)?;
            Some(Part { place: *place, bytes, salt, sound: OnceLock::new() })
        };
        let known = |kind, what, sound: &dyn Fn(u64) -> bool| {
            let place = footer.section(kind).filter(|place| sound(place.length)).ok_or(what)?;
            part(place).ok_or(what)
        };
        let offsets = u64::from(footer.ordinals) * OFFSET_SIZE as u64;
        let keys = u64::from(footer.keys) * ROW_SIZE as u64;
        let postings = |length: u64| length.is_multiple_of(ORDINAL_SIZE as u64);
        Ok(Self {
            offsets: known(section::OFFSETS, "section of offsets", &|length| length == offsets)?,
            keys: known(section::KEYS, "section of keys", &|length| length == keys)?,
            names: known(section::NAMES, "section of names", &|_| true)?,
            postings: known(section::POSTINGS, "section of postings", &postings)?,
            filter: known(section::FILTER, "section of the filter", &filter::is_size)?,
            operations: match footer.section(section::OPERATIONS) {
                None => None,
                Some(_) => {
                    let length = |length: u64| length == OPERATIONS_SIZE as u64;
                    Some(known(section::OPERATIONS, "section of operations", &length)?)
                }
            },
            #[cfg(any(test, feature = "cli"))]
            others: (footer.sections.iter())
                .filter(|place| !(section::OFFSETS..=section::OPERATIONS).contains(&place.kind))
                .map(|place| part(place).ok_or("section of an unknown kind"))
                .collect::<Result<_, _>>()?,
            ordinals: footer.ordinals,
            data_end: footer.end.data_end,
        })
    }

    /// Number of positions that the chunk stands for.
    pub(crate) fn ordinals(&self) -> u32 {
        self.ordinals
    }

    /// Where the event with this ordinal lies in the file; `None` where it was removed. An ordinal
    /// that the chunk does not have is a flaw: only damaged postings name one.
    pub(crate) fn offset(&self, ordinal: u32) -> Result<Option<u32>, TableFlaw> {
        let (offsets, _) = self.offsets.sound()?.as_chunks::<OFFSET_SIZE>();
        let Some(stored) = offsets.get(ordinal as usize) else {
            let what = "ordinal of an event";
            return Err(self.postings.flaw(0, what, &below(self.ordinals), &ordinal));
        };
        let offset = u32::from_le_bytes(*stored);
        let events = CHUNK_HEADER_SIZE + GROUP_HEADER_SIZE..self.data_end;
        let sound =
            events.contains(&u64::from(offset)) && u64::from(offset).is_multiple_of(ALIGNMENT);
        match offset {
            0 => Ok(None),
            _ if sound => Ok(Some(offset)),
            _ => {
                let at = ordinal as usize * OFFSET_SIZE;
                let expected = format!("an event's place within {events:?}");
                Err(self.offsets.flaw(at, "offset of an event", &expected, &offset))
            }
        }
    }

    /// What is known of `key`; `None` where no event has it.
    pub(crate) fn find(&self, key: &Key<'_>) -> Result<Option<Found>, TableFlaw> {
        if key.kind == KeyKind::Operation && !self.may_know_operation(key.name)? {
            return Ok(None);
        }
        let hash = key.hash();
        if !filter::may_contain(self.filter.sound()?, hash) {
            return Ok(None);
        }
        let rows = self.rows()?;
        for (index, row) in rows.iter().enumerate().skip(lower_bound(rows, hash)) {
            let row = Row::decode(row);
            if row.hash != hash {
                break;
            }
            if row.kind == key.kind.to_u8() && self.name(index, &row)? == key.name {
                return self.found(index, &row).map(Some);
            }
        }
        Ok(None)
    }

    /// Whether the chunk has operation ids of the time when this one was made, if that is known.
    fn may_know_operation(&self, id: &[u8]) -> Result<bool, TableFlaw> {
        let (Some(range), Some(made)) = (&self.operations, made_at(id)) else { return Ok(true) };
        let (first, last) = operations_made(range.sound()?);
        Ok((first..=last).contains(&made))
    }

    /// The filter, once it was found sound.
    pub(super) fn known_filter(&self) -> Option<Bytes> {
        self.filter.known().cloned()
    }

    /// When the chunk's time-ordered operation ids were made, the first and the last, once that was
    /// found sound.
    pub(super) fn known_operations(&self) -> Option<(u64, u64)> {
        self.operations.as_ref()?.known().map(|range| operations_made(range))
    }

    /// The names of all keys of a kind with what is known of them, in the order of their hashes.
    pub(crate) fn keys(
        &self,
        kind: KeyKind,
    ) -> Result<impl Iterator<Item = Result<(&[u8], Found), TableFlaw>>, TableFlaw> {
        let rows = self.rows()?.iter().map(Row::decode).enumerate();
        Ok(rows
            .filter(move |(_, row)| row.kind == kind.to_u8())
            .map(|(index, row)| Ok((self.name(index, &row)?, self.found(index, &row)?))))
    }

    fn rows(&self) -> Result<&[[u8; ROW_SIZE]], TableFlaw> {
        Ok(self.keys.sound()?.as_chunks().0)
    }

    fn name(&self, index: usize, row: &Row) -> Result<&[u8], TableFlaw> {
        let start = row.name as usize;
        let range = start..start.saturating_add(usize::from(row.name_length));
        let name = self.names.sound()?.get(range.clone());
        name.ok_or_else(|| {
            let names = below(self.names.bytes.len());
            self.row_flaw(index, "name of a key", &names, &format!("{range:?}"))
        })
    }

    fn found(&self, index: usize, row: &Row) -> Result<Found, TableFlaw> {
        let postings = self.postings.sound()?;
        let all = postings.len() / ORDINAL_SIZE;
        let start = row.posting as usize;
        let range = start..start.saturating_add(row.count as usize);
        if range.is_empty() || range.end > all {
            let (what, expected) = ("postings of a key", format!("at least one {}", below(all)));
            return Err(self.row_flaw(index, what, &expected, &format!("{range:?}")));
        }
        let stored = range.start * ORDINAL_SIZE..range.end * ORDINAL_SIZE;
        Ok(Found {
            first_version: StreamVersion::new(row.first_version),
            postings: postings.slice(stored),
        })
    }

    #[cold]
    fn row_flaw(
        &self,
        index: usize,
        what: &'static str,
        expected: &dyn fmt::Display,
        found: &dyn fmt::Display,
    ) -> TableFlaw {
        self.keys.flaw(index * ROW_SIZE, what, expected, found)
    }
}

/// What the section of operations says.
fn operations_made(range: &[u8]) -> (u64, u64) {
    let fields = Fields::of(range, OPERATIONS_SIZE).expect("the section's length was checked");
    (fields.u64(0), fields.u64(8))
}

fn below(end: impl fmt::Display) -> String {
    format!("below {end}")
}

impl Part {
    /// The bytes, which fit their checksum: looked at once, by whoever needs them first.
    fn sound(&self) -> Result<&Bytes, TableFlaw> {
        let checksum = || self.salt.at_place(self.place.offset, &self.bytes);
        if *self.sound.get_or_init(|| checksum() == self.place.checksum) {
            return Ok(&self.bytes);
        }
        let hex = |checksum| format!("{checksum:#010x}");
        let (expected, found) = (hex(checksum()), hex(self.place.checksum));
        Err(self.flaw(0, "checksum of a section", &expected, &found))
    }

    /// The bytes, if somebody has asked and found them sound; looks at none.
    fn known(&self) -> Option<&Bytes> {
        self.sound.get().is_some_and(|sound| *sound).then_some(&self.bytes)
    }

    #[cold]
    fn flaw(
        &self,
        at: usize,
        what: &'static str,
        expected: &dyn fmt::Display,
        found: &dyn fmt::Display,
    ) -> TableFlaw {
        let offset = self.place.offset.saturating_add(at as u64);
        TableFlaw { offset, what, expected: expected.to_string(), found: found.to_string() }
    }
}

impl TableFlaw {
    /// The flaw as damage of its chunk.
    pub(crate) fn in_chunk(self, chunk: ChunkNumber) -> Damage {
        Damage::new((chunk, self.offset), self.what, self.expected, self.found)
    }
}

impl Row {
    fn encode(&self) -> [u8; ROW_SIZE] {
        let mut bytes = [0; ROW_SIZE];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &self.hash.to_le_bytes());
        put(8, &self.name.to_le_bytes());
        put(12, &self.name_length.to_le_bytes());
        put(14, &[self.kind, self.reserved]);
        put(16, &self.posting.to_le_bytes());
        put(20, &self.count.to_le_bytes());
        put(24, &self.first_version.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; ROW_SIZE]) -> Self {
        let fields = Fields::of(bytes, ROW_SIZE).expect("a row has the size of a row");
        Self {
            hash: fields.u64(0),
            name: fields.u32(8),
            name_length: fields.u16(12),
            kind: fields.u8(14),
            reserved: fields.u8(15),
            posting: fields.u32(16),
            count: fields.u32(20),
            first_version: fields.u64(24),
        }
    }
}

/// Index of the first row whose hash is not below `hash`.
///
/// Hashes are spread evenly, so the place is guessed and the guess corrected twice by how far off
/// it was; that lands within some rows of the place, and mostly on its page, where a plain search
/// would touch a page per step. Rows out of order give some index, and as many steps as rows in
/// order.
fn lower_bound(rows: &[[u8; ROW_SIZE]], hash: u64) -> usize {
    let Some(last) = rows.len().checked_sub(1) else {
        return 0;
    };
    let hash_at = |index: usize| hash_of(&rows[index]);
    let scale = |distance: u64| {
        usize::try_from((u128::from(distance) * rows.len() as u128) >> 64)
            .expect("a scaled number is below the number of rows")
    };
    let mut guess = scale(hash);
    for _ in 0..2 {
        let there = hash_at(guess);
        let step = scale(there.abs_diff(hash));
        let after = guess.saturating_add(step).min(last);
        guess = if there < hash { after } else { guess.saturating_sub(step) };
    }
    // All rows before `low` are below the hash, and none from `high` on, once neither loop moves
    // it.
    let (mut low, mut high, mut step) = (guess, guess, 1);
    while low > 0 && hash_at(low - 1) >= hash {
        high = low - 1;
        low = high.saturating_sub(step);
        step *= 2;
    }
    while high < rows.len() && hash_at(high) < hash {
        low = high + 1;
        high = low.saturating_add(step).min(rows.len());
        step *= 2;
    }
    low + rows[low..high].partition_point(|row| hash_of(row) < hash)
}

fn hash_of(row: &[u8; ROW_SIZE]) -> u64 {
    u64::from_le_bytes(*row.first_chunk().expect("a row begins with its hash"))
}
