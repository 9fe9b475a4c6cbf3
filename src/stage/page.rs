//! Owns the shared page of a log: how far it may be read, told to other processes without a call of
//! the operating system, and that its writer lives.
//!
//! Promises: a reader sees an identity and an end that were written together, or none. Publishing
//! is a few stores: no lock, no allocation, no call; only the keeper's heartbeat is one. A page is
//! only trusted by its own machine, in the run in which it was written. Assumes one writing
//! process, and one thread at a time that publishes. Never tells of an event that is not durable.

#[cfg(test)]
mod tests;

use uuid::Uuid;

use crate::chunk::supply::DurablePlace;
use crate::disk::map::PageOrigin;
use crate::disk::{Access, Disk, SharedPage};
use crate::format::header::ChainEnd;
use crate::format::stats::{
    CHAIN, CHUNK, CLOSED, COUNTERS, COUNTERS_LAYOUT, COUNTERS_SEQUENCE, DATA_END, FAILED,
    HEARTBEAT, IDENTITY_WORDS, Identity, OPEN, POSITION, SEQUENCE, STATE,
};
use crate::options::Durability;
use crate::position::{ChunkNumber, Position};
use crate::stage::fields;
use crate::stage::stats::Stats;
use crate::sync::atomic::{Ordering, fence};
use crate::sync::spin_loop;

/// Name of the page.
pub(crate) const STATS: &str = "stats";
/// How often a reader tries before it takes a page for one that is being changed: a change takes
/// nanoseconds, unless its writer was stopped in the midst of it.
const READS_MAX: u32 = if cfg!(loom) { 2 } else { 64 };

/// The page as the writing process has it.
#[derive(Debug)]
pub(crate) struct StatsPage {
    shared: SharedPage,
    acks_early: bool,
    /// The numbers of a snapshot, and the id of their list.
    layout: (usize, u64),
}

/// What a page is opened for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    pub(crate) log: Uuid,
    pub(crate) durability: Durability,
    /// How far the log is durable.
    pub(crate) place: DurablePlace,
    /// The sequence of the newest hint, which grows with each opening too.
    pub(crate) hint_sequence: u64,
}

impl StatsPage {
    /// Takes the page over for a log that is open and recovered. Where the disk shares none, there
    /// is one that nobody sees: followers then go by the hint.
    pub(crate) fn open(disk: &dyn Disk, opening: &Opening) -> Self {
        let shared =
            disk.page(STATS, Access::Write).unwrap_or_else(|_| SharedPage::in_memory(None));
        let before = Identity::decode(&identity_words(&shared)).map_or(0, |old| old.session);
        let origin = shared.origin().unwrap_or(PageOrigin { boot: Uuid::nil(), file: 0 });
        let identity = Identity {
            log: opening.log,
            boot: origin.boot,
            file: origin.file,
            pid: std::process::id().into(),
            session: before.max(opening.hint_sequence).saturating_add(1),
            acks_early: opening.durability != Durability::Sync,
        };
        let layout = fields::layout_id();
        let page = Self { shared, acks_early: identity.acks_early, layout };
        page.change_counters(|shared| shared.store(COUNTERS_LAYOUT, 0));
        page.change(|shared| {
            for (index, word) in identity.encode().into_iter().enumerate() {
                shared.store(index, word);
            }
            store_place(shared, &opening.place);
            shared.store(STATE, OPEN);
        });
        page
    }

    /// Tells how far the log is visible, before any of it is acked.
    pub(crate) fn visible(&self, place: &DurablePlace) {
        // Visible is durable only where acks wait for the sync (R3).
        if !self.acks_early {
            self.change(|shared| store_place(shared, place));
        }
    }

    /// Tells how far the log is synced, where acks do not wait for that.
    pub(crate) fn synced(&self, place: &DurablePlace) {
        if self.acks_early && load_place(&self.shared) != *place {
            self.change(|shared| store_place(shared, place));
        }
    }

    /// Tells that the writing process lives, and whether the log has failed. Finds out whether the
    /// page can be stored to: whoever does so has beaten, or synced, right before.
    pub(crate) fn beat(&self, has_failed: bool) {
        self.shared.write(HEARTBEAT, self.shared.load(HEARTBEAT).wrapping_add(1));
        if has_failed {
            self.shared.write(STATE, FAILED);
        }
    }

    /// Tells that the log is closed. Nothing is told after it.
    pub(crate) fn close(&self) {
        // Whoever sees the log closed also sees its end.
        fence(Ordering::Release);
        self.shared.write(STATE, CLOSED);
    }

    /// Shows a snapshot to other processes.
    pub(crate) fn count(&self, stats: Stats) {
        let (_, id) = self.layout;
        let words = fields::encode(stats);
        self.change_counters(|shared| {
            for (index, word) in (COUNTERS..).zip(words) {
                // What stays as it is dirties no page that the system would have to write.
                if shared.load(index) != word {
                    shared.store(index, word);
                }
            }
            shared.store(COUNTERS_LAYOUT, id);
        });
    }

