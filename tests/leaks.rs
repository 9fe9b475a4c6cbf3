//! Owns the proof that a log which meets errors leaves no thread and no descriptor behind (F31): it
//! counts what this process has before and after.
//!
//! The only test of its binary, because others would be counted too. The disk is a real one below a
//! wrapper that fails one call, or all from that one on.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "what is wrong ends the test")]

use std::fmt;
use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use paperchase::clock::SystemClock;
use paperchase::disk::{Access, Disk, DiskFile, LockError, Map, OsDisk};
use paperchase::{Expected, NewEvent, Options, Position};

/// Errors, by number: EIO, ENOSPC, EMFILE, ENOMEM.
const ERRORS: [i32; 4] = [5, 28, 24, 12];

/// Which call fails, with what, and whether all later ones do too.
#[derive(Debug)]
struct Plan {
    calls: AtomicU64,
    call: u64,
    errno: i32,
    for_ever: bool,
}

impl Plan {
    fn check(&self) -> io::Result<()> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let fails = call == self.call || (self.for_ever && call > self.call);
        if fails { Err(io::Error::from_raw_os_error(self.errno)) } else { Ok(()) }
    }
}

#[derive(Debug)]
struct FailingDisk(OsDisk, Arc<Plan>);

#[derive(Debug)]
struct FailingFile(Arc<dyn DiskFile>, Arc<Plan>);

impl Disk for FailingDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.1.check()?;
        Ok(Arc::new(FailingFile(self.0.create(name)?, Arc::clone(&self.1))))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        self.1.check()?;
        Ok(Arc::new(FailingFile(self.0.open(name, access)?, Arc::clone(&self.1))))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.1.check()?;
        self.0.list()
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.1.check()?;
        self.0.sync_directory()
    }

    fn lock(&self) -> Result<Box<dyn fmt::Debug + Send + Sync>, LockError> {
        self.1.check().map_err(LockError::Io)?;
        self.0.lock()
    }

    fn label(&self) -> String {
        self.0.label()
    }
}

impl DiskFile for FailingFile {
    fn size(&self) -> io::Result<u64> {
        self.1.check()?;
        self.0.size()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.1.check()?;
        self.0.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.1.check()?;
        self.0.write_at(bytes, offset)
    }

    fn grow(&self, size: u64) -> io::Result<()> {
        self.1.check()?;
        self.0.grow(size)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.1.check()?;
        self.0.sync_data()
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        self.1.check()?;
        self.0.next_data(offset)
    }

    fn next_hole(&self, offset: u64) -> io::Result<u64> {
        self.1.check()?;
        self.0.next_hole(offset)
    }

    fn map(&self, length: u64) -> io::Result<Map> {
        self.1.check()?;
        self.0.map(length)
    }
}

fn count(folder: &str) -> usize {
    fs::read_dir(folder).unwrap().count()
}

fn options() -> Options {
    Options::new().chunk_size(1 << 20).prepare_ahead(128 << 10)
}

/// Opens a log, appends past the end of a chunk, and closes it, or as far as it comes. Returns the
/// number of calls that were made.
fn play(call: u64, errno: i32, for_ever: bool) -> u64 {
    let directory = tempfile::tempdir().unwrap();
    let plan = Arc::new(Plan { calls: AtomicU64::new(0), call, errno, for_ever });
    let disk = FailingDisk(OsDisk::open(directory.path()).unwrap(), Arc::clone(&plan));
    let mut acked = 0;
    if let Ok(log) = options().open_on(Arc::new(disk), Arc::new(SystemClock::default())) {
        for _ in 0..12 {
            let event = NewEvent::new("Large", vec![7; 100_000]);
            let done = log.append("large", Expected::Any, [event]);
            acked += u64::from(done.is_ok_and(|ack| ack.wait().is_ok()));
        }
        if call.is_multiple_of(2) {
            drop(log.close());
        }
    }
    let log = options().open(directory.path()).unwrap();
    assert!(log.view().end() >= Position::new(acked), "what was acked is there");
    plan.calls.load(Ordering::SeqCst)
}

#[test]
fn f31_no_thread_and_no_descriptor_is_left() {
    play(u64::MAX, 5, false);
    let before = (count("/proc/self/task"), count("/proc/self/fd"));
    let (mut runs, mut failed) = (0, 0);
    for call in 0..80 {
        let errno = ERRORS[usize::try_from(call).unwrap() % ERRORS.len()];
        let for_ever = call % 3 == 0;
        failed += u64::from(play(call, errno, for_ever) > call);
        runs += 1;
        let after = (count("/proc/self/task"), count("/proc/self/fd"));
        assert_eq!(after, before, "call {call}, error {errno}, for ever: {for_ever}");
    }
    println!("{runs} runs, {failed} of them with a call that failed");
    assert!(failed > 40, "few calls failed");
}
