//! Owns the layout of the shared page: who writes the log, and how far it may be read.
//!
//! Promises: an identity that decodes was written whole. Where each number stands, and nothing of
//! how they are kept together while they change.

use uuid::Uuid;

use super::page::{self, FIELDS, Flaw};

const MAGIC: [u8; 8] = *b"PCHSTATS";
const SIZE: usize = 80;
/// Numbers of the identity, the first of the page.
pub(crate) const IDENTITY_WORDS: usize = SIZE / 8;

/// Odd while the identity or the end is being changed, and higher after it.
pub(crate) const SEQUENCE: usize = 16;
/// All events below this position may be read: they are durable and were read back.
pub(crate) const POSITION: usize = 17;
/// The chunk that holds the end of these events.
pub(crate) const CHUNK: usize = 18;
/// Where in that chunk they end.
pub(crate) const DATA_END: usize = 19;
/// The chain value there.
pub(crate) const CHAIN: usize = 20;
/// Changes for as long as the writing process lives.
pub(crate) const HEARTBEAT: usize = 24;
/// What the writing process is at; one of the three states.
pub(crate) const STATE: usize = 25;

/// The log is open for writing.
pub(crate) const OPEN: u64 = 1;
/// The log was closed.
pub(crate) const CLOSED: u64 = 2;
/// The log has failed, and takes nothing more until it is opened again.
pub(crate) const FAILED: u64 = 3;

/// Odd while the counters are being changed, and higher after it. They stand in pages of their own,
/// so that whoever puts them there never touches the page that acks wait for.
pub(crate) const COUNTERS_SEQUENCE: usize = 512;
/// The id of the list of counters; 0 while there are none.
pub(crate) const COUNTERS_LAYOUT: usize = 513;
/// The first of the counters.
pub(crate) const COUNTERS: usize = 520;

const _: () = assert!(STATE < COUNTERS_SEQUENCE, "counters stand behind the live numbers");
const _: () = assert!(IDENTITY_WORDS <= SEQUENCE, "the identity ends before the live numbers");

/// Who writes a log, and on which page: what stays the same from one opening to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) log: Uuid,
    /// The run of the operating system, and the file within it, for which the page was written.
    pub(crate) boot: Uuid,
    pub(crate) file: u64,
    pub(crate) pid: u64,
    /// Grows with each opening of the log.
    pub(crate) session: u64,
    /// Whether the end follows what was synced, and acks do not wait for that.
    pub(crate) acks_early: bool,
}

impl Identity {
    /// The numbers that the page begins with.
    pub(crate) fn encode(&self) -> [u64; IDENTITY_WORDS] {
        let mut block = [0; SIZE];
        block[FIELDS..32].copy_from_slice(self.log.as_bytes());
        block[32..48].copy_from_slice(self.boot.as_bytes());
        let numbers = [self.file, self.pid, self.session, self.acks_early.into()];
        for (index, number) in numbers.iter().enumerate() {
            block[48 + 8 * index..][..8].copy_from_slice(&number.to_le_bytes());
        }
        page::close(&mut block, MAGIC);
        let (words, _) = block.as_chunks();
        std::array::from_fn(|index| u64::from_le_bytes(words[index]))
    }

    /// What the first numbers of a page say.
    pub(crate) fn decode(words: &[u64; IDENTITY_WORDS]) -> Result<Self, Flaw> {
        let block = words.map(u64::to_le_bytes);
        let fields = page::open(block.as_flattened(), SIZE, MAGIC)?;
        if fields.u64(72) > 1 {
            return Err(Flaw::Field("kind of acks"));
        }
        Ok(Self {
            log: Uuid::from_bytes(fields.array(16)),
            boot: Uuid::from_bytes(fields.array(32)),
            file: fields.u64(48),
            pid: fields.u64(56),
            session: fields.u64(64),
            acks_early: fields.u64(72) == 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            log: Uuid::from_u128(0x0123_4567_89ab_cdef),
            boot: Uuid::from_u128(7),
            file: 11,
            pid: 4711,
            session: 3,
            acks_early: true,
        }
    }

    #[test]
    fn an_identity_comes_back() {
        assert_eq!(Identity::decode(&identity().encode()), Ok(identity()));
    }

    /// By docs/format.md, and never to change within a version.
    #[test]
    fn an_identity_is_laid_out_as_drawn() {
        let bytes: Vec<u8> =
            identity().encode().iter().flat_map(|word| word.to_le_bytes()).collect();
        let hex = |range: std::ops::Range<usize>| {
            bytes[range].iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        assert_eq!(&bytes[..8], b"PCHSTATS");
        assert_eq!(hex(8..16), "010000009d4bfe71");
        assert_eq!(hex(16..32), "00000000000000000123456789abcdef");
        assert_eq!(hex(32..48), "00000000000000000000000000000007");
        assert_eq!(hex(48..64), "0b000000000000006712000000000000");
        assert_eq!(hex(64..80), "03000000000000000100000000000000");
        let live = [SEQUENCE, POSITION, CHUNK, DATA_END, CHAIN, HEARTBEAT, STATE];
        assert_eq!(live.map(|index| index * 8), [128, 136, 144, 152, 160, 192, 200]);
        let counters = [COUNTERS_SEQUENCE, COUNTERS_LAYOUT, COUNTERS];
        assert_eq!(counters.map(|index| index * 8), [4096, 4104, 4160]);
    }

    #[test]
    fn every_flipped_bit_of_an_identity_is_found() {
        let sound = identity().encode();
        for bit in 0..SIZE * 8 {
            let mut words = sound;
            words[bit / 64] ^= 1 << (bit % 64);
            assert!(Identity::decode(&words).is_err(), "bit {bit}");
        }
        assert!(Identity::decode(&[0; IDENTITY_WORDS]).is_err());
    }
}
