//! Owns the view of one event in a chunk file: its fields, its checksums, its bytes.
//!
//! Promises: finds the event by group headers alone, so damage elsewhere does not hide it.

use std::fmt::Write;
use std::io;

use bytes::Bytes;

use super::super::show::{self, Output};
use super::super::{CliError, walk};
use super::Chunk;
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

/// Prints the event at `position`. Whether it is sound.
pub(super) fn show(
    chunk: &mut Chunk,
    position: Position,
    hex: bool,
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
    if hex {
        let length = Layout::of(&bytes).map_or(event::FIXED_SIZE, |layout| layout.padded_length());
        output.line("")?;
        dump(place, &bytes[..length.min(bytes.len())], output)?;
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

/// Sixteen bytes a line: place in the file, hexadecimal, and the printable characters of ASCII.
fn dump(offset: u64, bytes: &[u8], output: &mut Output) -> Result<(), CliError> {
    for (index, row) in bytes.chunks(16).enumerate() {
        let mut line = format!("{:08x} ", offset + 16 * index as u64);
        for column in 0..16 {
            let gap = if column == 8 { "  " } else { " " };
            let _ = match row.get(column) {
                Some(byte) => write!(line, "{gap}{byte:02x}"),
                None => write!(line, "{gap}  "),
            };
        }
        line.push_str("  ");
        line.extend(row.iter().map(|byte| match byte {
            b' '..=b'~' => char::from(*byte),
            _ => '.',
        }));
        output.line(line)?;
    }
    Ok(())
}
