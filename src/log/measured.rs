//! Owns a log in memory whose stages a benchmark steps by hand.
//!
//! Promises: the stages are those of a real log, wired as there; only the disk and the clock are
//! simulated, and no thread is started. Compiled under the feature `bench` alone.

use std::sync::Arc;
use std::time::Duration;

use super::engine::Engine;
use crate::clock::SimClock;
use crate::disk::sim::SimDisk;
use crate::error::{AppendError, OpenError};
use crate::event::{Expected, NewEvent};
use crate::options::Options;
use crate::position::Position;
use crate::stage::ack::Ack;

/// A log that goes on only when one of its stages is stepped.
#[derive(Debug)]
pub struct Stages(Engine);

impl Stages {
    /// A new log in memory.
    ///
    /// # Errors
    /// As [`Log::open`](crate::Log::open).
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let disk = Arc::new(SimDisk::new());
        Ok(Self(Engine::open(disk, Arc::new(SimClock::new()), options)?.0))
    }

    /// Puts an append of one event into the queue.
    ///
    /// When this returns `Ok`, the append is on its way. When this returns `Err`, nothing of it is.
    ///
    /// # Errors
    /// As [`Log::append`](crate::Log::append).
    pub fn submit(&self, stream: &str, event: NewEvent) -> Result<Ack, AppendError> {
        self.0.core.submit(stream, Expected::Any, [event], Duration::ZERO)
    }

    /// Lets the writer gather, write and flush what waits; returns up to where the log is durable.
    pub fn step_writer(&mut self) -> Position {
        self.0.writer.step();
        self.0.core.marks.durable()
    }

    /// Lets the chaser check, index and ack what is durable; returns up to where it is visible.
    pub fn step_chaser(&mut self) -> Position {
        self.0.chaser.step();
        self.0.core.marks.visible()
    }

    /// Lets the keeper prepare space.
    pub fn step_keeper(&mut self) {
        self.0.keeper.step();
    }
}
