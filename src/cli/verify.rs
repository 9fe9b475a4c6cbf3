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

use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use uuid::Uuid;

use super::files::{Files, Writer};
use super::open::State;
use super::walk::Finding;
use super::{CliError, Outcome, failure, open, show};
use crate::chunk::file_name;
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
    let clock = SystemClock::default();
    let started = clock.monotonic();
    let files = Files::of(&args.dir)?;
    let writer = open::writer(&files);
    let check = look(&args.dir, &files, writer)?;
    let took = clock.monotonic().saturating_sub(started);
    Report::of(&check, took).print(args.json)?;
    if check.damage_count == 0 {
        return Ok(Outcome::Good);
    }
    let place = failure::quoted(&files.place);
    failure::hint(format_args!(
        "`paperchase repair {place}` shows what can be done; it changes nothing by itself"
    ));
    Ok(Outcome::Damage)
}

/// The damage in a log, and how many places there are in all.
pub(super) fn damage(
    dir: &Path,
    files: &Files,
    writer: Writer,
) -> Result<(Vec<Finding>, u64), CliError> {
    look(dir, files, writer).map(|check| (check.damage, check.damage_count))
}

/// Verifies a log that somebody or nobody writes. `files` were read before that was asked.
fn look(dir: &Path, files: &Files, writer: Writer) -> Result<Check, CliError> {
    if files.hint().is_none() && files.chunks.iter().all(|number| files.is_blank(*number)) {
        return Err(failure::missing(&files.place));
    }
    if let Some((file, version)) = files.newer() {
        return Err(failure::newer(&files.place, &file, version));
    }
    let mut check = Check::new(files, show::progress(Some(0)));
    // The hint comes first: it may only grow while a writer goes on, and must not be ahead of what
    // is seen after it.
    check.hint = files.hint();
    if let Writer::Process(pid) = writer {
        let view = open::view(dir, State::Open(pid))
            .map_err(|error| CliError::open(&files.place, &error))?;
        check.limit = Some(view.end());
    }
    // The list of chunks comes last, so that it holds all that the snapshot may need.
    let files = Files::of(dir)?;
    check.all(&files)?;
    check.bar.finish_and_clear();
    Ok(check)
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
    damage: Vec<Finding>,
    damage_count: u64,
    notes: Vec<String>,
    chunks: u64,
    sealed: u64,
    groups: u64,
    events: u64,
    /// Events that damage hides, as far as their number is known.
    uncounted: u64,
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
            uncounted: 0,
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

    /// Names the chunks that have no file though one behind them has, a gap at a time.
    fn find_missing(&mut self, files: &Files) {
        let mut expected = ChunkNumber::FIRST;
        for number in &files.chunks {
            if expected < *number {
                let witness = format!("the file {} stands behind", file_name(*number));
                self.missing(expected, *number, &witness);
            }
            expected = number.next();
        }
        let hinted = self.hint.map(|hint| hint.chunk.next());
        if let Some(behind) = hinted.filter(|behind| expected < *behind) {
            self.missing(expected, behind, "the hint names the last");
        }
    }

    fn missing(&mut self, first: ChunkNumber, behind: ChunkNumber, witness: &str) {
        let last = behind.get() - 1;
        let found = if first.get() == last {
            format!("missing; {witness}")
        } else {
            format!("chunks {first} to {last} are missing; {witness}")
        };
        self.damaged(Damage::new((first, 0), "chunk file", "present", found));
    }

    /// Compares the end of the log with what is known of it otherwise.
    fn end(&mut self, files: &Files) {
        if let Some(before) = self.before
            && let Some(hint) = self.hint.filter(|hint| hint.durable_through > before.position)
        {
            let place = (hint.chunk, hint.end.data_end);
            let expected =
                format!("events up to position {} (from the hint)", hint.durable_through);
            let found = format!("the end of the log at {}", before.position);
            self.damaged(Damage::new(place, "durable events", expected, found));
        }
        self.note_unclosed(files);
        let kept = files.names.iter().filter(|name| name.starts_with("lost-"));
        for name in kept {
            self.notes
                .push(format!("{name} keeps bytes that an earlier recovery or repair took out"));
        }
    }

    /// Says what of the log's end is not as a close leaves it. A writer has not closed it yet.
    fn note_unclosed(&mut self, files: &Files) {
        if self.limit.is_some() {
            return;
        }
        let note = match self.hint {
            None => "the hint is missing: the groups alone tell how far the log was durable",
            Some(_) if !files.is_clean() => "the log was not closed; the next open recovers it",
            Some(_) => return,
        };
        self.notes.push(note.to_owned());
    }

    fn damaged(&mut self, finding: impl Into<Finding>) {
        self.damage_count += 1;
        if self.damage.len() < DAMAGE_MAX {
            self.damage.push(finding.into());
        }
    }
}
