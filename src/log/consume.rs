//! Owns consumers as an application uses them: open one, read on from its place, commit how far it
//! has come.
//!
//! Promises: of several instances of a consumer only the one that was opened last can commit; a
//! commit in the append of its results is stored with them or not at all. A place that cannot be
//! right is refused. Keeps the log neither open nor locked.

use std::sync::{Arc, Weak};

use uuid::Uuid;

use super::engine::Core;
use super::{Log, Reader};
use crate::append::{Append, Fence};
use crate::consumer::{claim, claims_of, kept, place_in, places_of};
use crate::error::{AppendError, Result};
use crate::event::{Expected, RecordedEvent};
use crate::format::event::check_stream;
use crate::position::{Place, Position, StreamVersion};
use crate::query::Query;
use crate::stage::ack::Ack;
use crate::subscribe::Subscription;

/// An instance of a named consumer, whose place in one log is kept durably in a log, the same one
/// or another. From [`Log::consumer`] or [`Log::consumer_of`].
///
/// It handles events and commits the place behind them. When it commits in the very append that
/// stores its results, each event has its results exactly once: what was committed is not handled
/// again, and what was not committed has left no results.
///
/// Opening an instance takes the consumer over: commits of instances opened before are refused with
/// [`AppendError::Fenced`], also those that are on their way.
///
/// ```
/// use paperchase::{Append, Expected, Log, NewEvent, Query, Update};
///
/// # let dir = tempfile::tempdir()?;
/// let log = Log::open(dir.path())?;
/// log.append("cart-7", Expected::Any, [NewEvent::new("Paid", "12")])?.wait()?;
///
/// let consumer = log.consumer("invoices")?;
/// for update in consumer.subscribe_query(&Query::event_type("Paid"))? {
///     match update? {
///         Update::Event(event) => {
///             let invoice = NewEvent::new("Invoiced", event.data());
///             Append::new()
///                 .event("invoices", invoice)
///                 .commit(&consumer, consumer.behind(&event))
///                 .submit(&log)?
///                 .wait()?;
///         }
///         _ => break, // up to date; to wait for the next event, go on instead
///     }
/// }
/// # assert_eq!(log.view().place_of_consumer("invoices")?.unwrap().position().get(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Consumer {
    name: String,
    /// Of the log that keeps the places.
    core: Weak<Core>,
    keeper: Uuid,
    claims: String,
    claim: StreamVersion,
    source: Reader,
    place: Place,
}

impl Log {
    /// Opens a consumer of this log, whose places this log keeps, and takes it over from its other
    /// instances.
    ///
    /// When this returns `Ok`, no other instance can commit any more, and [`Consumer::place`] is
    /// the last place that was committed. When this returns `Err`, the consumer may have been taken
    /// over all the same, but not for a place that stood there before; its place is what it was.
    ///
    /// # Errors
    /// As [`Log::consumer_of`].
    pub fn consumer(&self, name: &str) -> Result<Consumer, AppendError> {
        self.consumer_of(name, self)
    }

    /// Opens a consumer of another log, whose places are kept here, beside its results. Otherwise
    /// as [`Log::consumer`].
    ///
    /// ```
    /// use paperchase::{Append, Expected, Log, NewEvent, Update};
    ///
    /// # let (one, other) = (tempfile::tempdir()?, tempfile::tempdir()?);
    /// let (source, copy) = (Log::open(one.path())?, Log::open(other.path())?);
    /// source.append("cart-7", Expected::Any, [NewEvent::new("Paid", "12")])?.wait()?;
    ///
    /// let consumer = copy.consumer_of("copy", &source)?;
    /// for update in consumer.subscribe()? {
    ///     let Update::Event(event) = update? else { break }; // caught up
    ///     Append::new()
    ///         .event(event.stream(), NewEvent::from(&event))
    ///         .commit(&consumer, consumer.behind(&event))
    ///         .submit(&copy)?
    ///         .wait()?;
    /// }
    /// assert_eq!(copy.view().stream_version("cart-7")?.map(|version| version.get()), Some(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`AppendError::ForeignPlace`] when its last place is one in another log than `source`,
    /// [`AppendError::PlaceAhead`] when `source` does not reach so far, [`AppendError::NoPlace`]
    /// when something else stands where it should, [`AppendError::Failed`] when it cannot be read,
    /// and those of an append.
    pub fn consumer_of(&self, name: &str, source: &Reader) -> Result<Consumer, AppendError> {
        self.core.check_running()?;
        source.check_home().map_err(|_| AppendError::Forked)?;
        if name.is_empty() {
            let problem = "is empty";
            return Err(AppendError::Invalid { what: "the consumer's name", problem });
        }
        // A name that only the claims have room for could never commit.
        check_stream(&places_of(name))?;
        let (claims, start) = (claims_of(name), source.view().place_at(Position::START));
        // A place that is refused is so before the claim, and the running instance goes on.
        self.last_place(name, source)?;
        let claimed = self.append(&claims, Expected::Any, [claim(start.log)])?.wait()?;
        // Looked up again behind the claim: no instance before can commit any more.
        let last = self.last_place(name, source)?;
        Ok(Consumer {
            name: name.to_owned(),
            core: Arc::downgrade(&self.core),
            keeper: self.core.log(),
            claims,
            claim: claimed.version,
            source: source.clone(),
            place: last.unwrap_or(start),
        })
    }

