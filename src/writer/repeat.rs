//! Owns the comparison of an append with what stands in the log: is it the same append again?
//!
//! Promises: an append counts as repeated only if every one of its events stands where it would
//! go, with the same id and content. Values in, values out; reads nothing.

use crate::append::{Stored, Versions};
use crate::clock::Timestamp;
use crate::error::AppendError;
use crate::event::{Expected, RecordedEvent};
use crate::format::event::{Layout, has_content_of, has_id_of};
use crate::position::{Position, StreamVersion};

/// The answer that the append of these events got, again; they go to `streams` streams, each event
/// to the one that `stream_of` names.
pub(super) fn answer(original: &[RecordedEvent], stream_of: &[u32], streams: usize) -> Stored {
    let mut versions: Vec<Option<(StreamVersion, StreamVersion)>> = vec![None; streams];
    for (event, stream) in original.iter().zip(stream_of) {
        let first_and_last = &mut versions[*stream as usize];
        let (first, _) = first_and_last.unwrap_or((event.version(), event.version()));
        *first_and_last = Some((first, event.version()));
    }
    let last = original.last();
    Stored {
        first_position: original.first().map_or(Position::START, RecordedEvent::position),
        last_position: last.map_or(Position::START, RecordedEvent::position),
        events: u32::try_from(original.len()).expect("an append is far below 4 GiB"),
        version: last.map_or(StreamVersion::FIRST, RecordedEvent::version),
        time: last.map_or(Timestamp::default(), RecordedEvent::time),
        repeated: true,
        versions: Versions::Each(versions.into_iter().flatten().collect()),
    }
}

/// Whether an encoded append has the content of these events: the same but for event ids, which a
/// caller that starts an operation again makes anew.
pub(super) fn is_same_content(encoded: &[u8], original: &[RecordedEvent]) -> bool {
    let events = split(encoded);
    let mut pairs = events.iter().zip(original);
    events.len() == original.len() && pairs.all(|(encoded, event)| has_content_of(encoded, event))
}

/// The events of an encoded append.
pub(super) fn split(mut encoded: &[u8]) -> Vec<&[u8]> {
    let mut events = Vec::new();
    while let Some(layout) = Layout::of(encoded) {
        let (event, rest) = encoded.split_at(layout.padded_length());
        events.push(event);
        encoded = rest;
    }
    events
}

/// Where the events of a stream go of which this is expected; `None` when that tells no version.
pub(super) fn place(expected: Expected) -> Option<StreamVersion> {
    match expected {
        Expected::NoStream => Some(StreamVersion::FIRST),
        Expected::Exact(version) => Some(version.next()),
        Expected::Any | Expected::Exists => None,
    }
}

/// Where the events of each stream would have gone; `None` when that is not known of every stream.
pub(super) fn places(streams: &[(&str, Option<StreamVersion>)]) -> Option<Vec<StreamVersion>> {
    streams.iter().map(|(_, place)| *place).collect()
}

/// The comparison of an append's events, in order, with those that stand where they would go.
#[derive(Debug)]
pub(super) struct Matching {
    parts: Vec<Part>,
    positions: Option<(Position, Position)>,
    version: StreamVersion,
    time: Timestamp,
}

/// The comparison within one stream.
#[derive(Debug)]
struct Part {
    first: StreamVersion,
    /// Events of the append, and how many of them stand there, up to the first that does not.
    of: u64,
    stored: u64,
    /// Whether another event stands where the first one is missing.
    diverges: bool,
}

impl Matching {
    pub(super) fn new(places: Vec<StreamVersion>) -> Self {
        let part = |first| Part { first, of: 0, stored: 0, diverges: false };
        let parts = places.into_iter().map(part).collect();
        let (version, time) = (StreamVersion::FIRST, Timestamp::default());
        Self { parts, positions: None, version, time }
    }

    /// Where the next event of a stream would stand.
    pub(super) fn next_version(&self, stream: usize) -> StreamVersion {
        let part = &self.parts[stream];
        StreamVersion::new(part.first.get().saturating_add(part.of))
    }

    /// Whether all events of a stream that were compared stand there.
    pub(super) fn is_unbroken(&self, stream: usize) -> bool {
        let part = &self.parts[stream];
        part.stored == part.of
    }

    /// Compares the next event of a stream with the one that stands there. Behind one that does not
    /// it need not be told what stands there.
    pub(super) fn compare(
        &mut self,
        stream: usize,
        encoded: &[u8],
        standing: Option<RecordedEvent>,
    ) {
        let part = &mut self.parts[stream];
        let unbroken = part.stored == part.of;
        part.of += 1;
        match standing {
            Some(event) if has_id_of(encoded, &event) && has_content_of(encoded, &event) => {
                part.stored += u64::from(unbroken);
                let (first, last) =
                    self.positions.get_or_insert((event.position(), event.position()));
                (*first, *last) = ((*first).min(event.position()), (*last).max(event.position()));
                (self.version, self.time) = (event.version(), self.time.max(event.time()));
            }
            Some(_) if unbroken => part.diverges = true,
            _ => {}
        }
    }

    /// The answer again if all events stand there; `refused` if none does; otherwise what is wrong.
    pub(super) fn verdict(
        self,
        streams: &[(&str, Option<StreamVersion>)],
        head_of: impl FnOnce(&str) -> Result<Option<StreamVersion>, AppendError>,
        refused: AppendError,
    ) -> Result<Stored, AppendError> {
        if self.parts.iter().all(|part| part.stored == 0) {
            return Err(refused);
        }
        let broken = self.parts.iter().zip(streams).find(|(part, _)| part.stored < part.of);
        if let Some((part, (stream, _))) = broken {
            let (stored, of) = (part.stored, part.of);
            let version = StreamVersion::new(part.first.get().saturating_add(stored));
            let name = (*stream).to_owned();
            return Err(if part.diverges {
                AppendError::Diverged { stream: name, stored, of, version }
            } else {
                AppendError::PartlyStored { stream: name, stored, of, actual: head_of(stream)? }
            });
        }
        let (first_position, last_position) = self.positions.unwrap_or_default();
        let last = |part: &Part| part.first.get().saturating_add(part.of).saturating_sub(1);
        let versions = self.parts.iter();
        let versions = versions.map(|part| (part.first, StreamVersion::new(last(part)))).collect();
        let events = self.parts.iter().map(|part| part.of).sum::<u64>();
        Ok(Stored {
            first_position,
            last_position,
            events: u32::try_from(events).expect("an append is far below 4 GiB"),
            version: self.version,
            time: self.time,
            repeated: true,
            versions: Versions::Each(versions),
        })
    }
}
