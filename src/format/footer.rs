//! Owns the footer, the last 4096 bytes of a sealed chunk's file: what the chunk holds and where
//! its sections lie.
//!
//! Promises: a footer that decodes was written whole, and its sections lie apart from each other
//! between the groups and the footer. Says nothing about the content of sections: each has a
//! checksum of its own. Never looks at them.

use uuid::Uuid;

use super::header::ChainEnd;
use super::page::{self, FIELDS, Flaw};
use super::{ALIGNMENT, CHUNK_HEADER_SIZE, Fields};
use crate::clock::Timestamp;
use crate::position::{ChunkNumber, Position};

const MAGIC: [u8; 8] = *b"PCHFOOTR";
/// Size of a footer.
pub(crate) const FOOTER_SIZE: u64 = CHUNK_HEADER_SIZE;
/// The first section begins at a multiple of this, so that sections share no page with groups.
pub(crate) const SECTIONS_ALIGNMENT: u64 = 4096;
/// Most sections of one chunk.
pub(crate) const SECTIONS_MAX: usize = 32;
const SIZE: usize = 4096;
const SECTIONS: usize = 104;
const SECTION_SIZE: usize = 24;

const _: () = {
    assert!(SIZE as u64 == FOOTER_SIZE, "a footer is one page");
    assert!(SECTIONS + SECTIONS_MAX * SECTION_SIZE <= SIZE, "all sections fit");
};

/// The kinds of sections that this version writes. Readers pass over others.
pub(crate) mod section {
    /// A u32 per ordinal: the offset of the event in the file.
    pub(crate) const OFFSETS: u32 = 1;
    /// 32 bytes per key, sorted.
    pub(crate) const KEYS: u32 = 2;
    /// The names of the keys.
    pub(crate) const NAMES: u32 = 3;
    /// A u32 per posting: an ordinal.
    pub(crate) const POSTINGS: u32 = 4;
    /// A filter over the hashes of the keys.
    pub(crate) const FILTER: u32 = 5;
    /// When the time-ordered operation ids were made: the earliest and the latest.
    pub(crate) const OPERATIONS: u32 = 6;
}

/// What a sealed chunk says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) log: Uuid,
    pub(crate) number: ChunkNumber,
    pub(crate) first_position: Position,
    /// Number of positions that the chunk stands for.
    pub(crate) ordinals: u32,
    pub(crate) keys: u32,
    /// The end of this chunk's groups.
    pub(crate) end: ChainEnd,
    pub(crate) first_time: Timestamp,
    pub(crate) last_time: Timestamp,
    pub(crate) file_size: u64,
    pub(crate) sections: Vec<Section>,
}

/// Where a section lies in the file, and its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) kind: u32,
    /// Salted by place.
    pub(crate) checksum: u32,
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

impl Section {
    /// Offset behind the section's last byte. Saturates, so that no stored length can wrap.
    pub(crate) fn end(&self) -> u64 {
        self.offset.saturating_add(self.length)
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.offset < other.end() && other.offset < self.end()
    }
}

impl Footer {
    /// The footer's bytes, which belong at [`Footer::offset`].
    pub(crate) fn encode(&self) -> Vec<u8> {
        assert!(self.sections.len() <= SECTIONS_MAX, "a chunk has at most 32 sections");
        let mut out = Vec::with_capacity(SIZE);
        out.extend_from_slice(&[0; FIELDS]);
        out.extend_from_slice(self.log.as_bytes());
        let put = |out: &mut Vec<u8>, number: u64| out.extend_from_slice(&number.to_le_bytes());
        let put_small = |out: &mut Vec<u8>, number: u32| out.extend(number.to_le_bytes());
        put(&mut out, self.number.get());
        put(&mut out, self.first_position.get());
        put_small(&mut out, self.ordinals);
        put_small(&mut out, self.keys);
        put(&mut out, self.end.data_end);
        put(&mut out, self.end.chain);
        put(&mut out, self.first_time.as_nanos());
        put(&mut out, self.last_time.as_nanos());
        put(&mut out, self.file_size);
        put(&mut out, self.sections.len() as u64);
        for section in &self.sections {
            put_small(&mut out, section.kind);
            put_small(&mut out, section.checksum);
            put(&mut out, section.offset);
            put(&mut out, section.length);
        }
        out.resize(SIZE, 0);
        page::close(&mut out, MAGIC);
        out
    }

