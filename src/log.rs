//! Owns the public handle: opens a log, wires its stages, runs their threads, and closes it.
//!
//! Promises: every append is answered, whatever happens; closing or dropping the handle loses
//! nothing that was acked and leaves no thread behind. Everything slow happens on the threads, not
//! in a caller's call.

mod beside;
mod consume;
mod engine;
mod follow;
#[cfg(feature = "bench")]
pub(crate) mod measured;
mod reader;
mod recovery;
mod submit;
mod threads;
#[cfg_attr(not(feature = "tracing"), path = "log/untraced.rs")]
mod trace;
mod watch;

#[cfg(any(test, fuzzing))]
pub(crate) mod tests;

use std::fmt;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use consume::Consumer;
pub use follow::{Follower, WriterState};
pub use reader::Reader;
pub use recovery::OpenReport;
pub use watch::{Figures, Watched};

use crate::chunk::recover::Cut;
use crate::clock::{Clock, SystemClock};
use crate::disk::{Disk, OsDisk};
use crate::error::{AppendError, Error, OpenError, Result};
use crate::event::{Expected, NewEvent};
use crate::options::Options;
use crate::stage::ack::Ack;
use crate::stage::stats::Stats;
use engine::{Core, Engine};
use threads::Threads;
use trace::Tracer;

/// An open log: append to it, read from it, close it. Share it between threads by reference or
/// `Arc`.
///
/// One handle at a time can have a log open, in this process or another; others read beside it with
/// [`View::open`](crate::View::open) or [`Log::follow`]. Dropping the handle closes the log as
/// [`Log::close`] does, but cannot tell of errors.
pub struct Log {
    core: Arc<Core>,
    reader: Reader,
    threads: Option<Threads>,
    report: OpenReport,
}

impl Log {
    /// Opens the log in a directory with default [`Options`], making both where they are missing.
    ///
    /// When this returns `Ok`, every event that was ever acked is there, and durable. When this
    /// returns `Err`, no event was changed.
    ///
    /// # Errors
    /// [`OpenError`] names each case: the log is open elsewhere, damaged, incomplete, of another
    /// version, or the operating system refused.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, OpenError> {
        Options::new().open(directory)
    }

    pub(crate) fn open_on(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Result<Self, OpenError> {
        let mut tracer = Tracer::new(&*disk);
        let (engine, report) = Engine::open(disk, clock, options)?;
        tracer.opened(&engine.core, &report);
        let core = Arc::clone(&engine.core);
        let threads = Threads::start(engine, tracer)?;
        let reader = core.reader();
        Ok(Self { core, reader, threads: Some(threads), report })
    }

    /// Appends events to a stream, all or none, if the stream is as expected. Waits for room in the
    /// queue, at most as long as [`Options::admission_wait`] says. For several streams, and for
    /// other conditions, there is [`Append`](crate::Append).
    ///
    /// Without events it checks the stream and stores nothing. If the expected version is an exact
    /// one, and these very events (by id and content) stand behind it already, the append is
    /// answered as it was the first time, marked [`repeated`](crate::Appended::repeated).
    ///
    /// When this returns `Ok`, the append is on its way, and nothing more: the [`Ack`] tells
    /// whether it was stored. When this returns `Err`, nothing of it is in the log.
    ///
    /// ```
    /// # use paperchase::{Expected, Log, NewEvent};
    /// # let dir = tempfile::tempdir()?;
    /// # let log = Log::open(dir.path())?;
    /// let event = NewEvent::json("ItemAdded", br#"{"sku":1}"#);
    /// let done = log.append("cart-7", Expected::NoStream, [event])?.wait()?;
    /// assert_eq!(done.version.get(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`AppendError::Busy`] when there was no room, [`AppendError::TooLarge`] and
    /// [`AppendError::Invalid`] when the append is outside the limits, [`AppendError::Stopped`] and
    /// [`AppendError::Failed`] when the log takes none, [`AppendError::Forked`] in a process that
    /// was forked off the log's.
    pub fn append(
        &self,
        stream: &str,
        expected: Expected,
        events: impl IntoIterator<Item = NewEvent>,
    ) -> Result<Ack, AppendError> {
        self.core.submit(stream, expected, events, self.core.options.admission_wait)
    }

    /// The same as [`Log::append`], but never waits: a full queue is [`AppendError::Busy`] at once.
    ///
    /// When this returns `Ok`, the append is on its way; its [`Ack`] tells whether it was stored.
    /// When this returns `Err`, nothing of it is in the log.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub fn try_append(
        &self,
        stream: &str,
        expected: Expected,
        events: impl IntoIterator<Item = NewEvent>,
    ) -> Result<Ack, AppendError> {
        self.core.submit(stream, expected, events, Duration::ZERO)
    }

    /// What the log has done since it was opened; nothing, in a process that was forked off.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.core.stats()
    }

    /// What opening the log found and did.
    #[must_use]
    pub fn report(&self) -> &OpenReport {
        &self.report
    }

    /// What sealing has taken out of full chunks since the log was opened, in files of the log's
    /// directory: where somebody made the file of a chunk longer, other bytes than zeros may stand
    /// behind its index, and a sealed chunk has none there. They are no events.
    #[must_use]
    pub fn cuts(&self) -> Vec<Cut> {
        self.core.meters.cuts.snapshot()
    }

    /// Closes the log as [`Log::close`] does; with what [`Log::cuts`] tells then.
    #[cfg(feature = "cli")]
    pub(crate) fn close_telling(self) -> (Result<()>, Vec<Cut>) {
        let cuts = Arc::clone(&self.core.meters.cuts);
        (self.close(), cuts.snapshot())
    }

    /// Closes the log: takes no more appends, stores those that were taken, seals what is full, and
    /// notes that nothing is left to do.
    ///
    /// When this returns `Ok`, everything acked is durable, under any
    /// [`Durability`](crate::Durability), and opening the log again does no recovery, but for
    /// sealing a chunk that could not be sealed and cutting what a full disk has left of a refused
    /// append. When this returns `Err`, the log had failed or could not note its end; everything
    /// acked is as durable as the chosen mode promises, and opening the log again recovers.
    ///
    /// # Errors
    /// The failure of the log, or of the operating system. In a process that was forked off the
    /// log's it is [`ErrorKind::Forked`](crate::ErrorKind::Forked): the other has it open still.
    pub fn close(mut self) -> Result<()> {
        self.threads.take().map_or(Ok(()), Threads::stop)
    }
}

