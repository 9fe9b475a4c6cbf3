//! Owns subscriptions: the events that are there, then each as it becomes visible, in one sequence.
//!
//! Promises: every event that is meant once, in the order of the log, and never before it is
//! visible (R3); catching up and being live are one loop over one mark, so there is no moment at
//! which an event could be missed or told twice. Whoever waits is woken by events that can concern
//! it, by the end of the log, and by nothing else. Holds up nobody: between two readings a
//! subscription holds a place in the log and no queue.

pub(crate) mod feed;
mod scope;

use std::fmt;
use std::iter::FusedIterator;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_core::Stream;

use crate::error::{Error, ErrorKind, Result};
use crate::event::{RecordedEvent, keeps_a_place};
use crate::position::{Position, StreamVersion};
use crate::query::Query;
use crate::stage::bell::Place;
use crate::stage::park;
use feed::Feed;
use scope::{Batch, Scope};

/// What a subscription tells.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Update {
    /// The next event.
    Event(RecordedEvent),
    /// All events below this position that were visible a moment ago are delivered: the
    /// subscription is live. Told again after each delivery that brings it there, and at once where
    /// there is nothing to deliver.
    CaughtUp(Position),
}

/// Events from a place in the log on, without an end: those that are there, then each as it becomes
/// visible. From [`Reader::subscribe`](crate::Reader::subscribe) and its neighbours.
///
/// It is an iterator that waits for the next update. [`Subscription::try_next`] does not wait,
/// [`Subscription::next_timeout`] not for long, and tasks await it as an [`Updates`] stream or by
/// [`Subscription::poll_next`]. All four deliver from the same place and can be mixed.
///
/// It ends (`None`) when the log has been closed and everything visible is delivered. A failed log
/// ends it with one `Err`, the failure, after everything visible. An event that is damaged on disk
/// is an `Err`, and the subscription goes on behind it; a damaged index that cannot be made again
/// is an `Err` that may end it. [`Subscription::next_position`] stays before an `Err` until
/// something behind it is delivered.
///
/// A slow subscriber holds up nobody and misses nothing: it reads from the log at its own pace, and
/// what waits for it waits in the log.
///
/// ```
/// # use paperchase::{Expected, Log, NewEvent, Position, Query};
/// # let dir = tempfile::tempdir()?;
/// # let log = Log::open(dir.path())?;
/// let query = Query::category("cart").types(["ItemAdded"]);
/// let mut subscription = log.subscribe_query(&query, Position::START)?;
/// let consumer = std::thread::spawn(move || -> paperchase::Result<u32> {
///     let mut items = 0;
///     for event in subscription.events() {
///         println!("{}", event?.stream());
///         items += 1;
///     }
///     Ok(items)
/// });
/// log.append("cart-7", Expected::Any, [NewEvent::new("ItemAdded", "1")])?.wait()?;
/// log.append("cart-8", Expected::Any, [NewEvent::new("ItemRemoved", "1")])?.wait()?;
/// log.close()?;
/// assert_eq!(consumer.join().unwrap()?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a subscription delivers when it is asked"]
pub struct Subscription {
    feed: Arc<Feed>,
    place: Place,
    scope: Scope,
    /// What is left of the view that is being read, and the end of that view.
    batch: Option<(Batch, Position)>,
    position: Position,
    /// The end of the view that was read last.
    seen: Position,
    /// Whether nothing was delivered since it told that it has caught up.
    told: bool,
    ended: bool,
    /// Whether the events by which consumers keep their places are left out.
    without_places: bool,
}

impl Subscription {
    pub(crate) fn to_all(feed: Arc<Feed>, from: Position) -> Self {
        Self::new(feed, Scope::All, from)
    }

    pub(crate) fn to_query(feed: Arc<Feed>, query: &Query, from: Position) -> Result<Self> {
        if let Some(problem) = query.problem() {
            return Err(Error::new(ErrorKind::Invalid, format!("the query {problem}")));
        }
        Ok(Self::new(feed, Scope::Query(query.clone()), from))
    }

