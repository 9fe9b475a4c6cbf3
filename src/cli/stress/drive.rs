//! Owns one load on one log: opens it, fills it, starts all threads, watches the measured time,
//! waits for the last answers, and opens the log again for the check.
//!
//! Promises: statistics and processor time are taken at the two ends of the measured time, and
//! subtracted, so that the warm-up and the wait for the last acks are in no rate. The measured time
//! ends early on an interrupt or when all clients have stopped.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::super::{CliError, failure};
use super::Args;
use super::audience::{Audience, Heard};
use super::check::{Verdict, check};
use super::figures::{nanos, per};
use super::idle::Idle;
use super::ledger::StreamLedger;
use super::load::{ClosedLoad, Hand, Tally, Window, now};
use super::machine::{DeviceCounts, cpu_time, device_counts, log_cpu_time};
use super::open::{Alarm, Manner, Passer, collect, send};
use super::payload::Pool;
use super::plan::{Mix, Moments, Orders};
use super::pulse::{Recorded, Slot, hiccups, record};
use super::report::{Mount, Phase, histogram};
use super::target::{LogTarget, sleep_exactly};
use crate::clock::{Clock, SystemClock};
use crate::{AppendError, Log, Options, Position, Stats, Timestamp};

/// How often the run looks whether it is to end: long enough to leave the cores to the clients.
const LOOK: Duration = Duration::from_millis(20);
/// Time for all threads to start, in nanoseconds.
const LEAD: u64 = 20_000_000;
/// Appends in flight while the log is filled.
const FILL_PIPELINE: usize = 1024;

/// What all loads of a run share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bench<'a> {
    pub(super) args: &'a Args,
    pub(super) options: &'a Options,
    pub(super) mix: &'a Mix,
    pub(super) pool: &'a Pool,
    pub(super) clock: &'a SystemClock,
    pub(super) interrupted: &'a AtomicBool,
    pub(super) mount: Option<&'a Mount>,
}

/// What one load is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Closed,
    /// So many appends a second.
    Open(f64),
}

/// What a load yielded.
#[derive(Debug)]
pub(super) struct Driven {
    pub(super) tally: Tally,
    pub(super) ledgers: Vec<StreamLedger>,
    pub(super) lateness: Option<Histogram<u64>>,
    pub(super) hiccups: Histogram<u64>,
    pub(super) recorded: Vec<Recorded>,
    pub(super) subscribed: Heard,
    pub(super) read: Heard,
    pub(super) idle_wakes: u64,
    pub(super) phases: Vec<Phase>,
    pub(super) before: Snapshot,
    pub(super) after: Snapshot,
    /// Length of the measured time.
    pub(super) seconds: f64,
    /// When the measured time began.
    pub(super) started: Timestamp,
    /// Threads that ended by a panic.
    pub(super) panics: usize,
}

/// What the log and the system had counted at one moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) at: u64,
    pub(super) stats: Stats,
    pub(super) cpu: Option<Duration>,
    pub(super) log_cpu: Option<Duration>,
    pub(super) device: Option<DeviceCounts>,
}

impl Snapshot {
    fn take(log: &Log, bench: Bench<'_>) -> Self {
        Self {
            at: now(bench.clock),
            stats: log.stats(),
            cpu: cpu_time(),
            log_cpu: log_cpu_time(),
            device: bench.mount.and_then(device_counts),
        }
    }
}

/// The verdict, and what opening and reading the log took.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) verdict: Verdict,
    pub(super) open_seconds: f64,
    pub(super) read_seconds: f64,
    /// Why the log could not be closed.
    pub(super) failure: Option<String>,
}

/// Puts one load on a fresh log in an empty directory.
pub(super) fn run(
    bench: Bench<'_>,
    kind: Kind,
    place: &Path,
) -> Result<(Driven, Checked), CliError> {
    let label = place.display().to_string();
    let log = bench.options.clone().open(place).map_err(|error| CliError::open(&label, &error))?;
    let idle = Idle::subscribe(&log, bench.args.subscriptions)?;
    let mut driven = drive(&log, bench, kind);
    driven.idle_wakes = idle.wakes();
    drop(idle);
    let closed = log.close();
    let mut checked = check_again(place, bench, &driven.ledgers);
    checked.failure = closed.err().map(|error| error.to_string());
    Ok((driven, checked))
}

