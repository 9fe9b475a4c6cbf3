//! Owns the verdict: from two snapshots of a log to what held it up between them, and why that is
//! known.
//!
//! Promises: a function of values; no clock, no file. The stage that is named first is the one with
//! the greatest share of the time, where the stages were at work; a log that waits for its clients
//! is not called slow. Each statement has the figures that it rests on. Never changes anything.

use std::fmt;
use std::time::Duration;

use crate::stage::histogram::Histogram;
use crate::stage::stats::{DiskWork, Stats};

/// From this share of the time on, the work of the writer or of the chaser counts as what holds up
/// the log.
const SATURATED: f64 = 0.5;
/// The same for all that the writer's thread does: the chaser's work too where little waits, and
/// what no share tells of.
const SATURATED_THREAD: f64 = 0.7;
/// A subscriber is not called slow for fewer events than this.
const LAG_MIN: u64 = 1000;

/// How the evidence begins that is of means of times.
pub(crate) const MEAN_WAY: &str = "mean way of an append";

/// What holds up a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// The log has failed and takes nothing more.
    Failed,
    /// Syncs of the disk.
    Sync,
    /// Writes to the disk.
    Write,
    /// Space that the keeper had not prepared.
    Space,
    /// The writer's own work: deciding and framing.
    Writer,
    /// The chaser: reading back, checking, indexing.
    Chaser,
    /// Waking the threads and tasks that wait for their acks.
    Wakes,
    /// The bound of the queue of appends, while the stages had time left.
    Queue,
    /// A subscriber that falls behind. It holds up nobody but itself.
    Subscriber,
    /// Nothing in the log: it waits for its clients.
    Clients,
    /// Nothing at all: there was nothing to do.
    Idle,
}

impl Cause {
    /// Its name in outputs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Sync => "sync",
            Self::Write => "write",
            Self::Space => "space",
            Self::Writer => "writer",
            Self::Chaser => "chaser",
            Self::Wakes => "wakes",
            Self::Queue => "queue",
            Self::Subscriber => "subscriber",
            Self::Clients => "clients",
            Self::Idle => "idle",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Failed => "look at the system's messages about the disk, then open the log again",
            Self::Sync => {
                "more appends in flight or more events in each share a sync; or a disk \
                           that syncs faster"
            }
            Self::Write => "see what else writes to this disk; or smaller events, or a faster disk",
            Self::Space => {
                "raise `prepare_ahead`, so that the keeper begins earlier; see what \
                            else writes to this disk"
            }
            Self::Writer => {
                "fewer and larger appends; conditions that name fewer streams and \
                             narrower queries"
            }
            Self::Chaser => {
                "fewer tags and types per event; more memory, if the newest chunk does \
                             not stay in it"
            }
            Self::Wakes => {
                "many appends in flight from few threads, or `await`: a task is woken \
                            without a thread; or more cores"
            }
            Self::Queue => {
                "raise `queue_appends` or `queue_bytes`, or let clients wait for room \
                            (`admission_wait`)"
            }
            Self::Subscriber => {
                "make its handling faster, or split its events by query; nothing \
                                 is lost, it reads from the log at its own pace"
            }
            Self::Clients => "nothing is wrong; more appends in flight would raise the throughput",
            Self::Idle => "nothing",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Something that holds up a log, and why that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What it is.
    pub cause: Cause,
    /// The same in one line.
    pub line: String,
    /// The figures that it rests on.
    pub evidence: Vec<String>,
}

/// What held up a log between two snapshots. See [`Stats::verdict`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// What was found: first the bottleneck, then what else is worth a look. Never empty.
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// The bottleneck.
    #[must_use]
    pub fn cause(&self) -> Cause {
        self.findings.first().map_or(Cause::Idle, |finding| finding.cause)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.findings.first().map_or("", |finding| &finding.line))
    }
}

