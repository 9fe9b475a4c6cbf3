//! Owns the decision on an append: store it, answer that it was stored before, or refuse it.
//!
//! Promises: decides on the log with every event before this append, whether indexed or not, so two
//! racing appends never both pass; changes nothing. The table in `docs/conditions.md` has every
//! case. Assumes that nothing is decided between a decision and its events' joining the log.

use std::time::Duration;

use uuid::Uuid;

use super::draft::{Draft, FullTerms, Terms};
use super::heads::Heads;
use super::overlay::Overlay;
use super::repeat;
use crate::append::{NoEvents, Stored, Versions};
use crate::clock::Timestamp;
use crate::error::{AppendError, Result};
use crate::event::{Expected, RecordedEvent};
use crate::index::lookup;
use crate::index::segments::{self, Segments};
use crate::position::{Position, StreamVersion};
use crate::query::Query;

/// What is to be done with an append.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Its events join the log: those of each stream from this version on.
    Store(NextVersions),
    /// It was stored before, or asks for nothing to be stored.
    Answer(Stored),
}

/// The next version of each stream that an append writes.
#[derive(Debug)]
pub(super) enum NextVersions {
    One(StreamVersion),
    Each(Vec<StreamVersion>),
}

/// The log as the writer knows it when it decides.
#[derive(Debug)]
pub(super) struct Ground<'a> {
    pub(super) heads: &'a mut Heads,
    pub(super) overlay: &'a mut Overlay,
    pub(super) segments: &'a Segments,
    /// Behind the last event that joined the log.
    pub(super) end: Position,
    pub(super) time: Timestamp,
    /// How long operations are remembered; `None`: for ever.
    pub(super) horizon: Option<Duration>,
}

