//! Owns histograms: how often which time, or which count, was seen, in buckets of fixed bounds.
//!
//! Promises: recording takes no lock, no allocation and no call: some loads and stores. A bucket is
//! a sixteenth of a power of two wide, so what is read from one is at most 6.25 % above what was
//! recorded. The sum and the greatest are exact. A snapshot counts what its buckets hold; the sum
//! may hold samples of the same moment more.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Whether anything is measured beyond plain counts. `RUSTFLAGS="--cfg paperchase_unmeasured"`
/// builds without, which is how one finds what measuring costs.
pub(crate) const IS_MEASURED: bool = cfg!(not(paperchase_unmeasured));

/// Buckets per power of two, as a power of two.
const SPLIT_BITS: u32 = 4;
/// Below this, in nanoseconds, nothing is told apart.
const LEAST_BITS: u32 = 6;
/// From this on, 68.7 s, nothing is told apart either.
const MOST_BITS: u32 = 36;
/// All buckets, with one below the bounds and one above.
pub(crate) const BUCKETS: usize = (((MOST_BITS - LEAST_BITS) << SPLIT_BITS) + 2) as usize;

/// The bucket of a value.
fn bucket_of(value: u64) -> usize {
    let bits = u64::BITS - value.leading_zeros();
    if bits <= LEAST_BITS {
        return 0;
    }
    if bits > MOST_BITS {
        return BUCKETS - 1;
    }
    let octave = bits - 1;
    let part = (value >> (octave - SPLIT_BITS)) & ((1 << SPLIT_BITS) - 1);
    1 + (((octave - LEAST_BITS) << SPLIT_BITS) as usize) + part as usize
}

/// The greatest value of a bucket.
fn bucket_end(bucket: usize) -> u64 {
    match bucket.checked_sub(1) {
        None => (1 << LEAST_BITS) - 1,
        Some(_) if bucket == BUCKETS - 1 => u64::MAX,
        Some(index) => {
            let octave = LEAST_BITS + (index >> SPLIT_BITS) as u32;
            let part = (index & ((1 << SPLIT_BITS) - 1)) as u64;
            (1 << octave) + ((part + 1) << (octave - SPLIT_BITS)) - 1
        }
    }
}

/// Nanoseconds of a time.
pub(crate) fn nanos(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000_000).saturating_add(time.subsec_nanos().into())
}

/// A histogram that is being recorded. Either one thread at a time records, by
/// [`Recorder::record`], or any number of them, by [`Recorder::record_beside`].
#[derive(Debug)]
pub(crate) struct Recorder {
    buckets: Box<[AtomicU64]>,
    total: AtomicU64,
    max: AtomicU64,
}

impl Default for Recorder {
    fn default() -> Self {
        let buckets = (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
        Self { buckets, total: AtomicU64::new(0), max: AtomicU64::new(0) }
    }
}

impl Recorder {
    /// Records a time.
    pub(crate) fn record(&self, time: Duration) {
        self.record_many(time, 1);
    }

    /// Records the same time for so many.
    pub(crate) fn record_many(&self, time: Duration, count: u64) {
        self.add(nanos(time), count);
    }

    /// Records a count, which is kept as 64 times as many: small ones are told apart too.
    pub(crate) fn record_count(&self, count: u64) {
        self.add(count.saturating_mul(1 << LEAST_BITS), 1);
    }

    fn add(&self, value: u64, count: u64) {
        if !IS_MEASURED || count == 0 {
            return;
        }
        // One writer: plain loads and stores cost less than atomic additions and lose nothing. The
        // bucket last, so that whoever sees it counted sees it in the sum.
        let sum = self.total.load(Ordering::Relaxed);
        self.total.store(sum.wrapping_add(value.wrapping_mul(count)), Ordering::Relaxed);
        if value > self.max.load(Ordering::Relaxed) {
            self.max.store(value, Ordering::Relaxed);
        }
        let bucket = &self.buckets[bucket_of(value)];
        bucket.store(bucket.load(Ordering::Relaxed).wrapping_add(count), Ordering::Release);
    }

