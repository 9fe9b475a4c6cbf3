//! Owns the proof that a process can follow a log that another one writes: it sees what is acked,
//! in order, each event once, whatever becomes of the writer; and no page that is stale, torn or of
//! another place makes it see anything else.
//!
//! Writers are child processes with small chunks, so that rolls and seals are hit. Six rounds of
//! kills; more with `PAPERCHASE_RUNS=100` in the environment. The bounds on time only end a test
//! that would wait for ever. Where the file system gives a page no place, following goes by the
//! hint, and what is promised of the page alone is not looked at.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "what is wrong ends the test"
)]

mod support;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use paperchase::clock::{Clock, SystemClock};
use paperchase::{
    ChunkState, ErrorKind, Expected, Follower, Log, NewEvent, OpenError, Options, Position, View,
    WriterState,
};
use support::Random;
use support::child::{self, Lines, Running};

/// How much the writer that closes its log writes: some chunks.
const EVENTS: u64 = 8_000;
const STREAMS: u64 = 5;
const LONG: Duration = Duration::from_secs(60);

fn options() -> Options {
    Options::new().chunk_size(1 << 20).prepare_ahead(256 << 10)
}

/// The data of the event at a position.
fn data(position: u64) -> Vec<u8> {
    let mut random = Random::with(position);
    let mut data = position.to_le_bytes().to_vec();
    data.extend((0..random.below(1_500)).map(|_| random.next() as u8));
    data
}

fn append_and_say(directory: &Path, until: u64) -> Log {
    let log = options().open(directory).unwrap();
    let mut flight = VecDeque::new();
    let mut next = log.view().end().get();
    while next < until || !flight.is_empty() {
        if next < until {
            let count = (1 + next % 3).min(until - next);
            let events = (next..next + count).map(|at| NewEvent::new("Followed", data(at)));
            let stream = format!("followed-{}", next % STREAMS);
            flight.push_back(log.append(&stream, Expected::Any, events).unwrap());
            next += count;
        }
        while flight.len() as u64 > next / 8 % 64 || (next == until && !flight.is_empty()) {
            let done = flight.pop_front().unwrap().wait().unwrap();
            child::say(&format!("acked {}", done.last_position));
        }
    }
    log
}

/// A child's part. As a test of its own it does nothing.
#[test]
fn child_appends() {
    if let Some(directory) = child::directory() {
        append_and_say(&directory, u64::MAX);
    }
}

/// Another child's part.
#[test]
fn child_appends_and_closes() {
    if let Some(directory) = child::directory() {
        append_and_say(&directory, EVENTS).close().unwrap();
    }
}

