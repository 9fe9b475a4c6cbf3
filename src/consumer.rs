//! Owns what consumers leave in the log: the streams that keep their places, what stands in them,
//! and how far each consumer is behind.
//!
//! Promises: a place is read back as it was written, or refused; the events that keep places are
//! events like all others. Decides nothing, writes nothing.

use uuid::Uuid;

use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{CLAIMS, NewEvent, PLACES, RecordedEvent, keeps_a_place};
use crate::index::key::{Key, KeyKind};
use crate::position::{Place, Position, StreamVersion};
use crate::read::View;

/// The stream that keeps a consumer's places.
pub(crate) fn places_of(consumer: &str) -> String {
    format!("{PLACES}-{consumer}")
}

/// The stream of a consumer's claims.
pub(crate) fn claims_of(consumer: &str) -> String {
    format!("{CLAIMS}-{consumer}")
}

/// The event by which an instance takes over a consumer of a log.
pub(crate) fn claim(log: Uuid) -> NewEvent {
    NewEvent::json("$claimed", format!(r#"{{"log":"{log}"}}"#))
}

/// The event that keeps a place.
pub(crate) fn kept(place: Place) -> NewEvent {
    let Place { log, position } = place;
    NewEvent::json("$place", format!(r#"{{"log":"{log}","position":{position}}}"#))
}

/// The consumed log that a claim names.
fn log_in(claim: &RecordedEvent) -> Option<Uuid> {
    let text = std::str::from_utf8(claim.data()).ok()?;
    Uuid::try_parse(text.strip_prefix(r#"{"log":""#)?.strip_suffix(r#""}"#)?).ok()
}

/// The place that an event keeps.
pub(crate) fn place_in(event: &RecordedEvent) -> Option<Place> {
    let text = std::str::from_utf8(event.data()).ok()?;
    let (log, position) = text.strip_prefix(r#"{"log":""#)?.split_once(r#"","position":"#)?;
    let position = position.strip_suffix('}')?.parse().ok()?;
    Some(Place { log: Uuid::try_parse(log).ok()?, position: Position::new(position) })
}

/// A consumer in a view.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerInfo {
    /// Its name.
    pub name: String,
    /// The place it has come to; `None` when it never committed one.
    pub place: Option<Place>,
    /// How often an instance of it was opened.
    pub instances: u64,
    /// How far it is behind; `None` when its place is in another log, or, as long as there is none,
    /// when it was last opened for another log.
    pub lag: Option<Lag>,
}

/// How far a consumer is behind the end of a view. The events that keep the places of consumers do
/// not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lag {
    /// Events from its place to the end.
    pub events: u64,
    /// Bytes of log from its place to the end; 0 where there are no events.
    pub bytes: u64,
    /// When the first of these events was stored.
    pub since: Option<Timestamp>,
}

impl Lag {
    /// How long the first event that is not consumed has been waiting, in seconds; 0 where there is
    /// none.
    #[must_use]
    pub fn seconds(&self, now: Timestamp) -> f64 {
        let waited = |since: Timestamp| now.as_nanos().saturating_sub(since.as_nanos());
        self.since.map_or(0.0, |since| waited(since) as f64 / 1e9)
    }
}

impl View {
    /// All consumers that keep their places in this log, sorted by name, each with its place and
    /// how far it is behind.
    ///
    /// # Errors
    /// Damage in an index or an event that is needed, and an event in a consumer's stream that
    /// keeps no place.
    pub fn consumers(&self) -> Result<Vec<ConsumerInfo>> {
        let claims = self.streams(&format!("{CLAIMS}-"))?;
        let info = claims.into_iter().map(|stream| {
            let name = stream.name.split_once('-').map_or("", |(_, name)| name);
            let place = self.place_of_consumer(name)?;
            let claim = self.read_stream(&stream.name, StreamVersion::FIRST..)?.next_back();
            let claimed = claim.transpose()?.and_then(|claim| log_in(&claim));
            // An instance may have claimed the consumer for another log than its place is in, and
            // then was refused: the place counts.
            let (log, from) = match place {
                Some(place) => (Some(place.log), place.position),
                None => (claimed, Position::START),
            };
            let own = log == Some(self.log_id());
            let lag = if own { Some(self.lag(from)?) } else { None };
            Ok(ConsumerInfo { name: name.to_owned(), place, instances: stream.events, lag })
        });
        info.collect()
    }

    /// The last place that a consumer has committed; `None` when there is none.
    ///
    /// # Errors
    /// As [`View::consumers`].
    pub fn place_of_consumer(&self, consumer: &str) -> Result<Option<Place>> {
        let Some(last) = self.last_kept(consumer)? else { return Ok(None) };
        place_in(&last).map(Some).ok_or_else(|| {
            let (stream, position) = (last.stream(), last.position());
            let message = format!("the event of {stream:?} at position {position} keeps no place");
            Error::new(ErrorKind::Damage, message)
        })
    }

    /// The event that should keep a consumer's last place.
    pub(crate) fn last_kept(&self, consumer: &str) -> Result<Option<RecordedEvent>> {
        let mut kept = self.read_stream(&places_of(consumer), StreamVersion::FIRST..)?;
        kept.next_back().transpose()
    }

    fn lag(&self, from: Position) -> Result<Lag> {
        let mut kept = 0;
        for name in [PLACES, CLAIMS] {
            kept += self.count(&Key { kind: KeyKind::Category, name: name.as_bytes() }, from)?;
        }
        let events = self.end().since(from).saturating_sub(kept);
        if events == 0 {
            return Ok(Lag::default());
        }
        let mut waiting = self.read_all(from..).filter(|event| match event {
            Ok(event) => !keeps_a_place(event),
            Err(_) => true,
        });
        let since = waiting.next().transpose()?.map(|event| event.time());
        Ok(Lag { events, bytes: self.bytes_from(from)?, since })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::disk::sim::SimDisk;
    use crate::event::Expected;
    use crate::options::Options;
    use std::sync::Arc;

    #[test]
    fn a_place_comes_back_as_it_was_written() {
        let disk = Arc::new(SimDisk::new());
        let log = Options::new().open_on(disk, Arc::new(SystemClock::default())).unwrap();
        let place = Place { log: Uuid::from_u128(7), position: Position::new(u64::MAX) };
        let bad =
            ["", "{}", "{\"log\":\"x\",\"position\":1}", "{\"log\":\"\",\"position\":}", "\u{ff}"];
        let bad = bad.map(|data| NewEvent::new("$place", data));
        let events = [kept(place)].into_iter().chain(bad);
        log.append("places", Expected::Any, events).unwrap().wait().unwrap();
        let read: Vec<_> = log.view().read_all(..).map(|event| place_in(&event.unwrap())).collect();
        assert_eq!(read[0], Some(place));
        assert!(read[1..].iter().all(Option::is_none));
    }
}
