//! Owns the numbers that name things in a log, each a type of its own so that two can never be
//! swapped.
//!
//! Promises: arithmetic goes through named methods; nothing else in the crate converts between
//! them. Assumes nothing. Never touches files or events.

use std::fmt;

use uuid::Uuid;

/// Gapless number of an event within the whole log, from 0. Not a byte offset.
///
/// ```
/// use paperchase::Position;
/// assert_eq!(Position::START.get(), 0);
/// assert!(Position::new(7) > Position::START);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(u64);

impl Position {
    /// The position of the first event of every log.
    pub const START: Self = Self(0);

    /// The position with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number of this position.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The position `count` events further on, saturating at the largest.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }

    /// How many events lie from `earlier` up to here; 0 when `earlier` is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A position together with the log that it is a position of, so that it cannot be taken for one of
/// another log. From [`View::place`](crate::View::place) and its neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub(crate) log: Uuid,
    pub(crate) position: Position,
}

impl Place {
    /// The log's id.
    #[must_use]
    pub fn log(&self) -> Uuid {
        self.log
    }

    /// The position in that log.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of log {}", self.position, self.log)
    }
}

/// Gapless number of an event within its stream, from 0.
///
/// ```
/// use paperchase::StreamVersion;
/// assert_eq!(StreamVersion::FIRST.next(), StreamVersion::new(1));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamVersion(u64);

impl StreamVersion {
    /// The version of the first event of every stream.
    pub const FIRST: Self = Self(0);

    /// The version with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number of this version.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The version that follows, saturating at the largest.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for StreamVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Number of a chunk of the log, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkNumber(u64);

impl ChunkNumber {
    /// The number of a log's first chunk.
    pub const FIRST: Self = Self(0);

    /// The chunk number with this value.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The value of this chunk number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number of the chunk that follows.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for ChunkNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
