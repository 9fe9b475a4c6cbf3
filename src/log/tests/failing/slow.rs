//! Tests of the batching with real threads, on a disk in memory whose syncs take a time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::{event, open_with};
use super::failing_disk;
use crate::clock::{Clock, SystemClock};
use crate::event::Expected;
use crate::log::Log;
use crate::options::Options;

/// Appends per second and the 99th percentile of their times, in a closed loop of `clients`
/// threads for `time`.
fn closed_loop(log: &Log, clients: usize, time: Duration) -> (f64, Duration) {
    let clock = SystemClock::default();
    let mut all: Vec<Duration> = std::thread::scope(|scope| {
        let clock = &clock;
        let client = |number: usize| {
            let stream = format!("client-{number}");
            let mut times = Vec::new();
            while clock.monotonic() < time {
                let sent = clock.monotonic();
                let ack = log.append(&stream, Expected::Any, [event(1)]).unwrap();
                ack.wait().unwrap();
                times.push(clock.monotonic() - sent);
            }
            times
        };
        let clients: Vec<_> =
            (0..clients).map(|number| scope.spawn(move || client(number))).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    all.sort_unstable();
    (all.len() as f64 / clock.monotonic().as_secs_f64(), all[all.len() * 99 / 100])
}

fn measured(options: Options, sync: u64, clients: usize, time: Duration) -> (f64, Duration) {
    let (_, faults, disk) = failing_disk();
    let log = open_with(&disk, options.chunk_size(64 << 20)).unwrap();
    faults.slow_sync.store(sync, Ordering::SeqCst);
    let found = closed_loop(&log, clients, time);
    let events = log.view().end().get();
    assert_eq!(log.view().read_all(..).map(Result::unwrap).count() as u64, events);
    faults.slow_sync.store(0, Ordering::SeqCst);
    log.close().unwrap();
    found
}

#[test]
fn held_back_flushes_answer_everybody() {
    let (rate, _) = measured(Options::new(), 1_000, 12, Duration::from_millis(300));
    assert!(rate > 0.0);
}

/// Of docs/performance.md: no outcome is asserted, because time is measured.
#[test]
#[ignore = "measures for some minutes"]
fn batching_on_slow_disks() {
    println!("| sync us | clients | at once /s | batching /s | ratio | p99 at once | p99 |");
    let time = Duration::from_secs(2);
    for sync in [100, 1_000, 5_000] {
        for clients in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512] {
            let run = |on| measured(Options::new().batching(on), sync, clients, time);
            // In turns, so that what else the machine does meets both.
            let runs = [run(false), run(true), run(true), run(false)];
            let rate = |a: usize, b: usize| (runs[a].0 + runs[b].0) / 2.0;
            let p99 = |a: usize, b: usize| runs[a].1.max(runs[b].1);
            let (off, on) = (rate(0, 3), rate(1, 2));
            let (slow, fast) = (p99(0, 3), p99(1, 2));
            println!(
                "| {sync} | {clients} | {off:.0} | {on:.0} | {:.2} | {slow:.1?} | {fast:.1?} |",
                on / off
            );
        }
    }
}
