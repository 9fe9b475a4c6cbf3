//! Owns the proof of F01: a process that is killed at any moment loses nothing that it was told is
//! stored, nor anything that one of its readers has shown.
//!
//! A child checks the log, appends with many appends in flight while a subscription reads along,
//! and closes it, telling the parent each ack and what was read; the parent keeps the ledger and
//! kills it: while it opens, under load, just behind a roll, or while it closes. The next child
//! goes on only if it finds all that was told; every other time the parent checks first. Each log
//! takes 20 kills; several logs are worked on at once. 200 kills, or `PAPERCHASE_KILLS`.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "what is wrong ends the test"
)]

mod support;

use std::collections::{BTreeMap, VecDeque};
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use paperchase::clock::{Clock, SystemClock};
use paperchase::{Expected, Log, NewEvent, OpenReport, Options, Position, Subscription, View};
use support::Random;
use support::child::{self, Lines, Running};
use support::ledger::{self, Ledger, Told};

const SIGKILL: i32 = 9;
const SIZE_MAX: u64 = 3_000;
const KILLS_A_LOG: u64 = 20;
const WORKERS: u64 = 2;

fn options() -> Options {
    Options::new().chunk_size(1 << 20).prepare_ahead(256 << 10)
}

/// The child's part. As a test of its own it does nothing.
#[test]
fn child_appends() {
    let Some(directory) = child::directory() else { return };
    let orders = child::orders();
    let (life, told) = orders.split_once(' ').unwrap();
    let life: u64 = life.parse().unwrap();
    child::say("opening");
    let log = options().open(directory).unwrap();
    let mut ledger = Ledger::new(SIZE_MAX);
    told.split_whitespace().for_each(|told| ledger.note(told.parse().unwrap()));
    ledger.check(&log.view());
    child::say(&format!("open {}", left_by(log.report())));

    let subscription = log.subscribe(Position::new(ledger.end())).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| observe(subscription));
        load(&log, life, ledger.next_number());
        child::say("closing");
        log.close().unwrap();
    });
    child::say("closed");
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// Appends until the log has rolled a few times.
fn load(log: &Log, life: u64, first: u64) {
    let mut flight = VecDeque::new();
    let mut chunks = log.view().chunks().len();
    let enough = chunks + 3;
    for number in first.. {
        let events = ledger::append(number, life, SIZE_MAX);
        let events = events.into_iter().map(|data| NewEvent::new("Killed", data));
        let ack = log.append(&ledger::stream(number), Expected::Any, events).unwrap();
        flight.push_back((number, ack));
        // From one append in flight to many, and back.
        while flight.len() as u64 > number / 8 % 64 {
            let (number, ack) = flight.pop_front().unwrap();
            let position = ack.wait().unwrap().first_position.get();
            child::say(&format!("acked {}", Told { number, life, position }));
        }
        let now = log.view().chunks().len();
        if now > chunks {
            child::say("rolled");
            chunks = now;
        }
        if chunks >= enough {
            // What is in flight is not waited for: closing stores it.
            return;
        }
    }
}

/// Tells each append that it reads, when it has read the last of its events.
fn observe(mut subscription: Subscription) {
    for event in subscription.events() {
        let (told, is_whole) = ledger::of_event(&event.unwrap());
        if is_whole {
            child::say(&format!("seen {told}"));
        }
    }
}

/// What the last kill has left behind, by what opening had to do.
fn left_by(report: &OpenReport) -> &'static str {
    match report {
        report if report.created => "no log",
        report if report.clean => "a closed log",
        report if report.resealed > 0 => "a chunk to seal",
        report if report.cut.is_some() => "a torn group",
        report if report.bytes_hardened > 0 => "a doubtful tail",
        _ => "nothing in doubt",
    }
}

/// What the next kill is aimed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Start,
    Open,
    Load,
    Roll,
    Close,
}

impl Phase {
    fn random(random: &mut Random) -> Self {
        match random.below(16) {
            0 => Self::Start,
            1..4 => Self::Open,
            4..7 => Self::Roll,
            7..9 => Self::Close,
            _ => Self::Load,
        }
    }

    /// The line of the child from which on the kill is due, and the longest time until then.
    fn moment(self) -> (&'static str, Duration) {
        match self {
            Self::Start => ("", Duration::from_millis(10)),
            Self::Open => ("opening", Duration::from_millis(8)),
            Self::Load => ("acked", Duration::from_millis(60)),
            Self::Roll => ("rolled", Duration::from_millis(4)),
            Self::Close => ("closing", Duration::from_millis(4)),
        }
    }
}

/// What all kills together have shown.
#[derive(Debug, Default)]
struct Totals {
    aimed: BTreeMap<Phase, u64>,
    left: BTreeMap<String, u64>,
    acked: u64,
    seen: u64,
    events: u64,
    chunks: u64,
}

impl Totals {
    fn add(&mut self, other: Self) {
        other
            .aimed
            .into_iter()
            .for_each(|(phase, count)| *self.aimed.entry(phase).or_default() += count);
        other
            .left
            .into_iter()
            .for_each(|(left, count)| *self.left.entry(left).or_default() += count);
        self.acked += other.acked;
        self.seen += other.seen;
        self.events += other.events;
        self.chunks += other.chunks;
    }
}