    /// The last place of a consumer, when `source` can go on from there.
    fn last_place(&self, name: &str, source: &Reader) -> Result<Option<Place>, AppendError> {
        let Some(last) = self.view().last_kept(name).map_err(AppendError::Failed)? else {
            return Ok(None);
        };
        let place = place_in(&last).ok_or_else(|| AppendError::NoPlace {
            consumer: name.to_owned(),
            position: last.position(),
        })?;
        check(name, source, place).map(|()| Some(place))
    }
}

/// Refuses a place that is none in a log, or not yet.
fn check(name: &str, source: &Reader, place: Place) -> Result<(), AppendError> {
    source.check_home().map_err(|_| AppendError::Forked)?;
    let (consumer, view) = (name.to_owned(), source.view());
    let (log, end) = (view.log_id(), view.end());
    if place.log != log {
        return Err(AppendError::ForeignPlace { consumer, place, log });
    }
    if place.position > end {
        return Err(AppendError::PlaceAhead { consumer, place: place.position, end });
    }
    Ok(())
}

impl Consumer {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The place from which this instance goes on: the one that was committed last when it was
    /// opened, or the start of the log.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }

    /// The place behind an event of the consumed log: to be committed when the event is handled. An
    /// event does not say of which log it is: that it is of this one is up to the caller.
    #[must_use]
    pub fn behind(&self, event: &RecordedEvent) -> Place {
        Place { log: self.place.log, position: event.position().plus(1) }
    }

    /// Subscribes to the consumed log from [`Consumer::place`] on, without the events by which
    /// consumers keep their places: a consumer would otherwise consume its own commits for ever.
    /// Results that it stores in the same log are delivered like all other events. Where each event
    /// has a result, name what is consumed with [`Consumer::subscribe_query`]: the results would
    /// otherwise have results without an end.
    ///
    /// # Errors
    /// As [`Reader::subscribe`].
    pub fn subscribe(&self) -> Result<Subscription> {
        Ok(self.source.subscribe(self.place.position)?.without_places())
    }

    /// Subscribes to the events of a query, otherwise as [`Consumer::subscribe`].
    ///
    /// # Errors
    /// As [`Reader::subscribe_query`].
    pub fn subscribe_query(&self, query: &Query) -> Result<Subscription> {
        Ok(self.source.subscribe_query(query, self.place.position)?.without_places())
    }

    /// Commits a place, alone. It may lie before the last one: what is between is then consumed
    /// again by the next instance.
    ///
    /// When this returns `Ok`, the commit is on its way; the [`Ack`] tells whether it was stored.
    /// When this returns `Err`, the consumer's place is what it was.
    ///
    /// # Errors
    /// As [`Append::submit`], [`AppendError::PlaceAhead`] and [`AppendError::ForeignPlace`]; the
    /// ack may be [`AppendError::Fenced`].
    pub fn commit(&self, place: Place) -> Result<Ack, AppendError> {
        let core = self.core.upgrade().ok_or(AppendError::Stopped)?;
        core.check_running()?;
        let wait = core.options.admission_wait;
        core.submit_full(Append::new().commit(self, place), wait)
    }

    fn check(&self, place: Place) -> Result<(), AppendError> {
        check(&self.name, &self.source, place)
    }
}

impl Append {
    /// Commits a consumer's place together with the events of this append: all of it is stored, or
    /// none, and only while no other instance has taken the consumer over. Submit the append to the
    /// log that keeps the consumer.
    ///
    /// A place that is ahead of the consumed log or in another log is refused when the append is
    /// submitted.
    pub fn commit(mut self, consumer: &Consumer, place: Place) -> Self {
        if let Err(error) = consumer.check(place) {
            self.refused.get_or_insert(error);
        }
        self.fences.push(Fence {
            consumer: consumer.name.clone(),
            log: consumer.keeper,
            claims: consumer.claims.clone(),
            claim: consumer.claim,
        });
        self.event(places_of(&consumer.name), kept(place))
    }
}
