//! Owns memory maps of files, and the page that tells a forked process: the one module with
//! `unsafe` code.
//!
//! Promises the layers above: a slice of a map never reaches past the *settled* mark, and bytes
//! below that mark never change, so a `&[u8]` to them is sound; a shared page is touched through
//! atomics alone. Assumes of the chunk layer: it moves the mark only over bytes written for good,
//! and writes at or beyond it (asserted there). Assumes of the world: no other program changes the
//! files, which never shrink (R8). Where somebody shrinks one, touching the lost pages ends the
//! process with SIGBUS; it never yields wrong bytes.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool as Lost, AtomicU8, AtomicU64 as MappedU64};

use bytes::Bytes;
#[cfg(target_os = "linux")]
use memmap2::MmapOptions;
use memmap2::{Advice, MmapRaw};
use uuid::Uuid;

use crate::sync::atomic::{AtomicU64, Ordering};

/// A file's bytes in memory, readable up to its settled mark. Clones share the mark.
#[derive(Clone)]
pub struct Map {
    source: Arc<dyn Source>,
    settled: Arc<AtomicU64>,
}

/// Where the bytes of a map come from.
pub(super) trait Source: Send + Sync + 'static {
    fn length(&self) -> u64;
    /// The bytes of `range`, which lies within the length and below the settled mark.
    fn bytes(self: Arc<Self>, range: Range<usize>) -> Bytes;
    fn populate(&self, range: Range<usize>);
}

impl Map {
    pub(super) fn new(source: Arc<dyn Source>) -> Self {
        Self { source, settled: Arc::new(AtomicU64::new(0)) }
    }

    /// Length of the map in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.source.length()
    }

    /// States that bytes below `end` will never change again. The mark never goes back.
    ///
    /// The caller upholds what [`Map::view`] rests on: nothing writes below `end` from here on.
    pub(crate) fn settle(&self, end: u64) {
        assert!(end <= self.length(), "the settled mark lies within the map");
        self.settled.fetch_max(end, Ordering::AcqRel);
    }

    /// How far bytes may be read.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.settled.load(Ordering::Acquire)
    }

    /// The bytes of `range` without a copy; they stay valid as long as the result lives. `None`
    /// where the range is reversed or reaches past the settled mark.
    #[must_use]
    pub fn view(&self, range: Range<u64>) -> Option<Bytes> {
        if range.start > range.end || range.end > self.settled() {
            return None;
        }
        let range = usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?;
        Some(Arc::clone(&self.source).bytes(range))
    }

    /// Asks the operating system to make the pages of `range` present, so that the first touch does
    /// not fault.
    pub(crate) fn populate(&self, range: Range<u64>) {
        let end = range.end.min(self.length());
        if let (Ok(start), Ok(end)) = (usize::try_from(range.start), usize::try_from(end))
            && start < end
        {
            self.source.populate(start..end);
        }
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map")
            .field("length", &self.length())
            .field("settled", &self.settled())
            .finish()
    }
}

/// A shared, read-only map of a file of the operating system.
pub(super) struct OsMap(pub(super) MmapRaw);

impl Source for OsMap {
    fn length(&self) -> u64 {
        self.0.len() as u64
    }

    fn bytes(self: Arc<Self>, range: Range<usize>) -> Bytes {
        if range.is_empty() {
            return Bytes::new();
        }
        assert!(range.end <= self.0.len(), "a view lies within its map");
        Bytes::from_owner(Window { map: self, range })
    }

    fn populate(&self, range: Range<usize>) {
        // Advice only: where the system does not know it, pages come in as they are touched.
        #[cfg(target_os = "linux")]
        let _ = self.0.advise_range(Advice::PopulateRead, range.start, range.len());
        #[cfg(not(target_os = "linux"))]
        let _ = self.0.advise_range(Advice::WillNeed, range.start, range.len());
    }
}

/// Size of a shared page in bytes: some pages of the system, the first of which acks wait for.
pub(crate) const PAGE_SIZE: usize = 18 * 4096;
/// Numbers in a shared page.
pub(crate) const PAGE_WORDS: usize = PAGE_SIZE / size_of::<u64>();

