//! Owns the proof that a log has one writer: a second one is refused by the first one's process id,
//! a reader beside it is not, and a writer that is killed leaves the log free.
//!
//! The writer is a child process. The bounds on time are far beyond what a busy machine needs; they
//! only end a test that would wait for ever.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "what is wrong ends the test")]

mod support;

use std::path::Path;
use std::time::Duration;

use paperchase::clock::{Clock, SystemClock};
use paperchase::{Expected, Log, NewEvent, OpenError, Options, Position, View};
use support::child::{self, Running};

const EVENTS: u64 = 10;
const LONG: Duration = Duration::from_secs(60);

/// The child's part: has the log open until it is killed. As a test of its own it does nothing.
#[test]
fn child_holds_the_log() {
    let Some(directory) = child::directory() else { return };
    let log = Log::open(directory).unwrap();
    for _ in 0..EVENTS {
        append(&log);
    }
    child::say("open");
    let mut end = String::new();
    std::io::stdin().read_line(&mut end).unwrap();
}

fn append(log: &Log) {
    let event = NewEvent::new("Locked", "");
    log.append("locked-1", Expected::Any, [event]).unwrap().wait().unwrap();
}

fn hold(directory: &Path) -> Running {
    let (child, lines) = Running::start("child_holds_the_log", directory);
    assert!(lines.into_iter().any(|line| line == "open"), "the child has the log open");
    child
}

fn refused(directory: &Path, pid: u32) {
    let clock = SystemClock::default();
    match Log::open(directory) {
        Err(error @ OpenError::Locked { .. }) => {
            let text = error.to_string();
            let who = match pid {
                own if own == std::process::id() => "in this very process;".to_owned(),
                other => format!("in process {other};"),
            };
            assert!(text.contains(&who), "{text}");
        }
        other => panic!("{other:?}"),
    }
    assert!(clock.monotonic() < LONG, "it took {:?} to be refused", clock.monotonic());
}

#[test]
fn f60_two_processes() {
    let directory = tempfile::tempdir().unwrap();
    let child = hold(directory.path());
    for _ in 0..3 {
        refused(directory.path(), child.id());
    }
    let missing = Options::new().create(false).open(directory.path());
    assert!(matches!(missing, Err(OpenError::Locked { .. })), "{missing:?}");

    // The child notes what is durable from time to time.
    let clock = SystemClock::default();
    while View::open(directory.path()).unwrap().end() < Position::new(EVENTS) {
        assert!(clock.monotonic() < LONG, "a view beside the writer never shows its events");
        std::thread::sleep(Duration::from_millis(5));
    }
    let view = View::open(directory.path()).unwrap();
    assert_eq!(view.read_stream("locked-1", ..).unwrap().count() as u64, EVENTS);
    refused(directory.path(), child.id());

    child.kill();
    let log = Log::open(directory.path()).unwrap();
    assert_eq!(log.view().end(), Position::new(EVENTS));
    append(&log);
    assert_eq!(view.end(), Position::new(EVENTS), "a view never changes");
    refused(directory.path(), std::process::id());
    log.close().unwrap();
    hold(directory.path()).kill();
}

#[test]
fn f61_two_handles() {
    let directory = tempfile::tempdir().unwrap();
    let log = Log::open(directory.path()).unwrap();
    append(&log);
    refused(directory.path(), std::process::id());
    append(&log);
    drop(log);
    let log = Log::open(directory.path()).unwrap();
    assert_eq!(log.view().end(), Position::new(2));
    refused(directory.path(), std::process::id());
}
