//! Owns how a histogram of times stands in a report: named percentiles for people, and a ladder
//! fine enough to draw the curve of latency by percentile.
//!
//! Promises: all samples are in it, each to three significant digits; beside every percentile
//! stands the number of samples that it rests on. No mean is offered.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Longest time that is told apart from a longer one, and what stands for an answer that never
/// came: one hour.
pub(in super::super) const TIME_NS_MAX: u64 = 3_600_000_000_000;
/// The percentiles that people read.
pub(in super::super) const NAMED: [f64; 7] = [50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 100.0];
/// Rungs of the ladder each time that the distance to 100 % halves.
const TICKS: u32 = 10;

/// An empty histogram of nanoseconds, of three significant digits.
pub(in super::super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, TIME_NS_MAX, 3).expect("these bounds and digits are allowed")
}

/// How times were spread.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in super::super) struct Distribution {
    pub(in super::super) samples: u64,
    pub(in super::super) min_ns: u64,
    pub(in super::super) max_ns: u64,
    /// At 50, 90, 99, 99.9, 99.99, 99.999 and 100 percent.
    pub(in super::super) named: Vec<Rung>,
    /// From 0 to 100 percent, ten rungs each time that the distance to 100 halves.
    pub(in super::super) ladder: Vec<Rung>,
}

/// One percentile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in super::super) struct Rung {
    pub(in super::super) percentile: f64,
    pub(in super::super) value_ns: u64,
    /// Samples of at most this value.
    pub(in super::super) count: u64,
}

impl Distribution {
    /// The spread of a histogram of nanoseconds.
    pub(in super::super) fn of(nanos: &Histogram<u64>) -> Self {
        if nanos.is_empty() {
            return Self::default();
        }
        let named = NAMED.map(|percentile| {
            let value_ns = nanos.value_at_quantile(percentile / 100.0);
            Rung { percentile, value_ns, count: nanos.count_between(0, value_ns) }
        });
        let mut count = 0;
        let ladder = nanos.iter_quantiles(TICKS).map(|step| {
            count += step.count_since_last_iteration();
            let percentile = step.quantile_iterated_to() * 100.0;
            Rung { percentile, value_ns: step.value_iterated_to(), count }
        });
        Self {
            samples: nanos.len(),
            min_ns: nanos.min(),
            max_ns: nanos.max(),
            named: named.into(),
            ladder: ladder.collect(),
        }
    }

    /// The value at one of the named percentiles; 0 where nothing was measured.
    pub(in super::super) fn at(&self, percentile: f64) -> u64 {
        let rung = self.named.iter().find(|rung| rung.percentile >= percentile);
        rung.map_or(0, |rung| rung.value_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: u64, expected: u64) -> bool {
        found.abs_diff(expected) <= expected / 1000
    }

    fn thousandfold(samples: u64) -> Distribution {
        let mut nanos = histogram();
        (1..=samples).for_each(|micros| nanos.saturating_record(micros * 1_000));
        Distribution::of(&nanos)
    }

    #[test]
    fn percentiles_are_those_of_the_samples() {
        let found = thousandfold(10_000);
        let expected = [(50.0, 5_000_000), (90.0, 9_000_000), (99.9, 9_990_000)];
        for (percentile, nanos) in expected {
            assert!(close(found.at(percentile), nanos), "{percentile}: {found:?}");
        }
        assert!(close(found.max_ns, 10_000_000) && found.at(100.0) == found.max_ns);
        assert_eq!((found.samples, found.min_ns / 1_000), (10_000, 1));
        for rung in &found.named {
            let counted = rung.count as f64 / 100.0;
            assert!((counted - rung.percentile).abs() < 0.1, "{rung:?}");
        }
        assert_eq!(Distribution::of(&histogram()).at(50.0), 0);
    }

    #[test]
    fn the_ladder_climbs_to_the_last_sample() {
        let found = thousandfold(100_000);
        assert!(found.ladder.len() > 100, "{} rungs", found.ladder.len());
        assert!(found.ladder.is_sorted_by_key(|rung| (rung.value_ns, rung.count)));
        let last = found.ladder.last().unwrap();
        assert_eq!((last.percentile, last.count), (100.0, 100_000));
        assert!(close(last.value_ns, found.max_ns));
    }

    #[test]
    fn a_time_beyond_the_bound_is_kept() {
        let mut nanos = histogram();
        nanos.saturating_record(u64::MAX);
        assert!(Distribution::of(&nanos).max_ns >= TIME_NS_MAX);
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let found = thousandfold(5_000);
        let text = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Distribution>(&text).unwrap(), found);
    }
}
