//! Owns the smallest executor that can carry many clients on one thread: it polls the futures that
//! were woken, and parks when none was.
//!
//! Promises: a future is polled only after its waker was called, each future on the calling thread.
//! Costs one unpark for all futures that are woken while the thread is busy or parked. Never starts
//! a thread.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

/// The futures that were woken and not polled since, and the thread that polls them.
struct Woken {
    tasks: Mutex<Vec<usize>>,
    thread: Thread,
}

struct Task {
    number: usize,
    /// Whether the task stands in the list, so that it stands there at most once.
    listed: AtomicBool,
    woken: Arc<Woken>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.listed.swap(true, Ordering::AcqRel) {
            return;
        }
        let was_empty = {
            let mut tasks = self.woken.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            tasks.push(self.number);
            tasks.len() == 1
        };
        // The thread empties the list before it parks, and an unpark before the park is not lost:
        // so only the first entry of an empty list has to unpark.
        if was_empty {
            self.woken.thread.unpark();
        }
    }
}

/// Runs all futures to their ends; their results in the order of the futures.
pub(super) fn run_all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.into_iter().map(|future| Some(Box::pin(future))).collect();
    let mut results: Vec<_> = running.iter().map(|_| None).collect();
    let tasks = Mutex::new((0..running.len()).collect());
    let woken = Arc::new(Woken { tasks, thread: std::thread::current() });
    let task = |number| {
        let listed = AtomicBool::new(true);
        Arc::new(Task { number, listed, woken: Arc::clone(&woken) })
    };
    let tasks: Vec<_> = (0..running.len()).map(task).collect();
    let mut left = running.len();
    let mut batch = Vec::new();
    while left > 0 {
        std::mem::swap(
            &mut batch,
            &mut *woken.tasks.lock().unwrap_or_else(PoisonError::into_inner),
        );
        if batch.is_empty() {
            std::thread::park();
        }
        for number in batch.drain(..) {
            // Before the poll: a wake during the poll must list the task again.
            tasks[number].listed.store(false, Ordering::Release);
            let waker = Waker::from(Arc::clone(&tasks[number]));
            let Some(future) = &mut running[number] else {
                continue;
            };
            if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                results[number] = Some(result);
                running[number] = None;
                left -= 1;
            }
        }
    }
    results.into_iter().flatten().collect()
}

/// A future that lets all others run once.
#[derive(Debug, Default)]
pub(super) struct Yield(bool);

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0 {
            return Poll::Ready(());
        }
        self.0 = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn futures_take_turns_and_answer_in_their_order() {
        let turns = RefCell::new(Vec::new());
        let count = |name: usize| {
            let turns = &turns;
            async move {
                for _ in 0..3 {
                    turns.borrow_mut().push(name);
                    Yield::default().await;
                }
                name * 10
            }
        };
        assert_eq!(run_all((0..2).map(count)), [0, 10]);
        assert_eq!(*turns.borrow(), [0, 1, 0, 1, 0, 1]);
    }

    #[test]
    fn a_wake_from_another_thread_ends_the_park() {
        struct Gate<'a>(&'a Mutex<(bool, Option<Waker>)>);
        impl Future for Gate<'_> {
            type Output = ();
            fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
                let mut gate = self.0.lock().unwrap();
                gate.1 = Some(context.waker().clone());
                if gate.0 { Poll::Ready(()) } else { Poll::Pending }
            }
        }
        for _ in 0..200 {
            let gates: Vec<_> = (0..4).map(|_| Mutex::new((false, None::<Waker>))).collect();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    for gate in &gates {
                        let mut gate = gate.lock().unwrap();
                        gate.0 = true;
                        if let Some(waker) = gate.1.take() {
                            waker.wake();
                        }
                    }
                });
                assert_eq!(run_all(gates.iter().map(Gate)).len(), 4);
            });
        }
    }
}
