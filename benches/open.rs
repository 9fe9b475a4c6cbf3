//! Measures opening a log of 100,000 events in chunks of 8 MiB after a clean close: the active
//! chunk is scanned, the others give their footers.

#[path = "common/filled.rs"]
mod filled;

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use filled::EVENTS;

#[expect(clippy::disallowed_methods, reason = "a benchmark measures the time that passes")]
fn timed<T>(took: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *took += start.elapsed();
    result
}

fn open(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = filled::filled(folder.path()).expect("a log on a sound disk");
    log.close().expect("a sound log");
    let mut group = c.benchmark_group("open");
    group.sample_size(20);
    group.bench_function("until it is open", |b| {
        b.iter_custom(|times| {
            let mut took = Duration::ZERO;
            for _ in 0..times {
                let log = timed(&mut took, || filled::open(folder.path()));
                let log = log.expect("a sound log");
                assert_eq!(log.view().end().get(), EVENTS);
                assert!(log.report().chunks > 1);
                log.close().expect("a sound log");
            }
            took
        });
    });
    group.finish();
}

criterion_group!(benches, open);
criterion_main!(benches);
