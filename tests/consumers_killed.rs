//! Owns the proof that consumers in a process that is killed at any moment leave each result
//! exactly once.
//!
//! A child copies a log, which this process writes meanwhile, into a log of its own
//! (`Log::consumer_of` on a follower), and sums up what was copied by a second consumer, of its own
//! log. It is killed when it has stored a random number of bulks more, or while it starts. Twelve
//! kills; more with `PAPERCHASE_KILLS=200` in the environment. How far a child comes depends on the
//! machine; what must hold does not.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "what is wrong ends the test"
)]

mod support;

use std::collections::VecDeque;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use paperchase::{
    Ack, Append, Consumer, Expected, Log, NewEvent, Options, Position, Query, RecordedEvent,
    Subscription, Update,
};
use support::Random;
use support::child::{self, Lines, Running};

const ORDERS_A_KILL: u64 = 400;
const BULK_MAX: usize = 5;
const SIGKILL: i32 = 9;
const COPIES: &str = "copy-1";
const SUMS: &str = "sum-1";

fn options() -> Options {
    Options::new().chunk_size(1 << 20).prepare_ahead(256 << 10)
}

/// What the order of this number holds.
fn data(number: u64) -> Vec<u8> {
    let mut random = Random::with(number);
    let length = random.below(3_000);
    let mut data = number.to_le_bytes().to_vec();
    data.extend((0..length).map(|_| random.next().to_le_bytes()[0]));
    data
}

fn number(event: &RecordedEvent) -> u64 {
    u64::from_le_bytes(event.data()[..8].try_into().unwrap())
}

/// Hands on the events of a subscription in bulks: those that are there, up to a limit.
fn bulks(subscription: Subscription, mut handle: impl FnMut(Vec<RecordedEvent>) -> bool) {
    let mut bulk = Vec::new();
    for update in subscription {
        let is_caught_up = match update.unwrap() {
            Update::Event(event) => {
                bulk.push(event);
                false
            }
            _ => true,
        };
        let is_due = bulk.len() >= BULK_MAX || (is_caught_up && !bulk.is_empty());
        if is_due && !handle(std::mem::take(&mut bulk)) {
            return;
        }
    }
}

/// Submits bulk after bulk, some on their way at once, and tells of each ack.
struct Hand<'a> {
    log: &'a Log,
    consumer: &'a Consumer,
    flight: VecDeque<Ack>,
}

impl Hand<'_> {
    fn submit(&mut self, stream: &str, results: Vec<NewEvent>, last: &RecordedEvent) {
        let place = self.consumer.behind(last);
        let append = Append::new().events(stream, results).commit(self.consumer, place);
        self.flight.push_back(append.submit(self.log).unwrap());
        self.land(4);
    }

    fn land(&mut self, left: usize) {
        while self.flight.len() > left {
            self.flight.pop_front().unwrap().wait().unwrap();
            child::say("stored");
        }
    }
}

/// The last event of a stream.
fn last(log: &Log, stream: &str) -> Option<RecordedEvent> {
    log.read_stream(stream, ..).unwrap().next_back().map(Result::unwrap)
}

/// Copies so many orders from the source, each event as one of the same data.
fn copy(log: &Log, source: &Path, orders: u64) {
    let source = Log::follow(source).unwrap();
    let consumer = log.consumer_of("copier", &source).unwrap();
    if consumer.place().position() >= Position::new(orders) {
        return;
    }
    let mut hand = Hand { log, consumer: &consumer, flight: VecDeque::new() };
    bulks(consumer.subscribe().unwrap(), |bulk| {
        let copies = bulk.iter().map(|order| NewEvent::new("Copied", order.data()));
        let last = bulk.last().unwrap();
        hand.submit(COPIES, copies.collect(), last);
        number(last) + 1 < orders
    });
    hand.land(0);
}

/// Sums up the numbers of what was copied: a result that rests on all before it.
fn sum(log: &Log, orders: u64) {
    let consumer = log.consumer("summer").unwrap();
    let mut sum = last(log, SUMS).map_or(0, |event| number(&event));
    let is_done = log.read_stream(SUMS, ..).unwrap().count() as u64 == orders;
    if is_done {
        return;
    }
    let mut hand = Hand { log, consumer: &consumer, flight: VecDeque::new() };
    bulks(consumer.subscribe_query(&Query::stream(COPIES)).unwrap(), |bulk| {
        let sums = bulk.iter().map(|copied| {
            sum += number(copied);
            NewEvent::new("Summed", sum.to_le_bytes())
        });
        let (sums, last) = (sums.collect(), bulk.last().unwrap());
        hand.submit(SUMS, sums, last);
        number(last) + 1 < orders
    });
    hand.land(0);
}

