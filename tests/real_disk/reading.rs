//! Owns reading from disks and file systems that are not well: F29 and F30.
//!
//! A bad sector below a map ends the process that touches it, and never yields other bytes; what
//! reads by calls tells the place. A file system that no longer takes writes, or never did, is read
//! as any other.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use paperchase::{AppendError, ErrorKind, Log, OpenError, View};

use super::disk::{FailingDisk, Fault, Kind, Mounted, Place};
use super::failing::{MARK, marked};
use super::load::{append, append_one, count, fill, options};
use crate::support::child::{self, Running};

const BEFORE: u64 = 40;
const APPENDS: u64 = 400;
const SIGBUS: i32 = 7;

/// A log of several chunks, closed, whose first has the marked event in its midst.
fn log_with_a_mark(directory: &Path) {
    let log = options().open(directory).unwrap();
    fill(&log, 0..BEFORE);
    append_one(&log, marked()).unwrap();
    fill(&log, BEFORE..APPENDS);
    assert!(log.view().chunks().len() > 2);
    log.close().unwrap();
}

/// The data of all events of such a log.
fn wanted() -> impl Iterator<Item = Vec<u8>> {
    let before = (0..BEFORE).flat_map(append);
    before.chain([marked()]).chain((BEFORE..APPENDS).flat_map(append))
}

/// The part of a child that reads the log in a directory through maps. As a test of its own it does
/// nothing.
#[test]
fn child_reads_a_log() {
    let Some(directory) = child::directory() else { return };
    let view = View::open(directory).unwrap();
    for (event, wanted) in view.read_all(..).zip(wanted()) {
        let right = event.is_ok_and(|event| event.data() == wanted);
        child::say(if right { "right" } else { "wrong" });
    }
    child::say("end");
}

/// What a child says of a log, and the signal that ended it.
fn read_in_a_child(directory: &Path) -> (Vec<String>, Option<i32>) {
    let (child, lines) = Running::start("reading::child_reads_a_log", directory);
    let known = ["right", "wrong", "end"];
    let said = lines.filter(|line| known.contains(&&**line)).collect();
    (said, child.kill().signal())
}

fn a_bad_sector_below_a_map(kind: Kind) {
    let Some(place) = Place::new(kind) else { return };
    let mut disk = FailingDisk::start(&place);
    log_with_a_mark(&disk.fs().log());
    let (said, _) = read_in_a_child(&disk.fs().log());
    assert_eq!(said.len(), wanted().count() + 1);
    disk.mount_again();
    disk.set(&Fault::FailReads(MARK.to_owned()));
    let (said, signal) = read_in_a_child(&disk.fs().log());
    let before = (0..BEFORE).flat_map(append).count();
    println!("{kind:?}: {} of {before} events before the bad sector are read", said.len());
    assert!(said.len() <= before && said.iter().all(|line| line == "right"), "{said:?}");
    assert!(!said.is_empty(), "nothing was read at all");
    assert_eq!(signal, Some(SIGBUS));
}

#[test]
fn f29_a_bad_sector_below_a_map_yields_no_bytes_on_ext4() {
    a_bad_sector_below_a_map(Kind::Ext4);
}

#[test]
fn f29_a_bad_sector_below_a_map_yields_no_bytes_on_xfs() {
    a_bad_sector_below_a_map(Kind::Xfs);
}

#[test]
fn f29_a_bad_sector_below_a_map_yields_no_bytes_on_btrfs() {
    a_bad_sector_below_a_map(Kind::Btrfs);
}

/// The part of a child that opens the log in a directory. As a test of its own it does nothing.
#[test]
fn child_opens_a_log() {
    let Some(directory) = child::directory() else { return };
    match options().open(directory) {
        Err(OpenError::Failed(error)) if error.kind() == ErrorKind::Io => {
            child::say(&format!("refused: {error}"));
        }
        other => child::say(&format!("opened: {other:?}")),
    }
}

/// Opening reads the last chunk, which no other read has touched before.
fn a_bad_sector_in_the_last_chunk(kind: Kind) {
    let Some(place) = Place::new(kind) else { return };
    let mut disk = FailingDisk::start(&place);
    let log = options().open(disk.fs().log()).unwrap();
    append_one(&log, marked()).unwrap();
    fill(&log, 0..BEFORE);
    log.close().unwrap();
    disk.mount_again();
    disk.set(&Fault::FailReads(MARK.to_owned()));
    let (child, lines) = Running::start("reading::child_opens_a_log", &disk.fs().log());
    let said = lines.filter(|line| line.starts_with("refused") || line.starts_with("opened"));
    let said: Vec<_> = said.collect();
    println!("{kind:?}: {said:?}");
    let told = said.first().is_some_and(|line| line.starts_with("refused: read chunk-0000000000"));
    assert!(told, "{said:?}, {}", child.kill());
}

#[test]
fn f29_a_bad_sector_in_the_last_chunk_is_told_by_opening_on_ext4() {
    a_bad_sector_in_the_last_chunk(Kind::Ext4);
}

#[test]
fn f29_a_bad_sector_in_the_last_chunk_is_told_by_opening_on_xfs() {
    a_bad_sector_in_the_last_chunk(Kind::Xfs);
}

