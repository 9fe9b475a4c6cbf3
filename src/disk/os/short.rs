//! Owns how much one call of a test's disk reads or writes, and the tests of what is made of short
//! and interrupted calls (F25, F26).
//!
//! Promises: every seventh call is interrupted, so each length that is asked for is done at last.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// The calls of a disk.
#[derive(Debug)]
pub(super) struct Calls {
    longest: usize,
    by_chance: bool,
    count: AtomicU64,
}

impl Calls {
    pub(super) fn new(longest: usize, by_chance: bool) -> Self {
        Self { longest, by_chance, count: AtomicU64::new(0) }
    }

    /// How much of `length` bytes the next call does.
    pub(super) fn next(&self, length: usize) -> io::Result<usize> {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        if count % 7 == 6 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        // The multiplier of Knuth's generator for 64 bits; its upper bits are good enough here.
        let chance = (count.wrapping_mul(6_364_136_223_846_793_005) >> 33) as usize;
        let most = if self.by_chance { chance % self.longest + 1 } else { self.longest };
        Ok(length.min(most))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{read_all, write_all};
    use super::*;

    /// Writes bytes by calls of these lengths, of which each claims as much as `claims` says of it.
    fn write(bytes: &[u8], calls: &Calls, claims: fn(usize) -> usize) -> (io::Result<()>, Vec<u8>) {
        let mut file = vec![0; bytes.len() + 100];
        let written = write_all(bytes, 100, |part, offset| {
            let length = calls.next(part.len())?;
            let at = offset as usize;
            file[at..at + length].copy_from_slice(&part[..length]);
            Ok(claims(length))
        });
        (written, file.split_off(100))
    }

    fn sample() -> Vec<u8> {
        (0..5_000_u32).map(|number| (number * 7) as u8).collect()
    }

    #[test]
    fn f25_short_and_interrupted_calls_are_gone_on_from() {
        let bytes = sample();
        for (longest, by_chance) in [(1, false), (2, false), (900, true), (10_000, false)] {
            let calls = Calls::new(longest, by_chance);
            let (written, file) = write(&bytes, &calls, |length| length);
            written.unwrap();
            assert_eq!(file, bytes);
            let mut found = vec![0; bytes.len()];
            let read = read_all(&mut found, 0, |part, offset| {
                let length = calls.next(part.len())?;
                let at = offset as usize;
                part[..length].copy_from_slice(&file[at..at + length]);
                Ok(length)
            });
            read.unwrap();
            assert_eq!(found, bytes);
        }
    }

    #[test]
    fn f25_calls_that_do_nothing_or_fail_end_it() {
        let kind = |done: io::Result<()>| done.unwrap_err().kind();
        assert_eq!(kind(write_all(&[1], 0, |_, _| Ok(0))), io::ErrorKind::WriteZero);
        assert_eq!(kind(read_all(&mut [1], 0, |_, _| Ok(0))), io::ErrorKind::UnexpectedEof);
        let refused = || Err::<usize, _>(io::ErrorKind::WouldBlock.into());
        assert_eq!(kind(write_all(&[1], 0, |_, _| refused())), io::ErrorKind::WouldBlock);
        assert_eq!(kind(read_all(&mut [1], 0, |_, _| refused())), io::ErrorKind::WouldBlock);
        // More than was asked for is no answer at all.
        assert_eq!(kind(write_all(&[1], 0, |_, _| Ok(2))), io::ErrorKind::InvalidData);
        assert_eq!(kind(read_all(&mut [1], 0, |_, _| Ok(2))), io::ErrorKind::InvalidData);
        assert!(write_all(&[], 0, |_, _| panic!("nothing is left to do")).is_ok());
    }

    #[test]
    fn f26_a_write_that_claims_less_than_it_did_is_gone_on_from() {
        let bytes = sample();
        let calls = Calls::new(700, false);
        let (written, file) = write(&bytes, &calls, |length| length.div_ceil(2));
        written.unwrap();
        assert_eq!(file, bytes);
    }
}
