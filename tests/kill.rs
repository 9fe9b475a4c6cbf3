//! Owns the proof of F01: a process that is killed at any moment loses nothing that it was told is
//! stored.
//!
//! A child appends, many appends in flight, and tells the parent each ack; the parent kills it 0 to
//! 60 ms after the first ack, or while it still opens the log, checks the log against the acks, and
//! lets the next child go on in the same directory. Half of the checks are left out, so that
//! children recover too. Thirty rounds; more with `PAPERCHASE_KILLS=200` in the environment. Chunks
//! are small, so that rolls and seals are hit. How far a child comes depends on the machine; what
//! must hold does not.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "what is wrong ends the test"
)]

mod support;

use std::collections::{BTreeMap, VecDeque};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use paperchase::{Expected, Log, NewEvent, Options, Position, View};
use support::Random;
use support::child::{self, Running};

const STREAMS: u64 = 5;
const SIGKILL: i32 = 9;

fn options() -> Options {
    Options::new().chunk_size(1 << 20).prepare_ahead(256 << 10)
}

/// What append `number` holds follows from the number alone: the data of its events.
fn append(number: u64) -> Vec<Vec<u8>> {
    let mut random = Random::with(number);
    let count = 1 + random.below(4);
    let event = |part: u64| {
        let long = random.below(50) == 0;
        let length = random.below(if long { 40_000 } else { 1_500 });
        let mut data = [number.to_le_bytes(), part.to_le_bytes(), count.to_le_bytes()].concat();
        data.extend((0..length).map(|_| random.next() as u8));
        data
    };
    (0..count).map(event).collect()
}

fn stream(number: u64) -> String {
    format!("killed-{}", number % STREAMS)
}

/// The number of the append that follows the last one of a view.
fn next_number(view: &View) -> u64 {
    let last = view.read_all(..).next_back();
    last.map_or(0, |event| number_of(event.unwrap().data()) + 1)
}

fn number_of(data: &[u8]) -> u64 {
    u64::from_le_bytes(data[..8].try_into().unwrap())
}

/// The child's part. As a test of its own it does nothing.
#[test]
fn child_appends() {
    let Some(directory) = child::directory() else { return };
    let log = options().open(directory).unwrap();
    let mut flight = VecDeque::new();
    for number in next_number(&log.view()).. {
        let events = append(number).into_iter().map(|data| NewEvent::new("Killed", data));
        let ack = log.append(&stream(number), Expected::Any, events).unwrap();
        flight.push_back((number, ack));
        // From one append in flight to many, and back.
        while flight.len() as u64 > number / 8 % 64 {
            let (number, ack) = flight.pop_front().unwrap();
            let position = ack.wait().unwrap().first_position;
            child::say(&format!("acked {number} {position}"));
        }
    }
}

/// What the log must hold: as found so far, and as acked.
#[derive(Default)]
struct Ledger {
    /// The first position of each append that was found.
    found: Vec<u64>,
    /// The position behind the last event that was found.
    end: u64,
    versions: BTreeMap<String, u64>,
    acked: Vec<(u64, u64)>,
    acks: usize,
}

impl Ledger {
    /// Reads on from where the last check ended. Appends must follow each other without a gap, each
    /// whole.
    fn check(&mut self, view: &View) {
        let mut events = view.read_all(Position::new(self.end)..);
        let mut next = || events.next().map(Result::unwrap);
        while let Some(mut event) = next() {
            let number = self.found.len() as u64;
            self.found.push(self.end);
            let parts = append(number);
            let last = parts.len() - 1;
            for (part, data) in parts.into_iter().enumerate() {
                let version = self.versions.entry(stream(number)).or_default();
                assert_eq!(event.position().get(), self.end);
                assert!(event.data() == data, "append {number}, part {part}: other bytes");
                assert_eq!(event.stream(), stream(number));
                assert_eq!(event.version().get(), *version, "append {number}");
                (self.end, *version) = (self.end + 1, *version + 1);
                if part < last {
                    event = next().unwrap_or_else(|| panic!("append {number} is not whole"));
                }
            }
        }
        assert_eq!(view.end().get(), self.end);
        self.acks += self.acked.len();
        for (number, position) in self.acked.drain(..) {
            let found = self.found.get(number as usize);
            assert_eq!(found, Some(&position), "append {number} was acked");
        }
    }

    /// Reads everything once more, by stream too.
    fn check_all(&self, view: &View) {
        let mut again = Self::default();
        again.check(view);
        assert_eq!((&again.found, &again.versions), (&self.found, &self.versions));
        for (stream, count) in &self.versions {
            let events = view.read_stream(stream, ..).unwrap();
            assert!(events.map(|event| event.unwrap().version().get()).eq(0..*count), "{stream}");
        }
    }
}

/// Runs a child until it is killed, and notes what it said. The time of the kill is random; none is
/// too early or late.
fn run_and_kill(directory: &Path, random: &mut Random, ledger: &mut Ledger) {
    let (child, lines) = Running::start("child_appends", directory);
    // The first one makes the log, so that all others find one.
    let while_opening = ledger.acked.len() + ledger.acks > 0 && random.below(4) == 0;
    let delay = Duration::from_micros(random.below(if while_opening { 20_000 } else { 60_000 }));
    let (first, first_ack) = mpsc::channel();
    let status = std::thread::scope(|scope| {
        let acked = &mut ledger.acked;
        scope.spawn(move || {
            for line in lines {
                let Some(ack) = line.strip_prefix("acked ") else { continue };
                let (number, position) = ack.split_once(' ').unwrap();
                acked.push((number.parse().unwrap(), position.parse().unwrap()));
                let _ = first.send(());
            }
        });
        if !while_opening {
            // An error tells that the child has ended by itself, which its status then shows.
            let _ = first_ack.recv();
        }
        std::thread::sleep(delay);
        child.kill()
    });
    assert_eq!(status.signal(), Some(SIGKILL), "the child ended by itself: {status}");
}

#[test]
fn f01_killed_at_random() {
    let mut random = Random::new();
    let kills: u64 = std::env::var("PAPERCHASE_KILLS").map_or(30, |kills| kills.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::default();
    for round in 0..kills {
        run_and_kill(directory.path(), &mut random, &mut ledger);
        if random.below(2) == 0 {
            continue;
        }
        let beside = View::open(directory.path()).unwrap();
        let log = options().open(directory.path()).unwrap();
        assert!(beside.end() <= log.view().end(), "round {round}");
        ledger.check(&log.view());
        if random.below(2) == 0 {
            log.close().unwrap();
        }
    }
    let log = options().open(directory.path()).unwrap();
    ledger.check(&log.view());
    ledger.check_all(&log.view());
    let chunks = log.view().chunks().len();
    println!(
        "{kills} kills, {} acked appends, {} events, {chunks} chunks",
        ledger.acks, ledger.end
    );
    log.close().unwrap();
    ledger.check_all(&View::open(directory.path()).unwrap());
    let log = Log::open(directory.path()).unwrap();
    assert!(log.report().clean, "{:?}", log.report());
    assert!(ledger.acks > 0, "no child was told of an ack");
}
