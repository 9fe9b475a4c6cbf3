//! Owns the bytes of one event: encoding on the client's thread, stamping on the writer's, decoding
//! with every check.
//!
//! Promises: an event is encoded once and copied once; the writer only stamps its fixed fields. A
//! decoded event has sound lengths, sound names and both its checksums. Never trusts a length
//! before the first checksum.

use bytes::Bytes;
use uuid::Uuid;

use super::checksum::{ChunkSalt, LogSalt};
use super::{Fields, pad};
use crate::clock::Timestamp;
use crate::error::AppendError;
use crate::event::{ContentKind, NewEvent, Parts, RecordedEvent, tags};
use crate::options::{EVENT_SIZE_MAX, STREAM_NAME_MAX, TAG_MAX, TAGS_MAX, TYPE_MAX};
use crate::position::{Position, StreamVersion};

/// Size of the fixed fields.
pub(crate) const FIXED_SIZE: usize = 56;
const SUMMED: std::ops::Range<usize> = 4..FIXED_SIZE;
const CONTENT: usize = 24;
const OPERATION_SIZE: usize = 16;
const FLAGS: usize = 39;
const ID: usize = 40;

const DATA_IS_JSON: u8 = 1;
const METADATA_IS_JSON: u8 = 2;
const FIRST_OF_APPEND: u8 = 4;
const HAS_OPERATION: u8 = 8;

/// Which part of its append an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The first event, with the operation id of the append if it has one.
    First(Option<Uuid>),
    /// A later event.
    Later,
}

/// Checks the limits of an event and appends its encoding to `out`, all but what the writer stamps.
pub(crate) fn encode(
    out: &mut Vec<u8>,
    salt: LogSalt,
    stream: &str,
    event: &NewEvent,
    place: Place,
) -> Result<(), AppendError> {
    let tags_length = check(stream, event)?;
    let (first, operation) = match place {
        Place::First(operation) => (FIRST_OF_APPEND, operation),
        Place::Later => (0, None),
    };
    let json = |kind, flag| if kind == ContentKind::Json { flag } else { 0 };
    let flags = first
        | json(event.data_kind, DATA_IS_JSON)
        | json(event.metadata_kind, METADATA_IS_JSON)
        | operation.map_or(0, |_| HAS_OPERATION);
    let start = out.len();
    let mut fixed = [0; FIXED_SIZE];
    fixed[24..28].copy_from_slice(&small::<4, _>(event.data.len(), u32::to_le_bytes));
    fixed[28..32].copy_from_slice(&small::<4, _>(event.metadata.len(), u32::to_le_bytes));
    fixed[32..34].copy_from_slice(&small::<2, _>(stream.len(), u16::to_le_bytes));
    fixed[34..36].copy_from_slice(&small::<2, _>(event.event_type.len(), u16::to_le_bytes));
    fixed[36..38].copy_from_slice(&small::<2, _>(tags_length, u16::to_le_bytes));
    fixed[38..39].copy_from_slice(&small::<1, _>(event.tags.len(), u8::to_le_bytes));
    fixed[FLAGS] = flags;
    fixed[ID..].copy_from_slice(event.id.as_bytes());
    out.extend_from_slice(&fixed);
    if let Some(operation) = operation {
        out.extend_from_slice(operation.as_bytes());
    }
    out.extend_from_slice(stream.as_bytes());
    out.extend_from_slice(event.event_type.as_bytes());
    for tag in &event.tags {
        out.extend_from_slice(&small::<2, _>(tag.len(), u16::to_le_bytes));
        out.extend_from_slice(tag.as_bytes());
    }
    out.extend_from_slice(&event.metadata);
    out.extend_from_slice(&event.data);
    let checksum = salt.content(&out[start + CONTENT..]);
    out[start + 4..start + 8].copy_from_slice(&checksum.to_le_bytes());
    let padded = start + padded(out.len() - start);
    out.resize(padded, 0);
    Ok(())
}

/// A length that `check` has found to fit its field.
fn small<const N: usize, T: TryFrom<usize>>(length: usize, bytes: fn(T) -> [u8; N]) -> [u8; N] {
    bytes(T::try_from(length).unwrap_or_else(|_| unreachable!("limits fit their fields")))
}