    pub(crate) fn to_stream(feed: Arc<Feed>, stream: &str, from: StreamVersion) -> Self {
        Self::new(feed, Scope::stream(stream, from), Position::START)
    }

    fn new(feed: Arc<Feed>, scope: Scope, position: Position) -> Self {
        let place = feed.bell.take_place(scope.interest());
        place.reached(position);
        let (told, ended, seen) = (false, false, Position::START);
        let (batch, without_places) = (None, false);
        Self { feed, place, scope, batch, position, seen, told, ended, without_places }
    }

    /// Leaves out the events by which consumers keep their places.
    pub(crate) fn without_places(mut self) -> Self {
        self.without_places = true;
        self
    }

    /// The position at which a later subscription goes on: all events below it are delivered or not
    /// meant. A subscription to a stream goes on there as one to the query
    /// [`Query::stream`](crate::Query::stream).
    #[must_use]
    pub fn next_position(&self) -> Position {
        self.position
    }

    /// The next update, if it is there, without waiting: `Pending` when there is nothing yet,
    /// `Ready(None)` when the subscription has ended.
    ///
    /// ```
    /// # use std::task::Poll;
    /// # use paperchase::{Log, Position, Update};
    /// # let dir = tempfile::tempdir()?;
    /// # let log = Log::open(dir.path())?;
    /// let mut subscription = log.subscribe(Position::START)?;
    /// assert!(matches!(subscription.try_next(), Poll::Ready(Some(Ok(Update::CaughtUp(_))))));
    /// assert!(subscription.try_next().is_pending(), "nothing yet");
    /// log.close()?;
    /// assert!(matches!(subscription.try_next(), Poll::Ready(None)), "closed");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_next(&mut self) -> Poll<Option<Result<Update>>> {
        loop {
            if self.ended {
                return Poll::Ready(None);
            }
            if let Err(forked) = self.feed.failure.check_home() {
                return self.end(Some(forked));
            }
            if let Some(update) = self.next_of_batch() {
                return Poll::Ready(Some(update));
            }
            // Asked before the mark is read, which is final if the log has ended.
            let ending = self.feed.ending();
            if self.feed.marks.visible() > self.seen {
                if let Err(error) = self.open_batch() {
                    return self.end(Some(error));
                }
            } else if !self.told {
                self.told = true;
                return Poll::Ready(Some(Ok(Update::CaughtUp(self.position))));
            } else {
                return match ending {
                    None => Poll::Pending,
                    Some(outcome) => self.end(outcome.err()),
                };
            }
        }
    }

    /// The next update, waiting at most `timeout` for it: `Pending` when there was none,
    /// `Ready(None)` when the subscription has ended.
    ///
    /// ```
    /// # use std::task::Poll;
    /// # use std::time::Duration;
    /// # use paperchase::{Log, Position};
    /// # let dir = tempfile::tempdir()?;
    /// # let log = Log::open(dir.path())?;
    /// let mut subscription = log.subscribe(Position::START)?;
    /// loop {
    ///     match subscription.next_timeout(Duration::from_millis(10)) {
    ///         Poll::Ready(Some(update)) => println!("{:?}", update?),
    ///         Poll::Ready(None) => break println!("the log is closed"),
    ///         Poll::Pending => break println!("time for something else"),
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn next_timeout(&mut self, timeout: Duration) -> Poll<Option<Result<Update>>> {
        let clock = Arc::clone(&self.feed.clock);
        let found = park::wait(&*clock, timeout, |waker| match self.poll(waker) {
            Poll::Ready(update) => Some(update),
            Poll::Pending => None,
        });
        found.map_or(Poll::Pending, Poll::Ready)
    }

    /// The next update, or else the task is woken when it is worth asking again. For
    /// [`poll_fn`](std::future::poll_fn); [`Subscription::into_updates`] gives a stream.
    ///
    /// Reading is done within the call: from memory, or from the disk where the log is not cached.
    /// The waker is called on a thread of the log, perhaps the one that writes: while it runs,
    /// nothing is appended, and one that waits for an append waits for ever. Those of runtimes only
    /// note that the task is ready.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Update>>> {
        self.poll(context.waker())
    }

    /// The same subscription as a stream for tasks.
    pub fn into_updates(self) -> Updates {
        Updates(self)
    }

    /// The events alone, as an iterator that waits for the next one.
    pub fn events(&mut self) -> impl Iterator<Item = Result<RecordedEvent>> {
        self.filter_map(|update| match update {
            Ok(Update::Event(event)) => Some(Ok(event)),
            Ok(Update::CaughtUp(_)) => None,
            Err(error) => Some(Err(error)),
        })
    }

    fn poll(&mut self, waker: &Waker) -> Poll<Option<Result<Update>>> {
        let update = self.try_next();
        if update.is_ready() {
            return update;
        }
        // What became visible before the waker was there is found by this second look, what becomes
        // visible later rings.
        self.place.arm(waker);
        self.try_next()
    }

    fn next_of_batch(&mut self) -> Option<Result<Update>> {
        let (batch, end) = self.batch.as_mut()?;
        let end = *end;
        let leaves_out = |event: &Result<RecordedEvent>| {
            self.without_places && event.as_ref().is_ok_and(keeps_a_place)
        };
        let Some(event) = batch.find(|event| !leaves_out(event)) else {
            self.batch = None;
            self.seen = end;
            self.position = self.position.max(end);
            self.place.reached(self.position);
            return None;
        };
        self.told = false;
        Some(event.map(|event| {
            self.position = event.position().plus(1);
            self.place.reached(self.position);
            Update::Event(event)
        }))
    }

    fn open_batch(&mut self) -> Result<()> {
        let view = self.feed.view();
        let batch = self.scope.read(&view, self.position)?;
        self.batch = Some((batch, view.end()));
        Ok(())
    }

    fn end(&mut self, error: Option<Error>) -> Poll<Option<Result<Update>>> {
        self.ended = true;
        Poll::Ready(error.map(Err))
    }
}