/// What a worker thread hands back; with the lateness of its sender in an open loop.
type Worked = (Tally, Vec<StreamLedger>, Option<Histogram<u64>>);

fn drive(log: &Log, bench: Bench<'_>, kind: Kind) -> Driven {
    let (args, clock) = (bench.args, bench.clock);
    let began = now(clock);
    let filled = fill(log, bench);
    let ended_fill = now(clock);
    rest(bench);
    let start = now(clock) + LEAD;
    let measured = start + nanos(args.warmup);
    let end = match kind {
        Kind::Closed => u64::MAX,
        Kind::Open(_) => measured + nanos(args.seconds),
    };
    let window = Window::new(measured, end);
    let (over, seen) = (AtomicBool::new(false), AtomicU64::new(0));
    let audience = Audience { log, clock, window: &window, over: &over, seen: &seen };
    let slots: Vec<_> = (0..threads(args)).map(|_| Slot::new()).collect();
    let from = log.stats().visible;
    std::thread::scope(|scope| {
        let hiccups = scope.spawn(|| hiccups(&window, &over, clock));
        let recorder = scope.spawn(|| record(log, &slots, &window, clock));
        let subscribers: Vec<_> =
            (0..args.subscribers).map(|_| scope.spawn(move || audience.subscribe(from))).collect();
        let readers: Vec<_> = (0..args.readers)
            .map(|number| scope.spawn(move || audience.read(args.seed, number)))
            .collect();
        let load = Load { log, bench, window: &window, start };
        let workers = match kind {
            Kind::Closed => load.start_closed(scope, &slots),
            Kind::Open(rate) => load.start_open(scope, &slots, rate),
        };
        let mut watch = Watch { bench, slots: &slots, workers: &workers, shown: None };
        let go_on = watch.until(measured);
        let (before, started) = (Snapshot::take(log, bench), clock.wall());
        let go_on = go_on && watch.until(measured + nanos(args.seconds));
        let after = Snapshot::take(log, bench);
        if !go_on || kind == Kind::Closed {
            window.close(after.at);
        }
        let mut driven = Driven::new(kind, before, after, started);
        driven.add(filled);
        workers.into_iter().for_each(|worker| driven.join(worker));
        window.close(now(clock));
        over.store(true, Ordering::Release);
        let ended = now(clock);
        subscribers.into_iter().for_each(|heard| hear(heard, &mut driven.subscribed));
        readers.into_iter().for_each(|heard| hear(heard, &mut driven.read));
        driven.hiccups = hiccups.join().unwrap_or_else(|_| histogram());
        driven.recorded = recorder.join().unwrap_or_default();
        let measured_to = window.end().max(measured);
        driven.seconds = seconds_between(measured, measured_to);
        driven.phases = phases(args, [began, ended_fill, start, measured, measured_to, ended]);
        driven
    })
}

fn threads(args: &Args) -> u32 {
    if args.asynchronous { 1 } else { args.clients() }
}

fn hear(heard: ScopedJoinHandle<'_, Heard>, sum: &mut Heard) {
    if let Ok(heard) = heard.join() {
        sum.merge(heard);
    }
}

fn seconds_between(start: u64, end: u64) -> f64 {
    Duration::from_nanos(end.saturating_sub(start)).as_secs_f64()
}

/// The parts of a run between six moments; what was not asked for is left out.
fn phases(args: &Args, moments: [u64; 6]) -> Vec<Phase> {
    let names = ["fill", "rest", "warm-up", "measure", "cool-down"];
    let asked = [args.fill > 0, !args.rest.is_zero(), true, true, true];
    let parts = names.into_iter().zip(moments.windows(2));
    let parts = parts.zip(asked).filter_map(|(part, asked)| asked.then_some(part));
    let phase = |(name, part): (&str, &[u64])| Phase {
        name: name.to_owned(),
        start_s: seconds_between(moments[0], part[0]),
        seconds: seconds_between(part[0], part[1]),
    };
    parts.map(phase).filter(|phase| phase.seconds > 0.0).collect()
}

