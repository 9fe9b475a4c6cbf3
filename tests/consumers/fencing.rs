//! Tests of taking over: of several instances only the last opened one commits.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use paperchase::clock::SystemClock;
use paperchase::disk::sim::SimDisk;
use paperchase::{
    Ack, Append, AppendError, Consumer, Expected, Log, NewEvent, Position, RecordedEvent,
};

use super::support::Random;
use super::support::sim::{open, small};
use super::{RESULTS, commit, done, new_log, number, order, orders, results, told};

#[test]
fn an_older_instance_is_refused_also_what_is_on_its_way() {
    let log = new_log();
    order(&log, 0..6);
    let first = log.consumer("worker").unwrap();
    let (events, _) = told(&mut first.subscribe_query(&orders()).unwrap());
    let before = results(&first, &events[..2]).submit(&log).unwrap();
    let second = log.consumer("worker").unwrap();
    before.wait().expect("it was submitted before the claim");
    assert_eq!(second.place(), first.behind(&events[1]));
    for append in [results(&first, &events[2..]), results(&first, &events[..1])] {
        let refused = append.submit(&log).unwrap().wait().unwrap_err();
        assert!(matches!(&refused, AppendError::Fenced { consumer } if consumer == "worker"));
    }
    let place = first.behind(&events[5]);
    assert!(matches!(commit(&first, place), Err(AppendError::Fenced { .. })));
    let operation = Append::new().operation(uuid::Uuid::from_u128(1)).commit(&first, place);
    let refused = operation.submit(&log).unwrap().wait();
    assert!(matches!(refused, Err(AppendError::Fenced { .. })));
    let other = log.consumer("worker-2").unwrap();
    commit(&other, place).expect("another consumer is not concerned");
    results(&second, &events[2..]).submit(&log).unwrap().wait().unwrap();
    assert_eq!(done(&log), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_retry_of_what_was_stored_is_told_so_after_a_takeover() {
    let log = new_log();
    order(&log, 0..2);
    let first = log.consumer("worker").unwrap();
    let (events, _) = told(&mut first.subscribe_query(&orders()).unwrap());
    let operation = uuid::Uuid::from_u128(7);
    let submit = || results(&first, &events).operation(operation).submit(&log).unwrap().wait();
    let stored = submit().unwrap();
    let _second = log.consumer("worker").unwrap();
    let again = submit().unwrap();
    assert!(again.repeated && again.first_position == stored.first_position);
    assert_eq!(done(&log), [0, 1]);
}

#[test]
fn an_opening_that_is_refused_takes_nothing_over() {
    let (disk, log, target) = (SimDisk::new(), new_log(), new_log());
    let source = open(&disk).unwrap();
    let older = open(&disk.snapshot()).unwrap();
    order(&source, 0..4);
    let running = target.consumer_of("copy", &source).unwrap();
    commit(&running, source.view().place_at(Position::new(1))).unwrap();
    let end = target.view().end();
    let foreign = target.consumer_of("copy", &log).unwrap_err();
    assert!(matches!(foreign, AppendError::ForeignPlace { .. }), "{foreign}");
    let ahead = target.consumer_of("copy", &older).unwrap_err();
    assert!(matches!(ahead, AppendError::PlaceAhead { .. }), "{ahead}");
    assert_eq!(target.view().end(), end, "nothing is left behind");
    commit(&running, source.view().place()).expect("it goes on");
}

#[test]
fn an_event_that_keeps_no_place_is_told_and_put_right_by_hand() {
    let log = new_log();
    order(&log, 0..4);
    let running = log.consumer("worker").unwrap();
    let put = |data: String| {
        let event = NewEvent::json("$place", data);
        log.append("$consumer-worker", Expected::Any, [event]).unwrap().wait().unwrap();
    };
    put("{}".to_owned());
    let refused = log.consumer("worker").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "consumer \"worker\": the event of \"$consumer-worker\" at position 5 keeps no place; \
         append one behind it by hand, as docs/operating.md shows"
    );
    put(format!(r#"{{"log":"{}","position":2}}"#, log.view().log_id()));
    assert_eq!(log.consumer("worker").unwrap().place().position(), Position::new(2));
    assert!(matches!(commit(&running, log.view().place()), Err(AppendError::Fenced { .. })));
}

const ORDERS: u64 = 300;
/// How often each thread takes the consumer over.
const TAKEOVERS: u64 = 6;

/// A result carries its order and the instance that made it.
fn result(order: &RecordedEvent, instance: u64) -> NewEvent {
    NewEvent::new("Done", [number(order).to_le_bytes(), instance.to_le_bytes()].concat())
}

/// The acks of an instance: once one is refused, all behind it are.
struct Flight(VecDeque<Ack>, bool);

impl Flight {
    fn land(&mut self, left: usize) {
        while self.0.len() > left {
            match self.0.pop_front().unwrap().wait() {
                Ok(_) => assert!(!self.1, "stored behind a commit that was refused"),
                Err(AppendError::Fenced { .. }) => self.1 = true,
                Err(other) => panic!("{other}"),
            }
        }
    }
}

/// Handles orders, many on their way at once, until it is taken over or none is left.
fn work(log: &Log, consumer: &Consumer, instance: u64, random: &mut Random) {
    let (mut flight, mut bulk) = (Flight(VecDeque::new(), false), Vec::new());
    let last = log.read(&orders(), ..).unwrap().next_back().unwrap().unwrap();
    if consumer.place() == consumer.behind(&last) {
        return;
    }
    for order in consumer.subscribe_query(&orders()).unwrap().events() {
        bulk.push(order.unwrap());
        let is_last = number(bulk.last().unwrap()) + 1 == ORDERS;
        if !is_last && random.below(3) > 0 {
            continue;
        }
        let results = bulk.iter().map(|order| result(order, instance)).collect::<Vec<_>>();
        let place = consumer.behind(bulk.last().unwrap());
        let append = Append::new().events(RESULTS, results).commit(consumer, place);
        flight.0.push_back(append.submit(log).unwrap());
        flight.land(random.below(8) as usize);
        if flight.1 || is_last {
            break;
        }
        bulk.clear();
    }
    flight.land(0);
}

/// Between two claims all commits are of one instance, which commits nowhere else, and every order
/// has its result once. Returns how many instances committed something.
fn check(log: &Log) -> usize {
    let (mut owner, mut past) = (None, BTreeSet::new());
    for event in log.read_all(..).unwrap() {
        let event = event.unwrap();
        if event.stream() == "$claim-worker" {
            past.extend(owner.take());
        } else if event.stream() == RESULTS {
            let instance = u64::from_le_bytes(event.data()[8..].try_into().unwrap());
            assert!(!past.contains(&instance), "{instance} commits at {}", event.position());
            assert_eq!(*owner.get_or_insert(instance), instance, "at {}", event.position());
        }
    }
    past.extend(owner);
    assert_eq!(done(log), (0..ORDERS).collect::<Vec<_>>(), "no result twice, none missing");
    past.len()
}

/// Tells others to end, whatever becomes of the holder.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Lets instances in so many threads take each other over while they work, beside other load.
fn contend(threads: u64, random: &mut Random) -> usize {
    let disk = Arc::new(SimDisk::new());
    let log = small().open_on(disk, Arc::new(SystemClock::default())).unwrap();
    order(&log, 0..ORDERS);
    let (instances, ended) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (log, instances, ended) = (&log, &instances, &ended);
        let _ends = Ends(ended);
        scope.spawn(move || {
            while !ended.load(Ordering::Acquire) {
                let event = NewEvent::new("Noise", vec![1; 100]);
                log.append("noise-1", Expected::Any, [event]).unwrap().wait().unwrap();
            }
        });
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let mut random = Random::with(random.next());
                scope.spawn(move || {
                    for _ in 0..TAKEOVERS {
                        let consumer = log.consumer("worker").unwrap();
                        let instance = instances.fetch_add(1, Ordering::Relaxed);
                        work(log, &consumer, instance, &mut random);
                    }
                })
            })
            .collect();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
    let last = log.consumer("worker").unwrap();
    work(&log, &last, u64::MAX, random);
    check(&log)
}

#[test]
fn instances_that_contend_never_both_commit() {
    let mut random = Random::new();
    for threads in [2, 8] {
        let committed: usize = (0..4).map(|_| contend(threads, &mut random)).sum();
        println!("{threads} threads: {committed} instances committed");
        assert!(committed > 4, "somebody was taken over");
    }
}
