//! Owns the walk over groups and events in the bytes of a chunk, with every check that they allow.
//! Pure: slices in, values out.
//!
//! Promises: what is reported as sound fits its checksums, its place, and what came before it. The
//! chaser, recovery, and verification share this walk, so that none of them accepts what another
//! refuses.

use crate::clock::Timestamp;
use crate::error::Damage;
use crate::format::checksum::ChunkSalt;
use crate::format::event::{self, EventFlaw, Layout};
use crate::format::group::{CheckedHeader, GroupFlaw, GroupHeader};
use crate::format::header::{ChainEnd, ChunkHeader};
use crate::format::{CHUNK_HEADER_SIZE, GROUP_HEADER_SIZE};
use crate::position::{ChunkNumber, Position, StreamVersion};

/// Where the next group of a chunk stands, and what it must fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) offset: u64,
    pub(crate) chain: u64,
    pub(crate) position: Position,
    pub(crate) time: Timestamp,
}

impl Cursor {
    /// Where the first group of a chunk stands.
    pub(crate) fn start(header: &ChunkHeader) -> Self {
        Self {
            offset: CHUNK_HEADER_SIZE,
            chain: header.previous.chain,
            position: header.first_position,
            time: Timestamp::default(),
        }
    }

    /// Where the group after this one stands.
    pub(crate) fn after(&self, group: &CheckedHeader) -> Self {
        Self {
            offset: self.offset + group.header.length(),
            chain: group.chain(),
            position: group.header.end_position(),
            time: group.header.time,
        }
    }

    /// This place as the end of a chunk's groups.
    pub(crate) fn end(&self) -> ChainEnd {
        ChainEnd { chain: self.chain, data_end: self.offset }
    }
}

/// Bytes that are no sound group of this place: which of its parts are, and what is wrong first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadGroup {
    pub(crate) header: bool,
    pub(crate) body: bool,
    pub(crate) what: &'static str,
    pub(crate) expected: String,
    pub(crate) found: String,
}

impl BadGroup {
    fn new(sound: (bool, bool), what: &'static str, expected: String, found: String) -> Self {
        Self { header: sound.0, body: sound.1, what, expected, found }
    }

    pub(crate) fn damage(self, chunk: ChunkNumber, offset: u64) -> Damage {
        Damage::new((chunk, offset), self.what, self.expected, self.found)
    }
}

/// Checks the group that `bytes`, read at the cursor, begin with: header, body, and their fit to
/// what came before.
pub(crate) fn check_group(
    bytes: &[u8],
    salt: ChunkSalt,
    at: &Cursor,
) -> Result<CheckedHeader, BadGroup> {
    let group = GroupHeader::decode(bytes, salt, at.offset).map_err(bad_header)?;
    let header = &group.header;
    let Some(body) = body_of(bytes, header) else {
        let (expected, found) = (header.length().to_string(), bytes.len().to_string());
        return Err(BadGroup::new((true, false), "group length", expected, found));
    };
    if let Err(expected) = group.check_body(body, salt, at.offset) {
        let (expected, found) = (hex32(expected), hex32(group.body_checksum));
        return Err(BadGroup::new((true, false), "group body checksum", expected, found));
    }
    check_fit(header, at)?;
    Ok(group)
}

/// Checks the group header that `bytes`, read at the cursor, begin with, and its fit to what came
/// before. Says nothing of the body.
pub(crate) fn check_header(
    bytes: &[u8],
    salt: ChunkSalt,
    at: &Cursor,
) -> Result<CheckedHeader, BadGroup> {
    let group = GroupHeader::decode(bytes, salt, at.offset).map_err(bad_header)?;
    check_fit(&group.header, at)?;
    Ok(group)
}

/// Checks that a group, sound in itself, continues what came before.
fn check_fit(header: &GroupHeader, at: &Cursor) -> Result<(), BadGroup> {
    let unfit = |what, expected: String, found: String| {
        Err(BadGroup::new((true, true), what, expected, found))
    };
    if header.previous_chain != at.chain {
        let hex = |chain| format!("{chain:#018x}");
        return unfit("chain value", hex(at.chain), hex(header.previous_chain));
    }
    if header.first_position != at.position {
        let (expected, found) = (at.position.to_string(), header.first_position.to_string());
        return unfit("first position of the group", expected, found);
    }
    if header.time < at.time {
        let (expected, found) = (at.time.as_nanos(), header.time.as_nanos());
        return unfit("time", format!("at least {expected} ns"), format!("{found} ns"));
    }
    Ok(())
}

