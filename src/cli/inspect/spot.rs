//! Owns the look at one byte of a chunk file: which structure covers it, whether that is sound,
//! what stands before and behind, and the bytes around.
//!
//! Promises: an answer for every byte of every file, however damaged. Trusts no length before its
//! checksum.

use std::fmt::Write;
use std::io;
use std::ops::Range;

use serde::Serialize;

use super::super::CliError;
use super::super::show::{self, Output};
use super::Chunk;
use super::survey::section_name;
use crate::format::checksum::crc;
use crate::format::event::{self, EventFlaw, Layout};
use crate::format::footer::FOOTER_SIZE;
use crate::format::group::CheckedHeader;
use crate::format::{CHUNK_HEADER_SIZE, Fields, GROUP_HEADER_SIZE};

/// Bytes that are shown before the place and from it on.
const BEFORE: u64 = 32;
const BEHIND: u64 = 96;

/// What stands at a byte of a chunk file.
#[derive(Debug, Serialize)]
pub(super) struct Spot {
    offset: u64,
    /// Name of the structure that covers the byte.
    structure: String,
    start: u64,
    end: u64,
    checksums: Vec<Checksum>,
    /// The event there, as far as it can be read.
    event: Option<EventFacts>,
    /// The last sound group before the structure, and the first behind it.
    before: Option<Neighbour>,
    behind: Option<Neighbour>,
    /// Whether the disk gave the bytes.
    readable: bool,
    hex: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Checksum {
    of: &'static str,
    /// What the bytes give.
    expected: String,
    /// What is stored.
    found: String,
    sound: bool,
}

#[derive(Debug, Serialize)]
struct EventFacts {
    position: u64,
    stream: Option<String>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    version: Option<u64>,
}

/// A sound group header near the place.
#[derive(Debug, Serialize)]
struct Neighbour {
    offset: u64,
    first_position: u64,
    end_position: u64,
    events: u32,
    time: String,
}

/// What covers a byte, before it is looked at closely.
enum Cover {
    Group {
        offset: u64,
        group: CheckedHeader,
    },
    /// No sound group header leads here.
    Nothing(Range<u64>),
}

impl Chunk {
    /// What stands at `offset`, which lies within the file.
    pub(super) fn spot(&mut self, offset: u64) -> io::Result<Spot> {
        let mut spot = self.structure(offset)?;
        let start = (offset & !15).saturating_sub(BEFORE);
        let bytes = self.pieces.bytes(start, BEFORE + BEHIND)?;
        spot.hex = rows(start, &bytes);
        spot.readable = !self.pieces.has_gap(&(spot.start..spot.end));
        Ok(spot)
    }

    fn structure(&mut self, offset: u64) -> io::Result<Spot> {
        let size = self.pieces.size;
        let footer = size.saturating_sub(FOOTER_SIZE).max(CHUNK_HEADER_SIZE);
        if offset < CHUNK_HEADER_SIZE {
            return self.page(offset, "chunk header", 0);
        }
        if !matches!(self.footer, Ok(None)) && offset >= footer {
            return self.page(offset, "footer", footer);
        }
        if let Ok(Some(footer)) = &self.footer {
            let mut sections = footer.sections.iter();
            let section = sections.find(|it| (it.offset..it.end()).contains(&offset)).copied();
            if let Some(section) = section {
                let name = format!("section of {}", section_name(&section));
                let bytes = self.pieces.bytes(section.offset, section.length)?;
                let given = self.salt.at_place(section.offset, &bytes);
                let mut spot = Spot::new(offset, name, section.offset..section.end());
                spot.checksums.push(Checksum::new("section", given, section.checksum));
                return Ok(spot);
            }
        }
        self.among_groups(offset)
    }

    /// A chunk header or a footer, which have one checksum.
    fn page(&mut self, offset: u64, name: &str, start: u64) -> io::Result<Spot> {
        let bytes = self.pieces.bytes(start, CHUNK_HEADER_SIZE)?;
        let mut spot = Spot::new(offset, name.to_owned(), start..start + bytes.len() as u64);
        if let Some(fields) = Fields::of(&bytes, 16) {
            let given = crc(crc(0, &bytes[..12]), &bytes[16..]);
            spot.checksums.push(Checksum::new("whole of it", given, fields.u32(12)));
        }
        if start == 0 {
            let first = self.pieces.resume(self.salt, CHUNK_HEADER_SIZE, self.pieces.size)?;
            spot.behind = self.neighbour(first.map(|group| group.offset))?;
        }
        Ok(spot)
    }

