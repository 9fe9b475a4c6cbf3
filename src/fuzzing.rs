//! Owns what fuzzers call: one function for each decoder of bytes or text from outside, for whole
//! directories, and for sequences of operations.
//!
//! Promises: each takes any bytes, and panics where a promise is broken: not only by a panic of the
//! decoder, but also where what was decoded does not encode to the same bytes, or an answer is not
//! the right one. Compiled for tests and fuzzers only; the targets are in `fuzz/`, and the tests
//! play their small inputs.

mod blocks;
mod groups;
mod queries;
mod tables;

#[cfg(test)]
mod corpora;

pub use blocks::{chunk_header, footer, hint, stats_page};
pub use blocks::{mend_chunk_header, mend_footer, mend_hint, mend_stats_page};
pub use groups::{event, group, mend_event, mend_group};
pub use queries::query_text;
pub use tables::table;

#[cfg(feature = "cli")]
pub use crate::cli::fuzzing::lines as cli_lines;

use uuid::Uuid;

use crate::format::checksum::{ChunkSalt, LogSalt};
use crate::position::{ChunkNumber, Position};

/// The log, the chunk and the position of all that is decoded.
const LOG: Uuid = Uuid::from_u128(5);
const CHUNK: ChunkNumber = ChunkNumber::new(3);
const POSITION: Position = Position::new(1000);

fn salt() -> ChunkSalt {
    LogSalt::new(LOG).chunk(CHUNK)
}

/// Opens and reads a whole directory that was changed.
pub fn directory(data: &[u8]) {
    crate::log::tests::damaged::open(data);
}

/// Plays a sequence of operations against the model.
pub fn operations(data: &[u8]) {
    crate::log::tests::modelled::play_bytes(data);
}