/// Leaves the log alone for as long as was asked.
fn rest(bench: Bench<'_>) {
    let end = now(bench.clock) + nanos(bench.args.rest);
    while !bench.interrupted.load(Ordering::Relaxed) {
        let left = Duration::from_nanos(end.saturating_sub(now(bench.clock)));
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(LOOK));
    }
}

/// Appends what is to be there before the load, as one client more.
fn fill(log: &Log, bench: Bench<'_>) -> Option<Worked> {
    let args = bench.args;
    if args.fill == 0 {
        return None;
    }
    let window = Window::new(u64::MAX, u64::MAX);
    let load = ClosedLoad {
        pool: bench.pool,
        mix: bench.mix,
        seed: args.seed,
        pipeline: FILL_PIPELINE,
        events_max: args.fill,
        window: &window,
        interrupted: bench.interrupted,
    };
    let mut target = LogTarget::patient(log, bench.clock);
    let (tally, ledgers) = load.run_client(args.clients(), &mut target, &Slot::new());
    Some((tally, ledgers, None))
}

impl Driven {
    fn new(kind: Kind, before: Snapshot, after: Snapshot, started: Timestamp) -> Self {
        let open = matches!(kind, Kind::Open(_));
        Self {
            tally: Tally::new(open),
            ledgers: Vec::new(),
            lateness: open.then(histogram),
            hiccups: histogram(),
            recorded: Vec::new(),
            subscribed: Heard::new(),
            read: Heard::new(),
            idle_wakes: 0,
            phases: Vec::new(),
            before,
            after,
            seconds: 0.0,
            started,
            panics: 0,
        }
    }

    fn join(&mut self, worker: ScopedJoinHandle<'_, Worked>) {
        match worker.join() {
            Ok(worked) => self.add(Some(worked)),
            Err(_) => self.panics += 1,
        }
    }

    fn add(&mut self, worked: Option<Worked>) {
        let Some((tally, ledgers, lateness)) = worked else { return };
        self.tally.merge(tally);
        self.ledgers.extend(ledgers);
        if let Some((mine, others)) = self.lateness.as_mut().zip(lateness) {
            mine.add(&others).expect("all histograms have the same bounds");
        }
    }

    /// Whether the disk was full.
    pub(super) fn was_full(&self) -> bool {
        matches!(self.tally.failure, Some(AppendError::Full))
    }
}

/// What the threads of one load share.
#[derive(Clone, Copy)]
struct Load<'a> {
    log: &'a Log,
    bench: Bench<'a>,
    window: &'a Window,
    /// The moment that a plan counts from.
    start: u64,
}

type Workers<'scope> = Vec<ScopedJoinHandle<'scope, Worked>>;

