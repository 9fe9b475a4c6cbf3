//! Owns how a report comes about: what was asked for, what the machine is, what was measured, and
//! what the figures cannot carry.
//!
//! Promises: the title says what the figures hang on. Notes say what a reader could overlook. Does
//! no measuring, and decides by `judge.rs` alone what is void.

use std::path::Path;

use super::super::show;
use super::Args;
use super::drive::{Bench, Checked, Driven, Kind, Snapshot};
use super::figures::{disk, nanos, per, queues, spread, stages, verdict};
use super::judge;
use super::report::{
    Counts, Cpu, Device, Distribution, DurabilityMode, Identity, Loop, Machine, Mode, Point, Probe,
    Probes, Rate, Reopened, Report, Settings, Sweep, VERSION,
};
use crate::clock::{Clock, SystemClock};
use crate::{AppendError, Options};

/// Below these a run is good for a look, but its tail is not worth quoting.
const SECONDS_MIN: f64 = 60.0;
const SAMPLES_MIN: u64 = 1_000_000;
/// Passes of a quiet disk differ by less than this factor.
const PROBE_SPREAD_MAX: f64 = 1.25;

/// The report of a run that has not begun.
pub(super) fn begin(args: &Args, options: &Options, place: &Path) -> Report {
    let settings = settings(args, options);
    Report {
        version: VERSION,
        title: title(args, &settings),
        identity: Identity {
            paperchase: env!("CARGO_PKG_VERSION").to_owned(),
            commit: option_env!("PAPERCHASE_COMMIT").map(str::to_owned),
            optimised: !cfg!(debug_assertions),
            command: std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect(),
            seed: args.seed,
            durability: args.durability,
            started: show::time(SystemClock::default().wall()),
            machine: Machine::look(place),
        },
        settings,
        ..Report::default()
    }
}

fn settings(args: &Args, options: &Options) -> Settings {
    let open = args.mode() != Mode::Closed;
    Settings {
        mode: args.mode(),
        clients: args.clients(),
        driver: if args.asynchronous { "futures on one thread" } else { "threads" }.to_owned(),
        pipeline: args.pipeline(),
        rate: args.rate,
        arrivals: open.then(|| args.arrivals.unwrap_or_default()),
        when_full: open.then(|| args.when_full.unwrap_or_default()),
        size: args.size.to_string(),
        size_mean_bytes: args.size.mean(),
        batch: args.batch.to_string(),
        batch_mean: args.batch.mean(),
        streams: args.streams,
        skew: args.skew.to_string(),
        conditions_percent: args.conditions,
        readers: args.readers,
        subscribers: args.subscribers,
        subscriptions: args.subscriptions,
        fill_events: args.fill,
        rest_s: args.rest.as_secs_f64(),
        warmup_s: args.warmup.as_secs_f64(),
        seconds: args.seconds.as_secs_f64(),
        cooldown_s: args.cooldown.as_secs_f64(),
        chunk_size_bytes: options.chunk_size,
        max_delay_ns: nanos(options.max_delay),
        spin_ns: nanos(options.spin),
        hlog: args.hlog.as_ref().map(|path| path.display().to_string()),
    }
}

fn title(args: &Args, settings: &Settings) -> String {
    let durability = match args.durability {
        DurabilityMode::Sync => "sync",
        DurabilityMode::Os => "OS (NOT durable against power failure)",
    };
    let Settings { clients, driver, pipeline, batch, size, seconds, warmup_s, .. } = settings;
    let senders = show::counted((*clients).into(), "sender");
    let clients = show::counted((*clients).into(), "client");
    let plan = match args.arrivals.unwrap_or_default() {
        super::report::Arrivals::Poisson => "Poisson arrivals",
        super::report::Arrivals::Constant => "constant arrivals",
    };
    let load = match settings.mode {
        Mode::Closed => format!("{clients} ({driver}), {pipeline} in flight each"),
        Mode::Open => {
            let rate = settings.rate.unwrap_or_default();
            format!("{rate} appends/s, {plan}, {senders}")
        }
        Mode::Sweep => format!("10 to 110 % of the closed loop, {plan}, {senders}"),
    };
    let kind = match settings.mode {
        Mode::Closed => "closed loop",
        Mode::Open => "open loop",
        Mode::Sweep => "sweep of open loops",
    };
    let before = match settings.rest_s > 0.0 {
        true => format!("a rest of {} s and ", settings.rest_s),
        false => String::new(),
    };
    format!(
        "paperchase {} stress: {kind}, durability {durability}, {load}, {batch} x {size} bytes \
         an append, {seconds} s after {before}{warmup_s} s of warm-up",
        env!("CARGO_PKG_VERSION")
    )
}

