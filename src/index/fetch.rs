//! Owns the reading of one event at its place in a chunk.
//!
//! Promises: what is returned is the event of that position, whole and checked; anything else is
//! damage, with its place.

use std::sync::Arc;

use bytes::Bytes;

use crate::error::Result;
use crate::event::RecordedEvent;
use crate::format::event::decode_at;
use crate::index::segments::Segment;

/// A chunk that is being read, with its readable bytes at hand.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    pub(crate) segment: Arc<Segment>,
    window: Bytes,
}

impl Open {
    pub(crate) fn new(segment: Arc<Segment>) -> Self {
        let window = segment.chunk.readable();
        Self { segment, window }
    }

    /// Whether the event with this ordinal, if there is one, lies within what may be read.
    pub(crate) fn reaches(&self, ordinal: u32) -> Result<bool> {
        let offset = self.segment.ask(|index| index.offset(ordinal))?;
        Ok(offset.is_none_or(|offset| (offset as usize) < self.window.len()))
    }

    /// The event with this ordinal; `None` where it was removed.
    pub(crate) fn event(&self, ordinal: u32) -> Result<Option<RecordedEvent>> {
        let chunk = &self.segment.chunk;
        let offset = self.segment.ask(|index| index.offset(ordinal))?;
        let Some(offset) = offset else { return Ok(None) };
        let position = chunk.header.first_position.plus(ordinal.into());
        let event = decode_at(&self.window, offset as usize, chunk.salt, position);
        event.map(Some).map_err(|flaw| chunk.damage(offset.into(), flaw.describe()).into())
    }
}
