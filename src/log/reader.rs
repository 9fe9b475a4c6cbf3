//! Owns the reading side of a log, the same for the process that writes it and for one that
//! follows it.
//!
//! Promises: shows at most what is visible (R3), and holds up nobody. Knows no writer.

use std::fmt;
use std::ops::RangeBounds;
use std::sync::Arc;

use crate::error::Result;
use crate::position::{Position, StreamVersion};
use crate::query::Query;
use crate::read::{ReadAll, ReadQuery, ReadStream, View};
use crate::subscribe::Subscription;
use crate::subscribe::feed::Feed;

/// The reading side of a log: views, reads, subscriptions. [`Log`](crate::Log) derefs to it. Cheap
/// to clone; a clone may outlive the log and then shows it as it was last.
#[derive(Clone)]
pub struct Reader {
    feed: Arc<Feed>,
}

impl Reader {
    pub(super) fn new(feed: Feed) -> Self {
        Self { feed: Arc::new(feed) }
    }

    /// The log as it is now.
    ///
    /// Not for a process that is a fork of the log's: this call may wait there for ever, while
    /// views that were taken before the fork stay good, and calls that return a result answer
    /// [`ErrorKind::Forked`](crate::ErrorKind::Forked).
    #[must_use]
    pub fn view(&self) -> View {
        self.feed.view()
    }

    /// Events of a range of positions, as [`View::read_all`] of the log as it is now.
    ///
    /// # Errors
    /// Only in a forked process; reading itself reports damage event by event.
    pub fn read_all(&self, range: impl RangeBounds<Position>) -> Result<ReadAll> {
        Ok(self.view_here()?.read_all(range))
    }

    /// Events that a query means, as [`View::read`] of the log as it is now.
    ///
    /// # Errors
    /// As [`View::read`].
    pub fn read(&self, query: &Query, range: impl RangeBounds<Position>) -> Result<ReadQuery> {
        self.view_here()?.read(query, range)
    }

    /// Events of one stream, as [`View::read_stream`] of the log as it is now.
    ///
    /// # Errors
    /// Only in a forked process; reading itself reports damage.
    pub fn read_stream(
        &self,
        stream: &str,
        range: impl RangeBounds<StreamVersion>,
    ) -> Result<ReadStream> {
        self.view_here()?.read_stream(stream, range)
    }

    fn view_here(&self) -> Result<View> {
        self.check_home()?;
        Ok(self.view())
    }

    pub(super) fn check_home(&self) -> Result<()> {
        self.feed.failure.check_home()
    }

    /// All events from a position on: those that are there, then each as it becomes visible, on and
    /// on until the log is closed. From a position beyond the end it waits for that position.
    ///
    /// ```
    /// # use paperchase::{Expected, Log, NewEvent, Position, Update};
    /// # let dir = tempfile::tempdir()?;
    /// # let log = Log::open(dir.path())?;
    /// log.append("cart-7", Expected::Any, [NewEvent::new("ItemAdded", "1")])?.wait()?;
    /// for update in log.subscribe(Position::START)? {
    ///     match update? {
    ///         Update::Event(event) => println!("{}: {}", event.position(), event.event_type()),
    ///         Update::CaughtUp(position) => {
    ///             println!("live from {position} on");
    ///             # break;
    ///         }
    ///         _ => {}
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Only in a forked process; the subscription itself reports damage event by event.
    pub fn subscribe(&self, from: Position) -> Result<Subscription> {
        self.check_home()?;
        Ok(Subscription::to_all(Arc::clone(&self.feed), from))
    }

    /// The events that a query means, from a position on, as [`Reader::subscribe`]. While it waits,
    /// events that cannot be meant do not wake it.
    ///
    /// # Errors
    /// A query beyond its limits.
    pub fn subscribe_query(&self, query: &Query, from: Position) -> Result<Subscription> {
        self.check_home()?;
        Subscription::to_query(Arc::clone(&self.feed), query, from)
    }

    /// The events of a stream from a version on, as [`Reader::subscribe`]. The stream need not
    /// exist; from a version beyond its end the subscription waits for that version. While it
    /// waits, events of other streams do not wake it.
    ///
    /// # Errors
    /// Only in a forked process; the subscription itself reports damage event by event.
    pub fn subscribe_stream(&self, stream: &str, from: StreamVersion) -> Result<Subscription> {
        self.check_home()?;
        Ok(Subscription::to_stream(Arc::clone(&self.feed), stream, from))
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("marks", &self.feed.marks).finish_non_exhaustive()
    }
}
