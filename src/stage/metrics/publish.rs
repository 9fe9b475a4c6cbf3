//! Owns the bridge to the facade `metrics`: it hands snapshots to the recorder that the program has
//! installed.
//!
//! Promises: the same names as everywhere. Runs on the caller's thread alone, so that a slow
//! recorder holds up no stage. Never installs a recorder.

use ::metrics::{
    Key, KeyName, Label, Level, Metadata, Recorder, SharedString, Unit, with_recorder,
};

use super::table::METRICS;
use super::{Kind, LOG, Metric, Value, float};
use crate::stage::stats::Stats;

static METADATA: Metadata<'static> = Metadata::new("paperchase", Level::INFO, None);

/// The parts of a distribution that recorders get, in percent.
const QUANTILES: [(&str, f64); 5] =
    [("0.5", 50.0), ("0.9", 90.0), ("0.99", 99.0), ("0.999", 99.9), ("1", 100.0)];

/// Hands the figures of one log to the recorder of the crate `metrics`.
///
/// Counters of whole numbers are increased by what was counted since the last call, those of
/// seconds are gauges with the sum, because the facade has no counters of fractions. The facade
/// takes single samples only, of which a log has millions a second: so each histogram comes as
/// gauges with a label `quantile`, over the time since the last call and 0 where nothing was seen
/// then, with a counter `_count` and a gauge `_sum`. [`Stats::prometheus`] has whole histograms.
///
/// ```
/// # use paperchase::{Expected, Log, NewEvent};
/// use paperchase::MetricsPublisher;
/// # let dir = tempfile::tempdir()?;
/// # let log = Log::open(dir.path())?;
///
/// let mut publisher = MetricsPublisher::new("shop");
/// // Once a second, from a thread or a task of the program's:
/// publisher.publish(&log.stats());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct MetricsPublisher {
    log: String,
    earlier: Stats,
    is_described: bool,
}

impl MetricsPublisher {
    /// A publisher for one log. Each metric gets the label `log` with this name, unless that is
    /// empty.
    #[must_use]
    pub fn new(log: impl Into<String>) -> Self {
        Self { log: log.into(), earlier: Stats::default(), is_described: false }
    }

    /// Hands a snapshot to the current recorder. Once a second is often enough. The first call also
    /// describes the metrics, so a recorder is installed before it.
    ///
    /// A log that was opened again may be published by the same publisher: its counters go on.
    pub fn publish(&mut self, stats: &Stats) {
        if stats.uptime < self.earlier.uptime {
            self.earlier = Stats::default();
        }
        let between = stats.since(&self.earlier);
        with_recorder(|recorder| {
            for metric in METRICS {
                if !self.is_described {
                    describe(recorder, metric);
                }
                let samples = (metric.read)(stats).into_iter().zip((metric.read)(&between));
                for ((value, now), (_, grown)) in samples {
                    let key = [(LOG, self.log.as_str()), (metric.label, value)];
                    Publication { recorder, metric, key }.publish(now, grown);
                }
            }
        });
        self.is_described = true;
        self.earlier = stats.clone();
    }
}

fn describe(recorder: &dyn Recorder, metric: &Metric) {
    let (name, help) = (KeyName::from(metric.name), SharedString::from(metric.help));
    let unit = match metric.name {
        name if name.contains("_seconds") => Unit::Seconds,
        name if name.contains("_bytes") => Unit::Bytes,
        _ => Unit::Count,
    };
    let is_counter = metric.kind == Kind::Counter && unit != Unit::Seconds;
    if is_counter {
        recorder.describe_counter(name, Some(unit), help);
    } else {
        recorder.describe_gauge(name, Some(unit), help);
    }
}

/// One sample on its way to a recorder.
struct Publication<'a> {
    recorder: &'a dyn Recorder,
    metric: &'a Metric,
    key: [(&'static str, &'a str); 2],
}

impl Publication<'_> {
    fn publish(&self, now: Value<'_>, grown: Value<'_>) {
        match (now, grown) {
            (Value::Count(_), Value::Count(grown)) if self.metric.kind == Kind::Counter => {
                self.count("", grown);
            }
            (Value::Count(count), _) => self.set("", None, float(count)),
            (Value::Number(number), _) => self.set("", None, number),
            (_, Value::Times(times)) => {
                self.distribution(&now, &grown, |percent| times.percentile(percent).as_secs_f64());
            }
            (_, Value::Counts(counts)) => {
                self.distribution(&now, &grown, |percent| float(counts.percentile(percent)));
            }
            (Value::Times(_) | Value::Counts(_), _) => {}
        }
    }

    fn distribution(&self, now: &Value<'_>, grown: &Value<'_>, at: impl Fn(f64) -> f64) {
        for (quantile, percent) in QUANTILES {
            self.set("", Some(quantile), at(percent));
        }
        if let (Some(now), Some(grown)) = (now.distribution(), grown.distribution()) {
            self.count("_count", grown.count);
            self.set("_sum", None, now.sum);
        }
    }

    fn count(&self, suffix: &str, grown: u64) {
        self.recorder.register_counter(&self.key(suffix, None), &METADATA).increment(grown);
    }

    fn set(&self, suffix: &str, quantile: Option<&'static str>, value: f64) {
        self.recorder.register_gauge(&self.key(suffix, quantile), &METADATA).set(value);
    }

    fn key(&self, suffix: &str, quantile: Option<&'static str>) -> Key {
        let given = self.key.iter().filter(|(_, value)| !value.is_empty());
        let labels = given.map(|(name, value)| Label::new(*name, (*value).to_owned()));
        let quantile = quantile.map(|quantile| Label::new("quantile", quantile));
        let labels: Vec<_> = labels.chain(quantile).collect();
        match suffix {
            "" => Key::from_parts(self.metric.name, labels),
            _ => Key::from_parts(format!("{}{suffix}", self.metric.name), labels),
        }
    }
}
