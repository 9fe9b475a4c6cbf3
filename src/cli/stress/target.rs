//! Owns what is loaded, as the load sees it: something that has a clock, takes appends, and answers
//! each later. The log is one; a test has another, whose time it makes itself.
//!
//! Promises: the wait for a moment ends at that moment or later, never before. A sender that may
//! not be held up is told of a full queue at once.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::clock::SystemClock;
use crate::{Ack, Append, AppendError, Appended, Expected, Log, NewEvent};

use super::load::now;

/// How long before a moment a sleep ends; the rest is spent looking at the clock.
const SLEEP_MARGIN: u64 = 60_000;
/// Cores that the log needs beside those whose threads spin.
const CORES_OF_THE_LOG: usize = 3;

/// What a load is put on.
pub(super) trait Target {
    /// An append that was taken and is not answered yet.
    type Ticket;

    /// Nanoseconds of the clock by which everything is measured.
    fn now(&self) -> u64;
    /// Comes back at a moment, or as soon behind it as it can.
    fn wait_until(&mut self, time: u64);
    /// Hands over an append to one stream. With an expectation it is also an operation.
    fn submit(
        &mut self,
        stream: &str,
        expected: Option<Expected>,
        events: impl IntoIterator<Item = NewEvent>,
    ) -> Result<Self::Ticket, AppendError>;
    /// Waits for an answer, and tells when it was there.
    fn wait(&mut self, ticket: Self::Ticket) -> (u64, Result<Appended, AppendError>);
}

/// A log under load.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogTarget<'a> {
    log: &'a Log,
    clock: &'a SystemClock,
    /// Whether a full queue is an answer at once, not one after the log's `admission_wait`.
    at_once: bool,
    /// Whether there is a core to spin on.
    roomy: bool,
}

impl<'a> LogTarget<'a> {
    /// For clients, which wait for room in the queue.
    pub(super) fn patient(log: &'a Log, clock: &'a SystemClock) -> Self {
        Self { log, clock, at_once: false, roomy: false }
    }

    /// For one of `senders`, which are never held up.
    pub(super) fn at_once(log: &'a Log, clock: &'a SystemClock, senders: u32) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let needed = usize::try_from(senders).unwrap_or(usize::MAX);
        let roomy = cores >= needed.saturating_mul(2).saturating_add(CORES_OF_THE_LOG);
        Self { log, clock, at_once: true, roomy }
    }
}

impl Target for LogTarget<'_> {
    type Ticket = Ack;

    fn now(&self) -> u64 {
        now(self.clock)
    }

    fn wait_until(&mut self, time: u64) {
        loop {
            let left = time.saturating_sub(self.now());
            if left > SLEEP_MARGIN {
                std::thread::sleep(Duration::from_nanos(left - SLEEP_MARGIN));
            } else if left == 0 {
                return;
            } else if self.roomy {
                std::hint::spin_loop();
            } else {
                // The threads of the log may have no other core.
                std::thread::yield_now();
            }
        }
    }

    fn submit(
        &mut self,
        stream: &str,
        expected: Option<Expected>,
        events: impl IntoIterator<Item = NewEvent>,
    ) -> Result<Ack, AppendError> {
        let Some(expected) = expected else {
            return match self.at_once {
                true => self.log.try_append(stream, Expected::Any, events),
                false => self.log.append(stream, Expected::Any, events),
            };
        };
        let operation = crate::clock::fresh_id();
        let append = Append::new().expect(stream, expected).events(stream, events);
        let append = append.operation(operation);
        if self.at_once { append.try_submit(self.log) } else { append.submit(self.log) }
    }

    fn wait(&mut self, ack: Ack) -> (u64, Result<Appended, AppendError>) {
        let answer = ack.wait();
        (self.now(), answer)
    }
}

/// Lets this thread's sleeps end when they should, where the system allows it.
pub(super) fn sleep_exactly() {
    // A later wake shows as lateness and as hiccups, so a refusal is no harm.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
}
