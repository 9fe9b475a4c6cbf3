//! Owns the proof of F22 to F24 on real file systems: a disk that gets full is told, what is stored
//! is read, and when there is space again appends go on by themselves.
//!
//! A file of ballast takes all space that is left. Each file system is made for its test and taken
//! away again. Needs root, loop devices and the tools of each file system; a test that cannot run
//! says why.

#![cfg(all(target_os = "linux", feature = "cli"))]
#![allow(clippy::unwrap_used, reason = "what is wrong ends the test")]

#[path = "support/mount.rs"]
mod mount;
#[path = "support/skip.rs"]
mod skip;

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use mount::{Mount, run};
use paperchase::clock::{Clock, SystemClock};
use paperchase::{AppendError, Expected, Log, NewEvent, Options, Position};
use rustix::fs::{FallocateFlags, fallocate};
use skip::skip;

fn open(directory: &Path) -> Log {
    Options::new().chunk_size(1 << 20).prepare_ahead(128 << 10).open(directory).unwrap()
}

fn append(log: &Log, number: u64, size: usize) -> Result<Position, AppendError> {
    let mut data = number.to_le_bytes().to_vec();
    data.resize(size, 7);
    let ack = log.append("filling", Expected::Any, [NewEvent::new("Filled", data)])?;
    ack.wait().map(|done| done.first_position)
}

/// Takes all space that is left.
fn fill(ballast: &Path) {
    let file = File::create(ballast).unwrap();
    let (mut length, mut piece) = (0, 64 << 20);
    while piece >= 4096 {
        match fallocate(&file, FallocateFlags::empty(), length, piece) {
            Ok(()) => length += piece,
            Err(_) => piece /= 2,
        }
    }
    println!("{length} bytes of ballast");
}

/// The numbers of all events, which are those of their positions.
fn check(log: &Log, count: u64) {
    let events = log.read_all(..).unwrap().map(|event| event.unwrap().data().to_vec());
    let numbers = events.map(|data| u64::from_le_bytes(*data.first_chunk().unwrap()));
    assert!(numbers.eq(0..count), "all that was acked is there, once, in order");
}

/// Appends until the disk is full, reads, makes space, and appends again. Returns how many of the
/// writer's own writes found no space; otherwise the keeper could make no room.
fn fills_and_goes_on(directory: &Path) -> u64 {
    let (place, ballast) = (directory.join("log"), directory.join("ballast"));
    let log = open(&place);
    let mut stored = 0;
    let mut add = |log: &Log, size| {
        let done = append(log, stored, size)?;
        assert_eq!(done, Position::new(stored), "gapless");
        stored += 1;
        Ok::<u64, AppendError>(stored)
    };
    for _ in 0..20 {
        add(&log, 100).unwrap();
    }
    fill(&ballast);
    let (mut fulls, mut end) = (0, 20);
    for _ in 0..2_000 {
        match add(&log, 20_000) {
            Ok(stored) => end = stored,
            Err(AppendError::Full) => fulls += 1,
            Err(other) => panic!("{other}"),
        }
        if fulls == 20 {
            break;
        }
    }
    assert_eq!(fulls, 20, "the disk gets full");
    println!("full behind {end} events");
    check(&log, end);
    fs::remove_file(&ballast).unwrap();
    let clock = SystemClock::default();
    let resumed = (0..3_000).find_map(|_| {
        std::thread::sleep(Duration::from_millis(10));
        add(&log, 20_000).ok()
    });
    println!("gone on after {:?}", clock.monotonic());
    end = resumed.expect("appends go on by themselves");
    for _ in 0..60 {
        end = add(&log, 20_000).unwrap();
    }
    check(&log, end);
    let refused = log.stats().writer.errors;
    println!("{refused} writes of the writer found no space");
    log.close().unwrap();
    let log = open(&place);
    assert!(log.report().clean, "{:?}", log.report());
    check(&log, end);
    log.close().unwrap();
    if let Ok(verified) = run(env!("CARGO_BIN_EXE_paperchase"), &["verify", &text(&place)]) {
        println!("{verified}");
    } else {
        panic!("the log is damaged");
    }
    refused
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// `None` where it cannot run.
fn on(mounted: Result<Mount, String>) -> Option<u64> {
    match mounted {
        Ok(mount) => Some(fills_and_goes_on(&mount.point)),
        Err(reason) => {
            skip(&reason);
            None
        }
    }
}

#[test]
fn f24_a_full_tmpfs() {
    on(mount::tmpfs("size=8m"));
}

#[test]
fn f24_a_full_ext4() {
    on(mount::in_a_file(24, &["mkfs.ext4", "-q", "-F"], "defaults"));
}

#[test]
fn f24_a_full_xfs() {
    on(mount::in_a_file(320, &["mkfs.xfs", "-q"], "defaults"));
}

/// It copies on write, so an overwrite of zeros that lie ready may find no space.
#[test]
fn f23_a_full_btrfs() {
    let refused = on(mount::in_a_file(160, &["mkfs.btrfs", "-q"], "defaults"));
    assert_ne!(refused, Some(0), "no write of the writer met the full disk");
}

/// A quota is met by the same appends, with another error.
#[test]
fn f22_a_full_quota() {
    let limited = mount::in_a_file(160, &["mkfs.btrfs", "-q"], "defaults").and_then(|mount| {
        let (point, own) = (text(&mount.point), text(&mount.point.join("own")));
        run("btrfs", &["quota", "enable", &point])?;
        run("btrfs", &["subvolume", "create", &own])?;
        run("btrfs", &["qgroup", "limit", "12M", &own])?;
        Ok(mount)
    });
    match limited {
        Ok(mount) => {
            fills_and_goes_on(&mount.point.join("own"));
        }
        Err(reason) => skip(&reason),
    }
}
