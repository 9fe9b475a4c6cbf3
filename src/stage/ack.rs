//! Owns the ack: the answer to one append, waited for by a thread or awaited by a task, on any
//! runtime or none.
//!
//! Promises: every promise is answered exactly once; one that is dropped answers by itself, so no
//! waiter sleeps for ever. A task is woken once, by its last waker; threads whose appends share a
//! group are woken by one call of the operating system.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::AtomicU64 as Moment;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::append::{Appended, Stored, StreamNames};
use crate::error::{AppendError, Error, ErrorKind};
use crate::stage::bell;
use crate::stage::histogram::nanos;
use crate::stage::lounge::{Lounge, Rooms};
use crate::stage::meter::moment;
use crate::stage::spin::Spinner;
use crate::sync::atomic::Ordering;
use crate::sync::{Mutex, MutexGuard, OnceLock};

/// The answer to an append.
pub(crate) type Outcome = Result<Stored, AppendError>;

/// An append under way. Wait for it with [`Ack::wait`], or `.await` it; dropping it does not take
/// the append back.
///
/// ```
/// # use paperchase::{Expected, Log, NewEvent};
/// # let dir = tempfile::tempdir()?;
/// # let log = Log::open(dir.path())?;
/// // Many appends in flight from one thread: submit first, wait later.
/// let acks: Vec<_> = (0..100)
///     .map(|n| log.append("ticks", Expected::Any, [NewEvent::new("Tick", [n])]))
///     .collect::<Result<_, _>>()?;
/// for ack in acks {
///     ack.wait()?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "an append is stored only when its ack says so"]
pub struct Ack {
    slot: Arc<Slot>,
    /// Names of the streams that the append writes.
    streams: StreamNames,
    /// Whether a task was told that there is no answer yet.
    was_pending: bool,
}

/// The duty to answer one append. Dropped without an answer, it answers that the log has a bug.
pub(crate) struct Promise(Option<Arc<Slot>>);

struct Slot {
    lounge: Arc<Lounge>,
    /// Where a thread sleeps that waits for the answer.
    room: usize,
    /// When the answer could be given, in nanoseconds; 0 when it tells of nothing stored. Set
    /// before the outcome, which orders it, so that no checker needs to look at it.
    released: Moment,
    outcome: OnceLock<Outcome>,
    waiter: Mutex<Option<Waiter>>,
}

/// Who waits for an answer.
enum Waiter {
    Task(Waker),
    /// A thread, in the slot's room.
    Thread,
}

/// A promise and the ack that it will answer, of an append that writes these streams.
pub(crate) fn promise(lounge: &Arc<Lounge>, streams: StreamNames) -> (Promise, Ack) {
    let slot = Arc::new(Slot {
        lounge: Arc::clone(lounge),
        room: lounge.room(),
        released: Moment::new(0),
        outcome: OnceLock::new(),
        waiter: Mutex::new(None),
    });
    (Promise(Some(Arc::clone(&slot))), Ack { slot, streams, was_pending: false })
}

impl Promise {
    /// Answers, and wakes who waits.
    pub(crate) fn answer(mut self, outcome: Outcome) {
        if let Some(slot) = self.0.take() {
            slot.answer(outcome);
        }
    }

    /// Gives an answer. Who waits for it is left to be woken: a task in `tasks`, a thread in the
    /// rooms that this returns.
    pub(crate) fn give(mut self, outcome: Outcome, tasks: &mut Vec<Waker>) -> Rooms {
        self.0.take().map_or(Rooms::default(), |slot| slot.put(outcome, tasks))
    }

    /// The same, of an answer that could be given at `moment`.
    pub(crate) fn release(
        self,
        outcome: Outcome,
        moment: Duration,
        tasks: &mut Vec<Waker>,
    ) -> Rooms {
        if let Some(slot) = &self.0 {
            slot.released.store(nanos(moment), Ordering::Relaxed);
        }
        self.give(outcome, tasks)
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(slot) = self.0.take() {
            let error = Error::new(
                ErrorKind::Bug,
                "a stage of the log panicked before this append was answered",
            );
            slot.answer(Err(AppendError::Failed(error)));
        }
    }
}

impl Slot {
    fn answer(&self, outcome: Outcome) {
        let mut tasks = Vec::new();
        let rooms = self.put(outcome, &mut tasks);
        self.lounge.wake(rooms);
        bell::wake(tasks);
    }

    /// Gives the answer. A task that is to be woken joins `tasks`; returns the room of a thread.
    fn put(&self, outcome: Outcome, tasks: &mut Vec<Waker>) -> Rooms {
        let answered = self.outcome.set(outcome);
        debug_assert!(answered.is_ok(), "a promise is answered once");
        let waiter = self.waiter().take();
        match waiter {
            None => Rooms::default(),
            Some(Waiter::Thread) => Rooms::one(self.room),
            Some(Waiter::Task(waker)) => {
                tasks.push(waker);
                Rooms::default()
            }
        }
    }

