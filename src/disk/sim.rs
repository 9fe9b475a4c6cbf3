//! Owns a disk in memory: the [`Disk`] that tests run a whole log on, and take the power from.
//!
//! Promises what the traits promise, and counts the calls that would reach a medium. What is not
//! synced is a list of units, and a loss of power leaves any of them ([`SimDisk::crash`]). A
//! written page of zeros counts as a hole, so a zero-filled file and a sparse one look alike.
//! Clones share the content and the pages; a snapshot shares nothing and has no pages, as after a
//! restart. A file that is removed or replaced lives on for whoever has it open or mapped (R8).
//! Never fails on its own, never touches a real file.

mod image;
mod landed;
mod medium;
#[cfg(test)]
mod tests;
mod toll;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use uuid::Uuid;

use super::map::{PageOrigin, SharedPage, Source};
use super::{Access, Disk, DiskFile, LockError, Map};
use crate::clock::SimClock;
use image::Image;
pub use landed::{Landed, all_choices, count_choices, special_choices};
use medium::Medium;
pub use medium::UnitKind;
pub use toll::Prices;
use toll::Toll;

const LOCK: &str = "LOCK";

/// A directory in memory. Clones are further handles of the same directory.
#[derive(Clone, Debug, Default)]
pub struct SimDisk {
    directory: Arc<Directory>,
}

#[derive(Debug, Default)]
struct Directory {
    medium: Mutex<Medium>,
    /// The disk as it was before each call that changes something, where that is asked for.
    recorded: Mutex<Option<Vec<SimDisk>>>,
    pages: Mutex<BTreeMap<String, SharedPage>>,
    pages_made: AtomicU64,
    locked: AtomicBool,
    counts: Counts,
    toll: Toll,
}

#[derive(Debug, Default)]
struct Counts {
    writes: AtomicU64,
    syncs: AtomicU64,
    directory_syncs: AtomicU64,
}

impl SimDisk {
    /// An empty directory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn with(medium: Medium) -> Self {
        let directory = Directory { medium: Mutex::new(medium), ..Directory::default() };
        Self { directory: Arc::new(directory) }
    }

    /// The whole content of a file, if there is one of this name.
    #[must_use]
    pub fn read_file(&self, name: &str) -> Option<Vec<u8>> {
        let medium = self.directory.medium();
        let image = medium.image(medium.find(name)?);
        Some(image.bytes(0..image.size()))
    }

    /// Puts a file with this content in place of any other of this name, durably.
    pub fn write_file(&self, name: &str, bytes: impl Into<Vec<u8>>) {
        self.directory.medium().put(name, Image::of(&bytes.into()));
    }

    /// Takes a file or a page away, durably; tells whether there was one.
    pub fn remove(&self, name: &str) -> bool {
        self.directory.medium().remove(name) || self.pages().remove(name).is_some()
    }

    /// A copy of all files as they are at this moment, unlocked, with counts at zero. All of it is
    /// durable.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        Self::with(self.directory.medium().synced())
    }

    /// The disk after a loss of power at this moment, when of the unsynced units these had landed
    /// on the medium, and all that was synced. What is there is durable then; nobody has it open.
    ///
    /// A file whose entry is not durable is absent, whatever became of its bytes. Bytes behind the
    /// size that a file has are gone. Of several versions of a sector the last that landed counts.
    #[must_use]
    pub fn crash(&self, landed: &Landed) -> Self {
        Self::with(self.directory.medium().crash(landed))
    }

    /// The disk after the end of the process that had it open, with the power still on: all is as
    /// it was written, and what was not synced still is not. Shares nothing with this disk.
    #[must_use]
    pub fn killed(&self) -> Self {
        Self::with(self.directory.medium().clone())
    }

    /// The unsynced units in the order in which they came: sectors of writes, sizes, entries. What
    /// changes nothing on the medium is none.
    #[must_use]
    pub fn units(&self) -> Vec<UnitKind> {
        self.directory.medium().units()
    }

    /// The numbers of the units that change the same place, for each place. Of each only the last
    /// that landed counts.
    #[must_use]
    pub fn places(&self) -> Vec<Vec<usize>> {
        self.directory.medium().places()
    }

    /// What an unsynced unit is, for people.
    #[must_use]
    pub fn describe(&self, unit: usize) -> String {
        self.directory.medium().describe(unit)
    }

    /// How often a sync or a sync of the directory found something to make durable.
    #[must_use]
    pub fn effective_syncs(&self) -> u64 {
        self.directory.medium().syncs
    }

    /// From now on syncs are answered and not done, as by a disk that lies about its cache, or are
    /// done again. What was not synced meanwhile becomes durable by the next sync.
    pub fn lie_about_syncs(&self, lies: bool) {
        self.directory.medium().lies = lies;
    }

    /// From now on calls move this clock on.
    pub fn charge(&self, clock: Arc<SimClock>, prices: Prices) {
        self.directory.toll.set(clock, prices);
    }

    /// From now on keeps the disk as it is before each call that changes something.
    pub fn record(&self) {
        *self.directory.recorded() = Some(Vec::new());
    }

    /// The states kept since the last call, in order. They share nothing with this disk.
    #[must_use]
    pub fn take_recorded(&self) -> Vec<Self> {
        self.directory.recorded().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// How many writes to files there were.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.directory.counts.writes.load(Ordering::Relaxed)
    }

    /// How many syncs of file data there were.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.directory.counts.syncs.load(Ordering::Relaxed)
    }

    /// How many syncs of the directory there were.
    #[must_use]
    pub fn directory_syncs(&self) -> u64 {
        self.directory.counts.directory_syncs.load(Ordering::Relaxed)
    }

    fn pages(&self) -> MutexGuard<'_, BTreeMap<String, SharedPage>> {
        self.directory.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, file: usize, access: Access) -> Arc<dyn DiskFile> {
        Arc::new(SimFile { directory: Arc::clone(&self.directory), file, access })
    }
}

