//! Owns the look at the figures of a log that another process has open.
//!
//! Promises: reads the shared page and nothing else: no lock, no write, no word to the other
//! process. Figures are whole, and of this layout, or there are none.

use std::path::Path;
use std::time::Duration;

use super::Log;
use super::follow::{WriterState, open_disk};
use crate::clock::{Clock, SystemClock};
use crate::disk::Disk;
use crate::error::OpenError;
use crate::format::stats::{CLOSED, FAILED};
use crate::stage::page::{Counted, PageReader};
use crate::stage::stats::Stats;

/// Figures that are older belong to a process that has ended, or hangs.
const PATIENCE: Duration = Duration::from_secs(2);

/// What another process tells of the log that it has open, from [`Log::watch`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Watched {
    /// The id of that process.
    pub process: u64,
    /// Grows with each opening of the log: figures of two sessions are no pair.
    pub session: u64,
    /// Whether it lives. [`WriterState::Gone`] means that its figures are older than two seconds:
    /// it was stopped, or its keeper hangs in the disk.
    pub state: WriterState,
    /// What it has counted, a fifth of a second ago at most while it lives.
    pub figures: Figures,
}

/// What is known of another process's figures.
#[derive(Clone, Debug)]
pub enum Figures {
    /// All of them.
    Known(Box<Stats>),
    /// Nothing, because it has only just opened the log or was stopped in the midst of telling.
    Missing,
    /// Nothing, because it is another version of this program, with other counters.
    OtherVersion,
}

impl Log {
    /// What the process that has a log open has counted, seen from any process, without touching
    /// it. `None` where it shares no page: nobody has opened the log on this machine since it was
    /// started, or system or file system do not allow it (see `docs/format.md`).
    ///
    /// # Errors
    /// [`OpenError::Missing`] where there is no such directory; otherwise what the operating system
    /// reports.
    pub fn watch(directory: impl AsRef<Path>) -> Result<Option<Watched>, OpenError> {
        Ok(Self::watch_on(&open_disk(directory.as_ref())?, &SystemClock::default()))
    }

    pub(crate) fn watch_on(disk: &dyn Disk, clock: &dyn Clock) -> Option<Watched> {
        let reader = PageReader::open(disk)?;
        let told = reader.told()?;
        let (state, counted) = (reader.state(), reader.counted());
        let figures = match counted {
            Counted::Stats(stats) => Figures::Known(stats),
            Counted::Nothing => Figures::Missing,
            Counted::OtherVersion => Figures::OtherVersion,
        };
        let is_old = match &figures {
            Figures::Known(stats) => clock.wall().before(PATIENCE) > stats.time,
            _ => false,
        };
        let state = match state {
            CLOSED => WriterState::Closed,
            _ if is_old => WriterState::Gone,
            FAILED => WriterState::Failed,
            _ => WriterState::Live,
        };
        Some(Watched { process: told.identity.pid, session: told.identity.session, state, figures })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::{SimClock, Timestamp};
    use crate::disk::sim::SimDisk;
    use crate::event::{Expected, NewEvent};
    use crate::options::Options;

    #[test]
    fn figures_are_seen_while_the_log_is_open() {
        let disk = SimDisk::new();
        let clock: Arc<SystemClock> = Arc::default();
        assert!(Log::watch_on(&disk, &*clock).is_none());
        let mut session = 0;
        for _ in 0..2 {
            let log = Options::new()
                .chunk_size(1 << 20)
                .open_on(Arc::new(disk.clone()), Arc::clone(&clock) as _)
                .unwrap();
            let event = NewEvent::new("Counted", "1");
            log.append("s", Expected::Any, [event]).unwrap().wait().unwrap();
            let seen = loop {
                let watched = Log::watch_on(&disk, &*clock).unwrap();
                match watched.figures {
                    Figures::Known(stats) if stats.path.total.count() > 0 => break stats,
                    _ => std::thread::yield_now(),
                }
            };
            assert_eq!((seen.appends.pushed, seen.disk.syncs.count()), (1, 1));
            let watched = Log::watch_on(&disk, &*clock).unwrap();
            assert!(watched.session > session && watched.state == WriterState::Live);
            session = watched.session;
            assert_eq!(watched.process, u64::from(std::process::id()));
            let later = SimClock::new();
            later.set_wall(Timestamp::from_nanos(u64::MAX));
            let old = Log::watch_on(&disk, &later).unwrap();
            assert_eq!(old.state, WriterState::Gone);
            log.close().unwrap();
            assert_eq!(Log::watch_on(&disk, &*clock).unwrap().state, WriterState::Closed);
        }
    }
}
