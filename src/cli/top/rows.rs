//! Owns what `top` shows, as text: a row per stage, a row per part of an append's way, and the
//! lines above and below.
//!
//! Promises: rates are of the time between two looks, marks and lengths of the last one. Knows no
//! terminal.

use std::time::Duration;

use super::super::look::Pair;
use super::super::show;
use crate::stage::verdict::short;
use crate::{DiskStats, Histogram, StageStats, Stats};

/// Titles of the stages. `>` marks a column of numbers.
pub(super) const STAGES: [&str; 8] =
    ["stage", ">busy", ">saturation", ">errors", ">throughput", ">p50", ">p99", ">max"];
/// Titles of the parts of the way, as many as there are of the stages.
pub(super) const PATH: [&str; 8] =
    ["way of an append", ">mean", ">p50", ">p90", ">p99", ">p99.9", ">max", ">samples"];

type Row = [String; 8];

/// All that is shown.
#[derive(Debug)]
pub(super) struct Screen {
    pub(super) head: Vec<String>,
    pub(super) stages: Vec<Row>,
    pub(super) path: Vec<Row>,
    pub(super) verdict: Vec<String>,
}

impl Screen {
    pub(super) fn of(pair: &Pair) -> Self {
        let between = pair.now.stats.since(&pair.earlier);
        Self {
            head: head(pair, &between),
            stages: stages(&between),
            path: path(&between),
            verdict: verdict(pair),
        }
    }
}

fn head(pair: &Pair, between: &Stats) -> Vec<String> {
    let Stats { written, durable, visible, .. } = pair.now.stats;
    let hangs = if pair.now.hangs { ", no sign of life for two seconds" } else { "" };
    let rate = |count| show::count(show::rate(count, between.uptime));
    vec![
        format!(
            "process {}, open for {}{hangs}; figures of {:.1} s",
            pair.now.process,
            show::seconds(pair.now.stats.uptime),
            between.uptime.as_secs_f64()
        ),
        format!(
            "{} events written, {} of them not durable, {} more not visible; {} appends in flight",
            show::count(written.get()),
            show::count(written.since(durable)),
            show::count(durable.since(visible)),
            show::count(pair.now.stats.in_flight())
        ),
        format!(
            "{} appends/s, {} events/s, {}/s; flushes: {} idle, {} deadline, {} size",
            rate(between.appends.pushed),
            rate(between.disk.events),
            show::size(show::rate(between.disk.bytes, between.uptime)),
            between.disk.flushes_idle,
            between.disk.flushes_deadline,
            between.disk.flushes_size
        ),
    ]
}

fn stages(between: &Stats) -> Vec<Row> {
    let Stats { appends, groups, writer, chaser, keeper, disk, subscribers, .. } = between;
    let [writes, syncs, zeros] = disk_rows(disk, between.uptime);
    let all = between.uptime;
    let none = || "-".to_owned();
    let rate = |count: u64, what: &str| format!("{}/s {what}", show::count(show::rate(count, all)));
    let count = |count: u64| show::count(count);
    let lag = between.durable.since(between.visible);
    let places = |length: u64, capacity: u64| format!("{} of {}", count(length), count(capacity));
    vec![
        row(
            ["append queue".into(), none(), places(appends.length, appends.capacity)],
            [count(appends.rejected), rate(appends.popped, "appends")],
            &appends.waits,
        ),
        row(
            ["writer".into(), busy(writer), format!("{} waiting", count(appends.length))],
            [count(writer.errors), rate(writer.service.count(), "groups")],
            &writer.service,
        ),
        writes,
        syncs,
        zeros,
        row(
            ["group queue".into(), none(), places(groups.length, groups.capacity)],
            [count(groups.rejected), rate(groups.popped, "groups")],
            &groups.waits,
        ),
        row(
            ["chaser".into(), busy(chaser), format!("{} events behind", count(lag))],
            [count(chaser.errors), rate(chaser.items, "groups")],
            &chaser.service,
        ),
        row(
            ["wakes".into(), share(&between.releases, all), none()],
            [none(), rate(between.path.total.count(), "answers")],
            &between.releases,
        ),
        row(
            [
                "keeper".into(),
                busy(keeper),
                format!("{} waits for space", count(disk.waits_for_chunk)),
            ],
            [count(keeper.errors), rate(keeper.items, "duties")],
            &keeper.service,
        ),
        row(
            [
                "subscribers".into(),
                none(),
                format!("{} of {} behind", count(subscribers.behind), count(subscribers.count)),
            ],
            [none(), format!("{} events at most", count(subscribers.lag_max))],
            &Histogram::default(),
        ),
    ]
}

