//! Owns checksums: CRC-32/ISO-HDLC, salted by log, chunk, and place or position (R5).
//!
//! Promises: bytes that are valid at one place are invalid at any other, in any other chunk, and in
//! any other log, as far as 32 bits can tell. Never used against an enemy (F49).

use uuid::Uuid;

use crate::position::{ChunkNumber, Position};

/// The CRC-32/ISO-HDLC of `bytes` as the continuation of the value `start`; `crc(0, bytes)` is the
/// plain checksum.
pub(crate) fn crc(start: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(start);
    hasher.update(bytes);
    hasher.finalize()
}

/// The salt of a log's event contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogSalt(u32);

/// The salt of one chunk, from which those of its places and positions follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkSalt {
    log: LogSalt,
    chunk: u32,
}

impl LogSalt {
    pub(crate) fn new(log: Uuid) -> Self {
        Self(crc(0, log.as_bytes()))
    }

    pub(crate) fn content(self, bytes: &[u8]) -> u32 {
        crc(self.0, bytes)
    }

    pub(crate) fn chunk(self, number: ChunkNumber) -> ChunkSalt {
        ChunkSalt { log: self, chunk: crc(self.0, &number.get().to_le_bytes()) }
    }
}

impl ChunkSalt {
    pub(crate) fn log(self) -> LogSalt {
        self.log
    }

    /// The checksum of `bytes` that stand at `offset` of the chunk's file.
    pub(crate) fn at_place(self, offset: u64, bytes: &[u8]) -> u32 {
        crc(crc(self.chunk, &offset.to_le_bytes()), bytes)
    }

    /// The checksum of `bytes` that belong to the event at `position`.
    pub(crate) fn at_position(self, position: Position, bytes: &[u8]) -> u32 {
        crc(crc(self.chunk, &position.get().to_le_bytes()), bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_crc_32_iso_hdlc() {
        // The check value of the catalogue of parametrised CRC algorithms.
        assert_eq!(crc(0, b"123456789"), 0xCBF4_3926);
        assert_eq!(crc(crc(0, b"1234"), b"56789"), 0xCBF4_3926);
    }

    #[test]
    fn salts_tell_logs_chunks_places_and_positions_apart() {
        let salt = |log, chunk| LogSalt::new(Uuid::from_u128(log)).chunk(ChunkNumber::new(chunk));
        let base = salt(1, 2).at_place(4096, b"bytes");
        assert_ne!(base, salt(9, 2).at_place(4096, b"bytes"));
        assert_ne!(base, salt(1, 3).at_place(4096, b"bytes"));
        assert_ne!(base, salt(1, 2).at_place(4104, b"bytes"));
        assert_ne!(
            salt(1, 2).at_position(Position::new(1), b"bytes"),
            salt(1, 2).at_position(Position::new(2), b"bytes")
        );
    }
}
