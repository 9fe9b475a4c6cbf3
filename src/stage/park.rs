//! Owns the sleep of a thread that waits for another's word, by the same kind of waker as a task.
//!
//! Promises: a wake that comes between a poll and the sleep is not lost; a wake that was meant for
//! something else costs one more poll. Never spins.

use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

use crate::clock::Clock;
use crate::sync::thread::{self, Thread};
use crate::sync::thread_local;

/// Polls until there is something, at most `timeout`, and sleeps in between until the waker that
/// the poll was given is woken.
pub(crate) fn wait<T>(
    clock: &dyn Clock,
    timeout: Duration,
    mut poll: impl FnMut(&Waker) -> Option<T>,
) -> Option<T> {
    let end = clock.monotonic().checked_add(timeout);
    THREAD_WAKER.with(|waker| {
        loop {
            if let Some(found) = poll(waker) {
                return Some(found);
            }
            match end {
                None => thread::park(),
                Some(end) => {
                    let left = end.saturating_sub(clock.monotonic());
                    if left.is_zero() {
                        return None;
                    }
                    thread::park_timeout(left);
                }
            }
        }
    })
}

struct ThreadWaker(Thread);

impl Wake for ThreadWaker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

thread_local! {
    static THREAD_WAKER: Waker = Waker::from(Arc::new(ThreadWaker(thread::current())));
}
