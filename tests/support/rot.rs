//! Owns the question that every change of a sound log is asked: equal, or a named error?
//!
//! Promises: whatever is neither is told as wrong. The logs are made once and copied for each
//! change.

use std::sync::LazyLock;

use paperchase::disk::sim::SimDisk;
use paperchase::{ErrorKind, NewEvent, OpenError};

use super::Content;
use super::sim::{append, open};

/// A sound log, closed, and what it holds.
pub(crate) struct Sound {
    pub(crate) disk: SimDisk,
    pub(crate) content: Content,
}

/// What a changed log answers.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It opens, and every answer is right but so many, which are named errors.
    Open { damages: usize, resealed: u64 },
    /// It does not open, for a named reason.
    Refused(OpenError),
}

impl Sound {
    fn make(fill: impl FnOnce(&paperchase::Log)) -> Self {
        let disk = SimDisk::new();
        let log = open(&disk).expect("a new log opens");
        fill(&log);
        let content = Content::of(&log.view());
        log.close().expect("a sound log closes");
        disk.remove("LOCK");
        Self { disk, content }
    }

    pub(crate) fn changed(&self, change: impl FnOnce(&SimDisk)) -> SimDisk {
        let disk = self.disk.snapshot();
        change(&disk);
        disk
    }

    /// Opens a changed log and reads all of it; panics with `what` where an answer is wrong.
    pub(crate) fn ask(&self, disk: &SimDisk, what: &dyn std::fmt::Debug) -> Outcome {
        self.try_ask(disk).unwrap_or_else(|wrong| panic!("{what:?}: {wrong}"))
    }

    /// The same, with wrong answers as values.
    pub(crate) fn try_ask(&self, disk: &SimDisk) -> Result<Outcome, String> {
        let log = match open(disk) {
            Ok(log) => log,
            Err(OpenError::Failed(error)) if error.kind() != ErrorKind::Damage => {
                return Err(format!("no reason: {error}"));
            }
            Err(error) => return Ok(Outcome::Refused(error)),
        };
        let damages = self.content.compare(&log.view())?;
        let resealed = log.report().resealed;
        log.close().map_err(|error| format!("does not close: {error}"))?;
        Ok(Outcome::Open { damages, resealed })
    }

    /// As `ask`, for a change after which every answer must be right.
    pub(crate) fn ask_equal(&self, disk: &SimDisk, what: &dyn std::fmt::Debug) {
        let outcome = self.ask(disk, what);
        assert!(matches!(outcome, Outcome::Open { damages: 0, .. }), "{what:?}: {outcome:?}");
    }
}

/// A log of one chunk with some groups of two events each.
pub(crate) static SMALL: LazyLock<Sound> = LazyLock::new(|| {
    Sound::make(|log| {
        for number in 0..6_u8 {
            let event = |part| NewEvent::new("Small", [number, part]).tag("tag");
            append(log, &format!("small-{}", number % 2), [event(0), event(1)]);
        }
    })
});

/// A log of three chunks, of which two are sealed: events small and large, of several streams, one
/// of which has its only event in the first.
pub(crate) static LARGE: LazyLock<Sound> = LazyLock::new(|| {
    Sound::make(|log| {
        for number in 0..72_u8 {
            let length = if number % 3 == 0 { 100 << 10 } else { 50 + usize::from(number) };
            let event = NewEvent::new("Large", vec![number; length]).tag(format!("n{number}"));
            let stream = if number == 1 { 9 } else { number % 5 };
            append(log, &format!("large-{stream}"), [event]);
        }
        assert_eq!(log.view().chunks().len(), 3);
    })
});
