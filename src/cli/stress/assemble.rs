//! Owns how a report comes about: what was asked for, what the machine is, what was measured, and
//! what the figures cannot carry.
//!
//! Promises: the title says what the figures hang on. Notes say what a reader could overlook. Does
//! no measuring, and decides by `judge.rs` alone what is void.

use std::path::Path;

use crate::clock::{Clock, SystemClock};
use crate::{AppendError, Options};

use super::super::show;
use super::Args;
use super::drive::{Checked, Driven};
use super::figures::{disk, nanos, per, queues, stages};
use super::report::{
    Counts, Cpu, Distribution, DurabilityMode, Identity, Loop, Machine, Mode, Phase, Probe, Probes,
    Rate, Reopened, Report, Settings, VERSION,
};

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
    Settings {
        mode: Mode::Closed,
        clients: args.clients,
        driver: if args.asynchronous { "futures on one thread" } else { "threads" }.to_owned(),
        pipeline: args.pipeline,
        batch: args.batch.to_string(),
        batch_mean: args.batch.into(),
        streams: args.streams,
        skew: "turns".to_owned(),
        subscriptions: args.subscriptions,
        size: args.size.to_string(),
        size_mean_bytes: args.size as f64,
        seconds: args.seconds.as_secs_f64(),
        warmup_s: args.warmup.as_secs_f64(),
        chunk_size_bytes: options.chunk_size,
        max_delay_ns: nanos(options.max_delay),
        spin_ns: nanos(options.spin),
        ..Settings::default()
    }
}

fn title(args: &Args, settings: &Settings) -> String {
    let durability = match args.durability {
        DurabilityMode::Sync => "sync",
        DurabilityMode::Os => "OS (NOT durable against power failure)",
    };
    let Settings { clients, driver, pipeline, batch, size, seconds, warmup_s, .. } = settings;
    format!(
        "paperchase {} stress: closed loop, durability {durability}, \
         {clients} clients ({driver}), {pipeline} in flight each, \
         {batch} x {size} bytes an append, {seconds} s after {warmup_s} s of warm-up",
        env!("CARGO_PKG_VERSION")
    )
}

/// What a closed loop found.
pub(super) fn closed(args: &Args, driven: &Driven, checked: Checked) -> Loop {
    let (tally, seconds) = (&driven.tally, driven.seconds());
    let (before, after) = (&driven.before.stats, &driven.after.stats);
    let events = tally.events as f64;
    let cpu = driven.before.cpu.zip(driven.after.cpu);
    let panicked = || (driven.panics > 0).then(|| format!("{} clients panicked", driven.panics));
    let warmup = args.warmup.as_secs_f64();
    let phase = |name: &str, start_s, seconds| Phase { name: name.to_owned(), start_s, seconds };
    Loop {
        kind: Mode::Closed,
        phases: vec![phase("warm-up", 0.0, warmup), phase("measure", warmup, seconds)],
        achieved: Rate {
            appends: per(tally.appends as f64, seconds),
            events: per(events, seconds),
            payload_bytes: per(events * args.size as f64, seconds),
        },
        counts: Counts {
            acked: tally.appends,
            acked_events: tally.events,
            busy: tally.refused,
            ..Counts::default()
        },
        service: Distribution::of(&tally.latency),
        stages: stages(before, after),
        queues: queues(before, after),
        disk: disk(&before.disk, &after.disk, seconds, args.size as f64),
        cpu: cpu.map(|(before, after)| Cpu {
            process_ns_per_event: per(nanos(after.saturating_sub(before)) as f64, events),
            log_ns_per_event: None,
        }),
        reopened: Reopened {
            open_s: checked.open_seconds,
            checked_events_per_second: per(checked.verdict.found as f64, checked.read_seconds),
        },
        ledger: checked.verdict,
        failure: tally.failure.as_ref().map(failure).or_else(panicked),
        ..Loop::default()
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
    /// Adds what the figures cannot carry.
    pub(super) fn annotate(&mut self) {
        let first = self.loops.first();
        let measured = first.and_then(|first| first.phases.iter().find(|it| it.name == "measure"));
        let samples = first.map_or(0, |first| first.service.samples);
        let short = measured.is_none_or(|phase| phase.seconds < SECONDS_MIN);
        let machine = &self.identity.machine;
        let threads = if self.settings.driver == "threads" { self.settings.clients } else { 1 };
        let crowded = u32::try_from(machine.cores).unwrap_or(u32::MAX) < threads.saturating_add(2);
        let unsafe_mode = self.identity.durability == DurabilityMode::Os;
        let notes = [
            (true, "a closed loop hides what a stalled log would have been asked meanwhile"),
            (
                short || samples < SAMPLES_MIN,
                "below 60 s or 10^6 samples: a look, not a figure to quote",
            ),
            (machine.is_memory(), "the directory is in memory: nothing here was made durable"),
            (unsafe_mode, "acked events may be lost with the power"),
            (crowded, "clients and log share too few cores: client time is in the latency"),
            (cfg!(debug_assertions), "this program was built without optimisation"),
        ];
        self.notes.extend(notes.iter().filter(|(applies, _)| *applies).map(|it| it.1.to_owned()));
        self.valid = self
            .loops
            .iter()
            .all(|driven| driven.ledger.ok && driven.void.is_empty() && driven.failure.is_none());
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