/// The child's part. As a test of its own it does nothing.
#[test]
fn child_consumes() {
    let Some(directory) = child::directory() else { return };
    let orders: u64 = fs::read_to_string(directory.join("orders")).unwrap().parse().unwrap();
    let log = options().open(directory.join("target")).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| copy(&log, &directory.join("source"), orders));
        scope.spawn(|| sum(&log, orders));
    });
    log.close().unwrap();
    child::say("done");
    // The parent ends every child.
    std::io::Read::read_to_end(&mut std::io::stdin(), &mut Vec::new()).unwrap();
}

/// Counts what a child says is stored. Returns whether it is done.
fn hear(lines: Lines, stored: &mpsc::Sender<()>) -> bool {
    for line in lines {
        match &*line {
            "stored" => stored.send(()).unwrap(),
            "done" => return true,
            _ => {}
        }
    }
    false
}

/// Runs a child and kills it when it has stored so many bulks, or is done. Returns whether it was.
fn run_and_kill(directory: &Path, bulks: usize, early: Option<Duration>) -> bool {
    let (child, lines) = Running::start("child_consumes", directory);
    let (stored, bulk) = mpsc::channel();
    let (status, done) = thread::scope(|scope| {
        let hearer = scope.spawn(move || hear(lines, &stored));
        match early {
            Some(delay) => _ = bulk.recv_timeout(delay),
            // A child that is done says no more.
            None => _ = bulk.iter().take(bulks).last(),
        }
        let status = child.kill();
        bulk.iter().for_each(drop);
        (status, hearer.join().unwrap())
    });
    assert_eq!(status.signal(), Some(SIGKILL), "the child ended by itself: {status}");
    done
}

/// The target has the first orders, each once and in order, their sums, and no place beyond or
/// short of them. Returns how many were copied and summed.
fn check(log: &Log) -> (u64, u64) {
    let read =
        |stream: &str| log.read_stream(stream, ..).unwrap().map(Result::unwrap).collect::<Vec<_>>();
    let (copies, sums) = (read(COPIES), read(SUMS));
    for (expected, copy) in (0..).zip(&copies) {
        assert!(copy.data() == data(expected), "copy {expected} is of {}", number(copy));
    }
    let mut total = 0;
    for (expected, sum) in (0..).zip(&sums) {
        total += expected;
        assert_eq!(number(sum), total, "sum {expected}");
    }
    let place = |name| log.view().place_of_consumer(name).unwrap().map(|it| it.position());
    assert_eq!(place("copier").unwrap_or_default().get(), copies.len() as u64);
    let summed = sums.len().checked_sub(1).map(|last| copies[last].position().get() + 1);
    assert_eq!(place("summer").map(Position::get), summed);
    (copies.len() as u64, sums.len() as u64)
}

#[test]
fn killed_at_random_consumers_leave_each_result_once() {
    let mut random = Random::new();
    let kills: u64 = std::env::var("PAPERCHASE_KILLS").map_or(12, |kills| kills.parse().unwrap());
    let orders = kills * ORDERS_A_KILL;
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path();
    fs::write(directory.join("orders"), orders.to_string()).unwrap();
    let source = options().open(directory.join("source")).unwrap();
    let open = || options().open(directory.join("target")).unwrap();
    let (mut next, mut cut) = (0, 0);
    for kill in 1..=kills {
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut flight = VecDeque::new();
                for number in next..kill * ORDERS_A_KILL {
                    let event = NewEvent::new("Ordered", data(number));
                    flight.push_back(source.append("order-1", Expected::Any, [event]).unwrap());
                    if flight.len() > 8 {
                        flight.pop_front().unwrap().wait().unwrap();
                    }
                }
                flight.into_iter().for_each(|ack| _ = ack.wait().unwrap());
            });
            // The first one makes the log, so that all others find one.
            let early = (kill > 1 && random.below(4) == 0)
                .then(|| Duration::from_micros(random.below(30_000)));
            // A child has at least so many bulks to store.
            let bulks = 1 + random.below(ORDERS_A_KILL / BULK_MAX as u64) as usize;
            run_and_kill(directory, bulks, early);
        });
        next = kill * ORDERS_A_KILL;
        // Half of the children recover by themselves.
        if random.below(2) == 0 {
            let log = open();
            check(&log);
            cut += usize::from(log.report().cut.is_some());
        }
    }
    assert!(run_and_kill(directory, usize::MAX, None), "the last child is done");
    let log = open();
    assert!(log.report().clean, "{:?}", log.report());
    assert_eq!(check(&log), (orders, orders));
    let instances = log.view().consumers().unwrap().iter().map(|it| it.instances).sum::<u64>();
    let chunks = (source.view().chunks().len(), log.view().chunks().len());
    println!("{kills} kills, {orders} orders, {instances} instances, {cut} tails cut");
    println!("chunks of source and target: {chunks:?}");
}
