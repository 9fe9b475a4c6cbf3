//! Owns following: a log that another process writes, read here as it grows, by a thread that
//! chases alone.
//!
//! Promises: shows events that are durable and nothing else (R3), in order, each once; takes no
//! lock and has no effect on the writer. A log that turns into another is an error, never wrong
//! events. Leaves no thread behind.

pub(super) mod signs;
pub(super) mod trail;

use std::fmt;
use std::ops::Deref;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::Log;
use super::reader::Reader;
use crate::clock::{Clock, SystemClock};
use crate::disk::{Disk, OsDisk};
use crate::error::{Error, OpenError};
use crate::stage::bell::Bell;
use crate::stage::worker::Worker;
use crate::stage::{Failure, Step};
use trail::Trail;

/// What is known of the process that writes a log, from [`Follower::writer`].
///
/// A writer gives a sign of life ten times a second. Where no page can be shared with it (see
/// `docs/format.md`), its only sign is that the log grows, so an idle one counts as gone there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum WriterState {
    /// It has the log open.
    Live,
    /// It has closed the log, and everything that it wrote is visible here.
    Closed,
    /// It has met a failure and takes no more appends.
    Failed,
    /// It has not closed the log, and has not given a sign of life for two seconds: it was killed,
    /// or the machine was stopped. What it has acked is there; the next writer goes on behind it.
    Gone,
}

/// A log that another process writes, from [`Log::follow`]. It derefs to [`Reader`] and reads as a
/// [`Log`] does; what it shows grows by itself. Dropping it ends its thread.
pub struct Follower {
    reader: Reader,
    shared: Arc<Shared>,
    worker: Option<Worker>,
}

#[derive(Debug)]
struct Shared {
    failure: Arc<Failure>,
    /// Rung by the trail; closed when nothing more is followed.
    bell: Arc<Bell>,
    writer: AtomicU8,
    stopped: Mutex<bool>,
    wake: Condvar,
    clock: Arc<dyn Clock>,
}

impl Log {
    /// Follows the log in a directory that another process may be writing: shows what is there, and
    /// then each event soon after it was acked, with no server between.
    ///
    /// It takes no lock, changes nothing, and costs the writer nothing. Events are seen within a
    /// millisecond while they keep coming, and within a few after a rest; where the two processes
    /// cannot share a page (see `docs/format.md`), within a tenth of a second. Of a log that is
    /// written with [`Durability::Os`](crate::Durability::Os), events are seen once they are
    /// synced: at a roll to a new chunk, and at its close.
    ///
    /// It goes on when the writer ends and another begins. It follows the directory that it has
    /// opened, wherever that is moved to.
    ///
    /// ```
    /// # use paperchase::{Expected, Log, NewEvent, Position, WriterState};
    /// # let dir = tempfile::tempdir()?;
    /// # let log = Log::open(dir.path())?;
    /// // In one process:
    /// log.append("cart-7", Expected::Any, [NewEvent::new("ItemAdded", "1")])?.wait()?;
    /// // In another:
    /// let follower = Log::follow(dir.path())?;
    /// for event in follower.read_stream("cart-7", ..)? {
    ///     println!("{}", event?.event_type());
    /// }
    /// assert_eq!(follower.view().end(), Position::new(1));
    /// assert_eq!(follower.writer(), WriterState::Live);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`OpenError::Missing`] where there is no log; each other variant names its case, such as
    /// damage or a missing chunk. Nothing is changed.
    pub fn follow(directory: impl AsRef<Path>) -> Result<Follower, OpenError> {
        let disk = open_disk(directory.as_ref())?;
        Follower::start(Arc::new(disk), Arc::new(SystemClock::default()))
    }
}

/// A directory that exists, to look into.
pub(super) fn open_disk(directory: &Path) -> Result<OsDisk, OpenError> {
    OsDisk::open(directory).map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            return OpenError::Missing(directory.display().to_string());
        }
        OpenError::Failed(Error::from_io(&format!("open {}", directory.display()), error))
    })
}

impl Follower {
    pub(super) fn start(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let trail = Trail::open(&*disk, clock.monotonic())?;
        let failure = Arc::new(Failure::default());
        let feed = trail.feed(&failure, &clock);
        let shared = Arc::new(Shared {
            failure,
            bell: Arc::clone(&feed.bell),
            writer: AtomicU8::new(trail.writer() as u8),
            stopped: Mutex::new(false),
            wake: Condvar::new(),
            clock,
        });
        let (own, told) = (Arc::clone(&shared), Arc::clone(&shared));
        let follow = move || own.run(trail, &*disk);
        let panicked = move |error| told.end(error);
        let worker = Worker::spawn("paperchase-follower", follow, panicked)?;
        Ok(Self { reader: Reader::new(feed), shared, worker: Some(worker) })
    }

    /// What is known of the process that writes the log.
    #[must_use]
    pub fn writer(&self) -> WriterState {
        let known = self.shared.writer.load(Ordering::Acquire);
        [WriterState::Live, WriterState::Closed, WriterState::Failed]
            .into_iter()
            .find(|state| *state as u8 == known)
            .unwrap_or(WriterState::Gone)
    }

    /// Why nothing more is followed; `None` as long as it is.
    ///
    /// [`ErrorKind::Replaced`](crate::ErrorKind::Replaced) when another log, or an older state of
    /// this one, was put in its place; [`ErrorKind::Damage`](crate::ErrorKind::Damage) when bytes
    /// that were durable are not what was written. What was visible before stays readable.
    #[must_use]
    pub fn failure(&self) -> Option<Error> {
        self.shared.failure.get().cloned()
    }
}

impl Shared {
    fn run(&self, mut trail: Trail, disk: &dyn Disk) {
        while !self.is_stopped() {
            match trail.step(disk, self.clock.monotonic()) {
                Ok(Step::Until(moment)) => {
                    self.writer.store(trail.writer() as u8, Ordering::Release);
                    self.rest(moment.saturating_sub(self.clock.monotonic()));
                }
                Ok(_) => {}
                Err(error) => return self.end(error),
            }
        }
    }

    /// Nothing more is followed, and subscriptions end with this error.
    fn end(&self, error: Error) {
        self.failure.record(error);
        self.bell.close();
    }

    fn is_stopped(&self) -> bool {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rest(&self, time: Duration) {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        if !*stopped {
            drop(self.wake.wait_timeout(stopped, time));
        }
    }

    fn stop(&self) {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.wake.notify_all();
    }
}

/// A follower reads as its [`Reader`] does.
impl Deref for Follower {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.reader
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if !self.shared.failure.home().is_here() {
            // There is no thread here to wait for (F62).
            return std::mem::forget(self.worker.take());
        }
        self.shared.stop();
        if let Some(worker) = self.worker.take() {
            worker.join();
        }
        self.shared.bell.close();
    }
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower")
            .field("reader", &self.reader)
            .field("writer", &self.writer())
            .finish_non_exhaustive()
    }
}
