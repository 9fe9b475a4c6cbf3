//! Owns the clients: each appends, waits for the ack of its oldest append, and appends again, so a
//! client has at most `pipeline` appends in flight.
//!
//! Promises: every append is in its client's ledger before anything is decided about it; every
//! sample is recorded, and no answer is dropped: what is in flight at the end is waited for. It is
//! a closed loop: a stalled log is asked less, so a latency here is the time of service, from the
//! actual send to the moment the client has its ack.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::clock::{Clock, SystemClock};
use crate::{Ack, AppendError, Appended, Expected, Log};

use super::executor::{Yield, run_all};
use super::ledger::StreamLedger;
use super::payload::{Identity, Pool};
use super::report::histogram;

/// How long a client rests when everything it sent was refused.
const REFUSED_PAUSE: Duration = Duration::from_millis(1);

/// What one client does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) pipeline: usize,
    pub(super) batch: u32,
    pub(super) streams: u32,
}

/// The part of a run that counts, in nanoseconds of the run's clock.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) start: u64,
    end: AtomicU64,
}

impl Window {
    /// A window that opens at `start` and does not close yet.
    pub(super) fn from(start: u64) -> Self {
        Self { start, end: AtomicU64::new(u64::MAX) }
    }

    /// Closes the window: the clients send nothing more.
    pub(super) fn close(&self, now: u64) {
        self.end.store(now, Ordering::Relaxed);
    }

    fn is_closed(&self) -> bool {
        self.end.load(Ordering::Relaxed) != u64::MAX
    }

    fn contains(&self, time: u64) -> bool {
        (self.start..self.end.load(Ordering::Relaxed)).contains(&time)
    }
}

/// Events acked so far on one thread; each on its own cache lines, for the progress line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Progress(pub(super) AtomicU64);

/// What the clients of one thread measured.
#[derive(Debug)]
pub(super) struct Tally {
    /// Nanoseconds from send to ack, of all appends that were sent in the window.
    pub(super) latency: Histogram<u64>,
    /// Appends and events whose ack arrived in the window.
    pub(super) appends: u64,
    pub(super) events: u64,
    /// Appends refused in the whole run because the log's queue was full.
    pub(super) refused: u64,
    /// Why a client stopped early.
    pub(super) failure: Option<AppendError>,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self { latency: histogram(), appends: 0, events: 0, refused: 0, failure: None }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.latency.add(&other.latency).expect("all histograms have the same bounds");
        self.appends += other.appends;
        self.events += other.events;
        self.refused += other.refused;
        self.failure = self.failure.take().or(other.failure);
    }
}

/// What all clients share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load<'a> {
    pub(super) log: &'a Log,
    pub(super) clock: &'a SystemClock,
    pub(super) pool: &'a Pool,
    pub(super) shape: Shape,
    pub(super) window: &'a Window,
}

impl Load<'_> {
    /// Runs one client on this thread until the window closes.
    pub(super) fn run_client(self, number: u32, progress: &Progress) -> (Tally, Vec<StreamLedger>) {
        let tally = RefCell::new(Tally::new());
        let mut client = Client::new(self, number, &tally, progress);
        while client.fill() {
            match client.in_flight.pop_front() {
                Some((sent, ack)) => client.settle(sent, ack.wait()),
                None => std::thread::sleep(REFUSED_PAUSE),
            }
        }
        while let Some((sent, ack)) = client.in_flight.pop_front() {
            client.settle(sent, ack.wait());
        }
        let ledgers = client.ledgers;
        (tally.into_inner(), ledgers)
    }

    /// Runs all clients as futures on this thread until the window closes.
    pub(super) fn run_futures(
        self,
        clients: u32,
        progress: &Progress,
    ) -> (Tally, Vec<StreamLedger>) {
        let tally = RefCell::new(Tally::new());
        let run = async |number| {
            let mut client = Client::new(self, number, &tally, progress);
            while client.fill() {
                match client.in_flight.pop_front() {
                    Some((sent, ack)) => client.settle(sent, ack.await),
                    None => Yield::default().await,
                }
            }
            while let Some((sent, ack)) = client.in_flight.pop_front() {
                client.settle(sent, ack.await);
            }
            client.ledgers
        };
        let ledgers = run_all((0..clients).map(&run)).into_iter().flatten().collect();
        (tally.into_inner(), ledgers)
    }
}

