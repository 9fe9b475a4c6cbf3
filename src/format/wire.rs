//! Owns the reading and writing of little-endian fields at fixed offsets of a block.
//!
//! Promises: a block is checked for its length once, at construction; field access then cannot
//! fail. Never allocates.

use std::ops::Range;

use super::ALIGNMENT;
use crate::format::checksum::crc;

/// A block of a known least length whose fields are read at constant offsets.
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The first `size` bytes of `bytes`, when there are as many.
    pub(crate) fn of(bytes: &'a [u8], size: usize) -> Option<Self> {
        bytes.get(..size).map(Self)
    }

    /// The `N` bytes at a constant `offset` within the size given at construction.
    pub(crate) fn array<const N: usize>(&self, offset: usize) -> [u8; N] {
        *self.0[offset..].first_chunk().expect("fields lie within their block")
    }

    pub(crate) fn u8(&self, offset: usize) -> u8 {
        self.0[offset]
    }

    pub(crate) fn u16(&self, offset: usize) -> u16 {
        u16::from_le_bytes(self.array(offset))
    }

    pub(crate) fn u32(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.array(offset))
    }

    pub(crate) fn u64(&self, offset: usize) -> u64 {
        u64::from_le_bytes(self.array(offset))
    }

    pub(crate) fn is_zero(&self, range: Range<usize>) -> bool {
        is_zero(&self.0[range])
    }
}

/// Whether all bytes are zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<64>();
    words.iter().all(|word| word.iter().fold(0, |all, byte| all | byte) == 0)
        && rest.iter().all(|byte| *byte == 0)
}

/// Where the last byte ends that is not zero; 0 where all are.
pub(crate) fn trimmed(bytes: &[u8]) -> usize {
    const BLOCK: usize = 4096;
    let zeros = bytes.rchunks(BLOCK).take_while(|block| is_zero(block)).map(<[u8]>::len);
    let rest = &bytes[..bytes.len() - zeros.sum::<usize>()];
    rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// `length` rounded up to where the next event or group may begin.
pub(crate) const fn pad(length: u64) -> u64 {
    length.next_multiple_of(ALIGNMENT)
}

/// The blocks that carry magic, version and an unsalted checksum in their first 16 bytes: chunk
/// header, footer, hint.
pub(crate) mod page {
    use super::{Fields, crc};
    use crate::format::VERSION;

    const CHECKSUM: usize = 12;
    /// Where the fields of such a block begin.
    pub(crate) const FIELDS: usize = 16;

    /// What is wrong with such a block.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Flaw {
        /// Another magic or too few bytes.
        Magic,
        /// The checksum does not fit the bytes.
        Checksum { expected: u32, found: u32 },
        /// A whole block of a version that this crate does not read.
        Version(u32),
        /// Checksummed but not what a writer writes.
        Field(&'static str),
    }

    impl Flaw {
        /// Name of what is wrong, what should stand there, and what does.
        pub(crate) fn describe(self) -> (&'static str, String, String) {
            match self {
                Self::Magic => ("magic", "that of its kind".to_owned(), "other bytes".to_owned()),
                Self::Checksum { expected, found } => {
                    ("checksum", format!("{expected:#010x}"), format!("{found:#010x}"))
                }
                Self::Version(found) => ("version", VERSION.to_string(), found.to_string()),
                Self::Field(field) => (field, "a valid value".to_owned(), "another".to_owned()),
            }
        }
    }

    /// Writes magic, version and checksum around the fields that `block` already holds.
    pub(crate) fn close(block: &mut [u8], magic: [u8; 8]) {
        block[..8].copy_from_slice(&magic);
        block[8..CHECKSUM].copy_from_slice(&VERSION.to_le_bytes());
        let checksum = checksum(block);
        block[CHECKSUM..FIELDS].copy_from_slice(&checksum.to_le_bytes());
    }

    /// Checks magic, checksum and version of a block of `size` bytes.
    pub(crate) fn open(bytes: &[u8], size: usize, magic: [u8; 8]) -> Result<Fields<'_>, Flaw> {
        let fields = Fields::of(bytes, size).ok_or(Flaw::Magic)?;
        if fields.array::<8>(0) != magic {
            return Err(Flaw::Magic);
        }
        let (expected, found) = (checksum(&bytes[..size]), fields.u32(CHECKSUM));
        if expected != found {
            return Err(Flaw::Checksum { expected, found });
        }
        match fields.u32(8) {
            VERSION => Ok(fields),
            other => Err(Flaw::Version(other)),
        }
    }

    fn checksum(block: &[u8]) -> u32 {
        crc(crc(0, &block[..CHECKSUM]), &block[FIELDS..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_found_at_every_place() {
        for length in [0, 1, 63, 64, 65, 200] {
            let mut bytes = vec![0; length];
            assert!(is_zero(&bytes));
            for at in 0..length {
                bytes[at] = 1;
                assert!(!is_zero(&bytes), "byte {at} of {length}");
                bytes[at] = 0;
            }
        }
    }

    #[test]
    fn the_last_byte_that_is_not_zero_is_found() {
        let mut bytes = vec![0; 10_000];
        assert_eq!(trimmed(&bytes), 0);
        for at in [0, 1, 4095, 4096, 5903, 5904, 9999] {
            bytes[at] = 1;
            assert_eq!(trimmed(&bytes), at + 1);
        }
        assert_eq!(trimmed(&[]), 0);
    }

    #[test]
    fn padding_is_to_eight() {
        assert_eq!([pad(0), pad(1), pad(8), pad(9)], [0, 8, 8, 16]);
    }
}
