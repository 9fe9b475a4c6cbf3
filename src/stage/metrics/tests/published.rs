//! Tests of the bridge to the facade `metrics`, with a recorder that keeps what it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    with_local_recorder,
};

use super::super::publish::MetricsPublisher;
use super::super::table::METRICS;
use super::stats;
use crate::stage::stats::Stats;

#[derive(Default)]
struct Kept {
    described: Mutex<BTreeMap<String, Unit>>,
    counters: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    gauges: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
}

impl Kept {
    fn describe(&self, name: &KeyName, unit: Option<Unit>) {
        let unit = unit.expect("every metric has a unit");
        let before = self.described.lock().unwrap().insert(name.as_str().to_owned(), unit);
        assert!(before.is_none(), "{name:?} is described twice");
    }

    fn counter(&self, key: &str) -> u64 {
        self.counters.lock().unwrap()[key].load(Ordering::SeqCst)
    }

    fn gauge(&self, key: &str) -> f64 {
        f64::from_bits(self.gauges.lock().unwrap()[key].load(Ordering::SeqCst))
    }
}

fn written(key: &Key) -> String {
    let labels = key.labels().map(|label| format!("{}={}", label.key(), label.value()));
    format!("{}{{{}}}", key.name(), labels.collect::<Vec<_>>().join(","))
}

impl Recorder for Kept {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(&name, unit);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(&name, unit);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        panic!("{name:?}: single samples are not given");
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let mut counters = self.counters.lock().unwrap();
        Counter::from_arc(Arc::clone(counters.entry(written(key)).or_default()))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let mut gauges = self.gauges.lock().unwrap();
        Gauge::from_arc(Arc::clone(gauges.entry(written(key)).or_default()))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        panic!("{key}: single samples are not given");
    }
}

#[test]
fn a_recorder_gets_every_metric_by_its_name() {
    let kept = Kept::default();
    let mut publisher = MetricsPublisher::new("shop");
    with_local_recorder(&kept, || publisher.publish(&stats()));
    let names: BTreeSet<_> = METRICS.iter().map(|metric| metric.name.to_owned()).collect();
    let described = kept.described.lock().unwrap();
    assert_eq!(described.keys().cloned().collect::<BTreeSet<_>>(), names);
    assert_eq!(described["paperchase_stage_busy_seconds_total"], Unit::Seconds);
    assert_eq!(described["paperchase_disk_written_bytes_total"], Unit::Bytes);
    assert_eq!(described["paperchase_queue_length"], Unit::Count);
    assert_eq!(kept.counter("paperchase_disk_flushes_total{log=shop,reason=idle}"), 4);
    assert_eq!(kept.counter("paperchase_disk_sync_seconds_count{log=shop}"), 100);
    assert_eq!(kept.gauge("paperchase_disk_sync_seconds_sum{log=shop}"), 0.8);
    assert_eq!(kept.gauge("paperchase_disk_sync_seconds{log=shop,quantile=0.5}"), 0.008);
    assert_eq!(kept.gauge("paperchase_disk_flush_events{log=shop,quantile=1}"), 30_000.0);
    let busy = "paperchase_stage_busy_seconds_total{log=shop,stage=keeper}";
    assert_eq!(kept.gauge(busy), 0.125);
}

#[test]
fn counters_grow_by_what_was_counted_between_also_when_the_log_was_opened_again() {
    let kept = Kept::default();
    let mut publisher = MetricsPublisher::new("");
    let events = "paperchase_disk_events_total{}";
    let mut publish = |events: u64, uptime: u64| {
        let mut stats = Stats { uptime: Duration::from_secs(uptime), ..stats() };
        stats.disk.events = events;
        with_local_recorder(&kept, || publisher.publish(&stats));
    };
    for (told, uptime, expected) in [(5, 1, 5), (7, 2, 7), (7, 3, 7), (2, 1, 9), (3, 2, 10)] {
        publish(told, uptime);
        assert_eq!(kept.counter(events), expected);
    }
    // Nothing was synced since the last call.
    assert_eq!(kept.gauge("paperchase_disk_sync_seconds{quantile=0.5}"), 0.0);
    assert_eq!(kept.counter("paperchase_disk_sync_seconds_count{}"), 200);
}
