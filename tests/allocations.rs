//! Owns the proof that the writer thread allocates per group, never per event.
//!
//! An allocator counts the allocations of each thread. Which thread is the writer is told by the
//! disk: it is the one that writes under the writer's name. How appends meet in groups depends on
//! the machine, so the bound is a function of the groups that the log counts; where an append has
//! 100 events, that is at most a twentieth of an allocation per event.

#![allow(unsafe_code, reason = "an allocator cannot be written without")]
#![allow(clippy::unwrap_used, reason = "what is wrong ends the test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use paperchase::clock::SystemClock;
use paperchase::disk::{Access, Disk, DiskFile, LockError, Map, OsDisk};
use paperchase::{Expected, Log, NewEvent, Options};

const THREADS: usize = 1024;
const NONE: usize = usize::MAX;
const EVENTS: u64 = 100_000;
const STREAMS: u64 = 8;
/// What one group may cost: the answers that it hands over, and the wakes of those who wait for
/// them.
const PER_GROUP: u64 = 4;
/// Vectors that double now and then.
const SMALL: u64 = 200;

static COUNTS: [AtomicU64; THREADS] = [const { AtomicU64::new(0) }; THREADS];
static NEXT: AtomicUsize = AtomicUsize::new(0);
static WRITER: AtomicUsize = AtomicUsize::new(NONE);

thread_local! {
    /// The thread's place in the counts. Needs no allocation and no destructor, so that the
    /// allocator may use it.
    static PLACE: Cell<usize> = const { Cell::new(NONE) };
}

fn place() -> usize {
    PLACE.with(|place| {
        if place.get() == NONE {
            place.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        place.get()
    })
}

fn count() {
    if let Some(count) = COUNTS.get(place()) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is passed on to the system's allocator as it is; counting touches statics and
// a thread-local that needs neither allocation nor destructor, and cannot unwind.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc_zeroed`, which is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the pointer came from `System`, and the caller keeps the contract of `realloc`,
        // which is the same.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `System`, and the caller keeps the contract of `dealloc`,
        // which is the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// A real directory that notes which thread writes as the writer.
#[derive(Debug)]
struct Watched(OsDisk);

#[derive(Debug)]
struct WatchedFile(Arc<dyn DiskFile>);

impl Disk for Watched {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(WatchedFile(self.0.create(name)?)))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(WatchedFile(self.0.open(name, access)?)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.0.sync_directory()
    }

    fn lock(&self) -> Result<Box<dyn fmt::Debug + Send + Sync>, LockError> {
        self.0.lock()
    }

    fn label(&self) -> String {
        self.0.label()
    }
}

impl DiskFile for WatchedFile {
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if std::thread::current().name() == Some("paperchase-writer") {
            WRITER.store(place(), Ordering::Release);
        }
        self.0.write_at(bytes, offset)
    }

    fn grow(&self, size: u64) -> io::Result<()> {
        self.0.grow(size)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        self.0.next_data(offset)
    }

    fn next_hole(&self, offset: u64) -> io::Result<u64> {
        self.0.next_hole(offset)
    }

    fn map(&self, length: u64) -> io::Result<Map> {
        self.0.map(length)
    }
}

/// Appends events to known streams, so many in an append, and waits for all.
fn append(log: &Log, events: u64, per_append: u64, in_flight: usize) {
    let mut flight = VecDeque::new();
    for number in 0..events / per_append {
        let event = || NewEvent::new("Counted", [7; 100]).tag("tag");
        let events = (0..per_append).map(|_| event());
        let stream = format!("known-{}", number % STREAMS);
        flight.push_back(log.append(&stream, Expected::Any, events).unwrap());
        if flight.len() > in_flight {
            flight.pop_front().unwrap().wait().unwrap();
        }
    }
    for ack in flight {
        ack.wait().unwrap();
    }
}

/// Allocations of the writer thread so far, and groups.
fn counts(log: &Log) -> (u64, u64) {
    let writer = WRITER.load(Ordering::Acquire);
    (COUNTS[writer].load(Ordering::Relaxed), log.stats().disk.groups)
}

#[test]
fn the_writer_allocates_per_group_and_not_per_event() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::new(Watched(OsDisk::open(directory.path()).unwrap()));
    let log = Options::new().open_on(disk, Arc::new(SystemClock::default())).unwrap();
    append(&log, STREAMS, 1, 1);
    append(&log, 10_000, 1, 4096);
    for (per_append, in_flight) in [(100, 16), (100, 1), (1, 4096), (1000, 2)] {
        let (allocations, groups) = counts(&log);
        append(&log, EVENTS, per_append, in_flight);
        let after = counts(&log);
        let (allocations, groups) = (after.0 - allocations, after.1 - groups);
        let bound = PER_GROUP * groups + SMALL;
        println!("{per_append} an append: {allocations} allocations, {groups} groups");
        assert!(allocations <= bound, "{allocations} allocations for {groups} groups");
    }
    log.close().unwrap();
}
