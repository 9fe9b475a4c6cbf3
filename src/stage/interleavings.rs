//! Models of the hand-overs between threads, each run in every way in which its threads can meet,
//! with every value that the memory model allows a load to find (F68).
//!
//! Promises: complete up to three preemptions, or as many as `LOOM_MAX_PREEMPTIONS` says; a missed
//! wake is found as a deadlock, because nothing here ends a sleep but a wake. Each model takes the
//! real types and at most three threads. Nothing of disks, groups and events.

use std::sync::Arc;
use std::task::Wake;
use std::time::Duration;

use super::queue::{Queue, Taken};
use crate::chunk::supply::DurablePlace;
use crate::clock::SimClock;
use crate::format::header::ChainEnd;
use crate::position::{ChunkNumber, Position};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{thread, time};

mod acks;
mod bells;
mod marks;
mod queues;

/// Longer than any wait that passing time may end.
const FOREVER: Duration = Duration::MAX;

/// Runs a model in all its interleavings, and tells how many there were.
fn check(name: &str, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    let bound = *builder.preemption_bound.get_or_insert(3);
    let runs = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = Arc::clone(&runs);
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        time::begin();
        model();
    });
    let runs = runs.load(Ordering::Relaxed);
    println!("{name}: {runs} interleavings with up to {bound} preemptions");
}

fn spawn<T: 'static>(with: &Arc<T>, body: impl FnOnce(&T) + 'static) -> thread::JoinHandle<()> {
    let with = Arc::clone(with);
    thread::spawn(move || body(&with))
}

fn queue<T>(count: usize) -> Arc<Queue<T>> {
    Arc::new(Queue::new(count, usize::MAX, Arc::new(SimClock::new())))
}

/// Takes what is there, and has handled it.
fn drain<T>(queue: &Queue<T>, into: &mut Vec<T>) {
    let mut taken = Taken::default();
    if queue.take(&mut taken) {
        let before = into.len();
        into.extend(std::iter::from_fn(|| taken.pop()));
        queue.handled(into.len() - before);
    }
}

/// A waker that counts.
struct Counter(AtomicUsize);

impl Counter {
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(0)))
    }

    fn wakes(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A place whose numbers all follow from its position.
fn place(position: u64) -> DurablePlace {
    DurablePlace {
        position: Position::new(position),
        chunk: ChunkNumber::new(position),
        end: ChainEnd { chain: position, data_end: position },
    }
}
