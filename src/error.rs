//! Owns what can go wrong: one opaque [`Error`] for what a caller can only report, and an enum per
//! operation for what a caller can act on.
//!
//! Promises: every message says what happened and where; enums are small and non-exhaustive. One
//! error can answer many waiters, so all of them clone cheaply. Never logs, never panics.

use std::io;
use std::sync::Arc;

use crate::position::{ChunkNumber, Place, Position, StreamVersion};
use crate::query::Query;

/// A result whose error is the opaque [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can only report: a failed call of the operating system, damaged bytes, a closed
/// log.
///
/// It is opaque because fine-grained causes do not compose; [`Error::kind`] tells the class, the
/// message the place. Clones share one cause.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", .0.message)]
pub struct Error(#[source] Arc<Cause>);

#[derive(Debug, thiserror::Error)]
#[error("{}", .source.as_ref().map_or_else(|| kind.to_string(), ToString::to_string))]
struct Cause {
    kind: ErrorKind,
    message: String,
    source: Option<io::Error>,
}

/// The class of an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A call of the operating system failed.
    #[error("the operating system refused")]
    Io,
    /// Bytes on disk are not what was written.
    #[error("damaged bytes")]
    Damage,
    /// The log that was followed is no longer there: another, or an older state of it, is in its
    /// place.
    #[error("the log was replaced")]
    Replaced,
    /// The log was closed, or stopped after an earlier failure.
    #[error("the log has stopped")]
    Stopped,
    /// What was asked is outside the limits.
    #[error("outside the limits")]
    Invalid,
    /// The log was opened in another process, of which this one is a fork.
    #[error("a handle of another process")]
    Forked,
    /// A thread of the log panicked; this is a bug of the crate.
    #[error("a bug of this crate")]
    Bug,
}

impl Error {
    /// The class of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The error of the operating system behind this one, if there is one.
    #[must_use]
    pub fn io(&self) -> Option<&io::Error> {
        self.0.source.as_ref()
    }

    #[cold]
    pub(crate) fn from_io(doing: &str, source: io::Error) -> Self {
        let message = format!("{doing}: {source}");
        Self(Arc::new(Cause { kind: ErrorKind::Io, message, source: Some(source) }))
    }

    /// What a handle answers in a process that was forked off its own (F62).
    #[cold]
    pub(crate) fn forked() -> Self {
        Self::new(ErrorKind::Forked, AppendError::Forked.to_string())
    }

    #[cold]
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Arc::new(Cause { kind, message: message.into(), source: None }))
    }
}

impl From<Damage> for Error {
    #[cold]
    fn from(damage: Damage) -> Self {
        Self::new(ErrorKind::Damage, damage.to_string())
    }
}

/// A place where bytes on disk are not what was written: printed the same by the library and the
/// command line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("chunk {chunk}, offset {offset}: {what}: expected {expected}, found {found}")]
#[non_exhaustive]
pub struct Damage {
    /// The chunk that holds the place.
    pub chunk: ChunkNumber,
    /// Offset of the place in the chunk's file, in bytes.
    pub offset: u64,
    /// The field or structure that is wrong.
    pub what: &'static str,
    /// What should stand there.
    pub expected: String,
    /// What stands there.
    pub found: String,
}

impl Damage {
    #[cold]
    pub(crate) fn new(
        (chunk, offset): (ChunkNumber, u64),
        what: &'static str,
        expected: impl ToString,
        found: impl ToString,
    ) -> Self {
        Self { chunk, offset, what, expected: expected.to_string(), found: found.to_string() }
    }
}

