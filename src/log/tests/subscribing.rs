//! Tests of subscriptions on a log that is stepped by hand, so that it is known who is woken when,
//! and on a disk that fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::failing::{Faults, failing};
use super::stepped::Random;
use super::{count, event, number, small, stream};
use crate::clock::{Clock, SimClock, SystemClock, fresh_log_id};
use crate::disk::sim::SimDisk;
use crate::error::Result;
use crate::event::{Expected, NewEvent};
use crate::log::Reader;
use crate::log::engine::Engine;
use crate::position::{Position, StreamVersion};
use crate::query::Query;
use crate::subscribe::{Subscription, Update};

#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A subscription that is polled as a task, whose wakes are counted.
struct Polled {
    subscription: Subscription,
    counter: Arc<Counter>,
}

impl Polled {
    /// The same, asked until it waits, having told that it has caught up.
    fn new(subscription: Result<Subscription>) -> Self {
        let mut polled =
            Self { subscription: subscription.unwrap(), counter: Arc::new(Counter::default()) };
        let updates = polled.poll_all();
        assert!(matches!(updates.last(), Some(Update::CaughtUp(_))), "{updates:?}");
        polled
    }

    /// The updates up to the next wait.
    fn poll_all(&mut self) -> Vec<Update> {
        let waker = Waker::from(Arc::clone(&self.counter));
        let mut context = Context::from_waker(&waker);
        let mut updates = Vec::new();
        while let Poll::Ready(Some(update)) = self.subscription.poll_next(&mut context) {
            updates.push(update.unwrap());
        }
        updates
    }

    fn wakes(&self) -> usize {
        self.counter.0.load(Ordering::SeqCst)
    }
}

struct Stepped {
    engine: Engine,
    reader: Reader,
}

impl Stepped {
    fn new() -> Self {
        let (disk, clock) = (Arc::new(SimDisk::new()), Arc::new(SimClock::new()));
        let engine = Engine::open(disk, clock, small()).unwrap().0;
        let reader = engine.core.reader();
        Self { engine, reader }
    }

    fn append(&mut self, stream: &str, event: NewEvent) {
        let core = &self.engine.core;
        let ack = core.submit(stream, Expected::Any, [event], Duration::ZERO).unwrap();
        self.engine.writer.step();
        self.engine.chaser.step();
        assert!(ack.is_ready());
    }
}

#[test]
fn a_thousand_idle_subscriptions_are_not_woken_by_foreign_events() {
    let mut log = Stepped::new();
    let mut idle: Vec<_> = (0..1_000)
        .map(|number| {
            let name = format!("idle-{number}");
            let query = Query::event_type("Counted").tags([name.clone()]);
            Polled::new(match number % 3 {
                0 => log.reader.subscribe_stream(&name, StreamVersion::FIRST),
                1 => log.reader.subscribe_query(&query, Position::START),
                _ => log.reader.subscribe_query(&Query::stream(name), Position::START),
            })
        })
        .collect();
    let wakes = |idle: &[Polled]| idle.iter().map(Polled::wakes).sum::<usize>();
    for number in 0..500 {
        log.append(&stream(number), event(number));
    }
    assert_eq!(wakes(&idle), 0);
    log.append("idle-300", event(500));
    log.append("busy-1", event(501).tag("idle-400"));
    assert_eq!((wakes(&idle), idle[300].wakes(), idle[400].wakes()), (2, 1, 1));
    for (place, position) in [(300, 500), (400, 501)] {
        match &idle[place].poll_all()[..] {
            [Update::Event(event), Update::CaughtUp(end)] => {
                assert_eq!((number(event), end.get()), (position, 502));
            }
            other => panic!("{other:?}"),
        }
    }
    // Those that do not poll again after their wake are not woken again.
    log.append("idle-300", event(502));
    log.append("idle-300", event(503));
    assert_eq!((wakes(&idle), idle[300].wakes()), (3, 2));
    idle[300].poll_all();
    // The stream of the event before is indexed without a look at its name, and yet heard.
    log.append("idle-300", event(504));
    assert_eq!((wakes(&idle), idle[300].wakes()), (4, 3));
    idle[300].poll_all();
    let core = &log.engine.core;
    let ack = core.submit("idle-300", Expected::NoStream, [event(505)], Duration::ZERO).unwrap();
    log.engine.writer.step();
    log.engine.chaser.step();
    assert!(ack.wait().is_err());
    assert_eq!(wakes(&idle), 4, "a rejection has no event");
}