/// What one load found.
pub(super) fn found(bench: Bench<'_>, kind: Kind, driven: &Driven, checked: Checked) -> Loop {
    let (tally, seconds) = (&driven.tally, driven.seconds);
    let (before, after) = (&driven.before.stats, &driven.after.stats);
    let between = |at: &Snapshot| at.at;
    let watched = between(&driven.after).saturating_sub(between(&driven.before)) as f64 / 1e9;
    let payload = per(tally.bytes as f64, tally.events as f64);
    let panicked = || (driven.panics > 0).then(|| format!("{} threads panicked", driven.panics));
    let heard = || driven.subscribed.failure.as_ref().or(driven.read.failure.as_ref());
    let some = |times: &_| Some(Distribution::of(times)).filter(|found| found.samples > 0);
    let counts = counts(driven);
    let mut found = Loop {
        kind: if kind == Kind::Closed { Mode::Closed } else { Mode::Open },
        void: Vec::new(),
        phases: driven.phases.clone(),
        planned: (kind != Kind::Closed).then(|| Rate {
            appends: per(counts.planned as f64, seconds),
            events: per(counts.planned as f64 * bench.args.batch.mean(), seconds),
            payload_bytes: per(
                counts.planned as f64 * bench.args.batch.mean() * bench.args.size.mean(),
                seconds,
            ),
        }),
        achieved: Rate {
            appends: per(tally.appends as f64, seconds),
            events: per(tally.events as f64, seconds),
            payload_bytes: per(tally.bytes as f64, seconds),
        },
        counts,
        response: tally.response.as_ref().and_then(some),
        service: Distribution::of(&tally.service),
        visible: some(&driven.subscribed.times),
        lateness: driven.lateness.as_ref().and_then(some),
        read: some(&driven.read.times),
        sync: spread(&after.disk.syncs.since(&before.disk.syncs)),
        hiccup: some(&driven.hiccups),
        intervals: driven.recorded.iter().map(|recorded| recorded.row).collect(),
        stages: stages(before, after),
        queues: queues(before, after),
        verdict: verdict(before, after),
        disk: disk(&before.disk, &after.disk, watched, payload),
        device: device(driven),
        cpu: cpu(driven),
        reopened: Reopened {
            open_s: checked.open_seconds,
            checked_events_per_second: per(checked.verdict.found as f64, checked.read_seconds),
        },
        ledger: checked.verdict,
        failure: tally
            .failure
            .as_ref()
            .map(failure)
            .or_else(panicked)
            .or_else(|| heard().map(ToString::to_string))
            .or(checked.failure),
    };
    found.void = judge::void(&found);
    found
}

fn counts(driven: &Driven) -> Counts {
    let tally = &driven.tally;
    Counts {
        planned: tally.acked + tally.shed + tally.failed + tally.unanswered,
        acked: tally.acked,
        acked_events: tally.acked_events,
        busy: tally.busy,
        shed: tally.shed,
        failed: tally.failed,
        unanswered: tally.unanswered,
        conditional: tally.conditional,
        delivered: driven.subscribed.events,
        reads: driven.read.times.len(),
        idle_wakes: driven.idle_wakes,
    }
}

fn device(driven: &Driven) -> Option<Device> {
    const SECTOR_SIZE: u64 = 512;
    let (before, after) = driven.before.device.as_ref().zip(driven.after.device.as_ref())?;
    let written_bytes = after.sectors.saturating_sub(before.sectors) * SECTOR_SIZE;
    let flushes = after.flushes.zip(before.flushes);
    Some(Device {
        name: after.name.clone(),
        writes: after.writes.saturating_sub(before.writes),
        written_bytes,
        flushes: flushes.map(|(after, before)| after.saturating_sub(before)),
        write_amplification: per(written_bytes as f64, driven.tally.bytes as f64),
    })
}

fn cpu(driven: &Driven) -> Option<Cpu> {
    let events = driven.tally.events as f64;
    let each = |before: Option<_>, after: Option<std::time::Duration>| {
        Some(per(nanos(after?.saturating_sub(before?)) as f64, events))
    };
    Some(Cpu {
        process_ns_per_event: each(driven.before.cpu, driven.after.cpu)?,
        log_ns_per_event: each(driven.before.log_cpu, driven.after.log_cpu),
    })
}