/// Why a log could not be opened.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another handle, in this process or another, has the log open for writing.
    #[error(
        "the log is open for writing in {}; close that one first, or read beside it", Holder(*.pid)
    )]
    Locked {
        /// The process id that the lock file names, when it names one.
        pid: Option<u32>,
    },
    /// Durable bytes are damaged. Nothing was changed; `paperchase repair` lists all damage and
    /// shows what can be done.
    #[error(
        "damaged: {0}; nothing was changed; restore that chunk from a backup, or see what \
         `paperchase repair` can do"
    )]
    Corrupt(Damage),
    /// Events that are known to have been durable are not there.
    #[error(
        "events are missing: the log is known to have been durable up to position {expected}, and \
         ends at {found}; nothing was changed; restore the missing files, or accept the loss with \
         `paperchase repair`"
    )]
    LostData {
        /// All events below this position were durable.
        expected: Position,
        /// The log ends before this position.
        found: Position,
    },
    /// A chunk between others, or the first, is not there.
    #[error(
        "chunk {0} is missing; nothing was changed; restore its file, or see what `paperchase \
         repair` can do"
    )]
    MissingChunk(ChunkNumber),
    /// A file belongs to another log or to another place in this one.
    #[error(
        "{file} does not belong here: {why}; nothing was changed; put the right file there, or let \
         `paperchase repair` set it aside"
    )]
    Foreign {
        /// Name of the file.
        file: String,
        /// How that is known.
        why: String,
    },
    /// A file is of a format version that this crate does not read.
    #[error(
        "{file} is of format version {found}, and this program reads version {supported}; nothing \
         was changed; use the program that wrote it, or a newer one"
    )]
    Version {
        /// Name of the file.
        file: String,
        /// The version found.
        found: u32,
        /// The version supported.
        supported: u32,
    },
    /// There is no log at this place, and the call was not to make one.
    #[error("there is no log in {0}")]
    Missing(String),
    /// The log lies on a file system of the network, on which the lock and the maps of files cannot
    /// be relied on. Nothing was changed.
    #[error(
        "{directory} is on {file_system}, a file system of the network, where a lock may keep out \
         no second writer; put the log on a local disk, or allow it by \
         Options::allow_network_file_system"
    )]
    NetworkFileSystem {
        /// The directory of the log.
        directory: String,
        /// What the file system is called.
        file_system: &'static str,
    },
    /// An option is outside its limits.
    #[error("option {option}: {problem}")]
    InvalidOption {
        /// The option's name.
        option: &'static str,
        /// What is wrong with it and what is allowed.
        problem: String,
    },
    /// The operating system refused.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl From<Damage> for OpenError {
    fn from(damage: Damage) -> Self {
        Self::Corrupt(damage)
    }
}