#[test]
fn an_event_is_told_once_when_it_is_visible_and_not_before() {
    let mut log = Stepped::new();
    let mut all = Polled::new(log.reader.subscribe(Position::START));
    let core = Arc::clone(&log.engine.core);
    let ack = core.submit("s", Expected::Any, [event(0), event(1)], Duration::ZERO).unwrap();
    assert_eq!(log.engine.core.marks.durable(), Position::START);
    log.engine.writer.step();
    assert_eq!(log.engine.core.marks.durable(), Position::new(2));
    assert_eq!((all.poll_all(), all.wakes()), (vec![], 0), "durable is not visible");
    log.engine.chaser.step();
    assert!(ack.is_ready());
    assert_eq!(all.wakes(), 1);
    let updates = all.poll_all();
    assert_eq!(updates.len(), 3, "{updates:?}");
    assert_eq!(updates[2], Update::CaughtUp(Position::new(2)));
    assert_eq!(all.poll_all(), []);
}

#[test]
fn a_wake_without_an_event_that_is_meant_tells_nothing() {
    let mut log = Stepped::new();
    let both = Query::event_type("Other").tags(["parity:0"]);
    let mut query = Polled::new(log.reader.subscribe_query(&both, Position::START));
    let mut late = Polled::new(log.reader.subscribe_stream("s", StreamVersion::new(2)));
    let mut beyond = Polled::new(log.reader.subscribe(Position::new(2)));
    for number in [0, 2] {
        log.append("s", event(number));
    }
    for waiting in [&mut query, &mut late, &mut beyond] {
        assert_eq!((waiting.wakes(), waiting.poll_all()), (1, vec![]));
        assert_eq!(waiting.subscription.next_position(), Position::new(2));
    }
    log.append("s", NewEvent::new("Other", 4_u64.to_le_bytes()).tag("parity:0"));
    for waiting in [&mut query, &mut late, &mut beyond] {
        assert_eq!((waiting.wakes(), waiting.poll_all().len()), (2, 2));
    }
}

/// Everything that a subscription tells up to its end.
fn tell(subscription: Subscription) -> (Vec<u64>, Vec<String>) {
    let (mut numbers, mut errors) = (Vec::new(), Vec::new());
    for update in subscription {
        match update {
            Ok(Update::Event(event)) => {
                assert!(errors.is_empty(), "an event behind the failure");
                numbers.push(number(&event));
            }
            Ok(Update::CaughtUp(position)) => assert_eq!(position.get(), numbers.len() as u64),
            Err(error) => errors.push(error.to_string()),
        }
    }
    (numbers, errors)
}

