//! Owns the proof that a subscription delivers every event that is meant once and in order, from
//! wherever it begins, however it is asked, while the log grows, rolls and seals under it.
//!
//! Promises: every random run prints its seed; `PAPERCHASE_RUNS=1000` in the environment makes more
//! of them. Time decides nothing: who waits is awaited.

#![allow(clippy::unwrap_used, reason = "what is wrong ends the test")]
#![allow(
    clippy::disallowed_methods,
    reason = "subscribers outlive the log in threads of their own"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use paperchase::{
    Expected, Log, NewEvent, Options, Position, Query, Reader, StreamVersion, Subscription, Update,
};
use support::Random;
use support::subscribed::{Subscriber, Unpark, events};

const MIB: u64 = 1 << 20;

fn open(dir: &tempfile::TempDir) -> Log {
    Options::new().chunk_size(MIB).prepare_ahead(256 << 10).open(dir.path()).unwrap()
}

fn event(kind: &'static str, tag: &str) -> NewEvent {
    NewEvent::new(kind, tag).tag(tag)
}

/// Ten events: `cart-0` and `cart-1` in turn, each third tagged `rare`.
fn ten(log: &Log) {
    for number in 0..10 {
        let tag = if number % 3 == 0 { "rare" } else { "common" };
        let stream = format!("cart-{}", number % 2);
        log.append(&stream, Expected::Any, [event("Added", tag)]).unwrap().wait().unwrap();
    }
}

/// What a subscription has to tell before it waits: positions of events, and of having caught up.
fn told(subscription: &mut Subscription) -> (Vec<u64>, Vec<u64>) {
    let (mut events, mut caught_up) = (Vec::new(), Vec::new());
    while let Poll::Ready(Some(update)) = subscription.try_next() {
        match update.unwrap() {
            Update::Event(event) => events.push(event.position().get()),
            Update::CaughtUp(position) => caught_up.push(position.get()),
            other => panic!("{other:?}"),
        }
    }
    (events, caught_up)
}

#[test]
fn a_subscription_begins_where_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir);
    ten(&log);
    let rare = Query::tag("rare").types(["Added"]);
    let none = Query::stream("cart-9");
    let all = |from| log.subscribe(Position::new(from)).unwrap();
    let query = |query, from| log.subscribe_query(query, Position::new(from)).unwrap();
    let stream = |from| log.subscribe_stream("cart-1", StreamVersion::new(from)).unwrap();
    let cases: [(Subscription, &[u64], &[u64], u64); 9] = [
        (all(0), &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], &[10, 11], 11),
        (all(7), &[7, 8, 9], &[10, 11], 11),
        (all(10), &[], &[10, 11], 11),
        (all(12), &[], &[12], 12),
        (query(&rare, 0), &[0, 3, 6, 9], &[10, 11], 11),
        (query(&rare, 4), &[6, 9], &[10, 11], 11),
        (query(&none, 0), &[], &[10], 11),
        (stream(2), &[5, 7, 9], &[10, 11], 11),
        (stream(6), &[], &[10], 11),
    ];
    let mut begun: Vec<_> = cases
        .into_iter()
        .map(|(mut subscription, events, caught_up, position)| {
            assert_eq!(told(&mut subscription), (events.to_vec(), caught_up[..1].to_vec()));
            assert_eq!(told(&mut subscription), (vec![], vec![]), "once");
            (subscription, &caught_up[1..], position)
        })
        .collect();
    log.append("cart-1", Expected::Any, [event("Added", "rare")]).unwrap().wait().unwrap();
    for (subscription, caught_up, position) in &mut begun {
        let events: &[u64] = if caught_up.is_empty() { &[] } else { &[10] };
        assert_eq!(told(subscription), (events.to_vec(), caught_up.to_vec()));
        assert_eq!(subscription.next_position().get(), *position);
    }
    let more = [event("Added", "rare"), event("Added", "rare")];
    log.append("cart-1", Expected::Any, more).unwrap().wait().unwrap();
    let seen: Vec<_> = begun.iter_mut().map(|(it, ..)| told(it).0).collect();
    let both = vec![11, 12];
    assert_eq!(seen[..3], [both.clone(), both.clone(), both.clone()]);
    assert_eq!(seen[3], [12], "from beyond the end on");
    assert_eq!(seen[4..8], [both.clone(), both.clone(), vec![], both]);
    assert_eq!(seen[8], [11, 12][..], "version 6 is at position 11");
    log.close().unwrap();
    for (mut subscription, ..) in begun {
        assert!(subscription.next().is_none() && subscription.next().is_none());
    }
}

