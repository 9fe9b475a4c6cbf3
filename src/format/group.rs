//! Owns the group header, 64 bytes before the events that were written with one write.
//!
//! Promises: a header that decodes was written whole at this very place, so its lengths can be
//! trusted; the body has a checksum of its own. Assumes the body directly behind the header.

use super::checksum::ChunkSalt;
use super::{ALIGNMENT, Fields, GROUP_HEADER_SIZE};
use crate::clock::Timestamp;
use crate::position::Position;

pub(crate) const MAGIC: [u8; 4] = *b"PGRP";
const SIZE: usize = GROUP_HEADER_SIZE as usize;
const SUMMED: std::ops::Range<usize> = 8..SIZE;
const BODY_CHECKSUM: usize = 44;
const CODEC: usize = 56;
const CODEC_NONE: u8 = 0;

/// What a group says of itself, but for its checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupHeader {
    pub(crate) previous_chain: u64,
    pub(crate) first_position: Position,
    pub(crate) durable_through: Position,
    pub(crate) time: Timestamp,
    pub(crate) body_length: u32,
    pub(crate) events: u32,
    pub(crate) appends: u32,
}

/// A group header as read: its values, and the checksums that prove it and its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CheckedHeader {
    pub(crate) header: GroupHeader,
    pub(crate) checksum: u32,
    pub(crate) body_checksum: u32,
}

/// What is wrong with the bytes where a group should begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GroupFlaw {
    /// Too few bytes, or another magic.
    Magic,
    /// The checksum does not fit the header.
    Checksum { expected: u32, found: u32 },
    /// Checksummed, but not what a writer writes.
    Field(&'static str),
}

impl GroupHeader {
    /// Completes a group: `bytes` are room for the header and the body; `offset` is where they will
    /// stand. Returns the chain value.
    pub(crate) fn close(&self, bytes: &mut [u8], salt: ChunkSalt, offset: u64) -> u64 {
        let (head, body) = bytes.split_at_mut(SIZE);
        let body_checksum = salt.at_place(offset, body);
        let mut put = |at: usize, field: &[u8]| head[at..at + field.len()].copy_from_slice(field);
        put(0, &MAGIC);
        put(8, &self.previous_chain.to_le_bytes());
        put(16, &self.first_position.get().to_le_bytes());
        put(24, &self.durable_through.get().to_le_bytes());
        put(32, &self.time.as_nanos().to_le_bytes());
        put(40, &self.body_length.to_le_bytes());
        put(BODY_CHECKSUM, &body_checksum.to_le_bytes());
        put(48, &self.events.to_le_bytes());
        put(52, &self.appends.to_le_bytes());
        put(CODEC, &[CODEC_NONE, 0, 0, 0, 0, 0, 0, 0]);
        let checksum = salt.at_place(offset, &head[SUMMED]);
        head[4..8].copy_from_slice(&checksum.to_le_bytes());
        chain(checksum, body_checksum)
    }

    /// Decodes the header that `bytes`, read at `offset`, begin with.
    pub(crate) fn decode(
        bytes: &[u8],
        salt: ChunkSalt,
        offset: u64,
    ) -> Result<CheckedHeader, GroupFlaw> {
        let fields = Fields::of(bytes, SIZE).ok_or(GroupFlaw::Magic)?;
        if fields.array::<4>(0) != MAGIC {
            return Err(GroupFlaw::Magic);
        }
        let (expected, found) = (salt.at_place(offset, &bytes[SUMMED]), fields.u32(4));
        if expected != found {
            return Err(GroupFlaw::Checksum { expected, found });
        }
        let header = Self {
            previous_chain: fields.u64(8),
            first_position: Position::new(fields.u64(16)),
            durable_through: Position::new(fields.u64(24)),
            time: Timestamp::from_nanos(fields.u64(32)),
            body_length: fields.u32(40),
            events: fields.u32(48),
            appends: fields.u32(52),
        };
        header.check(&fields).map_err(GroupFlaw::Field)?;
        Ok(CheckedHeader { header, checksum: found, body_checksum: fields.u32(BODY_CHECKSUM) })
    }

    fn check(&self, fields: &Fields<'_>) -> Result<(), &'static str> {
        if !u64::from(self.body_length).is_multiple_of(ALIGNMENT) {
            return Err("body length");
        }
        if self.events == 0 || self.first_position.get().checked_add(self.events.into()).is_none() {
            return Err("event count");
        }
        if self.appends == 0 || self.appends > self.events {
            return Err("append count");
        }
        if self.durable_through > self.first_position {
            return Err("durable-through mark");
        }
        if fields.u8(CODEC) != CODEC_NONE {
            return Err("codec");
        }
        fields.is_zero(CODEC + 1..SIZE).then_some(()).ok_or("reserved bytes")
    }

    /// Length of header and body in bytes.
    pub(crate) fn length(&self) -> u64 {
        GROUP_HEADER_SIZE + u64::from(self.body_length)
    }

    /// Position behind the last event.
    pub(crate) fn end_position(&self) -> Position {
        self.first_position.plus(self.events.into())
    }
}

impl CheckedHeader {
    /// The chain value of the group.
    pub(crate) fn chain(&self) -> u64 {
        chain(self.checksum, self.body_checksum)
    }

    /// Checks the body; the error is the expected checksum.
    pub(crate) fn check_body(&self, body: &[u8], salt: ChunkSalt, offset: u64) -> Result<(), u32> {
        let expected = salt.at_place(offset, body);
        if expected == self.body_checksum { Ok(()) } else { Err(expected) }
    }
}

fn chain(header: u32, body: u32) -> u64 {
    u64::from(header) << 32 | u64::from(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::checksum::LogSalt;
    use crate::position::ChunkNumber;

    fn salt() -> ChunkSalt {
        LogSalt::new(uuid::Uuid::from_u128(5)).chunk(ChunkNumber::new(1))
    }

    fn group() -> (GroupHeader, Vec<u8>, u64) {
        let header = GroupHeader {
            previous_chain: 0xFEED,
            first_position: Position::new(10),
            durable_through: Position::new(7),
            time: Timestamp::from_nanos(99),
            body_length: 16,
            events: 2,
            appends: 1,
        };
        let mut bytes = vec![7; SIZE + 16];
        let chain = header.close(&mut bytes, salt(), 4096);
        (header, bytes, chain)
    }

    #[test]
    fn comes_back_with_its_chain_value() {
        let (header, bytes, chain) = group();
        let read = GroupHeader::decode(&bytes, salt(), 4096).unwrap();
        assert_eq!(read.header, header);
        assert_eq!(read.chain(), chain);
        assert_eq!(read.check_body(&bytes[SIZE..], salt(), 4096), Ok(()));
        assert_eq!(header.length(), 80);
        assert_eq!(header.end_position(), Position::new(12));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let (_, mut bytes, _) = group();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let sound = GroupHeader::decode(&bytes, salt(), 4096)
                .is_ok_and(|read| read.check_body(&bytes[SIZE..], salt(), 4096).is_ok());
            assert!(!sound, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn is_invalid_at_another_place() {
        let (_, bytes, _) = group();
        assert!(GroupHeader::decode(&bytes, salt(), 4104).is_err());
        assert!(GroupHeader::decode(&bytes[..63], salt(), 4096).is_err());
        assert_eq!(GroupHeader::decode(&[0; 64], salt(), 4096), Err(GroupFlaw::Magic));
    }
}
