//! Owns drafts: appends as a client hands them to the writer, encoded and within their limits.
//!
//! Promises: what the writer decides on lies ready here, so that it parses and allocates nothing
//! for an append to one stream. Decides nothing.

use std::sync::Arc;

use uuid::Uuid;

use crate::append::NoEvents;
use crate::event::Expected;
use crate::position::StreamVersion;

/// An append as a client hands it over.
#[derive(Debug)]
pub(crate) struct Draft {
    /// Its events as they will be stored, all but what the writer stamps.
    pub(crate) encoded: Vec<u8>,
    pub(crate) terms: Terms,
}

/// Under which terms an append is stored.
#[derive(Debug)]
pub(crate) enum Terms {
    /// Events of one stream, of which something is expected, and no more.
    OneStream(Arc<str>, Expected),
    /// Whatever else there can be.
    Full(Box<FullTerms>),
}

impl Terms {
    /// Bytes that it holds of names, which take room in the queue.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::OneStream(..) => 0,
            Self::Full(terms) => {
                let conditions = terms.conditions.iter().map(|condition| condition.query.size());
                terms.streams.iter().map(|name| name.len()).chain(conditions).sum()
            }
        }
    }
}

/// All that an append can ask for.
#[derive(Debug, Default)]
pub(crate) struct FullTerms {
    pub(crate) operation: Option<Uuid>,
    /// The streams that it names: first those it writes, in the order of their first events.
    pub(crate) streams: Vec<Arc<str>>,
    /// How many of the streams it writes.
    pub(crate) written: usize,
    /// Per event, its stream.
    pub(crate) stream_of: Vec<u32>,
    /// Of which streams what is expected.
    pub(crate) expectations: Vec<(u32, Expected)>,
    pub(crate) conditions: Vec<NoEvents>,
    /// Streams of claims with the version that each is to end at, and the consumers they guard.
    pub(crate) fences: Vec<(u32, StreamVersion, String)>,
}
