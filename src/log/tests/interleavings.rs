//! The whole log with its own threads, clients, a reader and a subscriber, on threads whose
//! meetings a seeded scheduler decides at every lock, atomic, wake and sleep (F68).
//!
//! Promises: a failure prints the schedule that leads to it, and `PAPERCHASE_SCHEDULE` plays it
//! again. Time passes when a thread of the test lets it, so a missed wake is no slow answer but
//! none. Atomics are sequentially consistent here; weaker ones are for the models of the stages.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::{Config, MaxSteps, Runner};

use super::failing::{Faults, failing_disk};
use crate::clock::SimClock;
use crate::disk::Disk;
use crate::disk::sim::SimDisk;
use crate::error::{AppendError, Error};
use crate::event::{Expected, NewEvent};
use crate::log::{Log, Reader};
use crate::options::Options;
use crate::position::{Position, StreamVersion};
use crate::sync::{thread, time};

/// Changes of the running thread that the second scheduler chooses, besides the order of threads.
const PCT_DEPTH: usize = 4;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|number| number.parse().ok())
}

fn run(scheduler: impl Scheduler + 'static, scenario: impl Fn() + Send + Sync + 'static) -> usize {
    let mut config = Config::new();
    config.stack_size = 256 << 10;
    // Some hundred times what a scenario needs: beyond it nobody comes further.
    config.max_steps = MaxSteps::FailAfter(300_000);
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(scenario)
}

/// Plays a scenario under so many schedules, half of them random, half with few changes of the
/// running thread.
fn explore(schedules: usize, scenario: impl Fn() + Send + Sync + Clone + 'static) {
    if let Ok(schedule) = std::env::var("PAPERCHASE_SCHEDULE") {
        run(ReplayScheduler::new_from_encoded(&schedule), scenario);
        return;
    }
    let schedules = number("PAPERCHASE_SCHEDULES").map_or(schedules, |all| all as usize / 4);
    let seed = number("PAPERCHASE_SEED");
    let seed = seed.unwrap_or_else(|| crate::clock::fresh_log_id().as_u64_pair().0);
    println!("PAPERCHASE_SEED={seed}, {schedules} schedules");
    let half = schedules / 2;
    run(RandomScheduler::new_from_seed(seed, half), scenario.clone());
    run(PctScheduler::new_from_seed(seed, PCT_DEPTH, schedules - half), scenario);
}

/// A log whose time passes by a thread of its own.
struct World {
    disk: SimDisk,
    faults: Arc<Faults>,
    clock: Arc<SimClock>,
    ended: Arc<AtomicBool>,
    timer: thread::JoinHandle<()>,
}

impl World {
    fn open(options: Options) -> (Self, Log) {
        time::begin();
        let (disk, faults, failing) = failing_disk();
        let (clock, ended) = (Arc::new(SimClock::new()), Arc::new(AtomicBool::new(false)));
        let (passing, has_ended) = (Arc::clone(&clock), Arc::clone(&ended));
        let log = options.open_on(failing, Arc::clone(&clock) as _).unwrap();
        let timer = thread::spawn(move || {
            while !has_ended.load(Ordering::Relaxed) {
                if time::sleepers() > 0 {
                    passing.advance(Duration::from_micros(300));
                    time::pass();
                }
                thread::yield_now();
            }
        });
        (Self { disk, faults, clock, ended, timer }, log)
    }

    /// The log as it is found when it is opened again, and how many events it has.
    fn end(self) -> u64 {
        self.ended.store(true, Ordering::Relaxed);
        self.timer.join().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(self.disk);
        let (engine, _) = crate::log::engine::Engine::open(disk, self.clock, options()).unwrap();
        let reader = engine.core.reader();
        whole(&reader)
    }
}

fn options() -> Options {
    Options::new()
        .chunk_size(64 << 10)
        .prepare_ahead(64 << 10)
        .queue_appends(2)
        .max_delay(Duration::from_millis(1))
        .admission_wait(Duration::MAX)
        .spin(Duration::ZERO)
}

/// Appends events to a stream of one's own, and calls for each that is stored.
fn append(log: &Log, client: u64, events: u64, size: usize, stored: &AtomicU64) {
    for version in 0..events {
        let expected = match version.checked_sub(1) {
            None => Expected::NoStream,
            Some(last) => Expected::Exact(StreamVersion::new(last)),
        };
        let event = NewEvent::new("Said", vec![client as u8; size]);
        let ack = log.append(&format!("client-{client}"), expected, [event]);
        match ack.and_then(crate::stage::ack::Ack::wait) {
            Ok(done) => {
                assert_eq!(done.version, StreamVersion::new(version));
                assert!(log.view().end() > done.last_position, "acked means visible");
                stored.fetch_add(1, Ordering::Relaxed);
            }
            Err(AppendError::Failed(_)) => return,
            Err(other) => panic!("{other}"),
        }
    }
}

/// Reads everything, and tells how much that is: gapless in the log and in each stream.
fn whole(reader: &Reader) -> u64 {
    let view = reader.view();
    let mut versions = [0; 4];
    let mut count = 0;
    for event in view.read_all(..) {
        let event = event.unwrap();
        let client: usize = event.stream()[7..].parse().unwrap();
        assert_eq!(event.position(), Position::new(count), "gapless");
        assert_eq!(event.version(), StreamVersion::new(versions[client]), "in order");
        assert!(event.data().iter().all(|byte| usize::from(*byte) == client), "unchanged");
        versions[client] += 1;
        count += 1;
    }
    assert_eq!(view.end(), Position::new(count));
    for (client, next) in versions.into_iter().enumerate() {
        let events = view.read_stream(&format!("client-{client}"), ..).unwrap();
        assert_eq!(events.map(Result::unwrap).count() as u64, next);
    }
    count
}