    /// Decodes the footer that `bytes` begin with.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Flaw> {
        let fields = page::open(bytes, SIZE, MAGIC)?;
        let count = usize::try_from(fields.u32(96)).unwrap_or(usize::MAX);
        if count > SECTIONS_MAX {
            return Err(Flaw::Field("number of sections"));
        }
        let end_of_sections = SECTIONS + count * SECTION_SIZE;
        if !fields.is_zero(100..SECTIONS) || !fields.is_zero(end_of_sections..SIZE) {
            return Err(Flaw::Field("reserved bytes"));
        }
        let footer = Self {
            log: Uuid::from_bytes(fields.array(16)),
            number: ChunkNumber::new(fields.u64(32)),
            first_position: Position::new(fields.u64(40)),
            ordinals: fields.u32(48),
            keys: fields.u32(52),
            end: ChainEnd { data_end: fields.u64(56), chain: fields.u64(64) },
            first_time: Timestamp::from_nanos(fields.u64(72)),
            last_time: Timestamp::from_nanos(fields.u64(80)),
            file_size: fields.u64(88),
            sections: (0..count).map(|index| section_at(&fields, index)).collect(),
        };
        match footer.flaw() {
            Some(field) => Err(Flaw::Field(field)),
            None => Ok(footer),
        }
    }

    /// Where the footer stands in its file.
    pub(crate) fn offset(&self) -> u64 {
        self.file_size.saturating_sub(FOOTER_SIZE)
    }

    /// Where sections and footer lie, in the order of the file.
    #[cfg(feature = "cli")]
    pub(crate) fn parts(&self) -> Vec<std::ops::Range<u64>> {
        let mut parts: Vec<_> =
            self.sections.iter().map(|section| section.offset..section.end()).collect();
        parts.push(self.offset()..self.file_size);
        parts.sort_by_key(|part| part.start);
        parts
    }

    /// Position behind the last event of the chunk.
    pub(crate) fn end_position(&self) -> Position {
        self.first_position.plus(self.ordinals.into())
    }

    /// The section of this kind.
    pub(crate) fn section(&self, kind: u32) -> Option<&Section> {
        self.sections.iter().find(|section| section.kind == kind)
    }

    /// The field that no writer would have written so.
    fn flaw(&self) -> Option<&'static str> {
        if self.end.data_end < CHUNK_HEADER_SIZE || self.end.data_end > self.offset() {
            return Some("data end");
        }
        // Below the footer's offset, so the rounding cannot overflow.
        let start = self.end.data_end.next_multiple_of(SECTIONS_ALIGNMENT);
        for (index, section) in self.sections.iter().enumerate() {
            let aligned = section.offset.is_multiple_of(ALIGNMENT);
            if !aligned || section.offset < start || section.end() > self.offset() {
                return Some("place of a section");
            }
            for earlier in &self.sections[..index] {
                if earlier.kind == section.kind {
                    return Some("kind of a section");
                }
                if earlier.overlaps(section) {
                    return Some("place of a section");
                }
            }
        }
        None
    }
}

fn section_at(fields: &Fields<'_>, index: usize) -> Section {
    let at = SECTIONS + index * SECTION_SIZE;
    Section {
        kind: fields.u32(at),
        checksum: fields.u32(at + 4),
        offset: fields.u64(at + 8),
        length: fields.u64(at + 16),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn footer() -> Footer {
        let section = |kind, offset, length| Section { kind, checksum: kind ^ 7, offset, length };
        Footer {
            log: Uuid::from_u128(0x0123_4567_89ab_cdef),
            number: ChunkNumber::new(3),
            first_position: Position::new(1000),
            ordinals: 11,
            keys: 4,
            end: ChainEnd { chain: 77, data_end: 5000 },
            first_time: Timestamp::from_nanos(5),
            last_time: Timestamp::from_nanos(6),
            file_size: 1 << 20,
            sections: vec![
                section(section::OFFSETS, 8192, 44),
                section(section::KEYS, 8240, 128),
                section(99, 8192 + 4096, 0),
            ],
        }
    }

    fn refused(change: impl FnOnce(&mut Footer)) -> Flaw {
        let mut footer = footer();
        change(&mut footer);
        Footer::decode(&footer.encode()).unwrap_err()
    }

    #[test]
    fn comes_back() {
        let bytes = footer().encode();
        assert_eq!(bytes.len(), SIZE);
        assert_eq!(Footer::decode(&bytes), Ok(footer()));
        let mut full = footer();
        full.sections = (0..32)
            .map(|kind| Section {
                kind,
                checksum: 1,
                offset: 8192 + 8 * u64::from(kind),
                length: 8,
            })
            .collect();
        assert_eq!(Footer::decode(&full.encode()), Ok(full));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let mut bytes = footer().encode();
        for bit in 0..SIZE * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Footer::decode(&bytes).is_err(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(Footer::decode(&[0; SIZE]).is_err());
        assert!(Footer::decode(&bytes[..SIZE - 1]).is_err());
    }

    #[test]
    fn misplaced_sections_are_refused() {
        let place = Flaw::Field("place of a section");
        assert_eq!(refused(|footer| footer.sections[0].offset = 8196), place);
        assert_eq!(refused(|footer| footer.sections[0].offset = 5000), place);
        assert_eq!(refused(|footer| footer.sections[0].length = 49), place);
        assert_eq!(refused(|footer| footer.sections[1].length = u64::MAX), place);
        assert_eq!(refused(|footer| footer.sections[2].offset = 1 << 20), place);
        assert_eq!(refused(|footer| footer.sections[2].length = 1 << 20), place);
        let kind = Flaw::Field("kind of a section");
        assert_eq!(refused(|footer| footer.sections[2].kind = section::KEYS), kind);
    }

    #[test]
    fn impossible_ends_are_refused() {
        let end = Flaw::Field("data end");
        assert_eq!(refused(|footer| footer.end.data_end = 4095), end);
        assert_eq!(refused(|footer| footer.end.data_end = u64::MAX), end);
        assert_eq!(refused(|footer| footer.file_size = 0), end);
    }

    #[test]
    fn bytes_that_no_writer_writes_are_refused() {
        let reclosed = |at: usize, value: u8| {
            let mut bytes = footer().encode();
            bytes[at] = value;
            page::close(&mut bytes, MAGIC);
            Footer::decode(&bytes)
        };
        assert_eq!(reclosed(96, 33), Err(Flaw::Field("number of sections")));
        assert_eq!(reclosed(99, 1), Err(Flaw::Field("number of sections")));
        for at in [100, 103, SECTIONS + 3 * SECTION_SIZE, SIZE - 1] {
            assert_eq!(reclosed(at, 1), Err(Flaw::Field("reserved bytes")), "byte {at}");
        }
    }
}