    fn change_counters(&self, change: impl FnOnce(&SharedPage)) {
        if COUNTERS + self.layout.0 <= self.shared.length() {
            change_under(&self.shared, COUNTERS_SEQUENCE, change);
        }
    }

    /// Runs a change that readers see as a whole or not at all.
    fn change(&self, change: impl FnOnce(&SharedPage)) {
        change_under(&self.shared, SEQUENCE, change);
    }
}

fn change_under(shared: &SharedPage, sequence: usize, change: impl FnOnce(&SharedPage)) {
    // Odd already where a process was stopped in the midst of a change.
    let changing = shared.load(sequence) | 1;
    shared.store(sequence, changing);
    fence(Ordering::Release);
    change(shared);
    fence(Ordering::Release);
    shared.store(sequence, changing.wrapping_add(1));
}

/// The page as another process sees it.
#[derive(Clone, Debug)]
pub(crate) struct PageReader(SharedPage);

/// What stood in a page at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// Grows with each change.
    pub(crate) sequence: u64,
    pub(crate) identity: Identity,
    pub(crate) place: DurablePlace,
}

impl PageReader {
    /// The page of a log, where there is one that may be trusted at all.
    pub(crate) fn open(disk: &dyn Disk) -> Option<Self> {
        let page = disk.page(STATS, Access::Read).ok()?;
        page.origin().map(|_| Self(page))
    }

    /// The file that the page is.
    pub(crate) fn file(&self) -> Option<u64> {
        self.0.origin().map(|origin| origin.file)
    }

    /// Differs from before when the page has changed.
    pub(crate) fn sequence(&self) -> u64 {
        self.0.load(SEQUENCE)
    }

    /// Differs from before when the writing process lives.
    pub(crate) fn heartbeat(&self) -> u64 {
        self.0.load(HEARTBEAT)
    }

    /// What the writing process is at. What it told before is seen by whoever reads it later.
    pub(crate) fn state(&self) -> u64 {
        let state = self.0.load(STATE);
        fence(Ordering::Acquire);
        state
    }

    /// What the page says of the log `log`; `None` where it is of another, of another page or
    /// another run of the system, damaged, or left in the midst of a change.
    pub(crate) fn read(&self, log: Uuid) -> Option<Told> {
        self.told().filter(|told| told.identity.log == log)
    }

    /// What the page says of whatever log it is of; `None` as for [`PageReader::read`].
    pub(crate) fn told(&self) -> Option<Told> {
        let (sequence, (words, place)) =
            self.whole(SEQUENCE, || (identity_words(&self.0), load_place(&self.0)))?;
        let identity = Identity::decode(&words).ok()?;
        let origin = PageOrigin { boot: identity.boot, file: identity.file };
        let is_own = self.0.origin() == Some(origin);
        is_own.then_some(Told { sequence, identity, place })
    }

    /// The last snapshot of the writing process.
    pub(crate) fn counted(&self) -> Counted {
        let (count, id) = fields::layout_id();
        let words = || {
            let layout = self.0.load(COUNTERS_LAYOUT);
            let count = if layout == id { count } else { 0 };
            (layout, (0..count).map(|index| self.0.load(COUNTERS + index)).collect::<Vec<_>>())
        };
        if self.0.length() < COUNTERS + count {
            return Counted::Nothing;
        }
        match self.whole(COUNTERS_SEQUENCE, words) {
            Some((_, (layout, words))) if layout == id => {
                Counted::Stats(Box::new(fields::decode(&words)))
            }
            None | Some((_, (0, _))) => Counted::Nothing,
            Some(_) => Counted::OtherVersion,
        }
    }

    /// What was read while nothing was changed under this sequence, and the sequence.
    fn whole<T>(&self, sequence: usize, read: impl Fn() -> T) -> Option<(u64, T)> {
        for _ in 0..READS_MAX {
            let before = self.0.load(sequence);
            fence(Ordering::Acquire);
            let found = read();
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.0.load(sequence) == before {
                return Some((before, found));
            }
            spin_loop();
        }
        None
    }
}

/// What another process has counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// A snapshot.
    Stats(Box<Stats>),
    /// Nothing yet, or it was stopped while it told.
    Nothing,
    /// What another version of this program counts.
    OtherVersion,
}

fn identity_words(shared: &SharedPage) -> [u64; IDENTITY_WORDS] {
    std::array::from_fn(|index| shared.load(index))
}

fn store_place(shared: &SharedPage, place: &DurablePlace) {
    shared.store(POSITION, place.position.get());
    shared.store(CHUNK, place.chunk.get());
    shared.store(DATA_END, place.end.data_end);
    shared.store(CHAIN, place.end.chain);
}

fn load_place(shared: &SharedPage) -> DurablePlace {
    DurablePlace {
        position: Position::new(shared.load(POSITION)),
        chunk: ChunkNumber::new(shared.load(CHUNK)),
        end: ChainEnd { chain: shared.load(CHAIN), data_end: shared.load(DATA_END) },
    }
}
