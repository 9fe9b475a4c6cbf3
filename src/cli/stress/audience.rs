//! Owns those who read while a load runs: subscribers, which take every event as it becomes
//! visible, and readers, which take up to a hundred events from random places.
//!
//! Promises: of each event only the first of the subscribers to have it counts. A reader rests
//! between two reads, so that it is a load of a known size and not all that the machine gives.
//! Nobody here appends.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::clock::SystemClock;
use crate::{Error, Log, Position, Update};

use super::load::{Window, now};
use super::mix::Random;
use super::payload::Pool;
use super::report::histogram;

/// How long a subscriber waits before it looks whether the load is over.
const LOOK: Duration = Duration::from_millis(20);
const READ_EVENTS: u64 = 100;
/// Rest of a reader between two reads.
const REST: Duration = Duration::from_millis(1);

/// What one of the audience found.
#[derive(Debug)]
pub(super) struct Heard {
    /// Of a subscriber: nanoseconds from the moment an event was due until it was there. Of a
    /// reader: nanoseconds of a read.
    pub(super) times: Histogram<u64>,
    /// Events delivered.
    pub(super) events: u64,
    pub(super) failure: Option<Error>,
}

impl Heard {
    pub(super) fn new() -> Self {
        Self { times: histogram(), events: 0, failure: None }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.times.add(&other.times).expect("all histograms have the same bounds");
        self.events += other.events;
        self.failure = self.failure.take().or(other.failure);
    }
}

/// What the audience shares.
#[derive(Clone, Copy, Debug)]
pub(super) struct Audience<'a> {
    pub(super) log: &'a Log,
    pub(super) clock: &'a SystemClock,
    pub(super) window: &'a Window,
    /// Set when everything that is acked is visible.
    pub(super) over: &'a AtomicBool,
    /// Events below this position were delivered to somebody.
    pub(super) seen: &'a AtomicU64,
}

impl Audience<'_> {
    /// Takes all events from a place on, until the load is over and all are delivered.
    pub(super) fn subscribe(self, from: Position) -> Heard {
        let mut heard = Heard::new();
        let mut subscription = match self.log.subscribe(from) {
            Ok(subscription) => subscription,
            Err(error) => return Heard { failure: Some(error), ..heard },
        };
        loop {
            // Asked before the wait, so that what was acked until then is delivered.
            let over = self.over.load(Ordering::Acquire);
            match subscription.next_timeout(LOOK) {
                Poll::Ready(Some(Ok(Update::Event(event)))) => {
                    let at = now(self.clock);
                    heard.events += 1;
                    let position = event.position().get();
                    let first = self.seen.fetch_max(position + 1, Ordering::AcqRel) <= position;
                    if let Some(due) = Pool::due(&event).filter(|due| self.window.contains(*due))
                        && first
                    {
                        heard.times.saturating_record(at.saturating_sub(due));
                    }
                }
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(error))) => {
                    heard.failure = Some(error);
                    return heard;
                }
                Poll::Ready(None) => return heard,
                Poll::Pending if over => return heard,
                Poll::Pending => {}
            }
        }
    }

    /// Reads from random places until the window closes.
    pub(super) fn read(self, seed: u64, number: u32) -> Heard {
        let mut heard = Heard::new();
        let mut random = Random::new(!seed, number.into());
        while !self.window.is_closed() {
            let end = self.log.stats().visible.get();
            let from = Position::new(random.word() % end.max(1));
            let start = now(self.clock);
            let read = self.log.view().read_all(from..);
            let events = read.take(usize::try_from(READ_EVENTS).unwrap_or(usize::MAX));
            for event in events {
                match event {
                    Ok(_) => heard.events += 1,
                    Err(error) => {
                        heard.failure = Some(error);
                        return heard;
                    }
                }
            }
            if self.window.contains(start) {
                heard.times.saturating_record(now(self.clock).saturating_sub(start));
            }
            std::thread::sleep(REST);
        }
        heard
    }
}
