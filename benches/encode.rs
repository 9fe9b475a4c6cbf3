//! Measures the encoding of an event with its checksum, which a client's thread does: by the size
//! of its data, and with metadata and tags.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use paperchase::measuring::Encoder;
use paperchase::{ContentKind, NewEvent};

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    let encoder = Encoder::new();
    let mut out = Vec::new();
    let mut measure = |name: &str, event: NewEvent| {
        let size = event.data().len();
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new(name, size), |b| {
            b.iter(|| {
                out.clear();
                assert!(encoder.encode(&mut out, "cart-1234567", black_box(&event)));
                assert!(out.len() > size && out.len() < size + 256);
            });
        });
        assert!(out.windows(size.max(1)).any(|part| part == event.data()), "the data is in it");
    };
    for size in [16, 256, 4096, 65_536] {
        measure("plain", NewEvent::new("ItemAdded", vec![7; size]));
    }
    let event = NewEvent::new("ItemAdded", vec![7; 256]);
    let event = event.metadata([9; 64], ContentKind::Bytes).tag("warehouse:7").tag("user:12");
    measure("metadata and two tags", event);
    group.finish();
}

criterion_group!(benches, encode);
criterion_main!(benches);