#[test]
fn the_position_goes_on_where_another_has_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir);
    ten(&log);
    let query = Query::stream("cart-1");
    let mut first = log.subscribe_stream("cart-1", StreamVersion::FIRST).unwrap();
    assert_eq!(first.next_position(), Position::START);
    let taken: Vec<_> = first.events().take(3).map(|event| event.unwrap().position()).collect();
    assert_eq!((taken[2], first.next_position()), (Position::new(5), Position::new(6)));
    let mut second = log.subscribe_query(&query, first.next_position()).unwrap();
    assert_eq!(told(&mut second).0, [7, 9]);
    let too_many = (0..300).map(|number| format!("t{number}"));
    let error = log.subscribe_query(&Query::new().tags(too_many), Position::START).unwrap_err();
    assert_eq!(error.kind(), paperchase::ErrorKind::Invalid);
}

#[test]
fn nothing_yet_and_ended_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir);
    let mut subscription = log.subscribe(Position::START).unwrap();
    let caught_up = Update::CaughtUp(Position::START);
    assert_eq!(subscription.next().unwrap().unwrap(), caught_up, "there is nothing");
    for timeout in [Duration::ZERO, Duration::from_millis(2)] {
        assert!(subscription.next_timeout(timeout).is_pending());
        assert!(subscription.try_next().is_pending());
    }
    log.append("s", Expected::Any, [event("Added", "common")]).unwrap().wait().unwrap();
    let update = subscription.next_timeout(Duration::MAX);
    assert!(matches!(update, Poll::Ready(Some(Ok(Update::Event(_))))), "{update:?}");
    log.append("s", Expected::Any, [event("Added", "common")]).unwrap().wait().unwrap();
    log.close().unwrap();
    let rest: Vec<_> = subscription.by_ref().map(Result::unwrap).collect();
    assert!(matches!(&rest[..], [Update::Event(_), Update::CaughtUp(_)]), "{rest:?}");
    assert!(matches!(subscription.next_timeout(Duration::MAX), Poll::Ready(None)));
}

#[test]
fn closing_wakes_who_waits() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir);
    ten(&log);
    let reader: Reader = log.clone();
    let none = Query::tag("nothing has it");
    let waiting = [
        log.subscribe(Position::START).unwrap(),
        log.subscribe_query(&none, Position::START).unwrap(),
        log.subscribe_stream("cart-0", StreamVersion::FIRST).unwrap(),
    ];
    let (told, heard) = std::sync::mpsc::channel();
    let threads = waiting.map(|subscription| {
        let told = told.clone();
        thread::spawn(move || {
            let mut events = 0;
            for update in subscription {
                match update.unwrap() {
                    Update::Event(_) => events += 1,
                    _ => told.send(()).unwrap(),
                }
            }
            events
        })
    });
    (0..3).for_each(|_| heard.recv().unwrap());
    drop(log);
    assert_eq!(threads.map(|thread| thread.join().unwrap()), [10, 0, 5]);
    let late = reader.subscribe(Position::new(8)).unwrap();
    assert_eq!(late.count(), 3, "a reader that outlives the log still reads, and ends");
}

