//! Owns what a verification says at its end, to people and to programs.

use std::time::Duration;

use serde::Serialize;

use super::super::CliError;
use super::super::show::{self, Output};
use super::super::walk::Finding;
use super::Check;
use super::told::{Counts, Found, Told};

/// Most places of damage that are listed for people.
const LINES_MAX: usize = 100;

#[derive(Serialize)]
pub(super) struct Report<'a> {
    sound: bool,
    damage_count: u64,
    chunks: u64,
    sealed_chunks: u64,
    groups: u64,
    events: u64,
    /// Events that damage hides, as far as their number is known.
    uncounted_events: u64,
    streams: u64,
    bytes: u64,
    seconds: f64,
    /// Beside a writer: the position before which everything was checked.
    checked_below: Option<u64>,
    /// Of a chunk file alone: its number.
    chunk: Option<u64>,
    /// Of a chunk file alone: what only other files can tell.
    not_checked: &'a [String],
    damage: Vec<Place<'a>>,
    notes: &'a [String],
    #[serde(skip)]
    took: Duration,
}

#[derive(Serialize)]
struct Place<'a> {
    chunk: u64,
    offset: u64,
    what: &'a str,
    expected: &'a str,
    found: &'a str,
    /// Of the event or group that is damaged.
    position: Option<u64>,
    #[serde(skip)]
    finding: &'a Finding,
}

impl<'a> Report<'a> {
    pub(super) fn of(check: &'a Check, took: Duration) -> Self {
        let streams = check.versions.count() as u64;
        let (damage, counts) = (&check.damage, &check.counts);
        let checked_below = check.known.limit.map(crate::Position::get);
        Self { checked_below, ..Self::new(damage, &check.notes, counts, streams, took) }
    }

    /// Of a chunk file alone.
    pub(super) fn alone(
        told: &'a Told,
        streams: u64,
        not_checked: &'a [String],
        took: Duration,
    ) -> Self {
        let report = Self::new(&told.damage, &told.notes, &told.counts, streams, took);
        Self { chunk: Some(told.number.get()), not_checked, ..report }
    }

    fn new(
        found: &'a Found,
        notes: &'a [String],
        counts: &Counts,
        streams: u64,
        took: Duration,
    ) -> Self {
        let place = |finding: &'a Finding| Place {
            chunk: finding.damage.chunk.get(),
            offset: finding.damage.offset,
            what: finding.damage.what,
            expected: &finding.damage.expected,
            found: &finding.damage.found,
            position: finding.position.map(crate::Position::get),
            finding,
        };
        Self {
            sound: found.count == 0,
            damage_count: found.count,
            chunks: counts.chunks,
            sealed_chunks: counts.sealed,
            groups: counts.groups,
            events: counts.events,
            uncounted_events: counts.uncounted,
            streams,
            bytes: counts.bytes,
            seconds: took.as_secs_f64(),
            checked_below: None,
            chunk: None,
            not_checked: &[],
            damage: found.places.iter().map(place).collect(),
            notes,
            took,
        }
    }

    pub(super) fn print(&self, json: bool) -> Result<(), CliError> {
        let mut output = Output::new();
        if json {
            output.json(self)?;
        } else {
            self.lines(&mut output)?;
        }
        output.finish()
    }

    fn lines(&self, output: &mut Output) -> Result<(), CliError> {
        for place in self.damage.iter().take(LINES_MAX) {
            output.line(format_args!("damage: {}", place.finding))?;
        }
        if self.damage_count > LINES_MAX as u64 {
            let more = show::count(self.damage_count - LINES_MAX as u64);
            output.line(format_args!("damage: {more} more places; --json lists up to 10,000"))?;
        }
        for note in self.notes {
            output.line(format_args!("note: {note}"))?;
        }
        for what in self.not_checked {
            output.line(format_args!("not checked: {what}"))?;
        }
        output.line(format_args!(
            "checked {} ({} sealed), {}, {}, {}, {} in {} ({}/s)",
            show::counted(self.chunks, "chunk"),
            show::count(self.sealed_chunks),
            show::counted(self.groups, "group"),
            show::counted(self.events, "event"),
            show::counted(self.streams, "stream"),
            show::size(self.bytes),
            show::seconds(self.took),
            show::size(show::rate(self.bytes, self.took))
        ))?;
        if let Some(end) = self.checked_below {
            output.line(format_args!(
                "a writer has the log open: checked what was durable, up to position {}",
                show::count(end)
            ))?;
        }
        let what = if self.chunk.is_some() { "the chunk" } else { "the log" };
        output.line(match self.damage_count {
            0 => format!("{what} is sound"),
            count => format!("{what} is DAMAGED: {}", show::counted(count, "place")),
        })
    }
}