    /// Records a time, beside other threads that do.
    pub(crate) fn record_beside(&self, time: Duration) {
        if IS_MEASURED {
            let value = nanos(time);
            self.total.fetch_add(value, Ordering::Relaxed);
            // A longest one is rare: a look costs less than an atomic change.
            if value > self.max.load(Ordering::Relaxed) {
                self.max.fetch_max(value, Ordering::Relaxed);
            }
            self.buckets[bucket_of(value)].fetch_add(1, Ordering::Release);
        }
    }

    /// What was recorded so far.
    pub(crate) fn snapshot(&self) -> Histogram {
        let buckets = self.buckets.iter().map(|bucket| bucket.load(Ordering::Acquire)).collect();
        let total = self.total.load(Ordering::Relaxed);
        Histogram::new(buckets, total, self.max.load(Ordering::Relaxed))
    }
}

/// How often which time was seen: 16 buckets per power of two from 64 ns to 68 s, so that a
/// percentile is at most 6.25 % too long and never too short.
///
/// ```
/// # use paperchase::{Expected, Log, NewEvent};
/// # let dir = tempfile::tempdir()?;
/// # let log = Log::open(dir.path())?;
/// let before = log.stats();
/// log.append("cart-7", Expected::Any, [NewEvent::new("ItemAdded", "1")])?.wait()?;
/// let syncs = log.stats().disk.syncs.since(&before.disk.syncs);
/// println!("{} syncs, the median took {:?}", syncs.count(), syncs.percentile(50.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Empty where nothing was seen, so that equal histograms are equal.
    pub(crate) buckets: Vec<u64>,
    pub(crate) total: u64,
    pub(crate) max: u64,
}

impl Histogram {
    pub(crate) fn new(buckets: Vec<u64>, total: u64, max: u64) -> Self {
        let is_empty = buckets.iter().all(|count| *count == 0);
        if is_empty { Self::default() } else { Self { buckets, total, max } }
    }

    /// How many times were seen.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Each time that was seen, in nanoseconds, and how often: the greatest of its bucket.
    #[cfg(feature = "cli")]
    pub(crate) fn counts(&self) -> impl Iterator<Item = (u64, u64)> {
        let told = self.buckets.iter().enumerate().filter(|(_, count)| **count > 0);
        told.map(|(bucket, count)| (bucket_end(bucket).min(self.max), *count))
    }

    /// How many were at most so many nanoseconds; what is in the bucket of that time but not at its
    /// end counts as longer. A later snapshot never says less.
    pub(crate) fn up_to(&self, nanos: u64) -> u64 {
        let below = self.buckets.iter().enumerate();
        let below = below.take_while(|(bucket, _)| bucket_end(*bucket) <= nanos);
        below.fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// The sum of all of them.
    #[must_use]
    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.total)
    }

    /// Their mean; zero where none was seen.
    #[must_use]
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.total.checked_div(self.count()).unwrap_or(0))
    }

    /// The longest: exact since the log was opened, and otherwise the end of its bucket.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    /// The time that so many percent of all did not exceed; zero where none was seen.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Duration {
        Duration::from_nanos(self.value_at(percent))
    }

    /// What was seen since an earlier snapshot of the same histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut buckets = self.buckets.clone();
        for (count, before) in buckets.iter_mut().zip(&earlier.buckets) {
            *count = count.saturating_sub(*before);
        }
        let last = buckets.iter().rposition(|count| *count > 0);
        // A maximum cannot be subtracted, but the longest is in the last bucket.
        let max = last.map_or(0, |bucket| bucket_end(bucket).min(self.max));
        Self::new(buckets, self.total.wrapping_sub(earlier.total), max)
    }

    /// What was seen in either.
    #[must_use]
    pub fn merged(&self, other: &Self) -> Self {
        let length = self.buckets.len().max(other.buckets.len());
        let at = |it: &Self, index: usize| it.buckets.get(index).copied().unwrap_or(0_u64);
        let sum = |index| at(self, index).saturating_add(at(other, index));
        let total = self.total.wrapping_add(other.total);
        Self::new((0..length).map(sum).collect(), total, self.max.max(other.max))
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank among samples; casts of floats saturate"
    )]
    fn value_at(&self, percent: f64) -> u64 {
        let count = self.count();
        let rank = ((percent / 100.0 * count as f64).ceil() as u64).clamp(1, count.max(1));
        let mut seen = 0_u64;
        for (bucket, times) in self.buckets.iter().enumerate() {
            seen = seen.saturating_add(*times);
            if seen >= rank {
                return bucket_end(bucket).min(self.max);
            }
        }
        self.max
    }
}

