//! Owns the clients of a closed loop, and what they share with the senders of an open one: how an
//! append is made from an order, and what its answer does to the ledger and the tally.
//!
//! Promises: every append is in its client's ledger before anything is decided about it; every
//! sample is recorded, and no answer is dropped: what is in flight at the end is waited for. A
//! closed loop asks a stalled log less, so its only latency is the time of service, from the actual
//! send to the moment the client has its ack.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hdrhistogram::Histogram;

use crate::clock::{Clock, SystemClock};
use crate::{AppendError, Appended, Expected, StreamVersion};

use super::executor::{Yield, run_all};
use super::ledger::{Ranges, StreamLedger};
use super::payload::{Identity, Pool, stream_name};
use super::plan::{Mix, Order, Orders};
use super::pulse::Slot;
use super::report::{TIME_NS_MAX, histogram};
use super::target::{LogTarget, Target};

#[cfg(test)]
pub(super) mod tests;

/// How long a client rests when everything it sent was refused, in nanoseconds.
pub(super) const REFUSED_PAUSE: u64 = 1_000_000;

/// The part of a run that counts, in nanoseconds of the run's clock.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) start: u64,
    end: AtomicU64,
    closed: AtomicBool,
}

impl Window {
    /// What is due from `start` to before `end` counts.
    pub(super) fn new(start: u64, end: u64) -> Self {
        Self { start, end: AtomicU64::new(end), closed: AtomicBool::new(false) }
    }

    /// Closes the window, now at the latest: nothing more is sent.
    pub(super) fn close(&self, now: u64) {
        self.end.fetch_min(now, Ordering::Relaxed);
        self.closed.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    pub(super) fn end(&self) -> u64 {
        self.end.load(Ordering::Relaxed)
    }

    pub(super) fn contains(&self, time: u64) -> bool {
        (self.start..self.end()).contains(&time)
    }
}

/// What the clients of one thread measured.
#[derive(Debug)]
pub(super) struct Tally {
    /// Nanoseconds from the planned moment to the ack; of an open loop only.
    pub(super) response: Option<Histogram<u64>>,
    /// Nanoseconds from send to ack.
    pub(super) service: Histogram<u64>,
    /// Of the appends that were due in the window: acked, and refused or failed.
    pub(super) acked: u64,
    pub(super) acked_events: u64,
    pub(super) conditional: u64,
    pub(super) failed: u64,
    pub(super) unanswered: u64,
    pub(super) shed: u64,
    /// What was acked within the window, whenever it was due.
    pub(super) appends: u64,
    pub(super) events: u64,
    pub(super) bytes: u64,
    /// Attempts that found the log's queue full.
    pub(super) busy: u64,
    /// Why a client stopped early.
    pub(super) failure: Option<AppendError>,
}

impl Tally {
    pub(super) fn new(open: bool) -> Self {
        Self {
            response: open.then(histogram),
            service: histogram(),
            acked: 0,
            acked_events: 0,
            conditional: 0,
            failed: 0,
            unanswered: 0,
            shed: 0,
            appends: 0,
            events: 0,
            bytes: 0,
            busy: 0,
            failure: None,
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        let same = "all histograms have the same bounds";
        self.service.add(&other.service).expect(same);
        if let Some((mine, others)) = self.response.as_mut().zip(other.response) {
            mine.add(&others).expect(same);
        }
        self.acked += other.acked;
        self.acked_events += other.acked_events;
        self.conditional += other.conditional;
        self.failed += other.failed;
        self.unanswered += other.unanswered;
        self.shed += other.shed;
        self.appends += other.appends;
        self.events += other.events;
        self.bytes += other.bytes;
        self.busy += other.busy;
        self.failure = self.failure.take().or(other.failure);
    }

    /// Counts appends that were due and have no answer: slower than all others.
    pub(super) fn unanswered(&mut self, count: u64) {
        self.unanswered += count;
        // To record a value no times would still raise the maximum to it.
        if let Some(response) = self.response.as_mut().filter(|_| count > 0) {
            response.saturating_record_n(TIME_NS_MAX, count);
        }
    }
}

/// An append under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parcel {
    /// When it was due; in a closed loop when it was sent.
    pub(super) due: u64,
    pub(super) sent: u64,
    pub(super) stream: u32,
    pub(super) sequence: u64,
    pub(super) batch: u32,
    pub(super) bytes: u64,
    pub(super) conditional: bool,
}

/// The sending side of one client.
#[derive(Debug)]
pub(super) struct Hand<'a> {
    number: u32,
    pool: &'a Pool,
    cursors: Vec<Cursor>,
    buffer: Vec<u8>,
}

/// How far a client is in one of its streams, to which nobody else appends.
#[derive(Debug)]
struct Cursor {
    name: String,
    sent: u64,
    /// Events that the log took: the version of the next one, while none of them is refused later.
    taken: u64,
    refused: Ranges,
}

