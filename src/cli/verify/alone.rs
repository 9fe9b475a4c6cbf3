//! Owns the verification of one chunk file without the rest of its log: a copy, a backup, or a
//! chunk among others.
//!
//! Promises: finds all damage that the file's own bytes show, and names what only other files could
//! tell. Judges the end of an unsealed chunk twice, because somebody may be writing to it.

use std::path::Path;

use super::super::walk::Pieces;
use super::super::{CliError, Outcome, failure, show};
use super::chunk::{Known, Look, Next, Task, look};
use super::report::Report;
use super::told::Told;
use crate::chunk::number_of;
use crate::clock::{Clock, SystemClock};
use crate::disk::{Access, Disk, OsDisk};
use crate::format::header::ChunkHeader;
use crate::format::page::Flaw;
use crate::format::{CHUNK_HEADER_SIZE, is_zero};
use crate::position::ChunkNumber;

pub(super) fn run(path: &Path, json: bool) -> Result<Outcome, CliError> {
    let clock = SystemClock::default();
    let started = clock.monotonic();
    let place = path.display().to_string();
    let task = task(path, &place)?;
    let Some(task) = task else {
        return Err(CliError::cannot(format_args!(
            "{place} is blank: it lies ready for the next chunk, nothing was written to it"
        )));
    };
    let bar = show::progress(Some(task.file.size().unwrap_or(0)));
    let mut told = tell(&task, &bar);
    if told.damage.count > 0 && !told.is_sealed {
        // A group that was half written at the first look is whole at the second.
        let again = tell(&task, &bar);
        told.damage.places.retain(|place| again.damage.places.contains(place));
        told.damage.count = told.damage.count.min(again.damage.count);
        if told.damage.places.is_empty() {
            told.damage.count = 0;
        }
    }
    bar.finish_and_clear();
    let took = clock.monotonic().saturating_sub(started);
    let (streams, earlier) = told.streams.counts();
    let not_checked = not_checked(&told, earlier);
    Report::alone(&told, streams, &not_checked, took).print(json)?;
    Ok(if told.damage.count == 0 { Outcome::Good } else { Outcome::Damage })
}

/// The chunk file at a path; `None` where nothing was written to it yet.
fn task(path: &Path, place: &str) -> Result<Option<Task>, CliError> {
    let refused = |error| CliError::cannot(format_args!("open {place}: {error}"));
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let disk = OsDisk::open(directory.unwrap_or(Path::new("."))).map_err(refused)?;
    let file = disk.open(name, Access::Read).map_err(refused)?;
    let mut pieces = Pieces::past_gaps(file.clone()).map_err(refused)?;
    let block = pieces.bytes(0, CHUNK_HEADER_SIZE).map_err(refused)?;
    let named = number_of(name);
    let header = ChunkHeader::decode(&block);
    let has_gap = pieces.has_gap(&(0..CHUNK_HEADER_SIZE));
    if named.is_none() && matches!(header, Err(Flaw::Magic)) && !has_gap {
        return Err(failure::not_a_chunk(place));
    }
    if named.is_some()
        && is_zero(&block)
        && !has_gap
        && pieces.is_zero(0..pieces.size).is_ok_and(|it| it)
    {
        return Ok(None);
    }
    // A copy may have any name; then the chunk says itself which one it is.
    let said = header.ok().map(|header| header.number);
    let number = named.or(said).unwrap_or(ChunkNumber::FIRST);
    Ok(Some(Task { file, number, next: Next::Nothing }))
}

fn tell(task: &Task, bar: &indicatif::ProgressBar) -> Told {
    let known = Known { alone: true, ..Known::default() };
    match look(&known, task, Some(None), bar) {
        Look::Told(told) => *told,
        // Only asked for where no start is given, and where there is a limit.
        Look::NeedsStart | Look::Beyond => Told::default(),
    }
}

/// What only other files could tell.
fn not_checked(told: &Told, earlier: u64) -> Vec<String> {
    let mut list = Vec::new();
    let number = told.number.get();
    if let Some(header) = told.header.as_ref().filter(|_| number > 0) {
        list.push(format!(
            "that chunk {} ends at offset {} with chain {:#018x}, before position {}",
            number - 1,
            show::count(header.previous.data_end),
            header.previous.chain,
            show::count(header.first_position.get())
        ));
    }
    if earlier > 0 {
        let streams = show::counted(earlier, "stream");
        list.push(format!("the versions of {streams} before this chunk"));
    }
    list.push(if told.is_sealed {
        format!("that chunk {} continues it", number + 1)
    } else {
        "that it holds all that was durable: the hint and the chunk behind tell".to_owned()
    });
    list
}
