//! Owns what a sealed chunk's index says as a whole, for `verify`: all of it as one sum, and its
//! streams.
//!
//! Promises: reads all of the index and none of the events. Assumes a table that passed its check;
//! a flaw is told all the same. Never part of a lookup.

use super::{Row, Table, TableFlaw, operations_made};
use crate::index::key::KeyKind;
use crate::index::witness::Witness;
use crate::position::StreamVersion;

/// The events of one stream in a chunk, as its index has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamRun {
    pub(crate) hash: u64,
    pub(crate) first_version: StreamVersion,
    pub(crate) last_version: StreamVersion,
    /// Where the first event lies in the file.
    pub(crate) offset: u64,
}

impl Table {
    /// What the index says of the events, to be compared with what the events say.
    pub(crate) fn witness(&self) -> Result<Witness, TableFlaw> {
        let mut witness = Witness::default();
        for ordinal in 0..self.ordinals {
            witness.place(ordinal, self.offset(ordinal)?.unwrap_or(0));
        }
        for (index, row) in self.rows()?.iter().map(Row::decode).enumerate() {
            let is_stream = row.kind == KeyKind::Stream.to_u8();
            let found = self.found(index, &row)?;
            let (ordinals, _) = found.postings.as_chunks();
            for (number, ordinal) in (0..).zip(ordinals) {
                let ordinal = u32::from_le_bytes(*ordinal);
                witness.post(row.hash, ordinal);
                if is_stream {
                    witness.version(ordinal, later(found.first_version, number));
                }
            }
        }
        if let Some(range) = &self.operations {
            let (first, last) = operations_made(range.sound()?);
            witness.operations_made(first, last);
        }
        Ok(witness)
    }

    /// The streams that have events here, in the order of their hashes.
    pub(crate) fn streams(&self) -> Result<Vec<StreamRun>, TableFlaw> {
        let rows = self.rows()?.iter().map(Row::decode).enumerate();
        rows.filter(|(_, row)| row.kind == KeyKind::Stream.to_u8())
            .map(|(index, row)| {
                let found = self.found(index, &row)?;
                let first = found.postings.first_chunk().map_or(0, |it| u32::from_le_bytes(*it));
                Ok(StreamRun {
                    hash: row.hash,
                    first_version: found.first_version,
                    last_version: later(found.first_version, u64::from(row.count) - 1),
                    offset: self.offset(first)?.unwrap_or(0).into(),
                })
            })
            .collect()
    }
}

fn later(version: StreamVersion, count: u64) -> StreamVersion {
    StreamVersion::new(version.get().saturating_add(count))
}