/// Breaks a log to which somebody is subscribed, with `flight` appends in flight and none behind
/// them.
fn a_failure_ends_subscriptions(flight: u64, told: &str, fault: impl Fn(&Faults)) {
    let (_, faults, log) = failing();
    count(&log, 0..20);
    std::thread::scope(|scope| {
        let everything = log.subscribe(Position::START).unwrap();
        let stream = log.subscribe_stream("counter-3", StreamVersion::FIRST).unwrap();
        let live = scope.spawn(move || tell(everything));
        let events = scope.spawn(move || stream.map(Result::ok).collect::<Vec<_>>());
        count(&log, 20..50);
        fault(&faults);
        let append = |number| log.append("s", Expected::Any, [event(number).tag("x".repeat(200))]);
        let acks: Vec<_> = (0..flight).filter_map(|number| append(number).ok()).collect();
        acks.into_iter().for_each(|ack| _ = ack.wait().unwrap_err());
        // Nobody closes the log: the failure alone ends them.
        let (numbers, errors) = live.join().unwrap();
        assert!(numbers.into_iter().eq(0..50), "everything that was visible");
        assert!(errors.len() == 1 && errors[0].contains(told), "{errors:?}");
        let events = events.join().unwrap();
        assert_eq!(events.last(), Some(&None), "the failure comes last");
        let late = log.subscribe(Position::new(40)).unwrap();
        let (numbers, errors) = tell_from(late);
        assert_eq!((numbers, errors), (10, 1), "a late one is told the same");
    });
}

fn tell_from(subscription: Subscription) -> (usize, usize) {
    let updates: Vec<_> = subscription.collect();
    let events = updates.iter().filter(|update| matches!(update, Ok(Update::Event(_)))).count();
    (events, updates.iter().filter(|update| update.is_err()).count())
}

#[test]
fn f20_a_failed_sync_ends_subscriptions_behind_what_is_visible() {
    for flight in [1, 50] {
        let fault = |faults: &Faults| faults.sync.store(true, Ordering::SeqCst);
        a_failure_ends_subscriptions(flight, "chunk-0000000000", fault);
    }
}

#[test]
fn bytes_that_read_back_wrong_end_subscriptions() {
    for flight in [1, 50] {
        let fault = |faults: &Faults| faults.rot.store(true, Ordering::SeqCst);
        a_failure_ends_subscriptions(flight, "checksum", fault);
    }
}

#[test]
fn f04_a_panic_of_a_stage_ends_subscriptions() {
    let fault = |faults: &Faults| faults.panic.store(true, Ordering::SeqCst);
    a_failure_ends_subscriptions(1, "panicked", fault);
}

/// Counts the events that a subscription delivers, pausing between updates for up to about the time
/// of an append, so that events become visible at every moment of its looking and falling asleep.
fn follow(subscription: Subscription, seen: &AtomicUsize, seed: u64) {
    let mut random = Random(seed);
    for update in subscription {
        if let Update::Event(_) = update.unwrap() {
            seen.fetch_add(1, Ordering::SeqCst);
        }
        (0..random.below(400)).for_each(|_| std::hint::spin_loop());
    }
}

#[test]
fn no_event_is_slept_through() {
    let seed = std::env::var("PAPERCHASE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| fresh_log_id().as_u64_pair().0 | 1);
    println!("PAPERCHASE_SEED={seed}");
    let clock = SystemClock::default();
    let cart = Query::category("cart");
    let subscribe: [fn(&Reader, &Query) -> Result<Subscription>; 3] = [
        |reader, _| reader.subscribe(Position::START),
        |reader, _| reader.subscribe_stream("cart-1", StreamVersion::FIRST),
        |reader, cart| reader.subscribe_query(cart, Position::START),
    ];
    for subscribe in subscribe {
        let mut log = Stepped::new();
        let subscription = subscribe(&log.reader, &cart).unwrap();
        let seen = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let seen = &seen;
            scope.spawn(move || follow(subscription, seen, seed));
            for round in 1..=3_000 {
                log.append("cart-1", event(0));
                // Nothing else is appended meanwhile, so who slept through it sleeps for ever; the
                // limit only names that.
                let limit = clock.monotonic() + Duration::from_secs(60);
                while seen.load(Ordering::SeqCst) < round && clock.monotonic() < limit {
                    std::hint::spin_loop();
                }
                if seen.load(Ordering::SeqCst) < round {
                    log.engine.core.bell.close();
                    panic!("slept through event {round}");
                }
            }
            log.engine.core.bell.close();
        });
    }
}
