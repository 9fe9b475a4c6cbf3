//! Owns the grouping for stores that have none of their own: a queue, one writer thread that takes
//! all that waits, one commit, one wake for each.
//!
//! Promises: an append ends when the commit of its group has returned. It is what a careful user
//! would write in an afternoon; the rates of such a store are those of the store behind it.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use crossbeam_channel::{Sender, unbounded};

use crate::drive::block_on;
use crate::store::{Appender, Result, Started};

/// The part of a store that only the writer thread calls.
pub trait Engine: Send + 'static {
    /// Stores the appends in order as one durable commit.
    fn commit(&mut self, group: &[Job]) -> Result;
}

/// One append in the queue.
#[cfg_attr(not(feature = "rusqlite"), expect(dead_code, reason = "the others keep no streams"))]
pub struct Job {
    /// The stream of each event; empty where the client is the stream.
    pub streams: Vec<u64>,
    pub client: usize,
    pub events: Vec<Vec<u8>>,
    slot: Arc<Slot>,
}

const WAITS: u8 = 0;
const STORED: u8 = 1;
const FAILED: u8 = 2;

#[derive(Default)]
struct Slot {
    state: AtomicU8,
    waker: Mutex<Option<Waker>>,
}

struct Ticket(Arc<Slot>);

impl Future for Ticket {
    type Output = Result;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result> {
        let answer = || match self.0.state.load(Ordering::Acquire) {
            WAITS => Poll::Pending,
            STORED => Poll::Ready(Ok(())),
            _ => Poll::Ready(Err(anyhow::anyhow!("the commit failed"))),
        };
        if let ready @ Poll::Ready(_) = answer() {
            return ready;
        }
        *self.0.waker.lock().expect("no holder panics") = Some(context.waker().clone());
        // The answer may have come before the waker was there.
        answer()
    }
}

impl Slot {
    fn answer(&self, state: u8) {
        self.state.store(state, Ordering::Release);
        let waker = self.waker.lock().expect("no holder panics").take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A store behind the queue.
pub struct Grouped(Sender<Job>);

impl Grouped {
    pub fn behind(mut engine: impl Engine) -> Box<dyn Appender> {
        let (sender, receiver) = unbounded::<Job>();
        std::thread::spawn(move || {
            let mut group = Vec::new();
            while let Ok(first) = receiver.recv() {
                group.push(first);
                group.extend(receiver.try_iter());
                let done = engine.commit(&group);
                if let Err(error) = &done {
                    eprintln!("a commit failed: {error:#}");
                }
                let state = if done.is_ok() { STORED } else { FAILED };
                group.drain(..).for_each(|job| job.slot.answer(state));
            }
        });
        Box::new(Self(sender))
    }

    fn send(&self, client: usize, streams: &[u64], events: &[&[u8]]) -> Ticket {
        let slot = Arc::new(Slot::default());
        let events = events.iter().map(|&event| event.to_vec()).collect();
        let job = Job { streams: streams.to_vec(), client, events, slot: Arc::clone(&slot) };
        if self.0.send(job).is_err() {
            slot.answer(FAILED);
        }
        Ticket(slot)
    }
}

impl Appender for Grouped {
    fn append(&self, client: usize, events: &[&[u8]]) -> Result {
        block_on(self.send(client, &[], events))
    }

    fn start(&self, client: usize, events: &[&[u8]]) -> Option<Started> {
        Some(Box::pin(self.send(client, &[], events)))
    }

    fn load(&self, streams: &[u64], events: &[&[u8]]) -> Result {
        block_on(self.send(0, streams, events))
    }
}
