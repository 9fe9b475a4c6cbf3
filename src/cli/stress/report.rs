//! Owns what a load run tells: one value, from which text, JSON and every other rendering are made.
//!
//! Promises: it is read back as it was written, so that runs can be compared later. A name ends in
//! its unit: `_ns`, `_s`, `_bytes`, `_percent`; a rate is per second. What was not measured is
//! absent (`null`), never 0. Never a mean of latencies, never an averaged percentile. Decides
//! nothing: see `judge.rs` for what makes a run void.

use serde::{Deserialize, Serialize};

use super::super::top::report::VerdictReport;
use super::check::Verdict;

mod distribution;
pub(super) mod text;

pub(super) use distribution::{Distribution, NAMED, Rung, TIME_NS_MAX, histogram};

/// The version of this layout. Fields may be added under the same one; a field that goes or changes
/// its meaning takes the next.
pub(super) const VERSION: u32 = 1;

/// What a run found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) version: u32,
    /// What the figures hang on, in one line: loop, durability, load.
    pub(super) title: String,
    pub(super) identity: Identity,
    pub(super) settings: Settings,
    /// What was driven: one, or with a sweep the closed loop and then each rate.
    pub(super) loops: Vec<Loop>,
    pub(super) sweep: Option<Sweep>,
    pub(super) probe: Option<Probes>,
    /// Whether somebody ended the run before its time.
    pub(super) interrupted: bool,
    /// Whether all figures may be quoted: no ledger is broken, no loop is void, nothing failed.
    pub(super) valid: bool,
    /// What the figures cannot carry.
    pub(super) notes: Vec<String>,
}

/// What was run, where and when.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// Version of the program.
    pub(super) paperchase: String,
    /// The commit it was built from, where the build was told.
    pub(super) commit: Option<String>,
    pub(super) optimised: bool,
    /// The program and its arguments.
    pub(super) command: Vec<String>,
    pub(super) seed: u64,
    pub(super) durability: DurabilityMode,
    /// Beginning of the run, RFC 3339, UTC.
    pub(super) started: String,
    pub(super) machine: Machine,
}

/// Where a run took place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Machine {
    pub(super) cpu: Option<String>,
    pub(super) cores: usize,
    pub(super) memory_bytes: Option<u64>,
    pub(super) kernel: Option<String>,
    /// Directory of the log.
    pub(super) directory: String,
    pub(super) mount: Option<Mount>,
}

/// The file system that holds a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mount {
    pub(super) device: String,
    /// Major and minor number of the device, `8:1`.
    pub(super) number: String,
    pub(super) filesystem: String,
    pub(super) options: String,
}

/// When an append is acked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum DurabilityMode {
    /// After fdatasync.
    #[default]
    Sync,
    /// After the operating system took the bytes; a power failure can lose acked events.
    Os,
}

/// What kind of load is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mode {
    /// A client sends its next append when an earlier one was acked.
    #[default]
    Closed,
    /// Appends are sent at times that were planned before, whatever the log does.
    Open,
    /// The closed loop, then the open one at parts of its rate.
    Sweep,
}

/// How the planned times of an open loop lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Arrivals {
    /// As independent users come: exponential gaps.
    #[default]
    Poisson,
    /// Equal gaps.
    Constant,
}

/// What an open loop does with an append that finds the queue of the log full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum WhenFull {
    /// Sends it again until it is taken; its time runs from the planned moment all the while.
    #[default]
    Retry,
    /// Drops it, and counts it.
    Shed,
}

/// What was asked for, with the defaults filled in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) mode: Mode,
    /// Clients of a closed loop, senders of an open one.
    pub(super) clients: u32,
    /// `threads`, or `futures on one thread`.
    pub(super) driver: String,
    /// Appends in flight of each client of a closed loop.
    pub(super) pipeline: u32,
    /// Appends a second of an open loop.
    pub(super) rate: Option<f64>,
    pub(super) arrivals: Option<Arrivals>,
    pub(super) when_full: Option<WhenFull>,
    /// Payload of an event, as it was written: `256`, `uniform:64..4096`, `lognormal:256:1`.
    pub(super) size: String,
    pub(super) size_mean_bytes: f64,
    /// Events of an append, as it was written: `1`, `uniform:1..10`.
    pub(super) batch: String,
    pub(super) batch_mean: f64,
    /// Streams of each client.
    pub(super) streams: u32,
    /// `turns`, `uniform`, `zipf:1`.
    pub(super) skew: String,
    /// Appends with an expected version and an operation id.
    pub(super) conditions_percent: f64,
    pub(super) readers: u32,
    pub(super) subscribers: u32,
    /// Idle subscriptions.
    pub(super) subscriptions: u32,
    pub(super) fill_events: u64,
    #[serde(default)]
    pub(super) rest_s: f64,
    pub(super) warmup_s: f64,
    pub(super) seconds: f64,
    pub(super) cooldown_s: f64,
    pub(super) chunk_size_bytes: u64,
    pub(super) max_delay_ns: u64,
    pub(super) spin_ns: u64,
    pub(super) hlog: Option<String>,
}

