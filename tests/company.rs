//! Owns the proofs of what other processes and people can do to a log and its process: stop it,
//! starve it of memory, cut its files short, move, delete or copy its directory.
//!
//! Each ends in the right events or in a named error. Where the system ends the process (F06, F46)
//! that is as good as a kill.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "what is wrong ends the test"
)]

mod support;

use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use paperchase::{Ack, AppendError, Expected, Log, NewEvent, OpenError, Options, Position, View};
use support::Random;
use support::child::{self, Running};
use support::ledger::{self, Ledger, Told};

const SIGBUS: i32 = 7;
const SIGABRT: i32 = 6;
const SIZE_MAX: u64 = 6_000;
const PAGE: u64 = 4096;

fn options() -> Options {
    Options::new().chunk_size(1 << 20).prepare_ahead(64 << 10).spin(Duration::ZERO)
}

fn submit(log: &Log, number: u64) -> Result<Ack, AppendError> {
    let events = ledger::append(number, 0, SIZE_MAX);
    let events = events.into_iter().map(|data| NewEvent::new("Company", data));
    log.append(&ledger::stream(number), Expected::Any, events)
}

fn append(log: &Log, number: u64) -> Told {
    let position = submit(log, number).unwrap().wait().unwrap().first_position.get();
    Told { number, life: 0, position }
}

/// Appends until the log has so many chunks. Returns the number of the next append.
fn fill(log: &Log, chunks: usize, first: u64) -> u64 {
    let mut number = first;
    while log.view().chunks().len() < chunks {
        append(log, number);
        number += 1;
    }
    number
}

fn wait() {
    io::stdin().read_line(&mut String::new()).unwrap();
}

/// The children's part, by their orders. As a test of its own it does nothing.
#[test]
fn child_works() {
    let Some(directory) = child::directory() else { return };
    match child::orders().as_str() {
        "append" => {
            let log = options().open(directory).unwrap();
            for number in 0.. {
                child::say(&format!("acked {}", append(&log, number)));
            }
        }
        "hoard" => {
            let log = options().open(directory).unwrap();
            let mut hoard = Vec::new();
            for number in 0.. {
                child::say(&format!("acked {}", append(&log, number)));
                hoard.push(vec![1_u8; 8 << 20]);
            }
        }
        "read" => {
            let view = View::open(directory).unwrap();
            let mut ledger = Ledger::new(SIZE_MAX);
            child::say("open");
            wait();
            if let Some(error) = view.read_all(..).find_map(Result::err) {
                return child::say(&format!("named {error}"));
            }
            ledger.check(&view);
            child::say("equal");
        }
        "survey" => survey(&directory),
        other => panic!("{other} is nothing that a child does"),
    }
}

fn signal(child: &Running, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn f07_a_stopped_process_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let (child, mut lines) = Running::start_with("child_works", directory.path(), "append");
    let mut ledger = Ledger::new(SIZE_MAX);
    let mut hear = |count: usize| {
        let acks = lines.by_ref().filter_map(|line| line.strip_prefix("acked ")?.parse().ok());
        acks.take(count).for_each(|told| ledger.note(told));
    };
    for _ in 0..3 {
        hear(50);
        signal(&child, "-STOP");
        let refused = options().open(directory.path());
        assert!(matches!(refused, Err(OpenError::Locked { .. })), "{refused:?}");
        thread::sleep(Duration::from_millis(700));
        signal(&child, "-CONT");
    }
    hear(200);
    child.kill();
    let log = options().open(directory.path()).unwrap();
    ledger.check(&log.view());
}

#[test]
fn f06_a_process_without_memory_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::new(SIZE_MAX);
    let (child, lines) = Running::start_poor("child_works", directory.path(), "hoard", 1 << 20);
    let acks = lines.filter_map(|line| line.strip_prefix("acked ")?.parse().ok());
    acks.for_each(|told| ledger.note(told));
    assert_eq!(child.wait().signal(), Some(SIGABRT), "memory was to run out");
    let log = options().open(directory.path()).unwrap();
    ledger.check(&log.view());
    assert!(ledger.end() > 0, "no append was acked before");
}

