//! Owns the events of the crate `tracing`, all of which are rare: opening, recovery, a roll, a
//! chunk sealed, slow syncs, a full disk, the failure, the close.
//!
//! Promises: the thread that opens the log tells of opening, the keeper's thread of all else, by
//! looks at what is counted anyway; writer and chaser know nothing of it. The keeper looks five
//! times a second, so events may be that late. A subscriber that panics is told nothing more.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tracing::{debug, error, info, warn};

use super::engine::Core;
use super::recovery::OpenReport;
use crate::disk::Disk;
use crate::error::Result;
use crate::position::ChunkNumber;
use crate::stage::histogram::{Histogram, nanos};
use crate::stage::stats::Stats;

/// The target of all events.
const LOG: &str = "paperchase::log";
/// A sync that takes longer is told of: far above what disks need that are not in trouble.
const SLOW_SYNC: Duration = Duration::from_millis(100);
/// Slow syncs are told of together, so far apart at least.
const SLOW_SYNCS_APART: Duration = Duration::from_secs(10);
/// There is room again when nobody has found the disk full for so long.
const ROOM_AFTER: Duration = Duration::from_secs(1);

/// Tells what happens to a log.
#[derive(Debug)]
pub(super) struct Tracer {
    directory: String,
    /// The last chunk that was told of.
    chunk: ChunkNumber,
    /// Full chunks that are not sealed yet.
    unsealed: Vec<ChunkNumber>,
    /// The syncs that were looked at, and when slow ones may be told of again.
    syncs: Histogram,
    syncs_due: Duration,
    /// Appends and writes that found no space.
    refused: u64,
    full: Option<Full>,
    has_failed: bool,
    is_silent: bool,
}

/// The last sign that the disk is full.
#[derive(Debug)]
struct Full {
    at: Duration,
    /// Events that were stored then.
    events: u64,
    /// The keeper told, which tries again by itself.
    by_keeper: bool,
}

fn millis(time: Duration) -> u64 {
    nanos(time) / 1_000_000
}

impl Tracer {
    pub(super) fn new(disk: &dyn Disk) -> Self {
        Self {
            directory: disk.label(),
            chunk: ChunkNumber::FIRST,
            unsealed: Vec::new(),
            syncs: Histogram::default(),
            syncs_due: Duration::ZERO,
            refused: 0,
            full: None,
            has_failed: false,
            is_silent: false,
        }
    }

    /// The log is open.
    pub(super) fn opened(&mut self, core: &Core, report: &OpenReport) {
        let segments = core.segments.snapshot();
        let unsealed = segments.iter().filter(|segment| segment.chunk.footer().is_none());
        self.unsealed = unsealed.map(|segment| segment.chunk.number()).collect();
        // The last chunk is active.
        self.chunk = self.unsealed.pop().unwrap_or(ChunkNumber::FIRST);
        self.guarded(|tracer| tracer.tell_opened(report));
    }

    fn tell_opened(&self, report: &OpenReport) {
        let dir = &*self.directory;
        if !report.clean || report.resealed > 0 {
            let cut = report.cut.as_ref();
            warn!(
                target: LOG,
                dir,
                chunks_scanned = report.chunks_scanned,
                bytes_scanned = report.bytes_scanned,
                bytes_hardened = report.bytes_hardened,
                resealed = report.resealed,
                bytes_cut = cut.map_or(0, |cut| cut.bytes),
                chunk = cut.map(|cut| cut.chunk.get()),
                offset = cut.map(|cut| cut.offset),
                kept_in = cut.map(|cut| cut.kept_in.as_str()),
                "recovered"
            );
        }
        info!(
            target: LOG,
            dir,
            created = report.created,
            clean = report.clean,
            chunks = report.chunks,
            position = report.events,
            elapsed_ms = millis(report.took),
            "opened"
        );
    }

    /// Looks what has happened since the last look; `stats` is of this moment.
    pub(super) fn look(&mut self, core: &Core, stats: &Stats) {
        self.guarded(|tracer| {
            tracer.look_at_chunks(core);
            tracer.look_at_syncs(stats);
            match core.failure.get() {
                None => tracer.look_at_space(core.supply.is_full(), stats),
                Some(_) if tracer.has_failed => {}
                Some(failure) => {
                    tracer.has_failed = true;
                    let (dir, position) = (&*tracer.directory, stats.durable.get());
                    error!(target: LOG, dir, position, error = %failure, "failed");
                }
            }
        });
    }

    /// The log is closed, if it has come so far.
    pub(super) fn closed(&mut self, core: &Core, outcome: &Result<()>) {
        let position = core.marks.durable().get();
        self.guarded(|tracer| match outcome {
            Ok(()) => info!(target: LOG, dir = &*tracer.directory, position, "closed"),
            Err(error) => {
                error!(target: LOG, dir = &*tracer.directory, position, %error, "failed");
            }
        });
    }

    /// Keeps a panic of a subscriber away from the log.
    fn guarded(&mut self, tell: impl FnOnce(&mut Self)) {
        if !self.is_silent {
            self.is_silent = catch_unwind(AssertUnwindSafe(|| tell(self))).is_err();
        }
    }

    fn look_at_chunks(&mut self, core: &Core) {
        let last = core.segments.last().chunk.number();
        while self.chunk < last {
            self.unsealed.push(self.chunk);
            self.chunk = self.chunk.next();
            if let Some(segment) = core.segments.get(self.chunk) {
                let (chunk, position) = (self.chunk.get(), segment.first_position().get());
                debug!(target: LOG, dir = &*self.directory, chunk, position, "rolled");
            }
        }
        let directory = &*self.directory;
        self.unsealed.retain(|number| {
            let segment = core.segments.get(*number);
            let Some(footer) = segment.as_ref().and_then(|segment| segment.chunk.footer()) else {
                return true;
            };
            debug!(
                target: LOG,
                dir = directory,
                chunk = number.get(),
                position = footer.end_position().get(),
                bytes = footer.end.data_end,
                "sealed"
            );
            false
        });
    }

    fn look_at_syncs(&mut self, stats: &Stats) {
        if stats.uptime < self.syncs_due {
            return;
        }
        let between = stats.disk.syncs.since(&self.syncs);
        self.syncs = stats.disk.syncs.clone();
        let slow = between.count() - between.up_to(nanos(SLOW_SYNC));
        if slow > 0 && between.max() > SLOW_SYNC {
            self.syncs_due = stats.uptime + SLOW_SYNCS_APART;
            let (dir, position) = (&*self.directory, stats.durable.get());
            let elapsed_ms = millis(between.max());
            warn!(target: LOG, dir, position, elapsed_ms, slow, "slow sync");
        }
    }

    fn look_at_space(&mut self, by_keeper: bool, stats: &Stats) {
        let refused = stats.disk.refused + stats.writer.errors;
        let (at, events, position) = (stats.uptime, stats.disk.events, stats.durable.get());
        let dir = &*self.directory;
        if by_keeper || refused > self.refused {
            if self.full.is_none() {
                warn!(target: LOG, dir, position, "disk full");
            }
            (self.refused, self.full) = (refused, Some(Full { at, events, by_keeper }));
        } else if let Some(full) = &self.full
            && at >= full.at + ROOM_AFTER
            && (full.by_keeper || events > full.events)
        {
            info!(target: LOG, dir, position, "room again");
            self.full = None;
        }
    }
}
