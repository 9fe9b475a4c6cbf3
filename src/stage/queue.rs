//! Owns the bounded, measured queue between two stages: many producers, one consumer that takes all
//! there is at once.
//!
//! Promises: at most `count` items and `bytes` bytes (one item larger than all bytes enters an
//! empty queue); order is kept; a full queue turns away or waits to a deadline, as the producer
//! chose; closing wakes everybody. Taking swaps two buffers, so a busy queue allocates nothing.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::stage::histogram::Recorder;
use crate::stage::meter::moment;
use crate::stage::stats::QueueStats;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Condvar, Mutex, MutexGuard};

/// Why an item was turned away; the caller drops it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The queue stayed full to the deadline.
    Full,
    /// The queue is closed.
    Closed,
}

#[derive(Debug)]
struct Held<T> {
    item: T,
    since: Duration,
}

/// Items in the hands of the consumer.
#[derive(Debug)]
pub(crate) struct Taken<T> {
    items: VecDeque<Held<T>>,
    at: Duration,
}

impl<T> Default for Taken<T> {
    fn default() -> Self {
        Self { items: VecDeque::new(), at: Duration::ZERO }
    }
}

impl<T> Taken<T> {
    pub(crate) fn front(&self) -> Option<&T> {
        self.items.front().map(|held| &held.item)
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        self.pop_dated().map(|(item, _)| item)
    }

    /// The next item, and when its producer came with it.
    pub(crate) fn pop_dated(&mut self) -> Option<(T, Duration)> {
        self.items.pop_front().map(|held| (held.item, held.since))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// When they were taken.
    pub(crate) fn at(&self) -> Duration {
        self.at
    }
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<Held<T>>,
    bytes: usize,
    closed: bool,
    nudged: bool,
    consumer_sleeps: bool,
    /// With fewer items inside, the sleeping consumer is not woken.
    wanted: usize,
    producers_waiting: usize,
    pushed: u64,
    popped: u64,
    high_water: u64,
    full: u64,
    rejected: u64,
}

/// The queue.
///
/// It keeps the *flushable counter*: items enqueued, or about to be, and not yet handled. A
/// producer raises it before it takes the lock, the consumer lowers it as it handles. At zero
/// nobody is left who could share the consumer's next step.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
    left: Condvar,
    /// Items that are being pushed, or were and are not handled yet.
    unhandled: AtomicUsize,
    waits: Recorder,
    count_max: usize,
    bytes_max: usize,
    /// Nothing enters while the oldest item has waited for longer.
    age_max: Option<Duration>,
    clock: Arc<dyn Clock>,
}

impl<T> Queue<T> {
    pub(crate) fn new(count_max: usize, bytes_max: usize, clock: Arc<dyn Clock>) -> Self {
        let state = State {
            items: VecDeque::new(),
            bytes: 0,
            closed: false,
            nudged: false,
            consumer_sleeps: false,
            wanted: 1,
            producers_waiting: 0,
            pushed: 0,
            popped: 0,
            high_water: 0,
            full: 0,
            rejected: 0,
        };
        let (arrived, left) = (Condvar::new(), Condvar::new());
        let (unhandled, waits) = (AtomicUsize::new(0), Recorder::default());
        let state = Mutex::new(state);
        let age_max = None;
        Self { state, arrived, left, unhandled, waits, count_max, bytes_max, age_max, clock }
    }