impl Stats {
    /// What held up the log between an earlier snapshot and this one, with the evidence. A second
    /// between them is a good measure.
    ///
    /// ```
    /// # use paperchase::{Cause, Log};
    /// # let dir = tempfile::tempdir()?;
    /// # let log = Log::open(dir.path())?;
    /// let before = log.stats();
    /// let verdict = log.stats().verdict(&before);
    /// assert_eq!(verdict.cause(), Cause::Idle);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn verdict(&self, earlier: &Self) -> Verdict {
        let case = Case::new(self, earlier);
        let mut findings: Vec<_> = self.has_failed.then(|| case.failed()).into_iter().collect();
        let stage = case.saturated().map(|cause| case.saturation(cause));
        let is_stage = stage.is_some();
        findings.extend(stage);
        findings.extend(case.slow_subscriber());
        findings.extend(case.full_queue(is_stage));
        if !is_stage {
            findings.push(case.nothing_saturated());
        }
        Verdict { findings }
    }
}

/// What happened between two snapshots.
struct Case<'a> {
    earlier: &'a Stats,
    now: &'a Stats,
    between: Stats,
}

impl<'a> Case<'a> {
    fn new(now: &'a Stats, earlier: &'a Stats) -> Self {
        Self { earlier, now, between: now.since(earlier) }
    }

    /// A sum of times as a share of the time between; what is still going on counts with it.
    fn share(&self, times: &Histogram, ongoing: Option<DiskWork>) -> f64 {
        let all = self.between.uptime.as_secs_f64();
        let going = self.now.disk.ongoing.filter(|(work, _)| Some(*work) == ongoing);
        let going = going.map_or(0.0, |(_, time)| time.as_secs_f64());
        let sum = times.total().as_secs_f64() + going;
        if all > 0.0 { (sum / all).min(1.0) } else { 0.0 }
    }

    /// The shares of what can hold up an append: first those of the writer's thread, then those of
    /// the chaser.
    fn shares(&self) -> [(Cause, f64); 6] {
        let Stats { disk, writer, chaser, releases, .. } = &self.between;
        [
            (Cause::Sync, self.share(&disk.syncs, Some(DiskWork::Sync))),
            (Cause::Write, self.share(&disk.writes, Some(DiskWork::Write))),
            (Cause::Space, self.share(&disk.room_waits, Some(DiskWork::Room))),
            (Cause::Writer, self.share(&writer.service, None)),
            (Cause::Chaser, self.share(&chaser.service, None)),
            (Cause::Wakes, self.share(releases, None)),
        ]
    }

    fn saturated(&self) -> Option<Cause> {
        let shares = self.shares();
        let sum = |part: &[(Cause, f64)]| part.iter().map(|(_, share)| share).sum::<f64>();
        let (writer, chaser) = (sum(&shares[..4]), sum(&shares[4..]));
        let is_busy = writer.max(chaser) >= SATURATED
            || self.between.writer.utilisation() >= SATURATED_THREAD;
        let greatest = shares.into_iter().max_by(|one, other| one.1.total_cmp(&other.1));
        greatest.filter(|_| is_busy).map(|(cause, _)| cause)
    }

    fn share_of(&self, cause: Cause) -> u32 {
        let shares = self.shares();
        percent(shares.iter().find(|(other, _)| *other == cause).map_or(0.0, |(_, share)| *share))
    }

    fn failed(&self) -> Finding {
        let errors = [&self.now.writer, &self.now.chaser, &self.now.keeper];
        let [writer, chaser, keeper] = errors.map(|stage| stage.errors);
        let line = "the log has failed: it takes no more appends".to_owned();
        let errors = format!("errors: writer {writer}, chaser {chaser}, keeper {keeper}");
        Finding { cause: Cause::Failed, line, evidence: vec![errors] }
    }

