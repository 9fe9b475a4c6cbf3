//! Owns how verbs open a log: reading verbs beside a writer or after recovery, writing verbs with
//! the log's own habits.
//!
//! Promises: a reading verb never makes a log, and opens one for writing only when it was not
//! closed and nobody has it open: then recovery decides what its end is, once for all. What
//! recovery cut is said on stderr.

use std::io;
use std::path::Path;

use super::files::{Files, Writer};
use super::{CliError, failure, show};
use crate::{Log, OpenError, OpenReport, Options, View};

/// How often a look beside a writer is tried again.
const BESIDE_TRIES: u32 = 20;

/// A log opened for reading, and how it was found.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) view: View,
    pub(super) files: Files,
    pub(super) state: State,
}

/// How a log was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Closed by whoever wrote it last.
    Closed,
    /// Not closed, and recovered by this process.
    Recovered,
    /// Not closed, and this process may not write here.
    Unclosed,
    /// Open for writing in a process, by its id when that is known.
    Open(Option<u32>),
}

/// Opens an existing log for reading.
pub(super) fn for_reading(dir: &Path) -> Result<Reading, CliError> {
    let files = Files::of(dir)?;
    let state = if files.is_clean() { State::Closed } else { recover(dir, &files)? };
    let view = view(dir, state).map_err(|error| CliError::open(&files.place, &error))?;
    Ok(Reading { view, files, state })
}

/// A view of a log that was found so.
pub(super) fn view(dir: &Path, state: State) -> Result<View, OpenError> {
    let mut view = View::open(dir);
    // A writer may begin and seal chunks between a look at the directory and one into its files.
    // What is really wrong stays wrong.
    for _ in 0..BESIDE_TRIES {
        if view.is_ok() || !matches!(state, State::Open(_)) {
            break;
        }
        view = View::open(dir);
    }
    view
}

fn recover(dir: &Path, files: &Files) -> Result<State, CliError> {
    // The lock answers without a look at the chunks, which a writer may be changing.
    if let Writer::Process(pid) = files.writer() {
        return Ok(State::Open(pid));
    }
    match habits(Some(files), None).create(false).open(dir) {
        Ok(log) => {
            tell(log.report());
            log.close()?;
            Ok(State::Recovered)
        }
        Err(OpenError::Locked { pid }) => Ok(State::Open(pid)),
        Err(OpenError::Failed(error)) if is_read_only(error.io()) => Ok(State::Unclosed),
        Err(error) => Err(CliError::open(&files.place, &error)),
    }
}

fn is_read_only(error: Option<&io::Error>) -> bool {
    let kinds = [io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem];
    error.is_some_and(|error| kinds.contains(&error.kind()))
}

/// Opens a log for writing, making it where there is none.
pub(super) fn for_writing(dir: &Path, chunk_size: Option<u64>) -> Result<Log, CliError> {
    let files = Files::of(dir).ok();
    let place = dir.display().to_string();
    let log = habits(files.as_ref(), chunk_size)
        .open(dir)
        .map_err(|error| CliError::open(&place, &error))?;
    tell(log.report());
    Ok(log)
}

/// Options under which the next chunk is as large as the last one, unless the caller says
/// otherwise.
fn habits(files: Option<&Files>, chunk_size: Option<u64>) -> Options {
    let last = files.and_then(Files::last_header).map(|header| header.capacity);
    let options = Options::new();
    match chunk_size {
        Some(size) => options.chunk_size(size),
        None => last
            .map(|size| options.clone().chunk_size(size))
            .filter(|options| options.check().is_ok())
            .unwrap_or(options),
    }
}

fn tell(report: &OpenReport) {
    if let Some(cut) = &report.cut {
        failure::say(format_args!(
            "recovery took {} bytes of a write that was never acked out of chunk {} at offset {}; \
             they are kept in {}",
            show::count(cut.bytes),
            cut.chunk,
            show::count(cut.offset),
            cut.kept_in
        ));
    }
}