#[test]
fn damage_is_told_and_gone_on_behind() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir);
    ten(&log);
    log.append("s", Expected::Any, [event("Added", "a mark to find")]).unwrap().wait().unwrap();
    ten(&log);
    let mut subscription = log.subscribe(Position::START).unwrap();
    let file = dir.path().join("chunk-0000000000");
    let mut bytes = std::fs::read(&file).unwrap();
    let mark = bytes.windows(14).position(|part| part == b"a mark to find").unwrap();
    bytes[mark] ^= 1;
    let disk = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&disk, &bytes[mark..=mark], mark as u64).unwrap();
    assert_eq!(subscription.events().take(10).filter(Result::is_ok).count(), 10);
    let error = subscription.next().unwrap().unwrap_err();
    assert_eq!(error.kind(), paperchase::ErrorKind::Damage);
    assert_eq!(
        subscription.next_position(),
        Position::new(10),
        "it stays before what is not delivered"
    );
    assert_eq!(told(&mut subscription), ((11..21).collect(), vec![21]));
}

/// Appends about a third of 3 MiB of events, some in flight.
fn write(log: &Log, number: u64, seed: u64) {
    let mut random = Random::with(seed);
    let mut acks = Vec::new();
    for _ in 0..150 {
        let events = events(&mut random, 6_000);
        acks.push(log.append(&format!("writer-{number}"), Expected::Any, events).unwrap());
        if random.below(8) == 0 {
            acks.drain(..).for_each(|ack| _ = ack.wait().unwrap());
        }
    }
    acks.into_iter().for_each(|ack| _ = ack.wait().unwrap());
}

#[test]
fn every_event_once_and_in_order_while_the_log_grows_rolls_and_seals() {
    let runs = std::env::var("PAPERCHASE_RUNS").ok().map_or(100, |runs| runs.parse().unwrap());
    let mut seeds = Random::new();
    let mut chunks = 0;
    for _ in 0..runs {
        let seed = seeds.next();
        let mut random = Random::with(seed);
        let dir = tempfile::tempdir().unwrap();
        let log = open(&dir);
        let reader: Reader = log.clone();
        let subscribers: Vec<_> = thread::scope(|scope| {
            let log = &log;
            for number in 0..4 {
                scope.spawn(move || write(log, number, seed ^ number));
            }
            let begin = |_| {
                let subscriber = Subscriber::begin(&reader, &mut random, 1_500);
                let pause = random.below(3_000);
                thread::sleep(Duration::from_micros(pause));
                subscriber
            };
            (0..5).map(begin).collect()
        });
        log.close().unwrap();
        let events: Vec<_> = reader.read_all(..).unwrap().map(Result::unwrap).collect();
        chunks += reader.view().chunks().len();
        for subscriber in subscribers {
            subscriber.check(&events);
        }
    }
    assert!(chunks > 2 * runs, "the logs rolled: {chunks} chunks in {runs} runs");
}

#[test]
fn a_thousand_idle_subscriptions_are_woken_by_nothing_but_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir);
    let wake = Arc::new(Unpark(thread::current(), AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&wake));
    let mut context = Context::from_waker(&waker);
    let mut idle: Vec<_> = (0..1_000)
        .map(|number| {
            let name = format!("idle-{number}");
            log.subscribe_stream(&name, StreamVersion::FIRST).unwrap()
        })
        .collect();
    for subscription in &mut idle {
        assert!(subscription.poll_next(&mut context).is_ready(), "caught up");
        assert!(subscription.poll_next(&mut context).is_pending());
    }
    thread::scope(|scope| {
        for number in 0..4 {
            let log = &log;
            scope.spawn(move || write(log, number, number));
        }
    });
    assert_eq!(wake.1.load(Ordering::SeqCst), 0);
    log.close().unwrap();
    assert_eq!(wake.1.load(Ordering::SeqCst), 1_000);
    assert!(idle.iter_mut().all(|subscription| subscription.next().is_none()));
}
