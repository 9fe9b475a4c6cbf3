//! Owns time and fresh ids: the only place that asks the operating system for either.
//!
//! Promises: monotonic time for durations, wall time for records. Wall time may jump; the writer
//! clamps it, so record times never run backwards (F65). Nothing is ever ordered by a clock.

use std::fmt;
#[cfg(any(test, feature = "sim"))]
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

/// A source of time, so that tests can own it.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Time since an arbitrary fixed instant; never runs backwards.
    fn monotonic(&self) -> Duration;
    /// Time of day.
    fn wall(&self) -> Timestamp;
}

/// The clocks of the operating system.
#[derive(Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl Default for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the place that the ban points to")]
    fn default() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the place that the ban points to")]
    fn wall(&self) -> Timestamp {
        Timestamp::from(SystemTime::now())
    }
}

/// Clocks that stand still until they are told otherwise.
#[cfg(any(test, feature = "sim"))]
#[derive(Debug, Default)]
pub struct SimClock {
    monotonic_nanos: AtomicU64,
    wall_nanos: AtomicU64,
}

#[cfg(any(test, feature = "sim"))]
impl SimClock {
    /// Both clocks at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves both clocks on.
    pub fn advance(&self, time: Duration) {
        let nanos = nanos_of(time);
        self.monotonic_nanos.fetch_add(nanos, Ordering::AcqRel);
        self.wall_nanos.fetch_add(nanos, Ordering::AcqRel);
    }

    /// Moves the monotonic clock on to `time`; an earlier time changes nothing.
    pub fn set_monotonic(&self, time: Duration) {
        self.monotonic_nanos.fetch_max(nanos_of(time), Ordering::AcqRel);
    }

    /// Sets the time of day, backwards too: real ones do that (F65).
    pub fn set_wall(&self, time: Timestamp) {
        self.wall_nanos.store(time.as_nanos(), Ordering::Release);
    }
}

#[cfg(any(test, feature = "sim"))]
impl Clock for SimClock {
    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.monotonic_nanos.load(Ordering::Acquire))
    }

    fn wall(&self) -> Timestamp {
        Timestamp::from_nanos(self.wall_nanos.load(Ordering::Acquire))
    }
}

#[cfg(any(test, feature = "sim"))]
fn nanos_of(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A fresh time-ordered id (UUID version 7), random within its millisecond, so that threads that
/// make ids share nothing.
pub(crate) fn fresh_id() -> Uuid {
    Uuid::new_v7(uuid::Timestamp::now(uuid::NoContext))
}

/// A fresh random id (UUID version 4), unguessable.
pub(crate) fn fresh_log_id() -> Uuid {
    Uuid::new_v4()
}

/// Time of day in nanoseconds since 1970-01-01 UTC.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use paperchase::Timestamp;
/// let time = Timestamp::from_nanos(1_500_000_000);
/// assert_eq!(time.to_system_time(), UNIX_EPOCH + Duration::from_millis(1_500));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The time this many nanoseconds after 1970-01-01 UTC.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time that lies so much earlier, at the earliest 1970.
    pub(crate) fn before(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(nanos))
    }

    /// The same time in the standard library's type.
    #[must_use]
    pub fn to_system_time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.0)
    }
}

impl From<SystemTime> for Timestamp {
    /// Times outside 1970..=2554 are clamped to that range.
    fn from(time: SystemTime) -> Self {
        let nanos = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        Self(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simulated_clocks_move_only_when_told() {
        let clock = SimClock::new();
        clock.advance(Duration::from_millis(3));
        assert_eq!(clock.monotonic(), Duration::from_millis(3));
        assert_eq!(clock.wall(), Timestamp::from_nanos(3_000_000));
        clock.set_wall(Timestamp::from_nanos(1));
        clock.set_monotonic(Duration::from_millis(2));
        assert_eq!(clock.wall(), Timestamp::from_nanos(1), "the time of day may jump back");
        assert_eq!(clock.monotonic(), Duration::from_millis(3), "monotonic time never does");
        clock.set_monotonic(Duration::from_secs(1));
        assert_eq!(clock.monotonic(), Duration::from_secs(1));
    }
}
