//! Owns a run: starts the clients, lets them warm up, watches them for the measured time, stops
//! them, and afterwards opens the log again for the check.
//!
//! Promises: statistics and processor time are taken at the two ends of the measured time, and
//! subtracted, so that the warm-up and the wait for the last acks are in no rate. The measured time
//! ends early on an interrupt or when all clients have stopped.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::{Log, Options, Position, Stats};

use super::Args;
use super::check::{Verdict, check};
use super::figures::per;
use super::ledger::StreamLedger;
use super::load::{Load, Progress, Shape, Tally, Window, now};
use super::machine::cpu_time;
use super::payload::Pool;

/// How often the run looks whether it is to end: long enough to leave the cores to the clients.
const LOOK: Duration = Duration::from_millis(20);

/// What a run yielded.
#[derive(Debug)]
pub(super) struct Driven {
    pub(super) tally: Tally,
    pub(super) ledgers: Vec<StreamLedger>,
    pub(super) before: Snapshot,
    pub(super) after: Snapshot,
    pub(super) interrupted: bool,
    /// Clients that ended by a panic.
    pub(super) panics: usize,
}

impl Driven {
    pub(super) fn seconds(&self) -> f64 {
        Duration::from_nanos(self.after.at.saturating_sub(self.before.at)).as_secs_f64()
    }
}

/// What the log and the system had counted at one moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    at: u64,
    pub(super) stats: Stats,
    pub(super) cpu: Option<Duration>,
}

impl Snapshot {
    fn take(log: &Log, clock: &SystemClock) -> Self {
        Self { at: now(clock), stats: log.stats(), cpu: cpu_time() }
    }
}

/// Loads the log as the arguments say.
pub(super) fn drive(
    log: &Log,
    args: &Args,
    pool: &Pool,
    clock: &SystemClock,
    interrupted: &AtomicBool,
) -> Driven {
    let shape = Shape {
        pipeline: usize::try_from(args.pipeline).unwrap_or(usize::MAX),
        batch: args.batch,
        streams: args.streams,
    };
    let start = clock.monotonic();
    let window = Window::from(nanos(start + args.warmup));
    let load = Load { log, clock, pool, shape, window: &window };
    let threads = if args.asynchronous { 1 } else { args.clients };
    let progress: Vec<_> = (0..threads).map(|_| Progress::default()).collect();
    std::thread::scope(|scope| {
        let clients: Vec<_> = if args.asynchronous {
            let progress = &progress[0];
            vec![scope.spawn(move || load.run_futures(args.clients, progress))]
        } else {
            let numbered = (0..args.clients).zip(&progress);
            numbered.map(|(n, count)| scope.spawn(move || load.run_client(n, count))).collect()
        };
        let mut watch =
            Watch { clock, interrupted, progress: &progress, clients: &clients, shown: None };
        let go_on = watch.until(start + args.warmup);
        let before = Snapshot::take(log, clock);
        if go_on {
            watch.until(start + args.warmup + args.seconds);
        }
        let after = Snapshot::take(log, clock);
        window.close(after.at);
        let mut driven = Driven {
            tally: Tally::new(),
            ledgers: Vec::new(),
            before,
            after,
            interrupted: interrupted.load(Ordering::Relaxed),
            panics: 0,
        };
        for client in clients {
            match client.join() {
                Ok((tally, ledgers)) => {
                    driven.tally.merge(tally);
                    driven.ledgers.extend(ledgers);
                }
                Err(_) => driven.panics += 1,
            }
        }
        driven
    })
}

/// Waits while the clients work.
struct Watch<'a, 'scope, T> {
    clock: &'a SystemClock,
    interrupted: &'a AtomicBool,
    progress: &'a [Progress],
    clients: &'a [ScopedJoinHandle<'scope, T>],
    /// When progress was last shown, and how many events were acked then.
    shown: Option<(Duration, u64)>,
}

impl<T> Watch<'_, '_, T> {
    /// Waits for a time; returns false where there is nothing more to wait for.
    fn until(&mut self, time: Duration) -> bool {
        loop {
            let now = self.clock.monotonic();
            self.show(now);
            let left = time.saturating_sub(now);
            if left.is_zero() {
                return true;
            }
            let over = self.interrupted.load(Ordering::Relaxed)
                || self.clients.iter().all(ScopedJoinHandle::is_finished);
            if over {
                return false;
            }
            std::thread::sleep(left.min(LOOK));
        }
    }

    fn show(&mut self, now: Duration) {
        let (then, before) = *self.shown.get_or_insert((now, 0));
        let passed = now.saturating_sub(then);
        if passed < Duration::from_secs(1) || !std::io::stderr().is_terminal() {
            return;
        }
        let acked = self.progress.iter().map(|count| count.0.load(Ordering::Relaxed)).sum();
        let rate = per(acked as f64 - before as f64, passed.as_secs_f64());
        super::super::failure::say(format_args!("{acked} events acked, {rate:.0} events/s"));
        self.shown = Some((now, acked));
    }
}

/// The verdict, and what opening and reading the log took.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) verdict: Verdict,
    pub(super) open_seconds: f64,
    pub(super) read_seconds: f64,
}

/// Opens the closed log again and holds all of it against the ledgers.
pub(super) fn check_again(
    place: &Path,
    pool: &Pool,
    driven: &Driven,
    clock: &SystemClock,
) -> Checked {
    let start = clock.monotonic();
    let log = Options::new().create(false).open(place);
    let opened = clock.monotonic();
    let verdict = match log {
        Ok(log) => check(&driven.ledgers, pool, log.view().read_all(Position::START..)),
        Err(error) => check(&driven.ledgers, pool, [Err(error)]),
    };
    let read = clock.monotonic();
    Checked {
        verdict,
        open_seconds: opened.saturating_sub(start).as_secs_f64(),
        read_seconds: read.saturating_sub(opened).as_secs_f64(),
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
