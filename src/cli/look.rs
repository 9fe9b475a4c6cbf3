//! Owns looks at the figures of a log that another process has open: one, and two some time apart.
//!
//! Promises: never changes a log and never disturbs the process: it reads the shared page; the lock
//! is asked for only where the page is old, to tell a process that hangs from one that is gone.
//! Where nobody has the log open, that is an error with what to do.

use std::path::Path;
use std::time::Duration;

use super::CliError;
use super::failure::quoted;
use super::files::{Files, Writer};
use crate::{Figures, Log, Stats, Watched, WriterState};

/// How often a process that has just opened its log is asked for its first figures.
const TRIES: u32 = 20;
const REST: Duration = Duration::from_millis(100);

/// What a process has counted at one moment.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) process: u64,
    pub(super) session: u64,
    /// Whether the figures are old, though the process has the log open: it hangs.
    pub(super) hangs: bool,
    pub(super) stats: Stats,
}

/// What happened between two looks.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) earlier: Stats,
    pub(super) now: Look,
}

impl Look {
    /// Looks at the log in a directory.
    pub(super) fn at(dir: &Path) -> Result<Self, CliError> {
        let files = Files::of(dir)?;
        for _ in 0..TRIES {
            let watched = Log::watch(dir).map_err(|error| CliError::open(&files.place, &error))?;
            let Some(watched) = watched else { return Err(unshared(&files.place)) };
            let Watched { process, session, state, figures } = watched;
            if state == WriterState::Closed {
                return Err(closed(&files.place, process));
            }
            match figures {
                Figures::OtherVersion => return Err(other_version(process)),
                Figures::Missing => std::thread::sleep(REST),
                Figures::Known(stats) => {
                    let hangs = state == WriterState::Gone;
                    if hangs && files.writer() == Writer::Nobody {
                        return Err(gone(&files.place, process));
                    }
                    return Ok(Self { process, session, hangs, stats: *stats });
                }
            }
        }
        Err(CliError::cannot(format_args!("no process shows figures of {}", files.place))
            .next("the same command again, once a process has opened the log"))
    }

    /// Looks again after some time. A log that was opened anew meanwhile is looked at anew.
    pub(super) fn again(self, dir: &Path, rest: Duration) -> Result<Pair, CliError> {
        let mut earlier = self;
        loop {
            std::thread::sleep(rest);
            let now = Self::at(dir)?;
            if now.session == earlier.session {
                return Ok(Pair { earlier: earlier.stats, now });
            }
            earlier = now;
        }
    }
}

fn unshared(place: &str) -> CliError {
    CliError::cannot(format_args!("no process shows figures of {place} on this machine")).next(
        "open the log for writing in a program that embeds this crate; figures are shared on \
         Linux, on ext2 to ext4, XFS and tmpfs",
    )
}

fn closed(place: &str, process: u64) -> CliError {
    CliError::cannot(format_args!("nobody has {place} open: process {process} has closed it")).next(
        format_args!(
            "the same command while a process has the log open; `paperchase info {}` shows what \
             it holds",
            quoted(place)
        ),
    )
}

fn gone(place: &str, process: u64) -> CliError {
    CliError::cannot(format_args!("process {process} is gone without closing {place}"))
        .next(format_args!("`paperchase info {}` recovers the log", quoted(place)))
}

fn other_version(process: u64) -> CliError {
    CliError::cannot(format_args!(
        "process {process} counts other things: it is of another version of this program"
    ))
    .next("the `paperchase` of the version that the process embeds")
}
