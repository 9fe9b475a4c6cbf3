//! Tests of a log on a disk that fails: a full disk is told and gone on from, a failed sync or
//! write is final, and every waiter is answered.

mod slow;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::faulty::FaultyDisk;
use super::{check, count, event, open_with, small, stream};
use crate::clock::SystemClock;
use crate::disk::sim::SimDisk;
use crate::disk::{Access, Disk, DiskFile, LockError, Map, OsDisk};
use crate::error::{AppendError, Error, ErrorKind};
use crate::event::{Expected, NewEvent};
use crate::log::Log;
use crate::options::Options;
use crate::position::Position;
use crate::stage::Failure;
use crate::stage::ack::Ack;

/// What fails at the moment.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Writes and creations of chunks: the disk is full.
    full: AtomicBool,
    /// Writes of anything.
    write: AtomicBool,
    /// Syncs of chunks.
    pub(super) sync: AtomicBool,
    /// Bytes read back through a map are not those that were written.
    pub(super) rot: AtomicBool,
    /// Whoever writes panics.
    pub(super) panic: AtomicBool,
    /// Syncs of files fail as the kernel tells of a failed write-back: once to each opening.
    pub(super) told_once: AtomicBool,
    /// The next file that is to grow finds no space.
    pub(super) no_room: AtomicBool,
    /// Syncs of files take so many microseconds.
    slow_sync: AtomicU64,
    /// Of the log that another stage breaks while a file is synced.
    beside: OnceLock<Arc<Failure>>,
}

impl Faults {
    fn check(&self, fault: &AtomicBool, kind: io::ErrorKind) -> io::Result<()> {
        if fault.load(Ordering::SeqCst) { Err(kind.into()) } else { Ok(()) }
    }
}

#[derive(Debug)]
struct FailingDisk {
    inner: SimDisk,
    faults: Arc<Faults>,
}

#[derive(Debug)]
struct FailingFile {
    inner: Arc<dyn DiskFile>,
    faults: Arc<Faults>,
    told: AtomicBool,
}

impl FailingDisk {
    fn wrap(&self, inner: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        let (faults, told) = (Arc::clone(&self.faults), AtomicBool::new(false));
        Arc::new(FailingFile { inner, faults, told })
    }
}

impl Disk for FailingDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.faults.check(&self.faults.full, io::ErrorKind::StorageFull)?;
        self.inner.create(name).map(|file| self.wrap(file))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        self.inner.open(name, access).map(|file| self.wrap(file))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.inner.sync_directory()
    }

    fn lock(&self) -> Result<Box<dyn fmt::Debug + Send + Sync>, LockError> {
        self.inner.lock()
    }

    fn label(&self) -> String {
        self.inner.label()
    }
}

