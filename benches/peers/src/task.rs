//! Owns one measurement, in a process of its own: opens a store, does one kind of work, writes down
//! what it saw, and ends without closing anything, so that whatever opens the store next recovers
//! it.
//!
//! Promises: what is read is checked event by event; a wrong one makes the measurement an error.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::ensure;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::drive::{Acked, Clients, Load};
use crate::events::{BATCH, Events, LONG_EVENTS, Pool, random};
use crate::machine::Machine;
use crate::store::{Reading, Result, peer};

/// What a process is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    pub store: String,
    pub work: Work,
    pub directory: PathBuf,
    pub result: PathBuf,
    pub seconds: f64,
    pub warmup: f64,
    pub events: u64,
    pub streams: u64,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Work {
    Threads {
        clients: usize,
        batch: usize,
    },
    Pipeline {
        window: usize,
    },
    Tasks {
        clients: usize,
    },
    Load,
    Read,
    /// So many appends, each followed by a system call that marks its ack.
    Marked {
        appends: u64,
    },
}

/// What one measurement saw. Rates are of events, but of opening and of streams.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sample {
    pub per_second: f64,
    pub p50_us: Option<f64>,
    pub p99_us: Option<f64>,
    pub cpu_us: Option<f64>,
    pub device_bytes: Option<f64>,
    /// Events per flush of the device.
    pub per_flush: Option<f64>,
}

/// By the name of the kind of work.
pub type Samples = BTreeMap<String, Sample>;

pub const APPEND: &str = "append";
pub const LOAD: &str = "load";
pub const OPEN: &str = "open";
pub const SCAN: &str = "scan";
pub const POINT: &str = "point";
pub const STREAM: &str = "stream";

const SCANS: u32 = 2;

fn us(ns: u64) -> f64 {
    ns as f64 / 1e3
}

fn percentiles(latency_ns: &Histogram<u64>) -> (Option<f64>, Option<f64>) {
    let at = |share| (!latency_ns.is_empty()).then(|| us(latency_ns.value_at_quantile(share)));
    (at(0.5), at(0.99))
}

impl Sample {
    fn appended(acked: &Acked, batch: usize) -> Self {
        let events = acked.calls as f64 * batch as f64;
        let (p50_us, p99_us) = percentiles(&acked.latency_ns);
        let some = events > 0.0;
        let flushes = acked.used.device_flushes;
        Self {
            per_second: events / acked.seconds,
            p50_us,
            p99_us,
            cpu_us: some.then(|| us(acked.used.cpu_ns) / events),
            device_bytes: some.then(|| acked.used.device_bytes as f64 / events),
            per_flush: (flushes > 0).then(|| events / flushes as f64),
        }
    }
}

/// Does a task and ends the process as a kill does.
pub fn run(task: &Task) -> Result {
    let samples = match task.work {
        Work::Threads { clients, batch } => append(task, Clients::Threads(clients), batch)?,
        Work::Pipeline { window } => append(task, Clients::Pipeline(window), 1)?,
        Work::Tasks { clients } => append(task, Clients::Tasks(clients), 1)?,
        Work::Load => load(task)?,
        Work::Read => read(task)?,
        Work::Marked { appends } => marked(task, appends)?,
    };
    std::fs::write(&task.result, serde_json::to_vec(&samples)?)?;
    // Nothing is closed: neither the store nor a cache of ours can tidy up behind the last ack.
    let me = rustix::process::getpid();
    rustix::process::kill_process(me, rustix::process::Signal::KILL)?;
    Ok(())
}

fn one(name: &str, sample: Sample) -> Samples {
    Samples::from([(name.to_owned(), sample)])
}

fn append(task: &Task, clients: Clients, batch: usize) -> Result<Samples> {
    let store = (peer(&task.store)?.append)(&task.directory)?;
    let load = Load {
        store: &*store,
        pool: &Pool::new(),
        batch,
        warmup: Duration::from_secs_f64(task.warmup),
        window: Duration::from_secs_f64(task.seconds),
    };
    let acked = load.run(clients, &Machine::under(&task.directory)?)?;
    let sample = one(APPEND, Sample::appended(&acked, batch));
    std::mem::forget(store);
    Ok(sample)
}

fn marked(task: &Task, appends: u64) -> Result<Samples> {
    let store = (peer(&task.store)?.append)(&task.directory)?;
    let pool = Pool::new();
    // The call that the trace is searched for; it does nothing.
    let _ = rustix::process::getppid();
    for number in 0..appends {
        store.append(0, &[pool.any(number)])?;
        let _ = rustix::process::getppid();
    }
    std::mem::forget(store);
    Ok(Samples::new())
}

fn load(task: &Task) -> Result<Samples> {
    let store = (peer(&task.store)?.load)(&task.directory)?;
    let (events, pool) = (Events::new(task.events, task.streams), Pool::new());
    let machine = Machine::under(&task.directory)?;
    let mut latency_ns = Histogram::new_with_bounds(1, 60_000_000_000, 3)?;
    let (before, start) = (machine.now(), Instant::now());
    for batch in 0..events.batches() {
        let streams: Vec<_> = events.streams_of(batch).collect();
        let payloads: Vec<_> = (batch * BATCH..(batch + 1) * BATCH).map(|n| pool.of(n)).collect();
        let payloads: Vec<_> = payloads.iter().map(<[u8; _]>::as_slice).collect();
        let sent = Instant::now();
        store.load(&streams, &payloads)?;
        latency_ns.saturating_record(sent.elapsed().as_nanos() as u64);
    }
    let seconds = start.elapsed().as_secs_f64();
    let used = machine.now().since(&before);
    let acked = Acked { calls: events.batches(), seconds, latency_ns, used };
    let sample = one(LOAD, Sample::appended(&acked, BATCH as usize));
    std::mem::forget(store);
    Ok(sample)
}

