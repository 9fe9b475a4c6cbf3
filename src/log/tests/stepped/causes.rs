//! Tests of the verdict: in a log on a simulated disk and clock one thing at a time is made slow,
//! and it is that which must be named.
//!
//! Promises: nothing but the injected delay takes any time, so no machine can be too slow for these
//! tests.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use super::super::event;
use super::super::faulty::{FaultyDisk, Kind, Part, Plan, Spell};
use crate::clock::{Clock, SimClock, Timestamp};
use crate::disk::Disk;
use crate::disk::sim::{Prices, SimDisk};
use crate::error::AppendError;
use crate::event::Expected;
use crate::log::engine::Engine;
use crate::options::Options;
use crate::position::Position;
use crate::stage::Step;
use crate::stage::ack::Ack;
use crate::stage::stats::Stats;
use crate::stage::verdict::{Cause, Verdict};

const MS: Duration = Duration::from_millis(1);

/// A log that one test steps, and what it had counted before the test began.
struct Case {
    engine: Engine,
    disk: SimDisk,
    clock: Arc<SimClock>,
    prices: Prices,
    before: Stats,
}

fn small() -> Options {
    Options::new().chunk_size(1 << 20).prepare_ahead(128 << 10)
}

/// A log with room prepared, whose disk costs this from now on.
fn case(options: Options, prices: Prices) -> Case {
    let (disk, clock) = (SimDisk::new(), Arc::new(SimClock::new()));
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut engine = Engine::open(shared, Arc::clone(&clock) as _, options).unwrap().0;
    while engine.keeper.step() == Step::Worked {}
    let before = engine.core.stats();
    disk.charge(Arc::clone(&clock), prices);
    Case { engine, disk, clock, prices, before }
}

impl Case {
    fn submit(&self, number: u64) -> Result<Ack, AppendError> {
        self.engine.core.submit("s", Expected::Any, [event(number)], Duration::ZERO)
    }

    /// Some rounds of so many appends at once, with a rest after each.
    fn rounds(&mut self, rounds: u64, appends: u64, rest: Duration) {
        for round in 0..rounds {
            let acks: Vec<_> = (0..appends).map(|number| self.submit(number)).collect();
            self.engine.writer.step();
            self.engine.chaser.step();
            for ack in acks.into_iter().flatten() {
                ack.wait().unwrap();
            }
            self.clock.advance(rest);
            // Free of charge: here the keeper is not what is slow.
            if round % 8 == 0 {
                self.disk.charge(Arc::default(), Prices::new());
                while self.engine.keeper.step() == Step::Worked {}
                self.disk.charge(Arc::clone(&self.clock), self.prices);
            }
        }
    }

    fn verdict(&self) -> Verdict {
        let verdict = self.engine.core.stats().verdict(&self.before);
        println!("{verdict}\n{:#?}", verdict.findings);
        assert!(verdict.findings.iter().all(|finding| !finding.evidence.is_empty()));
        verdict
    }
}

fn causes(verdict: &Verdict) -> Vec<Cause> {
    verdict.findings.iter().map(|finding| finding.cause).collect()
}

#[test]
fn a_slow_sync_is_named() {
    let mut case = case(small(), Prices::new().sync(MS * 5));
    case.rounds(15, 4, MS);
    let verdict = case.verdict();
    assert_eq!(causes(&verdict), [Cause::Sync]);
    assert_eq!(verdict.to_string(), "the disk: 83 % of the time is spent in syncs");
    assert!(verdict.findings[0].evidence[0].starts_with("syncs: 15 of them, median 5."));
}

#[test]
fn a_slow_write_is_named() {
    let mut case = case(small(), Prices::new().write(MS * 5).sync(MS));
    case.rounds(15, 4, MS);
    assert_eq!(causes(&case.verdict()), [Cause::Write]);
}

#[test]
fn a_slow_chaser_is_named() {
    let mut case = case(small(), Prices::new().view(MS * 5).sync(MS));
    case.rounds(15, 4, MS);
    let verdict = case.verdict();
    assert_eq!(causes(&verdict), [Cause::Chaser]);
    assert!(verdict.to_string().starts_with("the chaser"), "{verdict}");
}

/// A clock that takes its time to tell the time of day, for which the writer asks once per group.
#[derive(Debug)]
struct SlowClock(Arc<SimClock>);

impl Clock for SlowClock {
    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn wall(&self) -> Timestamp {
        self.0.advance(MS * 5);
        self.0.wall()
    }
}

#[test]
fn slow_decisions_of_the_writer_are_named() {
    let (disk, clock) = (SimDisk::new(), Arc::new(SimClock::new()));
    let slow = Arc::new(SlowClock(Arc::clone(&clock)));
    let engine = Engine::open(Arc::new(disk.clone()), slow, small()).unwrap().0;
    let (prices, before) = (Prices::new().sync(MS), engine.core.stats());
    let mut case = Case { engine, disk, clock, prices, before };
    case.rounds(15, 4, MS);
    let verdict = case.verdict();
    assert_eq!(causes(&verdict), [Cause::Writer]);
    assert!(verdict.findings[0].evidence[0].starts_with("groups decided and framed: 15 of them"));
}