    /// One of the six causes that have a share.
    fn saturation(&self, cause: Cause) -> Finding {
        let Stats { disk, writer, chaser, releases, keeper, .. } = &self.between;
        let share = self.share_of(cause);
        let each = |times: &Histogram| {
            let [p50, p99] = [50.0, 99.0].map(|percent| short(times.percentile(percent)));
            format!("{} of them, median {p50}, p99 {p99}", times.count())
        };
        let flushes = format!(
            "{:.1} events a flush, {:.1} MB/s; flushes: {} idle, {} deadline, {} size",
            disk.events_per_flush.mean(),
            per_second(disk.bytes, self.between.uptime) / 1e6,
            disk.flushes_idle,
            disk.flushes_deadline,
            disk.flushes_size
        );
        let zeros = format!(
            "zeros ahead: {:.1} MB/s written beside them, {:.0} MB lie ready",
            per_second(disk.zeros, self.between.uptime) / 1e6,
            disk.ready as f64 / 1e6
        );
        let lag = self.now.durable.since(self.now.visible);
        let (line, mut evidence) = match cause {
            Cause::Sync => {
                let syncs = format!("syncs: {}", each(&disk.syncs));
                let line = format!("the disk: {share} % of the time is spent in syncs");
                (line, vec![syncs, flushes, zeros])
            }
            Cause::Write => {
                let writes = format!("writes: {}", each(&disk.writes));
                let line = format!("the disk: {share} % of the time is spent in writes");
                (line, vec![writes, flushes, zeros])
            }
            Cause::Space => {
                let waits = format!("waits for space: {}", each(&disk.room_waits));
                let duties = format!("the keeper's duties: {}", each(&keeper.service));
                let line = "the keeper: the writer waits for prepared space";
                (format!("{line} {share} % of the time"), vec![waits, duties])
            }
            Cause::Writer => {
                let groups = format!("groups decided and framed: {}", each(&writer.service));
                let line = "the writer: deciding and framing appends takes";
                (format!("{line} {share} % of the time"), vec![groups, flushes])
            }
            Cause::Chaser => {
                let groups = format!("groups checked and indexed: {}", each(&chaser.service));
                let unanswered = self.groups();
                let behind = format!(
                    "{lag} events are durable and not visible; {unanswered} groups are written and \
                     not answered"
                );
                let line = "the chaser: reading back, checking and indexing takes";
                (format!("{line} {share} % of the time"), vec![groups, behind])
            }
            _ => {
                let line = "waking clients: answering those who wait takes";
                let groups = format!("groups answered: {}", each(releases));
                (format!("{line} {share} % of the time"), vec![groups, self.wakes()])
            }
        };
        if let Some((work, time)) = self.now.disk.ongoing.filter(|(_, time)| time.as_secs() > 0) {
            let what = match work {
                DiskWork::Write => "a write",
                DiskWork::Sync => "a sync",
                DiskWork::Room => "a wait for space",
            };
            evidence.insert(0, format!("{what} has been going on for {}", short(time)));
        }
        evidence.extend([self.all_shares(), self.way(), self.queue()]);
        Finding { cause, line, evidence }
    }

    /// A subscriber that is far behind and does not come nearer.
    fn slow_subscriber(&self) -> Option<Finding> {
        let (now, before) = (&self.now.subscribers, &self.earlier.subscribers);
        let grown = self.now.visible.since(self.earlier.visible);
        // Half of what a second brings, or the time between if that is less: who takes what comes
        // has less.
        let usual = per_second(grown, self.between.uptime.max(Duration::from_secs(1))) / 2.0;
        let is_far = now.lag_max > LAG_MIN && now.lag_max as f64 > usual;
        if !is_far || now.lag_max < before.lag_max - before.lag_max / 10 {
            return None;
        }
        let line = format!("a slow subscriber: it is {} events behind", now.lag_max);
        let evidence = vec![
            format!("{} of {} subscriptions are behind", now.behind, now.count),
            format!("the last was {} events behind before", before.lag_max),
            format!("the log grew by {grown} events meanwhile"),
        ];
        Some(Finding { cause: Cause::Subscriber, line, evidence })
    }