/// How often which count was seen, such as events per flush. Exact below 32, and then at most
/// 6.25 % too high.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CountHistogram(pub(crate) Histogram);

impl CountHistogram {
    /// How many counts were seen.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.count()
    }

    /// How many were at most so great, as [`Histogram::up_to`].
    pub(crate) fn up_to(&self, count: u64) -> u64 {
        self.0.up_to(count.saturating_add(1).saturating_mul(1 << LEAST_BITS) - 1)
    }

    /// The sum of all of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.total >> LEAST_BITS
    }

    /// Their mean; zero where none was seen.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a mean for people")]
    pub fn mean(&self) -> f64 {
        self.total() as f64 / self.count().max(1) as f64
    }

    /// The greatest.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.0.max >> LEAST_BITS
    }

    /// The count that so many percent of all did not exceed; zero where none was seen.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> u64 {
        self.0.value_at(percent) >> LEAST_BITS
    }

    /// What was seen since an earlier snapshot of the same histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self(self.0.since(&earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_a_bucket_that_is_narrow() {
        let mut last = 0;
        for bits in 0..64 {
            for value in [0, 1, 7, 15].map(|part| (1_u64 << bits) | (part << bits >> 4)) {
                let bucket = bucket_of(value);
                assert!(bucket >= last && bucket < BUCKETS, "{value}");
                last = bucket;
                assert!(bucket_end(bucket) >= value, "{value}");
                if (LEAST_BITS..MOST_BITS).contains(&bits) {
                    assert!(bucket_end(bucket) - value <= value / 16, "{value}");
                    assert_eq!(bucket_of(bucket_end(bucket)), bucket);
                    assert_eq!(bucket_of(bucket_end(bucket) + 1), bucket + 1);
                }
            }
        }
        assert_eq!((bucket_of(0), bucket_of(63), bucket_of(64)), (0, 0, 1));
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_those_of_the_samples() {
        let recorder = Recorder::default();
        for micros in 1..=1000 {
            recorder.record(Duration::from_micros(micros));
        }
        let seen = recorder.snapshot();
        assert_eq!((seen.count(), seen.total()), (1000, Duration::from_micros(500_500)));
        assert_eq!((seen.max(), seen.percentile(100.0)), (seen.percentile(100.0), seen.max()));
        for (percent, micros) in [(50.0, 500), (99.0, 990), (0.0, 1)] {
            let (found, exact) = (seen.percentile(percent), Duration::from_micros(micros));
            assert!(found >= exact && found <= exact * 17 / 16, "{percent}: {found:?}");
        }
        assert_eq!(Histogram::default().percentile(99.0), Duration::ZERO);
        assert_eq!(Histogram::default().mean(), Duration::ZERO);
    }

    #[test]
    fn differences_and_sums_are_those_of_the_samples() {
        let recorder = Recorder::default();
        recorder.record_many(Duration::from_millis(5), 3);
        let before = recorder.snapshot();
        assert_eq!(before.since(&before), Histogram::default());
        recorder.record_beside(Duration::from_micros(2));
        let after = recorder.snapshot();
        let between = after.since(&before);
        assert_eq!((between.count(), between.total()), (1, Duration::from_micros(2)));
        assert!(between.max() >= Duration::from_micros(2));
        assert!(between.max() <= Duration::from_nanos(2_125), "{:?}", between.max());
        assert_eq!(after.max(), Duration::from_millis(5));
        let both = before.merged(&between);
        assert_eq!((both.buckets.clone(), both.total), (after.buckets.clone(), after.total));
    }

    #[test]
    fn small_counts_are_exact() {
        let recorder = Recorder::default();
        [0, 1, 1, 16, 1000].into_iter().for_each(|count| recorder.record_count(count));
        let seen = CountHistogram(recorder.snapshot());
        assert_eq!((seen.count(), seen.total(), seen.max()), (5, 1018, 1000));
        assert_eq!([1.0, 50.0, 80.0].map(|percent| seen.percentile(percent)), [0, 1, 16]);
        assert!((1000..1063).contains(&seen.percentile(100.0)));
    }
}
