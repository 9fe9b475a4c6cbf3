//! Owns the wiring of the stages: which queue leads from which to which, and what they share.
//!
//! Promises: three machines that know only queues, marks and a disk, and that can be stepped by
//! threads or, one after the other, by a test. Starts no thread.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::chaser::{self, Chaser};
use crate::chunk::supply::Supply;
use crate::clock::Clock;
use crate::disk::Disk;
use crate::error::{Error, OpenError};
use crate::format::checksum::LogSalt;
use crate::index::segments::Segments;
use crate::keeper::{self, HintFile, Keeper};
use crate::log::reader::Reader;
use crate::log::recovery::{self, OpenReport};
use crate::options::Options;
use crate::stage::Failure;
use crate::stage::bell::Bell;
use crate::stage::lounge::Lounge;
use crate::stage::meter::{CutMeter, DiskMeter, ScrubMeter, StageMeter};
use crate::stage::page::{Opening, StatsPage};
use crate::stage::path::PathMeter;
use crate::stage::pending::PendingGroup;
use crate::stage::queue::Queue;
use crate::stage::stats::Stats;
use crate::subscribe::feed::Feed;
use crate::watermark::Watermarks;
use crate::writer::{self, Submission, Writer};

/// Groups that wait for the chaser: far more than the writer leaves unflushed, so that it never
/// waits for itself.
const GROUPS_MAX: usize = 1024;

/// What a log's handle and its stages share.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) options: Options,
    pub(super) salt: LogSalt,
    pub(super) appends: Arc<Queue<Submission>>,
    pub(super) groups: Arc<Queue<PendingGroup>>,
    pub(super) lounge: Arc<Lounge>,
    pub(super) supply: Arc<Supply>,
    pub(super) segments: Arc<Segments>,
    pub(super) marks: Arc<Watermarks>,
    pub(super) bell: Arc<Bell>,
    pub(super) page: Arc<StatsPage>,
    pub(super) failure: Arc<Failure>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) meters: Meters,
    /// When the log was opened.
    opened: Duration,
    _lock: Box<dyn fmt::Debug + Send + Sync>,
}

/// The meters of the stages.
#[derive(Debug, Default)]
pub(super) struct Meters {
    pub(super) writer: Arc<StageMeter>,
    pub(super) chaser: Arc<StageMeter>,
    pub(super) keeper: Arc<StageMeter>,
    pub(super) disk: Arc<DiskMeter>,
    pub(super) path: Arc<PathMeter>,
    pub(super) scrub: Arc<ScrubMeter>,
    pub(super) cuts: Arc<CutMeter>,
}

/// An opened log whose stages nobody steps yet.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) core: Arc<Core>,
    pub(super) writer: Writer,
    pub(super) chaser: Chaser,
    pub(super) keeper: Keeper,
}

impl Engine {
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Result<(Self, OpenReport), OpenError> {
        let recovered = recovery::open(&*disk, &options, &*clock)?;
        let hint = HintFile::open(&*disk, recovered.hint_sequence).map_err(|error| {
            OpenError::Failed(Error::from_io(&format!("open the hint of {}", disk.label()), error))
        })?;
        let place = recovered.place();
        // Last of all that can fail: from here on other processes take this one for the writer.
        let page = StatsPage::open(
            &*disk,
            &Opening {
                log: recovered.header.log,
                durability: options.durability,
                place,
                hint_sequence: recovered.hint_sequence,
            },
        );
        let supply = Supply::new(Arc::clone(&recovered.file), recovered.next, place);
        recovered.to_seal.into_iter().for_each(|number| supply.request_seal(number));
        let failure = Arc::new(Failure::default());
        let core = Core {
            salt: LogSalt::new(recovered.header.log),
            appends: Arc::new(
                Queue::new(options.queue_appends, options.queue_bytes, Arc::clone(&clock))
                    .shedding(options.shed_after),
            ),
            groups: Arc::new(Queue::new(GROUPS_MAX, usize::MAX, Arc::clone(&clock))),
            lounge: Arc::new(Lounge::new(options.spin, Arc::clone(&clock), failure.home().clone())),
            supply: Arc::new(supply),
            segments: Arc::new(Segments::new(recovered.segments)),
            marks: Arc::new(Watermarks::at(place.position)),
            bell: Arc::new(Bell::new(failure.home())),
            page: Arc::new(page),
            failure,
            opened: clock.monotonic(),
            clock,
            meters: Meters::default(),
            options,
            _lock: recovered.lock,
        };
        let cursor = recovered.cursor;
        let header = &recovered.header;
        let options = core.options.clone();
        let writer = Writer::new(core.for_writer(), options, header, recovered.file, cursor);
        let chaser = Chaser::new(core.for_chaser(), cursor);
        let keeper = Keeper::new(core.for_keeper(disk), core.options.clone(), header.log, hint);
        Ok((Self { core: Arc::new(core), writer, chaser, keeper }, recovered.report))
    }
}

