//! Owns what the benchmarks of this package call besides the public face: the encoder, the stages
//! stepped by hand, the index of a growing chunk.
//!
//! Promises nothing to anybody else: it is compiled under the feature `bench`, and changes with
//! what stands behind it. Each call tells what it did, so that a benchmark can assert it.

use uuid::Uuid;

pub use crate::log::measured::Stages;

use crate::event::NewEvent;
use crate::format::checksum::LogSalt;
use crate::format::event::{self, Place};
use crate::index::key::Key;
use crate::index::memory::{Entry, MemoryIndex};
use crate::position::StreamVersion;

/// Encodes events as those of one append.
#[derive(Debug)]
pub struct Encoder(LogSalt);

impl Encoder {
    /// The encoder of some log.
    #[must_use]
    pub fn new() -> Self {
        Self(LogSalt::new(Uuid::from_u128(5)))
    }

    /// Appends the encoding of an event to `out`; tells whether it is within the limits.
    pub fn encode(&self, out: &mut Vec<u8>, stream: &str, event: &NewEvent) -> bool {
        let place = if out.is_empty() { Place::First(None) } else { Place::Later };
        event::encode(out, self.0, stream, event, place).is_ok()
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

/// The index of a chunk that still grows.
#[derive(Debug, Default)]
pub struct Index(MemoryIndex);

impl Index {
    /// Adds the next event, of a stream and a type.
    pub fn insert(&mut self, stream: &str, version: u64, event_type: &str) {
        self.0.insert(&Entry {
            offset: self.0.event_count(),
            stream: stream.as_bytes(),
            version: StreamVersion::new(version),
            event_type: event_type.as_bytes(),
            tags: &[],
            operation: None,
        });
    }

    /// How many events a stream has.
    #[must_use]
    pub fn count(&self, stream: &str) -> usize {
        self.0.find(&Key::stream(stream)).map_or(0, |found| found.postings.len())
    }
}
