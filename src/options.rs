//! Owns every limit and policy of a log, named with its unit, each default with its reason.
//!
//! Promises: options are checked once, before anything is touched. Never reads the environment.

use std::time::Duration;

use crate::error::OpenError;

/// Largest event, as stored: 16 MiB.
pub const EVENT_SIZE_MAX: usize = 16 << 20;
/// Largest append, as stored: 64 MiB, or what fits a chunk if that is less.
pub const APPEND_SIZE_MAX: usize = 64 << 20;
/// Most streams that one append writes to, most of its expectations, and most of its other
/// conditions, which together have at most as many names as one query may have.
pub const APPEND_TERMS_MAX: usize = 4096;
/// Longest stream name, in bytes.
pub const STREAM_NAME_MAX: usize = 1024;
/// Longest event type, in bytes.
pub const TYPE_MAX: usize = 256;
/// Most tags of one event.
pub const TAGS_MAX: usize = 64;
/// Longest tag, in bytes.
pub const TAG_MAX: usize = 256;

/// Tests of the crate itself may have smaller ones, to see many chunks begin and end.
const IS_TEST: bool = cfg!(any(test, fuzzing));
pub(crate) const CHUNK_SIZE_MIN: u64 = if IS_TEST { 16 << 10 } else { 1 << 20 };
const PREPARE_AHEAD_MIN: u64 = if IS_TEST { 4 << 10 } else { 64 << 10 };
pub(crate) const CHUNK_SIZE_DEFAULT: u64 = 256 << 20;
pub(crate) const CHUNK_SIZE_MAX: u64 = 2 << 30;

/// When an append is acked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// After `fdatasync` of its bytes. An acked event survives the end of the process, of the
    /// operating system and of the power supply, as far as the disk keeps its own promise.
    #[default]
    Sync,
    /// After the operating system has taken its bytes. An acked event survives the end of the
    /// process. **It can be lost** when the operating system stops or the power fails: whatever was
    /// written since the last roll to a new chunk or close.
    Os,
}

/// How a log is opened. `Options::default()` suits most.
///
/// ```
/// use std::time::Duration;
/// use paperchase::Options;
///
/// let dir = tempfile::tempdir()?;
/// let log = Options::new()
///     .chunk_size(8 << 20)
///     .max_delay(Duration::from_millis(1))
///     .open(dir.path())?;
/// log.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) chunk_size: u64,
    pub(crate) max_delay: Duration,
    pub(crate) batching: bool,
    pub(crate) queue_appends: usize,
    pub(crate) queue_bytes: usize,
    pub(crate) group_size: usize,
    pub(crate) admission_wait: Duration,
    pub(crate) shed_after: Option<Duration>,
    pub(crate) prepare_ahead: u64,
    pub(crate) spin: Duration,
    pub(crate) durability: Durability,
    pub(crate) operation_horizon: Option<Duration>,
    pub(crate) create: bool,
    pub(crate) allow_network_file_system: bool,
    pub(crate) scrub: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            // Large enough that a roll is rare, small enough that scanning one chunk on open takes
            // well under a second.
            chunk_size: CHUNK_SIZE_DEFAULT,
            // About twenty syncs of a fast disk: the longest that a busy stream of appends can hold
            // back its own acks.
            max_delay: Duration::from_millis(2),
            batching: true,
            queue_appends: 16 << 10,
            queue_bytes: 64 << 20,
            // Beyond this a larger write no longer lowers the cost per byte.
            group_size: 1 << 20,
            admission_wait: Duration::from_secs(30),
            shed_after: None,
            // What a fast disk takes in some tens of milliseconds: time for the keeper to notice
            // and go on.
            prepare_ahead: 32 << 20,
            spin: Duration::from_micros(200),
            durability: Durability::Sync,
            operation_horizon: None,
            create: true,
            allow_network_file_system: false,
            scrub: None,
        }
    }
}

impl Options {
    /// The default options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Capacity of a new chunk in bytes, 1 MiB to 2 GiB. Default 256 MiB. Existing chunks keep
    /// theirs.
    #[must_use]
    pub fn chunk_size(mut self, bytes: u64) -> Self {
        self.chunk_size = bytes;
        self
    }

