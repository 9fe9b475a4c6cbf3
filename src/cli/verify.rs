//! Owns the verb `verify`: every byte of a log against every promise of the format.
//!
//! Promises: changes nothing, finds all damage and not only the first, and tells damage from the
//! torn end of a write that was never acked, by the rule that recovery goes by (R6). Beside a
//! writer it checks what is durable.

mod alone;
mod chunk;
mod proof;
mod report;
mod sealed;
mod streams;
#[cfg(test)]
mod tests;
mod told;

use std::path::{Path, PathBuf};

use indicatif::ProgressBar;

use super::files::{Files, Writer};
use super::open::State;
use super::walk::{self, Finding};
use super::{CliError, Outcome, failure, open, show};
use crate::chunk::directory::HINT;
use crate::chunk::file_name;
use crate::clock::{Clock, SystemClock};
use crate::error::Damage;
use crate::format::header::{ChainEnd, ChunkHeader};
use crate::format::page::Flaw;
use crate::position::ChunkNumber;
use crate::stage::worker;

use chunk::{Known, Look, Next, Task, look};
use report::Report;
use streams::Versions;
use told::{Before, Counts, Found, Told};

/// Check every checksum, chain, index and footer of a log
///
/// Changes nothing. Lists all damage and exits with 1 where there is any. The torn end of a write
/// that was never acked is no damage: the next open of the log takes it out and keeps it aside.
/// Works beside a writer, and on one chunk file alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paperchase verify data
  paperchase verify data --json | jq '.damage[]'
  paperchase verify backup/chunk-0000000007")]
pub(super) struct Args {
    /// Directory of the log, or one chunk file of it
    #[arg(value_name = "DIR|FILE")]
    path: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// Chunks that are read at once; one per core by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
}

