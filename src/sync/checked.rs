//! Owns what the checkers lack: waits that end by a timeout, and cells that are written once.
//!
//! Promises: a timed wait ends when it is told, when [`time::pass`] is called, and by nothing else;
//! so a wake that is missed stays missed, and is seen as a deadlock. Assumes that all threads of a
//! checked run share one thread of the operating system, as both checkers have it, so that the
//! bookkeeping here adds no way in which threads can meet. Compiled for checkers alone.

#[cfg(loom)]
use loom as checker;
#[cfg(shuttle)]
use shuttle as checker;

use std::fmt;
use std::sync::atomic::{AtomicU64 as Count, Ordering};
use std::sync::{Arc, LockResult, PoisonError};
use std::time::Duration;

pub(crate) use checker::hint::spin_loop;
pub(crate) use checker::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, atomic};
pub(crate) use checker::thread_local;

use atomic::AtomicBool;

/// Whoever may wait so long waits for ever.
const FOREVER: Duration = Duration::from_secs(1 << 30);

/// The passing of time.
pub(crate) mod time {
    use std::cell::RefCell;
    use std::rc::Rc;

    type Sleeper = Rc<dyn Fn()>;

    // Of the thread of the operating system, not of a checked one.
    std::thread_local! {
        static SLEEPERS: RefCell<Vec<(u64, Sleeper)>> = const { RefCell::new(Vec::new()) };
    }

    /// Ends all timed waits. Whoever looks at a clock then finds the time that it tells.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests let time pass"))]
    pub(crate) fn pass() {
        let sleepers: Vec<_> =
            SLEEPERS.with_borrow(|all| all.iter().map(|(_, wake)| Rc::clone(wake)).collect());
        sleepers.iter().for_each(|wake| wake());
    }

    /// How many timed waits there are.
    #[cfg_attr(not(all(test, shuttle)), expect(dead_code, reason = "tests let time pass"))]
    pub(crate) fn sleepers() -> usize {
        SLEEPERS.with_borrow(Vec::len)
    }

    /// Forgets the sleepers of an earlier run, which a failure left behind.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests let time pass"))]
    pub(crate) fn begin() {
        SLEEPERS.with_borrow_mut(Vec::clear);
    }

    /// A timed wait, until it is dropped.
    pub(super) struct Sleep(u64);

    impl Sleep {
        pub(super) fn new(wake: impl Fn() + 'static) -> Self {
            SLEEPERS.with_borrow_mut(|all| {
                let number = all.last().map_or(0, |(last, _)| last + 1);
                all.push((number, Rc::new(wake)));
                Self(number)
            })
        }
    }

    impl Drop for Sleep {
        fn drop(&mut self) {
            SLEEPERS.with_borrow_mut(|all| all.retain(|(number, _)| *number != self.0));
        }
    }
}

/// Threads, whose timed parkings end when time passes.
pub(crate) mod thread {
    use std::time::Duration;

    pub(crate) use super::checker::thread::{Builder, JoinHandle};
    #[cfg(test)]
    pub(crate) use super::checker::thread::{spawn, yield_now};
    pub(crate) use super::parking::{Thread, current, park};

    pub(crate) fn park_timeout(timeout: Duration) {
        if timeout >= super::FOREVER {
            return park();
        }
        let thread = current();
        let _sleep = super::time::Sleep::new(move || thread.unpark());
        park();
    }
}

/// Parking without a wake that nobody sent, so that a missed one is seen. That of shuttle returns
/// by itself; that of loom is ended by a wake from any other wait too, and shows a thread what its
/// waker saw before it has parked.
mod parking {
    use std::sync::{Arc, PoisonError};

    use super::checker::sync::{Condvar, Mutex};

    #[derive(Clone)]
    pub(crate) struct Thread(Arc<(Mutex<bool>, Condvar)>);

    super::checker::thread_local! {
        static CURRENT: Thread = Thread(Arc::new((Mutex::new(false), Condvar::new())));
    }

    pub(crate) fn current() -> Thread {
        CURRENT.with(Clone::clone)
    }

    pub(crate) fn park() {
        let Thread(parker) = current();
        let mut token = parker.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !std::mem::take(&mut *token) {
            token = parker.1.wait(token).unwrap_or_else(PoisonError::into_inner);
        }
    }

    impl Thread {
        pub(crate) fn unpark(&self) {
            *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
            self.0.1.notify_one();
        }
    }
}

/// A condition variable. Whoever waits without a timeout is woken by a notification alone.
pub(crate) struct Condvar(Arc<Inner>);

struct Inner {
    condvar: checker::sync::Condvar,
    notified: Count,
}

impl Condvar {
    pub(crate) fn new() -> Self {
        let (condvar, notified) = (checker::sync::Condvar::new(), Count::new(0));
        Self(Arc::new(Inner { condvar, notified }))
    }

    fn notified(&self) -> u64 {
        self.0.notified.load(Ordering::Relaxed)
    }

    pub(crate) fn wait<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
    ) -> LockResult<MutexGuard<'a, T>> {
        let before = self.notified();
        loop {
            guard = self.0.condvar.wait(guard)?;
            // What the passing of time woke was meant for others.
            if self.notified() != before {
                return Ok(guard);
            }
        }
    }

    pub(crate) fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, ())> {
        let untimed = |error: PoisonError<_>| PoisonError::new((error.into_inner(), ()));
        if timeout >= FOREVER {
            return self.wait(guard).map(|guard| (guard, ())).map_err(untimed);
        }
        let inner = Arc::clone(&self.0);
        let _sleep = time::Sleep::new(move || inner.condvar.notify_all());
        self.0.condvar.wait(guard).map(|guard| (guard, ())).map_err(untimed)
    }

    pub(crate) fn notify_one(&self) {
        self.0.notified.fetch_add(1, Ordering::Relaxed);
        self.0.condvar.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notified.fetch_add(1, Ordering::Relaxed);
        self.0.condvar.notify_all();
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Condvar")
    }
}

/// A cell that is written once. Whoever finds the value sees what was stored before it was set.
pub(crate) struct OnceLock<T> {
    value: std::sync::OnceLock<T>,
    is_set: AtomicBool,
    setting: Mutex<()>,
}

impl<T> OnceLock<T> {
    pub(crate) fn new() -> Self {
        let (value, is_set) = (std::sync::OnceLock::new(), AtomicBool::new(false));
        Self { value, is_set, setting: Mutex::new(()) }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        self.is_set.load(Ordering::Acquire).then(|| self.value.get()).flatten()
    }

    pub(crate) fn set(&self, value: T) -> Result<(), T> {
        let _guard = self.setting.lock().unwrap_or_else(PoisonError::into_inner);
        self.value.set(value)?;
        self.is_set.store(true, Ordering::Release);
        Ok(())
    }

    pub(crate) fn get_or_init(&self, init: impl FnOnce() -> T) -> &T {
        if let Some(value) = self.get() {
            return value;
        }
        let _guard = self.setting.lock().unwrap_or_else(PoisonError::into_inner);
        let value = self.value.get_or_init(init);
        self.is_set.store(true, Ordering::Release);
        value
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Clone> Clone for OnceLock<T> {
    fn clone(&self) -> Self {
        let copy = Self::new();
        if let Some(value) = self.get() {
            // Nobody else knows the copy.
            let _ = copy.set(value.clone());
        }
        copy
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OnceLock").field(&self.value.get()).finish()
    }
}
