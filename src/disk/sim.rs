//! Owns a disk in memory: the [`Disk`] that tests run a whole log on.
//!
//! Promises what the traits promise, and counts the calls that would reach a medium. A written page
//! of zeros counts as a hole, so a zero-filled file and a sparse one look alike. Clones share the
//! content and the pages; a snapshot shares nothing and has no pages, as after a loss of power. A
//! file that is removed or replaced lives on for whoever has it open or mapped, so that maps keep
//! what they rest on (R8). Never fails on its own, never touches a real file.

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

/// The unit in which a file system knows data from holes.
const PAGE: usize = 4096;
const LOCK: &str = "LOCK";

/// A directory in memory. Clones are further handles of the same directory.
#[derive(Clone, Debug, Default)]
pub struct SimDisk {
    directory: Arc<Directory>,
}

#[derive(Debug, Default)]
struct Directory {
    files: Mutex<BTreeMap<String, Arc<Content>>>,
    pages: Mutex<BTreeMap<String, SharedPage>>,
    pages_made: AtomicU64,
    locked: AtomicBool,
    counts: Arc<Counts>,
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

    /// The whole content of a file, if there is one of this name.
    #[must_use]
    pub fn read_file(&self, name: &str) -> Option<Vec<u8>> {
        let content = self.files().get(name).map(Arc::clone)?;
        let bytes = content.lock().clone();
        Some(bytes)
    }

    /// Puts a file with this content in place of any other of this name.
    pub fn write_file(&self, name: &str, bytes: impl Into<Vec<u8>>) {
        self.files().insert(name.to_owned(), Content::new(bytes.into()));
    }

    /// Takes a file or a page away; tells whether there was one.
    pub fn remove(&self, name: &str) -> bool {
        self.files().remove(name).is_some() || self.pages().remove(name).is_some()
    }

    /// A copy of all files as they are at this moment, unlocked, with counts at zero.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        let copy = Self::new();
        for (name, content) in &*self.files() {
            copy.write_file(name, content.lock().clone());
        }
        copy
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

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Content>>> {
        self.directory.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pages(&self) -> MutexGuard<'_, BTreeMap<String, SharedPage>> {
        self.directory.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, content: Arc<Content>, access: Access) -> Arc<dyn DiskFile> {
        Arc::new(SimFile { content, access, counts: Arc::clone(&self.directory.counts) })
    }
}

impl Disk for SimDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut files = self.files();
        if files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let content = Content::new(Vec::new());
        files.insert(name.to_owned(), Arc::clone(&content));
        Ok(self.handle(content, Access::Write))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let content = self.files().get(name).map(Arc::clone).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.handle(content, access))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files().keys().cloned().collect())
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.directory.counts.directory_syncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.files();
        if files.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let content = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), content);
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

/// The bytes of a file. They never become fewer.
struct Content(Mutex<Vec<u8>>);

impl Content {
    fn new(bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(bytes)))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content").field("size", &self.lock().len()).finish()
    }
}

#[derive(Debug)]
struct SimFile {
    content: Arc<Content>,
    access: Access,
    counts: Arc<Counts>,
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
        Ok(self.content.lock().len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let range = range_of(offset, bytes.len())?;
        let content = self.content.lock();
        let found = content.get(range).ok_or(io::ErrorKind::UnexpectedEof)?;
        bytes.copy_from_slice(found);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.check_writable()?;
        let range = range_of(offset, bytes.len())?;
        self.counts.writes.fetch_add(1, Ordering::Relaxed);
        let mut content = self.content.lock();
        if content.len() < range.end && !bytes.is_empty() {
            content.resize(range.end, 0);
        }
        if let Some(place) = content.get_mut(range) {
            place.copy_from_slice(bytes);
        }
        Ok(())
    }

    fn grow(&self, size: u64) -> io::Result<()> {
        self.check_writable()?;
        let size = range_of(size, 0)?.start;
        let mut content = self.content.lock();
        if size < content.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a file never shrinks"));
        }
        content.resize(size, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.counts.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        let content = self.content.lock();
        Ok(next_page(&content, offset, |page| !is_hole(page)))
    }

