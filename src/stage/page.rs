//! Owns the shared page of a log: how far it may be read and that its writer lives, told to other
//! processes without a call of the operating system.
//!
//! Promises: a reader sees an identity and an end that were written together, or none. Publishing
//! is a few stores: no lock, no allocation, no call. A page is only trusted by its own machine, in
//! the run in which it was written. Assumes one writing process, and one thread at a time that
//! publishes. Never tells of an event that is not durable.

use uuid::Uuid;

use crate::chunk::supply::DurablePlace;
use crate::disk::map::PageOrigin;
use crate::disk::{Access, Disk, SharedPage};
use crate::format::header::ChainEnd;
use crate::format::stats::{
    CHAIN, CHUNK, CLOSED, DATA_END, FAILED, HEARTBEAT, IDENTITY_WORDS, Identity, OPEN, POSITION,
    SEQUENCE, STATE,
};
use crate::options::Durability;
use crate::position::{ChunkNumber, Position};
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
        let page = Self { shared, acks_early: identity.acks_early };
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

    /// Tells that the writing process lives, and whether the log has failed.
    pub(crate) fn beat(&self, has_failed: bool) {
        self.shared.store(HEARTBEAT, self.shared.load(HEARTBEAT).wrapping_add(1));
        if has_failed {
            self.shared.store(STATE, FAILED);
        }
    }

    /// Tells that the log is closed. Nothing is told after it.
    pub(crate) fn close(&self) {
        // Whoever sees the log closed also sees its end.
        fence(Ordering::Release);
        self.shared.store(STATE, CLOSED);
    }

    /// Runs a change that readers see as a whole or not at all.
    fn change(&self, change: impl FnOnce(&SharedPage)) {
        // Odd already where a process was stopped in the midst of a change.
        let changing = self.shared.load(SEQUENCE) | 1;
        self.shared.store(SEQUENCE, changing);
        fence(Ordering::Release);
        change(&self.shared);
        fence(Ordering::Release);
        self.shared.store(SEQUENCE, changing.wrapping_add(1));
    }
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
        for _ in 0..READS_MAX {
            let sequence = self.0.load(SEQUENCE);
            fence(Ordering::Acquire);
            let (words, place) = (identity_words(&self.0), load_place(&self.0));
            fence(Ordering::Acquire);
            if sequence.is_multiple_of(2) && self.0.load(SEQUENCE) == sequence {
                let identity = Identity::decode(&words).ok()?;
                let origin = PageOrigin { boot: identity.boot, file: identity.file };
                let is_own = identity.log == log && self.0.origin() == Some(origin);
                return is_own.then_some(Told { sequence, identity, place });
            }
            spin_loop();
        }
        None
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::sim::SimDisk;

    const LOG: Uuid = Uuid::from_u128(5);

    fn place(position: u64) -> DurablePlace {
        DurablePlace {
            position: Position::new(position),
            chunk: ChunkNumber::new(position / 10),
            end: ChainEnd { chain: !position, data_end: position * 8 },
        }
    }

    fn open(disk: &SimDisk, durability: Durability) -> StatsPage {
        let opening = Opening { log: LOG, durability, place: place(3), hint_sequence: 4 };
        StatsPage::open(disk, &opening)
    }

    #[test]
    fn what_is_told_is_read_with_who_tells_it() {
        let disk = SimDisk::new();
        assert!(PageReader::open(&disk).is_none());
        let page = open(&disk, Durability::Sync);
        let reader = PageReader::open(&disk).unwrap();
        let first = reader.read(LOG).unwrap();
        assert_eq!((first.place, first.identity.session), (place(3), 5));
        assert_eq!(reader.read(Uuid::from_u128(6)), None);
        page.visible(&place(17));
        let second = reader.read(LOG).unwrap();
        assert_eq!((second.place, second.identity), (place(17), first.identity));
        assert!(second.sequence > first.sequence);
        let again = open(&disk, Durability::Sync);
        assert_eq!(reader.read(LOG).unwrap().identity.session, 6);
        again.close();
        assert_eq!(reader.state(), CLOSED);
    }

    #[test]
    fn acks_that_do_not_wait_for_the_sync_tell_nothing() {
        let disk = SimDisk::new();
        let page = open(&disk, Durability::Os);
        let reader = PageReader::open(&disk).unwrap();
        page.visible(&place(17));
        assert_eq!(reader.read(LOG).unwrap().place, place(3));
        page.synced(&place(9));
        let told = reader.read(LOG).unwrap();
        assert_eq!((told.place, told.identity.acks_early), (place(9), true));
    }

    #[test]
    fn a_page_left_in_the_midst_of_a_change_says_nothing() {
        let disk = SimDisk::new();
        let page = open(&disk, Durability::Sync);
        let reader = PageReader::open(&disk).unwrap();
        page.change(|_| assert_eq!(reader.read(LOG), None));
        let sequence = reader.sequence();
        page.shared.store(SEQUENCE, sequence + 1);
        assert_eq!(reader.read(LOG), None);
        page.visible(&place(4));
        assert_eq!(reader.read(LOG).unwrap().place, place(4));
        assert_eq!(reader.sequence(), sequence + 2);
    }

    #[test]
    fn no_reader_sees_half_of_a_change() {
        let disk = SimDisk::new();
        let page = open(&disk, Durability::Sync);
        let reader = PageReader::open(&disk).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| (3..20_000).for_each(|position| page.visible(&place(position))));
            let mut last = 0;
            while last < 19_999 {
                let Some(told) = reader.read(LOG) else { continue };
                assert_eq!(told.place, place(told.place.position.get()));
                assert!(told.place.position.get() >= last);
                last = told.place.position.get();
            }
        });
    }
}
