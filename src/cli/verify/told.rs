//! Owns what the verification of one chunk tells, before it is put together with that of the
//! others.
//!
//! Promises: a pure value. What it says rests on the chunk, the header behind it and the hint
//! alone, so chunks can be looked at in any order. Bounded: damage beyond a limit is counted and
//! not kept.

use super::super::walk::Finding;
use super::streams::Runs;
use crate::clock::Timestamp;
use crate::format::header::{ChainEnd, ChunkHeader};
use crate::position::{ChunkNumber, Position};

/// Most places of damage that are kept; more are counted.
const DAMAGE_MAX: usize = 10_000;

/// What is known of one chunk.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) number: ChunkNumber,
    /// When it is sound.
    pub(super) header: Option<ChunkHeader>,
    /// Whether it is of another log or another place, and so says nothing of this one.
    pub(super) is_foreign: bool,
    pub(super) damage: Found,
    pub(super) notes: Vec<String>,
    pub(super) counts: Counts,
    /// Offset and time of the first group.
    pub(super) first: Option<(u64, Timestamp)>,
    pub(super) streams: Runs,
    /// Whether it is sealed, which only chunks are that have a chunk behind them.
    pub(super) is_sealed: bool,
    /// Where the chunk ends; `None` where damage hides it.
    pub(super) end: Option<Before>,
}

/// The end of a chunk, as the next one must continue it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    pub(super) end: ChainEnd,
    pub(super) position: Position,
    pub(super) time: Timestamp,
}

impl Before {
    /// What the first chunk continues.
    pub(super) fn start() -> Self {
        let (end, position) = (ChainEnd::default(), Position::START);
        Self { end, position, time: Timestamp::default() }
    }
}

/// Damage in the order in which it was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) places: Vec<Finding>,
    pub(super) count: u64,
}

impl Found {
    pub(super) fn add(&mut self, finding: impl Into<Finding>) {
        self.count += 1;
        if self.places.len() < DAMAGE_MAX {
            self.places.push(finding.into());
        }
    }

    pub(super) fn take(&mut self, other: Self) {
        self.count += other.count;
        let room = DAMAGE_MAX - self.places.len();
        self.places.extend(other.places.into_iter().take(room));
    }
}

/// How much was verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) chunks: u64,
    pub(super) sealed: u64,
    pub(super) groups: u64,
    pub(super) events: u64,
    /// Events that damage hides, as far as their number is known.
    pub(super) uncounted: u64,
    pub(super) bytes: u64,
}

impl Counts {
    pub(super) fn add(&mut self, other: &Self) {
        self.chunks += other.chunks;
        self.sealed += other.sealed;
        self.groups += other.groups;
        self.events += other.events;
        self.uncounted += other.uncounted;
        self.bytes += other.bytes;
    }
}
