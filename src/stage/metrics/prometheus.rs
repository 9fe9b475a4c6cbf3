//! Owns the rendering of a snapshot as text in the exposition format of Prometheus, version 0.0.4.
//!
//! Promises: what it gives is valid whatever the log is called, and counters and buckets of later
//! snapshots of the same log are never lower. Needs nothing but the snapshot; serves nothing.

use std::fmt::{self, Display, Write};

use super::table::METRICS;
use super::{LOG, Metric, Value};
use crate::stage::stats::Stats;

impl Stats {
    /// The snapshot as Prometheus text, version 0.0.4 (`text/plain; version=0.0.4`): an answer to a
    /// scrape, or a file for the textfile collector of the node exporter. `docs/insight.md` lists
    /// the metrics. Each sample has the label `log` with this name, unless that is empty.
    ///
    /// ```
    /// # use paperchase::{Expected, Log, NewEvent};
    /// # let dir = tempfile::tempdir()?;
    /// # let log = Log::open(dir.path())?;
    /// log.append("cart-7", Expected::Any, [NewEvent::new("ItemAdded", "1")])?.wait()?;
    /// let text = log.stats().prometheus("shop");
    /// assert!(text.contains("\npaperchase_disk_events_total{log=\"shop\"} 1\n"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn prometheus(&self, log: &str) -> String {
        Self::prometheus_of([(log, self)])
    }

    /// Snapshots of several logs as one Prometheus text, each under a name of its own: the texts
    /// of single logs would not be valid behind each other.
    #[must_use]
    pub fn prometheus_of<'a>(logs: impl IntoIterator<Item = (&'a str, &'a Self)>) -> String {
        let logs: Vec<_> = logs.into_iter().collect();
        let mut text = String::new();
        for metric in METRICS {
            // Writing to a string never fails.
            _ = family(&mut text, metric, &logs);
        }
        text
    }
}

fn family(text: &mut String, metric: &Metric, logs: &[(&str, &Stats)]) -> fmt::Result {
    let Metric { name, kind, label, help, read } = metric;
    writeln!(text, "# HELP {name} {help}.\n# TYPE {name} {}", kind.name())?;
    for (log, stats) in logs {
        for (value, sample) in read(stats) {
            let mut line = |suffix: &str, bound: &str, number: &dyn Display| {
                let labels = Labels([(LOG, *log), (*label, value), ("le", bound)]);
                writeln!(text, "{name}{suffix}{labels} {number}")
            };
            match (sample, sample.distribution()) {
                (_, Some(all)) => {
                    for (bound, count) in &all.up_to {
                        line("_bucket", &bound.to_string(), count)?;
                    }
                    line("_bucket", "+Inf", &all.count)?;
                    line("_sum", "", &all.sum)?;
                    line("_count", "", &all.count)?;
                }
                (Value::Count(count), None) => line("", "", &count)?,
                (Value::Number(number), None) => line("", "", &number)?,
                (Value::Times(_) | Value::Counts(_), None) => {}
            }
        }
    }
    Ok(())
}

/// Labels in braces; those without a value are left out, which means the same.
struct Labels<'a>([(&'a str, &'a str); 3]);

impl Display for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = '{';
        for (name, value) in self.0.iter().filter(|(_, value)| !value.is_empty()) {
            write!(f, "{before}{name}=\"")?;
            for letter in value.chars() {
                match letter {
                    '\\' => f.write_str("\\\\")?,
                    '"' => f.write_str("\\\"")?,
                    '\n' => f.write_str("\\n")?,
                    other => f.write_char(other)?,
                }
            }
            f.write_char('"')?;
            before = ',';
        }
        if before == ',' { f.write_char('}') } else { Ok(()) }
    }
}
