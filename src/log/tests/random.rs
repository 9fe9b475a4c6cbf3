//! Owns the pseudo-random numbers of the tests that play seeded sequences.
//!
//! Promises: the same seed gives the same numbers, on every machine; neighbouring seeds give
//! unrelated ones (splitmix64, S. Vigna).

use std::collections::VecDeque;

pub(super) struct Random {
    state: u64,
    /// What decides instead of chance, for as long as there is any.
    bytes: Option<VecDeque<u8>>,
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed, bytes: None }
    }

    /// Numbers below an end come from these bytes, as a fuzzer makes them up; all others, and those
    /// behind the last byte, from a seed.
    pub(super) fn of_bytes(bytes: &[u8]) -> Self {
        Self { state: 0, bytes: Some(bytes.to_vec().into()) }
    }

    /// Whether there were bytes, and none is left.
    pub(super) fn is_spent(&self) -> bool {
        self.bytes.as_ref().is_some_and(VecDeque::is_empty)
    }

    pub(super) fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.decided(end).unwrap_or_else(|| self.number()) % end
    }

    /// A number of as many bytes as one below `end` has.
    fn decided(&mut self, end: u64) -> Option<u64> {
        let bytes = self.bytes.as_mut().filter(|bytes| !bytes.is_empty())?;
        let size = (64 - (end - 1).leading_zeros()).div_ceil(8).max(1) as usize;
        let some = bytes.drain(..size.min(bytes.len()));
        Some(some.fold(0, |number, byte| number << 8 | u64::from(byte)))
    }

    /// True so many times out of a hundred.
    pub(super) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize].clone()
    }
}