fn check(stream: &str, event: &NewEvent) -> Result<usize, AppendError> {
    check_stream(stream)?;
    bounded("the event's type", &event.event_type, TYPE_MAX)?;
    if event.tags.len() > TAGS_MAX {
        return Err(AppendError::Invalid { what: "an event", problem: "has more than 64 tags" });
    }
    let mut tags_length = 0;
    for tag in &event.tags {
        bounded("a tag", tag, TAG_MAX)?;
        tags_length += 2 + tag.len();
    }
    let lengths = [event.data.len(), event.metadata.len(), tags_length];
    let names = FIXED_SIZE + OPERATION_SIZE + stream.len() + event.event_type.len();
    let size = lengths.iter().fold(names, |sum, length| sum.saturating_add(*length));
    if size > EVENT_SIZE_MAX {
        let (size, max) = (size as u64, EVENT_SIZE_MAX as u64);
        return Err(AppendError::TooLarge { what: "the event", size, max });
    }
    Ok(tags_length)
}

/// Checks the limits of a stream's name.
pub(crate) fn check_stream(stream: &str) -> Result<(), AppendError> {
    bounded("the stream's name", stream, STREAM_NAME_MAX)
}

fn bounded(what: &'static str, name: &str, max: usize) -> Result<(), AppendError> {
    match name.len() {
        0 => Err(AppendError::Invalid { what, problem: "is empty" }),
        length if length > max => {
            Err(AppendError::TooLarge { what, size: length as u64, max: max as u64 })
        }
        _ => Ok(()),
    }
}

/// Completes one encoded event, at the start of `bytes`, with what the writer decides.
pub(crate) fn stamp(
    bytes: &mut [u8],
    salt: ChunkSalt,
    position: Position,
    version: StreamVersion,
    time: Timestamp,
) {
    bytes[8..16].copy_from_slice(&version.get().to_le_bytes());
    bytes[16..24].copy_from_slice(&time.as_nanos().to_le_bytes());
    let checksum = salt.at_position(position, &bytes[SUMMED]);
    bytes[..4].copy_from_slice(&checksum.to_le_bytes());
}

/// The fixed fields of an event, decoded from bytes whose checksum is not looked at.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) parts: Parts,
    pub(crate) tag_count: u8,
    flags: u8,
    /// Without the padding.
    pub(crate) length: usize,
}

impl Layout {
    /// Where the parts of the event at the start of `bytes` lie; `None` when they do not fit
    /// `bytes` or the limits.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let fields = Fields::of(bytes, FIXED_SIZE)?;
        let flags = fields.u8(FLAGS);
        let operation = if flags & HAS_OPERATION == 0 { 0 } else { OPERATION_SIZE };
        let mut end = FIXED_SIZE + operation;
        let mut part = |length: usize| {
            let start = end;
            end = end.checked_add(length).filter(|end| *end <= EVENT_SIZE_MAX)?;
            Some(u32::try_from(start).ok()?..u32::try_from(end).ok()?)
        };
        let parts = Parts {
            stream: part(fields.u16(32).into())?,
            event_type: part(fields.u16(34).into())?,
            tags: part(fields.u16(36).into())?,
            metadata: part(fields.u32(28) as usize)?,
            data: part(fields.u32(24) as usize)?,
        };
        (padded(end) <= bytes.len()).then_some(Self {
            parts,
            tag_count: fields.u8(38),
            flags,
            length: end,
        })
    }

    /// Length in the file, with the padding.
    pub(crate) fn padded_length(&self) -> usize {
        padded(self.length)
    }

    /// Whether this is the first event of its append.
    pub(crate) fn is_first(&self) -> bool {
        self.flags & FIRST_OF_APPEND != 0
    }

    /// The operation id in the bytes that this layout was made of.
    pub(crate) fn operation(&self, bytes: &[u8]) -> Option<Uuid> {
        operation_in(bytes, self.flags)
    }
}

/// The stream of an encoded event.
pub(crate) fn stream_of(encoded: &[u8]) -> &str {
    let stream = Layout::of(encoded).map(|layout| layout.parts.stream).unwrap_or_default();
    let stream = encoded.get(stream.start as usize..stream.end as usize).unwrap_or_default();
    std::str::from_utf8(stream).expect("encoded from a str")
}

