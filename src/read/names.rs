//! Owns the lists of names in a view: streams, categories, types and tags, with what is known of
//! each.
//!
//! Promises: counts and last positions of exactly what the view shows, sorted by name, each name
//! once. Reads indexes alone, those of all chunks; memory grows with the names that are asked for.

use std::collections::BTreeMap;

use super::View;
use crate::error::Result;
use crate::index::ChunkIndex;
use crate::index::key::KeyKind;
use crate::index::segments::Segment;
use crate::index::table::TableFlaw;
use crate::position::{Position, StreamVersion};

/// A stream in a view.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamInfo {
    /// Its name.
    pub name: String,
    /// Number of its events.
    pub events: u64,
    /// Version of its last event.
    pub version: StreamVersion,
    /// Position of its last event.
    pub last_position: Position,
}

/// A category, a type or a tag in a view.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NameInfo {
    /// The name.
    pub name: String,
    /// Number of events that have it.
    pub events: u64,
    /// Position of the last of them.
    pub last_position: Position,
}

/// What is known of a name, in one chunk or in all.
#[derive(Clone, Copy, Debug)]
struct Known {
    events: u64,
    /// Of a stream: version of its last event.
    version: StreamVersion,
    last_position: Position,
}

impl View {
    /// The streams whose names begin with `prefix`, sorted by name; all of them for `""`.
    ///
    /// # Errors
    /// Damage in the index of a chunk and in its events, of which it would be made again.
    pub fn streams(&self, prefix: &str) -> Result<Vec<StreamInfo>> {
        let streams = self.known(KeyKind::Stream, prefix)?.into_iter();
        Ok(streams
            .map(|(name, Known { events, version, last_position })| StreamInfo {
                name,
                events,
                version,
                last_position,
            })
            .collect())
    }

    /// The categories whose names begin with `prefix`, sorted by name; all of them for `""`.
    ///
    /// # Errors
    /// As [`View::streams`].
    pub fn categories(&self, prefix: &str) -> Result<Vec<NameInfo>> {
        self.names(KeyKind::Category, prefix)
    }

    /// The event types whose names begin with `prefix`, sorted by name; all of them for `""`.
    ///
    /// # Errors
    /// As [`View::streams`].
    pub fn types(&self, prefix: &str) -> Result<Vec<NameInfo>> {
        self.names(KeyKind::Type, prefix)
    }

    /// The tags that begin with `prefix`, sorted; all of them for `""`.
    ///
    /// ```
    /// # use paperchase::{Expected, Log, NewEvent};
    /// # let dir = tempfile::tempdir()?;
    /// # let log = Log::open(dir.path())?;
    /// let added = |sku| NewEvent::new("ItemAdded", "").tag(format!("sku:{sku}")).tag("new");
    /// log.append("cart-7", Expected::Any, [added(1), added(2), added(2)])?.wait()?;
    /// let skus = log.view().tags("sku:")?;
    /// let counts: Vec<_> = skus.iter().map(|tag| (tag.name.as_str(), tag.events)).collect();
    /// assert_eq!(counts, [("sku:1", 1), ("sku:2", 2)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`View::streams`].
    pub fn tags(&self, prefix: &str) -> Result<Vec<NameInfo>> {
        self.names(KeyKind::Tag, prefix)
    }

    fn names(&self, kind: KeyKind, prefix: &str) -> Result<Vec<NameInfo>> {
        let names = self.known(kind, prefix)?.into_iter();
        Ok(names
            .map(|(name, Known { events, last_position, .. })| NameInfo {
                name,
                events,
                last_position,
            })
            .collect())
    }

    fn known(&self, kind: KeyKind, prefix: &str) -> Result<BTreeMap<String, Known>> {
        let mut all: BTreeMap<String, Known> = BTreeMap::new();
        for segment in self.segments.iter() {
            let part = segment.ask(|index| self.known_in(segment, index, (kind, prefix)))?;
            for (name, known) in part {
                let total = all.entry(name).or_insert(Known { events: 0, ..known });
                *total = Known { events: total.events + known.events, ..known };
            }
        }
        Ok(all)
    }

    /// What one chunk knows.
    fn known_in(
        &self,
        segment: &Segment,
        index: &ChunkIndex,
        (kind, prefix): (KeyKind, &str),
    ) -> Result<Vec<(String, Known)>, TableFlaw> {
        let mut part = Vec::new();
        index.list(kind, segment.ordinal_of(self.end), |key| {
            if !key.name.starts_with(prefix.as_bytes()) {
                return;
            }
            let behind = key.first_version.get().saturating_add(u64::from(key.count));
            let known = Known {
                events: u64::from(key.count),
                version: StreamVersion::new(behind.saturating_sub(1)),
                last_position: segment.first_position().plus(key.last_ordinal.into()),
            };
            part.push((String::from_utf8_lossy(key.name).into_owned(), known));
        })?;
        Ok(part)
    }
}
