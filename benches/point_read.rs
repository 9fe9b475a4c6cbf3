//! Measures reading one event by its position, checked, from chunks that are in memory: anywhere,
//! and one behind another.

#[path = "common/filled.rs"]
mod filled;

use criterion::{Criterion, criterion_group, criterion_main};
use filled::EVENTS;
use paperchase::Position;

fn point_read(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = filled::filled(folder.path()).expect("a log on a sound disk");
    let read = |position: u64| {
        let at = Position::new(position);
        let event = log.read_all(at..=at).expect("a sound log").next();
        let event = event.expect("it is there").expect("a sound event");
        assert_eq!(event.position(), at);
        assert_eq!(event.data().first_chunk(), Some(&position.to_le_bytes()));
    };
    let mut group = c.benchmark_group("point_read");
    for (name, stride) in [("anywhere", 38_461), ("the next", 1)] {
        let mut position = 0;
        group.bench_function(name, |b| {
            b.iter(|| {
                position = (position + stride) % EVENTS;
                read(position);
            });
        });
    }
    group.finish();
    log.close().expect("a sound log");
}

criterion_group!(benches, point_read);
criterion_main!(benches);
