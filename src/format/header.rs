//! Owns the chunk header, the first 4096 bytes of every chunk file.
//!
//! Promises: a header that decodes was written whole and states which log, chunk and place in the
//! chain it belongs to.

use uuid::Uuid;

use super::page::{self, FIELDS, Flaw};
use super::{ALIGNMENT, CHUNK_HEADER_SIZE, GROUP_HEADER_SIZE};
use crate::clock::Timestamp;
use crate::options::CHUNK_SIZE_MAX;
use crate::position::{ChunkNumber, Position};

const MAGIC: [u8; 8] = *b"PCHCHUNK";
const SIZE: usize = CHUNK_HEADER_SIZE as usize;
const USED: usize = 80;

/// What a chunk says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChunkHeader {
    pub(crate) log: Uuid,
    pub(crate) number: ChunkNumber,
    pub(crate) first_position: Position,
    pub(crate) capacity: u64,
    /// Where and with which chain value the chunk before ended.
    pub(crate) previous: ChainEnd,
    pub(crate) created: Timestamp,
}

/// The end of the groups of a chunk: the offset behind the last one and its chain value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChainEnd {
    pub(crate) chain: u64,
    pub(crate) data_end: u64,
}

impl ChunkHeader {
    /// Appends the header's bytes to `out`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; FIELDS]);
        out.extend_from_slice(self.log.as_bytes());
        let numbers = [
            self.number.get(),
            self.first_position.get(),
            self.capacity,
            self.previous.chain,
            self.previous.data_end,
            self.created.as_nanos(),
        ];
        numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
        out.resize(start + SIZE, 0);
        page::close(&mut out[start..], MAGIC);
    }

    /// Decodes the header that `bytes` begin with.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Flaw> {
        let fields = page::open(bytes, SIZE, MAGIC)?;
        let header = Self {
            log: Uuid::from_bytes(fields.array(16)),
            number: ChunkNumber::new(fields.u64(32)),
            first_position: Position::new(fields.u64(40)),
            capacity: fields.u64(48),
            previous: ChainEnd { chain: fields.u64(56), data_end: fields.u64(64) },
            created: Timestamp::from_nanos(fields.u64(72)),
        };
        let capacity = CHUNK_HEADER_SIZE + GROUP_HEADER_SIZE..=CHUNK_SIZE_MAX;
        if !capacity.contains(&header.capacity) || !header.capacity.is_multiple_of(ALIGNMENT) {
            return Err(Flaw::Field("capacity"));
        }
        if !fields.is_zero(USED..SIZE) {
            return Err(Flaw::Field("reserved bytes"));
        }
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> ChunkHeader {
        ChunkHeader {
            log: Uuid::from_u128(0x0123_4567_89ab_cdef),
            number: ChunkNumber::new(3),
            first_position: Position::new(1000),
            capacity: 1 << 20,
            previous: ChainEnd { chain: 77, data_end: 5000 },
            created: Timestamp::from_nanos(5),
        }
    }

    #[test]
    fn comes_back() {
        let mut bytes = vec![9];
        header().encode(&mut bytes);
        assert_eq!(ChunkHeader::decode(&bytes[1..]), Ok(header()));
        assert_eq!(bytes.len(), 1 + SIZE);
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let mut bytes = Vec::new();
        header().encode(&mut bytes);
        for bit in 0..SIZE * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(ChunkHeader::decode(&bytes).is_err(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(ChunkHeader::decode(&[0; SIZE]).is_err());
        assert!(ChunkHeader::decode(&bytes[..SIZE - 1]).is_err());
    }

    #[test]
    fn another_version_is_named() {
        let mut bytes = Vec::new();
        header().encode(&mut bytes);
        bytes[8] = 2;
        let checksum =
            super::super::checksum::crc(super::super::checksum::crc(0, &bytes[..12]), &bytes[16..]);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(ChunkHeader::decode(&bytes), Err(Flaw::Version(2)));
    }
}
