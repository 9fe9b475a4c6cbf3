//! Owns how verbs open a log: reading verbs beside a writer or after recovery, writing verbs with
//! the log's own habits.
//!
//! Promises: a reading verb never makes a log, and opens one for writing only when it was not
//! closed and nobody has it open: then recovery decides what its end is, once for all. It shows
//! all that was acked before it began, or says on stderr that it may not. What recovery cut is said
//! there too.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::args::Writing;
use super::files::{Files, Noted, Writer};
use super::{CliError, failure, show};
use crate::clock::{Clock, SystemClock};
use crate::{Cut, Follower, Log, OpenError, OpenReport, Options, View};

/// How often a look beside a writer is tried again.
const BESIDE_TRIES: u32 = 20;
/// How long a look beside a writer waits for its hint, which is a tenth of a second old at most.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often that look is repeated.
const LOOK: Duration = Duration::from_millis(20);
/// A hint that was on its way when the wait began may be older than that, the next one is not.
const HINTS: u64 = 2;

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
    let mut wait = Wait::new(&files);
    let state = loop {
        let state = if files.is_clean() { State::Closed } else { recover(dir, &files)? };
        if let State::Open(Some(pid)) = state
            && let Ok((view, Some(teller))) = View::open_telling(dir)
            && teller == u64::from(pid)
        {
            // The writer itself tells how far it has acked.
            return Ok(Reading { view, files: Files::of(dir)?, state });
        }
        match state {
            State::Open(_) | State::Unclosed if wait.goes_on() => {}
            _ => break state,
        }
    };
    // Chunks may have come while others wrote.
    let files = Files::of(dir)?;
    let view = view(dir, state).map_err(|error| refused(&files, &error))?;
    if wait.is_in_vain {
        tell_unproven(&view, state);
    }
    Ok(Reading { view, files, state })
}

/// Opens an existing log to follow it.
pub(super) fn for_following(dir: &Path) -> Result<Follower, CliError> {
    let files = Files::of(dir)?;
    if !files.is_clean() {
        recover(dir, &files)?;
    }
    Log::follow(dir).map_err(|error| refused(&files, &error))
}

/// Who writes a log, asked when all that was acked before the call is noted as durable, or will not
/// be soon.
pub(super) fn writer(files: &Files) -> Writer {
    let mut wait = Wait::new(files);
    loop {
        let writer = if files.is_clean() { Writer::Nobody } else { files.writer() };
        if writer == Writer::Nobody || !wait.goes_on() {
            return writer;
        }
    }
}

/// A wait until a hint proves what was acked before the wait began. Another command that recovers
/// the log at this moment ends it too: then the log is closed.
struct Wait<'a> {
    files: &'a Files,
    clock: SystemClock,
    end: Duration,
    /// The sequence of the hint that proves enough.
    sequence: u64,
    /// Whether the time is over and there are groups that nothing proves.
    is_in_vain: bool,
}

impl<'a> Wait<'a> {
    fn new(files: &'a Files) -> Self {
        let clock = SystemClock::default();
        let end = clock.monotonic().saturating_add(PATIENCE);
        let sequence = files.noted().sequence.saturating_add(HINTS);
        Self { files, clock, end, sequence, is_in_vain: false }
    }

    /// Whether there is something left to wait for; rests for a moment first.
    fn goes_on(&mut self) -> bool {
        let Noted { sequence, is_all } = self.files.noted();
        if is_all || sequence >= self.sequence {
            return false;
        }
        self.is_in_vain = self.clock.monotonic() >= self.end;
        if !self.is_in_vain {
            std::thread::sleep(LOOK);
        }
        !self.is_in_vain
    }
}

fn tell_unproven(view: &View, state: State) {
    failure::say(format_args!(
        "shown up to position {}: what follows is not proven to be durable yet",
        show::count(view.end().get())
    ));
    failure::hint(match state {
        State::Unclosed => "the same command with write access to the log: it recovers the rest",
        _ => "the same command again in a moment",
    });
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
    match habits(Some(files), Writing::default()).create(false).open(dir) {
        Ok(log) => {
            tell(log.report());
            close(log)?;
            Ok(State::Recovered)
        }
        Err(OpenError::Locked { pid }) => Ok(State::Open(pid)),
        Err(OpenError::Failed(error)) if is_read_only(error.io()) => Ok(State::Unclosed),
        Err(error) => Err(refused(files, &error)),
    }
}

/// Why a log could not be opened, with the name of the file that stands in the way.
fn refused(files: &Files, error: &OpenError) -> CliError {
    let unreadable = match error {
        OpenError::Failed(error) if error.io().is_some() => files.unreadable(),
        _ => None,
    };
    match unreadable {
        Some((name, error)) => failure::unreadable(&files.place, &name, &error),
        None => CliError::open(&files.place, error),
    }
}

fn is_read_only(error: Option<&io::Error>) -> bool {
    let kinds = [io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem];
    error.is_some_and(|error| kinds.contains(&error.kind()))
}

/// Opens a log for writing, making it where there is none.
pub(super) fn for_writing(dir: &Path, writing: Writing) -> Result<Log, CliError> {
    let files = Files::of(dir).ok();
    let place = dir.display().to_string();
    if dir.is_file() {
        return Err(failure::not_a_directory(&place));
    }
    let log = habits(files.as_ref(), writing).open(dir).map_err(|error| match &files {
        Some(files) => refused(files, &error),
        None => CliError::open(&place, &error),
    })?;
    tell(log.report());
    Ok(log)
}

/// Options under which the next chunk is as large as the last one, unless the caller says
/// otherwise.
fn habits(files: Option<&Files>, writing: Writing) -> Options {
    let last = files.and_then(Files::last_header).map(|header| header.capacity);
    let options = Options::new().allow_network_file_system(writing.allow_network_file_system);
    match writing.chunk_size {
        Some(size) => options.chunk_size(size),
        None => last
            .map(|size| options.clone().chunk_size(size))
            .filter(|options| options.check().is_ok())
            .unwrap_or(options),
    }
}

fn tell(report: &OpenReport) {
    if let Some(cut) = &report.cut {
        tell_cut("recovery", "a write that was never acked", cut);
    }
}

/// Closes a log, and tells what sealing took out of its chunks.
pub(super) fn close(log: Log) -> crate::Result<()> {
    let (closed, cuts) = log.close_telling();
    for cut in &cuts {
        tell_cut("sealing", "what is no event", cut);
    }
    closed
}

fn tell_cut(who: &str, what: &str, cut: &Cut) {
    failure::say(format_args!(
        "{who} took {} bytes of {what} out of chunk {} at offset {}; they are kept in {}",
        show::count(cut.bytes),
        cut.chunk,
        show::count(cut.offset),
        cut.kept_in
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_opened_as_the_caller_says() {
        let asked = Writing { chunk_size: Some(2 << 20), allow_network_file_system: true };
        let options = habits(None, asked);
        assert!(options.allow_network_file_system);
        assert_eq!(options.chunk_size, 2 << 20);
        assert!(!habits(None, Writing::default()).allow_network_file_system);
        let error = OpenError::NetworkFileSystem { directory: "d".into(), file_system: "NFS" };
        let said = format!("{:?}", CliError::open("d", &error));
        assert!(said.contains("--allow-network-file-system"), "{said}");
    }
}