impl Ground<'_> {
    /// Decides an append.
    pub(super) fn decide(&mut self, draft: &Draft) -> Result<Verdict, AppendError> {
        match &draft.terms {
            Terms::OneStream(stream, expected) => {
                let head = self.head(stream)?;
                if expected.admits(head) {
                    return Ok(Verdict::Store(NextVersions::One(behind(head))));
                }
                let streams = [(&**stream, repeat::place(*expected))];
                self.repeat(draft, &streams, &|_| 0, wrong_version(stream, *expected, head))
            }
            Terms::Full(terms) => self.decide_full(draft, terms),
        }
    }

    fn decide_full(&mut self, draft: &Draft, terms: &FullTerms) -> Result<Verdict, AppendError> {
        if let Some(id) = &terms.operation
            && let Some(original) = self.operation(id)?
        {
            let same = repeat::is_same_content(&draft.encoded, &original);
            return if same {
                Ok(Verdict::Answer(repeat::answer(&original, &terms.stream_of, terms.written)))
            } else {
                let position = original.first().map_or(Position::START, RecordedEvent::position);
                Err(AppendError::OperationConflict { operation: *id, position })
            };
        }
        for (claims, claim, consumer) in &terms.fences {
            if self.head(&terms.streams[*claims as usize])? != Some(*claim) {
                return Err(AppendError::Fenced { consumer: consumer.clone() });
            }
        }
        for (stream, expected) in &terms.expectations {
            let stream = &terms.streams[*stream as usize];
            let head = self.head(stream)?;
            if !expected.admits(head) {
                let refused = wrong_version(stream, *expected, head);
                let streams = written_with_places(terms);
                let stream_of = |event: usize| terms.stream_of[event] as usize;
                return self.repeat(draft, &streams, &stream_of, refused);
            }
        }
        for condition in &terms.conditions {
            self.check(condition)?;
        }
        let written = terms.streams[..terms.written].iter();
        let next = written.map(|stream| self.head(stream).map(behind));
        let next = next.collect::<Result<Vec<_>, _>>()?;
        if next.is_empty() {
            return self.checked(terms).map(Verdict::Answer);
        }
        Ok(Verdict::Store(NextVersions::Each(next)))
    }

    /// The answer to an append without events, whose conditions hold.
    fn checked(&mut self, terms: &FullTerms) -> Result<Stored, AppendError> {
        // Streams that a consumer's commit checks are none that the caller names.
        let named = terms.expectations.first().map(|(stream, _)| *stream as usize);
        let head = named.map(|named| self.head(&terms.streams[named])).transpose()?.flatten();
        Ok(Stored {
            first_position: self.end,
            last_position: self.end,
            events: 0,
            version: head.unwrap_or_default(),
            time: self.time,
            repeated: false,
            versions: Versions::Each(Vec::new()),
        })
    }

    /// The version of a stream's last event.
    fn head(&mut self, stream: &str) -> Result<Option<StreamVersion>, AppendError> {
        let segments = self.segments;
        // An index that cannot be read leaves this append undecided, and no other.
        let next = self.heads.next(stream, |stream| segments.head(stream));
        let next = next.map_err(AppendError::Failed)?;
        Ok(next.get().checked_sub(1).map(StreamVersion::new))
    }

    fn check(&mut self, condition: &NoEvents) -> Result<(), AppendError> {
        let NoEvents { query, after } = condition;
        if *after > self.end {
            let problem = "names a position ahead of the end of the log: it was read elsewhere";
            return Err(AppendError::Invalid { what: "a condition", problem });
        }
        match self.first_match(query, *after)? {
            None => Ok(()),
            Some(position) => {
                let (query, after) = (query.clone(), *after);
                Err(AppendError::ConditionFailed { query, after, position })
            }
        }
    }

    fn first_match(
        &mut self,
        query: &Query,
        from: Position,
    ) -> Result<Option<Position>, AppendError> {
        let indexed = segments::first_match(&self.segments.snapshot(), query, from);
        match indexed.map_err(AppendError::Failed)? {
            Some(position) => Ok(Some(position)),
            None => Ok(self.overlay.first_match(query, from)),
        }
    }

    /// The append that was stored for an operation, unless that is longer ago than the horizon.
    fn operation(&mut self, id: &Uuid) -> Result<Option<Vec<RecordedEvent>>, AppendError> {
        let oldest = self.horizon.map_or(Timestamp::default(), |age| self.time.before(age));
        if let Some(position) = self.overlay.operation(id)
            && let Some(events) = self.overlay.append_at(position)
        {
            let events = events.map_err(AppendError::Failed)?;
            // The times of the log decide here too, not how far the index has come.
            let known = events.first().is_some_and(|first| first.time() >= oldest);
            return Ok(known.then_some(events));
        }
        let segments = self.segments.snapshot();
        let found = lookup::of_operation(&segments, id, oldest).map_err(AppendError::Failed)?;
        let Some(first) = found.filter(|first| first.time() >= oldest) else { return Ok(None) };
        let events = lookup::append_at(&segments, first.position());
        events.map(Some).map_err(AppendError::Failed)
    }

    /// Whether an append whose expectations do not hold was stored before, event by event; if not,
    /// why it is refused.
    fn repeat(
        &mut self,
        draft: &Draft,
        streams: &[(&str, Option<StreamVersion>)],
        stream_of: &dyn Fn(usize) -> usize,
        refused: AppendError,
    ) -> Result<Verdict, AppendError> {
        let Some(places) = repeat::places(streams) else { return Err(refused) };
        for ((stream, _), place) in streams.iter().zip(&places) {
            // Nothing was ever appended behind an event that the stream does not have (C16).
            if behind(self.head(stream)?) < *place {
                return Err(refused);
            }
        }
        let events = repeat::split(&draft.encoded);
        if events.is_empty() {
            return Err(refused);
        }
        let mut matching = repeat::Matching::new(places);
        let mut unindexed = Vec::new();
        for (index, encoded) in events.into_iter().enumerate() {
            let stream = stream_of(index);
            let version = matching.next_version(stream);
            // Behind the first event that does not stand there nothing of a stream decides, so a
            // refusal of a large append costs one look per stream.
            let standing = if matching.is_unbroken(stream) {
                self.event(streams[stream].0, version, &mut unindexed)?
            } else {
                None
            };
            matching.compare(stream, encoded, standing);
        }
        matching.verdict(streams, |stream| self.head(stream), refused).map(Verdict::Answer)
    }

    /// The event of a stream with this version. `unindexed` keeps the append in which the last one
    /// was found, so that an append of many events is not decoded once for each of them.
    fn event(
        &mut self,
        stream: &str,
        version: StreamVersion,
        unindexed: &mut Vec<RecordedEvent>,
    ) -> Result<Option<RecordedEvent>, AppendError> {
        if let Some(position) = self.overlay.place(stream, version) {
            if let Some(event) = at_position(unindexed, position) {
                return Ok(Some(event));
            }
            if let Some(append) = self.overlay.append_at(position) {
                *unindexed = append.map_err(AppendError::Failed)?;
                return Ok(at_position(unindexed, position));
            }
        }
        let found = lookup::of_stream(&self.segments.snapshot(), stream, version);
        found.map_err(AppendError::Failed)
    }
}

/// The streams that an append writes, each with the place where its events go by the first
/// expectation of a version.
fn written_with_places(terms: &FullTerms) -> Vec<(&str, Option<StreamVersion>)> {
    let written = terms.streams[..terms.written].iter();
    let mut streams: Vec<_> = written.map(|stream| (&**stream, None)).collect();
    for (stream, expected) in &terms.expectations {
        if let Some((_, place)) = streams.get_mut(*stream as usize)
            && place.is_none()
        {
            *place = repeat::place(*expected);
        }
    }
    streams
}

/// The event at a position among those of one append.
fn at_position(append: &[RecordedEvent], position: Position) -> Option<RecordedEvent> {
    let first = append.first()?.position();
    let place = position.get().checked_sub(first.get())?;
    append.get(usize::try_from(place).ok()?).cloned()
}

fn behind(head: Option<StreamVersion>) -> StreamVersion {
    head.map_or(StreamVersion::FIRST, StreamVersion::next)
}

fn wrong_version(stream: &str, expected: Expected, actual: Option<StreamVersion>) -> AppendError {
    AppendError::WrongVersion { stream: stream.to_owned(), expected, actual }
}