impl<'a> Hand<'a> {
    pub(super) fn new(pool: &'a Pool, number: u32, streams: u32) -> Self {
        let cursor = |stream| Cursor {
            name: stream_name(number, stream),
            sent: 0,
            taken: 0,
            refused: Ranges::default(),
        };
        Self { number, pool, cursors: (0..streams).map(cursor).collect(), buffer: Vec::new() }
    }

    /// Makes an append of an order.
    pub(super) fn take(&mut self, order: Order, due: u64) -> Parcel {
        let Order { stream, batch, conditional } = order;
        let cursor = &mut self.cursors[stream as usize];
        let sequence = cursor.sent;
        cursor.sent += u64::from(batch);
        let (client, numbers) = (self.number, sequence..cursor.sent);
        let size = |sequence| self.pool.size(Identity { client, stream, sequence });
        let bytes = numbers.map(size).sum();
        Parcel { due, sent: due, stream, sequence, batch, bytes, conditional }
    }

    pub(super) fn submit<T: Target>(
        &mut self,
        target: &mut T,
        parcel: &Parcel,
    ) -> Result<T::Ticket, AppendError> {
        let Parcel { stream, sequence, batch, due, .. } = *parcel;
        let (client, pool, buffer) = (self.number, self.pool, &mut self.buffer);
        let cursor = &mut self.cursors[stream as usize];
        let events = (sequence..sequence + u64::from(batch))
            .map(|sequence| pool.event(Identity { client, stream, sequence }, due, buffer));
        let expected = parcel.conditional.then(|| match cursor.taken.checked_sub(1) {
            None => Expected::NoStream,
            Some(version) => Expected::Exact(StreamVersion::new(version)),
        });
        let ticket = target.submit(&cursor.name, expected, events)?;
        cursor.taken += u64::from(batch);
        Ok(ticket)
    }

    /// Notes that the log refused an append.
    pub(super) fn refuse(&mut self, parcel: &Parcel) {
        let cursor = &mut self.cursors[parcel.stream as usize];
        cursor.refused.add(parcel.sequence, parcel.batch.into());
    }

    /// Completes the ledgers of the same streams with what only the sending side knows.
    pub(super) fn complete(self, ledgers: &mut [StreamLedger]) {
        for (ledger, cursor) in ledgers.iter_mut().zip(self.cursors) {
            ledger.sent = cursor.sent;
            for (first, count) in cursor.refused.iter() {
                ledger.refused.add(first, count);
            }
        }
    }
}

/// The receiving side of one client.
#[derive(Debug)]
pub(super) struct Book<'a> {
    pub(super) ledgers: Vec<StreamLedger>,
    pub(super) tally: &'a RefCell<Tally>,
    window: &'a Window,
    slot: &'a Slot,
}

impl<'a> Book<'a> {
    pub(super) fn new(
        (number, streams): (u32, u32),
        tally: &'a RefCell<Tally>,
        window: &'a Window,
        slot: &'a Slot,
    ) -> Self {
        let ledgers = (0..streams).map(|stream| StreamLedger::new(number, stream)).collect();
        Self { ledgers, tally, window, slot }
    }

    /// Notes an answer that came at `at`; returns whether the client may go on.
    pub(super) fn settle(
        &mut self,
        parcel: &Parcel,
        at: u64,
        answer: Result<Appended, AppendError>,
    ) -> bool {
        let batch = u64::from(parcel.batch);
        let ledger = &mut self.ledgers[parcel.stream as usize];
        let mut tally = self.tally.borrow_mut();
        let measured = self.window.contains(parcel.due);
        let appended = match answer {
            Ok(appended) => appended,
            Err(error) => {
                // Only a failed log does not know what became of an append.
                let fate = if matches!(error, AppendError::Failed(_)) {
                    &mut ledger.unanswered
                } else {
                    &mut ledger.refused
                };
                fate.add(parcel.sequence, batch);
                tally.failed += u64::from(measured);
                tally.failure.get_or_insert(error);
                return false;
            }
        };
        ledger.ack(parcel.sequence, batch, &appended);
        let response = at.saturating_sub(parcel.due);
        self.slot.note(batch, response);
        if self.window.contains(at) {
            tally.appends += 1;
            tally.events += batch;
            tally.bytes += parcel.bytes;
        }
        if measured {
            tally.acked += 1;
            tally.acked_events += batch;
            tally.conditional += u64::from(parcel.conditional);
            tally.service.saturating_record(at.saturating_sub(parcel.sent));
            if let Some(responses) = &mut tally.response {
                responses.saturating_record(response);
            }
        }
        true
    }

    /// Notes that an append has no answer, and that nobody waits for one any more.
    pub(super) fn give_up(&mut self, parcel: &Parcel) {
        let ledger = &mut self.ledgers[parcel.stream as usize];
        ledger.unanswered.add(parcel.sequence, parcel.batch.into());
        if self.window.contains(parcel.due) {
            self.tally.borrow_mut().unanswered(1);
        }
    }
}