    /// The same queue, which turns items away while the oldest inside has waited for longer.
    pub(crate) fn shedding(self, age_max: Option<Duration>) -> Self {
        Self { age_max, ..self }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an item of so many bytes, waiting at most `wait` for room, and wakes the consumer.
    pub(crate) fn push(&self, item: T, bytes: usize, wait: Duration) -> Result<(), Refused> {
        let put = self.put(item, bytes, wait);
        if put.is_err() && self.is_handled() {
            // The consumer may wait for this very item, which is not to come.
            self.nudge();
        }
        self.wake(put?);
        Ok(())
    }

    /// Adds an item of so many bytes, waiting at most `wait` for room; the consumer learns of it by
    /// a later [`Queue::nudge`], when it is worth its wake.
    pub(crate) fn push_quietly(
        &self,
        item: T,
        bytes: usize,
        wait: Duration,
    ) -> Result<(), Refused> {
        self.put(item, bytes, wait).map(drop)
    }

    fn put(
        &self,
        item: T,
        bytes: usize,
        wait: Duration,
    ) -> Result<MutexGuard<'_, State<T>>, Refused> {
        let raised = Raised::new(&self.unhandled);
        let since = self.clock.monotonic();
        let mut state = self.make_room(self.state(), bytes, wait, since)?;
        raised.keep();
        state.bytes += bytes;
        state.items.push_back(Held { item, since });
        state.pushed += 1;
        state.high_water = state.high_water.max(state.items.len() as u64);
        Ok(state)
    }

    /// Waking costs a call of the operating system, so only a consumer that sleeps is woken.
    fn wake(&self, mut state: MutexGuard<'_, State<T>>) {
        let is_wanted = state.nudged || state.items.len() >= state.wanted;
        let wakes = is_wanted && std::mem::take(&mut state.consumer_sleeps);
        drop(state);
        if wakes {
            self.arrived.notify_one();
        }
    }

    fn make_room<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<T>>,
        bytes: usize,
        wait: Duration,
        since: Duration,
    ) -> Result<MutexGuard<'a, State<T>>, Refused> {
        let (mut deadline, mut left) = (None, wait);
        let oldest = state.items.front().map_or(since, |held| held.since);
        if self.age_max.is_some_and(|most| since.saturating_sub(oldest) > most) && !state.closed {
            self.rouse(&mut state);
            state.full += 1;
            state.rejected += 1;
            return Err(Refused::Full);
        }
        loop {
            if state.closed {
                return Err(Refused::Closed);
            }
            let fits = state.bytes.saturating_add(bytes) <= self.bytes_max;
            if state.items.is_empty() || (state.items.len() < self.count_max && fits) {
                return Ok(state);
            }
            self.rouse(&mut state);
            state.full += u64::from(deadline.is_none());
            if left.is_zero() {
                state.rejected += 1;
                return Err(Refused::Full);
            }
            let deadline =
                *deadline.get_or_insert_with(|| self.clock.monotonic().saturating_add(wait));
            state.producers_waiting += 1;
            let waited = self.left.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.producers_waiting -= 1;
            left = deadline.saturating_sub(self.clock.monotonic());
        }
    }

    /// Wakes a consumer that waits for more items than can enter.
    fn rouse(&self, state: &mut State<T>) {
        if std::mem::take(&mut state.consumer_sleeps) {
            state.nudged = true;
            self.arrived.notify_one();
        }
    }

    /// Moves all items into `taken`, which is empty. Returns whether there were any.
    pub(crate) fn take(&self, taken: &mut Taken<T>) -> bool {
        debug_assert!(taken.is_empty(), "the consumer finishes what it has taken first");
        let mut state = self.state();
        if state.items.is_empty() {
            return false;
        }
        std::mem::swap(&mut state.items, &mut taken.items);
        state.bytes = 0;
        state.popped += taken.items.len() as u64;
        if state.producers_waiting > 0 {
            self.left.notify_all();
        }
        // Producers need not wait while the figures are made.
        drop(state);
        taken.at = moment(&*self.clock);
        for held in &taken.items {
            self.waits.record(taken.at.saturating_sub(held.since));
        }
        true
    }

    /// The consumer has handled `count` of the items that it took.
    pub(crate) fn handled(&self, count: usize) {
        let before = self.unhandled.fetch_sub(count, Ordering::AcqRel);
        debug_assert!(before >= count, "an item is handled once");
    }

    /// Whether no item waits, is being handled, or is about to arrive.
    pub(crate) fn is_handled(&self) -> bool {
        self.unhandled.load(Ordering::Acquire) == 0
    }

    /// A producer is about to push, until the result is dropped.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn about_to_push(&self) -> impl Drop + use<'_, T> {
        Raised::new(&self.unhandled)
    }

    /// Waits for a nudge or the end, whatever is inside.
    pub(crate) fn wait_for_nudge(&self) {
        self.wait(usize::MAX, None);
    }

    /// Waits until there are `wanted` items, a nudge, or the end, at most `timeout`.
    pub(crate) fn wait(&self, wanted: usize, timeout: Option<Duration>) {
        let mut state = self.state();
        if state.items.len() < wanted && !state.nudged && !state.closed {
            (state.consumer_sleeps, state.wanted) = (true, wanted);
            state = match timeout {
                Some(timeout) => {
                    let waited = self.arrived.wait_timeout(state, timeout);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
            state.consumer_sleeps = false;
        }
        state.nudged = false;
    }

    /// Wakes the consumer, or makes its next wait return at once.
    pub(crate) fn nudge(&self) {
        let mut state = self.state();
        state.nudged = true;
        self.wake(state);
    }

    /// Turns away all further items; those inside can still be taken.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.arrived.notify_all();
        self.left.notify_all();
    }

    /// Whether it is closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Whether it is closed and empty.
    pub(crate) fn is_finished(&self) -> bool {
        let state = self.state();
        state.closed && state.items.is_empty()
    }

    pub(crate) fn stats(&self) -> QueueStats {
        let waits = self.waits.snapshot();
        let state = self.state();
        let length = state.items.len() as u64;
        let State { pushed, popped, high_water, full, rejected, .. } = *state;
        debug_assert_eq!(pushed, popped + length, "nothing is lost on the way");
        let capacity = self.count_max as u64;
        QueueStats { pushed, popped, length, capacity, high_water, full, rejected, waits }
    }
}

