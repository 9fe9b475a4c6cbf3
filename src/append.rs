//! Owns appends: what a caller asks for ([`Append`]) and what it is told ([`Appended`]).
//!
//! Promises: an append is one atomic call, all of it or nothing, whatever it holds. Limits are
//! checked when it is submitted, not here. Never touches files.

use std::sync::Arc;

use uuid::Uuid;

use crate::clock::Timestamp;
use crate::error::AppendError;
use crate::event::{Expected, NewEvent};
use crate::position::{Position, StreamVersion};
use crate::query::Query;

/// An append that is being put together: events to any number of streams, and the conditions under
/// which all of them are stored, or none. Submit it with [`Append::submit`].
///
/// An append without events is a check: it is answered as if it stored something, and stores
/// nothing.
///
/// ```
/// use paperchase::{Append, Expected, Log, NewEvent};
///
/// # let dir = tempfile::tempdir()?;
/// let log = Log::open(dir.path())?;
/// let done = Append::new()
///     .expect("stock-1", Expected::NoStream)
///     .event("stock-1", NewEvent::json("Reserved", r#"{"by":"cart-7"}"#))
///     .event("cart-7", NewEvent::json("ItemAdded", r#"{"sku":1}"#))
///     .expect("shop-closing", Expected::NoStream)
///     .submit(&log)?
///     .wait()?;
/// assert_eq!(done.events(), 2);
/// assert_eq!(done.stream("cart-7").map(|part| part.last_version.get()), Some(0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "an append does nothing until it is submitted"]
pub struct Append {
    pub(crate) expectations: Vec<(String, Expected)>,
    pub(crate) events: Vec<(String, NewEvent)>,
    pub(crate) conditions: Vec<NoEvents>,
    pub(crate) operation: Option<Uuid>,
    pub(crate) fences: Vec<Fence>,
    /// Why it will be refused when it is submitted.
    pub(crate) refused: Option<AppendError>,
}

/// The condition that an instance of a consumer has not been taken over by another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fence {
    pub(crate) consumer: String,
    /// The log that keeps the consumer.
    pub(crate) log: Uuid,
    /// The stream of the consumer's claims, and the version of the instance's own.
    pub(crate) claims: String,
    pub(crate) claim: StreamVersion,
}

/// The condition that no event of a query stands at a position or behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoEvents {
    pub(crate) query: Query,
    pub(crate) after: Position,
}

impl Append {
    /// An append of nothing under no condition.
    pub fn new() -> Self {
        Self::default()
    }

    /// Expects something of a stream, as it is before this append; also of a stream that the append
    /// does not write.
    pub fn expect(mut self, stream: impl Into<String>, expected: Expected) -> Self {
        self.expectations.push((stream.into(), expected));
        self
    }

    /// Adds an event behind those added before.
    pub fn event(mut self, stream: impl Into<String>, event: NewEvent) -> Self {
        self.events.push((stream.into(), event));
        self
    }

    /// Adds events of one stream behind those added before.
    pub fn events(mut self, stream: &str, events: impl IntoIterator<Item = NewEvent>) -> Self {
        self.events.extend(events.into_iter().map(|event| (stream.to_owned(), event)));
        self
    }

    /// Demands that no event of the query stands at `after` or behind it: the dynamic consistency
    /// boundary (S. Pellegrini and others, <https://dcb.events>). `after` is a place between
    /// events: the [`end`](crate::View::end) of the view from which the decision was made, whose
    /// events all lie before it. So whatever the decision could not know of makes it void.
    ///
    /// ```
    /// # use paperchase::{Append, AppendError, Log, NewEvent, Query};
    /// # let dir = tempfile::tempdir()?;
    /// # let log = Log::open(dir.path())?;
    /// let view = log.view();
    /// let taken = Query::new().types(["NameTaken"]).tags(["name:red"]);
    /// assert_eq!(view.read(&taken, ..)?.count(), 0);
    /// let take = || {
    ///     Append::new()
    ///         .event("account-1", NewEvent::new("NameTaken", "").tag("name:red"))
    ///         .no_events(taken.clone(), view.end())
    /// };
    /// take().submit(&log)?.wait()?;
    /// let second = take().submit(&log)?.wait();
    /// assert!(matches!(second, Err(AppendError::ConditionFailed { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn no_events(mut self, query: Query, after: Position) -> Self {
        self.conditions.push(NoEvents { query, after });
        self
    }

    /// Names the operation that this append completes, so that it is stored once however often it
    /// is submitted: if the log holds an append of this operation, its answer is given again,
    /// marked [`repeated`](Appended::repeated), and nothing else is looked at. Give a retry the
    /// same id; ids of UUID version 7 are found fastest.
    pub fn operation(mut self, id: Uuid) -> Self {
        self.operation = Some(id);
        self
    }
}