    fn waiter(&self) -> MutexGuard<'_, Option<Waiter>> {
        self.waiter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer, or else `leave` tells who is woken when it comes.
    fn poll(&self, leave: impl FnOnce(&mut Option<Waiter>)) -> Option<&Outcome> {
        if let Some(outcome) = self.outcome.get() {
            return Some(outcome);
        }
        let mut place = self.waiter();
        // Under the lock: an answer given before is seen here, one given after finds the waiter.
        if let Some(outcome) = self.outcome.get() {
            return Some(outcome);
        }
        leave(&mut place);
        None
    }

    /// The answer, or else the task of `waker` is woken when it comes.
    fn poll_task(&self, waker: &Waker) -> Option<&Outcome> {
        self.poll(|place| match place {
            Some(Waiter::Task(old)) => old.clone_from(waker),
            other => *other = Some(Waiter::Task(waker.clone())),
        })
    }
}

impl Ack {
    /// Waits for the answer.
    ///
    /// When this returns `Ok`, the events are durable as the log's
    /// [`Durability`](crate::Durability) says, were read back and checked, are indexed, and visible
    /// to every reader. When this returns `Err`, the append has stored nothing, but for
    /// [`AppendError::Failed`], after which that is unknown until the log is opened again, and
    /// [`AppendError::Forked`], after which the process of the log goes on with it. What an
    /// earlier append has stored for the same operation, or with the same events, stays.
    ///
    /// # Errors
    /// What kept the append from being stored: [`AppendError`] names each case.
    pub fn wait(mut self) -> Result<Appended, AppendError> {
        loop {
            if let Some(outcome) = self.outcome_within(Duration::MAX) {
                return outcome.map(|stored| stored.named(self.streams));
            }
        }
    }

    /// Waits for the answer, at most `timeout`; `None` when it has not come, and it can be waited
    /// for again.
    ///
    /// When this returns `Some(Ok)` or `Some(Err)`, the same holds as for [`Ack::wait`].
    pub fn wait_timeout(&mut self, timeout: Duration) -> Option<Result<Appended, AppendError>> {
        let outcome = self.outcome_within(timeout)?;
        Some(outcome.map(|stored| stored.named(self.streams.clone())))
    }

    fn outcome_within(&mut self, timeout: Duration) -> Option<Outcome> {
        if let Some(outcome) = self.known() {
            return Some(outcome);
        }
        let lounge = &self.slot.lounge;
        let end = lounge.clock.monotonic().checked_add(timeout);
        let waiting = lounge.waiting.fetch_add(1, Ordering::Relaxed) + 1;
        if lounge.is_calm(waiting) {
            self.spin(timeout);
        }
        let wait = || self.slot.poll(|place| *place = Some(Waiter::Thread)).cloned();
        let outcome = lounge.sleep(self.slot.room, end, wait);
        lounge.waiting.fetch_sub(1, Ordering::Relaxed);
        if outcome.is_some() {
            self.note_wake();
        }
        outcome
    }

    /// Who waited for the answer has it.
    fn note_wake(&self) {
        let released = self.slot.released.load(Ordering::Relaxed);
        if released > 0 {
            let lounge = &self.slot.lounge;
            let now = moment(&*lounge.clock);
            lounge.wakes.record_beside(now.saturating_sub(Duration::from_nanos(released)));
        }
    }

    /// The answer, as far as it is there. In a forked process none ever comes (F62).
    fn known(&self) -> Option<Outcome> {
        match self.slot.outcome.get() {
            None if !self.slot.lounge.home.is_here() => Some(Err(AppendError::Forked)),
            outcome => outcome.cloned(),
        }
    }

    /// Whether the answer is there.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.slot.outcome.get().is_some() || !self.slot.lounge.home.is_here()
    }

    /// Spins for the answer. Where that was in vain again and again, the answers of this thread
    /// take longer than a spin, and the core is better left to the threads that bring them.
    fn spin(&self, timeout: Duration) {
        let Lounge { spin, clock, .. } = &*self.slot.lounge;
        let mut spinner = SPINNER.get();
        spinner.spin(timeout.min(*spin), &**clock, || self.is_ready());
        // A shorter one tells nothing.
        if timeout >= *spin {
            SPINNER.set(spinner);
        }
    }
}

impl Future for Ack {
    type Output = Result<Appended, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = self.known().or_else(|| self.slot.poll_task(context.waker()).cloned());
        let Some(outcome) = outcome else {
            self.was_pending = true;
            return Poll::Pending;
        };
        if std::mem::take(&mut self.was_pending) {
            self.note_wake();
        }
        Poll::Ready(outcome.map(|stored| stored.named(self.streams.clone())))
    }
}

impl fmt::Debug for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ack").field(&self.slot.outcome.get()).finish()
    }
}

impl fmt::Debug for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Promise")
    }
}

thread_local! {
    static SPINNER: Cell<Spinner> = const { Cell::new(Spinner::new()) };
}

