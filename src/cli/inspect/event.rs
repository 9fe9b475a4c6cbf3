//! Owns the view of one event in a chunk file: its fields, its checksums, its bytes.
//!
//! Promises: finds the event by group headers alone, so damage elsewhere does not hide it.

use std::io;

use bytes::Bytes;

use super::super::show::{self, Output};
use super::super::{CliError, walk};
use super::{Chunk, spot};
use crate::format::event::{self, EventFlaw, Layout};
use crate::format::group::CheckedHeader;
use crate::format::{CHUNK_HEADER_SIZE, GROUP_HEADER_SIZE};
use crate::position::Position;
use crate::{ContentKind, RecordedEvent};

/// Why an event was not shown.
pub(super) enum Missing {
    Unreadable(io::Error),
    Absent(CliError),
    Output(CliError),
}

impl From<io::Error> for Missing {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

impl From<CliError> for Missing {
    fn from(error: CliError) -> Self {
        Self::Output(error)
    }
}

/// How an event is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    pub(super) hex: bool,
    pub(super) json: bool,
}

/// Prints the event at `position`. Whether it is sound.
pub(super) fn show(
    chunk: &mut Chunk,
    position: Position,
    form: Form,
    output: &mut Output,
) -> Result<bool, Missing> {
    let first = show::count(chunk.header.first_position.get());
    let Some((offset, group)) = find_group(chunk, position)? else {
        let text = format!(
            "chunk {} holds no event at position {}",
            chunk.header.number,
            show::count(position.get())
        );
        let next = format!("its first position is {first}; without --event, its last is shown");
        return Err(Missing::Absent(CliError::usage(text).next(next)));
    };
    let Some((place, bytes)) = find_event(chunk, offset, &group, position)? else {
        let text = format!(
            "damage before position {position} in its group at {offset} hides where it stands"
        );
        return Err(Missing::Absent(
            CliError::damage(text).next("look at the damage: `paperchase inspect FILE`"),
        ));
    };
    if form.json {
        let spot = chunk.spot(place)?;
        output.json(&spot)?;
        return Ok(event::decode(&bytes, chunk.salt, position).is_ok());
    }
    let decoded = event::decode(&bytes, chunk.salt, position);
    match &decoded {
        Ok(event) => {
            let within = format!(
                "{} in the group at {}, number {} of its {}",
                show::count(place),
                show::count(offset),
                position.since(group.header.first_position) + 1,
                show::counted(group.header.events.into(), "event")
            );
            output.table(&show::facts(facts(event, within, Layout::of(&bytes).as_ref())))?;
        }
        Err(flaw) => {
            let damage = walk::event_damage((chunk.header.number, place), *flaw);
            output.line(format_args!("damage: {damage}"))?;
        }
    }
    if form.hex {
        let length = Layout::of(&bytes).map_or(event::FIXED_SIZE, |layout| layout.padded_length());
        output.line("")?;
        spot::print_rows(&spot::rows(place, &bytes[..length.min(bytes.len())]), output)?;
    }
    Ok(decoded.is_ok())
}

/// The group that holds `position`, and where it begins.
fn find_group(chunk: &mut Chunk, position: Position) -> io::Result<Option<(u64, CheckedHeader)>> {
    let mut at = CHUNK_HEADER_SIZE;
    while at < chunk.pieces.size {
        let group = match chunk.pieces.header(chunk.salt, at)? {
            Some(group) => group,
            None => {
                let Some(next) = chunk.pieces.resume(chunk.salt, at + 8, chunk.pieces.size)? else {
                    return Ok(None);
                };
                at = next.offset;
                continue;
            }
        };
        if (group.header.first_position..group.header.end_position()).contains(&position) {
            return Ok(Some((at, group)));
        }
        at += group.header.length();
    }
    Ok(None)
}

/// Where the event at `position` begins, with all bytes of the group from there on.
fn find_event(
    chunk: &mut Chunk,
    offset: u64,
    group: &CheckedHeader,
    position: Position,
) -> io::Result<Option<(u64, Bytes)>> {
    let start = offset + GROUP_HEADER_SIZE;
    let body = chunk.pieces.bytes(start, group.header.body_length.into())?;
    let mut at = 0;
    for number in group.header.first_position.get()..position.get() {
        let rest = body.get(at..).unwrap_or(&[]);
        let length = match event::check_event(rest, chunk.salt, Position::new(number)) {
            Ok(layout) => Some(layout.padded_length()),
            Err(EventFlaw::Checksum { .. }) => None,
            Err(_) => Layout::of(rest).map(|layout| layout.padded_length()),
        };
        let Some(length) = length else {
            return Ok(None);
        };
        at += length;
    }
    Ok((at < body.len()).then(|| (start + at as u64, body.slice(at..))))
}

fn facts(
    event: &RecordedEvent,
    place: String,
    layout: Option<&Layout>,
) -> Vec<(&'static str, String)> {
    let content = |bytes: &[u8], kind| {
        let kind = match kind {
            _ if bytes.is_empty() => return "empty".to_owned(),
            ContentKind::Json => "JSON",
            ContentKind::Bytes => "bytes",
        };
        let size = show::counted(bytes.len() as u64, "byte");
        format!("{size} as {kind}: {}", show::preview(bytes))
    };
    let tags: Vec<_> = event.tags().map(show::plain).collect();
    let is_first = layout.is_some_and(Layout::is_first);
    vec![
        ("position", show::count(event.position().get())),
        ("at offset", place),
        ("checksums", "sound".to_owned()),
        ("stream", show::plain(event.stream()).into_owned()),
        ("version", show::count(event.version().get())),
        ("type", show::plain(event.event_type()).into_owned()),
        ("id", event.id().to_string()),
        ("time", show::exact_time(event.time())),
        ("append", if is_first { "its first event" } else { "a later event of it" }.to_owned()),
        ("operation", event.operation().map_or_else(|| "none".to_owned(), |id| id.to_string())),
        ("tags", if tags.is_empty() { "none".to_owned() } else { tags.join(", ") }),
        ("metadata", content(event.metadata(), event.metadata_kind())),
        ("data", content(event.data(), event.data_kind())),
    ]
}