type Words = [MappedU64; PAGE_WORDS];
/// A checker of interleavings keeps much for each number, so that there a page in memory has only
/// as many as followers use.
const MEMORY_WORDS: usize = if cfg!(any(loom, shuttle)) { 32 } else { PAGE_WORDS };

/// A page of numbers that one process writes and others read, from
/// [`Disk::page`](super::Disk::page). Clones share it. Each number is read and written whole; what
/// belongs together needs a protocol of its own.
#[derive(Clone)]
pub struct SharedPage {
    words: PageWords,
    origin: Option<PageOrigin>,
    is_writable: bool,
    /// Where bytes can be written by a call as well.
    call: Option<Arc<WriteCall>>,
    /// Whether such a call has failed. Nothing is stored any more.
    is_lost: Arc<Lost>,
}

/// A call that writes bytes at an offset of a file.
pub(super) type WriteCall = dyn Fn(&[u8], u64) -> io::Result<()> + Send + Sync;

/// Where a page is, as no other page of this or any other run of a machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageOrigin {
    /// The run of the operating system.
    pub(crate) boot: Uuid,
    /// The number of the file in its file system; a copy has another.
    pub(crate) file: u64,
}

#[derive(Clone)]
enum PageWords {
    Mapped(Arc<MmapRaw>),
    Memory(Arc<[AtomicU64]>),
}

impl SharedPage {
    /// A page in memory that no other process sees.
    pub(crate) fn in_memory(origin: Option<PageOrigin>) -> Self {
        let words = (0..MEMORY_WORDS).map(|_| AtomicU64::new(0)).collect();
        let words = PageWords::Memory(words);
        Self { words, origin, is_writable: true, call: None, is_lost: Arc::default() }
    }

    /// A shared map of the first bytes of a file, which is at least that long; one to write to
    /// comes with the call that does so.
    pub(super) fn mapped(
        map: MmapRaw,
        origin: Option<PageOrigin>,
        call: Option<Arc<WriteCall>>,
    ) -> Self {
        assert!(map.len() >= PAGE_SIZE, "a page is mapped whole");
        let (words, is_writable) = (PageWords::Mapped(Arc::new(map)), call.is_some());
        Self { words, origin, is_writable, call, is_lost: Arc::default() }
    }

    /// The same page for reading alone.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn read_only(mut self) -> Self {
        self.is_writable = false;
        self
    }

    /// Where the page is; `None` where the system cannot tell one run of it from another.
    pub(crate) fn origin(&self) -> Option<PageOrigin> {
        self.origin
    }

    /// How many numbers there are.
    pub(crate) fn length(&self) -> usize {
        match &self.words {
            PageWords::Mapped(_) => PAGE_WORDS,
            PageWords::Memory(words) => words.len(),
        }
    }

    /// The number at this place. Orders nothing: a reader of several numbers needs a fence.
    pub(crate) fn load(&self, index: usize) -> u64 {
        u64::from_le(match &self.words {
            PageWords::Mapped(map) => words(map)[index].load(Ordering::Relaxed),
            PageWords::Memory(words) => words[index].load(Ordering::Relaxed),
        })
    }

    /// Puts a number at this place by a call of the system, which tells whether the file system
    /// still takes anything. Once it does not, a store would end the process with SIGBUS (F30), so
    /// none is made from then on.
    pub(crate) fn write(&self, index: usize, number: u64) {
        assert!(self.is_writable, "a page that was opened for reading is not written");
        let Some(call) = &self.call else { return self.store(index, number) };
        let offset = (index * size_of::<u64>()) as u64;
        if call(&number.to_le_bytes(), offset).is_err() {
            self.is_lost.store(true, Ordering::Relaxed);
        }
    }

    /// Puts a number at this place. Orders nothing: a writer of several numbers needs a fence.
    pub(crate) fn store(&self, index: usize, number: u64) {
        assert!(self.is_writable, "a page that was opened for reading is not written");
        if self.is_lost.load(Ordering::Relaxed) {
            return;
        }
        match &self.words {
            PageWords::Mapped(map) => words(map)[index].store(number.to_le(), Ordering::Relaxed),
            PageWords::Memory(words) => words[index].store(number.to_le(), Ordering::Relaxed),
        }
    }
}

