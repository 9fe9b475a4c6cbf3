//! Measures the writer's step over a disk in memory: take what waits, decide, number, frame, write,
//! sync. The disk's own bookkeeping is in it, some microseconds a group.

#[path = "common/stepped.rs"]
mod stepped;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn gather(c: &mut Criterion) {
    let mut group = c.benchmark_group("gather");
    for appends in [1, 8, 64, 512] {
        group.throughput(Throughput::Elements(appends));
        group.bench_function(BenchmarkId::new("appends of 256 bytes", appends), |b| {
            b.iter_custom(|times| stepped::groups(appends, times).writer);
        });
    }
    group.finish();
}

criterion_group!(benches, gather);
criterion_main!(benches);
