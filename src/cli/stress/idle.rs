//! Owns the idle subscriptions of a run: they wait for streams that get no events.
//!
//! Promises: none of them takes a thread, and each has caught up before the load begins. Counts how
//! often any of them was woken, which should be never.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::{Log, Result, StreamVersion, Subscription};

/// Subscriptions that wait.
#[derive(Debug)]
pub(super) struct Idle {
    _subscriptions: Vec<Subscription>,
    wakes: Arc<Wakes>,
}

#[derive(Debug, Default)]
struct Wakes(AtomicU64);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Idle {
    /// So many subscriptions, all of them waiting.
    pub(super) fn subscribe(log: &Log, count: u32) -> Result<Self> {
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut context = Context::from_waker(&waker);
        let mut subscriptions = Vec::new();
        for number in 0..count {
            let stream = format!("idle-{number}");
            let mut subscription = log.subscribe_stream(&stream, StreamVersion::FIRST)?;
            while let Poll::Ready(Some(update)) = subscription.poll_next(&mut context) {
                update?;
            }
            subscriptions.push(subscription);
        }
        Ok(Self { _subscriptions: subscriptions, wakes })
    }

    /// How often one of them was woken.
    pub(super) fn wakes(&self) -> u64 {
        self.wakes.0.load(Ordering::Relaxed)
    }
}