    fn next_hole(&self, offset: u64) -> io::Result<u64> {
        let content = self.content.lock();
        let end = offset.max(content.len() as u64);
        Ok(next_page(&content, offset, is_hole).unwrap_or(end))
    }

    fn map(&self, length: u64) -> io::Result<Map> {
        if length > self.size()? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a map lies within its file"));
        }
        Ok(Map::new(Arc::new(SimMap { content: Arc::clone(&self.content), length })))
    }
}

/// The first offset at or behind `offset` whose page is as wanted; `None` when none is.
fn next_page(content: &[u8], offset: u64, wanted: fn(&[u8]) -> bool) -> Option<u64> {
    let offset = usize::try_from(offset).ok().filter(|&offset| offset < content.len())?;
    let first = offset / PAGE;
    let found = content[first * PAGE..].chunks(PAGE).position(wanted)?;
    Some(offset.max((first + found) * PAGE) as u64)
}

fn is_hole(page: &[u8]) -> bool {
    page.iter().all(|&byte| byte == 0)
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
    content: Arc<Content>,
    length: u64,
}

impl Source for SimMap {
    fn length(&self) -> u64 {
        self.length
    }

    fn bytes(self: Arc<Self>, range: Range<usize>) -> Bytes {
        Bytes::copy_from_slice(&self.content.lock()[range])
    }

    fn populate(&self, _range: Range<usize>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_shares_nothing_and_a_clone_everything() {
        let disk = SimDisk::new();
        let file = disk.create("a").unwrap();
        file.write_at(b"old", 0).unwrap();
        let _guard = disk.lock().unwrap();
        let (copy, twin) = (disk.snapshot(), disk.clone());
        file.write_at(b"new", 0).unwrap();
        assert_eq!(copy.read_file("a").unwrap(), b"old");
        assert_eq!(twin.read_file("a").unwrap(), b"new");
        assert!(copy.lock().is_ok());
        assert!(matches!(twin.lock(), Err(LockError::Held { pid: Some(_) })));
        assert!(twin.remove("a") && !disk.remove("a"));
        assert_eq!((disk.read_file("a"), copy.read_file("a").is_some()), (None, true));
    }

    #[test]
    fn calls_are_counted() {
        let disk = SimDisk::new();
        let file = disk.create("a").unwrap();
        file.write_at(b"1", 0).unwrap();
        file.write_at(b"2", 1).unwrap();
        file.sync_data().unwrap();
        disk.sync_directory().unwrap();
        disk.write_file("b", *b"helper");
        assert_eq!((disk.writes(), disk.syncs(), disk.directory_syncs()), (2, 1, 1));
        assert_eq!(disk.snapshot().writes(), 0);
    }

    #[test]
    fn pages_of_zeros_are_holes() {
        let disk = SimDisk::new();
        let mut bytes = vec![0; 3 * PAGE + 10];
        bytes[PAGE + 7] = 1;
        disk.write_file("a", bytes);
        let file = disk.open("a", Access::Read).unwrap();
        let page = PAGE as u64;
        let data = |offset| file.next_data(offset).unwrap();
        assert_eq!([data(0), data(page + 9), data(2 * page)], [Some(page), Some(page + 9), None]);
        let hole = |offset| file.next_hole(offset).unwrap();
        assert_eq!([hole(5), hole(page), hole(3 * page + 2)], [5, 2 * page, 3 * page + 2]);
        disk.write_file("b", vec![1; PAGE + 3]);
        let full = disk.open("b", Access::Read).unwrap();
        assert_eq!(full.next_hole(0).unwrap(), page + 3);
        assert_eq!(full.next_data(page + 3).unwrap(), None);
    }

    #[test]
    fn a_replaced_file_lives_on_in_its_map() {
        let disk = SimDisk::new();
        disk.write_file("a", *b"first");
        let map = disk.open("a", Access::Read).unwrap().map(5).unwrap();
        map.settle(5);
        disk.write_file("a", *b"2");
        assert_eq!(map.view(0..5).unwrap(), &b"first"[..]);
        assert_eq!(disk.read_file("a").unwrap(), b"2");
    }
}
