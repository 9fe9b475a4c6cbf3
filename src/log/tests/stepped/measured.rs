//! Tests of what a log counts: that a snapshot fits together at any moment, and that the parts of
//! an append's way are the times that passed on it, by a clock that moves only when it is told.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use super::super::{event, open};
use crate::clock::SimClock;
use crate::disk::Disk;
use crate::disk::sim::{Prices, SimDisk};
use crate::event::Expected;
use crate::log::engine::Engine;
use crate::options::Options;
use crate::stage::stats::Stats;

fn check(stats: &Stats) {
    for queue in [&stats.appends, &stats.groups] {
        assert_eq!(queue.pushed, queue.popped + queue.length, "{queue:?}");
        assert!(queue.length <= queue.high_water && queue.high_water <= queue.capacity);
        assert!(queue.waits.count() <= queue.popped);
    }
    assert!(stats.visible <= stats.durable && stats.durable <= stats.written);
    let counts = [
        stats.path.wake.count(),
        stats.path.total.count(),
        stats.path.sync.count(),
        stats.path.gather.count(),
        stats.writer.items,
        stats.appends.popped,
        stats.appends.pushed,
    ];
    assert!(counts.is_sorted(), "{counts:?}");
    let groups = [
        stats.chaser.items,
        stats.groups.popped,
        stats.groups.pushed,
        stats.writer.service.count(),
    ];
    assert!(groups.is_sorted(), "{groups:?}");
    assert!(stats.disk.flushes <= stats.disk.syncs.count() + 1);
    assert!(stats.disk.events_per_flush.total() <= stats.disk.events);
    assert!(stats.disk.groups <= stats.disk.writes.count());
}

#[test]
fn a_snapshot_fits_together_at_any_moment() {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let log = open(&disk);
    let done = AtomicBool::new(false);
    let snapshots = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut snapshots = vec![log.stats()];
            // One look comes behind the last append, however late this thread is.
            loop {
                let is_last = done.load(Ordering::Acquire);
                let stats = log.stats();
                check(&stats);
                let before = snapshots.last().unwrap();
                assert!(stats.uptime >= before.uptime);
                assert!(stats.appends.pushed >= before.appends.pushed);
                snapshots.truncate(1);
                snapshots.push(stats);
                if is_last {
                    return snapshots;
                }
            }
        });
        let clients: Vec<_> = (0..4)
            .map(|client| {
                let log = &log;
                scope.spawn(move || {
                    for number in 0..300 {
                        let append =
                            log.append(&format!("s-{client}"), Expected::Any, [event(number)]);
                        let ack = append.unwrap();
                        if number % 3 > 0 {
                            ack.wait().unwrap();
                        }
                    }
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        done.store(true, Ordering::Release);
        watcher.join().unwrap()
    });
    assert!(snapshots.len() > 1);
    // The last append in its order is answered last.
    log.append("s", Expected::Any, [event(0)]).unwrap().wait().unwrap();
    let stats = log.stats();
    check(&stats);
    assert_eq!((stats.in_flight(), stats.path.total.count()), (0, 1201));
    assert_eq!((stats.appends.length, stats.disk.events_per_flush.total()), (0, 1201));
    assert_eq!(stats.appends.waits.count(), 1201);
    assert!(stats.writer.busy > Duration::ZERO && stats.writer.idle > Duration::ZERO);
}

#[test]
fn the_parts_of_the_way_are_the_times_that_passed() {
    let (disk, clock) = (SimDisk::new(), Arc::new(SimClock::new()));
    let options = Options::new().chunk_size(1 << 20).prepare_ahead(128 << 10);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut engine, _) = Engine::open(shared, Arc::clone(&clock) as _, options).unwrap();
    engine.keeper.step();
    let ms = Duration::from_millis;
    disk.charge(Arc::clone(&clock), Prices::new().write(ms(3)).sync(ms(5)).view(ms(7)));
    let mut ack = engine.core.submit("s", Expected::Any, [event(1)], Duration::ZERO).unwrap();
    let mut context = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut ack).poll(&mut context).is_pending());
    clock.advance(ms(2));
    assert_eq!(engine.core.stats().in_flight(), 1);
    engine.writer.step();
    clock.advance(ms(4));
    engine.chaser.step();
    clock.advance(ms(11));
    assert!(Pin::new(&mut ack).poll(&mut context).is_ready());
    let stats = engine.core.stats();
    check(&stats);
    let path = &stats.path;
    let found = [&stats.appends.waits, &path.write, &path.sync, &path.chase, &path.wake];
    assert_eq!(found.map(|part| part.max().as_millis()), [2, 3, 5, 4 + 7, 11]);
    assert_eq!((path.gather.max(), path.total.max()), (Duration::ZERO, ms(2 + 3 + 5 + 4 + 7)));
    assert_eq!((stats.disk.writes.max(), stats.disk.syncs.max()), (ms(3), ms(5)));
    assert_eq!((stats.chaser.service.max(), stats.releases.count()), (ms(7), 1));
    assert_eq!((stats.disk.events_per_flush.max(), stats.disk.ongoing), (1, None));
    assert_eq!(stats.in_flight(), 0);
}

#[test]
fn subscribers_that_do_not_look_are_behind() {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let log = open(&disk);
    let mut slow = log.subscribe(crate::position::Position::START).unwrap();
    let mut waiting = log.subscribe(crate::position::Position::START).unwrap();
    let mut context = Context::from_waker(Waker::noop());
    while waiting.poll_next(&mut context).is_ready() {}
    for number in 0..10 {
        log.append("s", Expected::Any, [event(number)]).unwrap().wait().unwrap();
    }
    while waiting.poll_next(&mut context).is_ready() {}
    let subscribers = log.stats().subscribers;
    assert_eq!((subscribers.count, subscribers.behind, subscribers.lag_max), (2, 1, 10));
    for _ in 0..4 {
        assert!(slow.try_next().is_ready());
    }
    assert_eq!(log.stats().subscribers.lag_max, 6);
    drop(slow);
    let subscribers = log.stats().subscribers;
    assert_eq!((subscribers.count, subscribers.behind, subscribers.lag_max), (1, 0, 0));
}