/// The numbers of a page that [`SharedPage::mapped`] has taken.
#[allow(unsafe_code)]
fn words(map: &MmapRaw) -> &Words {
    // SAFETY: `SharedPage::mapped`, the only maker of such a page, has asserted that the map has
    // the size of `Words`; maps begin at a page of the system, which is aligned for it, and the map
    // stays in place for the life of `map`. The memory is only ever accessed through atomics: here,
    // and by every other process that runs this crate. `load` is the one access to a read-only map,
    // and relaxed loads of 8 bytes are sound there; `store` asserts that the map is writable. Any
    // value is a valid number.
    unsafe { &*map.as_ptr().cast::<Words>() }
}

impl fmt::Debug for SharedPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedPage")
            .field("origin", &self.origin)
            .field("is_writable", &self.is_writable)
            .finish_non_exhaustive()
    }
}

/// Tells the process in which it was made from those that are forked off it, by a page that the
/// system wipes in them: asking costs one load. Where it wipes none, by the id of the process,
/// which costs a call of the system. Clones share the page.
#[derive(Clone)]
pub(crate) struct Home(Arc<Mark>);

enum Mark {
    Wiped(MmapRaw),
    Process(u32),
}

impl Home {
    /// Whether this is the process in which it was made.
    pub(crate) fn is_here(&self) -> bool {
        match &*self.0 {
            Mark::Wiped(page) => mark_of(page).load(Ordering::Relaxed) != 0,
            Mark::Process(id) => *id == std::process::id(),
        }
    }
}

impl Default for Home {
    fn default() -> Self {
        let by_id = || Mark::Process(std::process::id());
        Self(Arc::new(wiped_page().map_or_else(by_id, Mark::Wiped)))
    }
}

impl fmt::Debug for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Home").field(&self.is_here()).finish()
    }
}

/// A page that holds zeros in every process but this one.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn wiped_page() -> Option<MmapRaw> {
    use rustix::mm::{Advice, madvise};
    let page = MmapRaw::from(MmapOptions::new().len(PAGE_SIZE).map_anon().ok()?);
    // SAFETY: the range is the whole of a private, anonymous map that nobody else knows yet. The
    // advice changes nothing in this process; in a forked one the page reads as zeros, which are a
    // valid value of its only content, the `AtomicU8` of `mark_of`.
    unsafe { madvise(page.as_mut_ptr().cast(), page.len(), Advice::LinuxWipeOnFork) }.ok()?;
    mark_of(&page).store(1, Ordering::Relaxed);
    Some(page)
}

#[cfg(not(target_os = "linux"))]
fn wiped_page() -> Option<MmapRaw> {
    None
}

#[allow(unsafe_code)]
fn mark_of(page: &MmapRaw) -> &AtomicU8 {
    assert!(!page.as_ptr().is_null() && page.len() > 0, "a page has a first byte");
    // SAFETY: the map is at least a byte long, which was just asserted, writable, and stays in
    // place for the life of `page`. The byte is only ever accessed here, as an atomic, and any
    // value is a valid number. The system wipes it in a forked process before that process runs.
    unsafe { AtomicU8::from_ptr(page.as_mut_ptr()) }
}

/// A part of a map that keeps the map alive. The range lies within the map and below its settled
/// mark.
struct Window {
    map: Arc<OsMap>,
    range: Range<usize>,
}

impl AsRef<[u8]> for Window {
    #[allow(unsafe_code)]
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `OsMap::bytes`, the only maker of a window, has asserted that the range lies
        // within the map, and the `Arc` keeps the map in place for the life of the slice. The map
        // is of pages the kernel backs for the whole length, because files are grown to the mapped
        // length first and never shrink (R8). The bytes do not change while the slice lives:
        // `Map::view` hands out ranges below the settled mark only, and `Chunk::write` asserts that
        // it writes at or beyond that mark. Any byte value is a valid `u8`.
        unsafe {
            std::slice::from_raw_parts(self.map.0.as_ptr().add(self.range.start), self.range.len())
        }
    }
}