/// Whether an encoded event has the id of a decoded one.
pub(crate) fn has_id_of(encoded: &[u8], event: &RecordedEvent) -> bool {
    id_of(encoded) == id_of(&event.record)
}

/// Whether an encoded event has the content of a decoded one: stream, type, tags, metadata, data
/// and their kinds.
pub(crate) fn has_content_of(encoded: &[u8], event: &RecordedEvent) -> bool {
    let Some(layout) = Layout::of(encoded) else { return false };
    let parts = |parts: &Parts| {
        [&parts.stream, &parts.event_type, &parts.tags, &parts.metadata, &parts.data]
            .map(|part| part.start as usize..part.end as usize)
    };
    let kinds = |flags: u8| flags & (DATA_IS_JSON | METADATA_IS_JSON);
    let mut pairs = parts(&layout.parts).into_iter().zip(parts(&event.parts));
    kinds(layout.flags) == kinds(event.record[FLAGS])
        && pairs.all(|(new, old)| encoded[new] == event.record[old])
}

/// Whether a decoded event is the first of its append.
pub(crate) fn is_first(event: &RecordedEvent) -> bool {
    event.record[FLAGS] & FIRST_OF_APPEND != 0
}

fn fixed(checked: &[u8]) -> Fields<'_> {
    Fields::of(checked, FIXED_SIZE).expect("the event was checked")
}

/// The version in the fixed fields of a checked event.
pub(crate) fn version_of(checked: &[u8]) -> StreamVersion {
    StreamVersion::new(fixed(checked).u64(8))
}

/// The time in the fixed fields of a checked event.
pub(crate) fn time_of(checked: &[u8]) -> Timestamp {
    Timestamp::from_nanos(fixed(checked).u64(16))
}

/// The id in the fixed fields of a checked event.
fn id_of(checked: &[u8]) -> Uuid {
    Uuid::from_bytes(fixed(checked).array(ID))
}

fn operation_in(bytes: &[u8], flags: u8) -> Option<Uuid> {
    let id = bytes.get(FIXED_SIZE..)?.first_chunk();
    id.filter(|_| flags & HAS_OPERATION != 0).map(|id| Uuid::from_bytes(*id))
}

fn kind(checked: &[u8], json: u8) -> ContentKind {
    if fixed(checked).u8(FLAGS) & json == 0 { ContentKind::Bytes } else { ContentKind::Json }
}

/// What the fixed fields say.
impl RecordedEvent {
    /// Version in the stream.
    #[must_use]
    pub fn version(&self) -> StreamVersion {
        version_of(&self.record)
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> Uuid {
        id_of(&self.record)
    }

    /// The operation id of the append whose first event this is, if it has one.
    #[must_use]
    pub fn operation(&self) -> Option<Uuid> {
        operation_in(&self.record, fixed(&self.record).u8(FLAGS))
    }

    /// When the event was stored. Never earlier than that of an event before it.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        time_of(&self.record)
    }

    /// What the data were declared to be.
    #[must_use]
    pub fn data_kind(&self) -> ContentKind {
        kind(&self.record, DATA_IS_JSON)
    }

    /// What the metadata were declared to be.
    #[must_use]
    pub fn metadata_kind(&self) -> ContentKind {
        kind(&self.record, METADATA_IS_JSON)
    }
}

/// What is wrong with the bytes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventFlaw {
    /// The checksum of the fixed fields, salted by the position, does not fit.
    Checksum { expected: u32, found: u32 },
    /// The checksum of the content does not fit.
    Content { expected: u32, found: u32 },
    /// Checksummed, but not what a writer writes.
    Field(&'static str),
}

impl EventFlaw {
    /// Name of what is wrong, what should stand there, and what does.
    pub(crate) fn describe(self) -> (&'static str, String, String) {
        let hex = |value: u32| format!("{value:#010x}");
        match self {
            Self::Checksum { expected, found } => ("event checksum", hex(expected), hex(found)),
            Self::Content { expected, found } => ("content checksum", hex(expected), hex(found)),
            Self::Field(field) => (field, "a valid value".to_owned(), "another".to_owned()),
        }
    }
}