    /// Longest time that written appends wait for their flush while further appends keep arriving.
    /// Default 2 ms.
    #[must_use]
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay;
        self
    }

    /// Whether a flush is held back for appends that are about to come. Default true: while clients
    /// take turns in two halves, each of which waits for the syncs of both, the writer waits for
    /// those that it has just answered, as long as they usually take to append again, and only
    /// where that raises throughput. A lone client is never held back. On disks with slow syncs
    /// this nearly doubles the throughput of a few clients.
    #[must_use]
    pub fn batching(mut self, batching: bool) -> Self {
        self.batching = batching;
        self
    }

    /// Most appends that wait for the writer. Default 16,384.
    #[must_use]
    pub fn queue_appends(mut self, count: usize) -> Self {
        self.queue_appends = count;
        self
    }

    /// Most bytes that wait for the writer. Default 64 MiB. An append larger than this enters an
    /// empty queue.
    #[must_use]
    pub fn queue_bytes(mut self, bytes: usize) -> Self {
        self.queue_bytes = bytes;
        self
    }

    /// Size in bytes at which a group is written even when more appends wait. Default 1 MiB.
    #[must_use]
    pub fn group_size(mut self, bytes: usize) -> Self {
        self.group_size = bytes;
        self
    }

    /// Longest time that an append waits for room in a full queue before it answers
    /// [`Busy`](crate::AppendError::Busy). Default 30 s; zero answers at once.
    #[must_use]
    pub fn admission_wait(mut self, wait: Duration) -> Self {
        self.admission_wait = wait;
        self
    }

    /// Answers [`Busy`](crate::AppendError::Busy) at once while the oldest append in the queue has
    /// waited for longer than this. Off by default. While more arrives than the disk can take, a
    /// queue that is only bounded fills, and every append waits for all of it; shed early, those
    /// that are taken are answered soon, and the others may be tried elsewhere or later.
    #[must_use]
    pub fn shed_after(mut self, age: Duration) -> Self {
        self.shed_after = Some(age);
        self
    }

    /// At least how many bytes ahead of the writer files are kept zero-filled and synced. A log
    /// that grows has them further ahead: by half of what it has grown since it was opened, after
    /// quiet moments as many bytes as it has grown, at most the rest of its newest chunk and all of
    /// the next. Default 32 MiB.
    #[must_use]
    pub fn prepare_ahead(mut self, bytes: u64) -> Self {
        self.prepare_ahead = bytes;
        self
    }

    /// Longest time that a thread spins for its ack before it sleeps, while at most two wait and
    /// at most two appends share a group; also, up to 120 us, that the log's writer spins for the
    /// next append. Default 200 us: a lone client saves two sleeps and wakes per append, and burns
    /// one core meanwhile. Who spins in vain again and again soon does so in one of 16 waits. Zero
    /// never spins.
    #[must_use]
    pub fn spin(mut self, spin: Duration) -> Self {
        self.spin = spin;
        self
    }

    /// When an append is acked. Default [`Durability::Sync`].
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// How long the ids of operations are remembered. Default: for ever. An append of an operation
    /// that was stored longer ago is stored again.
    #[must_use]
    pub fn operation_horizon(mut self, age: Duration) -> Self {
        self.operation_horizon = Some(age);
        self
    }

    /// Whether a log is made where there is none. Default true; otherwise that is
    /// [`OpenError::Missing`](crate::OpenError::Missing).
    #[must_use]
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Whether the log may lie on a file system of the network, such as NFS. Default false: that is
    /// [`OpenError::NetworkFileSystem`](crate::OpenError::NetworkFileSystem), because there the
    /// lock may keep out no second writer, and maps may show what is not on the disk. What this
    /// crate promises holds there as far as the file system behaves like a local one.
    #[must_use]
    pub fn allow_network_file_system(mut self, allow: bool) -> Self {
        self.allow_network_file_system = allow;
        self
    }

    /// Reads sealed chunks again and again in the background, at most this many bytes a second, and
    /// checks every event and every section of them. Off by default; at least 4 KiB a second.
    ///
    /// It is the least urgent duty of the keeper's thread, and its only consequence is
    /// [`Stats::scrub`](crate::Stats::scrub): damage never stops the log. A round takes the size of
    /// the sealed chunks divided by this number. Memory: the largest group of the log.
    #[must_use]
    pub fn scrub(mut self, bytes_per_second: u64) -> Self {
        self.scrub = Some(bytes_per_second);
        self
    }

    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let invalid = |option, problem: &str| {
            Err(OpenError::InvalidOption { option, problem: problem.to_owned() })
        };
        if !(CHUNK_SIZE_MIN..=CHUNK_SIZE_MAX).contains(&self.chunk_size) {
            return invalid("chunk_size", "must be 1 MiB to 2 GiB");
        }
        if !self.chunk_size.is_multiple_of(4096) {
            return invalid("chunk_size", "must be a multiple of 4096 bytes");
        }
        if self.queue_appends == 0 || self.queue_bytes == 0 {
            return invalid("queue_appends, queue_bytes", "must be at least 1");
        }
        if !(4096..=64 << 20).contains(&self.group_size) {
            return invalid("group_size", "must be 4 KiB to 64 MiB");
        }
        if self.prepare_ahead < PREPARE_AHEAD_MIN {
            return invalid("prepare_ahead", "must be at least 64 KiB");
        }
        if self.prepare_ahead > CHUNK_SIZE_MAX {
            return invalid("prepare_ahead", "must be at most 2 GiB");
        }
        if self.scrub.is_some_and(|rate| rate < 4096) {
            return invalid("scrub", "must be at least 4 KiB a second");
        }
        if self.spin > Duration::from_secs(1) {
            return invalid("spin", "must be at most one second");
        }
        if self.max_delay > Duration::from_secs(60) {
            return invalid("max_delay", "must be at most one minute");
        }
        Ok(())
    }
}