/// One item that counts as unhandled; lowered when it is turned away, on whatever path.
struct Raised<'a>(&'a AtomicUsize);

impl<'a> Raised<'a> {
    fn new(counter: &'a AtomicUsize) -> Self {
        counter.fetch_add(1, Ordering::AcqRel);
        Self(counter)
    }

    /// The item is in the queue: the consumer lowers the counter.
    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{SimClock, SystemClock};

    #[test]
    fn counts_what_is_not_handled() {
        let queue = queue(1, 100);
        let about = queue.about_to_push();
        queue.push(1, 1, Duration::ZERO).unwrap();
        queue.push(2, 1, Duration::ZERO).unwrap_err();
        drop(about);
        assert!(!queue.is_handled());
        assert_eq!(drain(&queue), [1]);
        assert!(!queue.is_handled(), "taken is not handled");
        queue.handled(1);
        assert!(queue.is_handled());
    }

    fn queue(count: usize, bytes: usize) -> Queue<u32> {
        Queue::new(count, bytes, Arc::new(SystemClock::default()))
    }

    fn drain(queue: &Queue<u32>) -> Vec<u32> {
        let mut taken = Taken::default();
        queue.take(&mut taken);
        std::iter::from_fn(|| taken.pop()).collect()
    }

    #[test]
    fn keeps_order_and_counts() {
        let queue = queue(10, 100);
        for item in 0..3 {
            queue.push(item, 1, Duration::ZERO).unwrap();
        }
        assert_eq!(drain(&queue), [0, 1, 2]);
        queue.push(3, 1, Duration::ZERO).unwrap();
        let stats = queue.stats();
        assert_eq!((stats.pushed, stats.popped, stats.length, stats.high_water), (4, 3, 1, 3));
    }