/// Opens the store as the kill has left it, and asks it for what it was loaded with.
fn read(task: &Task) -> Result<Samples> {
    let open = peer(&task.store)?.read;
    let reader = Reader {
        events: Events::new(task.events, task.streams),
        pool: Pool::new(),
        machine: Machine::under(&task.directory)?,
        window: Duration::from_secs_f64(task.seconds),
    };
    let mut samples = Samples::new();
    let (mut store, sample) = reader.open(open, &task.directory)?;
    samples.insert(OPEN.to_owned(), sample);
    let measures: [(_, Measure); 3] =
        [(STREAM, Reader::streams), (POINT, Reader::points), (SCAN, Reader::scan)];
    for (name, measure) in measures {
        if let Some(sample) = measure(&reader, &mut *store)? {
            samples.insert(name.to_owned(), sample);
        }
    }
    std::mem::forget(store);
    Ok(samples)
}

struct Reader {
    events: Events,
    pool: Pool,
    machine: Machine,
    window: Duration,
}

type Measure = fn(&Reader, &mut dyn Reading) -> Result<Option<Sample>>;
type Open = fn(&Path) -> Result<Box<dyn Reading>>;

impl Reader {
    /// A store is open when it has given its last event.
    fn open(&self, open: Open, directory: &Path) -> Result<(Box<dyn Reading>, Sample)> {
        let (before, start) = (self.machine.now(), Instant::now());
        let mut store = open(directory)?;
        self.point(&mut *store, self.events.count - 1)?;
        let seconds = start.elapsed().as_secs_f64();
        let used = self.machine.now().since(&before);
        let sample = Sample {
            per_second: 1.0 / seconds,
            p50_us: Some(seconds * 1e6),
            cpu_us: Some(us(used.cpu_ns)),
            ..Sample::default()
        };
        Ok((store, sample))
    }

    fn point(&self, store: &mut dyn Reading, number: u64) -> Result<bool> {
        let mut found = None;
        let offered = store.point(number, &mut |event| found = self.pool.number(event))?;
        ensure!(!offered || found == Some(number), "event {number} reads as {found:?}");
        Ok(offered)
    }

    fn points(&self, store: &mut dyn Reading) -> Result<Option<Sample>> {
        self.repeat(|nth| self.point(store, random(nth) % self.events.count))
    }

    fn streams(&self, store: &mut dyn Reading) -> Result<Option<Sample>> {
        // The first question may build what the others use; that is a part of opening.
        self.stream(store, 0)?;
        self.repeat(|nth| self.stream(store, random(nth) % self.events.long_streams()))
    }

    fn stream(&self, store: &mut dyn Reading, stream: u64) -> Result<bool> {
        let (mut count, mut last) = (0, None);
        let offered = store.stream(stream, &mut |event| {
            let number = self.pool.number(event);
            count += u64::from(number > last);
            last = number;
        })?;
        ensure!(!offered || count == LONG_EVENTS, "stream {stream} has {count} events in order");
        Ok(offered)
    }

    fn scan(&self, store: &mut dyn Reading) -> Result<Option<Sample>> {
        let (before, start) = (self.machine.now(), Instant::now());
        for _ in 0..SCANS {
            let (mut count, mut sum) = (0_u64, 0_u64);
            let offered = store.scan(&mut |event| {
                count += 1;
                sum = sum.wrapping_add(self.pool.number(event).unwrap_or(u64::MAX / 2));
            })?;
            if !offered {
                return Ok(None);
            }
            let all = self.events.count;
            ensure!(count == all && sum == all * (all - 1) / 2, "{count} events read of {all}");
        }
        let events = (u64::from(SCANS) * self.events.count) as f64;
        let seconds = start.elapsed().as_secs_f64();
        let used = self.machine.now().since(&before);
        let cpu_us = Some(us(used.cpu_ns) / events);
        Ok(Some(Sample { per_second: events / seconds, cpu_us, ..Sample::default() }))
    }

    /// Asks again and again through the window.
    fn repeat(&self, mut ask: impl FnMut(u64) -> Result<bool>) -> Result<Option<Sample>> {
        let mut latency_ns = Histogram::new_with_bounds(1, 60_000_000_000, 3)?;
        let (before, start) = (self.machine.now(), Instant::now());
        let mut asked = 0;
        while start.elapsed() < self.window {
            let sent = Instant::now();
            if !ask(asked)? {
                return Ok(None);
            }
            latency_ns.saturating_record(sent.elapsed().as_nanos() as u64);
            asked += 1;
        }
        let events = asked as f64;
        let seconds = start.elapsed().as_secs_f64();
        let used = self.machine.now().since(&before);
        let (p50_us, p99_us) = percentiles(&latency_ns);
        let cpu_us = Some(us(used.cpu_ns) / events);
        Ok(Some(Sample {
            per_second: events / seconds,
            p50_us,
            p99_us,
            cpu_us,
            ..Sample::default()
        }))
    }
}
