//! Owns the proof of F28: where no file can be opened any more, opening a log is a clean error, and
//! a log that is open goes on as far as it needs no new file.
//!
//! A child runs with few descriptors and takes all of them. What it needs and does not get is
//! answered, and nothing that was acked is lost.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "what is wrong ends the test")]

mod support;

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use paperchase::{AppendError, Error, Expected, Log, NewEvent, OpenError, Options, Position};

const DIRECTORY: &str = "PAPERCHASE_TEST_CHILD_DIRECTORY";
const EMFILE: i32 = 24;

fn open(directory: &Path) -> Result<Log, OpenError> {
    Options::new().chunk_size(1 << 20).prepare_ahead(128 << 10).open(directory)
}

fn append(log: &Log) -> Result<Position, AppendError> {
    let event = NewEvent::new("Large", vec![7; 20_000]);
    log.append("large", Expected::Any, [event])?.wait().map(|done| done.first_position)
}

/// Takes all descriptors that are left.
fn take_all() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

fn is_for_want_of_descriptors(error: &Error) -> bool {
    error.io().and_then(std::io::Error::raw_os_error) == Some(EMFILE)
}

/// The child's part. As a test of its own it does nothing.
#[test]
fn child_runs_out_of_descriptors() {
    let Some(directory) = support::child::directory() else { return };
    let place = directory.join("log");
    let log = open(&place).unwrap();
    append(&log).unwrap();
    let taken = take_all();
    match open(&directory) {
        Err(OpenError::Failed(error)) => {
            assert!(is_for_want_of_descriptors(&error), "{error}");
        }
        other => panic!("{other:?}"),
    }
    // The next chunk is made when a quarter of this one is full, and cannot be.
    for number in 1..35 {
        assert_eq!(append(&log).unwrap(), Position::new(number));
    }
    assert_eq!(log.read_all(..).unwrap().map(Result::unwrap).count(), 35);
    std::thread::sleep(Duration::from_millis(300));
    assert!(log.stats().keeper.errors > 0, "the next chunk was never tried");
    drop(taken);
    for number in 35..120 {
        assert_eq!(append(&log).unwrap(), Position::new(number));
    }
    let taken = take_all();
    let refused = |stored: u64| append(&log).err().map(|error| (stored, error));
    let (stored, error) = (120..).find_map(refused).unwrap();
    match &error {
        AppendError::Failed(error) => assert!(is_for_want_of_descriptors(error), "{error}"),
        other => panic!("{other}"),
    }
    assert_eq!(log.read_all(..).unwrap().map(Result::unwrap).count() as u64, stored);
    assert!(log.close().is_err());
    drop(taken);
    let log = open(&place).unwrap();
    assert_eq!(log.view().end(), Position::new(stored));
    assert_eq!(append(&log).unwrap(), Position::new(stored));
    log.close().unwrap();
}

#[test]
fn f28_a_log_goes_on_without_descriptors() {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 48 && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "child_runs_out_of_descriptors", "--nocapture"])
        .env(DIRECTORY, directory.path())
        .output()
        .unwrap();
    let (said, problem) = (&output.stdout, String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}{problem}", String::from_utf8_lossy(said));
}