fn disk_rows(disk: &DiskStats, all: Duration) -> [Row; 3] {
    let none = || "-".to_owned();
    [
        row(
            ["disk: write".into(), share(&disk.writes, all), none()],
            [none(), format!("{}/s", show::size(show::rate(disk.bytes, all)))],
            &disk.writes,
        ),
        row(
            [
                "disk: sync".into(),
                share(&disk.syncs, all),
                format!("{:.1} events each", disk.events_per_flush.mean()),
            ],
            [none(), format!("{}/s syncs", show::count(show::rate(disk.syncs.count(), all)))],
            &disk.syncs,
        ),
        row(
            ["disk: zeros".into(), none(), format!("{} ready", show::size(disk.ready))],
            [none(), format!("{}/s", show::size(show::rate(disk.zeros, all)))],
            &Histogram::default(),
        ),
    ]
}

fn row(first: [String; 3], second: [String; 2], times: &Histogram) -> Row {
    let [name, busy, saturation] = first;
    let [errors, throughput] = second;
    let [p50, p99] = [50.0, 99.0].map(|percent| times.percentile(percent));
    let [p50, p99, max] = [p50, p99, times.max()].map(|time| time_of(times, time));
    [name, busy, saturation, errors, throughput, p50, p99, max]
}

fn time_of(times: &Histogram, time: Duration) -> String {
    if times.count() == 0 { "-".to_owned() } else { short(time) }
}

fn busy(stage: &StageStats) -> String {
    format!("{:.0} %", stage.utilisation() * 100.0)
}

/// A sum of times as a part of all time.
pub(super) fn part(times: &Histogram, all: Duration) -> f64 {
    let all = all.as_secs_f64();
    if all > 0.0 { (times.total().as_secs_f64() / all).min(1.0) } else { 0.0 }
}

fn share(times: &Histogram, all: Duration) -> String {
    format!("{:.0} %", part(times, all) * 100.0)
}

fn path(between: &Stats) -> Vec<Row> {
    let path = &between.path;
    let parts = [
        ("queue", &between.appends.waits),
        ("gather", &path.gather),
        ("write", &path.write),
        ("sync", &path.sync),
        ("chase", &path.chase),
        ("all of these", &path.total),
        ("wake", &path.wake),
    ];
    let row = |(name, times): (&str, &Histogram)| {
        let at = [50.0, 90.0, 99.0, 99.9].map(|percent| times.percentile(percent));
        let [p50, p90, p99, p999] = at.map(|time| time_of(times, time));
        let [mean, max] = [times.mean(), times.max()].map(|time| time_of(times, time));
        [name.to_owned(), mean, p50, p90, p99, p999, max, show::count(times.count())]
    };
    parts.into_iter().map(row).collect()
}

/// The bottleneck, and what else is worth a look.
fn verdict(pair: &Pair) -> Vec<String> {
    let verdict = pair.now.stats.verdict(&pair.earlier);
    let names = std::iter::once("bottleneck").chain(std::iter::repeat("also"));
    let lines = names.zip(&verdict.findings).map(|(name, it)| format!("{name}: {}", it.line));
    let why = verdict.findings.first().and_then(|finding| finding.evidence.first());
    let mut lines: Vec<_> = lines.collect();
    if let Some(why) = why {
        lines.insert(1, format!("because: {why}"));
    }
    lines
}
