//! Owns the proof that the tester sees a stall: a store that stands still for 200 ms every 5 s,
//! under an open and under a closed loop, on a clock that the test itself moves.
//!
//! Promises: no timing decides, and nothing here sleeps.

use super::super::open::{Manner, send};
use super::super::plan::Moments;
use super::super::report::{Arrivals, Distribution, WhenFull};
use super::*;
use crate::{NewEvent, Position, Timestamp};

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000 * MICROSECOND;
const SECOND: u64 = 1_000 * MILLISECOND;
/// Time that the fake store works on an append.
const SERVICE: u64 = 50 * MICROSECOND;
const STALL: u64 = 200 * MILLISECOND;
const STALL_EVERY: u64 = 5 * SECOND;

/// A store that takes appends one after the other, and stands still at the end of each 5 s.
#[derive(Debug)]
pub(in super::super) struct Fake {
    now: u64,
    /// When the last append it took is done.
    free: u64,
    next: u64,
    /// When each append that it has taken is done.
    done: VecDeque<u64>,
    /// Appends that it takes before those are done.
    room: usize,
    stalls: bool,
    /// Time that a sender needs to hand over an append.
    cost: u64,
}

impl Fake {
    fn new(stalls: bool) -> Self {
        Self { now: 0, free: 0, next: 0, done: VecDeque::new(), room: usize::MAX, stalls, cost: 0 }
    }

    /// When work of `SERVICE` is done that begins at `time`.
    fn work_from(&self, time: u64) -> u64 {
        let into = time % STALL_EVERY;
        let begin = STALL_EVERY - STALL;
        let stalled = self.stalls && into + SERVICE > begin;
        if stalled { time - into + STALL_EVERY + SERVICE } else { time + SERVICE }
    }
}

impl Target for Fake {
    type Ticket = (u64, Appended);

    fn now(&self) -> u64 {
        self.now
    }

    fn wait_until(&mut self, time: u64) {
        self.now = self.now.max(time);
    }

    fn submit(
        &mut self,
        _stream: &str,
        _expected: Option<Expected>,
        events: impl IntoIterator<Item = NewEvent>,
    ) -> Result<Self::Ticket, AppendError> {
        while self.done.front().is_some_and(|done| *done <= self.now) {
            self.done.pop_front();
        }
        if self.done.len() >= self.room {
            return Err(AppendError::Busy);
        }
        self.free = self.work_from(self.now.max(self.free));
        self.done.push_back(self.free);
        self.now += self.cost;
        let count = events.into_iter().count() as u64;
        let first = self.next;
        self.next += count;
        let appended = Appended {
            first_position: Position::new(first),
            last_position: Position::new(self.next - 1),
            version: StreamVersion::new(self.next - 1),
            time: Timestamp::default(),
            repeated: false,
            events: 1,
            streams: crate::append::Parts::Each(Vec::new()),
        };
        Ok((self.free, appended))
    }

    fn wait(&mut self, (done, appended): Self::Ticket) -> (u64, Result<Appended, AppendError>) {
        self.now = self.now.max(done);
        (self.now, Ok(appended))
    }
}

fn mix() -> Mix {
    Mix {
        sizes: "64".parse().unwrap(),
        batches: "1".parse().unwrap(),
        streams: 1,
        skew: "turns".parse().unwrap(),
        conditions: 0.0,
    }
}

/// What an open loop over 60 s finds: the tally of the answers and that of the sender.
fn open_loop(fake: &mut Fake, rate: f64, when_full: WhenFull) -> (Tally, Distribution) {
    let (mix, slot) = (mix(), Slot::new());
    let pool = Pool::new(1, mix.sizes, false);
    let window = Window::new(0, 60 * SECOND);
    let manner = Manner { window: &window, when_full, limit: 100 * SECOND };
    let moments = Moments::new(1, (0, 1), rate, Arrivals::Constant);
    let plan = moments.take_while(|moment| *moment < window.end()).zip(Orders::new(1, 0, &mix));
    let mut hand = Hand::new(&pool, 0, 1);
    let mut answers = Vec::new();
    let pass_on = |parcel, ticket| answers.push((parcel, ticket));
    let sending = send(plan, &mut hand, fake, manner, pass_on);
    let tally = RefCell::new(Tally::new(true));
    let mut book = Book::new((0, 1), &tally, &window, &slot);
    for (parcel, (done, appended)) in answers {
        assert!(book.settle(&parcel, done, Ok(appended)));
    }
    let mut tally = tally.into_inner();
    let lateness = sending.add_to(&mut tally);
    (tally, Distribution::of(&lateness))
}