#[test]
fn f29_a_bad_sector_in_the_last_chunk_is_told_by_opening_on_btrfs() {
    a_bad_sector_in_the_last_chunk(Kind::Btrfs);
}

/// Opening for writing and making files is refused; reading is not.
fn only_reading_works(mounted: &Mounted, appends: u64) {
    let directory = mounted.log();
    match options().open(&directory) {
        Err(OpenError::Failed(error)) => {
            let kind = error.io().map(std::io::Error::kind);
            assert_eq!(kind, Some(std::io::ErrorKind::ReadOnlyFilesystem), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(count(&View::open(&directory).unwrap()), appends);
    assert_eq!(count(&Log::follow(&directory).unwrap().view()), appends);
    #[cfg(feature = "cli")]
    commands::reading_verbs_work(&directory);
}

fn a_read_only_mount(kind: Kind) {
    let Some(place) = Place::new(kind) else { return };
    let disk = FailingDisk::start(&place);
    let log = options().open(disk.fs().log()).unwrap();
    fill(&log, 0..APPENDS);
    log.close().unwrap();
    disk.fs().remount_read_only();
    only_reading_works(disk.fs(), APPENDS);
}

#[test]
fn f30_a_log_is_read_on_a_read_only_mount_of_ext4() {
    a_read_only_mount(Kind::Ext4);
}

#[test]
fn f30_a_log_is_read_on_a_read_only_mount_of_xfs() {
    a_read_only_mount(Kind::Xfs);
}

#[test]
fn f30_a_log_is_read_on_a_read_only_mount_of_btrfs() {
    a_read_only_mount(Kind::Btrfs);
}

/// The file system gives up writing while the log is open.
#[test]
fn f30_ext4_becomes_read_only_below_an_open_log() {
    let Some(place) = Place::new(Kind::Ext4) else { return };
    let disk = FailingDisk::start(&place);
    let log = options().open(disk.fs().log()).unwrap();
    fill(&log, 0..APPENDS);
    disk.set(&Fault::FailAllWrites);
    let new = || std::fs::File::create(disk.fs().path().join("new")).and_then(|new| new.sync_all());
    new().unwrap_err();
    disk.set(&Fault::None);
    assert_eq!(new().unwrap_err().kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    let failed = append_one(&log, b"no longer");
    assert!(matches!(failed, Err(AppendError::Failed(_))), "{failed:?}");
    assert_eq!(count(&log.view()), APPENDS, "reads go on");
    assert_eq!(count(&View::open(disk.fs().log()).unwrap()), APPENDS, "beside the log too");
    log.close().unwrap_err();
    only_reading_works(disk.fs(), APPENDS);
}

#[cfg(feature = "cli")]
mod commands {
    use std::process::{Command, Output};

    use super::*;

    /// As much as is read at once: a sector that cannot be read fails the whole call.
    const AHEAD: usize = 1 << 20;

    /// The offset of the marked event's data in the first chunk.
    fn place_of_mark(directory: &Path) -> usize {
        let chunk = std::fs::read(directory.join("chunk-0000000000")).unwrap();
        let mark = MARK.as_bytes();
        chunk.windows(mark.len()).position(|part| part == mark).unwrap()
    }

    fn paperchase(args: &[&str], directory: &Path) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_paperchase"));
        command.arg(args[0]).arg(directory).args(&args[1..]).output().unwrap()
    }

    pub(super) fn reading_verbs_work(directory: &Path) {
        let verbs = ["read", "export", "streams", "types", "info", "chunks", "verify"];
        for verb in verbs {
            let ran = paperchase(&[verb, "--json"], directory);
            let ran = if verb == "export" { paperchase(&[verb], directory) } else { ran };
            assert_eq!(ran.status.code(), Some(0), "{verb}: {ran:?}");
            assert!(!ran.stdout.is_empty(), "{verb}: {ran:?}");
        }
    }

    /// Verifying reads by calls: a bad sector is a place in its list.
    fn verify_names_a_bad_sector(kind: Kind) {
        let Some(place) = Place::new(kind) else { return };
        let mut disk = FailingDisk::start(&place);
        log_with_a_mark(&disk.fs().log());
        let at = place_of_mark(&disk.fs().log());
        disk.mount_again();
        disk.set(&Fault::FailReads(MARK.to_owned()));
        let ran = paperchase(&["verify", "--json"], &disk.fs().log());
        assert_eq!(ran.status.code(), Some(1), "{ran:?}");
        let report: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
        println!("{kind:?}: the sector is at {at}: {}", report["damage"]);
        let near = at.saturating_sub(AHEAD)..=at;
        let is_near = |damage: &serde_json::Value| {
            let offset = damage["offset"].as_u64().unwrap() as usize;
            damage["chunk"] == 0 && damage["what"] == "bytes of the file" && near.contains(&offset)
        };
        assert!(report["damage"].as_array().unwrap().iter().any(is_near), "{report}");
    }

    #[test]
    fn f29_verify_names_a_bad_sector_on_ext4() {
        verify_names_a_bad_sector(Kind::Ext4);
    }

    #[test]
    fn f29_verify_names_a_bad_sector_on_xfs() {
        verify_names_a_bad_sector(Kind::Xfs);
    }

    #[test]
    fn f29_verify_names_a_bad_sector_on_btrfs() {
        verify_names_a_bad_sector(Kind::Btrfs);
    }
}
