//! Owns what happens when the disk below a real file system fails, loses or delays what the log
//! writes: F16, F17, F20 and F27.
//!
//! The lesson that R1 and R4 rest on is shown on a bare file first: after a failed write-back the
//! next sync may say success, and the bytes are not on the disk.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use paperchase::{AppendError, ErrorKind, Expected, NewEvent, OpenError};

use super::disk::{FailingDisk, Fault, Kind, Place};
use super::load::{append_one, check, count, fill, options, submit};
use super::medium::{Entry, Medium};
use super::power::land;
use crate::support::{Content, Random};

pub(crate) const MARK: &str = "what-becomes-of-this-write-";
const ACKED: u64 = 50;

/// Several pages, and the mark in each.
pub(crate) fn marked() -> Vec<u8> {
    MARK.as_bytes().repeat(800)
}

fn state(place: &Place, log: &[Entry]) -> Medium {
    let mut medium = place.medium();
    log.iter().for_each(|entry| medium.apply(entry));
    medium
}

/// The part of a log that ends with its last flush.
fn flushed(log: &[Entry]) -> usize {
    log.iter().rposition(|entry| *entry == Entry::Flush).map_or(0, |last| last + 1)
}

/// What is printed may differ from kernel to kernel. What must hold is that the error is told once,
/// and that the same bytes, written and synced again, are on the disk (R4).
fn show_on_a_bare_file(disk: &FailingDisk, kind: Kind) {
    let bare = "what-a-bare-file-holds-";
    let bytes = bare.repeat(800).into_bytes();
    let file = File::create(disk.fs().path().join("bare")).unwrap();
    file.write_all_at(&vec![0; bytes.len()], 0).unwrap();
    file.sync_all().unwrap();
    disk.set(&Fault::FailWrites(bare.to_owned()));
    file.write_all_at(&bytes, 0).unwrap();
    let first = file.sync_data();
    disk.set(&Fault::None);
    let (second, there) = (file.sync_data(), disk.contains(bare));
    println!(
        "{kind:?}: a failed sync is told as {first:?}, the next as {second:?}; there: {there}"
    );
    assert!(first.is_err(), "the error is told once");
    file.write_all_at(&bytes, 0).unwrap();
    file.sync_data().unwrap();
    assert!(disk.contains(bare), "written and synced again, it is there");
}

/// A write of the log fails once and the disk works again at once.
fn a_failed_write_back_is_final(kind: Kind) {
    let Some(place) = Place::new(kind) else { return };
    let disk = FailingDisk::start(&place);
    show_on_a_bare_file(&disk, kind);
    let log = options().open(disk.fs().log()).unwrap();
    fill(&log, 0..ACKED);
    disk.set(&Fault::FailWrites(MARK.to_owned()));
    let failed = append_one(&log, marked());
    disk.set(&Fault::None);
    assert!(matches!(failed, Err(AppendError::Failed(_))), "{failed:?}");
    let again = append_one(&log, b"a sync would say success now");
    assert!(matches!(again, Err(AppendError::Failed(_))), "{again:?}");
    assert_eq!(count(&log.view()), ACKED, "reads go on up to what is durable");
    log.close().unwrap_err();
    assert!(!disk.contains(MARK), "it was not written again behind the log's back");

    // The file system still shows the bytes that the disk has not.
    let log = options().open(disk.fs().log()).unwrap();
    let shown = log.view().read_all(..).any(|event| event.unwrap().data() == marked());
    println!("{kind:?}: shown again: {shown}, {:?}", log.report());
    assert_eq!(disk.contains(MARK), shown, "what is shown is on the disk");
    append_one(&log, b"behind it").unwrap();
    let content = Content::of(&log.view());

    let entries = disk.log();
    let mounted = place.mount(&state(&place, &entries[..flushed(&entries)]));
    let survived = options().open(mounted.log()).unwrap();
    assert_eq!(content.compare(&survived.view()), Ok(0), "{:?}", survived.report());
}

#[test]
fn f20_a_failed_write_back_is_final_on_ext4() {
    a_failed_write_back_is_final(Kind::Ext4);
}

#[test]
fn f20_a_failed_write_back_is_final_on_xfs() {
    a_failed_write_back_is_final(Kind::Xfs);
}

#[test]
fn f20_a_failed_write_back_is_final_on_btrfs() {
    a_failed_write_back_is_final(Kind::Btrfs);
}

/// Lets the file system give up what it cannot write. A store to a page of a map that it has given
/// up ends the process, and the log goes on to tell other processes that it lives.
fn outlive_the_pages(folder: &File) {
    for _ in 0..8 {
        // It may say that it has failed.
        _ = rustix::fs::syncfs(folder);
        std::thread::sleep(Duration::from_millis(40));
    }
}