    fn among_groups(&mut self, offset: u64) -> io::Result<Spot> {
        let (before, cover) = self.cover(offset)?;
        let mut spot = match cover {
            Cover::Group { offset: start, group } => self.group(offset, start, &group)?,
            Cover::Nothing(range) => {
                let is_zero = self.pieces.is_zero(range.clone())?;
                let name = match is_zero {
                    true => "zeros: nothing was written here",
                    false if offset < range.start + GROUP_HEADER_SIZE => {
                        "where a group header should stand"
                    }
                    false => "bytes that no sound group header leads to",
                };
                let mut spot = Spot::new(offset, name.to_owned(), range.clone());
                let head = self.pieces.bytes(range.start, GROUP_HEADER_SIZE)?;
                if let Some(fields) = Fields::of(&head, GROUP_HEADER_SIZE as usize)
                    && !is_zero
                {
                    let given = self.salt.at_place(range.start, &head[8..]);
                    spot.checksums.push(Checksum::new("group header", given, fields.u32(4)));
                }
                spot
            }
        };
        spot.before = self.neighbour(before)?;
        let next = self.pieces.resume(self.salt, spot.group_end(), self.pieces.size)?;
        spot.behind = self.neighbour(next.map(|group| group.offset))?;
        Ok(spot)
    }

    /// The last sound group before the structure at `offset`, and what covers that.
    fn cover(&mut self, offset: u64) -> io::Result<(Option<u64>, Cover)> {
        let (mut before, mut at) = (None, CHUNK_HEADER_SIZE);
        let size = self.pieces.size;
        loop {
            match self.pieces.header(self.salt, at)? {
                Some(group) if offset < at + group.header.length() => {
                    return Ok((before, Cover::Group { offset: at, group }));
                }
                Some(group) => {
                    before = Some(at);
                    at += group.header.length();
                }
                None => {
                    let next = self.pieces.resume(self.salt, at + 8, size)?;
                    let end = next.map_or(size, |next| next.offset);
                    if offset < end || end == size {
                        let start = at.min(offset);
                        return Ok((before, Cover::Nothing(start..end)));
                    }
                    at = end;
                }
            }
        }
    }

    fn group(&mut self, offset: u64, start: u64, group: &CheckedHeader) -> io::Result<Spot> {
        let header = &group.header;
        let body_start = start + GROUP_HEADER_SIZE;
        let head = self.pieces.bytes(start, GROUP_HEADER_SIZE)?;
        let body = self.pieces.bytes(body_start, header.body_length.into())?;
        let range = start..start + header.length();
        let mut spot = Spot::new(offset, "group header".to_owned(), range.start..body_start);
        let given = self.salt.at_place(start, &head[8..]);
        spot.checksums.push(Checksum::new("group header", given, group.checksum));
        let given = self.salt.at_place(start, &body);
        spot.checksums.push(Checksum::new("group body", given, group.body_checksum));
        if offset < body_start {
            return Ok(spot);
        }
        let mut at = 0;
        for number in 0..header.events {
            let position = header.first_position.plus(number.into());
            let rest = body.get(at..).unwrap_or_default();
            let checked = event::check_event(rest, self.salt, position);
            let layout = match checked {
                Err(EventFlaw::Checksum { .. }) => None,
                _ => Layout::of(rest),
            };
            let length = layout.as_ref().map_or(rest.len(), Layout::padded_length);
            let end = body_start + (at + length) as u64;
            if offset < end || layout.is_none() {
                spot.structure = format!(
                    "event {} of {} in the group at {}",
                    number + 1,
                    header.events,
                    show::count(start)
                );
                if layout.is_none() && rest.len() > event::FIXED_SIZE {
                    spot.structure.push_str(", or one behind it: its length is not known");
                }
                (spot.start, spot.end) = (body_start + at as u64, end);
                spot.event(rest, position, layout.as_ref(), self);
                return Ok(spot);
            }
            at += length;
        }
        spot.structure = format!("behind the events of the group at {}", show::count(start));
        (spot.start, spot.end) = (body_start + at as u64, range.end);
        Ok(spot)
    }