impl Iterator for Subscription {
    type Item = Result<Update>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Poll::Ready(update) = self.next_timeout(Duration::MAX) {
                return update;
            }
        }
    }
}

impl FusedIterator for Subscription {}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("scope", &self.scope)
            .field("position", &self.position)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

/// A subscription as a stream for tasks, on any runtime or none, from
/// [`Subscription::into_updates`]. It is a type of its own because a type that is an iterator and a
/// stream has two methods for every name, and neither can be called.
///
/// ```
/// # use std::future::poll_fn;
/// # use std::pin::Pin;
/// # use futures_core::Stream;
/// # use paperchase::{Log, Position, Update};
/// async fn follow(log: &Log) -> paperchase::Result<Position> {
///     let mut updates = log.subscribe(Position::START)?.into_updates();
///     // With the crate `futures`: `while let Some(update) = updates.next().await`.
///     let mut next = async || poll_fn(|context| Pin::new(&mut updates).poll_next(context)).await;
///     while let Some(update) = next().await {
///         match update? {
///             Update::Event(event) => println!("{}", event.stream()),
///             Update::CaughtUp(position) => return Ok(position),
///             _ => {}
///         }
///     }
///     Ok(updates.into_inner().next_position())
/// }
/// ```
#[derive(Debug)]
#[must_use = "a stream delivers when it is polled"]
pub struct Updates(Subscription);

impl Updates {
    /// The position at which a later subscription goes on, as [`Subscription::next_position`].
    #[must_use]
    pub fn next_position(&self) -> Position {
        self.0.next_position()
    }

    /// The subscription, to go on with it as an iterator.
    pub fn into_inner(self) -> Subscription {
        self.0
    }
}

impl Stream for Updates {
    type Item = Result<Update>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().0.poll_next(context)
    }
}
