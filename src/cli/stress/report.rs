//! Owns the report of a run: one value, printed as text for people or as one JSON object.
//!
//! Promises: the first line says what the figures hang on: closed loop, durability mode, clients.
//! Beside the figures stands what they cannot carry, and the verdict over the acked events; without
//! that verdict no figure is printed.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use crate::{AppendError, Options};

use super::check::Verdict;
use super::drive::{Checked, Driven};
use super::figures::{DiskFigures, Latency, QueueFigures, StageFigures, micros, per};
use super::machine::Machine;
use super::probe::Probe;
use super::{Args, DurabilityMode};

/// Below these a run is good for a look, but its tail is not worth quoting.
const SECONDS_MIN: f64 = 60.0;
const SAMPLES_MIN: u64 = 1_000_000;
/// Passes of a quiet disk differ by less than this factor.
const PROBE_SPREAD_MAX: f64 = 1.25;

/// What a run found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    title: String,
    version: &'static str,
    mode: &'static str,
    durability: DurabilityMode,
    settings: Settings,
    machine: Option<Machine>,
    interrupted: bool,
    /// Length of the measured part.
    seconds: f64,
    events: u64,
    appends: u64,
    events_per_second: f64,
    appends_per_second: f64,
    megabytes_per_second: f64,
    /// None without samples.
    latency_us: Option<Latency>,
    /// Appends that found the log's queue full.
    refused: u64,
    /// How often an idle subscription was woken.
    pub(super) idle_wakes: u64,
    disk: DiskFigures,
    queues: Queues,
    stages: Stages,
    cpu_us_per_event: Option<f64>,
    probe: Option<Probes>,
    /// How long opening the log again took, in milliseconds.
    open_ms: f64,
    checked_events_per_second: f64,
    pub(super) ledger: Verdict,
    /// Why the load or the log ended early.
    pub(super) failure: Option<String>,
    notes: Vec<String>,
}

/// What was asked for, with the defaults filled in.
#[derive(Debug, Serialize)]
struct Settings {
    clients: u32,
    driver: &'static str,
    pipeline: u32,
    batch: u32,
    streams: u32,
    subscriptions: u32,
    size: u64,
    seconds: f64,
    warmup: f64,
    chunk_size: u64,
    max_delay_us: f64,
    spin_us: f64,
    seed: u64,
}

#[derive(Debug, Serialize)]
struct Queues {
    appends: QueueFigures,
    groups: QueueFigures,
}

#[derive(Debug, Serialize)]
struct Stages {
    writer: StageFigures,
    chaser: StageFigures,
    keeper: StageFigures,
}

#[derive(Debug, Serialize)]
struct Probes {
    before: Probe,
    after: Probe,
    /// Mean of the two.
    operations_per_second: f64,
    /// Acked events for each operation that the bare disk did in the same time.
    events_per_operation: f64,
}

impl Report {
    pub(super) fn new(args: &Args, options: &Options, driven: &Driven, checked: Checked) -> Self {
        let (tally, seconds) = (&driven.tally, driven.seconds());
        let (before, after) = (&driven.before.stats, &driven.after.stats);
        let settings = Settings::new(args, options);
        let events = tally.events as f64;
        let cpu = driven.before.cpu.zip(driven.after.cpu);
        let panicked =
            || (driven.panics > 0).then(|| format!("{} clients panicked", driven.panics));
        Self {
            title: settings.title(args.durability),
            version: env!("CARGO_PKG_VERSION"),
            mode: "closed loop",
            durability: args.durability,
            machine: None,
            interrupted: driven.interrupted,
            seconds,
            events: tally.events,
            appends: tally.appends,
            events_per_second: per(events, seconds),
            appends_per_second: per(tally.appends as f64, seconds),
            megabytes_per_second: per(events * settings.size as f64 / 1e6, seconds),
            settings,
            latency_us: Some(Latency::of(&tally.latency)).filter(|latency| latency.samples > 0),
            refused: tally.refused,
            idle_wakes: 0,
            disk: DiskFigures::between(&before.disk, &after.disk, seconds, args.size),
            queues: Queues {
                appends: QueueFigures::between(&before.appends, &after.appends),
                groups: QueueFigures::between(&before.groups, &after.groups),
            },
            stages: Stages {
                writer: StageFigures::between(&before.writer, &after.writer),
                chaser: StageFigures::between(&before.chaser, &after.chaser),
                keeper: StageFigures::between(&before.keeper, &after.keeper),
            },
            cpu_us_per_event: cpu
                .map(|(before, after)| per(micros(after.saturating_sub(before)), events)),
            probe: None,
            open_ms: checked.open_seconds * 1e3,
            checked_events_per_second: per(checked.verdict.found as f64, checked.read_seconds),
            ledger: checked.verdict,
            failure: tally.failure.as_ref().map(failure).or_else(panicked),
            notes: Vec::new(),
        }
    }

