//! Owns the open loop: a sender that follows its plan whatever the log does, and a collector that
//! takes the answers.
//!
//! Promises: the sender never waits for an answer, and neither a slow answer nor a full queue moves
//! a planned moment. Time runs from the planned moment, so what a stalled log kept waiting is
//! measured in full (no coordinated omission, G. Tene). The sender's own lateness is measured apart
//! from what it waited for room in the queue.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::clock::SystemClock;
use crate::{Ack, AppendError, Appended};

use super::ledger::StreamLedger;
use super::load::{Book, Hand, Parcel, Tally, Window, now};
use super::plan::Order;
use super::pulse::Slot;
use super::report::{WhenFull, histogram};
use super::target::Target;

/// How long a sender rests before it offers an append again that found the queue full.
const FULL_PAUSE: u64 = 50_000;
/// Longest sleep of a collector.
const LOOK: Duration = Duration::from_millis(100);

/// How a sender behaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner<'a> {
    pub(super) window: &'a Window,
    pub(super) when_full: WhenFull,
    /// When everything that is still to be sent or answered is given up.
    pub(super) limit: u64,
}

/// What a sender measured of itself.
#[derive(Debug)]
pub(super) struct Sending {
    /// Nanoseconds by which it was late by its own doing.
    pub(super) lateness: Histogram<u64>,
    pub(super) busy: u64,
    pub(super) shed: u64,
    pub(super) failed: u64,
    /// Appends that were due and that it did not come to.
    pub(super) unsent: u64,
    pub(super) failure: Option<AppendError>,
}

impl Sending {
    fn new() -> Self {
        let (busy, shed, failed, unsent) = (0, 0, 0, 0);
        Self { lateness: histogram(), busy, shed, failed, unsent, failure: None }
    }

    /// Adds this to what the collector of the same appends found.
    pub(super) fn add_to(self, tally: &mut Tally) -> Histogram<u64> {
        tally.busy += self.busy;
        tally.shed += self.shed;
        tally.failed += self.failed;
        tally.unanswered(self.unsent);
        tally.failure = tally.failure.take().or(self.failure);
        self.lateness
    }
}

/// What became of an append that was to be sent.
enum Sent<T> {
    Taken(T),
    Dropped,
    /// Nothing more is to be sent.
    Over,
}

/// Sends a plan: pairs of a moment, by the clock of the target, and an order.
pub(super) fn send<T: Target>(
    plan: impl IntoIterator<Item = (u64, Order)>,
    hand: &mut Hand<'_>,
    target: &mut T,
    manner: Manner<'_>,
    mut pass_on: impl FnMut(Parcel, T::Ticket),
) -> Sending {
    let mut sending = Sending::new();
    let mut plan = plan.into_iter();
    // By how much the appends are behind because the queue was full.
    let mut held_up = 0;
    for (due, order) in plan.by_ref() {
        let mut parcel = hand.take(order, due);
        target.wait_until(due);
        parcel.sent = target.now();
        let measured = manner.window.contains(due);
        let late = parcel.sent.saturating_sub(due);
        held_up = late.min(held_up);
        if measured {
            sending.lateness.saturating_record(late - held_up);
        }
        match sending.offer(hand, target, manner, &mut parcel) {
            Sent::Taken(ticket) => {
                held_up += parcel.sent.saturating_sub(due).saturating_sub(late);
                pass_on(parcel, ticket);
            }
            Sent::Dropped => {}
            Sent::Over => break,
        }
    }
    let due = |(due, _): &(u64, Order)| manner.window.contains(*due);
    sending.unsent += plan.filter(due).count() as u64;
    sending
}

