//! Owns the account of what a cut takes out of the log: by position, and by stream with versions,
//! as far as that can be known.
//!
//! Promises: an event is either counted as salvaged, and then its own checksums prove it, or named
//! as gone. Of one that is gone, the index of its chunk may still tell the stream and the version.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use super::super::walk::Pieces;
use super::plan::{Plan, Source};
use super::salvage;
use super::survey::{self, Survey};
use crate::disk::Disk;
use crate::index::key::KeyKind;
use crate::index::table::Table;
use crate::position::Position;

/// Most positions whose stream is looked up.
const NAMED_MAX: usize = 1000;

/// What leaves the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Losses {
    /// Events that are sound, and so can be salvaged.
    pub(super) salvaged: u64,
    /// Per stream, the salvaged events: number, first and last version.
    pub(super) streams: BTreeMap<String, (u64, u64, u64)>,
    /// Positions whose events cannot be read.
    pub(super) gone: Vec<Range<Position>>,
    /// Of those, the ones whose stream and version an index tells.
    pub(super) named: BTreeMap<Position, (String, u64)>,
}

impl Losses {
    pub(super) fn of(disk: &dyn Disk, survey: &Survey, plan: &Plan) -> io::Result<Self> {
        let mut losses = Self::default();
        let (Some(loss), Some(log)) = (plan.loss, survey.log) else { return Ok(losses) };
        let mut next = loss.from;
        salvage::events::<io::Error>(disk, log, &plan.sources, &mut |event| {
            if event.position() > next {
                losses.gone.push(next..event.position());
            }
            next = event.position().plus(1);
            losses.salvaged += 1;
            let version = event.version().get();
            let stream = losses.streams.entry(event.stream().to_owned());
            let known = stream.or_insert((0, version, version));
            *known = (known.0 + 1, known.1.min(version), known.2.max(version));
            Ok(())
        })?;
        if loss.known > next {
            losses.gone.push(next..loss.known);
        }
        for source in &plan.sources {
            // An index that cannot be read tells nothing.
            let _ = losses.name(disk, survey, source);
        }
        Ok(losses)
    }

    /// Asks the index of a sealed chunk which streams the events that are gone belong to.
    fn name(&mut self, disk: &dyn Disk, survey: &Survey, source: &Source) -> io::Result<()> {
        let Some(facts) = survey.files.get(&source.file) else { return Ok(()) };
        let Some(footer) = facts.footer.as_ref().filter(|_| !facts.is_index_damaged) else {
            return Ok(());
        };
        let chunk = footer.first_position..footer.end_position();
        let gone = self.gone.iter().flat_map(|range| {
            let start = range.start.max(chunk.start).get();
            (start..range.end.min(chunk.end).get().max(start)).map(Position::new)
        });
        let gone: Vec<_> = gone.take(NAMED_MAX).collect();
        if gone.is_empty() {
            return Ok(());
        }
        let file = Pieces::new(survey::open(disk, source.file)?)?.mapped()?;
        let Ok(table) = Table::open(&file, footer) else { return Ok(()) };
        let Ok(keys) = table.keys(KeyKind::Stream) else { return Ok(()) };
        for (name, found) in keys.flatten() {
            let (postings, _) = found.postings.as_chunks();
            for (place, posting) in (0..).zip(postings) {
                let ordinal = u32::from_le_bytes(*posting);
                let position = footer.first_position.plus(ordinal.into());
                if gone.binary_search(&position).is_ok() {
                    let version = found.first_version.get().saturating_add(place);
                    let stream = String::from_utf8_lossy(name).into_owned();
                    self.named.insert(position, (stream, version));
                }
            }
        }
        Ok(())
    }

    /// How many events are gone, as far as their number is known.
    pub(super) fn gone_count(&self) -> u64 {
        self.gone.iter().map(|range| range.end.since(range.start)).sum()
    }
}

/// Ranges of positions in words.
pub(super) fn ranges(ranges: &[Range<Position>]) -> String {
    let range = |range: &Range<Position>| match range.end.since(range.start) {
        1 => format!("position {}", range.start),
        _ => format!("positions {} to {}", range.start, range.end.get() - 1),
    };
    let mut text: Vec<_> = ranges.iter().take(20).map(range).collect();
    if ranges.len() > text.len() {
        text.push(format!("and {} more ranges", ranges.len() - text.len()));
    }
    text.join(", ")
}