pub(super) fn run(args: &Args) -> Result<Outcome, CliError> {
    if args.path.is_file() {
        return alone::run(&args.path, args.json);
    }
    let clock = SystemClock::default();
    let started = clock.monotonic();
    let files = Files::of(&args.path)?;
    let writer = open::writer(&files);
    let jobs = args.jobs.map_or_else(worker::cores, usize::from);
    let check = check(&args.path, &files, writer, jobs)?;
    let took = clock.monotonic().saturating_sub(started);
    Report::of(&check, took).print(args.json)?;
    if check.damage.count == 0 {
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
    let check = check(dir, files, writer, worker::cores())?;
    Ok((check.damage.places, check.damage.count))
}

/// Verifies a log that somebody or nobody writes. `files` were read before that was asked.
fn check(dir: &Path, files: &Files, writer: Writer, jobs: usize) -> Result<Check, CliError> {
    let hint = files.hint()?;
    if hint.is_none() && files.chunks.iter().all(|number| files.is_ready(*number)) {
        return Err(failure::missing(&files.place));
    }
    if let Some((file, version)) = files.newer() {
        return Err(failure::newer(&files.place, &file, version));
    }
    let mut check = Check::new(files, show::progress(Some(0)));
    // The hint comes first: it may only grow while a writer goes on, and must not be ahead of what
    // is seen after it.
    check.known.hint = hint;
    if let Writer::Process(pid) = writer {
        let view = open::view(dir, State::Open(pid))
            .map_err(|error| CliError::open(&files.place, &error))?;
        check.known.limit = Some(view.end());
    }
    // The list of chunks comes last, so that it holds all that the snapshot may need.
    let files = Files::of(dir)?;
    check.all(&files, jobs)?;
    check.bar.finish_and_clear();
    Ok(check)
}

/// The state of a verification: what the chunks tell, put together in their order.
#[derive(Debug)]
struct Check {
    known: Known,
    /// How the next chunk must continue; `None` where damage has hidden it.
    before: Option<Before>,
    versions: Versions,
    damage: Found,
    notes: Vec<String>,
    counts: Counts,
    /// The file that lies ready for the next chunk, or that has lost its header.
    ready: Option<ChunkNumber>,
    bar: ProgressBar,
}

/// A chunk file and its place in the row of them.
#[derive(Clone, Copy, Debug)]
struct Place {
    number: ChunkNumber,
    /// Whether the file of the chunk before is there.
    follows: bool,
    next: Option<ChunkNumber>,
}

impl Check {
    fn new(files: &Files, bar: ProgressBar) -> Self {
        let headers = files.chunks.iter().find_map(|number| files.header(*number));
        Self {
            known: Known { log: headers.map(|header| header.log), ..Known::default() },
            before: Some(Before::start()),
            versions: Versions::default(),
            damage: Found::default(),
            notes: Vec::new(),
            counts: Counts::default(),
            ready: None,
            bar,
        }
    }

    fn all(&mut self, files: &Files, jobs: usize) -> Result<(), CliError> {
        self.find_missing(files);
        self.ready = files.chunks.last().copied().filter(|last| files.is_ready(*last));
        let places = places(files, self.ready);
        let sizes = places.iter().filter_map(|place| files.size(place.number));
        self.bar.set_length(sizes.sum());
        let (known, bar) = (self.known, self.bar.clone());
        let work = |index: usize| {
            let task = task(files, &places[index])?;
            let looked = look(&known, &task, None, &bar);
            Ok((task, looked))
        };
        let mut failed = None;
        let mut link = |index: usize, looked: Result<(Task, Look), CliError>| {
            match looked {
                Ok((task, look)) => self.link(&places[index], &task, look),
                Err(error) => failed = Some(error),
            }
            self.bar.set_message(format!("chunk {} of {}", index + 1, places.len()));
            failed.is_none()
        };
        worker::in_order(jobs, places.len(), &work, &mut link);
        if let Some(error) = failed {
            return Err(error);
        }
        self.end(files);
        Ok(())
    }

    /// Takes what a look at the next chunk came to.
    fn link(&mut self, place: &Place, task: &Task, looked: Look) {
        if !place.follows {
            self.before = None;
            self.versions.lose();
        }
        let limit = self.known.limit;
        if limit.zip(self.before).is_some_and(|(limit, before)| before.position >= limit) {
            return;
        }
        let looked = match looked {
            Look::NeedsStart => look(&self.known, task, Some(self.before), &self.bar),
            looked => looked,
        };
        if let Look::Told(told) = looked {
            self.take(place, *told);
        }
    }

    fn take(&mut self, place: &Place, told: Told) {
        self.counts.add(&told.counts);
        if let Some(header) = told.header.as_ref().filter(|_| !told.is_foreign) {
            self.continues(header, told.first);
        }
        self.damage.take(told.damage);
        self.notes.extend(told.notes);
        if told.is_foreign {
            self.before = None;
            self.versions.lose();
            return;
        }
        if told.is_sealed && place.next.is_none() && self.known.limit.is_none() {
            // A chunk is sealed only when the one behind it holds durable events.
            self.gone(place.number.next());
        }
        for unfit in self.versions.link(told.streams) {
            let (at, what) = ((place.number, unfit.offset), "version in the stream");
            self.damage.add(Damage::new(at, what, unfit.expected, unfit.found));
        }
        self.before = told.end;
    }

    /// Notes a chunk that was there and is not, unless that was said before.
    fn gone(&mut self, number: ChunkNumber) {
        let is_it = |it: &Finding| (it.damage.chunk, it.damage.offset) == (number, 0);
        if self.damage.places.iter().any(is_it) {
            return;
        }
        self.damage.add(match self.ready {
            Some(ready) if ready == number => walk::header_damage(number, Flaw::Magic),
            _ => Damage::new((number, 0), "chunk file", "present", "missing"),
        });
    }

    /// Compares how a chunk begins with how the one before ends.
    fn continues(&mut self, header: &ChunkHeader, first: Option<(u64, crate::Timestamp)>) {
        let Some(before) = self.before else { return };
        let number = header.number;
        let mut unfit = |offset, what, expected: String, found: String| {
            if expected != found {
                self.damage.add(Damage::new((number, offset), what, expected, found));
            }
        };
        let end = |end: ChainEnd| format!("chain {:#018x} at {}", end.chain, end.data_end);
        let (expected, found) = (before.position, header.first_position);
        unfit(0, "first position of the chunk", expected.to_string(), found.to_string());
        unfit(0, "end of the chunk before", end(before.end), end(header.previous));
        if let Some((offset, time)) = first.filter(|(_, time)| *time < before.time) {
            let expected = format!("at least {} ns", before.time.as_nanos());
            unfit(offset, "time", expected, format!("{} ns", time.as_nanos()));
        }
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
        let hinted = self.known.hint.map(|hint| hint.chunk.next());
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
        self.damage.add(Damage::new((first, 0), "chunk file", "present", found));
    }

    /// Compares the end of the log with what is known of it otherwise.
    fn end(&mut self, files: &Files) {
        if let Some(before) = self.before
            && let Some(hint) =
                self.known.hint.filter(|hint| hint.durable_through > before.position)
        {
            let place = (hint.chunk, hint.end.data_end);
            let expected =
                format!("events up to position {} (from the hint)", hint.durable_through);
            let found = format!("the end of the log at {}", before.position);
            if self.ready == Some(hint.chunk) {
                self.gone(hint.chunk);
            }
            self.damage.add(Damage::new(place, "durable events", expected, found));
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
        if self.known.limit.is_some() {
            return;
        }
        let note = match self.known.hint {
            None if files.names.iter().any(|name| name == HINT) => {
                "the hint holds nothing sound: the groups alone tell how far the log was durable"
            }
            None => "the hint is missing: the groups alone tell how far the log was durable",
            Some(_) if !files.is_clean() => "the log was not closed; the next open recovers it",
            Some(_) => return,
        };
        self.notes.push(note.to_owned());
    }
}

/// The chunks that have a file, but for one that lies ready for the next chunk.
fn places(files: &Files, ready: Option<ChunkNumber>) -> Vec<Place> {
    let mut chunks = &files.chunks[..];
    if let [rest @ .., last] = chunks
        && ready == Some(*last)
    {
        chunks = rest;
    }
    let mut expected = ChunkNumber::FIRST;
    let place = |(index, number): (usize, &ChunkNumber)| {
        let follows = *number == expected;
        expected = number.next();
        Place { number: *number, follows, next: chunks.get(index + 1).copied() }
    };
    chunks.iter().enumerate().map(place).collect()
}

fn task(files: &Files, place: &Place) -> Result<Task, CliError> {
    let file = files.open(place.number)?;
    let next = match place.next.map(|next| files.header(next)) {
        None => Next::Nothing,
        Some(Some(header)) if header.number == place.number.next() => Next::Chunk(header),
        Some(_) => Next::Damaged,
    };
    Ok(Task { file, number: place.number, next })
}