/// Why an append was not stored. Every variant but [`AppendError::Failed`] means: this call stored
/// nothing. From the ack of an append that was submitted before a fork, [`AppendError::Forked`]
/// means that the other process is answered.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The stream is not at the version that the caller expected.
    #[error("stream {stream:?}: expected {expected}, found {}", Found(*.actual))]
    WrongVersion {
        /// The stream.
        stream: String,
        /// What the caller expected.
        expected: crate::event::Expected,
        /// The version of the stream's last event; `None` when it has no event.
        actual: Option<StreamVersion>,
    },
    /// The stream is not at the expected version because some of these very events stand there
    /// already, but not all: the first `stored` of the append's events of this stream, behind which
    /// the stream ends.
    #[error(
        "stream {stream:?}: {}; append those that are missing, expecting {}",
        Begun(*.stored, *.of), Found(*.actual)
    )]
    PartlyStored {
        /// The stream.
        stream: String,
        /// How many of the append's events of this stream stand where they would go.
        stored: u64,
        /// How many events of this stream the append has.
        of: u64,
        /// The version of the stream's last event; `None` when it has no event.
        actual: Option<StreamVersion>,
    },
    /// The stream is not at the expected version, some of the append's events stand there already,
    /// and then comes another event.
    #[error(
        "stream {stream:?}: {}; version {version} is another event, so read the stream and decide \
         anew", Begun(*.stored, *.of)
    )]
    Diverged {
        /// The stream.
        stream: String,
        /// How many of the append's events of this stream stand where they would go.
        stored: u64,
        /// How many events of this stream the append has.
        of: u64,
        /// The version of the event that is another.
        version: StreamVersion,
    },
    /// An event stands in the log that the append demanded not to be there.
    #[error(
        "the event at position {position} matches the query `{query}`, of which there was to be \
         none from position {after} on; read what happened since and decide anew"
    )]
    ConditionFailed {
        /// The query of which there was to be no event.
        query: Query,
        /// The position from which on there was to be none.
        after: Position,
        /// The position of such an event.
        position: Position,
    },
    /// The operation was stored before, with other content.
    #[error(
        "operation {operation} was stored at position {position} with other content; give each \
         operation an id of its own"
    )]
    OperationConflict {
        /// The operation.
        operation: uuid::Uuid,
        /// The position of the first event that was stored for it.
        position: Position,
    },
    /// Another instance has taken over the consumer since this one was opened.
    #[error("consumer {consumer:?} was taken over by another instance; this one has to stop")]
    Fenced {
        /// The consumer.
        consumer: String,
    },
    /// A consumer's place lies ahead of the log that it is a place in: that log has lost events, or
    /// is an older copy. Or it is followed, and the machine was started anew: a follower may then
    /// show less than before, until the log is opened for writing.
    #[error(
        "consumer {consumer:?}: its place is position {place}, but the log ends at {end}; is it an \
         older copy, or a follower that lags until the log is opened for writing?"
    )]
    PlaceAhead {
        /// The consumer.
        consumer: String,
        /// The position of the place.
        place: Position,
        /// Where the log ends.
        end: Position,
    },
    /// A consumer's place is one in another log than the one it consumes.
    #[error("consumer {consumer:?}: its place is {place}, and it consumes log {log}")]
    ForeignPlace {
        /// The consumer.
        consumer: String,
        /// The place.
        place: Place,
        /// The id of the log that the consumer consumes.
        log: uuid::Uuid,
    },
    /// The last event in the stream of a consumer's places keeps no place: somebody else than a
    /// consumer has appended it. A place that is appended behind it by hand puts that right, as
    /// `docs/operating.md` shows.
    #[error(
        "consumer {consumer:?}: the event of \"$consumer-{consumer}\" at position {position} keeps \
         no place; append one behind it by hand, as docs/operating.md shows"
    )]
    NoPlace {
        /// The consumer.
        consumer: String,
        /// The position of the event.
        position: Position,
    },
    /// Something is larger than its limit.
    #[error("{what} is {size} bytes; the limit is {max}")]
    TooLarge {
        /// The part of the append that is too large.
        what: &'static str,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// There are more of something than the limit.
    #[error("an append has {size} {what}; the limit is {max}")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// How many there are.
        size: u64,
        /// The limit.
        max: u64,
    },
    /// Something about the append cannot be stored.
    #[error("{what} {problem}")]
    Invalid {
        /// The part of the append.
        what: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The queue is full; try again later, or let the call wait.
    #[error("the log is busy: its queue is full; try again, or wait longer")]
    Busy,
    /// The disk, or a quota, is full: there was no room for the append, or its write found none.
    /// Nothing of it is in the log, nor gets there later. Reads go on; appends succeed again when
    /// there is space.
    #[error("the disk is full; free some space, appends then go on by themselves")]
    Full,
    /// The log is closed.
    #[error("the log is closed")]
    Stopped,
    /// The log was opened in another process, of which this one is a fork. Here its handle does
    /// nothing. What the other process has submitted, it is answered.
    #[error("the log was opened in the process of which this one is a fork; open it here anew")]
    Forked,
    /// The log has failed, or a part of it that this append needs cannot be read. Whether the
    /// append is stored is unknown until the log is opened again.
    #[error("the log has failed, open it again to recover: {0}")]
    Failed(Error),
}

/// How many of an append's events of a stream stand in it, and how many there are.
struct Begun(u64, u64);

impl std::fmt::Display for Begun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // Of another stream some do, or nothing of the append would be known.
            Self(0, of) => {
                write!(f, "none of the append's {of} events stands there, but some elsewhere")
            }
            Self(stored, of) => {
                write!(f, "{stored} of the append's {of} events stand there already")
            }
        }
    }
}

struct Found(Option<StreamVersion>);

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(version) => write!(f, "version {version}"),
            None => f.write_str("no stream"),
        }
    }
}

/// Who has a log open for writing.
struct Holder(Option<u32>);

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(pid) if pid == std::process::id() => f.write_str("this very process"),
            Some(pid) => write!(f, "process {pid}"),
            None => f.write_str("another process"),
        }
    }
}
