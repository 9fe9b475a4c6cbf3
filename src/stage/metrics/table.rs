//! Owns the table of metrics: every number of a snapshot, by its name outside.
//!
//! Promises: nothing of `Stats` is missing but what follows from other numbers, and the table of
//! docs/insight.md is this one; tests hold both.

use std::time::Duration;

use super::Value::{Count, Counts, Number, Times};
use super::{Kind, Metric, Samples, Value, seconds};
use crate::stage::histogram::nanos;
use crate::stage::stats::{DiskWork, QueueStats, StageStats, Stats};

type Read = for<'a> fn(&'a Stats) -> Samples<'a>;

const fn counter(
    name: &'static str,
    label: &'static str,
    help: &'static str,
    read: Read,
) -> Metric {
    Metric { name, kind: Kind::Counter, label, help, read }
}

const fn gauge(name: &'static str, label: &'static str, help: &'static str, read: Read) -> Metric {
    Metric { name, kind: Kind::Gauge, label, help, read }
}

const fn histogram(
    name: &'static str,
    label: &'static str,
    help: &'static str,
    read: Read,
) -> Metric {
    Metric { name, kind: Kind::Histogram, label, help, read }
}

fn one(value: Value<'_>) -> Samples<'_> {
    vec![("", value)]
}

fn queues<'a>(stats: &'a Stats, of: fn(&'a QueueStats) -> Value<'a>) -> Samples<'a> {
    vec![("appends", of(&stats.appends)), ("groups", of(&stats.groups))]
}

fn stages<'a>(stats: &'a Stats, of: fn(&'a StageStats) -> Value<'a>) -> Samples<'a> {
    let Stats { writer, chaser, keeper, .. } = stats;
    vec![("writer", of(writer)), ("chaser", of(chaser)), ("keeper", of(keeper))]
}

fn time(time: Duration) -> Value<'static> {
    Number(seconds(nanos(time)))
}

fn ongoing(stats: &Stats) -> Samples<'_> {
    let works = [(DiskWork::Write, "write"), (DiskWork::Sync, "sync"), (DiskWork::Room, "room")];
    let age = |work| stats.disk.ongoing.filter(|(now, _)| *now == work).map(|(_, age)| age);
    works.map(|(work, name)| (name, time(age(work).unwrap_or_default()))).into()
}

fn parts(stats: &Stats) -> Samples<'_> {
    let path = &stats.path;
    let parts = [
        ("gather", &path.gather),
        ("write", &path.write),
        ("sync", &path.sync),
        ("chase", &path.chase),
        ("wake", &path.wake),
    ];
    parts.map(|(part, times)| (part, Times(times))).into()
}