    /// Adds the machine, and what the figures cannot carry.
    pub(super) fn look_around(&mut self, args: &Args, place: &Path) {
        let machine = Machine::look(place);
        let note = |applies: bool, text: &str| applies.then(|| text.to_owned());
        let samples = self.latency_us.as_ref().map_or(0, |latency| latency.samples);
        let short = self.seconds < SECONDS_MIN || samples < SAMPLES_MIN;
        let threads = if args.asynchronous { 1 } else { args.clients };
        let crowded = u32::try_from(machine.cores).unwrap_or(u32::MAX) < threads.saturating_add(2);
        self.notes = [
            note(true, "a closed loop hides what a stalled log would have been asked meanwhile"),
            note(short, "below 60 s or 10^6 samples: a look, not a figure to quote"),
            note(machine.is_memory(), "the directory is in memory: nothing here was made durable"),
            note(self.durability == DurabilityMode::Os, "acked events may be lost with the power"),
            note(crowded, "clients and log share too few cores: client time is in the latency"),
            note(cfg!(debug_assertions), "this program was built without optimisation"),
        ]
        .into_iter()
        .flatten()
        .collect();
        self.machine = Some(machine);
    }

    pub(super) fn add_probes(&mut self, before: Option<Probe>, after: Option<Probe>) {
        self.probe = before.zip(after).map(|(before, after)| {
            let rates = [before.operations_per_second, after.operations_per_second];
            if rates[0].max(rates[1]) > rates[0].min(rates[1]) * PROBE_SPREAD_MAX {
                let note = "the bare disk changed its speed during the run: measure again alone";
                self.notes.push(note.to_owned());
            }
            let operations_per_second = f64::midpoint(rates[0], rates[1]);
            let events_per_operation = per(self.events_per_second, operations_per_second);
            Probes { before, after, operations_per_second, events_per_operation }
        });
    }