    fn full_queue(&self, behind_a_stage: bool) -> Option<Finding> {
        let queue = &self.between.appends;
        if queue.full == 0 {
            return None;
        }
        let line = format!(
            "the queue of appends was full {} times, and {} appends were turned away",
            queue.full, queue.rejected
        );
        let why = if behind_a_stage {
            "the stage named above does not keep up with the clients".to_owned()
        } else {
            format!("the stages had time left ({}): bursts are larger than it", self.all_shares())
        };
        Some(Finding { cause: Cause::Queue, line, evidence: vec![self.queue(), why] })
    }

    fn nothing_saturated(&self) -> Finding {
        let between = &self.between;
        let in_flight = self.now.in_flight();
        if between.appends.pushed == 0 && in_flight == 0 {
            let line = "nothing was appended: the log is idle".to_owned();
            return Finding { cause: Cause::Idle, line, evidence: vec![self.all_shares()] };
        }
        let parts = [
            &between.appends.waits,
            &between.path.gather,
            &between.path.write,
            &between.path.sync,
            &between.path.chase,
        ];
        let mean: Duration = parts.iter().map(|part| part.mean()).sum();
        if between.path.wake.count() > 0 && between.path.wake.mean() > mean {
            let line = "waking clients: a client that is woken runs late, the cores are taken";
            let evidence = vec![self.wakes(), self.way(), self.all_shares()];
            return Finding { cause: Cause::Wakes, line: line.to_owned(), evidence };
        }
        let all = between.uptime.as_secs_f64();
        let flight = if all > 0.0 { between.path.total.total().as_secs_f64() / all } else { 0.0 };
        let line = format!("the log waits for its clients: {flight:.1} appends in flight");
        let rate = per_second(between.appends.pushed, between.uptime);
        let evidence = vec![
            format!("{rate:.0} appends/s, {in_flight} in flight at the end"),
            self.all_shares(),
            self.way(),
            self.queue(),
        ];
        Finding { cause: Cause::Clients, line, evidence }
    }

    fn groups(&self) -> u64 {
        self.now.groups.pushed.saturating_sub(self.now.chaser.items)
    }

    fn wakes(&self) -> String {
        let wakes = &self.between.path.wake;
        let [p50, p99] = [50.0, 99.0].map(|percent| short(wakes.percentile(percent)));
        format!("{} waiters ran after their answer by a median of {p50}, p99 {p99}", wakes.count())
    }

    fn all_shares(&self) -> String {
        let part = |(cause, share): (Cause, f64)| format!("{cause} {} %", percent(share));
        format!("shares of the time: {}", self.shares().map(part).join(", "))
    }

    fn way(&self) -> String {
        let Stats { appends, path, .. } = &self.between;
        let parts = [
            ("queue", &appends.waits),
            ("gather", &path.gather),
            ("write", &path.write),
            ("sync", &path.sync),
            ("chase", &path.chase),
            ("wake", &path.wake),
        ];
        let part = |(name, times): (&str, &Histogram)| format!("{name} {}", short(times.mean()));
        format!("{MEAN_WAY}: {}", parts.map(part).join(", "))
    }

    fn queue(&self) -> String {
        let queue = &self.now.appends;
        format!(
            "queue of appends: {} of {} places taken, at most {} since the log was opened",
            queue.length, queue.capacity, queue.high_water
        )
    }
}

fn per_second(count: u64, time: Duration) -> f64 {
    let seconds = time.as_secs_f64();
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share from 0 to 1, for people"
)]
fn percent(share: f64) -> u32 {
    (share * 100.0).round() as u32
}

/// A time with three digits.
pub(crate) fn short(time: Duration) -> String {
    let units = [(1e-6, "ns", 1e9), (1e-3, "us", 1e6), (1.0, "ms", 1e3)];
    let seconds = time.as_secs_f64();
    let unit = units.into_iter().find(|(below, ..)| seconds < *below);
    let (unit, value) = unit.map_or(("s", seconds), |(_, unit, per)| (unit, seconds * per));
    let digits = if value >= 100.0 || unit == "ns" { 0 } else { usize::from(value < 10.0) + 1 };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests;