/// Listens to a writer: how many events it has said are acked.
fn listen(lines: Lines, acked: &Arc<AtomicU64>) -> impl FnOnce() + use<> {
    let acked = Arc::clone(acked);
    move || {
        for line in lines {
            if let Some(position) = line.strip_prefix("acked ") {
                let position: u64 = position.parse().unwrap();
                acked.fetch_max(position + 1, Ordering::SeqCst);
            }
        }
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let clock = SystemClock::default();
    while !is_so() {
        assert!(clock.monotonic() < LONG, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether the writer tells by a page how far it is.
fn has_page(directory: &Path) -> bool {
    directory.join("stats").exists()
}

/// What a follower has shown.
#[derive(Default)]
struct Seen(Vec<uuid::Uuid>);

impl Seen {
    fn end(&self) -> u64 {
        self.0.len() as u64
    }

    /// Reads on from where it ended: the next events, each once.
    fn read_on(&mut self, view: &View) {
        assert!(view.end().get() >= self.end(), "a follower goes back");
        for event in view.read_all(Position::new(self.end())..) {
            let event = event.unwrap();
            assert_eq!(event.position().get(), self.end());
            assert!(event.data() == data(self.end()), "other bytes at {}", self.end());
            self.0.push(event.id());
        }
        assert_eq!(self.end(), view.end().get());
    }

    /// Whether the log begins with just the events that were seen.
    fn check(&self, view: &View) {
        let ids = view.read_all(..Position::new(self.end())).map(|event| event.unwrap().id());
        assert!(ids.eq(self.0.iter().copied()), "what was seen is not in the log");
        let streams = view.streams("").unwrap();
        for stream in &streams {
            let events = view.read_stream(&stream.name, ..).unwrap();
            let versions = events.map(|event| event.unwrap().version().get());
            assert!(versions.eq(0..stream.events), "{}", stream.name);
        }
    }
}

#[test]
fn f68_a_follower_sees_what_was_acked_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let missing = Log::follow(directory).unwrap_err();
    assert!(matches!(missing, OpenError::Missing(_)), "{missing}");
    let (child, lines) = Running::start("child_appends_and_closes", directory);
    let acked = Arc::new(AtomicU64::new(0));
    let mut seen = Seen::default();
    std::thread::scope(|scope| {
        scope.spawn(listen(lines, &acked));
        wait_until("the first ack", || acked.load(Ordering::SeqCst) > 0);
        let follower = Log::follow(directory).unwrap();
        wait_until("all events", || {
            let told = acked.load(Ordering::SeqCst);
            if has_page(directory) && seen.end() % 7 == 0 {
                let view = View::open(directory).unwrap();
                assert!(view.end().get() >= told, "a view shows what was acked before");
            }
            seen.read_on(&follower.view());
            seen.end() == EVENTS
        });
        wait_until("the close", || follower.writer() == WriterState::Closed);
        let is_sealed = || {
            let chunks = follower.view().chunks();
            let (_, passed) = chunks.split_last().unwrap();
            passed.len() > 3 && passed.iter().all(|chunk| chunk.state == ChunkState::Sealed)
        };
        wait_until("the seals", is_sealed);
        assert!(follower.failure().is_none());
        seen.check(&follower.view());
    });
    drop(child);
    let log = options().open(directory).unwrap();
    assert!(log.report().clean, "{:?}", log.report());
    seen.check(&log.view());
}

/// Runs a writer until it is killed, while the follower looks on. Returns how far it has acked.
fn run_and_kill(
    directory: &Path,
    random: &mut Random,
    (follower, seen): (&mut Option<Follower>, &mut Seen),
) -> u64 {
    let acked = Arc::new(AtomicU64::new(0));
    let (child, lines) = Running::start("child_appends", directory);
    let delay = Duration::from_micros(random.below(80_000));
    std::thread::scope(|scope| {
        scope.spawn(listen(lines, &acked));
        wait_until("the first ack", || acked.load(Ordering::SeqCst) > 0);
        let follower = follower.get_or_insert_with(|| Log::follow(directory).unwrap());
        let clock = SystemClock::default();
        while clock.monotonic() < delay {
            seen.read_on(&follower.view());
        }
        child.kill();
    });
    acked.load(Ordering::SeqCst)
}

#[test]
fn f01_a_follower_outlives_killed_writers() {
    let mut random = Random::new();
    let rounds = std::env::var("PAPERCHASE_RUNS").map_or(6, |runs| runs.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let (mut follower, mut seen) = (None, Seen::default());
    let mut acked = 0;
    for _ in 0..rounds {
        acked = run_and_kill(directory, &mut random, (&mut follower, &mut seen));
        let follower = follower.as_ref().unwrap();
        if has_page(directory) {
            wait_until("what the killed writer acked", || {
                seen.read_on(&follower.view());
                seen.end() >= acked
            });
        }
        if random.below(4) == 0 {
            let log = options().open(directory).unwrap();
            seen.check(&log.view());
        }
    }
    let follower = follower.unwrap();
    wait_until("the last writer to be gone", || {
        matches!(follower.writer(), WriterState::Gone | WriterState::Closed)
    });
    let log = options().open(directory).unwrap();
    let end = log.view().end().get();
    seen.check(&log.view());
    assert!(end >= acked);
    log.close().unwrap();
    wait_until("the rest", || {
        seen.read_on(&follower.view());
        seen.end() == end && follower.writer() == WriterState::Closed
    });
    assert!(follower.failure().is_none());
    println!("{rounds} kills, {end} events, {} chunks", follower.view().chunks().len());
}

#[test]
fn f63_a_log_that_is_replaced_while_it_is_followed_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let write = |events: u64| {
        let log = options().open(directory).unwrap();
        let data = (0..events).map(|at| NewEvent::new("Followed", data(at)));
        log.append("followed-1", Expected::Any, data).unwrap().wait().unwrap();
        log.close().unwrap();
    };
    write(10);
    let follower = Log::follow(directory).unwrap();
    assert_eq!(follower.view().end(), Position::new(10));
    for entry in std::fs::read_dir(directory).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    write(20);
    wait_until("the error", || follower.failure().is_some());
    assert_eq!(follower.failure().unwrap().kind(), ErrorKind::Replaced);
    assert_eq!(follower.view().read_all(..).map(Result::unwrap).count(), 10);
}

/// A directory with a hint that tells of 10 events, and a page that tells of 20, as a writer that
/// was killed leaves them. The second is a copy of it.
struct Stale {
    _temporary: tempfile::TempDir,
    original: PathBuf,
    copy: PathBuf,
}

impl Stale {
    /// `None` where there are no pages.
    fn new() -> Option<Self> {
        let temporary = tempfile::tempdir().unwrap();
        let [original, copy] = ["original", "copy"].map(|name| temporary.path().join(name));
        let write = |log: &Log| {
            let events = (0..10).map(|at| NewEvent::new("Followed", data(at)));
            log.append("followed-1", Expected::Any, events).unwrap().wait().unwrap();
        };
        let log = options().open(&original).unwrap();
        write(&log);
        log.close().unwrap();
        let hint = std::fs::read(original.join("hint")).unwrap();
        let log = options().open(&original).unwrap();
        write(&log);
        std::fs::create_dir(&copy).unwrap();
        for entry in std::fs::read_dir(&original).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
        }
        let page = std::fs::read(original.join("stats"));
        drop(log);
        // As it was before the close.
        std::fs::write(original.join("stats"), page.ok()?).unwrap();
        std::fs::write(original.join("hint"), &hint).unwrap();
        std::fs::write(copy.join("hint"), &hint).unwrap();
        Some(Self { _temporary: temporary, original, copy })
    }

    /// How many events are seen with this page in the original directory.
    fn seen_with(&self, page: &[u8]) -> u64 {
        std::fs::write(self.original.join("stats"), page).unwrap();
        View::open(&self.original).unwrap().end().get()
    }
}

fn page_of(directory: &Path) -> Vec<u8> {
    std::fs::read(directory.join("stats")).unwrap()
}

/// A page with another field of its identity, and the checksum that fits it.
fn forged(page: &[u8], at: usize, field: &[u8]) -> Vec<u8> {
    let mut page = page.to_vec();
    page[at..at + field.len()].copy_from_slice(field);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&page[..12]);
    hasher.update(&page[16..80]);
    page[12..16].copy_from_slice(&hasher.finalize().to_le_bytes());
    page
}

fn number_at(page: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(page[at..at + 8].try_into().unwrap())
}

/// By docs/format.md.
#[test]
fn the_page_is_laid_out_as_drawn() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let mut sessions = Vec::new();
    for count in 1..=3 {
        let log = options().open(directory).unwrap();
        log.append("a", Expected::Any, [NewEvent::new("A", "")]).unwrap().wait().unwrap();
        if !has_page(directory) {
            return;
        }
        let page = page_of(directory);
        assert_eq!(page.len(), 18 * 4096);
        assert_eq!(forged(&page, 0, b"PCHSTATS\x01\0\0\0"), page, "magic, version and checksum");
        assert_eq!(page[16..32], *log.view().log_id().as_bytes());
        assert_ne!(page[32..48], [0; 16], "a boot id");
        assert_eq!(number_at(&page, 56), u64::from(std::process::id()));
        sessions.push(number_at(&page, 64));
        assert_eq!(page[72..128], [0; 56]);
        assert_eq!(number_at(&page, 128) % 2, 0, "the sequence");
        assert_eq!((number_at(&page, 136), number_at(&page, 144)), (count, 0));
        assert_eq!(number_at(&page, 152), log.view().chunks()[0].data_bytes);
        assert_ne!(number_at(&page, 160), 0, "the chain value");
        assert_eq!(number_at(&page, 200), 1);
        assert!(page[208..4096].iter().all(|byte| *byte == 0));
        wait_until("a heartbeat", || number_at(&page_of(directory), 192) != number_at(&page, 192));
        log.close().unwrap();
        let page = page_of(directory);
        assert_eq!(number_at(&page, 200), 2);
        // Counters, as they were at the end.
        assert_eq!((number_at(&page, 4096) % 2, number_at(&page, 4104)), (0, 0x1e76_dd30_6ffb));
        assert_eq!((number_at(&page, 4184), number_at(&page, 19872)), (count, 1));
        assert!(page[66_544..].iter().all(|byte| *byte == 0));
    }
    assert!(sessions.is_sorted_by(|before, after| before < after), "{sessions:?}");
}

