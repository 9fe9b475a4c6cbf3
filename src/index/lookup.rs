//! Owns single events found through the index: by position, by stream and version, by operation.
//!
//! Promises: what is found is read and checked, never taken from a posting on trust. Chunks that
//! cannot hold it cost a look at their times or their filters. Shows all that is indexed.

use std::sync::Arc;

use uuid::Uuid;

use super::fetch::Open;
use super::key::Key;
use super::segments::{List, Segment};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::event::RecordedEvent;
use crate::format::event::is_first;
use crate::position::{Position, StreamVersion};

/// The event of a stream with this version; `None` where there is none.
pub(crate) fn of_stream(
    list: &List,
    stream: &str,
    version: StreamVersion,
) -> Result<Option<RecordedEvent>> {
    for segment in list.perhaps(0, &Key::stream(stream)) {
        let Some(part) = segment.ask(|index| index.stream(stream, u32::MAX))? else { continue };
        if version > part.last_version {
            return Ok(None);
        }
        if version >= part.first_version {
            let versions = version..version.next();
            let ask = |index: &super::ChunkIndex| {
                index.stream_postings(stream, versions.clone(), u32::MAX)
            };
            let Some(ordinal) = segment.ask(ask)?.get(0) else { return Ok(None) };
            let event = Open::new(Arc::clone(segment)).event(ordinal)?;
            return match event {
                Some(event) if event.stream() != stream || event.version() != version => {
                    Err(misplaced(segment, "stream of a posting", stream, &event))
                }
                event => Ok(event),
            };
        }
    }
    Ok(None)
}

/// The last event that carries an operation's id, among the chunks that hold events of `since` or
/// later.
pub(crate) fn of_operation(
    list: &List,
    id: &Uuid,
    since: Timestamp,
) -> Result<Option<RecordedEvent>> {
    // Times never run backwards, so no chunk before such a one is later.
    let is_older = |segment: &Arc<Segment>| {
        segment.chunk.footer().is_some_and(|footer| footer.last_time < since)
    };
    let key = Key::operation(id);
    for segment in list.perhaps(list.partition_point(is_older), &key) {
        let postings = segment.ask(|index| index.postings(&key, 0..u32::MAX))?;
        let Some(ordinal) = postings.len().checked_sub(1).and_then(|last| postings.get(last))
        else {
            continue;
        };
        let event = Open::new(Arc::clone(segment)).event(ordinal)?;
        match event {
            Some(event) if event.operation() != Some(*id) => {
                return Err(misplaced(segment, "operation of a posting", &id.to_string(), &event));
            }
            // Removed: what is gone was not stored.
            None => {}
            event => return Ok(event),
        }
    }
    Ok(None)
}

/// All events of the append whose first event stands at `position`.
pub(crate) fn append_at(
    segments: &[Arc<Segment>],
    position: Position,
) -> Result<Vec<RecordedEvent>> {
    let behind = segments.partition_point(|segment| segment.first_position() <= position);
    let Some(segment) = segments.get(behind.wrapping_sub(1)) else { return Ok(Vec::new()) };
    let open = Open::new(Arc::clone(segment));
    let mut events = Vec::new();
    // An append lies in one group, so in one chunk.
    for ordinal in segment.ordinal_of(position)..segment.index.event_count() {
        // The index may know what nobody may read yet.
        if !open.reaches(ordinal)? {
            break;
        }
        match open.event(ordinal)? {
            Some(event) if !events.is_empty() && is_first(&event) => break,
            event => events.extend(event),
        }
    }
    Ok(events)
}

fn misplaced(
    segment: &Segment,
    what: &'static str,
    expected: &str,
    event: &RecordedEvent,
) -> crate::error::Error {
    let found = format!("an event of {:?} at position {}", event.stream(), event.position());
    segment.chunk.damage(0, (what, format!("{expected:?}"), found)).into()
}
