//! Owns the clients: threads that wait for each ack, one thread with many appends in flight, one
//! thread with many tasks.
//!
//! Promises: counts what was acked within the window, and only there; a client sends its next
//! append when an earlier one was acked (a closed loop).

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::events::{Pool, random};
use crate::machine::{Machine, Used};
use crate::store::{Appender, Result, Started};

/// How clients append.
#[derive(Clone, Copy, Debug)]
pub enum Clients {
    /// So many threads, each with one append at a time.
    Threads(usize),
    /// One thread with so many appends in flight.
    Pipeline(usize),
    /// So many tasks on one thread, each with one append at a time.
    Tasks(usize),
}

/// What was acked within the window, and what the machine did meanwhile.
pub struct Acked {
    pub calls: u64,
    pub seconds: f64,
    pub latency_ns: Histogram<u64>,
    pub used: Used,
}

const WARMS: u8 = 0;
const COUNTS: u8 = 1;
const STOPS: u8 = 2;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

thread_local! {
    static WAKER: Waker = Waker::from(Arc::new(Unpark(thread::current())));
}

/// Waits for a future on this thread.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    WAKER.with(|waker| {
        loop {
            match future.as_mut().poll(&mut Context::from_waker(waker)) {
                Poll::Ready(value) => return value,
                Poll::Pending => thread::park(),
            }
        }
    })
}

/// One client's own count.
struct Count<'a> {
    phase: &'a AtomicU8,
    calls: u64,
    latency_ns: Histogram<u64>,
}

impl<'a> Count<'a> {
    fn new(phase: &'a AtomicU8) -> Self {
        let latency_ns = Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("valid bounds");
        Self { phase, calls: 0, latency_ns }
    }

    /// Counts an ack; false when it was the last.
    fn acked(&mut self, sent: Instant) -> bool {
        let phase = self.phase.load(Ordering::Relaxed);
        if phase == COUNTS {
            self.calls += 1;
            self.latency_ns.saturating_record(sent.elapsed().as_nanos() as u64);
        }
        phase != STOPS
    }
}

/// The work of one measurement.
pub struct Load<'a> {
    pub store: &'a dyn Appender,
    pub pool: &'a Pool,
    pub batch: usize,
    pub warmup: Duration,
    pub window: Duration,
}

impl Load<'_> {
    /// Lets the clients append through warm-up and window.
    pub fn run(&self, clients: Clients, machine: &Machine) -> Result<Acked> {
        let phase = AtomicU8::new(WARMS);
        thread::scope(|scope| {
            let spawn = |client| {
                let phase = &phase;
                scope.spawn(move || match clients {
                    Clients::Threads(_) => self.blocking(client, phase),
                    Clients::Pipeline(window) => self.pipelined(window, phase),
                    Clients::Tasks(count) => self.tasks(count, phase),
                })
            };
            let count = if let Clients::Threads(count) = clients { count } else { 1 };
            let threads: Vec<_> = (0..count).map(spawn).collect();
            thread::sleep(self.warmup);
            let (before, start) = (machine.now(), Instant::now());
            phase.store(COUNTS, Ordering::Relaxed);
            thread::sleep(self.window);
            phase.store(STOPS, Ordering::Relaxed);
            let seconds = start.elapsed().as_secs_f64();
            let used = machine.now().since(&before);
            let mut all = Count::new(&phase);
            for thread in threads {
                let count = thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
                all.calls += count.calls;
                all.latency_ns.add(count.latency_ns)?;
            }
            Ok(Acked { calls: all.calls, seconds, latency_ns: all.latency_ns, used })
        })
    }

    fn events(&self, number: u64) -> Vec<&[u8]> {
        let first = random(number);
        (0..self.batch as u64).map(|index| self.pool.any(first.wrapping_add(index))).collect()
    }

    fn start(&self, client: usize, number: u64) -> Result<Started> {
        let started = self.store.start(client, &self.events(number));
        started.ok_or_else(|| anyhow::anyhow!("this store only blocks"))
    }

    fn blocking<'a>(&self, client: usize, phase: &'a AtomicU8) -> Result<Count<'a>> {
        let mut count = Count::new(phase);
        for number in 0.. {
            let events = self.events((client as u64) << 32 | number);
            let sent = Instant::now();
            self.store.append(client, &events)?;
            if !count.acked(sent) {
                break;
            }
        }
        Ok(count)
    }

    fn pipelined<'a>(&self, window: usize, phase: &'a AtomicU8) -> Result<Count<'a>> {
        let mut count = Count::new(phase);
        let mut waiting = VecDeque::with_capacity(window);
        for number in 0.. {
            if waiting.len() == window
                && let Some((sent, oldest)) = waiting.pop_front()
            {
                block_on::<Result>(oldest)?;
                if !count.acked(sent) {
                    break;
                }
            }
            waiting.push_back((Instant::now(), self.start(0, number)?));
        }
        Ok(count)
    }

    fn tasks<'a>(&self, clients: usize, phase: &'a AtomicU8) -> Result<Count<'a>> {
        let mut count = Count::new(phase);
        let ready = Arc::new(Ready { list: Mutex::default(), thread: thread::current() });
        let waker = |task| Waker::from(Arc::new(Task { task, ready: Arc::clone(&ready) }));
        let wakers: Vec<_> = (0..clients).map(waker).collect();
        let mut tasks = Vec::with_capacity(clients);
        for client in 0..clients {
            tasks.push((Instant::now(), self.start(client, client as u64)?));
        }
        let mut woken: Vec<_> = (0..clients).collect();
        for number in 1.. {
            for task in woken.drain(..) {
                let (sent, append) = &mut tasks[task];
                let mut context = Context::from_waker(&wakers[task]);
                while let Poll::Ready(done) = append.as_mut().poll(&mut context) {
                    done?;
                    if !count.acked(*sent) {
                        return Ok(count);
                    }
                    *sent = Instant::now();
                    *append = self.start(task, number << 16 | task as u64)?;
                }
            }
            while woken.is_empty() {
                std::mem::swap(&mut woken, &mut ready.list.lock().expect("no holder panics"));
                if woken.is_empty() {
                    thread::park();
                }
            }
        }
        Ok(count)
    }
}

/// The tasks that can go on.
struct Ready {
    list: Mutex<Vec<usize>>,
    thread: Thread,
}

struct Task {
    task: usize,
    ready: Arc<Ready>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut list = self.ready.list.lock().expect("no holder panics");
        list.push(self.task);
        // The first in the list wakes the thread; it takes all of them.
        if list.len() == 1 {
            drop(list);
            self.ready.thread.unpark();
        }
    }
}
