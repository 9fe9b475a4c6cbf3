//! Owns the proof that a subscription in a process beside the writing one delivers every event that
//! is meant once and in order, whatever becomes of the writer.
//!
//! Writers are child processes with four appending threads and small chunks, so that rolls and
//! seals are hit; they are killed at random and started again. Twenty such runs; more with
//! `PAPERCHASE_RUNS=100` in the environment. What happens is paced by what was acked; the bounds on
//! time only end a test that would wait for ever.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "what is wrong ends the test")]
#![allow(
    clippy::disallowed_methods,
    reason = "subscribers outlive the follower in threads of their own"
)]

mod support;

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use paperchase::clock::{Clock, SystemClock};
use paperchase::{
    Error, ErrorKind, Expected, Follower, Log, NewEvent, OpenError, Options, Position, Query,
    Reader, RecordedEvent, Result, StreamVersion, Subscription, Update,
};
use support::Random;
use support::child::{self, Lines, Running};
use support::subscribed::{Subscriber, events};
use uuid::Uuid;

const WRITERS: u64 = 4;
/// About 100 appends fill a chunk.
const SIZE_MAX: u64 = 10_000;
const LONG: Duration = Duration::from_secs(100);

fn options() -> Options {
    Options::new().chunk_size(1 << 20).prepare_ahead(256 << 10)
}

fn log_in(directory: &Path) -> PathBuf {
    directory.join("log")
}

/// Appends for ever, from one append in flight to many and back, and tells of each ack.
fn write_and_say(log: &Log, number: u64, seed: u64) {
    let (mut random, mut flight) = (Random::with(seed ^ number), VecDeque::new());
    for turn in 0.. {
        let events = events(&mut random, SIZE_MAX);
        flight.push_back(log.append(&format!("writer-{number}"), Expected::Any, events).unwrap());
        while flight.len() > turn / 8 % 16 {
            let done = flight.pop_front().unwrap().wait().unwrap();
            let event = log.read_all(done.last_position..).unwrap().next().unwrap().unwrap();
            child::say(&format!("acked {} {}", event.position(), event.id()));
        }
    }
}

/// The child's part. As a test of its own it does nothing.
#[test]
fn child_writes() {
    let Some(directory) = child::directory() else { return };
    let seed: u64 = fs::read_to_string(directory.join("seed")).unwrap().parse().unwrap();
    let log = options().open(log_in(&directory)).unwrap();
    thread::scope(|scope| {
        for number in 0..WRITERS {
            let log = &log;
            scope.spawn(move || write_and_say(log, number, seed));
        }
    });
}

/// The ids of the events of which a child has said that they are acked, by position.
type Acked = BTreeMap<u64, Uuid>;

fn listen(lines: Lines, count: &AtomicU64) -> Acked {
    let mut acked = Acked::new();
    for line in lines {
        if let Some(ack) = line.strip_prefix("acked ") {
            let (position, id) = ack.split_once(' ').unwrap();
            acked.insert(position.parse().unwrap(), id.parse().unwrap());
            count.fetch_add(1, Ordering::SeqCst);
        }
    }
    acked
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let clock = SystemClock::default();
    while !is_so() {
        assert!(clock.monotonic() < LONG, "waited in vain: {what}");
        thread::sleep(Duration::from_micros(200));
    }
}

/// Follows a log from the first moment at which there is one.
fn follow(log: &Path) -> Follower {
    let mut follower = None;
    wait_until("a log to follow", || match Log::follow(log) {
        Ok(found) => follower.replace(found).is_none(),
        Err(OpenError::Missing(_)) => false,
        Err(error) => panic!("{error}"),
    });
    follower.unwrap()
}

/// A log with the writers that come and go, and those who look on.
struct Run {
    random: Random,
    directory: tempfile::TempDir,
    followers: Vec<Follower>,
    subscribers: Vec<Subscriber>,
    acked: Acked,
}

impl Run {
    fn new(seed: u64) -> Self {
        Self {
            random: Random::with(seed),
            directory: tempfile::tempdir().unwrap(),
            followers: Vec::new(),
            subscribers: Vec::new(),
            acked: Acked::new(),
        }
    }

    /// Lets a writer work until it has acked some hundred appends, or dies while it opens the log.
    fn session(&mut self) {
        fs::write(self.directory.path().join("seed"), self.random.next().to_string()).unwrap();
        let (child, lines) = Running::start("child_writes", self.directory.path());
        let count = AtomicU64::new(0);
        let acked = thread::scope(|scope| {
            let count = &count;
            let listener = scope.spawn(move || listen(lines, count));
            self.look_on(count);
            child.kill();
            listener.join().unwrap()
        });
        self.acked.extend(acked);
    }

    fn look_on(&mut self, acked: &AtomicU64) {
        if self.followers.is_empty() {
            self.followers.push(follow(&log_in(self.directory.path())));
        } else if self.random.below(4) == 0 {
            return thread::sleep(Duration::from_micros(self.random.below(20_000)));
        }
        let mut target = 0;
        for _ in 0..=self.random.below(3) {
            target += self.random.below(200);
            wait_until("acks", || acked.load(Ordering::SeqCst) >= target);
            self.begin();
        }
    }

    /// Begins a subscription, now and then on a new follower.
    fn begin(&mut self) {
        if self.random.below(6) == 0 {
            self.followers.push(Log::follow(log_in(self.directory.path())).unwrap());
        }
        let any = self.random.below(self.followers.len() as u64) as usize;
        let subscriber = Subscriber::begin(&self.followers[any], &mut self.random, 2_000);
        self.subscribers.push(subscriber);
    }

