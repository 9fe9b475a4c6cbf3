//! Owns threads: the thin shell around a stage's steps.
//!
//! Promises: a panic of a step ends its thread, is told to the owner, and takes nothing else down
//! (F04). Time in steps is counted as busy, time between them as idle. Knows nothing of what a step
//! does.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::stage::stats::StageMeter;
use crate::sync::thread::{Builder, JoinHandle};

/// A running thread; [`Worker::join`] waits for its end.
#[derive(Debug)]
pub(crate) struct Worker(JoinHandle<()>);

impl Worker {
    /// Runs `body` on a thread of this name; `panicked` is told when it panics.
    pub(crate) fn spawn(
        name: &'static str,
        body: impl FnOnce() + Send + 'static,
        panicked: impl FnOnce(Error) + Send + 'static,
    ) -> Result<Self, Error> {
        let shell = move || {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(body)) {
                let text = panic.downcast_ref::<&str>().map(ToString::to_string);
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
                let text = text.unwrap_or_default();
                let message = format!("the thread {name} panicked: {text}");
                panicked(Error::new(ErrorKind::Bug, message));
            }
        };
        let thread = Builder::new().name(name.to_owned()).spawn(shell);
        thread.map(Self).map_err(|error| Error::from_io(&format!("start the thread {name}"), error))
    }

    /// Waits for the end of the thread.
    pub(crate) fn join(self) {
        // A panic was told to the owner by the shell.
        let _ = self.0.join();
    }
}

/// Splits a thread's time into busy and idle.
#[derive(Debug)]
pub(crate) struct Timesheet {
    meter: Arc<StageMeter>,
    clock: Arc<dyn Clock>,
    last: Duration,
}

impl Timesheet {
    pub(crate) fn new(meter: Arc<StageMeter>, clock: Arc<dyn Clock>) -> Self {
        let last = clock.monotonic();
        Self { meter, clock, last }
    }

    /// Waits by `wait`: the time since the last wait counts as busy, the time of this one as idle.
    pub(crate) fn wait(&mut self, wait: impl FnOnce()) {
        let before = self.clock.monotonic();
        self.meter.begin_wait(before, before.saturating_sub(self.last));
        wait();
        self.last = self.clock.monotonic();
        self.meter.end_wait(self.last.saturating_sub(before));
    }
}