/// The body of the group that `bytes` begin with, when they hold all of it.
pub(crate) fn body_of<'a>(bytes: &'a [u8], header: &GroupHeader) -> Option<&'a [u8]> {
    let length = usize::try_from(header.length()).ok()?;
    bytes.get(GROUP_HEADER_SIZE as usize..length)
}

fn bad_header(flaw: GroupFlaw) -> BadGroup {
    let (what, expected, found) = match flaw {
        GroupFlaw::Magic => ("group magic", "PGRP".to_owned(), "other bytes".to_owned()),
        GroupFlaw::Checksum { expected, found } => {
            ("group header checksum", hex32(expected), hex32(found))
        }
        GroupFlaw::Field(field) => (field, "a valid value".to_owned(), "another".to_owned()),
    };
    BadGroup::new((false, false), what, expected, found)
}

fn hex32(value: u32) -> String {
    format!("{value:#010x}")
}

/// One event of a checked group, as its bytes.
#[derive(Clone, Debug)]
pub(crate) struct ScannedEvent<'a> {
    /// Offset in the chunk's file.
    pub(crate) offset: u64,
    pub(crate) layout: Layout,
    bytes: &'a [u8],
}

impl<'a> ScannedEvent<'a> {
    pub(crate) fn version(&self) -> StreamVersion {
        event::version_of(self.bytes)
    }

    /// The bytes of the name of the stream, which are UTF-8.
    pub(crate) fn stream(&self) -> &'a [u8] {
        self.part(&self.layout.parts.stream)
    }

    /// The bytes of the type, which are UTF-8.
    pub(crate) fn event_type(&self) -> &'a [u8] {
        self.part(&self.layout.parts.event_type)
    }

    /// The tags in their stored form.
    pub(crate) fn tags(&self) -> &'a [u8] {
        self.part(&self.layout.parts.tags)
    }

    pub(crate) fn operation(&self) -> Option<uuid::Uuid> {
        self.layout.operation(self.bytes)
    }

    fn part(&self, part: &std::ops::Range<u32>) -> &'a [u8] {
        &self.bytes[part.start as usize..part.end as usize]
    }
}

/// Checks every event of a group whose header and body are sound and hands each to `visit`. The
/// group begins at `at`.
pub(crate) fn visit_events<'a>(
    body: &'a [u8],
    salt: ChunkSalt,
    at: &Cursor,
    header: &GroupHeader,
    visit: &mut dyn FnMut(ScannedEvent<'a>),
) -> Result<(), (u64, EventFlaw)> {
    let mut rest = body;
    let mut appends = 0;
    for ordinal in 0..u64::from(header.events) {
        let offset = at.offset + GROUP_HEADER_SIZE + (body.len() - rest.len()) as u64;
        let position = at.position.plus(ordinal);
        let flaw = |flaw| (offset, flaw);
        let layout = event::check_event(rest, salt, position).map_err(flaw)?;
        if event::time_of(rest) != header.time {
            return Err(flaw(EventFlaw::Field("time of the event")));
        }
        appends += u32::from(layout.is_first());
        let (bytes, behind) = rest.split_at(layout.padded_length());
        if ordinal == 0 && !layout.is_first() {
            return Err(flaw(EventFlaw::Field("first event of its append")));
        }
        visit(ScannedEvent { offset, layout, bytes });
        rest = behind;
    }
    if !rest.is_empty() || appends != header.appends {
        return Err((at.offset, EventFlaw::Field("number of events and appends")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::checksum::LogSalt;

    #[test]
    fn a_group_fits_one_past() {
        let salt = LogSalt::new(uuid::Uuid::from_u128(5)).chunk(ChunkNumber::new(1));
        let header = GroupHeader {
            previous_chain: 0xFEED,
            first_position: Position::new(10),
            durable_through: Position::new(7),
            time: Timestamp::from_nanos(99),
            body_length: 16,
            events: 2,
            appends: 1,
        };
        let mut bytes = vec![7; 80];
        header.close(&mut bytes, salt, 4096);
        let (position, time) = (header.first_position, Timestamp::from_nanos(98));
        let at = Cursor { offset: 4096, chain: 0xFEED, position, time };
        assert!(check_group(&bytes, salt, &at).is_ok());
        let what = |at: Cursor| check_group(&bytes, salt, &at).unwrap_err().what;
        assert_eq!(what(Cursor { chain: 0xFEEE, ..at }), "chain value");
        let next = Position::new(11);
        assert_eq!(what(Cursor { position: next, ..at }), "first position of the group");
        assert_eq!(what(Cursor { time: Timestamp::from_nanos(100), ..at }), "time");
        assert_eq!(check_group(&bytes[..79], salt, &at).unwrap_err().what, "group length");
    }
}