    /// Compares everything with what the log holds once it is opened again. Returns how many events
    /// and chunks it has, and how many events were delivered.
    fn check(self) -> [usize; 3] {
        let log = options().open(log_in(self.directory.path())).unwrap();
        let events: Vec<_> = log.view().read_all(..).map(Result::unwrap).collect();
        let chunks = log.view().chunks().len();
        for (position, id) in &self.acked {
            let event = events.get(usize::try_from(*position).unwrap());
            assert_eq!(event.map(RecordedEvent::id), Some(*id), "acked at {position}");
        }
        log.close().unwrap();
        for follower in &self.followers {
            let end = || follower.view().end().get() as usize;
            wait_until("what was recovered", || end() >= events.len());
            assert_eq!(end(), events.len());
            assert!(follower.failure().is_none());
        }
        for subscriber in &self.subscribers {
            wait_until("what is meant", || subscriber.has_all(&events));
        }
        drop(self.followers);
        let delivered = self.subscribers.into_iter().map(|it| it.check(&events)).sum();
        [events.len(), chunks, delivered]
    }
}

#[test]
fn every_event_once_and_in_order_beside_writers_that_are_killed() {
    let runs = std::env::var("PAPERCHASE_RUNS").map_or(20, |runs| runs.parse().unwrap());
    let mut seeds = Random::new();
    let (mut kills, mut subscriptions, mut sums) = (0, 0, [0; 3]);
    for _ in 0..runs {
        let seed = seeds.next();
        let mut run = Run::new(seed);
        for _ in 0..3 + run.random.below(3) {
            run.session();
            kills += 1;
            if run.random.below(3) == 0 {
                run.begin();
            }
        }
        subscriptions += run.subscribers.len();
        for (sum, count) in sums.iter_mut().zip(run.check()) {
            *sum += count;
        }
    }
    let [events, chunks, delivered] = sums;
    println!("{runs} runs, {kills} kills, {events} events, {chunks} chunks");
    println!("{subscriptions} subscriptions, {delivered} events delivered");
    assert!(chunks > 2 * runs, "the logs rolled: {chunks} chunks in {runs} runs");
}

fn write(directory: &Path, events: u64) {
    let log = options().open(directory).unwrap();
    for number in 0..events {
        let event = NewEvent::new("Followed", number.to_le_bytes()).tag("even");
        log.append("followed-1", Expected::Any, [event]).unwrap().wait().unwrap();
    }
    log.close().unwrap();
}

/// A subscription of each kind.
fn subscriptions(reader: &Reader) -> [Subscription; 4] {
    let none = Query::tag("nothing has it");
    [
        reader.subscribe(Position::START).unwrap(),
        reader.subscribe(Position::new(1_000)).unwrap(),
        reader.subscribe_query(&none, Position::START).unwrap(),
        reader.subscribe_stream("followed-1", StreamVersion::new(4)).unwrap(),
    ]
}

/// Lets each subscription wait in a thread of its own. When all of them do, `end` is called.
/// Returns how many events each delivered, and the errors.
fn wait_for_the_end(reader: &Reader, end: impl FnOnce()) -> Vec<(usize, Vec<Error>)> {
    let (told, heard) = mpsc::channel();
    let threads = subscriptions(reader).map(|subscription| {
        let told = told.clone();
        thread::spawn(move || {
            let (mut events, mut errors) = (0, Vec::new());
            for update in subscription {
                match update {
                    Ok(Update::Event(_)) if errors.is_empty() => events += 1,
                    Ok(Update::CaughtUp(_)) => told.send(()).unwrap(),
                    Ok(update) => panic!("{update:?} behind {errors:?}"),
                    Err(error) => errors.push(error),
                }
            }
            (events, errors)
        })
    });
    (0..threads.len()).for_each(|_| heard.recv().unwrap());
    end();
    threads.map(|thread| thread.join().unwrap()).into()
}

#[test]
fn dropping_a_follower_ends_its_subscriptions() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), 10);
    let follower = Log::follow(directory.path()).unwrap();
    let reader: Reader = follower.clone();
    let ended = wait_for_the_end(&reader, || drop(follower));
    let events: Vec<_> = ended.iter().map(|(events, _)| *events).collect();
    assert_eq!(events, [10, 0, 0, 6]);
    assert!(ended.iter().all(|(_, errors)| errors.is_empty()), "{ended:?}");
    write(directory.path(), 10);
    let late = reader.subscribe(Position::new(8)).unwrap();
    assert_eq!(late.count(), 3, "a reader that outlives it reads what it has seen, and ends");
    assert_eq!(reader.view().end(), Position::new(10));
}

#[test]
fn replacing_the_log_ends_subscriptions_with_one_error() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    write(directory, 10);
    let follower = Log::follow(directory).unwrap();
    let ended = wait_for_the_end(&follower, || {
        for entry in fs::read_dir(directory).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        write(directory, 20);
    });
    for ((events, errors), wanted) in ended.iter().zip([10, 0, 0, 6]) {
        assert_eq!(*events, wanted);
        assert!(matches!(&errors[..], [error] if error.kind() == ErrorKind::Replaced), "{ended:?}");
    }
    for mut late in subscriptions(&follower) {
        let updates: Vec<_> = late.by_ref().collect();
        assert_eq!(updates.iter().filter(|update| update.is_err()).count(), 1, "{updates:?}");
        assert!(updates.last().unwrap().is_err());
        assert!(matches!(late.try_next(), Poll::Ready(None)));
    }
    assert_eq!(follower.view().read_all(..).map(Result::unwrap).count(), 10);
}
