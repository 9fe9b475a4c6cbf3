//! Owns what a subscription needs of a log: its chunks, its marks, the bell, and how it ended.
//!
//! Promises: knows no writer, so that a process which only follows a log feeds its subscriptions
//! the same. Whoever advances the visible mark of a feed rings its bell afterwards, and closes the
//! bell when the mark is final.

use std::sync::Arc;

use crate::clock::Clock;
use crate::error::Result;
use crate::index::segments::Segments;
use crate::read::View;
use crate::stage::Failure;
use crate::stage::bell::Bell;
use crate::watermark::Watermarks;

/// What readers and subscriptions of a log share.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) segments: Arc<Segments>,
    pub(crate) marks: Arc<Watermarks>,
    pub(crate) bell: Arc<Bell>,
    pub(crate) failure: Arc<Failure>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Feed {
    /// The log as it is now.
    pub(crate) fn view(&self) -> View {
        // The mark first: a chunk that a later roll adds is then simply beyond the end.
        let end = self.marks.visible();
        View::new(self.segments.snapshot(), end)
    }

    /// How the log ended, if it did: nothing more becomes visible then.
    pub(super) fn ending(&self) -> Option<Result<()>> {
        let ended = self.bell.is_closed();
        ended.then(|| self.failure.get().map_or(Ok(()), |error| Err(error.clone())))
    }
}