/// Puts large numbers where lengths and counts stand, and reads what is left.
fn survey(directory: &Path) {
    let files = ["chunk-0000000000", "chunk-0000000001", "hint"];
    let data_ends = |view: &View| view.chunks().iter().map(|it| it.data_bytes).collect::<Vec<_>>();
    let ends = data_ends(&View::open(directory).unwrap());
    let (mut named, mut equal) = (0, 0);
    for (file, name) in files.iter().enumerate() {
        let bytes = fs::read(directory.join(name)).unwrap();
        // The header of the file, that of its first group, and its last bytes: of a sealed chunk
        // they are the end of its footer.
        let behind = ends.get(file).map_or(bytes.len(), |end| *end as usize).min(bytes.len());
        let mut places: Vec<_> = (0..128).chain(4096..4224).chain(behind - 64..behind).collect();
        places.extend(bytes.len() - 128..bytes.len());
        for at in places.into_iter().filter(|at| at % 8 == 0 && at + 8 <= bytes.len()) {
            for fill in [&[0xff, 0xff, 0xff, 0x7f][..], &[0xff_u8; 8]] {
                let changed = tempfile::tempdir().unwrap();
                for other in files {
                    fs::copy(directory.join(other), changed.path().join(other)).unwrap();
                }
                let mut bytes = bytes.clone();
                bytes[at..at + fill.len()].copy_from_slice(fill);
                fs::write(changed.path().join(name), bytes).unwrap();
                match read_or_name(changed.path()) {
                    Ok(()) => equal += 1,
                    Err(_) => named += 1,
                }
            }
        }
    }
    child::say(&format!("surveyed {named} {equal}"));
}

/// Opens a log and reads all of it; the error is a named one.
fn read_or_name(directory: &Path) -> Result<(), String> {
    let log = options().open(directory).map_err(|error| error.to_string())?;
    let view = log.view();
    if let Some(error) = view.read_all(..).find_map(Result::err) {
        return Err(error.to_string());
    }
    let end = view.end();
    let mut ledger = Ledger::new(SIZE_MAX);
    ledger.check(&view);
    assert_eq!(Position::new(ledger.end()), end);
    Ok(())
}

#[test]
fn f06_no_damaged_length_takes_memory() {
    let directory = tempfile::tempdir().unwrap();
    let log = options().open(directory.path()).unwrap();
    let next = fill(&log, 2, 0);
    append(&log, next);
    log.close().unwrap();
    // 2 GiB, the smallest of the lengths, does not fit.
    let (child, lines) = Running::start_poor("child_works", directory.path(), "survey", 1 << 20);
    let surveyed: Vec<_> = lines.filter(|line| line.starts_with("surveyed")).collect();
    let status = child.wait();
    assert!(status.success() && surveyed.len() == 1, "{status}");
    println!("{surveyed:?} (named errors, equal logs)");
}

#[test]
fn f46_a_chunk_cut_short_under_a_reader_is_never_read_wrong() {
    let mut ends = Vec::new();
    // The last: the chunk that is not sealed, within the last page that holds events; the rest of
    // that page then reads as zeros.
    for cut in [Some(3 * PAGE), Some(40 * PAGE + 100), Some(41 * PAGE - 8), Some(0), None] {
        let directory = tempfile::tempdir().unwrap();
        let log = options().open(directory.path()).unwrap();
        let next = fill(&log, 2, 0);
        append(&log, next);
        let last = log.view().chunks()[1].data_bytes - 8;
        let (file, cut) = cut.map_or(("chunk-0000000001", last), |cut| ("chunk-0000000000", cut));
        log.close().unwrap();
        let (mut child, mut lines) = Running::start_with("child_works", directory.path(), "read");
        assert!(lines.any(|line| line == "open"), "the child has the log open");
        let chunk = fs::File::options().write(true).open(directory.path().join(file));
        chunk.unwrap().set_len(cut).unwrap();
        child.tell("go");
        let told: Vec<_> = lines.collect();
        let status = child.wait();
        let is_named = told.iter().any(|line| line.starts_with("named "));
        let is_told = is_named || told.iter().any(|line| line == "equal");
        let ends_so = status.signal() == Some(SIGBUS) || (status.success() && is_told);
        assert!(ends_so, "cut to {cut}: {status}, {told:?}");
        ends.push((cut, status.signal(), is_named));
    }
    println!("{ends:?}");
    assert!(ends.iter().any(|(_, signal, _)| *signal == Some(SIGBUS)), "{ends:?}");
    assert!(ends.iter().any(|(_, _, is_named)| *is_named), "{ends:?}");
}