    /// Prints the report to stdout.
    pub(super) fn print(&self, json: bool) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if json {
            serde_json::to_writer_pretty(&mut out, self)?;
            writeln!(out)?;
        } else {
            out.write_all(self.text().as_bytes())?;
        }
        out.flush()
    }

    fn text(&self) -> String {
        let mut lines = vec![self.title.clone(), self.place_line(), String::new()];
        self.rates(&mut lines);
        lines.push(String::new());
        self.stage_table(&mut lines);
        lines.push(String::new());
        self.probe_lines(&mut lines);
        self.verdict_lines(&mut lines);
        lines.extend(self.notes.iter().map(|note| format!("note: {note}")));
        lines.push(String::new());
        lines.join("\n")
    }

    fn place_line(&self) -> String {
        let settings = &self.settings;
        let mut line = format!(
            "chunk {} MiB, max delay {} us, spin {} us, seed {}",
            settings.chunk_size >> 20,
            settings.max_delay_us,
            settings.spin_us,
            settings.seed
        );
        if let Some(machine) = &self.machine {
            let kernel = machine.kernel.as_deref().unwrap_or("unknown kernel");
            line +=
                &format!("; {} cores, {kernel}, {}", machine.cores, machine.directory.display());
            if let Some(mount) = &machine.mount {
                line += &format!(" on {} ({}, {})", mount.device, mount.filesystem, mount.options);
            }
        }
        line
    }

    fn rates(&self, lines: &mut Vec<String>) {
        let (latency, disk) = (&self.latency_us, &self.disk);
        lines.push(format!(
            "{:>12.0} events/s   {:.0} appends/s   {:.1} MB/s   for {:.1} s{}",
            self.events_per_second,
            self.appends_per_second,
            self.megabytes_per_second,
            self.seconds,
            if self.interrupted { ", interrupted" } else { "" },
        ));
        lines.push(match latency {
            Some(latency) => format!(
                "{:>12.1} us p50   {:.1} p90   {:.1} p99   {:.1} p99.9   {:.1} max   ({} samples)",
                latency.p50, latency.p90, latency.p99, latency.p999, latency.max, latency.samples
            ),
            None => "no latencies: nothing that was sent in the measured time is acked".to_owned(),
        });
        lines.push(format!(
            "{:>12.0} flushes/s   {:.1} events/flush   {:.1} events/group   \
             sync {:.1} us mean, {:.1} max",
            disk.flushes_per_second,
            disk.events_per_flush,
            disk.events_per_group,
            disk.sync_mean_us,
            disk.sync_max_us,
        ));
        lines.push(format!(
            "{:>12} flushes when idle   {} at the deadline   {} by size   {} waits for a chunk",
            disk.flushes_idle, disk.flushes_deadline, disk.flushes_size, disk.waits_for_chunk
        ));
        let cpu = self.cpu_us_per_event.map_or("unknown".to_owned(), |cpu| format!("{cpu:.2}"));
        lines.push(format!(
            "{cpu:>12} us CPU/event (clients and log)   {:.2} log bytes/payload byte   \
             {} refused as busy",
            disk.bytes_per_payload_byte, self.refused
        ));
        if self.settings.subscriptions > 0 {
            let (count, wakes) = (self.settings.subscriptions, self.idle_wakes);
            lines.push(format!("{count:>12} idle subscriptions, woken {wakes} times"));
        }
    }

    fn stage_table(&self, lines: &mut Vec<String>) {
        lines.push(format!("{:<8} {:>8} {:>12} {:>8}", "stage", "busy %", "items", "errors"));
        let stages = &self.stages;
        let named =
            [("writer", &stages.writer), ("chaser", &stages.chaser), ("keeper", &stages.keeper)];
        for (name, stage) in named {
            let (busy, items, errors) = (stage.busy_percent, stage.items, stage.errors);
            lines.push(format!("{name:<8} {busy:>8.1} {items:>12} {errors:>8}"));
        }
        lines.push(format!(
            "{:<8} {:>12} {:>12} {:>8} {:>8} {:>8} {:>12} {:>12}",
            "queue", "pushed", "popped", "length", "high", "rejected", "wait us", "max us"
        ));
        for (name, queue) in [("appends", &self.queues.appends), ("groups", &self.queues.groups)] {
            lines.push(format!(
                "{name:<8} {:>12} {:>12} {:>8} {:>8} {:>8} {:>12.1} {:>12.1}",
                queue.pushed,
                queue.popped,
                queue.length,
                queue.high_water,
                queue.rejected,
                queue.wait_mean_us,
                queue.wait_max_us,
            ));
        }
    }

    fn probe_lines(&self, lines: &mut Vec<String>) {
        let Some(probe) = &self.probe else { return };
        lines.push(format!(
            "bare disk: L = {:.0} ops/s of 4 KiB pwrite + fdatasync \
             (before {:.0}, after {:.0}; p50 {:.1} us)",
            probe.operations_per_second,
            probe.before.operations_per_second,
            probe.after.operations_per_second,
            probe.before.latency_us.p50,
        ));
        lines.push(format!(
            "           {:.2} acked events/s for each op/s",
            probe.events_per_operation
        ));
    }

    fn verdict_lines(&self, lines: &mut Vec<String>) {
        let ledger = &self.ledger;
        let (open, read) = (self.open_ms, self.checked_events_per_second);
        lines.push(format!(
            "ledger {}: {} acked, {} found \
             (opened again in {open:.1} ms, checked at {read:.0} events/s)",
            if ledger.ok { "ok" } else { "NOT OK" },
            ledger.acked,
            ledger.found,
        ));
        if !ledger.ok {
            let counts = [
                (ledger.lost, "lost"),
                (ledger.doubled, "doubled"),
                (ledger.altered, "altered"),
                (ledger.reordered, "reordered"),
                (ledger.misplaced, "misplaced"),
                (ledger.refused_but_stored, "refused but stored"),
                (ledger.foreign, "foreign"),
                (ledger.wrong_acks, "wrong acks"),
            ];
            let told = counts.iter().filter(|(count, _)| *count > 0);
            lines.extend(told.map(|(count, what)| format!("  {count} {what}")));
            lines.extend(ledger.unreadable.iter().map(|why| format!("  unreadable: {why}")));
            lines.extend(ledger.findings.iter().map(|finding| format!("    {finding}")));
        }
        if ledger.unanswered > 0 {
            let (open, there) = (ledger.unanswered, ledger.unanswered_but_stored);
            lines.push(format!("  {open} never answered, of which {there} are there"));
        }
        lines.extend(self.failure.iter().map(|failure| format!("failed: {failure}")));
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

impl Settings {
    fn new(args: &Args, options: &Options) -> Self {
        Self {
            clients: args.clients,
            driver: if args.asynchronous { "futures on one thread" } else { "threads" },
            pipeline: args.pipeline,
            batch: args.batch,
            streams: args.streams,
            subscriptions: args.subscriptions,
            size: args.size,
            seconds: args.seconds.as_secs_f64(),
            warmup: args.warmup.as_secs_f64(),
            chunk_size: options.chunk_size,
            max_delay_us: micros(options.max_delay),
            spin_us: micros(options.spin),
            seed: args.seed,
        }
    }

    fn title(&self, durability: DurabilityMode) -> String {
        let durability = match durability {
            DurabilityMode::Sync => "sync",
            DurabilityMode::Os => "OS (NOT durable against power failure)",
        };
        let Self { clients, driver, pipeline, batch, size, seconds, warmup, .. } = self;
        format!(
            "paperchase {} stress: closed loop, durability {durability}, \
             {clients} clients ({driver}), {pipeline} in flight each, \
             {batch} x {size} bytes an append, {seconds} s after {warmup} s of warm-up",
            env!("CARGO_PKG_VERSION")
        )
    }
}