/// A flush or all writes fail, and then the power is lost.
fn a_failure_and_then_no_power(kind: Kind, fault: &Fault) {
    let Some(place) = Place::new(kind) else { return };
    let mut random = Random::new();
    let disk = FailingDisk::start(&place);
    let log = options().open(disk.fs().log()).unwrap();
    fill(&log, 0..ACKED);
    let folder = File::open(disk.fs().path()).unwrap();
    disk.set(fault);
    let failed = submit(&log, ACKED).wait();
    assert!(matches!(failed, Err(AppendError::Failed(_))), "{failed:?}");
    outlive_the_pages(&folder);
    let entries = disk.log();
    for _ in 0..5 {
        let flushed = flushed(&entries);
        let mut medium = state(&place, &entries[..flushed]);
        let chance = random.below(101);
        for entry in &entries[flushed..] {
            land(&mut medium, entry, chance, &mut random);
        }
        let mounted = place.mount(&medium);
        check(&mounted.log(), ACKED);
        mounted.unmount();
    }
}

#[test]
fn f17_a_flush_fails_and_then_the_power_on_ext4() {
    a_failure_and_then_no_power(Kind::Ext4, &Fault::FailFlushes);
}

#[test]
fn f17_a_flush_fails_and_then_the_power_on_xfs() {
    a_failure_and_then_no_power(Kind::Xfs, &Fault::FailFlushes);
}

#[test]
fn f17_a_flush_fails_and_then_the_power_on_btrfs() {
    a_failure_and_then_no_power(Kind::Btrfs, &Fault::FailFlushes);
}

#[test]
fn f17_writes_fail_and_then_the_power_on_ext4() {
    a_failure_and_then_no_power(Kind::Ext4, &Fault::FailAllWrites);
}

#[test]
fn f17_writes_fail_and_then_the_power_on_xfs() {
    a_failure_and_then_no_power(Kind::Xfs, &Fault::FailAllWrites);
}

#[test]
fn f17_writes_fail_and_then_the_power_on_btrfs() {
    a_failure_and_then_no_power(Kind::Btrfs, &Fault::FailAllWrites);
}

/// The disk says that it has written what it has not; `behind` appends follow.
fn a_write_is_lost(kind: Kind, behind: u64) -> Option<OpenError> {
    let place = Place::new(kind)?;
    let disk = FailingDisk::start(&place);
    let log = options().open(disk.fs().log()).unwrap();
    fill(&log, 0..ACKED);
    disk.set(&Fault::LoseWrites(MARK.to_owned()));
    append_one(&log, marked()).unwrap();
    fill(&log, ACKED..ACKED + behind);
    log.close().unwrap();
    let mounted = place.mount(&state(&place, &disk.log()));
    let opened = options().open(mounted.log());
    Some(opened.map(|log| count(&log.view())).unwrap_err())
}

/// The loss is in the midst of the log, or at its end, where the hint alone tells of it. On btrfs,
/// which has checksums of its own, it is a block that cannot be read.
fn a_lost_write_is_told(kind: Kind) {
    for behind in [20, 0] {
        let Some(error) = a_write_is_lost(kind, behind) else { return };
        println!("{kind:?}, {behind} appends behind it: {error}");
        let is_told = match &error {
            OpenError::Failed(error) => kind == Kind::Btrfs && error.kind() == ErrorKind::Io,
            OpenError::LostData { .. } => behind == 0,
            OpenError::Corrupt(_) => true,
            _ => false,
        };
        assert!(is_told, "{error}");
    }
}

#[test]
fn f16_a_lost_write_is_told_on_ext4() {
    a_lost_write_is_told(Kind::Ext4);
}

#[test]
fn f16_a_lost_write_is_told_on_xfs() {
    a_lost_write_is_told(Kind::Xfs);
}

#[test]
fn f16_a_lost_write_is_told_on_btrfs() {
    a_lost_write_is_told(Kind::Btrfs);
}

#[test]
fn f27_a_slow_flush_fills_the_queue_and_fails_nothing() {
    let Some(place) = Place::new(Kind::Ext4) else { return };
    let disk = FailingDisk::start(&place);
    let log = options().queue_appends(8).open(disk.fs().log()).unwrap();
    disk.set(&Fault::SlowFlushes(Duration::from_millis(300)));
    let mut acks = Vec::new();
    let busy = loop {
        let event = NewEvent::new("Own", marked());
        match log.try_append("own", Expected::Any, [event]) {
            Ok(ack) => acks.push(ack),
            Err(error) => break error,
        }
    };
    assert!(matches!(busy, AppendError::Busy), "{busy}");
    let first = acks.remove(0);
    first.wait().unwrap();
    let entries = disk.log();
    let written = entries.iter().position(|entry| match entry {
        Entry::Write { bytes, .. } => super::medium::contains(bytes, MARK.as_bytes()),
        Entry::Flush => false,
    });
    let flushed = written.map(|at| entries[at..].contains(&Entry::Flush));
    assert_eq!(flushed, Some(true), "acked behind the flush");
    disk.set(&Fault::None);
    let taken = acks.len() as u64 + 1;
    acks.into_iter().for_each(|ack| drop(ack.wait().unwrap()));
    assert_eq!(log.view().end().get(), taken);
    log.close().unwrap();
}
