//! Measures reading all events, forwards and backwards, each checked, from sealed chunks that are
//! in memory.

#[path = "common/filled.rs"]
mod filled;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use filled::EVENTS;
use paperchase::RecordedEvent;

/// The number that an event carries.
fn number(event: &RecordedEvent) -> u64 {
    event.data().first_chunk().map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes))
}

fn scan(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = filled::filled(folder.path()).expect("a log on a sound disk");
    let mut group = c.benchmark_group("scan");
    group.throughput(Throughput::Elements(EVENTS)).sample_size(20);
    group.bench_function("forwards", |b| {
        b.iter(|| {
            let events = log.read_all(..).expect("a sound log");
            let wrong = (0..)
                .zip(events)
                .filter(|(at, event)| !event.as_ref().is_ok_and(|event| number(event) == *at));
            assert_eq!(wrong.count(), 0);
        });
    });
    group.bench_function("backwards", |b| {
        b.iter(|| {
            let events = log.read_all(..).expect("a sound log").rev();
            let sum = |sum: u64, event: paperchase::Result<RecordedEvent>| {
                sum + number(&event.expect("a sound event"))
            };
            assert_eq!(events.fold(0, sum), EVENTS * (EVENTS - 1) / 2);
        });
    });
    group.finish();
    log.close().expect("a sound log");
}

criterion_group!(benches, scan);
criterion_main!(benches);