/// An append in flight.
#[derive(Clone, Copy, Debug)]
struct Sent {
    at: u64,
    stream: u32,
    sequence: u64,
}

struct Client<'a> {
    load: Load<'a>,
    number: u32,
    tally: &'a RefCell<Tally>,
    progress: &'a Progress,
    ledgers: Vec<StreamLedger>,
    in_flight: VecDeque<(Sent, Ack)>,
    next_stream: u32,
    failed: bool,
    buffer: Vec<u8>,
}

impl<'a> Client<'a> {
    fn new(load: Load<'a>, number: u32, tally: &'a RefCell<Tally>, progress: &'a Progress) -> Self {
        Self {
            load,
            number,
            tally,
            progress,
            ledgers: (0..load.shape.streams).map(|s| StreamLedger::new(number, s)).collect(),
            in_flight: VecDeque::with_capacity(load.shape.pipeline),
            next_stream: 0,
            failed: false,
            buffer: Vec::new(),
        }
    }

    /// Sends until the pipeline is full or an append is refused. Returns false when the client is
    /// to end.
    fn fill(&mut self) -> bool {
        while self.in_flight.len() < self.load.shape.pipeline {
            if self.failed || self.load.window.is_closed() {
                return false;
            }
            if !self.send() {
                break;
            }
        }
        !self.failed
    }

    fn send(&mut self) -> bool {
        let Shape { batch, streams, .. } = self.load.shape;
        let (client, stream) = (self.number, self.next_stream);
        self.next_stream = (stream + 1) % streams;
        let ledger = &mut self.ledgers[stream as usize];
        let sequence = ledger.send(u64::from(batch));
        let sent = Sent { at: now(self.load.clock), stream, sequence };
        let (pool, buffer) = (self.load.pool, &mut self.buffer);
        let events = (0..u64::from(batch)).map(|index| {
            pool.event(Identity { client, stream, sequence: sequence + index }, buffer)
        });
        match self.load.log.append(&ledger.name, Expected::Any, events) {
            Ok(ack) => {
                self.in_flight.push_back((sent, ack));
                true
            }
            Err(error) => {
                self.fail(sent, error);
                false
            }
        }
    }

    fn settle(&mut self, sent: Sent, answer: Result<Appended, AppendError>) {
        let time = now(self.load.clock);
        let appended = match answer {
            Ok(appended) => appended,
            Err(error) => return self.fail(sent, error),
        };
        let batch = u64::from(self.load.shape.batch);
        self.ledgers[sent.stream as usize].ack(sent.sequence, batch, &appended);
        self.progress.0.fetch_add(batch, Ordering::Relaxed);
        let mut tally = self.tally.borrow_mut();
        if self.load.window.contains(time) {
            tally.appends += 1;
            tally.events += batch;
        }
        if self.load.window.contains(sent.at) {
            tally.latency.saturating_record(time.saturating_sub(sent.at));
        }
    }

    #[cold]
    fn fail(&mut self, sent: Sent, error: AppendError) {
        let batch = u64::from(self.load.shape.batch);
        let ledger = &mut self.ledgers[sent.stream as usize];
        let mut tally = self.tally.borrow_mut();
        if matches!(error, AppendError::Failed(_)) {
            ledger.unanswered.add(sent.sequence, batch);
        } else {
            ledger.refused.add(sent.sequence, batch);
        }
        // Any other refusal lasts: to send again would measure how fast a log refuses.
        if matches!(error, AppendError::Busy) {
            tally.refused += 1;
        } else {
            self.failed = true;
            tally.failure.get_or_insert(error);
        }
    }
}

/// Nanoseconds of the run's clock.
pub(super) fn now(clock: &SystemClock) -> u64 {
    u64::try_from(clock.monotonic().as_nanos()).unwrap_or(u64::MAX)
}