impl<'a> Load<'a> {
    fn start_closed<'scope>(
        self,
        scope: &'scope Scope<'scope, 'a>,
        slots: &'a [Slot],
    ) -> Workers<'scope> {
        let (args, bench) = (self.bench.args, self.bench);
        let load = ClosedLoad {
            pool: bench.pool,
            mix: bench.mix,
            seed: args.seed,
            pipeline: usize::try_from(args.pipeline()).unwrap_or(usize::MAX),
            events_max: u64::MAX,
            window: self.window,
            interrupted: bench.interrupted,
        };
        let target = LogTarget::patient(self.log, bench.clock);
        let whole = |(tally, ledgers)| (tally, ledgers, None);
        if args.asynchronous {
            let run = move || whole(load.run_futures(args.clients(), target, &slots[0]));
            return vec![scope.spawn(run)];
        }
        let clients = (0..args.clients()).zip(slots);
        let run = |(number, slot)| {
            let mut target = target;
            scope.spawn(move || whole(load.run_client(number, &mut target, slot)))
        };
        clients.map(run).collect()
    }

    fn start_open<'scope>(
        self,
        scope: &'scope Scope<'scope, 'a>,
        slots: &'a [Slot],
        rate: f64,
    ) -> Workers<'scope> {
        let senders = (0..self.bench.args.clients()).zip(slots);
        senders
            .map(|(number, slot)| scope.spawn(move || self.send_and_collect(number, slot, rate)))
            .collect()
    }

    /// Collects on this thread what another one sends.
    fn send_and_collect(self, number: u32, slot: &Slot, rate: f64) -> Worked {
        let (args, bench, clock) = (self.bench.args, self.bench, self.bench.clock);
        let arrivals = args.arrivals.unwrap_or_default();
        let moments = Moments::new(args.seed, (number, args.clients()), rate, arrivals);
        let (start, end) = (self.start, self.window.end());
        let plan = moments
            .map(move |moment| start + moment)
            .take_while(move |moment| *moment < end)
            .zip(Orders::new(args.seed, number, bench.mix));
        let limit = end.saturating_add(nanos(args.cooldown));
        let when_full = args.when_full.unwrap_or_default();
        let manner = Manner { window: self.window, when_full, limit };
        let (to, from) = mpsc::channel();
        let alarm = Arc::new(Alarm::default());
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| {
                sleep_exactly();
                let passer = Passer::new(clock, &alarm, to);
                let mut hand = Hand::new(bench.pool, number, args.streams);
                let mut target = LogTarget::at_once(self.log, clock, args.clients());
                let pass_on = |parcel, ack| passer.pass(parcel, ack);
                let sending = send(plan, &mut hand, &mut target, manner, pass_on);
                (hand, sending)
            });
            let owner = (number, args.streams);
            let (mut tally, mut ledgers) =
                collect(&from, &alarm, clock, (owner, self.window, slot), limit);
            match sender.join() {
                Ok((hand, sending)) => {
                    hand.complete(&mut ledgers);
                    let lateness = sending.add_to(&mut tally);
                    (tally, ledgers, Some(lateness))
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}

/// Waits while the clients work.
struct Watch<'a, 'scope> {
    bench: Bench<'a>,
    slots: &'a [Slot],
    workers: &'a [ScopedJoinHandle<'scope, Worked>],
    /// When progress was last shown, and how many events were acked then.
    shown: Option<(u64, u64)>,
}

impl Watch<'_, '_> {
    /// Waits for a time; returns false where there is nothing more to wait for.
    fn until(&mut self, time: u64) -> bool {
        loop {
            let now = now(self.bench.clock);
            self.show(now);
            let left = Duration::from_nanos(time.saturating_sub(now));
            if left.is_zero() {
                return true;
            }
            let over = self.bench.interrupted.load(Ordering::Relaxed)
                || self.workers.iter().all(ScopedJoinHandle::is_finished);
            if over {
                return false;
            }
            std::thread::sleep(left.min(LOOK));
        }
    }

    fn show(&mut self, now: u64) {
        let (then, before) = *self.shown.get_or_insert((now, 0));
        let passed = seconds_between(then, now);
        if passed < 1.0 || !std::io::stderr().is_terminal() {
            return;
        }
        let acked = self.slots.iter().map(|slot| slot.acked.load(Ordering::Relaxed)).sum();
        let rate = per(acked as f64 - before as f64, passed);
        failure::say(format_args!("{acked} events acked, {rate:.0} events/s"));
        self.shown = Some((now, acked));
    }
}

/// Opens the closed log again and holds all of it against the ledgers.
fn check_again(place: &Path, bench: Bench<'_>, ledgers: &[StreamLedger]) -> Checked {
    let start = now(bench.clock);
    let log = Options::new().create(false).open(place);
    let opened = now(bench.clock);
    let verdict = match log {
        Ok(log) => check(ledgers, bench.pool, log.view().read_all(Position::START..)),
        Err(error) => check(ledgers, bench.pool, [Err(error)]),
    };
    let read = now(bench.clock);
    Checked {
        verdict,
        open_seconds: seconds_between(start, opened),
        read_seconds: seconds_between(opened, read),
        failure: None,
    }
}
