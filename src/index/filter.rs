//! Owns the filter over the hashes of a chunk's keys: the split block Bloom filter of the Apache
//! Parquet specification.
//!
//! Promises: never denies a hash that it was built from; an answer reads 32 of the stored bytes and
//! copies none. Bytes that are no filter deny nothing. Assumes hashes of good quality. Never says
//! that a key is there.

/// Bits per key. Twelve keep false answers below one in 100, each of which costs a search in pages
/// that may be cold, and take a twentieth of the space of the keys themselves.
const BITS_PER_KEY: usize = 12;
/// Eight words of 32 bits.
const BLOCK_SIZE: usize = 32;
/// One multiplier per word, from the specification.
const SALTS: [u32; 8] = [
    0x47b6_137b,
    0x4497_4d91,
    0x8824_ad5b,
    0xa2b7_289d,
    0x7054_95c7,
    0x2df1_424b,
    0x9efc_4947,
    0x5c6b_fb31,
];

/// A hash that is sought in many filters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    hash: u64,
    bits: [u32; 8],
}

/// The size in bytes of a filter over `keys` keys.
pub(crate) fn size(keys: usize) -> usize {
    (keys * BITS_PER_KEY).div_ceil(BLOCK_SIZE * 8).max(1) * BLOCK_SIZE
}

/// Whether a filter can have this size in bytes.
pub(crate) fn is_size(length: u64) -> bool {
    length.is_multiple_of(BLOCK_SIZE as u64)
}

/// Makes `filter`, which is all zero, the filter over `hashes`.
pub(crate) fn build(filter: &mut [u8], hashes: impl Iterator<Item = u64>) {
    let (blocks, _) = filter.as_chunks_mut::<BLOCK_SIZE>();
    for hash in hashes {
        let index = block_of(hash, blocks.len());
        let (words, _) = blocks[index].as_chunks_mut::<4>();
        for (word, bit) in words.iter_mut().zip(bits(hash)) {
            *word = (u32::from_le_bytes(*word) | bit).to_le_bytes();
        }
    }
}

/// Whether the filter stored as `filter` was perhaps built from `hash`; `false` is certain.
pub(crate) fn may_contain(filter: &[u8], hash: u64) -> bool {
    Probe::new(hash).may_be_in(filter)
}

impl Probe {
    pub(crate) fn new(hash: u64) -> Self {
        Self { hash, bits: bits(hash) }
    }

    /// Whether the filter stored as `filter` was perhaps built from the hash; `false` is certain.
    pub(crate) fn may_be_in(&self, filter: &[u8]) -> bool {
        let (blocks, rest) = filter.as_chunks::<BLOCK_SIZE>();
        if blocks.is_empty() || !rest.is_empty() {
            return true;
        }
        let (words, _) = blocks[block_of(self.hash, blocks.len())].as_chunks::<4>();
        // All words at once: a branch for each could not be foretold, and would keep the processor
        // from going on to the next filter while it waits for this one.
        let missing = words.iter().zip(self.bits);
        missing.fold(0, |all, (word, bit)| all | (bit & !u32::from_le_bytes(*word))) == 0
    }
}

/// The block of a hash: its upper half, scaled to the number of blocks.
fn block_of(hash: u64, blocks: usize) -> usize {
    usize::try_from((u128::from(hash >> 32) * blocks as u128) >> 32)
        .expect("a scaled number is below the number of blocks")
}

/// The bit of a hash in each word of its block, chosen by its lower half.
fn bits(hash: u64) -> [u32; 8] {
    let low = (hash & 0xFFFF_FFFF) as u32;
    SALTS.map(|salt| 1 << (low.wrapping_mul(salt) >> 27))
}

#[cfg(test)]
mod tests {
    use xxhash_rust::xxh3::xxh3_64;

    use super::*;

    fn hash(number: u64) -> u64 {
        xxh3_64(&number.to_le_bytes())
    }

    fn filter_of(count: usize) -> Vec<u8> {
        let mut filter = vec![0; size(count)];
        build(&mut filter, (0..count as u64).map(hash));
        filter
    }

    #[test]
    fn never_denies_what_it_holds_and_seldom_admits_what_it_does_not() {
        for count in [1, 100, 10_000, 100_000] {
            let filter = filter_of(count);
            assert!((0..count as u64).all(|number| may_contain(&filter, hash(number))));
            let others = 1_000_000..1_100_000;
            let false_answers = others.filter(|number| may_contain(&filter, hash(*number))).count();
            assert!(false_answers < 1000, "{false_answers} of 100000 with {count} keys");
        }
    }

    #[test]
    fn is_that_of_the_specification() {
        // Block 1 of 2, because the upper half of the hash lies in the upper half of its range;
        // with a lower half of 1, the bits are the upper five bits of each salt.
        let mut filter = vec![0; 2 * BLOCK_SIZE];
        build(&mut filter, [0x8000_0000_0000_0001].into_iter());
        let expected: Vec<u8> = [8, 8, 17, 20, 14, 5, 19, 11]
            .iter()
            .flat_map(|bit| (1_u32 << bit).to_le_bytes())
            .collect();
        assert_eq!(filter[..BLOCK_SIZE], [0; BLOCK_SIZE]);
        assert_eq!(filter[BLOCK_SIZE..], expected);
    }

    #[test]
    fn bytes_that_are_no_filter_deny_nothing() {
        assert!((0..BLOCK_SIZE).all(|length| may_contain(&vec![0; length], 7)));
        assert!(!may_contain(&filter_of(0), 7));
    }
}
