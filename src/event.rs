//! Owns events: what a caller hands in ([`NewEvent`]), what it expects of a stream ([`Expected`]),
//! what it gets back ([`RecordedEvent`]).
//!
//! Promises: a recorded event is immutable, and its parts are slices of what was read, without a
//! copy. Limits are checked by the encoder, not here. Never touches files.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use uuid::Uuid;

use crate::clock::fresh_id;
use crate::position::{Position, StreamVersion};

/// An event that is to be appended: a type and data, and if wanted an id, metadata and tags.
///
/// ```
/// use paperchase::NewEvent;
/// let event = NewEvent::json("ItemAdded", br#"{"sku":1}"#).tag("warehouse:7");
/// assert_eq!(event.data(), br#"{"sku":1}"#);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    pub(crate) id: Uuid,
    pub(crate) event_type: Cow<'static, str>,
    pub(crate) data: Vec<u8>,
    pub(crate) metadata: Vec<u8>,
    pub(crate) tags: Vec<String>,
    pub(crate) data_kind: ContentKind,
    pub(crate) metadata_kind: ContentKind,
}

/// What kind of bytes a caller declares data or metadata to be. Declared, never checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ContentKind {
    /// Any bytes.
    #[default]
    Bytes,
    /// A JSON text.
    Json,
}

impl NewEvent {
    /// An event of this type with these bytes, a fresh time-ordered id, and nothing else.
    pub fn new(event_type: impl Into<Cow<'static, str>>, data: impl AsRef<[u8]>) -> Self {
        Self::with_id(fresh_id(), event_type, data)
    }

    /// An event with this id. Ids should be unique; nothing enforces it.
    pub fn with_id(
        id: Uuid,
        event_type: impl Into<Cow<'static, str>>,
        data: impl AsRef<[u8]>,
    ) -> Self {
        Self {
            id,
            event_type: event_type.into(),
            data: data.as_ref().to_vec(),
            metadata: Vec::new(),
            tags: Vec::new(),
            data_kind: ContentKind::Bytes,
            metadata_kind: ContentKind::Bytes,
        }
    }

    /// The same, with data that is declared to be a JSON text.
    pub fn json(event_type: impl Into<Cow<'static, str>>, data: impl AsRef<[u8]>) -> Self {
        Self::new(event_type, data).data_kind(ContentKind::Json)
    }

    /// Sets the id. Ids should be unique; nothing enforces it.
    #[must_use]
    pub fn id(mut self, id: Uuid) -> Self {
        self.id = id;
        self
    }

    /// Sets the metadata: bytes about the event that are not part of what happened.
    #[must_use]
    pub fn metadata(mut self, metadata: impl AsRef<[u8]>, kind: ContentKind) -> Self {
        self.metadata = metadata.as_ref().to_vec();
        self.metadata_kind = kind;
        self
    }

    /// Adds a tag, by which the event can be found.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Declares what kind of bytes the data are.
    #[must_use]
    pub fn data_kind(mut self, kind: ContentKind) -> Self {
        self.data_kind = kind;
        self
    }

    /// The id.
    #[must_use]
    pub fn event_id(&self) -> Uuid {
        self.id
    }

    /// The data.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.data
    }
}

/// The same event, to be appended once more: its id, type, data, metadata and tags. Stream,
/// position, version, time and operation are those of the append that stores it.
///
/// ```
/// use paperchase::{Expected, Log, NewEvent};
///
/// # let dir = tempfile::tempdir()?;
/// let log = Log::open(dir.path())?;
/// let added = NewEvent::json("ItemAdded", r#"{"sku":1}"#).tag("sku:1");
/// log.append("cart-7", Expected::Any, [added.clone()])?.wait()?;
/// for event in log.read_stream("cart-7", ..)? {
///     assert_eq!(NewEvent::from(&event?), added);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl From<&RecordedEvent> for NewEvent {
    fn from(event: &RecordedEvent) -> Self {
        Self {
            id: event.id(),
            event_type: event.event_type().to_owned().into(),
            data: event.data().to_vec(),
            metadata: event.metadata().to_vec(),
            tags: event.tags().map(str::to_owned).collect(),
            data_kind: event.data_kind(),
            metadata_kind: event.metadata_kind(),
        }
    }
}

/// What the caller of an append expects of the stream at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Nothing: append in any case.
    Any,
    /// The stream has no event.
    NoStream,
    /// The stream has at least one event.
    Exists,
    /// The stream's last event has this version.
    Exact(StreamVersion),
}

