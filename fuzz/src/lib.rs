//! Owns the shape of a fuzz target: what it runs, and what mends the input after a mutation.
//!
//! Promises: fifteen of sixteen mutated inputs get checksums that fit, so that the fuzzer gets past
//! them; the others stay as they are, so that it also sees them refused.

pub use libfuzzer_sys;

/// Makes the target that runs `paperchase::fuzzing::$run` on inputs that `$mend` has mended.
#[macro_export]
macro_rules! target {
    ($run:ident, $mend:ident) => {
        use $crate::libfuzzer_sys::{self, fuzz_mutator, fuzz_target};

        fuzz_target!(|data: &[u8]| { paperchase::fuzzing::$run(data) });

        fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
            let size = libfuzzer_sys::fuzzer_mutate(data, size, max_size);
            if !seed.is_multiple_of(16) {
                paperchase::fuzzing::$mend(&mut data[..size], seed);
            }
            size
        });
    };
    ($run:ident) => {
        use $crate::libfuzzer_sys::{self, fuzz_target};

        fuzz_target!(|data: &[u8]| { paperchase::fuzzing::$run(data) });
    };
}
