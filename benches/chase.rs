//! Measures the chaser's step over a disk in memory: read back what became durable, check it, index
//! it, release the acks. No thread waits for them.

#[path = "common/stepped.rs"]
mod stepped;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn chase(c: &mut Criterion) {
    let mut group = c.benchmark_group("chase");
    for appends in [1, 8, 64, 512] {
        group.throughput(Throughput::Elements(appends));
        group.bench_function(BenchmarkId::new("appends of 256 bytes", appends), |b| {
            b.iter_custom(|times| stepped::groups(appends, times).chaser);
        });
    }
    group.finish();
}

criterion_group!(benches, chase);
criterion_main!(benches);