/// What all clients of a closed loop share.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClosedLoad<'a> {
    pub(super) pool: &'a Pool,
    pub(super) mix: &'a Mix,
    pub(super) seed: u64,
    /// Appends in flight.
    pub(super) pipeline: usize,
    /// Events after which a client stops by itself.
    pub(super) events_max: u64,
    pub(super) window: &'a Window,
    pub(super) interrupted: &'a AtomicBool,
}

impl ClosedLoad<'_> {
    fn is_over(&self) -> bool {
        self.window.is_closed() || self.interrupted.load(Ordering::Relaxed)
    }

    /// Runs one client on this thread until the window closes.
    pub(super) fn run_client<T: Target>(
        self,
        number: u32,
        target: &mut T,
        slot: &Slot,
    ) -> (Tally, Vec<StreamLedger>) {
        let tally = RefCell::new(Tally::new(false));
        let mut client = Client::new(self, number, &tally, slot);
        while client.fill(target) {
            match client.in_flight.pop_front() {
                Some((parcel, ticket)) => {
                    let (at, answer) = target.wait(ticket);
                    client.settle(&parcel, at, answer);
                }
                None => target.wait_until(target.now() + REFUSED_PAUSE),
            }
        }
        while let Some((parcel, ticket)) = client.in_flight.pop_front() {
            let (at, answer) = target.wait(ticket);
            client.settle(&parcel, at, answer);
        }
        let ledgers = client.finish();
        (tally.into_inner(), ledgers)
    }

    /// Runs all clients as futures on this thread until the window closes.
    pub(super) fn run_futures(
        self,
        clients: u32,
        target: LogTarget<'_>,
        slot: &Slot,
    ) -> (Tally, Vec<StreamLedger>) {
        let tally = RefCell::new(Tally::new(false));
        let run = async |number| {
            let mut target = target;
            let mut client = Client::new(self, number, &tally, slot);
            while client.fill(&mut target) {
                match client.in_flight.pop_front() {
                    Some((parcel, ack)) => {
                        let answer = ack.await;
                        client.settle(&parcel, target.now(), answer);
                    }
                    None => Yield::default().await,
                }
            }
            while let Some((parcel, ack)) = client.in_flight.pop_front() {
                let answer = ack.await;
                client.settle(&parcel, target.now(), answer);
            }
            client.finish()
        };
        let ledgers = run_all((0..clients).map(&run)).into_iter().flatten().collect();
        (tally.into_inner(), ledgers)
    }
}

struct Client<'a, T> {
    load: ClosedLoad<'a>,
    orders: Orders,
    hand: Hand<'a>,
    book: Book<'a>,
    in_flight: VecDeque<(Parcel, T)>,
    events_left: u64,
    failed: bool,
}

impl<'a, T> Client<'a, T> {
    fn new(load: ClosedLoad<'a>, number: u32, tally: &'a RefCell<Tally>, slot: &'a Slot) -> Self {
        let streams = load.mix.streams;
        Self {
            load,
            orders: Orders::new(load.seed, number, load.mix),
            hand: Hand::new(load.pool, number, streams),
            book: Book::new((number, streams), tally, load.window, slot),
            in_flight: VecDeque::with_capacity(load.pipeline),
            events_left: load.events_max,
            failed: false,
        }
    }

    /// Sends until the pipeline is full or an append is refused. Returns false when the client is
    /// to end.
    fn fill(&mut self, target: &mut impl Target<Ticket = T>) -> bool {
        while self.in_flight.len() < self.load.pipeline {
            if self.failed || self.events_left == 0 || self.load.is_over() {
                return false;
            }
            if !self.send(target) {
                break;
            }
        }
        !self.failed
    }

    fn send(&mut self, target: &mut impl Target<Ticket = T>) -> bool {
        let Some(order) = self.orders.next() else {
            return false;
        };
        let parcel = self.hand.take(order, target.now());
        self.events_left = self.events_left.saturating_sub(order.batch.into());
        match self.hand.submit(target, &parcel) {
            Ok(ticket) => {
                self.in_flight.push_back((parcel, ticket));
                true
            }
            Err(error) => {
                self.hand.refuse(&parcel);
                self.refused(error, self.load.window.contains(parcel.due));
                false
            }
        }
    }

    fn settle(&mut self, parcel: &Parcel, at: u64, answer: Result<Appended, AppendError>) {
        self.failed |= !self.book.settle(parcel, at, answer);
    }

    #[cold]
    fn refused(&mut self, error: AppendError, measured: bool) {
        let mut tally = self.book.tally.borrow_mut();
        // Any other refusal lasts: to send again would measure how fast a log refuses.
        if matches!(error, AppendError::Busy) {
            tally.busy += 1;
            tally.shed += u64::from(measured);
        } else {
            self.failed = true;
            tally.failed += u64::from(measured);
            tally.failure.get_or_insert(error);
        }
    }

    fn finish(mut self) -> Vec<StreamLedger> {
        self.hand.complete(&mut self.book.ledgers);
        self.book.ledgers
    }
}

/// Nanoseconds of the run's clock.
pub(super) fn now(clock: &SystemClock) -> u64 {
    u64::try_from(clock.monotonic().as_nanos()).unwrap_or(u64::MAX)
}
