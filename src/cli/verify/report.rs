//! Owns what a verification says at its end, to people and to programs.

use std::time::Duration;

use serde::Serialize;

use super::super::CliError;
use super::super::show::{self, Output};
use super::super::walk::Finding;
use super::Check;

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
    streams: usize,
    bytes: u64,
    seconds: f64,
    /// Beside a writer: the position before which everything was checked.
    checked_below: Option<u64>,
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
            sound: check.damage_count == 0,
            damage_count: check.damage_count,
            chunks: check.chunks,
            sealed_chunks: check.sealed,
            groups: check.groups,
            events: check.events,
            uncounted_events: check.uncounted,
            streams: check.versions.count(),
            bytes: check.bytes,
            seconds: took.as_secs_f64(),
            checked_below: check.limit.map(crate::Position::get),
            damage: check.damage.iter().map(place).collect(),
            notes: &check.notes,
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
        output.line(format_args!(
            "checked {} ({} sealed), {}, {}, {}, {} in {}",
            show::counted(self.chunks, "chunk"),
            show::count(self.sealed_chunks),
            show::counted(self.groups, "group"),
            show::counted(self.events, "event"),
            show::counted(self.streams as u64, "stream"),
            show::size(self.bytes),
            show::seconds(self.took)
        ))?;
        if let Some(end) = self.checked_below {
            output.line(format_args!(
                "a writer has the log open: checked what was durable, up to position {}",
                show::count(end)
            ))?;
        }
        output.line(match self.damage_count {
            0 => "the log is sound".to_owned(),
            count => format!("the log is DAMAGED: {}", show::counted(count, "place")),
        })
    }
}