#[cfg(test)]
mod tests {
    use std::task::Wake;
    use std::thread;

    use super::*;
    use crate::append::Versions;
    use crate::clock::{Clock, SystemClock, Timestamp};
    use crate::disk::map::Home;
    use crate::position::{Position, StreamVersion};
    use crate::sync::atomic::AtomicUsize;

    fn lounge(spin: Duration) -> Arc<Lounge> {
        Arc::new(Lounge::new(spin, Arc::new(SystemClock::default()), Home::default()))
    }

    fn stored(position: u64) -> Stored {
        let (version, time) = (StreamVersion::FIRST, Timestamp::default());
        let versions = Versions::One(version, version);
        let (first_position, events) = (Position::new(position), 1);
        let last_position = first_position;
        Stored { first_position, last_position, events, version, time, repeated: false, versions }
    }

    fn promise(lounge: &Arc<Lounge>) -> (Promise, Ack) {
        super::promise(lounge, StreamNames::One("cart-7".into()))
    }

    #[test]
    fn threads_wait_with_and_without_spinning() {
        for spin in [Duration::ZERO, Duration::from_millis(1)] {
            let lounge = lounge(spin);
            let (promises, acks): (Vec<_>, Vec<_>) = (0..8).map(|_| promise(&lounge)).unzip();
            thread::scope(|scope| {
                let waiters: Vec<_> =
                    acks.into_iter().map(|ack| scope.spawn(move || ack.wait().unwrap())).collect();
                for (number, promise) in promises.into_iter().enumerate() {
                    promise.answer(Ok(stored(number as u64)));
                }
                for (number, waiter) in waiters.into_iter().enumerate() {
                    let appended = waiter.join().unwrap();
                    assert_eq!(appended.first_position.get(), number as u64);
                    assert_eq!(*appended.streams()[0].stream, *"cart-7");
                }
            });
            assert_eq!(lounge.waiting.load(Ordering::Relaxed), 0);
        }
    }

    /// A clock that every look puts forward by a microsecond.
    #[derive(Debug, Default)]
    struct Looked(Moment);

    impl Clock for Looked {
        fn monotonic(&self) -> Duration {
            Duration::from_micros(self.0.fetch_add(1, Ordering::Relaxed))
        }

        fn wall(&self) -> Timestamp {
            Timestamp::default()
        }
    }

    #[test]
    fn a_thread_learns_from_its_spins_which_are_where_few_are_answered_together() {
        let spin = Duration::from_micros(100);
        let lounge = lounge(spin);
        let learned = |crowd: usize, timeout: Duration| {
            lounge.note_crowd(crowd);
            let (_promise, mut ack) = promise(&lounge);
            assert!(ack.wait_timeout(timeout).is_none());
            SPINNER.get()
        };
        let mut vain = Spinner::new();
        for crowd in [0, 2, 1, 1, 2, 1] {
            vain.spin(spin, &SystemClock::default(), || false);
            assert_eq!(learned(crowd, spin), vain);
            assert_eq!(learned(3, spin), vain, "it does not spin");
            assert_eq!(learned(1, spin / 2), vain, "too short to learn");
        }
        assert_ne!(vain, Spinner::new());
    }

    #[test]
    fn a_wait_takes_no_longer_than_its_timeout() {
        let clock = Arc::new(Looked::default());
        let (spin, shared) = (Duration::from_millis(1), Arc::clone(&clock) as _);
        let (_promise, mut ack) = promise(&Arc::new(Lounge::new(spin, shared, Home::default())));
        assert!(ack.wait_timeout(spin).is_none());
        let took = clock.monotonic();
        assert!(took < spin + spin / 10, "{took:?}");
    }

    #[test]
    fn a_timeout_leaves_the_ack_usable() {
        let (promise, mut ack) = promise(&lounge(Duration::ZERO));
        assert!(ack.wait_timeout(Duration::from_millis(1)).is_none());
        assert!(ack.wait_timeout(Duration::ZERO).is_none());
        promise.answer(Err(AppendError::Full));
        assert!(ack.is_ready());
        assert!(matches!(ack.wait(), Err(AppendError::Full)));
    }

    #[test]
    fn a_dropped_promise_answers() {
        let (promise, ack) = promise(&lounge(Duration::ZERO));
        drop(promise);
        assert!(matches!(ack.wait(), Err(AppendError::Failed(_))));
    }

    #[test]
    fn a_task_is_woken() {
        struct Count(AtomicUsize);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&count));
        let mut context = Context::from_waker(&waker);
        let (promise, mut ack) = promise(&lounge(Duration::ZERO));
        assert!(Pin::new(&mut ack).poll(&mut context).is_pending());
        assert!(Pin::new(&mut ack).poll(&mut context).is_pending());
        promise.answer(Ok(stored(3)));
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(matches!(Pin::new(&mut ack).poll(&mut context), Poll::Ready(Ok(_))));
    }
}
