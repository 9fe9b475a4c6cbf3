//! Owns how much there is in a part of a view: counted by the index and by offsets, without reading
//! events.
//!
//! Promises: costs a look at each chunk that the part touches.

use crate::chunk::Body;
use crate::error::Result;
use crate::format::CHUNK_HEADER_SIZE;
use crate::index::key::Key;
use crate::position::Position;
use crate::read::View;

impl View {
    /// Number of events that have a key, from a position to the end of the view.
    pub(crate) fn count(&self, key: &Key<'_>, from: Position) -> Result<u64> {
        let mut count = 0;
        for segment in self.segments.iter() {
            let ordinals = segment.ordinal_of(from)..segment.ordinal_of(self.end);
            if !ordinals.is_empty() {
                let postings = segment.ask(|index| index.postings(key, ordinals.clone()))?;
                count += postings.len() as u64;
            }
        }
        Ok(count)
    }

    /// Bytes of groups from the event at a position to the end of the view.
    pub(crate) fn bytes_from(&self, from: Position) -> Result<u64> {
        let mut bytes = 0;
        for (index, segment) in self.segments.iter().enumerate() {
            let next = self.segments.get(index + 1).map(|next| next.first_position());
            let end = next.unwrap_or(self.end);
            if end <= from {
                continue;
            }
            let first = segment.ordinal_of(from);
            let start = match first {
                0 => None,
                _ => segment.ask(|index| index.offset(first))?,
            };
            let data_end = match &segment.chunk.body {
                Body::Sealed { footer, .. } => footer.end.data_end,
                Body::Unsealed(_) => segment.chunk.readable().len() as u64,
            };
            bytes += data_end.saturating_sub(start.map_or(CHUNK_HEADER_SIZE, u64::from));
        }
        Ok(bytes)
    }
}
