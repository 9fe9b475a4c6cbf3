//! Queues between two stages: bounded, measured, handing over in bulks; and the table that says
//! from their figures which stage holds up the others.

use std::error::Error;
use std::fmt;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use paperchase::Timestamp;
use paperchase::clock::{Clock, SystemClock};

/// Counts items, not bulks. What is pushed and not popped is in the queue, or held by a stage that
/// waits for room.
#[derive(Default)]
pub(crate) struct Figures {
    pushed: AtomicU64,
    popped: AtomicU64,
    bulks: AtomicU64,
    most: AtomicU64,
    /// Sum of the times that items waited in the queue.
    waited: AtomicU64,
    /// How long the stage behind the queue waited for items, and the one before it for room.
    idle: AtomicU64,
    held: AtomicU64,
}

impl Figures {
    pub(crate) fn push(&self, items: usize) {
        let pushed = self.pushed.fetch_add(items as u64, Ordering::SeqCst) + items as u64;
        let length = pushed.saturating_sub(self.popped.load(Ordering::SeqCst));
        self.most.fetch_max(length, Ordering::SeqCst);
    }

    /// A bulk leaves, whose items have waited so long in all.
    pub(crate) fn pop(&self, items: usize, waited: Duration) {
        self.popped.fetch_add(items as u64, Ordering::SeqCst);
        self.bulks.fetch_add(1, Ordering::SeqCst);
        add(&self.waited, waited);
    }

    /// Waits as the stage behind the queue does.
    pub(crate) fn wait_for_items<T>(&self, wait: impl FnOnce() -> T) -> T {
        timed(&self.idle, wait)
    }

    /// Waits as the stage before the queue does.
    pub(crate) fn wait_for_room<T>(&self, wait: impl FnOnce() -> T) -> T {
        timed(&self.held, wait)
    }
}

fn timed<T>(sum: &AtomicU64, wait: impl FnOnce() -> T) -> T {
    let start = now();
    let result = wait();
    add(sum, now() - start);
    result
}

fn add(sum: &AtomicU64, time: Duration) {
    sum.fetch_add(time.as_nanos() as u64, Ordering::SeqCst);
}

static CLOCK: LazyLock<SystemClock> = LazyLock::new(SystemClock::default);

fn now() -> Duration {
    CLOCK.monotonic()
}

/// How long ago an event was stored.
pub(crate) fn since(time: Timestamp) -> Duration {
    Duration::from_nanos(CLOCK.wall().as_nanos().saturating_sub(time.as_nanos()))
}

/// A queue with room for so many bulks.
pub(crate) fn queue<T>(room: usize) -> (Push<T>, Pop<T>) {
    let (sender, receiver) = sync_channel(room);
    let figures = Arc::new(Figures::default());
    (Push { sender, figures: Arc::clone(&figures) }, Pop { receiver, figures })
}

/// Where bulks enter a queue.
#[derive(Clone)]
pub(crate) struct Push<T> {
    sender: SyncSender<(Duration, Vec<T>)>,
    figures: Arc<Figures>,
}

impl<T> Push<T> {
    /// Waits for room.
    pub(crate) fn push(&self, bulk: Vec<T>) -> Result<(), Box<dyn Error>> {
        self.figures.push(bulk.len());
        let entered = (now(), bulk);
        let left = self.figures.wait_for_room(|| self.sender.send(entered));
        left.map_err(|_| "the next stage has ended".into())
    }
}

/// Where bulks leave a queue.
pub(crate) struct Pop<T> {
    receiver: Receiver<(Duration, Vec<T>)>,
    pub(crate) figures: Arc<Figures>,
}

impl<T> Pop<T> {
    /// Waits for a bulk, and joins to it those that are there, until it has `enough` items: the
    /// busier the stages are, the larger the bulks. `None` when nothing can come any more.
    pub(crate) fn pop(&self, enough: usize) -> Option<Vec<T>> {
        let next = self.figures.wait_for_items(|| self.receiver.recv());
        let (mut bulk, mut waited) = (Vec::new(), Duration::ZERO);
        let mut next = Some(next.ok()?);
        while let Some((entered, items)) = next {
            waited += (now() - entered) * items.len() as u32;
            bulk.extend(items);
            next = if bulk.len() < enough { self.receiver.try_recv().ok() } else { None };
        }
        self.figures.pop(bulk.len(), waited);
        Some(bulk)
    }
}

/// Runs a stage and tells how long it took. A stage that fails ends the process.
pub(crate) fn stage(
    name: &'static str,
    run: impl FnOnce() -> Result<(), Box<dyn Error>>,
) -> Duration {
    /// Ends the process when it is dropped, also by a panic.
    struct Fuse;
    impl Drop for Fuse {
        fn drop(&mut self) {
            process::exit(1);
        }
    }
    let (start, fuse) = (now(), Fuse);
    if let Err(error) = run() {
        eprintln!("stage {name}: {error}");
        return Duration::ZERO;
    }
    std::mem::forget(fuse);
    now() - start
}

/// The figures of the stages, each with those of the queue before it, printed as a table: items
/// pushed, popped, still in it, and in it at most; bulks popped; the mean time of an item in it,
/// and how long others waited for room in it. A stage is busy when it waits neither for items nor
/// for room; waiting for the log or the server is its work.
pub(crate) struct Table {
    pub(crate) queues: [Arc<Figures>; 5],
    /// How long each stage ran.
    pub(crate) times: [Duration; 5],
}

const STAGES: [&str; 5] = ["receive", "record", "forward", "collect", "store"];

impl Table {
    /// The part of its time in which a stage waited neither for items nor for room behind it.
    fn busy(&self, stage: usize) -> f64 {
        let held = self.queues.get(stage + 1).map_or(0.0, |next| seconds(&next.held));
        let waited = seconds(&self.queues[stage].idle) + held;
        let time = self.times[stage].as_secs_f64().max(1e-9);
        (1.0 - waited / time).clamp(0.0, 1.0)
    }

    /// The stage that holds up the others: the last one before which others waited for room for a
    /// tenth of the time or more.
    fn saturated(&self) -> Option<usize> {
        let waited = |stage: usize| seconds(&self.queues[stage].held);
        (0..5).rev().find(|&stage| 10.0 * waited(stage) > self.times[stage].as_secs_f64())
    }
}

fn seconds(sum: &AtomicU64) -> f64 {
    sum.load(Ordering::SeqCst) as f64 / 1e9
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let titles =
            ["pushed", "popped", "length", "most", "bulks", "wait ms", "full ms", "busy %"];
        write!(f, "{:8}", "stage")?;
        titles.iter().try_for_each(|title| write!(f, "{title:>9}"))?;
        for (stage, (name, queue)) in STAGES.iter().zip(&self.queues).enumerate() {
            let load = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
            let (pushed, popped) = (load(&queue.pushed), load(&queue.popped));
            write!(f, "\n{name:8}{pushed:>9}{popped:>9}{:>9}", pushed.saturating_sub(popped))?;
            write!(f, "{:>9}{:>9}", load(&queue.most), load(&queue.bulks))?;
            let wait = 1e3 * seconds(&queue.waited) / popped.max(1) as f64;
            let busy = 100.0 * self.busy(stage);
            write!(f, "{wait:>9.2}{:>9.1}{busy:>9.0}", 1e3 * seconds(&queue.held))?;
        }
        let saturated = self.saturated().map_or("none", |stage| STAGES[stage]);
        write!(f, "\nsaturated: {saturated}")
    }
}
