//! Owns what metrics are: a name, a kind, a label, and how the samples follow from a snapshot.
//!
//! Promises: one table (`table.rs`) drives every output, so that a metric is called the same in all
//! of them and in docs/insight.md. Names are by the convention of Prometheus: a prefix, base units
//! (seconds, bytes), `_total` behind what only grows. Never counts.

mod prometheus;
#[cfg(feature = "metrics")]
pub(crate) mod publish;
mod table;
#[cfg(test)]
mod tests;

use crate::stage::histogram::{CountHistogram, Histogram, nanos};
use crate::stage::stats::Stats;

/// The label that names the log, in programs that have several.
const LOG: &str = "log";

/// How the samples of a metric are to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Only grows while the log is open.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How often which value was seen.
    Histogram,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A line of the table.
struct Metric {
    name: &'static str,
    kind: Kind,
    /// The name of the label that tells the samples apart; empty where there is one sample.
    label: &'static str,
    help: &'static str,
    /// The samples, each with the value of the label.
    read: for<'a> fn(&'a Stats) -> Samples<'a>,
}

type Samples<'a> = Vec<(&'static str, Value<'a>)>;

/// A sample, in base units.
#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    Count(u64),
    Number(f64),
    Times(&'a Histogram),
    Counts(&'a CountHistogram),
}

/// Bounds of buckets of times, in nanoseconds: what a write into memory takes, up to a disk that
/// hangs.
const TIME_BOUNDS: [u64; 20] = [
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];
/// Bounds of buckets of counts.
const COUNT_BOUNDS: [u64; 13] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000];

/// Seconds of nanoseconds.
#[expect(clippy::cast_precision_loss, reason = "a float has the precision of the outputs")]
fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

#[expect(clippy::cast_precision_loss, reason = "a float has the precision of the outputs")]
fn float(count: u64) -> f64 {
    count as f64
}

/// A histogram, in base units.
struct Distribution {
    /// Each bound with how many values did not exceed it. A value in the bucket of ours that holds
    /// the bound counts as above it.
    up_to: Vec<(f64, u64)>,
    count: u64,
    sum: f64,
}

impl Value<'_> {
    /// What is seen as a distribution.
    fn distribution(&self) -> Option<Distribution> {
        match self {
            Self::Count(_) | Self::Number(_) => None,
            Self::Times(times) => {
                let up_to = TIME_BOUNDS.map(|bound| (seconds(bound), times.up_to(bound)));
                let sum = seconds(nanos(times.total()));
                Some(Distribution { up_to: up_to.into(), count: times.count(), sum })
            }
            Self::Counts(counts) => {
                let up_to = COUNT_BOUNDS.map(|bound| (float(bound), counts.up_to(bound)));
                let sum = float(counts.total());
                Some(Distribution { up_to: up_to.into(), count: counts.count(), sum })
            }
        }
    }
}
