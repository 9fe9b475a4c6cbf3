//! Measures reading a stream of 100 events that lie 1,000 events apart, in all chunks: the whole of
//! it, its last ten, and its version alone.

#[path = "common/filled.rs"]
mod filled;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use filled::{EVENTS, STREAMS, stream};
use paperchase::StreamVersion;

fn stream_read(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = filled::filled(folder.path()).expect("a log on a sound disk");
    let each = EVENTS / STREAMS;
    let names: Vec<_> = (0..STREAMS).map(stream).collect();
    let mut next = names.iter().cycle();
    let mut name = || next.next().expect("an endless list");
    let count = |name: &str, from: u64| {
        let events = log.read_stream(name, StreamVersion::new(from)..).expect("a sound log");
        let versions = events.map(|event| event.expect("a sound event").version().get());
        assert!(versions.eq(from..each), "{name} from {from}");
    };
    let mut group = c.benchmark_group("stream_read");
    group.throughput(Throughput::Elements(each));
    group.bench_function("whole", |b| b.iter(|| count(name(), 0)));
    group.throughput(Throughput::Elements(10));
    group.bench_function("its last ten", |b| b.iter(|| count(name(), each - 10)));
    group.throughput(Throughput::Elements(1));
    group.bench_function("its version", |b| {
        let last = Some(StreamVersion::new(each - 1));
        b.iter(|| assert_eq!(log.view().stream_version(name()).expect("a sound log"), last));
    });
    group.finish();
    log.close().expect("a sound log");
}

criterion_group!(benches, stream_read);
criterion_main!(benches);