/// A rate of a sweep, out of what was found at it.
pub(super) fn point(percent_of_maximum: f64, found: &Loop) -> Point {
    let response = found.response.clone().unwrap_or_default();
    Point {
        percent_of_maximum,
        planned_rate: found.planned.map_or(0.0, |planned| planned.appends),
        achieved_rate: found.achieved.appends,
        p50_ns: response.at(50.0),
        p99_ns: response.at(99.0),
        p999_ns: response.at(99.9),
        max_ns: response.max_ns,
        valid: found.void.is_empty() && found.failure.is_none() && response.samples > 0,
    }
}

/// Why a client ended early.
fn failure(error: &AppendError) -> String {
    match error {
        // What the library adds is for those who append on.
        AppendError::Full => "the disk is full".to_owned(),
        error => error.to_string(),
    }
}

impl Report {
    /// Adds the points of a sweep and its knee.
    pub(super) fn add_sweep(&mut self, points: Vec<Point>) {
        let closed_maximum = self.loops.first().map_or(0.0, |closed| closed.achieved.appends);
        let knee = judge::knee(&points);
        self.sweep = Some(Sweep { closed_maximum, points, knee });
    }

    /// Decides whether the figures stand, and adds what they cannot carry.
    pub(super) fn annotate(&mut self) {
        let machine = &self.identity.machine;
        let settings = &self.settings;
        let closed = settings.mode == Mode::Closed;
        let short = self.loops.iter().any(|found| {
            let measured = found.phases.iter().find(|phase| phase.name == "measure");
            let samples = found.response.as_ref().unwrap_or(&found.service).samples;
            measured.is_none_or(|phase| phase.seconds < SECONDS_MIN) || samples < SAMPLES_MIN
        });
        let any = |what: fn(&Loop) -> bool| self.loops.iter().any(what);
        let threads = match settings.driver.as_str() {
            "threads" if closed => settings.clients,
            "threads" => settings.clients.saturating_mul(2),
            _ => 1,
        };
        let threads = threads.saturating_add(settings.readers).saturating_add(settings.subscribers);
        let crowded = u32::try_from(machine.cores).unwrap_or(u32::MAX) < threads.saturating_add(2);
        let notes = [
            (closed, "a closed loop hides what a stalled log would have been asked meanwhile"),
            (short, "below 60 s or 10^6 samples: a look, not a figure to quote"),
            (machine.is_memory(), "the directory is in memory: nothing here was made durable"),
            (
                self.identity.durability == DurabilityMode::Os,
                "acked events may be lost with the power",
            ),
            (crowded && closed, "clients and log share cores: client time is in the latency"),
            (crowded && !closed, "senders and log share cores: each may hold up the other"),
            (any(|found| found.counts.shed > 0), "percentiles are of appends that were not shed"),
            (
                any(|found| found.counts.unanswered > 0),
                "appends without an answer stand as slower than all others",
            ),
            (!self.identity.optimised, "this program was built without optimisation"),
        ];
        let notes = notes.iter().filter(|(applies, _)| *applies).map(|(_, note)| *note);
        self.notes.extend(notes.map(str::to_owned));
        let sound = |found: &Loop| found.ledger.ok && found.failure.is_none();
        // A sweep goes on past a rate whose sender was late; without any good rate it has nothing.
        let quotable = match &self.sweep {
            Some(sweep) => sweep.knee.is_some(),
            None => self.loops.iter().all(|found| found.void.is_empty()),
        };
        self.valid = quotable && self.loops.iter().all(sound);
    }

    pub(super) fn add_probes(&mut self, before: Option<Probe>, after: Option<Probe>) {
        self.probe = before.zip(after).map(|(before, after)| {
            let rates = [before.operations_per_second, after.operations_per_second];
            if rates[0].max(rates[1]) > rates[0].min(rates[1]) * PROBE_SPREAD_MAX {
                let note = "the bare disk changed its speed during the run: measure again alone";
                self.notes.push(note.to_owned());
            }
            let operations_per_second = f64::midpoint(rates[0], rates[1]);
            let achieved = self.loops.first().map_or(0.0, |driven| driven.achieved.events);
            let events_per_operation = per(achieved, operations_per_second);
            Probes { before, after, operations_per_second, events_per_operation }
        });
    }
}