/// What one load on a fresh log found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Loop {
    /// [`Mode::Closed`] or [`Mode::Open`].
    pub(super) kind: Mode,
    /// Why the figures are void; empty when they may be quoted.
    pub(super) void: Vec<String>,
    /// In their order: fill, rest, warm-up, measure, cool-down.
    pub(super) phases: Vec<Phase>,
    /// What an open loop was to send in the measured time.
    pub(super) planned: Option<Rate>,
    /// What was acked in the measured time.
    pub(super) achieved: Rate,
    pub(super) counts: Counts,
    /// From the planned moment to the ack, of all appends planned in the measured time. A closed
    /// loop has none: it sends when the log lets it.
    pub(super) response: Option<Distribution>,
    /// From the actual send to the ack.
    pub(super) service: Distribution,
    /// From the planned moment (closed loop: from the send) until the first subscriber has it.
    pub(super) visible: Option<Distribution>,
    /// How late the sender was by its own doing; not what it waited for a full queue.
    pub(super) lateness: Option<Distribution>,
    /// One read of up to a hundred events.
    pub(super) read: Option<Distribution>,
    /// One sync of the log.
    pub(super) sync: Option<Distribution>,
    /// How much longer a sleep of 1 ms took: the noise of the machine.
    pub(super) hiccup: Option<Distribution>,
    /// The measured time, second by second.
    pub(super) intervals: Vec<Interval>,
    pub(super) stages: Vec<Stage>,
    pub(super) queues: Vec<Queue>,
    /// What held up the log in the measured time, as `why --json` tells it. Absent where that time
    /// was too short to tell, and in runs that were saved before this was told.
    #[serde(default)]
    pub(super) verdict: Option<VerdictReport>,
    pub(super) disk: Disk,
    pub(super) device: Option<Device>,
    pub(super) cpu: Option<Cpu>,
    pub(super) reopened: Reopened,
    pub(super) ledger: Verdict,
    /// Why the load or the log ended early.
    pub(super) failure: Option<String>,
}

impl Loop {
    /// The name of what held up the log; nothing where that is not known.
    pub(super) fn cause(&self) -> &str {
        self.verdict.as_ref().map_or("", |verdict| &verdict.cause)
    }
}

/// One part of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Phase {
    /// `fill`, `rest`, `warm-up`, `measure` or `cool-down`.
    pub(super) name: String,
    /// Since the load began.
    pub(super) start_s: f64,
    pub(super) seconds: f64,
}

/// How much in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Rate {
    pub(super) appends: f64,
    pub(super) events: f64,
    pub(super) payload_bytes: f64,
}

/// What became of the appends of the measured time: those planned in it, and of a closed loop those
/// sent in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    /// Appends that were to be answered: `acked + shed + failed + unanswered`.
    pub(super) planned: u64,
    pub(super) acked: u64,
    /// Events in those.
    pub(super) acked_events: u64,
    /// Attempts that found the queue of the log full.
    pub(super) busy: u64,
    /// Appends dropped because of that.
    pub(super) shed: u64,
    /// Appends that were refused otherwise, or that the log failed on.
    pub(super) failed: u64,
    /// Appends without an answer at the end of the cool-down. They count as slower than all others.
    pub(super) unanswered: u64,
    /// Appends among `acked` that had an expected version and an operation id.
    pub(super) conditional: u64,
    /// Events that subscribers got in the whole run.
    pub(super) delivered: u64,
    /// Reads that readers made in the measured time.
    pub(super) reads: u64,
    /// How often an idle subscription was woken.
    pub(super) idle_wakes: u64,
}

/// One second of the measured time, by the moment of the acks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Interval {
    /// Beginning, since the measured time began.
    pub(super) t_s: f64,
    pub(super) seconds: f64,
    pub(super) acked_events: u64,
    /// Of the response, in a closed loop of the service.
    pub(super) samples: u64,
    pub(super) p50_ns: u64,
    pub(super) p99_ns: u64,
    pub(super) p999_ns: u64,
    pub(super) max_ns: u64,
    pub(super) flushes: u64,
    pub(super) events_per_group: f64,
    /// Appends in the queue of the log at the end.
    pub(super) queued: u64,
}