    #[test]
    fn is_bounded_by_count_and_by_bytes() {
        let by_count = queue(2, 100);
        let by_bytes = queue(10, 100);
        by_bytes.push(0, 1000, Duration::ZERO).expect("a large item enters an empty queue");
        for item in 0..2 {
            by_count.push(item, 1, Duration::ZERO).unwrap();
        }
        for queue in [by_count, by_bytes] {
            assert_eq!(queue.push(9, 1, Duration::ZERO), Err(Refused::Full));
            assert_eq!(queue.push(9, 1, Duration::from_millis(5)), Err(Refused::Full));
            assert_eq!((queue.stats().rejected, queue.stats().full), (2, 2));
            drain(&queue);
            queue.push(9, 1, Duration::ZERO).unwrap();
        }
    }

    #[test]
    fn a_waiting_producer_gets_the_room() {
        let queue = queue(1, 100);
        queue.push(1, 1, Duration::ZERO).unwrap();
        std::thread::scope(|scope| {
            let producer = scope.spawn(|| queue.push(2, 1, Duration::from_secs(60)));
            while queue.state().producers_waiting == 0 {
                std::thread::yield_now();
            }
            assert_eq!(drain(&queue), [1]);
            producer.join().unwrap().unwrap();
        });
        assert_eq!(drain(&queue), [2]);
    }

    #[test]
    fn closing_wakes_everybody_and_keeps_what_is_inside() {
        let queue = queue(1, 100);
        queue.push(1, 1, Duration::ZERO).unwrap();
        std::thread::scope(|scope| {
            let producer = scope.spawn(|| queue.push(2, 1, Duration::from_secs(60)));
            while queue.state().producers_waiting == 0 {
                std::thread::yield_now();
            }
            queue.close();
            assert_eq!(producer.join().unwrap(), Err(Refused::Closed));
        });
        queue.wait(1, None);
        assert!(!queue.is_finished());
        assert_eq!(drain(&queue), [1]);
        assert!(queue.is_finished());
    }

    #[test]
    fn an_old_queue_turns_items_away_until_it_is_taken() {
        let clock = Arc::new(SimClock::new());
        let queue = Queue::new(9, 9, Arc::clone(&clock) as _);
        let queue = queue.shedding(Some(Duration::from_millis(10)));
        queue.push(1, 1, Duration::ZERO).unwrap();
        clock.advance(Duration::from_millis(10));
        queue.push(2, 1, Duration::ZERO).unwrap();
        clock.advance(Duration::from_millis(1));
        assert_eq!(queue.push(3, 1, Duration::from_secs(60)), Err(Refused::Full));
        assert_eq!(queue.stats().rejected, 1);
        assert_eq!(drain(&queue), [1, 2]);
        queue.push(4, 1, Duration::ZERO).unwrap();
    }

    #[test]
    fn a_consumer_that_waits_for_several_items_is_woken_by_the_last() {
        let queue = queue(9, 9);
        std::thread::scope(|scope| {
            let consumer = scope.spawn(|| queue.wait(2, Some(Duration::from_secs(60))));
            while !queue.state().consumer_sleeps {
                std::thread::yield_now();
            }
            queue.push(1, 1, Duration::ZERO).unwrap();
            assert!(queue.state().consumer_sleeps, "one item does not wake");
            queue.push(2, 1, Duration::ZERO).unwrap();
            assert!(!queue.state().consumer_sleeps);
            consumer.join().unwrap();
        });
    }

    #[test]
    fn a_consumer_that_waits_for_more_than_can_enter_is_woken() {
        let queue = queue(1, 9);
        std::thread::scope(|scope| {
            let consumer = scope.spawn(|| queue.wait(5, None));
            while !queue.state().consumer_sleeps {
                std::thread::yield_now();
            }
            queue.push(1, 1, Duration::ZERO).unwrap();
            assert_eq!(queue.push(2, 1, Duration::ZERO), Err(Refused::Full));
            consumer.join().unwrap();
        });
    }

    #[test]
    fn a_nudge_is_not_lost() {
        let queue = queue(1, 1);
        queue.nudge();
        queue.wait(1, None);
    }
}
