//! Owns the verb `verify`: every byte of a log against every promise of the format.
//!
//! Promises: changes nothing, finds all damage and not only the first, and tells damage from the
//! torn end of a write that was never acked, by the rule that recovery goes by (R6). Beside a
//! writer it checks what is durable.

mod chunk;
mod report;
mod sealed;
mod streams;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use indicatif::ProgressBar;
use uuid::Uuid;

use super::files::{Files, Writer};
use super::open::State;
use super::{CliError, Outcome, open, show};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::error::Damage;
use crate::format::header::ChainEnd;
use crate::format::hint::Hint;
use crate::position::{ChunkNumber, Position};

use chunk::Next;
use report::Report;
use streams::Versions;

/// Most places of damage that are kept; more are counted.
const DAMAGE_MAX: usize = 10_000;

/// Check every checksum, chain, index and footer of a log
///
/// Changes nothing. Lists all damage and exits with 1 where there is any. The torn end of a write
/// that was never acked is no damage: the next open of the log takes it out and keeps it aside.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paperchase verify data
  paperchase verify data --json | jq '.damage[]'")]
pub(super) struct Args {
    /// Directory of the log
    dir: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<Outcome, CliError> {
    let files = Files::of(&args.dir)?;
    let clock = SystemClock::default();
    let started = clock.monotonic();
    let bar = show::progress(Some(0));
    let mut check = Check::new(&files, bar);
    // The hint comes first: it may only grow while a writer goes on, and must not be ahead of what
    // is seen after it.
    let writer = open::writer(&files);
    check.hint = files.hint();
    if let Writer::Process(pid) = writer {
        let view = open::view(&args.dir, State::Open(pid))
            .map_err(|error| CliError::open(&files.place, &error))?;
        check.limit = Some(view.end());
    }
    // The list of chunks comes last, so that it holds all that the snapshot may need.
    let files = Files::of(&args.dir)?;
    check.all(&files)?;
    check.bar.finish_and_clear();
    let took = clock.monotonic().saturating_sub(started);
    Report::of(&check, took).print(args.json)?;
    Ok(if check.damage_count == 0 { Outcome::Good } else { Outcome::Damage })
}

/// The state of a verification.
#[derive(Debug)]
struct Check {
    log: Option<Uuid>,
    hint: Option<Hint>,
    /// Beside a writer: the end of what is checked.
    limit: Option<Position>,
    /// How the next chunk must continue; `None` where damage has hidden it.
    before: Option<Before>,
    /// All events below were durable, as far as the groups say.
    durable: Position,
    versions: Versions,
    damage: Vec<Damage>,
    damage_count: u64,
    notes: Vec<String>,
    chunks: u64,
    sealed: u64,
    groups: u64,
    events: u64,
    bytes: u64,
    bar: ProgressBar,
}

/// The end of the chunk before.
#[derive(Clone, Copy, Debug)]
struct Before {
    end: ChainEnd,
    position: Position,
    time: Timestamp,
}

impl Check {
    fn new(files: &Files, bar: ProgressBar) -> Self {
        Self {
            log: files.chunks.iter().find_map(|number| files.header(*number)).map(|head| head.log),
            hint: None,
            limit: None,
            before: None,
            durable: Position::START,
            versions: Versions::default(),
            damage: Vec::new(),
            damage_count: 0,
            notes: Vec::new(),
            chunks: 0,
            sealed: 0,
            groups: 0,
            events: 0,
            bytes: 0,
            bar,
        }
    }

    fn all(&mut self, files: &Files) -> Result<(), CliError> {
        let start = Before {
            end: ChainEnd::default(),
            position: Position::START,
            time: Timestamp::default(),
        };
        self.before = Some(start);
        self.find_missing(files);
        let mut chunks = &files.chunks[..];
        if let [rest @ .., last] = chunks
            && files.is_blank(*last)
        {
            // The file that lies ready for the next chunk.
            chunks = rest;
        }
        let mut expected = ChunkNumber::FIRST;
        for (index, number) in chunks.iter().enumerate() {
            if *number != expected {
                self.before = None;
                self.versions.lose();
            }
            expected = number.next();
            let header = chunks.get(index + 1).map(|next| files.header(*next));
            let next = match &header {
                None => Next::Nothing,
                Some(Some(header)) if header.number == expected => Next::Chunk(header),
                Some(_) => Next::Damaged,
            };
            self.chunk(files, *number, next)?;
        }
        self.end(files);
        Ok(())
    }

    /// Names the chunks that have no file though one behind them has.
    fn find_missing(&mut self, files: &Files) {
        let mut missing = Vec::new();
        let mut expected = ChunkNumber::FIRST;
        let hinted = self.hint.map(|hint| hint.chunk);
        for number in files.chunks.iter().copied().chain(hinted.map(ChunkNumber::next)) {
            while expected < number && missing.len() < DAMAGE_MAX {
                missing.push(expected);
                expected = expected.next();
            }
            expected = expected.max(number.next());
        }
        for number in missing {
            self.damaged(Damage::new((number, 0), "chunk file", "present", "missing"));
        }
    }

    /// Compares the end of the log with what is known of it otherwise.
    fn end(&mut self, files: &Files) {
        let Some(before) = self.before else { return };
        if let Some(hint) = self.hint.filter(|hint| hint.durable_through > before.position) {
            let place = (hint.chunk, hint.end.data_end);
            let expected =
                format!("events up to position {} (from the hint)", hint.durable_through);
            let found = format!("the end of the log at {}", before.position);
            self.damaged(Damage::new(place, "durable events", expected, found));
        }
        let kept = files.names.iter().filter(|name| name.starts_with("lost-"));
        for name in kept {
            self.notes.push(format!("{name} keeps bytes that an earlier recovery took out"));
        }
    }

    fn damaged(&mut self, damage: Damage) {
        self.damage_count += 1;
        if self.damage.len() < DAMAGE_MAX {
            self.damage.push(damage);
        }
    }
}
