//! Measures the index of a growing chunk: adding events of few and of many streams, and finding a
//! stream among many.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use paperchase::measuring::Index;

const EVENTS: u64 = 10_000;

fn fill(index: &mut Index, names: &[String]) {
    for (number, name) in (0..EVENTS).zip(names.iter().cycle()) {
        index.insert(name, number / names.len() as u64, "Indexed");
    }
}

fn index(c: &mut Criterion) {
    let mut group = c.benchmark_group("index");
    for streams in [10, 1_000, EVENTS] {
        let names: Vec<_> = (0..streams).map(|number| format!("stream-{number}")).collect();
        let each = usize::try_from(EVENTS / streams).expect("a small number");
        group.throughput(Throughput::Elements(EVENTS));
        group.bench_function(BenchmarkId::new("add 10,000 events, by streams", streams), |b| {
            b.iter_batched_ref(Index::default, |index| fill(index, &names), BatchSize::LargeInput);
        });
        let mut index = Index::default();
        fill(&mut index, &names);
        let mut next = names.iter().cycle();
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new("find one of the streams", streams), |b| {
            b.iter(|| assert_eq!(next.next().map(|name| index.count(name)), Some(each)));
        });
        group.bench_function(BenchmarkId::new("find none, by streams", streams), |b| {
            b.iter(|| assert_eq!(index.count("stream-none"), 0));
        });
    }
    group.finish();
}

criterion_group!(benches, index);
criterion_main!(benches);