impl DiskFile for FailingFile {
    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.inner.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        assert!(!self.faults.panic.load(Ordering::SeqCst), "injected");
        self.faults.check(&self.faults.write, io::ErrorKind::Other)?;
        if bytes.iter().all(|byte| *byte == 0) {
            // Zeros that are written ahead take space, overwriting them does not.
            self.faults.check(&self.faults.full, io::ErrorKind::StorageFull)?;
        }
        let mut bytes = bytes.to_vec();
        if self.faults.rot.load(Ordering::SeqCst) && bytes.len() > 200 {
            bytes[150] ^= 1;
        }
        self.inner.write_at(&bytes, offset)
    }

    fn grow(&self, size: u64) -> io::Result<()> {
        if self.faults.no_room.swap(false, Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.inner.grow(size)
    }

    fn sync_data(&self) -> io::Result<()> {
        if let Some(failure) = self.faults.beside.get() {
            failure.record(Error::new(ErrorKind::Bug, "broken beside a sync"));
        }
        std::thread::sleep(Duration::from_micros(self.faults.slow_sync.load(Ordering::SeqCst)));
        self.faults.check(&self.faults.sync, io::ErrorKind::Other)?;
        let failing = self.faults.told_once.load(Ordering::SeqCst);
        if failing && !self.told.swap(true, Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.inner.sync_data()
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        self.inner.next_data(offset)
    }

    fn next_hole(&self, offset: u64) -> io::Result<u64> {
        self.inner.next_hole(offset)
    }

    fn map(&self, length: u64) -> io::Result<Map> {
        self.inner.map(length)
    }
}

/// A disk that fails when it is told to.
pub(super) fn failing_disk() -> (SimDisk, Arc<Faults>, Arc<dyn Disk>) {
    let (inner, faults) = (SimDisk::new(), Arc::new(Faults::default()));
    let disk = FailingDisk { inner: inner.clone(), faults: Arc::clone(&faults) };
    (inner, faults, Arc::new(disk))
}

pub(super) fn failing() -> (SimDisk, Arc<Faults>, Log) {
    let (inner, faults, disk) = failing_disk();
    let log = small().open_on(disk, Arc::new(SystemClock::default())).unwrap();
    (inner, faults, log)
}

fn reopen(disk: &SimDisk) -> Log {
    small().open_on(Arc::new(disk.clone()), Arc::new(SystemClock::default())).unwrap()
}

#[test]
fn f24_a_full_disk_is_told_and_appends_go_on_when_there_is_space() {
    let (disk, faults, log) = failing();
    count(&log, 0..10);
    faults.full.store(true, Ordering::SeqCst);
    let big = || NewEvent::new("Big", vec![1; 200 << 10]);
    let mut stored = 10;
    let full = loop {
        match log.append("big", Expected::Any, [big()]).unwrap().wait() {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 100, "the disk never got full");
    };
    assert!(matches!(full, AppendError::Full), "{full}");
    assert_eq!(log.view().end(), Position::new(stored), "reads go on");
    faults.full.store(false, Ordering::SeqCst);
    let resumed = (0..1000).find_map(|_| {
        std::thread::sleep(Duration::from_millis(10));
        log.append("big", Expected::Any, [big()]).unwrap().wait().ok()
    });
    assert_eq!(resumed.unwrap().first_position, Position::new(stored), "gapless");
    log.close().unwrap();
    assert_eq!(reopen(&disk).view().end(), Position::new(stored + 1));
}

/// Breaks the log with many appends in flight, and checks what everybody is told.
fn a_failure_is_final(fault: impl Fn(&Faults) -> &AtomicBool, told: &str) {
    let (disk, faults, log) = failing();
    count(&log, 0..50);
    fault(&faults).store(true, Ordering::SeqCst);
    let append = |number| log.append(&stream(number), Expected::Any, [event(number)]);
    let acks: Vec<_> = (50..100).filter_map(|number| append(number).ok()).collect();
    for ack in acks {
        match ack.wait() {
            Err(AppendError::Failed(error)) => assert!(error.to_string().contains(told), "{error}"),
            other => panic!("{other:?}"),
        }
    }
    fault(&faults).store(false, Ordering::SeqCst);
    let late = append(100).and_then(Ack::wait);
    assert!(matches!(late, Err(AppendError::Failed(_))), "a failure is final: {late:?}");
    assert_eq!(log.view().end(), Position::new(50));
    assert_eq!(log.read_all(..).unwrap().filter(Result::is_ok).count(), 50, "reads go on");
    assert!(log.close().unwrap_err().to_string().contains(told));
    let log = reopen(&disk);
    assert!(!log.report().clean);
    assert!(log.view().end() >= Position::new(50));
    let next = log.view().end().get();
    count(&log, next..next + 10);
}

#[test]
fn f20_a_failed_sync_is_final() {
    a_failure_is_final(|faults| &faults.sync, "chunk-0000000000");
}

/// The kernel tells of a failed write-back once: another stage may have been told instead.
#[test]
fn an_error_of_another_stage_during_a_sync_is_seen_before_the_ack() {
    let (_, faults, log) = failing();
    count(&log, 0..5);
    faults.beside.set(Arc::clone(&log.core.failure)).unwrap();
    let outcome = log.append("s", Expected::Any, [event(5)]).and_then(Ack::wait);
    match outcome {
        Err(AppendError::Failed(error)) => assert!(error.to_string().contains("beside")),
        other => panic!("{other:?}"),
    }
    assert_eq!(log.view().end(), Position::new(5));
}

#[test]
fn f21_a_failed_write_is_final() {
    a_failure_is_final(|faults| &faults.write, "chunk-0000000000");
}

#[test]
fn f04_a_panic_of_a_stage_is_final() {
    a_failure_is_final(|faults| &faults.panic, "panicked");
}

#[test]
fn bytes_that_read_back_wrong_are_never_acked() {
    let (disk, faults, log) = failing();
    count(&log, 0..5);
    faults.rot.store(true, Ordering::SeqCst);
    let data = vec![7; 500];
    let ack = log.append("s", Expected::Any, [NewEvent::new("Rotten", data)]).unwrap();
    match ack.wait() {
        Err(AppendError::Failed(error)) => {
            assert!(error.to_string().contains("checksum"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(log.view().end(), Position::new(5));
    drop(log);
    let refused = small().open_on(Arc::new(disk), Arc::new(SystemClock::default()));
    match refused {
        // Nothing said that the rotten group was durable, so it may have been a torn write.
        Ok(log) => {
            assert_eq!((log.view().end(), log.report().cut.is_some()), (Position::new(5), true));
        }
        Err(error) => assert!(error.to_string().contains("checksum"), "{error}"),
    }
}

#[test]
fn f27_a_sync_that_takes_long_is_neither_an_ack_nor_a_failure() {
    let disk = FaultyDisk::default();
    let options = small().queue_appends(8).admission_wait(Duration::ZERO);
    let log = options.open_on(Arc::new(disk.clone()), Arc::new(SystemClock::default())).unwrap();
    count(&log, 0..5);
    disk.hold_syncs(true);
    let mut acks = Vec::new();
    // Some that the writer holds, and then as many as the queue takes.
    let busy = loop {
        match log.append("slow", Expected::Any, [event(acks.len() as u64)]) {
            Ok(ack) => acks.push(ack),
            Err(error) => break error,
        }
        std::thread::sleep(Duration::from_millis(2));
        assert!(acks.len() < 1_000, "the queue never fills");
    };
    assert!(matches!(busy, AppendError::Busy), "{busy}");
    std::thread::sleep(Duration::from_millis(300));
    assert!(acks.iter().all(|ack| !ack.is_ready()), "nothing is durable yet");
    assert_eq!(log.view().end(), Position::new(5));
    assert_eq!(log.read_all(..).unwrap().count(), 5, "reads go on");
    disk.hold_syncs(false);
    for (position, ack) in (5..).zip(acks) {
        assert_eq!(ack.wait().unwrap().first_position, Position::new(position));
    }
    log.append("slow", Expected::Exists, [event(0)]).unwrap().wait().unwrap();
    log.close().unwrap();
}

#[test]
fn f25_a_log_does_not_notice_calls_of_one_byte() {
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> =
        Arc::new(OsDisk::open_with_short_calls(dir.path(), 1, false).unwrap());
    let options = || Options::new().chunk_size(64 << 10).prepare_ahead(64 << 10);
    let total = 700;
    for start in (0..total).step_by(100) {
        let log = open_with(&disk, options()).unwrap();
        count(&log, start..start + 100);
        check(&log.view(), start + 100);
        log.close().unwrap();
    }
    let log = open_with(&disk, options()).unwrap();
    assert!(log.report().clean && log.view().chunks().len() > 1, "{:?}", log.report());
    check(&log.view(), total);
}