/// Reads again and again: what is seen stays, and grows.
fn read(reader: &Reader, times: u32) {
    let mut last = 0;
    for _ in 0..times {
        let count = whole(reader);
        assert!(count >= last, "what was seen survives");
        last = count;
    }
}

/// Takes all events until the log ends: each once, in order. Returns how many, and the failure.
fn follow(reader: &Reader) -> (u64, Option<Error>) {
    let mut count = 0;
    let mut subscription = reader.subscribe(Position::START).unwrap();
    for event in subscription.events() {
        match event {
            Ok(event) => assert_eq!(event.position(), Position::new(count), "once, in order"),
            Err(error) => return (count, Some(error)),
        }
        count += 1;
    }
    (count, None)
}

/// Two clients, a reader and a subscriber on one log, which is closed when the clients have gone.
fn all_at_once(size: usize, events: u64) {
    let (world, log) = World::open(options());
    let (log, stored) = (Arc::new(log), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..2)
        .map(|client| {
            let (log, stored) = (Arc::clone(&log), Arc::clone(&stored));
            thread::spawn(move || append(&log, client, events, size, &stored))
        })
        .collect();
    let reader = Reader::clone(&log);
    let reading = thread::spawn(move || read(&reader, 3));
    let reader = Reader::clone(&log);
    let following = thread::spawn(move || follow(&reader));
    let mut subscription = log.subscribe(Position::START).unwrap();
    // Told without the help of the close: a wake that is missed is waited for in vain.
    let told = thread::spawn(move || subscription.events().take(2 * events as usize).count());
    assert_eq!(told.join().unwrap() as u64, 2 * events);
    clients.into_iter().for_each(|client| client.join().unwrap());
    let log = Arc::try_unwrap(log).expect("the clients have gone");
    log.close().unwrap();
    let (told, failure) = following.join().unwrap();
    assert!(failure.is_none(), "{failure:?}");
    reading.join().unwrap();
    assert_eq!((stored.load(Ordering::Relaxed), told), (2 * events, 2 * events));
    assert_eq!(world.end(), 2 * events);
}

#[test]
fn f68_every_event_is_answered_read_and_told_once() {
    explore(10_000, || all_at_once(10, 3));
}

#[test]
fn f68_nothing_is_lost_where_one_chunk_ends_and_the_next_begins() {
    explore(10_000, || all_at_once(20_000, 3));
}

/// The log is dropped while acks are awaited, by threads that wait and one that follows.
fn dropped(size: usize) {
    explore(10_000, move || {
        let (world, log) = World::open(options());
        let reader = Reader::clone(&log);
        let log = Arc::new(log);
        let clients: Vec<_> = (0..2u64)
            .map(|client| {
                let log = Arc::clone(&log);
                thread::spawn(move || {
                    let stream = format!("client-{client}");
                    let event = || NewEvent::new("Said", vec![client as u8; size]);
                    let append = |_| log.append(&stream, Expected::Any, [event()]).unwrap();
                    let acks: Vec<_> = (0..3).map(append).collect();
                    drop(log);
                    let answers = acks.into_iter().map(|ack| ack.wait().unwrap().last_position);
                    assert!(answers.is_sorted_by(|first, second| first < second));
                })
            })
            .collect();
        let following = thread::spawn(move || follow(&reader));
        drop(log);
        clients.into_iter().for_each(|client| client.join().unwrap());
        let (told, failure) = following.join().unwrap();
        assert!(told == 6 && failure.is_none(), "{failure:?}");
        assert_eq!(world.end(), 6);
    });
}

#[test]
fn f05_whoever_waits_is_answered_when_the_log_is_dropped() {
    dropped(1);
}

#[test]
fn f05_whoever_waits_for_what_is_checked_ahead_is_answered_when_the_log_is_dropped() {
    dropped(5_000);
}

/// A sync fails at some moment of two clients' appends.
fn failing_sync(size: usize) {
    explore(10_000, move || {
        let (world, log) = World::open(options());
        let (log, stored) = (Arc::new(log), Arc::new(AtomicU64::new(0)));
        let clients: Vec<_> = (0..2)
            .map(|client| {
                let (log, stored) = (Arc::clone(&log), Arc::clone(&stored));
                thread::spawn(move || append(&log, client, 3, size, &stored))
            })
            .collect();
        let faults = Arc::clone(&world.faults);
        let failing = thread::spawn(move || faults.sync.store(true, Ordering::SeqCst));
        let reader = Reader::clone(&log);
        let following = thread::spawn(move || follow(&reader));
        clients.into_iter().for_each(|client| client.join().unwrap());
        failing.join().unwrap();
        let log = Arc::try_unwrap(log).expect("the clients have gone");
        let reader = Reader::clone(&log);
        let closed = log.close();
        let (told, failure) = following.join().unwrap();
        let stored = stored.load(Ordering::Relaxed);
        let visible = whole(&reader);
        assert!(stored <= visible && told == visible, "{stored} {visible} {told}");
        assert!(stored == 6 || closed.is_err(), "a refused append has its reason");
        assert!(failure.is_none() || closed.is_err());
        world.faults.sync.store(false, Ordering::SeqCst);
        assert!(world.end() >= visible, "what was seen survives");
    });
}

#[test]
fn f20_a_sync_that_fails_at_any_moment_answers_everybody() {
    failing_sync(10);
}

#[test]
fn f20_a_sync_that_fails_while_its_group_is_checked_answers_everybody() {
    failing_sync(5_000);
}