impl Core {
    fn for_writer(&self) -> writer::Shared {
        writer::Shared {
            appends: Arc::clone(&self.appends),
            lounge: Arc::clone(&self.lounge),
            groups: Arc::clone(&self.groups),
            supply: Arc::clone(&self.supply),
            segments: Arc::clone(&self.segments),
            marks: Arc::clone(&self.marks),
            failure: Arc::clone(&self.failure),
            clock: Arc::clone(&self.clock),
            meter: Arc::clone(&self.meters.writer),
            disk: Arc::clone(&self.meters.disk),
        }
    }

    fn for_chaser(&self) -> chaser::Shared {
        chaser::Shared {
            groups: Arc::clone(&self.groups),
            supply: Arc::clone(&self.supply),
            segments: Arc::clone(&self.segments),
            marks: Arc::clone(&self.marks),
            bell: Arc::clone(&self.bell),
            lounge: Arc::clone(&self.lounge),
            page: Arc::clone(&self.page),
            failure: Arc::clone(&self.failure),
            clock: Arc::clone(&self.clock),
            meter: Arc::clone(&self.meters.chaser),
            path: Arc::clone(&self.meters.path),
            disk: Arc::clone(&self.meters.disk),
        }
    }

    fn for_keeper(&self, disk: Arc<dyn Disk>) -> keeper::Shared {
        keeper::Shared {
            disk,
            supply: Arc::clone(&self.supply),
            segments: Arc::clone(&self.segments),
            failure: Arc::clone(&self.failure),
            page: Arc::clone(&self.page),
            clock: Arc::clone(&self.clock),
            meter: Arc::clone(&self.meters.keeper),
            disk_meter: Arc::clone(&self.meters.disk),
            scrub: Arc::clone(&self.meters.scrub),
            cuts: Arc::clone(&self.meters.cuts),
        }
    }

    /// The id of the log.
    pub(super) fn log(&self) -> Uuid {
        self.segments.last().chunk.header.log
    }

    pub(super) fn reader(&self) -> Reader {
        Reader::new(Feed {
            segments: Arc::clone(&self.segments),
            marks: Arc::clone(&self.marks),
            bell: Arc::clone(&self.bell),
            failure: Arc::clone(&self.failure),
            clock: Arc::clone(&self.clock),
        })
    }

    pub(super) fn stats(&self) -> Stats {
        if !self.failure.home().is_here() {
            return Stats::default();
        }
        // Read against the order in which they grow, so that nothing is seen without its cause: no
        // snapshot shows more visible than written, nor more answers than appends.
        let clock = &*self.clock;
        let has_failed = self.failure.get().is_some();
        let visible = self.marks.visible();
        let subscribers = self.bell.subscribers(visible);
        let durable = self.marks.durable();
        let path = self.meters.path.snapshot(&self.lounge.wakes);
        let releases = self.meters.path.releases.snapshot();
        let chaser = self.meters.chaser.snapshot(clock);
        let groups = self.groups.stats();
        let disk = self.meters.disk.snapshot(self.supply.room(), clock);
        let writer = self.meters.writer.snapshot(clock);
        let appends = self.appends.stats();
        Stats {
            written: self.marks.written(),
            durable,
            visible,
            appends,
            groups,
            writer,
            chaser,
            keeper: self.meters.keeper.snapshot(clock),
            releases,
            path,
            disk,
            subscribers,
            scrub: self.meters.scrub.snapshot(),
            has_failed,
            time: clock.wall(),
            uptime: clock.monotonic().saturating_sub(self.opened),
        }
    }
}