impl Expected {
    /// Whether a stream whose last event has version `head` (`None`: no event) is as expected.
    #[must_use]
    pub fn admits(self, head: Option<StreamVersion>) -> bool {
        match self {
            Self::Any => true,
            Self::NoStream => head.is_none(),
            Self::Exists => head.is_some(),
            Self::Exact(version) => head == Some(version),
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("anything"),
            Self::NoStream => f.write_str("no stream"),
            Self::Exists => f.write_str("an existing stream"),
            Self::Exact(version) => write!(f, "version {version}"),
        }
    }
}

/// An event as it stands in the log. Its parts are slices of the log's own bytes; a clone copies
/// none of them.
#[derive(Clone)]
pub struct RecordedEvent {
    pub(crate) position: Position,
    /// Its checked bytes, without the padding.
    pub(crate) record: Bytes,
    pub(crate) parts: Parts,
}

/// Where the parts of an event lie in its record. The names among them are checked to be UTF-8.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) stream: Range<u32>,
    pub(crate) event_type: Range<u32>,
    pub(crate) tags: Range<u32>,
    pub(crate) metadata: Range<u32>,
    pub(crate) data: Range<u32>,
}

impl RecordedEvent {
    /// Position in the log.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Name of the stream.
    #[must_use]
    pub fn stream(&self) -> &str {
        self.text(&self.parts.stream)
    }

    /// The type.
    #[must_use]
    pub fn event_type(&self) -> &str {
        self.text(&self.parts.event_type)
    }

    /// The data.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        self.part(&self.parts.data)
    }

    /// The data as a value that lives on its own, without a copy.
    #[must_use]
    pub fn data_bytes(&self) -> Bytes {
        self.record.slice(range(&self.parts.data))
    }

    /// The metadata.
    #[must_use]
    pub fn metadata(&self) -> &[u8] {
        self.part(&self.parts.metadata)
    }

    /// The metadata as a value that lives on its own, without a copy.
    #[must_use]
    pub fn metadata_bytes(&self) -> Bytes {
        self.record.slice(range(&self.parts.metadata))
    }

    /// The tags, in the order they were given.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        tags(self.part(&self.parts.tags))
    }

    fn part(&self, part: &Range<u32>) -> &[u8] {
        &self.record[range(part)]
    }

    fn text(&self, part: &Range<u32>) -> &str {
        std::str::from_utf8(self.part(part)).expect("names are checked when an event is decoded")
    }
}

fn range(part: &Range<u32>) -> Range<usize> {
    part.start as usize..part.end as usize
}

/// The tags in their stored form: each two bytes of length, then its bytes. Checked by the decoder.
pub(crate) fn tags(mut stored: &[u8]) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let (length, rest) = stored.split_first_chunk::<2>()?;
        let (tag, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        stored = rest;
        std::str::from_utf8(tag).ok()
    })
}

/// The category of a stream: the part of its name before the first `-`, or all of it where there is
/// none.
///
/// ```
/// assert_eq!(paperchase::category("cart-7"), "cart");
/// assert_eq!(paperchase::category("audit"), "audit");
/// ```
#[must_use]
pub fn category(stream: &str) -> &str {
    stream.split_once('-').map_or(stream, |(category, _)| category)
}

/// The bytes of the category of a stream whose name has these bytes.
pub(crate) fn category_of(stream: &[u8]) -> &[u8] {
    stream.split(|byte| *byte == b'-').next().unwrap_or(stream)
}

/// Category of the streams in which consumers keep their places.
pub(crate) const PLACES: &str = "$consumer";
/// Category of the streams in which each instance of a consumer says that it takes over.
pub(crate) const CLAIMS: &str = "$claim";

/// Whether an event is of those by which consumers keep their places.
pub(crate) fn keeps_a_place(event: &RecordedEvent) -> bool {
    matches!(category(event.stream()), PLACES | CLAIMS)
}

impl PartialEq for RecordedEvent {
    fn eq(&self, other: &Self) -> bool {
        self.position == other.position && self.record == other.record
    }
}

impl fmt::Debug for RecordedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordedEvent")
            .field("position", &self.position.get())
            .field("stream", &self.stream())
            .field("version", &self.version().get())
            .field("type", &self.event_type())
            .field("id", &self.id())
            .field("data_length", &self.data().len())
            .finish_non_exhaustive()
    }
}
