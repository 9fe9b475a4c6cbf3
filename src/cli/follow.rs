//! Owns `read --follow`: what a log holds, then each event as it comes, until somebody ends it.
//!
//! Promises: each event once, in order, whoever writes meanwhile; ends quietly on Ctrl-C and when
//! its reader goes away, also while nothing comes. Whoever looks at a terminal is told when the
//! writer ends. Changes nothing, but that it recovers a log that nobody has open, as all verbs that
//! read do.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{CliError, failure, intake, open};
use crate::{Follower, Position, View, WriterState};

/// How long it may take until an event that is visible is printed.
const REST: Duration = Duration::from_millis(5);
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// A log that is followed until somebody ends it.
pub(super) struct Following {
    follower: Follower,
    stop: Arc<AtomicBool>,
    /// What the person at the terminal knows of the writer.
    known: WriterState,
}

impl Following {
    pub(super) fn start(dir: &Path) -> Result<Self, CliError> {
        let stop = intake::stop_flag()?;
        let follower = open::for_following(dir)?;
        Ok(Self { follower, stop, known: WriterState::Live })
    }

    /// The log as it is now.
    pub(super) fn view(&self) -> View {
        self.follower.view()
    }

    /// Whether somebody has asked for the end.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Waits until the log has grown beyond `end`. False when nobody wants more of it.
    pub(super) fn wait_beyond(&mut self, end: Position) -> Result<bool, CliError> {
        while self.follower.view().end() <= end {
            if self.is_stopped() || is_reader_gone() {
                return Ok(false);
            }
            if let Some(error) = self.follower.failure() {
                return Err(error.into());
            }
            self.tell_of_writer();
            std::thread::sleep(REST);
        }
        Ok(!self.is_stopped())
    }

    fn tell_of_writer(&mut self) {
        let state = self.follower.writer();
        let before = std::mem::replace(&mut self.known, state);
        if state == before || !io::stderr().is_terminal() {
            return;
        }
        failure::say(match state {
            WriterState::Live => "the log is being written again",
            WriterState::Closed => "nobody has the log open; waiting for the next writer",
            WriterState::Failed => "the log has failed in the process that writes it",
            WriterState::Gone => "the writer is gone without closing the log; waiting for the next",
        });
    }
}

/// Whether nobody reads stdout any more, as after `| head`.
fn is_reader_gone() -> bool {
    let stdout = io::stdout();
    let mut ends = [PollFd::new(&stdout, PollFlags::empty())];
    poll(&mut ends, Some(&AT_ONCE)).is_ok()
        && ends[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
}