#[test]
fn a_slow_keeper_is_named() {
    let mut case = case(small(), Prices::new().sync(MS));
    for number in 0.. {
        assert!(number < 100, "room for ever");
        let large = crate::event::NewEvent::new("Large", vec![7; 20_000]);
        let append = case.engine.core.submit("s", Expected::Any, [large], Duration::ZERO);
        drop(append.unwrap());
        if case.engine.writer.step() == Step::Blocked {
            break;
        }
        case.engine.chaser.step();
    }
    case.clock.advance(MS * 80);
    assert_eq!(case.verdict().cause(), Cause::Space, "while it lasts");
    while case.engine.core.supply.orders().need.is_some() {
        case.engine.keeper.step();
    }
    while case.engine.writer.step() == Step::Worked {}
    let verdict = case.verdict();
    assert_eq!(verdict.cause(), Cause::Space);
    let evidence = &verdict.findings[0].evidence[0];
    assert!(evidence.starts_with("waits for space: 1 of them, median 81"), "{evidence}");
}

/// A waker that takes its time.
struct Slow(Arc<SimClock>);

impl Wake for Slow {
    fn wake(self: Arc<Self>) {
        self.0.advance(MS);
    }
}

#[test]
fn slow_wakes_of_clients_are_named() {
    let case = &mut case(small(), Prices::new().sync(MS));
    let waker = Waker::from(Arc::new(Slow(Arc::clone(&case.clock))));
    for round in 0..10 {
        let mut acks: Vec<_> = (0..16).map(|_| case.submit(round).unwrap()).collect();
        for ack in &mut acks {
            assert!(Pin::new(ack).poll(&mut Context::from_waker(&waker)).is_pending());
        }
        case.engine.writer.step();
        case.engine.chaser.step();
        acks.into_iter().for_each(|ack| _ = ack.wait().unwrap());
    }
    let verdict = case.verdict();
    assert_eq!(causes(&verdict), [Cause::Wakes]);
    assert!(verdict.to_string().contains("94 %"), "{verdict}");
}

#[test]
fn clients_that_run_late_after_their_wake_are_named() {
    let case = &mut case(small(), Prices::new().sync(MS));
    for round in 0..10 {
        let mut ack = case.submit(round).unwrap();
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut ack).poll(&mut context).is_pending());
        case.engine.writer.step();
        case.engine.chaser.step();
        case.clock.advance(MS * 20);
        assert!(Pin::new(&mut ack).poll(&mut context).is_ready());
    }
    let verdict = case.verdict();
    assert_eq!(causes(&verdict), [Cause::Wakes]);
    assert!(verdict.findings[0].evidence[0].starts_with("10 waiters ran after their answer"));
}

#[test]
fn slow_clients_are_named_and_the_log_is_not() {
    let mut case = case(small(), Prices::new().sync(MS));
    assert_eq!(causes(&case.verdict()), [Cause::Idle]);
    case.rounds(15, 2, MS * 19);
    let verdict = case.verdict();
    assert_eq!(causes(&verdict), [Cause::Clients]);
    assert_eq!(verdict.to_string(), "the log waits for its clients: 0.1 appends in flight");
    case.before = case.engine.core.stats();
    case.clock.advance(MS * 1000);
    assert_eq!(causes(&case.verdict()), [Cause::Idle]);
}

#[test]
fn a_queue_that_is_too_small_is_named() {
    let mut case = case(small().queue_appends(4), Prices::new().sync(MS));
    case.rounds(15, 10, MS * 9);
    let verdict = case.verdict();
    assert_eq!(causes(&verdict), [Cause::Queue, Cause::Clients]);
    let line = "the queue of appends was full 90 times, and 90 appends were turned away";
    assert_eq!(verdict.to_string(), line);
}

#[test]
fn a_full_queue_before_a_slow_disk_is_the_disk() {
    let mut case = case(small().queue_appends(4), Prices::new().sync(MS * 30));
    case.rounds(15, 10, MS);
    assert_eq!(causes(&case.verdict()), [Cause::Sync, Cause::Queue]);
}

#[test]
fn a_slow_subscriber_is_named_while_it_falls_behind() {
    let mut case = case(small(), Prices::new().sync(MS));
    let mut slow = case.engine.core.reader().subscribe(Position::START).unwrap();
    assert!(slow.try_next().is_ready());
    case.rounds(15, 100, MS * 19);
    let verdict = case.verdict();
    assert_eq!(causes(&verdict), [Cause::Subscriber, Cause::Clients]);
    assert_eq!(verdict.to_string(), "a slow subscriber: it is 1500 events behind");
    // Nearer than before: it catches up.
    case.before = case.engine.core.stats();
    (0..400).for_each(|_| assert!(slow.try_next().is_ready()));
    case.rounds(1, 1, MS);
    assert_eq!(causes(&case.verdict()), [Cause::Sync]);
}

#[test]
fn a_failed_log_is_named() {
    let (faulty, clock) = (FaultyDisk::default(), Arc::new(SimClock::new()));
    let shared: Arc<dyn Disk> = Arc::new(faulty.clone());
    let mut engine = Engine::open(shared, Arc::clone(&clock) as _, small()).unwrap().0;
    while engine.keeper.step() == Step::Worked {}
    let before = engine.core.stats();
    let (of, spell, part) = (Some(Kind::SyncData), Spell::Once, Part::Nothing);
    faulty.fail(Some(Plan { call: 0, of, errno: 5, spell, part, lies: false }));
    let ack = engine.core.submit("s", Expected::Any, [event(1)], Duration::ZERO).unwrap();
    engine.writer.step();
    engine.chaser.step();
    assert!(matches!(ack.wait(), Err(AppendError::Failed(_))));
    clock.advance(MS);
    let verdict = engine.core.stats().verdict(&before);
    assert_eq!(verdict.cause(), Cause::Failed);
    assert_eq!(verdict.findings[0].evidence, ["errors: writer 1, chaser 0, keeper 0"]);
}