/// A log reads as its [`Reader`] does.
impl Deref for Log {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.reader
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            // Whoever wants to know calls `close`.
            let _ = threads.stop();
        }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("marks", &self.core.marks).finish_non_exhaustive()
    }
}

impl Options {
    /// Opens the log in a directory with these options.
    ///
    /// When this returns `Ok`, every event that was ever acked is there, and durable. When this
    /// returns `Err`, no event was changed.
    ///
    /// # Errors
    /// As [`Log::open`], [`OpenError::InvalidOption`], and [`OpenError::NetworkFileSystem`] unless
    /// it is allowed.
    pub fn open(self, directory: impl AsRef<Path>) -> Result<Log, OpenError> {
        self.check()?;
        let directory = directory.as_ref();
        let disk = if self.create { OsDisk::create(directory) } else { OsDisk::open(directory) };
        let disk = disk.map_err(|error| {
            if error.kind() == std::io::ErrorKind::NotFound {
                return OpenError::Missing(directory.display().to_string());
            }
            OpenError::Failed(Error::from_io(&format!("open {}", directory.display()), error))
        })?;
        Log::open_on(Arc::new(disk), Arc::new(SystemClock::default()), self)
    }

    /// Opens the log on a disk and with a clock of the caller's.
    ///
    /// When this returns `Ok`, every event that was ever acked is there, and durable. When this
    /// returns `Err`, no event was changed.
    ///
    /// # Errors
    /// As [`Log::open`], [`OpenError::InvalidOption`], and [`OpenError::NetworkFileSystem`] unless
    /// it is allowed.
    pub fn open_on(self, disk: Arc<dyn Disk>, clock: Arc<dyn Clock>) -> Result<Log, OpenError> {
        self.check()?;
        Log::open_on(disk, clock, self)
    }
}
