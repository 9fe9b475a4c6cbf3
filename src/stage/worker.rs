//! Owns threads: the thin shell around a stage's steps.
//!
//! Promises: a panic of a step ends its thread, is told to the owner, and takes nothing else down
//! (F04). Time in steps is counted as busy, time between them as idle. Knows nothing of what a step
//! does.

use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::stage::meter::{StageMeter, moment};
use crate::sync::thread::{Builder, JoinHandle};
#[cfg(feature = "cli")]
use std::panic::resume_unwind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
#[cfg(feature = "cli")]
use std::sync::{
    Condvar, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

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

/// How many threads run at once.
#[cfg(feature = "cli")]
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Runs `work` for each number below `count` on up to `threads` threads, and hands the results to
/// `take` in the order of the numbers, one at a time, until it answers false. At most one result
/// per thread waits for its turn.
#[cfg(feature = "cli")]
pub(crate) fn in_order<T>(
    threads: usize,
    count: usize,
    work: &(dyn Fn(usize) -> T + Sync),
    take: &mut (dyn FnMut(usize, T) -> bool + Send),
) {
    let numbers = AtomicUsize::new(0);
    let line = Mutex::new(Line { turn: 0, is_over: false, take });
    let changed = Condvar::new();
    let lock = || line.lock().unwrap_or_else(PoisonError::into_inner);
    let one = |number: usize| {
        let result = work(number);
        let mut line = lock();
        while line.turn != number && !line.is_over {
            line = changed.wait(line).unwrap_or_else(PoisonError::into_inner);
        }
        if !line.is_over {
            line.is_over = !(line.take)(number, result);
            line.turn += 1;
        }
        line.is_over
    };
    let run = || {
        loop {
            let number = numbers.fetch_add(1, Ordering::Relaxed);
            let done = number >= count || lock().is_over;
            let ended = done
                || catch_unwind(AssertUnwindSafe(|| one(number))).unwrap_or_else(|panic| {
                    // Nobody waits for a turn that never comes.
                    lock().is_over = true;
                    changed.notify_all();
                    resume_unwind(panic)
                });
            changed.notify_all();
            if ended {
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(count) {
            // Where no thread can be had, fewer do the work.
            let _ = Builder::new().spawn_scoped(scope, run);
        }
        run();
    });
}

/// Whose turn it is.
#[cfg(feature = "cli")]
struct Line<'a, T> {
    turn: usize,
    is_over: bool,
    take: &'a mut (dyn FnMut(usize, T) -> bool + Send),
}

/// Splits a thread's time into busy and idle.
#[derive(Debug)]
pub(crate) struct Timesheet {
    meter: Arc<StageMeter>,
    clock: Arc<dyn Clock>,
}

impl Timesheet {
    pub(crate) fn new(meter: Arc<StageMeter>, clock: Arc<dyn Clock>) -> Self {
        meter.begin(clock.monotonic());
        Self { meter, clock }
    }

    /// Waits by `wait`: all time of the thread but that of its waits counts as busy.
    pub(crate) fn wait(&self, wait: impl FnOnce()) {
        self.meter.begin_wait(moment(&*self.clock));
        wait();
        self.meter.end_wait(moment(&*self.clock));
    }
}

#[cfg(all(test, feature = "cli"))]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_from_any_number_of_threads() {
        for threads in [1, 2, 8, 64] {
            let mut taken = Vec::new();
            let mut take = |number, result: usize| {
                assert_eq!(result, number * number);
                taken.push(number);
                number < 40
            };
            in_order(threads, 100, &|number| number * number, &mut take);
            assert!(taken.iter().copied().eq(0..=40), "{threads} threads: {taken:?}");
        }
        in_order(4, 0, &|_| (), &mut |_, ()| unreachable!("nothing to take"));
    }

    #[test]
    fn a_panic_ends_all_of_them() {
        let ended = catch_unwind(|| {
            let work = |number: usize| assert_ne!(number, 3, "on purpose");
            in_order(4, 100, &work, &mut |_, ()| true);
        });
        assert!(ended.is_err());
    }
}