pub(super) static METRICS: &[Metric] = &[
    gauge("paperchase_snapshot_timestamp_seconds", "", "When this was counted", |stats| {
        one(Number(seconds(stats.time.as_nanos())))
    }),
    gauge("paperchase_uptime_seconds", "", "How long the log has been open", |stats| {
        one(time(stats.uptime))
    }),
    gauge("paperchase_failed", "", "1 when the log has failed, else 0", |stats| {
        one(Count(stats.has_failed.into()))
    }),
    gauge(
        "paperchase_position",
        "mark",
        "All events below this position have come so far",
        |stats| {
            vec![
                ("written", Count(stats.written.get())),
                ("durable", Count(stats.durable.get())),
                ("visible", Count(stats.visible.get())),
            ]
        },
    ),
    gauge("paperchase_appends_in_flight", "", "Appends that are not answered yet", |stats| {
        one(Count(stats.in_flight()))
    }),
    counter(
        "paperchase_appends_refused_total",
        "",
        "Appends that the writer refused before writing them, for lack of space or after a failure",
        |stats| one(Count(stats.disk.refused)),
    ),
    histogram(
        "paperchase_append_seconds",
        "",
        "From the submission of an append until its events were visible",
        |stats| one(Times(&stats.path.total)),
    ),
    histogram(
        "paperchase_append_part_seconds",
        "part",
        "Parts of the way of an append, after its wait in the queue",
        parts,
    ),
    counter("paperchase_queue_pushed_total", "queue", "Items that entered the queue", |stats| {
        queues(stats, |queue| Count(queue.pushed))
    }),
    counter("paperchase_queue_popped_total", "queue", "Items that left the queue", |stats| {
        queues(stats, |queue| Count(queue.popped))
    }),
    gauge("paperchase_queue_length", "queue", "Items in the queue", |stats| {
        queues(stats, |queue| Count(queue.length))
    }),
    gauge("paperchase_queue_capacity", "queue", "The most items that the queue takes", |stats| {
        queues(stats, |queue| Count(queue.capacity))
    }),
    gauge(
        "paperchase_queue_high_water",
        "queue",
        "The most items that were in the queue at once",
        |stats| queues(stats, |queue| Count(queue.high_water)),
    ),
    counter("paperchase_queue_full_total", "queue", "Items that came to a full queue", |stats| {
        queues(stats, |queue| Count(queue.full))
    }),
    counter("paperchase_queue_rejected_total", "queue", "Items that were turned away", |stats| {
        queues(stats, |queue| Count(queue.rejected))
    }),
    histogram(
        "paperchase_queue_wait_seconds",
        "queue",
        "How long items waited in the queue",
        |stats| queues(stats, |queue| Times(&queue.waits)),
    ),
    counter(
        "paperchase_stage_busy_seconds_total",
        "stage",
        "Time that the thread was at work",
        |stats| stages(stats, |stage| time(stage.busy)),
    ),
    counter(
        "paperchase_stage_idle_seconds_total",
        "stage",
        "Time that the thread waited for work",
        |stats| stages(stats, |stage| time(stage.idle)),
    ),
    counter(
        "paperchase_stage_items_total",
        "stage",
        "Items finished: appends by the writer, groups by the chaser, duties by the keeper",
        |stats| stages(stats, |stage| Count(stage.items)),
    ),
    counter("paperchase_stage_errors_total", "stage", "Steps that failed", |stats| {
        stages(stats, |stage| Count(stage.errors))
    }),
    histogram(
        "paperchase_stage_service_seconds",
        "stage",
        "How long a piece of work took: a group, or a duty of the keeper",
        |stats| stages(stats, |stage| Times(&stage.service)),
    ),
    histogram(
        "paperchase_release_seconds",
        "",
        "How long it took to answer the appends of a visible group",
        |stats| one(Times(&stats.releases)),
    ),
    counter("paperchase_disk_groups_total", "", "Groups written, each with one write", |stats| {
        one(Count(stats.disk.groups))
    }),
    counter("paperchase_disk_events_total", "", "Events written", |stats| {
        one(Count(stats.disk.events))
    }),
    counter("paperchase_disk_written_bytes_total", "", "Bytes written in groups", |stats| {
        one(Count(stats.disk.bytes))
    }),
    counter("paperchase_disk_flushes_total", "reason", "Flushes, by why they happened", |stats| {
        let disk = &stats.disk;
        vec![
            ("idle", Count(disk.flushes_idle)),
            ("deadline", Count(disk.flushes_deadline)),
            ("size", Count(disk.flushes_size)),
        ]
    }),
    histogram("paperchase_disk_flush_events", "", "Events that a flush made durable", |stats| {
        one(Counts(&stats.disk.events_per_flush))
    }),
    histogram("paperchase_disk_write_seconds", "", "How long a write took", |stats| {
        one(Times(&stats.disk.writes))
    }),
    histogram("paperchase_disk_sync_seconds", "", "How long a sync took", |stats| {
        one(Times(&stats.disk.syncs))
    }),
    counter(
        "paperchase_disk_room_waits_total",
        "",
        "How often the writer had to wait for prepared space",
        |stats| one(Count(stats.disk.waits_for_chunk)),
    ),
    histogram(
        "paperchase_disk_room_wait_seconds",
        "",
        "How long the writer waited for prepared space",
        |stats| one(Times(&stats.disk.room_waits)),
    ),
    counter("paperchase_disk_zeros_bytes_total", "", "Bytes of zeros written ahead", |stats| {
        one(Count(stats.disk.zeros))
    }),
    gauge("paperchase_disk_ready_bytes", "", "Bytes that lie ready ahead of the writer", |stats| {
        one(Count(stats.disk.ready))
    }),
    gauge(
        "paperchase_disk_ongoing_seconds",
        "work",
        "How long the writer has been waiting for what it waits for now, else 0",
        ongoing,
    ),
    gauge("paperchase_subscribers", "", "Subscriptions of the process", |stats| {
        one(Count(stats.subscribers.count))
    }),
    gauge(
        "paperchase_subscribers_behind",
        "",
        "Subscriptions that have not looked at all that is visible, and do not wait",
        |stats| one(Count(stats.subscribers.behind)),
    ),
    gauge(
        "paperchase_subscriber_lag_max",
        "",
        "By how many events the last subscription is behind",
        |stats| one(Count(stats.subscribers.lag_max)),
    ),
    counter("paperchase_scrub_read_bytes_total", "", "Bytes read by the scrub", |stats| {
        one(Count(stats.scrub.bytes))
    }),
    counter(
        "paperchase_scrub_chunks_total",
        "",
        "Chunks that the scrub has read to their end",
        |stats| one(Count(stats.scrub.chunks)),
    ),
    counter(
        "paperchase_scrub_rounds_total",
        "",
        "How often the scrub has read all sealed chunks",
        |stats| one(Count(stats.scrub.rounds)),
    ),
    counter("paperchase_scrub_damages_total", "", "Damaged places that the scrub found", |stats| {
        one(Count(stats.scrub.damages))
    }),
];