impl Sending {
    fn offer<T: Target>(
        &mut self,
        hand: &mut Hand<'_>,
        target: &mut T,
        manner: Manner<'_>,
        parcel: &mut Parcel,
    ) -> Sent<T::Ticket> {
        let measured = u64::from(manner.window.contains(parcel.due));
        loop {
            let over = manner.window.is_closed() || parcel.sent > manner.limit;
            if over {
                hand.refuse(parcel);
                self.unsent += measured;
                return Sent::Over;
            }
            match hand.submit(target, parcel) {
                Ok(ticket) => return Sent::Taken(ticket),
                Err(AppendError::Busy) => self.busy += 1,
                Err(error) => {
                    hand.refuse(parcel);
                    self.failed += measured;
                    self.failure = Some(error);
                    return Sent::Over;
                }
            }
            if manner.when_full == WhenFull::Shed {
                hand.refuse(parcel);
                self.shed += measured;
                return Sent::Dropped;
            }
            target.wait_until(target.now() + FULL_PAUSE);
            parcel.sent = target.now();
        }
    }
}

/// An append on its way from the sender to the collector.
#[derive(Debug)]
pub(super) enum Passed {
    Waiting(Parcel, Ack),
    /// The answer was there at once.
    Answered(Parcel, u64, Result<Appended, AppendError>),
}

/// Wakes a collector: once for all answers that come while it works or sleeps.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    collector: OnceLock<Thread>,
    rung: AtomicBool,
    calls: AtomicU64,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.calls.fetch_add(1, Ordering::AcqRel);
        if !self.rung.swap(true, Ordering::AcqRel)
            && let Some(collector) = self.collector.get()
        {
            collector.unpark();
        }
    }
}

/// Passes acks on to a collector, which their answers wake; the sender does not.
#[derive(Debug)]
pub(super) struct Passer<'a> {
    clock: &'a SystemClock,
    alarm: Arc<Alarm>,
    waker: Waker,
    /// Always there until it is dropped.
    to: Option<Sender<Passed>>,
}

impl<'a> Passer<'a> {
    pub(super) fn new(clock: &'a SystemClock, alarm: &Arc<Alarm>, to: Sender<Passed>) -> Self {
        Self {
            clock,
            alarm: Arc::clone(alarm),
            waker: Waker::from(Arc::clone(alarm)),
            to: Some(to),
        }
    }

    pub(super) fn pass(&self, parcel: Parcel, mut ack: Ack) {
        let calls = self.alarm.calls.load(Ordering::Acquire);
        let passed = match Pin::new(&mut ack).poll(&mut Context::from_waker(&self.waker)) {
            Poll::Pending => Passed::Waiting(parcel, ack),
            Poll::Ready(answer) => Passed::Answered(parcel, now(self.clock), answer),
        };
        let answered = matches!(passed, Passed::Answered(..));
        if let Some(to) = &self.to {
            // The collector lives until this channel ends.
            let _ = to.send(passed);
        }
        // An answer that came before the append was passed on has woken a collector that did not
        // find it.
        if answered || self.alarm.calls.load(Ordering::Acquire) != calls {
            self.alarm.wake_by_ref();
        }
    }
}

impl Drop for Passer<'_> {
    fn drop(&mut self) {
        // In this order, so that the collector sees the end of the channel.
        self.to = None;
        self.alarm.wake_by_ref();
    }
}

impl Passed {
    fn is_answered(&self) -> bool {
        match self {
            Self::Waiting(_, ack) => ack.is_ready(),
            Self::Answered(..) => true,
        }
    }

    fn settle(self, book: &mut Book<'_>, clock: &SystemClock) {
        let (parcel, at, answer) = match self {
            Self::Waiting(parcel, ack) => (parcel, now(clock), ack.wait()),
            Self::Answered(parcel, at, answer) => (parcel, at, answer),
        };
        book.settle(&parcel, at, answer);
    }

    fn give_up(&self, book: &mut Book<'_>) {
        let (Self::Waiting(parcel, _) | Self::Answered(parcel, ..)) = self;
        book.give_up(parcel);
    }
}