/// Where and when an append was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// Position of the append's first event. Of an append without events: the end of the log for
    /// which its conditions were found to hold.
    pub first_position: Position,
    /// Position of its last event; of an append without events the same as the first.
    pub last_position: Position,
    /// Version of its last event in that event's stream. Of an append without events: the version
    /// of the last event of the first stream it names, or 0 where there is none.
    pub version: StreamVersion,
    /// The time that its events carry.
    pub time: Timestamp,
    /// Whether the events had been stored before, by the append that this one repeats.
    pub repeated: bool,
    pub(crate) events: u32,
    pub(crate) streams: Parts,
}

/// What an append added to its streams.
#[derive(Clone, Debug)]
pub(crate) enum Parts {
    /// To one stream, the usual case, whose answer allocates nothing.
    One([StreamAppended; 1]),
    Each(Vec<StreamAppended>),
}

impl Parts {
    fn all(&self) -> &[StreamAppended] {
        match self {
            Self::One(part) => part,
            Self::Each(parts) => parts,
        }
    }
}

impl PartialEq for Parts {
    fn eq(&self, other: &Self) -> bool {
        self.all() == other.all()
    }
}

impl Eq for Parts {}

/// What an append added to one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamAppended {
    /// The stream.
    pub stream: Arc<str>,
    /// Version of the append's first event in the stream.
    pub first_version: StreamVersion,
    /// Version of its last event in the stream.
    pub last_version: StreamVersion,
}

impl Appended {
    /// Number of events; 0 of a mere check.
    #[must_use]
    pub fn events(&self) -> u32 {
        self.events
    }

    /// What was added to each stream, in the order of their first events.
    #[must_use]
    pub fn streams(&self) -> &[StreamAppended] {
        self.streams.all()
    }

    /// What was added to one stream; `None` when nothing was.
    #[must_use]
    pub fn stream(&self, name: &str) -> Option<&StreamAppended> {
        self.streams().iter().find(|part| *part.stream == *name)
    }
}

/// The answer that stages pass on: an [`Appended`] without the names, which the caller's thread
/// still has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) first_position: Position,
    pub(crate) last_position: Position,
    pub(crate) events: u32,
    pub(crate) version: StreamVersion,
    pub(crate) time: Timestamp,
    pub(crate) repeated: bool,
    pub(crate) versions: Versions,
}

/// First and last versions of each stream written, in the order of their first events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Versions {
    /// Of one stream, the usual case, whose answer allocates nothing.
    One(StreamVersion, StreamVersion),
    Each(Vec<(StreamVersion, StreamVersion)>),
}

/// The names of the streams that an append writes, in the order of their first events.
#[derive(Clone, Debug)]
pub(crate) enum StreamNames {
    One(Arc<str>),
    Each(Vec<Arc<str>>),
}

impl Stored {
    /// The answer as its caller gets it; `names` are those of the streams that were written.
    pub(crate) fn named(self, names: StreamNames) -> Appended {
        let part = |(stream, (first_version, last_version))| StreamAppended {
            stream,
            first_version,
            last_version,
        };
        let streams = match (names, self.versions) {
            (StreamNames::One(name), Versions::One(first, last)) => {
                Parts::One([part((name, (first, last)))])
            }
            (StreamNames::Each(names), Versions::Each(versions)) => {
                Parts::Each(names.into_iter().zip(versions).map(part).collect())
            }
            (StreamNames::One(name), Versions::Each(versions)) => {
                Parts::Each([name].into_iter().zip(versions).map(part).collect())
            }
            (StreamNames::Each(names), Versions::One(first, last)) => {
                Parts::Each(names.into_iter().zip([(first, last)]).map(part).collect())
            }
        };
        Appended {
            first_position: self.first_position,
            last_position: self.last_position,
            version: self.version,
            time: self.time,
            repeated: self.repeated,
            events: self.events,
            streams,
        }
    }
}