/// One log and what is known of it.
struct Campaign {
    directory: tempfile::TempDir,
    random: Random,
    ledger: Ledger,
    /// What the last ack and the last word of a reader of each life were.
    told: BTreeMap<(u64, &'static str), Told>,
    totals: Totals,
}

impl Campaign {
    fn new(seed: u64) -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            random: Random::with(seed),
            ledger: Ledger::new(SIZE_MAX),
            told: BTreeMap::new(),
            totals: Totals::default(),
        }
    }

    /// Runs a child until it is killed, and notes what it said. Where it gets to before it is
    /// killed is by chance; none is too early or late.
    fn run_and_kill(&mut self, life: u64) {
        let told: Vec<_> = self.told.values().map(ToString::to_string).collect();
        let orders = format!("{life} {}", told.join(" "));
        let (child, lines) = Running::start_with("child_appends", self.directory.path(), &orders);
        let phase = Phase::random(&mut self.random);
        let (word, delay) = phase.moment();
        let delay = Duration::from_micros(self.random.below(delay.as_micros() as u64));
        let (due, is_due) = mpsc::channel();
        let status = thread::scope(|scope| {
            scope.spawn(|| self.listen(lines, life, word, &due));
            if !word.is_empty() {
                // An error tells that the child has ended by itself, which its status then shows.
                let _ = is_due.recv();
            }
            thread::sleep(delay);
            child.kill()
        });
        assert_eq!(status.signal(), Some(SIGKILL), "the child ended by itself: {status}");
        *self.totals.aimed.entry(phase).or_default() += 1;
    }

    fn listen(&mut self, lines: Lines, life: u64, word: &str, due: &mpsc::Sender<()>) {
        for line in lines {
            let (first, rest) = line.split_once(' ').unwrap_or((&line, ""));
            let kind = match first {
                "acked" => "acked",
                "seen" => "seen",
                _ => {
                    if first == "open" {
                        *self.totals.left.entry(rest.to_owned()).or_default() += 1;
                    }
                    ""
                }
            };
            if !kind.is_empty() {
                let told: Told = rest.parse().unwrap();
                self.ledger.note(told);
                self.told.insert((life, kind), told);
                *(if kind == "acked" { &mut self.totals.acked } else { &mut self.totals.seen }) +=
                    1;
            }
            if first == word {
                let _ = due.send(());
            }
        }
    }

    fn check(&mut self) {
        let beside = View::open(self.directory.path());
        let log = options().open(self.directory.path()).unwrap();
        if log.report().created {
            // The child was killed before it had made a log that anything was told of.
        } else {
            assert!(beside.unwrap().end() <= log.view().end());
        }
        *self.totals.left.entry(left_by(log.report()).to_owned()).or_default() += 1;
        self.ledger.check(&log.view());
        if self.random.below(2) == 0 {
            log.close().unwrap();
        }
    }

    fn finish(mut self) -> Totals {
        let log = options().open(self.directory.path()).unwrap();
        self.ledger.check(&log.view());
        self.ledger.check_all(&log.view());
        self.totals.events = self.ledger.end();
        self.totals.chunks = log.view().chunks().len() as u64;
        log.close().unwrap();
        self.ledger.check_all(&View::open(self.directory.path()).unwrap());
        let log = Log::open(self.directory.path()).unwrap();
        assert!(log.report().clean, "{:?}", log.report());
        self.totals
    }
}

/// Kills the children of logs that nobody else works on, until there were enough.
fn work(seed: u64, kills: u64, taken: &AtomicU64) -> Totals {
    let mut totals = Totals::default();
    loop {
        let first = taken.fetch_add(KILLS_A_LOG, Ordering::Relaxed);
        if first >= kills {
            return totals;
        }
        let mut campaign = Campaign::new(seed ^ first);
        for kill in first..kills.min(first + KILLS_A_LOG) {
            campaign.run_and_kill(kill);
            if campaign.random.below(2) == 0 {
                campaign.check();
            }
        }
        totals.add(campaign.finish());
    }
}

#[test]
fn f01_killed_at_random() {
    let seed = Random::new().next();
    let kills: u64 = std::env::var("PAPERCHASE_KILLS").map_or(200, |kills| kills.parse().unwrap());
    let (clock, taken) = (SystemClock::default(), AtomicU64::new(0));
    let mut totals = Totals::default();
    thread::scope(|scope| {
        let workers: Vec<_> =
            (0..WORKERS).map(|_| scope.spawn(|| work(seed, kills, &taken))).collect();
        for worker in workers {
            totals.add(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
    });
    let Totals { aimed, left, acked, seen, events, chunks } = totals;
    let took = clock.monotonic();
    println!("{kills} kills in {took:.1?}: {acked} acked and {seen} observed appends are there");
    println!("{events} events in {chunks} chunks; aimed at {aimed:?}; left behind {left:?}");
    assert!(acked > 0 && seen > 0, "no child was told of an ack, or read along");
}
