//! Owns the decision whether a thread spins for what it waits for, before it sleeps.
//!
//! Promises: who spins with success goes on to spin; one spin in vain changes nothing; who spins in
//! vain again and again soon does so in one of 16 waits. Ends also where the clock stands still.
//! Knows nothing of what is waited for.

use std::time::Duration;

use crate::clock::Clock;
use crate::sync::spin_loop;

/// After many spins in vain, so many waits go without one.
const SKIPPED_MAX: u32 = 15;
/// Less than a look takes, in nanoseconds.
const LOOK: u128 = 16;

/// What a thread has learned of its spins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spinner {
    /// Waits that are still to go without a spin.
    to_skip: u32,
    /// Waits that go without one after the next spin in vain.
    backoff: u32,
}

impl Spinner {
    /// One that spins in its first wait.
    pub(crate) const fn new() -> Self {
        Self { to_skip: 0, backoff: 0 }
    }

    /// Spins until `is_there`, at most `most`, unless this wait is one that goes without.
    pub(crate) fn spin(&mut self, most: Duration, clock: &dyn Clock, is_there: impl Fn() -> bool) {
        if most.is_zero() {
            return;
        }
        if let Some(left) = self.to_skip.checked_sub(1) {
            self.to_skip = left;
            return;
        }
        let end = clock.monotonic().saturating_add(most);
        // A simulated clock may stand still.
        for _ in 0..=most.as_nanos() / LOOK {
            if is_there() {
                self.backoff = 0;
                return;
            }
            if clock.monotonic() >= end {
                break;
            }
            (0..32).for_each(|_| spin_loop());
        }
        self.to_skip = self.backoff;
        self.backoff = (2 * self.backoff + 1).min(SKIPPED_MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::clock::{SimClock, SystemClock};

    /// In which of so many waits it spins, when all spins end like this.
    fn spins(spinner: &mut Spinner, waits: usize, succeeds: bool) -> Vec<usize> {
        let (clock, spun) = (SystemClock::default(), Cell::new(0));
        let is_there = || {
            spun.set(spun.get() + 1);
            succeeds && spun.get() > 1
        };
        let most = Duration::from_nanos(if succeeds { u64::MAX } else { 1 });
        let mut has_spun = || {
            spun.set(0);
            spinner.spin(most, &clock, is_there);
            spun.get() > 0
        };
        (0..waits).filter(|_| has_spun()).collect()
    }

    #[test]
    fn one_in_vain_changes_nothing_and_many_end_in_one_of_sixteen() {
        let mut spinner = Spinner::new();
        assert_eq!(spins(&mut spinner, 60, false), [0, 1, 3, 7, 15, 31, 47]);
        let mut spinner = Spinner::new();
        spins(&mut spinner, 1, false);
        assert_eq!(spins(&mut spinner, 2, true), [0, 1]);
    }

    #[test]
    fn a_success_makes_up_for_all_in_vain() {
        let mut spinner = Spinner::new();
        spins(&mut spinner, 31, false);
        assert_eq!(spins(&mut spinner, 3, true), [0, 1, 2]);
        assert_eq!(spins(&mut spinner, 9, false), [0, 1, 3, 7]);
    }

    #[test]
    fn ends_where_the_clock_stands_still() {
        let mut spinner = Spinner::new();
        spinner.spin(Duration::from_micros(120), &SimClock::new(), || false);
    }

    #[test]
    fn no_time_is_no_wait_at_all() {
        let mut spinner = Spinner::new();
        let never = || unreachable!("it does not even look");
        spinner.spin(Duration::ZERO, &SystemClock::default(), never);
    }
}
