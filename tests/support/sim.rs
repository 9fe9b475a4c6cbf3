//! Owns logs on the simulated disk: how tests open them, what stands where in their files, and a
//! disk that stops.
//!
//! Promises: a log of these helpers has one group per append, because each is acked before the next
//! begins. The clock stands still, so the hint is written at the first moment and at the close, and
//! no test depends on its age.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use paperchase::clock::SimClock;
use paperchase::disk::sim::SimDisk;
use paperchase::disk::{Access, Disk, DiskFile, LockError, Map};
use paperchase::{Expected, Log, NewEvent, OpenError, Options};

pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const FIRST: &str = "chunk-0000000000";

pub(crate) fn small() -> Options {
    Options::new().chunk_size(MIB).prepare_ahead(64 << 10).spin(Duration::ZERO)
}

pub(crate) fn open(disk: &SimDisk) -> Result<Log, OpenError> {
    open_on(Arc::new(disk.clone()))
}

pub(crate) fn open_on(disk: Arc<dyn Disk>) -> Result<Log, OpenError> {
    small().open_on(disk, Arc::new(SimClock::new()))
}

/// Appends one group: some events of one stream.
pub(crate) fn append(log: &Log, stream: &str, events: impl IntoIterator<Item = NewEvent>) {
    let ack = log.append(stream, Expected::Any, events).expect("the log takes it");
    ack.wait().expect("the log stores it");
}

/// A file that surely is there.
pub(crate) fn file(disk: &SimDisk, name: &str) -> Vec<u8> {
    disk.read_file(name).unwrap_or_else(|| panic!("there is no {name}"))
}

/// Puts a changed copy of a file in its place.
pub(crate) fn change(disk: &SimDisk, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = file(disk, name);
    change(&mut bytes);
    disk.write_file(name, bytes);
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// The places of the groups in a chunk's file, by docs/format.md: each begins where the one before
/// ends.
pub(crate) fn groups(chunk: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut groups = Vec::new();
    let mut at = 4096;
    while chunk[at..].starts_with(b"PGRP") {
        let end = at + 64 + u32_at(chunk, at + 40) as usize;
        groups.push(at..end);
        at = end;
    }
    groups
}

/// A disk that stops for good after so many calls that change something, as for a process that is
/// killed. The last of them is done by half if it is a write, or as a whole and not told.
#[derive(Debug)]
pub(crate) struct StoppingDisk {
    inner: SimDisk,
    left: Arc<AtomicU64>,
    last_is_whole: bool,
}

impl StoppingDisk {
    pub(crate) fn new(inner: SimDisk, calls: u64) -> Self {
        Self { inner, left: Arc::new(AtomicU64::new(calls)), last_is_whole: false }
    }

    /// The same, but the last call, if it is a write, is done as a whole although it fails.
    pub(crate) fn untold(inner: SimDisk, calls: u64) -> Self {
        Self { last_is_whole: true, ..Self::new(inner, calls) }
    }

    fn wrap(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        let (left, last_is_whole) = (Arc::clone(&self.left), self.last_is_whole);
        Arc::new(StoppingFile { inner: file, left, last_is_whole })
    }
}

fn spend(left: &AtomicU64) -> io::Result<()> {
    let spent = left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
    spent.map(drop).map_err(|_| io::Error::other("the disk has stopped"))
}

impl Disk for StoppingDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        spend(&self.left)?;
        Ok(self.wrap(self.inner.create(name)?))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(self.inner.open(name, access)?))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn sync_directory(&self) -> io::Result<()> {
        spend(&self.left)?;
        self.inner.sync_directory()
    }

    fn lock(&self) -> Result<Box<dyn fmt::Debug + Send + Sync>, LockError> {
        self.inner.lock()
    }

    fn label(&self) -> String {
        self.inner.label()
    }
}

#[derive(Debug)]
struct StoppingFile {
    inner: Arc<dyn DiskFile>,
    left: Arc<AtomicU64>,
    last_is_whole: bool,
}

impl DiskFile for StoppingFile {
    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.inner.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        // Behind the call that meets the end none is done at all.
        let last = self.left.load(Ordering::Acquire) == 1;
        spend(&self.left)?;
        if last {
            let done = if self.last_is_whole { bytes.len() } else { bytes.len() / 2 };
            self.inner.write_at(&bytes[..done], offset)?;
            return Err(io::Error::other("the disk has stopped"));
        }
        self.inner.write_at(bytes, offset)
    }

    fn grow(&self, size: u64) -> io::Result<()> {
        spend(&self.left)?;
        self.inner.grow(size)
    }

    fn sync_data(&self) -> io::Result<()> {
        spend(&self.left)?;
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
