//! Owns what can go wrong: one opaque [`Error`] for what a caller can only report, and an enum per
//! operation for what a caller can act on.
//!
//! Promises: every message says what happened and where; enums are small and non-exhaustive. One
//! error can answer many waiters, so all of them clone cheaply. Never logs, never panics.

use std::io;
use std::sync::Arc;

use crate::position::{ChunkNumber, Position, StreamVersion};

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
    /// The log was closed, or stopped after an earlier failure.
    #[error("the log has stopped")]
    Stopped,
    /// What was asked is outside the limits.
    #[error("outside the limits")]
    Invalid,
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
        "the log is open for writing in {}; close that one first, or read beside it",
        .pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    Locked {
        /// The process id that the lock file names, when it names one.
        pid: Option<u32>,
    },
    /// Durable bytes are damaged. Nothing was changed; `paperchase verify` lists all damage.
    #[error("damaged: {0}; nothing was changed, `paperchase verify` lists all damage")]
    Corrupt(Damage),
    /// Events that are known to have been durable are not there.
    #[error(
        "events are missing: the log is known to have been durable up to position {expected}, and \
         ends at {found}; restore the missing files, nothing was changed"
    )]
    LostData {
        /// All events below this position were durable.
        expected: Position,
        /// The log ends before this position.
        found: Position,
    },
    /// A chunk between others, or the first, is not there.
    #[error("chunk {0} is missing; restore its file, nothing was changed")]
    MissingChunk(ChunkNumber),
    /// A file belongs to another log or to another place in this one.
    #[error("{file} does not belong here: {why}; move it away, nothing was changed")]
    Foreign {
        /// Name of the file.
        file: String,
        /// How that is known.
        why: String,
    },
    /// A file is of a format version that this crate does not read.
    #[error("{file} is of format version {found}; this program reads version {supported}")]
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

/// Why an append was not stored. Every variant but [`AppendError::Failed`] means: nothing of it is
/// in the log.
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
    /// The disk is full. Reads go on; appends succeed again when there is space.
    #[error("the disk is full; free some space, appends then go on by themselves")]
    Full,
    /// The log is closed.
    #[error("the log is closed")]
    Stopped,
    /// The log has failed, or a part of it that this append needs cannot be read. Whether the
    /// append is stored is unknown until the log is opened again.
    #[error("the log has failed, open it again to recover: {0}")]
    Failed(Error),
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