    fn neighbour(&mut self, offset: Option<u64>) -> io::Result<Option<Neighbour>> {
        let Some(offset) = offset else { return Ok(None) };
        Ok(self.pieces.header(self.salt, offset)?.map(|group| Neighbour {
            offset,
            first_position: group.header.first_position.get(),
            end_position: group.header.end_position().get(),
            events: group.header.events,
            time: show::time(group.header.time),
        }))
    }
}

impl Checksum {
    fn new(of: &'static str, expected: u32, found: u32) -> Self {
        let sound = expected == found;
        let [expected, found] = [expected, found].map(|value| format!("{value:#010x}"));
        Self { of, expected, found, sound }
    }
}

impl Spot {
    fn new(offset: u64, structure: String, range: Range<u64>) -> Self {
        Self {
            offset,
            structure,
            start: range.start,
            end: range.end,
            checksums: Vec::new(),
            event: None,
            before: None,
            behind: None,
            readable: true,
            hex: Vec::new(),
        }
    }

    /// Where groups behind this structure begin at the earliest.
    fn group_end(&self) -> u64 {
        self.end.max(self.start + 8)
    }

    /// Takes what the bytes of an event say, sound or not.
    fn event(
        &mut self,
        bytes: &[u8],
        position: crate::Position,
        layout: Option<&Layout>,
        chunk: &Chunk,
    ) {
        if let Some(fields) = Fields::of(bytes, event::FIXED_SIZE) {
            let given = chunk.salt.at_position(position, &bytes[4..event::FIXED_SIZE]);
            self.checksums.push(Checksum::new("event", given, fields.u32(0)));
            if let Some(content) = layout.and_then(|layout| bytes.get(24..layout.length)) {
                let given = chunk.salt.log().content(content);
                self.checksums.push(Checksum::new("event content", given, fields.u32(4)));
            }
        }
        let part = |range: &Range<u32>| {
            let bytes = bytes.get(range.start as usize..range.end as usize)?;
            Some(show::plain(&String::from_utf8_lossy(bytes)).into_owned())
        };
        self.event = Some(EventFacts {
            position: position.get(),
            stream: layout.and_then(|layout| part(&layout.parts.stream)),
            event_type: layout.and_then(|layout| part(&layout.parts.event_type)),
            version: layout.map(|_| event::version_of(bytes).get()),
        });
    }

    /// Whether nothing there is damaged.
    pub(super) fn is_sound(&self) -> bool {
        let is_known = !self.checksums.is_empty() || self.structure.starts_with("zeros");
        self.readable && is_known && self.checksums.iter().all(|checksum| checksum.sound)
    }

    pub(super) fn print(&self, output: &mut Output) -> Result<(), CliError> {
        output.line(format_args!(
            "  in: {}, offsets {} to {}",
            self.structure,
            show::count(self.start),
            show::count(self.end)
        ))?;
        if !self.readable {
            output.line("  the disk does not give all of these bytes; those are shown as zeros")?;
        }
        for checksum in &self.checksums {
            let Checksum { of, expected, found, sound } = checksum;
            output.line(match sound {
                true => format!("  checksum of the {of}: {found}, sound"),
                false => {
                    format!("  checksum of the {of}: the bytes give {expected}, stored is {found}")
                }
            })?;
        }
        if let Some(event) = &self.event {
            let unknown = || "unknown".to_owned();
            output.line(format_args!(
                "  event: position {}, stream {}, version {}, type {}",
                show::count(event.position),
                event.stream.clone().unwrap_or_else(unknown),
                event.version.map_or_else(unknown, show::count),
                event.event_type.clone().unwrap_or_else(unknown)
            ))?;
        }
        for (name, neighbour) in [("before", &self.before), ("behind", &self.behind)] {
            output.line(match neighbour {
                None => format!("  no sound group {name}"),
                Some(group) => format!(
                    "  sound group {name}: at {}, {} from position {}, {}",
                    show::count(group.offset),
                    show::counted(group.events.into(), "event"),
                    show::count(group.first_position),
                    group.time
                ),
            })?;
        }
        print_rows(&self.hex, output)
    }
}

/// Prints a dump of bytes.
pub(super) fn print_rows(rows: &[String], output: &mut Output) -> Result<(), CliError> {
    rows.iter().try_for_each(|row| output.line(row))
}

/// Sixteen bytes a line: place in the file, hexadecimal, and the printable characters of ASCII.
pub(super) fn rows(offset: u64, bytes: &[u8]) -> Vec<String> {
    let row = |(index, row): (usize, &[u8])| {
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
        line
    };
    bytes.chunks(16).enumerate().map(row).collect()
}