/// Takes the answers of one sender until it has ended and all are there, or the limit has come.
///
/// They are noted in the order of the sender, which is that of the log: an answer that was there at
/// once stands behind those before it all the same.
pub(super) fn collect(
    from: &Receiver<Passed>,
    alarm: &Alarm,
    clock: &SystemClock,
    (owner, window, slot): ((u32, u32), &Window, &Slot),
    limit: u64,
) -> (Tally, Vec<StreamLedger>) {
    let tally = RefCell::new(Tally::new(true));
    let mut book = Book::new(owner, &tally, window, slot);
    let mut waiting: VecDeque<Passed> = VecDeque::new();
    alarm.collector.get_or_init(std::thread::current);
    loop {
        alarm.rung.store(false, Ordering::Release);
        let ended = loop {
            match from.try_recv() {
                Ok(passed) => waiting.push_back(passed),
                Err(end) => break end == TryRecvError::Disconnected,
            }
        };
        while let Some(passed) = waiting.pop_front_if(|passed| passed.is_answered()) {
            passed.settle(&mut book, clock);
        }
        if ended && now(clock) > limit {
            waiting.drain(..).for_each(|passed| passed.give_up(&mut book));
        }
        if ended && waiting.is_empty() {
            break;
        }
        if !alarm.rung.load(Ordering::Acquire) {
            std::thread::park_timeout(LOOK);
        }
    }
    let ledgers = book.ledgers;
    (tally.into_inner(), ledgers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::append::{Stored, StreamNames, Versions};
    use crate::disk::map::Home;
    use crate::stage::ack::{Promise, promise};
    use crate::stage::lounge::Lounge;
    use crate::{Position, StreamVersion, Timestamp};

    fn parcel(sequence: u64) -> Parcel {
        let (stream, batch, bytes, conditional) = (0, 1, 16, false);
        Parcel { due: 0, sent: 0, stream, sequence, batch, bytes, conditional }
    }

    fn asked() -> (Promise, Ack) {
        let clock = Arc::new(SystemClock::default());
        promise(
            &Arc::new(Lounge::new(Duration::ZERO, clock, Home::default())),
            StreamNames::Each(Vec::new()),
        )
    }

    fn stored(number: u64) -> Stored {
        let (position, version) = (Position::new(number), StreamVersion::new(number));
        Stored {
            first_position: position,
            last_position: position,
            events: 1,
            version,
            time: Timestamp::default(),
            repeated: false,
            versions: Versions::One(version, version),
        }
    }

    /// Passes on two appends, the second of which is answered at once, and the first later or
    /// never.
    fn collect_two(first: Option<u64>, limit: u64) -> (Tally, Vec<StreamLedger>) {
        let (clock, window, slot) = (SystemClock::default(), Window::new(0, u64::MAX), Slot::new());
        let (to, from) = std::sync::mpsc::channel();
        let alarm = Arc::new(Alarm::default());
        let (early, ack) = asked();
        std::thread::scope(|scope| {
            let (shared, clock, owned) = (&alarm, &clock, ((0, 1), &window, &slot));
            let collector = scope.spawn(move || collect(&from, shared, clock, owned, limit));
            let passer = Passer::new(clock, &alarm, to);
            passer.pass(parcel(0), ack);
            let (late, ack) = asked();
            late.answer(Ok(stored(1)));
            passer.pass(parcel(1), ack);
            if let Some(number) = first {
                // A collector that does not keep the order has noted the second by then.
                std::thread::sleep(Duration::from_millis(20));
                early.answer(Ok(stored(number)));
                drop(passer);
                return collector.join().unwrap();
            }
            drop(passer);
            let collected = collector.join().unwrap();
            drop(early);
            collected
        })
    }

    #[test]
    fn answers_are_noted_in_the_order_of_the_sender() {
        let (tally, ledgers) = collect_two(Some(0), u64::MAX);
        let order: Vec<_> = ledgers[0].acked().map(|acked| acked.sequence).collect();
        assert_eq!((order, tally.acked), (vec![0, 1], 2));
    }

    #[test]
    fn what_has_no_answer_at_the_limit_is_given_up_and_counts_as_slowest() {
        let (tally, ledgers) = collect_two(None, 0);
        assert_eq!((tally.unanswered, ledgers[0].unanswered.count()), (2, 2));
        assert!(tally.response.unwrap().min() >= super::super::report::TIME_NS_MAX / 2);
    }
}
