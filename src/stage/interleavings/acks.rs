//! Models of the ack: answers that meet waits, polls and drops, and the failure that answers all.
//!
//! Promises: nobody sleeps for ever, and a task is woken once, by its last waker.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::{Counter, FOREVER, check, drain, queue, spawn};
use crate::append::StreamNames;
use crate::clock::SimClock;
use crate::disk::map::Home;
use crate::error::{AppendError, Error, ErrorKind};
use crate::stage::Failure;
use crate::stage::ack::{self, Ack};
use crate::stage::lounge::Lounge;
use crate::stage::queue::{Queue, Refused};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::thread;

fn lounge() -> Arc<Lounge> {
    Arc::new(Lounge::new(Duration::ZERO, Arc::new(SimClock::new()), Home::default()))
}

fn is_full(ack: Ack) -> bool {
    matches!(ack.wait(), Err(AppendError::Full))
}

#[test]
fn two_waiters_are_both_answered() {
    check("one thread that answers two that wait", || {
        let lounge = lounge();
        let (promises, acks): (Vec<_>, Vec<_>) =
            (0..2).map(|_| ack::promise(&lounge, StreamNames::Each(Vec::new()))).unzip();
        let mut acks = acks.into_iter();
        let (first, second) = (acks.next().unwrap(), acks.next().unwrap());
        let waiter = thread::spawn(move || assert!(is_full(first)));
        let answerer = thread::spawn(move || {
            promises.into_iter().for_each(|promise| promise.answer(Err(AppendError::Full)));
        });
        assert!(is_full(second));
        waiter.join().unwrap();
        answerer.join().unwrap();
    });
}

#[test]
fn those_who_share_a_room_are_all_woken() {
    check("two answers, one wake of the room where both threads sleep", || {
        let lounge = lounge();
        let (first, mine) = ack::promise(&lounge, StreamNames::Each(Vec::new()));
        let (second, other) = ack::promise(&lounge, StreamNames::Each(Vec::new()));
        let waiter = thread::spawn(move || assert!(is_full(other)));
        let answerer = thread::spawn(move || {
            let now = Duration::from_nanos(1);
            let give = |it: ack::Promise| it.release(Err(AppendError::Full), now, &mut Vec::new());
            let rooms = [first, second].map(give);
            lounge.wake(rooms[0].and(rooms[1]));
        });
        assert!(is_full(mine));
        waiter.join().unwrap();
        answerer.join().unwrap();
    });
}

#[test]
fn f04_a_dropped_promise_wakes_its_waiter() {
    check("a promise that is dropped while its waiter goes to sleep", || {
        let (promise, ack) = ack::promise(&lounge(), StreamNames::Each(Vec::new()));
        let dropper = thread::spawn(move || drop(promise));
        assert!(matches!(ack.wait(), Err(AppendError::Failed(_))));
        dropper.join().unwrap();
    });
}

#[test]
fn the_waker_of_the_last_poll_is_woken_once() {
    check("a task that is polled with two wakers while it is answered", || {
        let (promise, mut ack) = ack::promise(&lounge(), StreamNames::Each(Vec::new()));
        let answerer = thread::spawn(move || promise.answer(Err(AppendError::Full)));
        let counters = [Counter::new(), Counter::new()];
        let is_ready = counters.each_ref().map(|counter| {
            let waker = Waker::from(Arc::clone(counter));
            Pin::new(&mut ack).poll(&mut Context::from_waker(&waker)).is_ready()
        });
        answerer.join().unwrap();
        let wakes = counters.each_ref().map(|counter| counter.wakes());
        assert!(wakes[0] + wakes[1] <= 1, "a task is woken once");
        assert!(is_ready[1] || wakes[1] == 1, "nobody sleeps for ever");
        assert!(ack.is_ready());
    });
}

#[test]
fn an_ack_may_be_dropped_at_any_moment() {
    check("an ack that is polled and dropped while it is answered", || {
        let (promise, mut ack) = ack::promise(&lounge(), StreamNames::Each(Vec::new()));
        let answerer = thread::spawn(move || promise.answer(Err(AppendError::Full)));
        let counter = Counter::new();
        let waker = Waker::from(Arc::clone(&counter));
        let polled = Pin::new(&mut ack).poll(&mut Context::from_waker(&waker));
        drop(ack);
        answerer.join().unwrap();
        assert_eq!(counter.wakes(), usize::from(polled.is_pending()));
    });
}

#[test]
fn f04_a_failure_answers_who_waits_and_who_comes() {
    type Promises = Queue<ack::Promise>;
    check("a failure while a client submits and the writer goes to sleep", || {
        let queue: Arc<Promises> = queue(4);
        let failure = Arc::new(Failure::default());
        let noticed = Arc::clone(&failure);
        let writer = spawn(&queue, move |queue| {
            let mut taken = Vec::new();
            let error = loop {
                // Asked before the queue is, as the writer does.
                let failure = noticed.get();
                drain(queue, &mut taken);
                if let Some(error) = failure {
                    break error.clone();
                }
                queue.wait(1, None);
            };
            queue.close();
            drain(queue, &mut taken);
            for promise in taken {
                promise.answer(Err(AppendError::Failed(error.clone())));
            }
        });
        let failing = spawn(&queue, move |queue| {
            failure.record(Error::new(ErrorKind::Bug, "first"));
            failure.record(Error::new(ErrorKind::Bug, "second"));
            assert!(failure.get().is_some_and(|error| error.to_string().contains("first")));
            queue.nudge();
        });
        let (promise, ack) = ack::promise(&lounge(), StreamNames::Each(Vec::new()));
        match queue.push(promise, 1, FOREVER) {
            Ok(()) => assert!(matches!(ack.wait(), Err(AppendError::Failed(_)))),
            Err(refused) => assert_eq!(refused, Refused::Closed),
        }
        writer.join().unwrap();
        failing.join().unwrap();
    });
}

#[test]
fn a_sleeper_is_not_kept_by_a_wake_that_was_meant_for_another() {
    check("a sleep that an earlier wake of the same thread cuts short", || {
        let flag = Arc::new(AtomicBool::new(false));
        let (first, ack) = ack::promise(&lounge(), StreamNames::Each(Vec::new()));
        let set = Arc::clone(&flag);
        let me = thread::current();
        let stranger = thread::spawn(move || {
            me.unpark();
            set.store(true, Ordering::Release);
            first.answer(Err(AppendError::Full));
        });
        assert!(is_full(ack));
        assert!(flag.load(Ordering::Acquire), "an answer carries what was stored before it");
        stranger.join().unwrap();
    });
}

#[test]
fn a_task_and_a_thread_may_share_an_ack_in_turn() {
    check("an ack that is polled, then waited for", || {
        let (promise, mut ack) = ack::promise(&lounge(), StreamNames::Each(Vec::new()));
        let answerer = thread::spawn(move || promise.answer(Err(AppendError::Full)));
        let waker = Waker::from(Counter::new());
        let polled = Pin::new(&mut ack).poll(&mut Context::from_waker(&waker));
        assert!(matches!(polled, Poll::Pending | Poll::Ready(Err(AppendError::Full))));
        assert!(is_full(ack));
        answerer.join().unwrap();
    });
}
