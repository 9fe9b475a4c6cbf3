//! Owns what `top --json` and `why --json` print: one object, whose fields are those of `Stats`
//! with times in microseconds; and the verdict, which `stress --json` prints and reads, too.
//!
//! Promises: counts are of the time between two looks, marks and lengths of the last one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::look::Pair;
use super::super::show;
use super::rows::part;
use crate::{CountHistogram, Histogram, QueueStats, StageStats, Stats, SubscriberStats};

#[derive(Serialize)]
pub(in super::super) struct Report {
    process: u64,
    session: u64,
    time: String,
    uptime_seconds: f64,
    interval_seconds: f64,
    has_failed: bool,
    hangs: bool,
    written: u64,
    durable: u64,
    visible: u64,
    in_flight: u64,
    appends: Queue,
    groups: Queue,
    writer: Stage,
    chaser: Stage,
    keeper: Stage,
    releases: Times,
    path: Path,
    disk: Disk,
    subscribers: Subscribers,
    scrub_damages: u64,
    verdict: VerdictReport,
}

#[derive(Serialize)]
struct Queue {
    pushed: u64,
    popped: u64,
    length: u64,
    capacity: u64,
    high_water: u64,
    full: u64,
    rejected: u64,
    waits: Times,
}

#[derive(Serialize)]
struct Stage {
    utilisation: f64,
    items: u64,
    errors: u64,
    service: Times,
}

#[derive(Serialize)]
struct Path {
    gather: Times,
    write: Times,
    sync: Times,
    chase: Times,
    total: Times,
    wake: Times,
}

#[derive(Serialize)]
struct Disk {
    groups: u64,
    events: u64,
    bytes: u64,
    flushes: u64,
    flushes_idle: u64,
    flushes_deadline: u64,
    flushes_size: u64,
    waits_for_chunk: u64,
    zeros: u64,
    ready: u64,
    write_share: f64,
    sync_share: f64,
    room_waits: Times,
    writes: Times,
    syncs: Times,
    events_per_flush: Sizes,
}

#[derive(Serialize)]
struct Subscribers {
    count: u64,
    behind: u64,
    lag_max: u64,
}

#[derive(Serialize)]
struct Times {
    count: u64,
    mean_us: f64,
    p50_us: f64,
    p90_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
}

#[derive(Serialize)]
struct Sizes {
    mean: f64,
    p50: u64,
    p99: u64,
    max: u64,
}

/// What holds up the log, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct VerdictReport {
    pub(in super::super) cause: String,
    pub(in super::super) findings: Vec<FindingReport>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct FindingReport {
    pub(in super::super) cause: String,
    pub(in super::super) line: String,
    pub(in super::super) evidence: Vec<String>,
    pub(in super::super) advice: String,
}

impl Report {
    pub(super) fn of(pair: &Pair) -> Self {
        let now = &pair.now.stats;
        let between = now.since(&pair.earlier);
        let all = between.uptime;
        let (path, disk) = (&between.path, &between.disk);
        Self {
            process: pair.now.process,
            session: pair.now.session,
            time: show::exact_time(now.time),
            uptime_seconds: now.uptime.as_secs_f64(),
            interval_seconds: all.as_secs_f64(),
            has_failed: now.has_failed,
            hangs: pair.now.hangs,
            written: now.written.get(),
            durable: now.durable.get(),
            visible: now.visible.get(),
            in_flight: now.in_flight(),
            appends: Queue::of(&between.appends),
            groups: Queue::of(&between.groups),
            writer: Stage::of(&between.writer),
            chaser: Stage::of(&between.chaser),
            keeper: Stage::of(&between.keeper),
            releases: Times::of(&between.releases),
            path: Path {
                gather: Times::of(&path.gather),
                write: Times::of(&path.write),
                sync: Times::of(&path.sync),
                chase: Times::of(&path.chase),
                total: Times::of(&path.total),
                wake: Times::of(&path.wake),
            },
            disk: Disk {
                groups: disk.groups,
                events: disk.events,
                bytes: disk.bytes,
                flushes: disk.flushes,
                flushes_idle: disk.flushes_idle,
                flushes_deadline: disk.flushes_deadline,
                flushes_size: disk.flushes_size,
                waits_for_chunk: disk.waits_for_chunk,
                zeros: disk.zeros,
                ready: disk.ready,
                write_share: part(&disk.writes, all),
                sync_share: part(&disk.syncs, all),
                room_waits: Times::of(&disk.room_waits),
                writes: Times::of(&disk.writes),
                syncs: Times::of(&disk.syncs),
                events_per_flush: Sizes::of(&disk.events_per_flush),
            },
            subscribers: Subscribers::of(now.subscribers),
            scrub_damages: now.scrub.damages,
            verdict: VerdictReport::of(now, &pair.earlier),
        }
    }
}

impl Queue {
    fn of(queue: &QueueStats) -> Self {
        Self {
            pushed: queue.pushed,
            popped: queue.popped,
            length: queue.length,
            capacity: queue.capacity,
            high_water: queue.high_water,
            full: queue.full,
            rejected: queue.rejected,
            waits: Times::of(&queue.waits),
        }
    }
}

impl Stage {
    fn of(stage: &StageStats) -> Self {
        Self {
            utilisation: stage.utilisation(),
            items: stage.items,
            errors: stage.errors,
            service: Times::of(&stage.service),
        }
    }
}

impl Subscribers {
    fn of(subscribers: SubscriberStats) -> Self {
        let SubscriberStats { count, behind, lag_max, .. } = subscribers;
        Self { count, behind, lag_max }
    }
}

impl Times {
    fn of(times: &Histogram) -> Self {
        let micros = |time: Duration| time.as_nanos() as f64 / 1e3;
        let at = |percent| micros(times.percentile(percent));
        Self {
            count: times.count(),
            mean_us: micros(times.mean()),
            p50_us: at(50.0),
            p90_us: at(90.0),
            p99_us: at(99.0),
            p999_us: at(99.9),
            max_us: micros(times.max()),
        }
    }
}

impl Sizes {
    fn of(counts: &CountHistogram) -> Self {
        Self {
            mean: counts.mean(),
            p50: counts.percentile(50.0),
            p99: counts.percentile(99.0),
            max: counts.max(),
        }
    }
}

impl VerdictReport {
    pub(in super::super) fn of(now: &Stats, earlier: &Stats) -> Self {
        let verdict = now.verdict(earlier);
        let cause = verdict.cause().name().to_owned();
        let finding = |finding: crate::Finding| FindingReport {
            cause: finding.cause.name().to_owned(),
            line: finding.line,
            evidence: finding.evidence,
            advice: finding.cause.advice().to_owned(),
        };
        Self { cause, findings: verdict.findings.into_iter().map(finding).collect() }
    }
}

impl FindingReport {
    /// The finding as lines of text: what it is, the figures that it rests on, what to try.
    pub(in super::super) fn lines(&self) -> impl Iterator<Item = String> {
        let evidence = self.evidence.iter().map(|line| format!("  - {line}"));
        std::iter::once(format!("{}: {}", self.cause, self.line))
            .chain(evidence)
            .chain([format!("  try: {}", self.advice)])
    }
}