/// Decodes the event at the start of `bytes`, which belongs to `position`. The result shares
/// `bytes`.
pub(crate) fn decode(
    bytes: &Bytes,
    salt: ChunkSalt,
    position: Position,
) -> Result<RecordedEvent, EventFlaw> {
    decode_at(bytes, 0, salt, position)
}

/// The same of the event at `start` of `window`, of which no other share is taken.
pub(crate) fn decode_at(
    window: &Bytes,
    start: usize,
    salt: ChunkSalt,
    position: Position,
) -> Result<RecordedEvent, EventFlaw> {
    let bytes = window.get(start..).unwrap_or_default();
    let layout = check_event(bytes, salt, position)?;
    let record = window.slice(start..start + layout.length);
    Ok(RecordedEvent { position, record, parts: layout.parts })
}

/// Checks everything about the event at the start of `bytes`, which belongs to `position`.
pub(crate) fn check_event(
    bytes: &[u8],
    salt: ChunkSalt,
    position: Position,
) -> Result<Layout, EventFlaw> {
    let fields = Fields::of(bytes, FIXED_SIZE).ok_or(EventFlaw::Field("length"))?;
    let (expected, found) = (salt.at_position(position, &bytes[SUMMED]), fields.u32(0));
    if expected != found {
        return Err(EventFlaw::Checksum { expected, found });
    }
    let layout = Layout::of(bytes).ok_or(EventFlaw::Field("length"))?;
    let content = &bytes[CONTENT..layout.length];
    let (expected, found) = (salt.log().content(content), fields.u32(4));
    if expected != found {
        return Err(EventFlaw::Content { expected, found });
    }
    check_names(bytes, &layout).map_err(EventFlaw::Field)?;
    Ok(layout)
}

fn check_names(bytes: &[u8], layout: &Layout) -> Result<(), &'static str> {
    let part = |part: &std::ops::Range<u32>| &bytes[part.start as usize..part.end as usize];
    let name = |name: &[u8], max| (1..=max).contains(&name.len()) && is_text(name);
    if !name(part(&layout.parts.stream), STREAM_NAME_MAX) {
        return Err("stream name");
    }
    if !name(part(&layout.parts.event_type), TYPE_MAX) {
        return Err("type");
    }
    let stored = part(&layout.parts.tags);
    let (count, length) = tags(stored)
        .filter(|tag| (1..=TAG_MAX).contains(&tag.len()))
        .fold((0, 0), |(count, length), tag| (count + 1, length + 2 + tag.len()));
    if count != usize::from(layout.tag_count) || length != stored.len() || count > TAGS_MAX {
        return Err("tags");
    }
    let known = DATA_IS_JSON | METADATA_IS_JSON | FIRST_OF_APPEND | HAS_OPERATION;
    // The operation id of an append stands in its first event alone.
    let is_misplaced = layout.flags & (HAS_OPERATION | FIRST_OF_APPEND) == HAS_OPERATION;
    if layout.flags & !known != 0 || is_misplaced {
        return Err("flags");
    }
    let padding = &bytes[layout.length..layout.padded_length()];
    super::is_zero(padding).then_some(()).ok_or("padding")
}

/// Whether bytes are UTF-8. Most names are ASCII, which is told several times as fast.
fn is_text(bytes: &[u8]) -> bool {
    bytes.is_ascii() || std::str::from_utf8(bytes).is_ok()
}

fn padded(length: usize) -> usize {
    pad(length as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_an_event_counts_all_its_parts() {
        let event = |length| {
            let event = NewEvent::new("Type", vec![0; length]).tag("tag");
            event.metadata("meta", ContentKind::Bytes)
        };
        let others = "stream".len() + "Type".len() + 2 + "tag".len() + "meta".len();
        let room = EVENT_SIZE_MAX - FIXED_SIZE - OPERATION_SIZE - others;
        assert_eq!(check("stream", &event(room)).unwrap(), 5);
        let refused = check("stream", &event(room + 1)).unwrap_err();
        let AppendError::TooLarge { size, max, .. } = refused else { panic!("{refused}") };
        assert_eq!((size, max), (EVENT_SIZE_MAX as u64 + 1, EVENT_SIZE_MAX as u64));
    }
}