impl Directory {
    fn medium(&self) -> MutexGuard<'_, Medium> {
        self.medium.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recorded(&self) -> MutexGuard<'_, Option<Vec<SimDisk>>> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The files, before a call that changes them.
    fn about_to_change(&self) -> MutexGuard<'_, Medium> {
        let medium = self.medium();
        if let Some(recorded) = &mut *self.recorded() {
            recorded.push(SimDisk::with(medium.clone()));
        }
        medium
    }
}

impl Disk for SimDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut medium = self.directory.about_to_change();
        if medium.find(name).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = medium.create(name);
        Ok(self.handle(file, Access::Write))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.directory.medium().find(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.handle(file, access))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.directory.medium().names().cloned().collect())
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.directory.counts.directory_syncs.fetch_add(1, Ordering::Relaxed);
        self.directory.about_to_change().sync_directory();
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let medium = self.directory.medium();
        if medium.find(to).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        medium.find(from).ok_or(io::ErrorKind::NotFound)?;
        drop(medium);
        self.directory.about_to_change().rename(from, to);
        Ok(())
    }

    fn lock(&self) -> Result<Box<dyn fmt::Debug + Send + Sync>, LockError> {
        let pid = std::process::id();
        if self.directory.locked.swap(true, Ordering::AcqRel) {
            return Err(LockError::Held { pid: Some(pid) });
        }
        self.write_file(LOCK, format!("{pid}\n"));
        Ok(Box::new(Guard(Arc::clone(&self.directory))))
    }

    fn page(&self, name: &str, access: Access) -> io::Result<SharedPage> {
        let mut pages = self.pages();
        let file = self.directory.pages_made.fetch_add(1, Ordering::Relaxed);
        let origin = PageOrigin { boot: Uuid::from_u128(1), file };
        match access {
            Access::Read => {
                pages.get(name).map(|page| page.clone().read_only()).ok_or(io::ErrorKind::NotFound)
            }
            Access::Write => {
                let page = || SharedPage::in_memory(Some(origin));
                Ok(pages.entry(name.to_owned()).or_insert_with(page).clone())
            }
        }
        .map_err(Into::into)
    }

    fn label(&self) -> String {
        "memory".to_owned()
    }
}

/// The lock, taken. Dropping it frees the lock.
#[derive(Debug)]
struct Guard(Arc<Directory>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.locked.store(false, Ordering::Release);
    }
}

#[derive(Debug)]
struct SimFile {
    directory: Arc<Directory>,
    file: usize,
    access: Access,
}

impl SimFile {
    fn check_writable(&self) -> io::Result<()> {
        match self.access {
            Access::Write => Ok(()),
            Access::Read => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }
}

impl DiskFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.directory.medium().image(self.file).size() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let range = range_of(offset, bytes.len())?;
        let medium = self.directory.medium();
        let image = medium.image(self.file);
        if range.end > image.size() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        image.read(range.start, bytes);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.check_writable()?;
        let range = range_of(offset, bytes.len())?;
        self.directory.counts.writes.fetch_add(1, Ordering::Relaxed);
        self.directory.toll.pay(|prices| prices.write);
        self.directory.about_to_change().write(self.file, range.start, bytes);
        Ok(())
    }

    fn grow(&self, size: u64) -> io::Result<()> {
        self.check_writable()?;
        let size = range_of(size, 0)?.start;
        let mut medium = self.directory.about_to_change();
        if size < medium.image(self.file).size() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a file never shrinks"));
        }
        medium.grow(self.file, size);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.directory.counts.syncs.fetch_add(1, Ordering::Relaxed);
        self.directory.toll.pay(|prices| prices.sync);
        self.directory.about_to_change().sync(self.file);
        Ok(())
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        let Ok(offset) = usize::try_from(offset) else { return Ok(None) };
        let found = self.directory.medium().image(self.file).next_page(offset, false);
        Ok(found.map(|offset| offset as u64))
    }

    fn next_hole(&self, offset: u64) -> io::Result<u64> {
        let medium = self.directory.medium();
        let image = medium.image(self.file);
        let end = offset.max(image.size() as u64);
        let found = usize::try_from(offset).ok().and_then(|at| image.next_page(at, true));
        Ok(found.map_or(end, |offset| offset as u64))
    }

    fn map(&self, length: u64) -> io::Result<Map> {
        if length > self.size()? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a map lies within its file"));
        }
        let directory = Arc::clone(&self.directory);
        Ok(Map::new(Arc::new(SimMap { directory, file: self.file, length })))
    }
}

/// The place of `length` bytes at `offset`, where memory has such a place.
fn range_of(offset: u64, length: usize) -> io::Result<Range<usize>> {
    let start = usize::try_from(offset).ok();
    let end = start.and_then(|start| start.checked_add(length));
    Ok(start.zip(end).map(|(start, end)| start..end).ok_or(io::ErrorKind::InvalidInput)?)
}

/// A view of a file's first bytes. Each slice is a copy, so a test that breaks the rule of the
/// settled mark reads old bytes, not undefined ones.
struct SimMap {
    directory: Arc<Directory>,
    file: usize,
    length: u64,
}

impl Source for SimMap {
    fn length(&self) -> u64 {
        self.length
    }

    fn bytes(self: Arc<Self>, range: Range<usize>) -> Bytes {
        self.directory.toll.pay(|prices| prices.view);
        self.directory.medium().image(self.file).bytes(range).into()
    }

    fn populate(&self, _: Range<usize>) {}
}
