//! Tests of a consumer on a disk that stops: at whatever call, its results and its place agree.

use std::sync::Arc;

use paperchase::disk::sim::SimDisk;
use paperchase::{AppendError, Log, NewEvent, Position};

use super::support::sim::{StoppingDisk, open, open_on};
use super::{done, number, order, orders, results, told};

const ORDERS: u64 = 12;

/// Consumes orders three at a time, to the end.
fn work(log: &Log) -> Result<(), AppendError> {
    let consumer = log.consumer("worker")?;
    let (events, _) = told(&mut consumer.subscribe_query(&orders()).unwrap());
    for (events, filler) in events.chunks(3).zip(1..) {
        // Some of it is large, so that chunks roll in between.
        let filler = NewEvent::new("Filler", vec![filler; 150 << 10]);
        results(&consumer, events).event("filler-1", filler).submit(log)?.wait()?;
    }
    Ok(())
}

/// What the log has results of are just the orders before the place.
fn check(log: &Log, what: &dyn std::fmt::Debug) -> u64 {
    let place = log.view().place_of_consumer("worker").unwrap();
    let end = place.map_or(Position::START, |place| place.position());
    let before = log.read(&orders(), ..end).unwrap().map(|order| number(&order.unwrap()));
    let before: Vec<_> = before.collect();
    assert_eq!(done(log), before, "{what:?}");
    before.len() as u64
}

/// Stops at every call in turn. Returns how many orders were done when, and how many chunks there
/// are at the end.
fn stop_everywhere(stopping: fn(SimDisk, u64) -> StoppingDisk) -> (Vec<u64>, usize) {
    let disk = SimDisk::new();
    let log = open(&disk).unwrap();
    order(&log, 0..ORDERS);
    let filler = NewEvent::new("Filler", vec![0; 700 << 10]);
    log.append("filler-1", paperchase::Expected::Any, [filler]).unwrap().wait().unwrap();
    log.close().unwrap();
    let mut counts = Vec::new();
    for calls in 1.. {
        let copy = disk.snapshot();
        let stopped = match open_on(Arc::new(stopping(copy.clone(), calls))) {
            Err(_) => true,
            Ok(log) => work(&log).and(log.close().map_err(AppendError::Failed)).is_err(),
        };
        let log = open(&copy).unwrap();
        counts.push(check(&log, &calls));
        work(&log).unwrap();
        assert_eq!(check(&log, &calls), ORDERS);
        assert_eq!(done(&log), (0..ORDERS).collect::<Vec<_>>());
        if !stopped {
            return (counts, log.view().chunks().len());
        }
    }
    unreachable!("it does not need so many calls")
}

#[test]
fn results_and_place_agree_wherever_the_disk_stops() {
    for stopping in [StoppingDisk::new, StoppingDisk::untold] {
        let (counts, chunks) = stop_everywhere(stopping);
        println!("{} calls, {chunks} chunks, {counts:?}", counts.len());
        assert!(chunks > 1, "the log rolled");
        for done in [0, 3, 6, 9, 12] {
            assert!(counts.contains(&done), "never stopped with {done} orders done: {counts:?}");
        }
    }
}