fn closed_loop(fake: &mut Fake) -> Tally {
    let (mix, slot, interrupted) = (mix(), Slot::new(), AtomicBool::new(false));
    let pool = Pool::new(1, mix.sizes, false);
    let window = Window::new(0, 60 * SECOND);
    let load = ClosedLoad {
        pool: &pool,
        mix: &mix,
        seed: 1,
        pipeline: 1,
        // One after the other they fill the minute.
        events_max: 60 * SECOND / SERVICE,
        window: &window,
        interrupted: &interrupted,
    };
    load.run_client(0, fake, &slot).0
}

/// Part of the samples that took longer than a time, in percent.
fn above(times: &Histogram<u64>, nanos: u64) -> f64 {
    let slow = times.len() - times.count_between(0, nanos);
    slow as f64 * 100.0 / times.len() as f64
}

#[test]
fn an_open_loop_shows_every_append_that_a_stall_kept_waiting() {
    let (tally, lateness) = open_loop(&mut Fake::new(true), 1_000.0, WhenFull::Retry);
    let response = tally.response.unwrap();
    assert_eq!(response.len(), 60_000);
    // 200 of each 5,000 appends are due in the stall, and the one after it waits for them.
    let affected = above(&response, MILLISECOND);
    assert!((3.9..4.5).contains(&affected), "{affected} %");
    let p99 = response.value_at_quantile(0.99);
    assert!((140 * MILLISECOND..165 * MILLISECOND).contains(&p99), "p99 {p99} ns");
    let max = response.max();
    assert!((195 * MILLISECOND..205 * MILLISECOND).contains(&max), "max {max} ns");
    assert!(response.value_at_quantile(0.5) < 60 * MICROSECOND);
    assert_eq!(lateness.max_ns, 0, "the sender is never held up");
}

#[test]
fn a_closed_loop_on_the_same_store_shows_next_to_nothing() {
    let tally = closed_loop(&mut Fake::new(true));
    let service = tally.service;
    assert!(service.len() > 1_000_000);
    assert!(above(&service, MILLISECOND) < 0.002, "{} %", above(&service, MILLISECOND));
    assert!(service.value_at_quantile(0.999) < 60 * MICROSECOND);
    // One sample for each stall, where users would have felt thousands.
    assert_eq!(service.len() - service.count_between(0, MILLISECOND), 12);
}

#[test]
fn a_store_that_does_not_stall_is_quiet_in_both() {
    let (tally, _) = open_loop(&mut Fake::new(false), 1_000.0, WhenFull::Retry);
    assert!(tally.response.unwrap().max() < 60 * MICROSECOND);
    assert!(closed_loop(&mut Fake::new(false)).service.max() < 60 * MICROSECOND);
}

#[test]
fn a_full_queue_moves_no_planned_moment_and_is_not_the_senders_fault() {
    let small = || Fake { room: 10, ..Fake::new(true) };
    let (tally, lateness) = open_loop(&mut small(), 1_000.0, WhenFull::Retry);
    let response = tally.response.unwrap();
    assert_eq!((response.len(), tally.shed), (60_000, 0));
    assert!(tally.busy > 10_000, "{}", tally.busy);
    let affected = above(&response, MILLISECOND);
    assert!((3.9..4.6).contains(&affected), "{affected} %");
    assert!(lateness.at(99.9) < MILLISECOND, "{lateness:?}");
    let (tally, _) = open_loop(&mut small(), 1_000.0, WhenFull::Shed);
    assert_eq!(tally.acked + tally.shed, 60_000);
    assert_eq!(tally.shed, tally.busy);
    let shed = tally.shed as f64 / 600.0;
    assert!((3.6..4.0).contains(&shed), "{shed} %");
}

#[test]
fn a_sender_that_is_too_slow_for_its_plan_is_late() {
    let mut slow = Fake { cost: 2 * MILLISECOND, ..Fake::new(false) };
    let (tally, lateness) = open_loop(&mut slow, 1_000.0, WhenFull::Retry);
    // It sends at half the rate, so after 60 s it is behind by as much; at 100 s it gives up.
    assert!(lateness.max_ns > 39 * SECOND, "{lateness:?}");
    assert_eq!(tally.acked + tally.unanswered, 60_000);
    assert!((9_900..10_100).contains(&tally.unanswered), "{}", tally.unanswered);
    assert!(tally.response.unwrap().max() >= TIME_NS_MAX, "what has no answer is slowest");
}