/// What a thread of the log did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Stage {
    /// `writer`, `chaser` or `keeper`.
    pub(super) name: String,
    /// Part of the time in which it worked.
    pub(super) busy_percent: f64,
    pub(super) items: u64,
    pub(super) errors: u64,
}

/// What passed through a queue of the log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Queue {
    /// `appends`, from the clients to the writer, or `groups`, from the writer to the chaser.
    pub(super) name: String,
    pub(super) pushed: u64,
    pub(super) popped: u64,
    /// At the end of the measured time.
    pub(super) length: u64,
    /// Since the log was opened.
    pub(super) peak: u64,
    pub(super) rejected: u64,
    /// All waiting together, over the items that left.
    pub(super) wait_ns_per_item: f64,
    /// Since the log was opened.
    pub(super) wait_max_ns: u64,
}

/// What the writer did to the disk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Disk {
    pub(super) groups: u64,
    pub(super) events: u64,
    pub(super) bytes: u64,
    pub(super) flushes: u64,
    pub(super) flushes_per_second: f64,
    pub(super) events_per_flush: f64,
    pub(super) events_per_group: f64,
    /// Why the flushes were made: nothing else waited, the deadline passed, a chunk was full.
    pub(super) flushes_idle: u64,
    pub(super) flushes_deadline: u64,
    pub(super) flushes_size: u64,
    /// Bytes written to the log for each byte of payload.
    pub(super) write_amplification: f64,
    /// All time in the calls, over the calls.
    pub(super) write_ns_per_group: f64,
    pub(super) sync_ns_per_flush: f64,
    /// Since the log was opened.
    pub(super) sync_max_ns: u64,
    /// How often the writer had to wait until zeros lay ready, or a chunk.
    pub(super) waits_for_chunk: u64,
    /// Bytes of zeros that the log wrote ahead of itself.
    #[serde(default)]
    pub(super) zeros: u64,
    /// Bytes that lay ready when the measured time began and when it ended.
    #[serde(default)]
    pub(super) ready: [u64; 2],
}

/// What the block device under the log did in the measured time, for whomever.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Device {
    pub(super) name: String,
    pub(super) writes: u64,
    pub(super) written_bytes: u64,
    /// Flushes of the device's own cache; absent where the system does not count them.
    pub(super) flushes: Option<u64>,
    /// Bytes written to the device for each byte of payload.
    pub(super) write_amplification: f64,
}

/// Processor time of the measured time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Cpu {
    /// Of the whole program, over the events acked.
    pub(super) process_ns_per_event: f64,
    /// Of the threads of the log alone.
    pub(super) log_ns_per_event: Option<f64>,
}

/// What opening and reading the closed log again took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Reopened {
    pub(super) open_s: f64,
    pub(super) checked_events_per_second: f64,
}

/// What the bare disk did before and after the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Probes {
    pub(super) before: Probe,
    pub(super) after: Probe,
    /// Halfway between the two.
    pub(super) operations_per_second: f64,
    /// Events acked by the first loop for each operation that the bare disk did in the same time.
    pub(super) events_per_operation: f64,
}

/// What the bare disk did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Probe {
    pub(super) write_size_bytes: u64,
    pub(super) operations_per_second: f64,
    pub(super) latency: Distribution,
}

/// The open loop at parts of the rate of the closed one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Sweep {
    /// Appends a second of the closed loop.
    pub(super) closed_maximum: f64,
    /// In the order of the rates. Point `i` is `loops[i + 1]`.
    pub(super) points: Vec<Point>,
    pub(super) knee: Option<Knee>,
}

impl Sweep {
    /// The first rate beyond the knee that may be quoted, with its loop.
    pub(super) fn beyond<'a>(&self, loops: &'a [Loop]) -> Option<(&Point, &'a Loop)> {
        let knee = self.knee.as_ref()?.point;
        let mut rates = self.points.iter().zip(loops.iter().skip(1)).skip(knee.saturating_add(1));
        rates.find(|(point, _)| point.valid)
    }
}

/// One rate of a sweep, in appends a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Point {
    pub(super) percent_of_maximum: f64,
    pub(super) planned_rate: f64,
    pub(super) achieved_rate: f64,
    pub(super) p50_ns: u64,
    pub(super) p99_ns: u64,
    pub(super) p999_ns: u64,
    pub(super) max_ns: u64,
    pub(super) valid: bool,
}

/// The last rate before latency or lag runs away.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Knee {
    /// Index of the point.
    pub(super) point: usize,
    pub(super) planned_rate: f64,
    pub(super) p99_ns: u64,
    pub(super) p999_ns: u64,
    /// What is wrong with the next rate; absent when there is no next one.
    pub(super) beyond: Option<String>,
}