#[test]
fn f63_a_log_goes_on_when_its_directory_is_moved() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (directory.path().join("old"), directory.path().join("new"));
    let log = options().open(&old).unwrap();
    let mut ledger = Ledger::new(SIZE_MAX);
    let next = fill(&log, 2, 0);
    fs::rename(&old, &new).unwrap();
    // Another log in the place of the first is none of its business.
    let other = options().open(&old).unwrap();
    let next = fill(&log, 4, next);
    ledger.note(append(&log, next));
    log.close().unwrap();
    ledger.check(&View::open(&new).unwrap());
    assert_eq!(other.view().end(), Position::START);
    assert!(options().open(&new).unwrap().report().clean);
}

#[test]
fn f63_a_log_whose_directory_is_deleted_fails_and_answers_all() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let log = options().open(&path).unwrap();
    let mut ledger = Ledger::new(SIZE_MAX);
    ledger.note(append(&log, 0));
    fs::remove_dir_all(&path).unwrap();
    // Many in flight, so that some wait when there is no next chunk; all of them are answered.
    let mut acks = Vec::new();
    let refused = (1..10_000).find_map(|number| match submit(&log, number) {
        Ok(ack) => {
            acks.push((number, ack));
            None
        }
        Err(error) => Some(error),
    });
    assert!(matches!(refused, Some(AppendError::Failed(_))), "{refused:?}");
    for (number, ack) in acks {
        match ack.wait() {
            Ok(done) => ledger.note(Told { number, life: 0, position: done.first_position.get() }),
            Err(AppendError::Failed(error)) => assert!(error.io().is_some(), "{error:?}"),
            Err(other) => panic!("{other:?}"),
        }
    }
    ledger.check(&log.view());
    log.close().unwrap_err();
    assert!(!path.exists(), "nothing makes the directory again");
}

/// Copies the files of a directory one after the other, as `cp -r` does; some may come and go.
fn copy(from: &Path, to: &Path, random: &mut Random) {
    let mut names: Vec<_> =
        fs::read_dir(from).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    match random.below(3) {
        0 => names.reverse(),
        1 => (1..names.len()).for_each(|at| names.swap(at, random.below(at as u64 + 1) as usize)),
        _ => {}
    }
    for name in names {
        fs::copy(from.join(&name), to.join(&name)).unwrap();
        thread::sleep(Duration::from_micros(random.below(4_000)));
    }
}

/// Opens a copy. Returns whether it opened and could be read; what it then holds is what was
/// written, and all that was acked before the copy began.
fn is_sound(copy: &Path, acked: u64) -> bool {
    let log = match options().open(copy) {
        Ok(log) => log,
        Err(error @ (OpenError::Failed(_) | OpenError::Locked { .. })) => panic!("{error:?}"),
        Err(_) => return false,
    };
    let view = log.view();
    if view.read_all(..).any(|event| event.is_err()) {
        return false;
    }
    let mut ledger = Ledger::new(SIZE_MAX);
    ledger.check(&view);
    ledger.check_all(&view);
    assert!(ledger.next_number() >= acked, "{} of {acked} acked appends", ledger.next_number());
    true
}

#[test]
fn f69_a_copy_of_a_live_directory_is_sound_or_refused() {
    let mut random = Random::new();
    let copies: u64 = std::env::var("PAPERCHASE_COPIES").map_or(40, |it| it.parse().unwrap());
    let (mut sound, mut refused) = (0, 0);
    for _ in 0..copies.div_ceil(20) {
        let directory = tempfile::tempdir().unwrap();
        let log = options().open(directory.path()).unwrap();
        let (acked, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                for number in (0..).take_while(|_| !is_over.load(Ordering::Relaxed)) {
                    append(&log, number);
                    acked.store(number + 1, Ordering::Release);
                }
            });
            for _ in 0..20 {
                let before = acked.load(Ordering::Acquire);
                let twin = tempfile::tempdir().unwrap();
                copy(directory.path(), twin.path(), &mut random);
                let counted = if is_sound(twin.path(), before) { &mut sound } else { &mut refused };
                *counted += 1;
            }
            is_over.store(true, Ordering::Relaxed);
        });
    }
    println!("{sound} copies were sound, {refused} were refused");
    assert!(sound > 0, "no copy could be opened");
}
