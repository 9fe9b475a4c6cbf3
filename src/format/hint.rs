//! Owns the hint: two slots that say how far the log was durable, and whether it was closed
//! cleanly.
//!
//! Promises: a slot that decodes was written whole. Missing, torn and old slots do no harm (R10);
//! only a slot ahead of the log means something: lost data (F52).

use uuid::Uuid;

use super::header::ChainEnd;
use super::page::{self, FIELDS};
use crate::position::{ChunkNumber, Position};

const MAGIC: [u8; 8] = *b"PCHHINTS";
const SIZE: usize = 88;
/// Distance of the slots: a sector each, so that a torn write spoils one only.
pub(crate) const SLOT_SIZE: u64 = 512;
/// Size of the hint file.
pub(crate) const FILE_SIZE: u64 = 2 * SLOT_SIZE;

/// What one slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hint {
    pub(crate) log: Uuid,
    pub(crate) sequence: u64,
    pub(crate) durable_through: Position,
    /// The chunk that held the end of the log.
    pub(crate) chunk: ChunkNumber,
    /// The end within that chunk.
    pub(crate) end: ChainEnd,
    pub(crate) clean: bool,
}

impl Hint {
    /// The bytes of the slot, and where in the file they belong.
    pub(crate) fn encode(&self) -> ([u8; SIZE], u64) {
        let mut bytes = [0; SIZE];
        bytes[FIELDS..32].copy_from_slice(self.log.as_bytes());
        let numbers = [
            self.sequence,
            self.durable_through.get(),
            self.chunk.get(),
            self.end.data_end,
            self.end.chain,
        ];
        for (index, number) in numbers.iter().enumerate() {
            bytes[32 + 8 * index..][..8].copy_from_slice(&number.to_le_bytes());
        }
        bytes[72] = self.clean.into();
        page::close(&mut bytes, MAGIC);
        (bytes, self.sequence % 2 * SLOT_SIZE)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let fields = page::open(bytes, SIZE, MAGIC).ok()?;
        (fields.u8(72) <= 1 && fields.is_zero(73..SIZE)).then(|| Self {
            log: Uuid::from_bytes(fields.array(16)),
            sequence: fields.u64(32),
            durable_through: Position::new(fields.u64(40)),
            chunk: ChunkNumber::new(fields.u64(48)),
            end: ChainEnd { data_end: fields.u64(56), chain: fields.u64(64) },
            clean: fields.u8(72) == 1,
        })
    }

    /// The newest valid slot in the bytes of a hint file that belongs to `log`.
    pub(crate) fn newest(file: &[u8], log: Uuid) -> Option<Self> {
        Self::slots(file).filter(|hint| hint.log == log).max_by_key(|hint| hint.sequence)
    }

    /// The newest valid slot, whatever log it belongs to.
    pub(crate) fn newest_of_any(file: &[u8]) -> Option<Self> {
        Self::slots(file).max_by_key(|hint| hint.sequence)
    }

    /// A file that ends within a slot reads as if zeros followed: they do as soon as the other slot
    /// is written, and what a slot says must not depend on that.
    fn slots(file: &[u8]) -> impl Iterator<Item = Self> {
        file.chunks(SLOT_SIZE as usize).filter_map(|slot| {
            let mut whole = [0; SIZE];
            let length = slot.len().min(SIZE);
            whole[..length].copy_from_slice(&slot[..length]);
            Self::decode(&whole)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(sequence: u64) -> Hint {
        Hint {
            log: Uuid::from_u128(1),
            sequence,
            durable_through: Position::new(sequence * 10),
            chunk: ChunkNumber::new(2),
            end: ChainEnd { chain: 9, data_end: 4096 },
            clean: true,
        }
    }

    #[test]
    fn a_torn_slot_leaves_the_other() {
        let mut file = vec![0; FILE_SIZE as usize];
        assert_eq!(Hint::newest(&file, hint(1).log), None);
        for sequence in 1..=2 {
            let (bytes, offset) = hint(sequence).encode();
            file[offset as usize..][..SIZE].copy_from_slice(&bytes);
        }
        assert_eq!(Hint::newest(&file, hint(1).log), Some(hint(2)));
        assert_eq!(Hint::newest(&file, Uuid::nil()), None);
        for at in 0..SIZE {
            let mut torn = file.clone();
            torn[at] ^= 0x10;
            assert_eq!(Hint::newest(&torn, hint(1).log), Some(hint(1)), "byte {at}");
        }
        for length in 0..=file.len() {
            let short = Hint::newest(&file[..length], hint(1).log);
            let mut grown = file[..length].to_vec();
            grown.resize(file.len(), 0);
            assert_eq!(short, Hint::newest(&grown, hint(1).log), "{length} bytes");
        }
    }
}
