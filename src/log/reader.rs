//! Owns the reading side of a log, the same for the process that writes it and for one that
//! follows it.
//!
//! Promises: shows at most what is visible (R3), and holds up nobody. Knows no writer.

use std::ops::RangeBounds;
use std::sync::Arc;

use crate::error::Result;
use crate::index::segments::Segments;
use crate::position::{Position, StreamVersion};
use crate::query::Query;
use crate::read::{ReadAll, ReadQuery, ReadStream, View};
use crate::watermark::Watermarks;

/// The reading side of a log: views, reads, subscriptions. [`Log`](crate::Log) derefs to it. Cheap
/// to clone; a clone may outlive the log and then shows it as it was last.
#[derive(Clone, Debug)]
pub struct Reader {
    pub(super) segments: Arc<Segments>,
    pub(super) marks: Arc<Watermarks>,
}

impl Reader {
    /// The log as it is now.
    #[must_use]
    pub fn view(&self) -> View {
        // The mark first: a chunk that a later roll adds is then simply beyond the end.
        let end = self.marks.visible();
        View::new(self.segments.snapshot(), end)
    }

    /// Events of a range of positions, as [`View::read_all`] of the log as it is now.
    ///
    /// # Errors
    /// None yet; reading itself reports damage event by event.
    pub fn read_all(&self, range: impl RangeBounds<Position>) -> Result<ReadAll> {
        Ok(self.view().read_all(range))
    }

    /// Events that a query means, as [`View::read`] of the log as it is now.
    ///
    /// # Errors
    /// As [`View::read`].
    pub fn read(&self, query: &Query, range: impl RangeBounds<Position>) -> Result<ReadQuery> {
        self.view().read(query, range)
    }

    /// Events of one stream, as [`View::read_stream`] of the log as it is now.
    ///
    /// # Errors
    /// Damage in the index of a chunk and in its events, of which it would be made again.
    pub fn read_stream(
        &self,
        stream: &str,
        range: impl RangeBounds<StreamVersion>,
    ) -> Result<ReadStream> {
        self.view().read_stream(stream, range)
    }
}