#[test]
fn f50_a_page_of_another_log_boot_file_or_version_is_not_believed() {
    let Some(stale) = Stale::new() else { return };
    let page = page_of(&stale.original);
    assert_eq!(stale.seen_with(&page), 20, "the page as it was is believed");
    assert_eq!(stale.seen_with(&forged(&page, 0, b"PCHSTATS")), 20, "and the forger is good");
    let fields: [(&str, usize, &[u8]); 5] = [
        ("version", 8, &2_u32.to_le_bytes()),
        ("log", 16, &[7; 16]),
        ("boot", 32, &[7; 16]),
        ("file", 48, &7_u64.to_le_bytes()),
        ("kind of acks", 72, &2_u64.to_le_bytes()),
    ];
    for (what, at, field) in fields {
        assert_eq!(stale.seen_with(&forged(&page, at, field)), 10, "of another {what}");
    }
    assert_eq!(View::open(&stale.copy).unwrap().end().get(), 10, "of a copied directory");
    let follower = Log::follow(&stale.copy).unwrap();
    assert_eq!((follower.view().end().get(), follower.writer()), (10, WriterState::Closed));
}

#[test]
fn f51_a_torn_page_is_not_believed() {
    let Some(stale) = Stale::new() else { return };
    let page = page_of(&stale.original);
    for bit in (0..80 * 8).chain(136 * 8..168 * 8) {
        let mut flipped = page.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(stale.seen_with(&flipped), 10, "bit {bit}");
    }
    for length in [0, 1, 80, 168, 4095] {
        assert_eq!(stale.seen_with(&page[..length]), 10, "cut to {length}");
    }
    let mut changing = page.clone();
    changing[128] |= 1;
    assert_eq!(stale.seen_with(&changing), 10, "left in the midst of a change");
    std::fs::remove_file(stale.original.join("stats")).unwrap();
    assert_eq!(View::open(&stale.original).unwrap().end().get(), 10, "missing");
}
