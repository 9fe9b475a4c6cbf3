//! Owns the loss of power on real file systems: F03, F11 and F14.
//!
//! A load runs on a disk that logs its writes and flushes. Then states of the disk are made from
//! that log, each is mounted, and the log of events in it is opened and compared with what was
//! acked by then. A state is the one at a flush (F14), or has besides any part of what was written
//! after that flush (F11): each write whole, not at all, or in some of its sectors. Half of these
//! points lie where the log is opened and closed and begins chunks. Recovery runs on such a disk
//! too, and the power is lost again (F03). `PAPERCHASE_POINTS=1000` tries so many points per test.

use super::disk::{FailingDisk, Kind, Place};
use super::load::{self, Mark, Run};
use super::medium::{Entry, Medium};
use crate::support::Random;

const APPENDS: u64 = 600;
/// How often the power is lost again in each recovery.
const AGAIN: usize = 5;
const SECTOR: usize = 512;
/// File systems assume that a disk writes their super block whole, which lies before this place.
const SUPER_BLOCKS: u64 = 128 << 10;

/// What a load left behind.
struct Recording {
    place: Place,
    log: Vec<Entry>,
    run: Run,
    /// The places in the log of all flushes.
    flushes: Vec<usize>,
}

impl Recording {
    fn new(kind: Kind) -> Option<Self> {
        let place = Place::new(kind)?;
        let disk = FailingDisk::start(&place);
        let run = load::run(&disk, APPENDS);
        let log = disk.log();
        drop(disk);
        Some(Self::of(place, log, run))
    }

    fn of(place: Place, log: Vec<Entry>, run: Run) -> Self {
        let flushes = (0..log.len()).filter(|at| log[*at] == Entry::Flush).collect();
        Self { place, log, run, flushes }
    }

    /// What happens when the power comes back to a state of this one: the file system recovers, and
    /// the log in it.
    fn recovered(&self, medium: &Medium, end: usize) -> Self {
        let place = Place::with(self.place.kind, medium);
        let disk = FailingDisk::start(&place);
        let run = load::recover(&disk, self.acked(end));
        let log = disk.log();
        drop(disk);
        Self::of(place, log, run)
    }

    /// How many appends a disk must have that has done everything before `end`. What a mark states
    /// rests on a flush that was answered before, so it counts from the last such flush on.
    fn acked(&self, end: usize) -> u64 {
        let rests_on = |mark: &Mark| self.flushes.partition_point(|at| *at < mark.entries);
        let done = self.flushes.partition_point(|at| *at < end);
        let acked = self.run.marks.iter().rev().find(|mark| rests_on(mark) <= done);
        acked.map_or(0, |mark| mark.appends)
    }

    fn check(&self, medium: &Medium, end: usize, figures: &mut Figures) {
        let mounted = self.place.mount(medium);
        let acked = self.acked(end);
        let found = load::check(&mounted.log(), acked);
        mounted.unmount();
        figures.points += 1;
        figures.acked += acked;
        figures.unacked += found.appends - acked;
        figures.cut += u64::from(found.report.cut.is_some());
        figures.resealed += found.report.resealed;
    }

    /// A place behind a flush, or the begin: half of them near a turn of the run.
    fn behind_any_flush(&self, random: &mut Random) -> usize {
        let count = self.flushes.len() as u64;
        let flushes = if random.below(2) == 0 {
            random.below(count + 1)
        } else {
            let turn = self.run.turns[random.below(self.run.turns.len() as u64) as usize];
            let before = self.flushes.partition_point(|at| *at < turn) as u64;
            (before + random.below(13)).saturating_sub(8).min(count)
        };
        flushes.checked_sub(1).map_or(0, |last| self.flushes[last as usize] + 1)
    }

    /// Any state that the disk may be left in, and where the flushed part of the log ends.
    fn any_state(&self, random: &mut Random) -> (Medium, usize) {
        let begin = self.behind_any_flush(random);
        let next = self.flushes.iter().find(|flush| **flush >= begin);
        let end = next.map_or(self.log.len(), |next| *next);
        let mut medium = self.place.medium();
        self.log[..begin].iter().for_each(|entry| medium.apply(entry));
        let chance = random.below(101);
        for entry in &self.log[begin..end] {
            land(&mut medium, entry, chance, random);
        }
        println!("behind entry {begin}, up to {end}, {chance} of 100");
        (medium, begin)
    }

    fn tell(&self, kind: Kind, what: &str, figures: &Figures) {
        println!(
            "{kind:?}, {what}: {} entries with {} flushes, {} chunks; {figures:?}",
            self.log.len(),
            self.flushes.len(),
            self.run.chunks,
        );
    }
}

#[derive(Debug, Default)]
struct Figures {
    points: u64,
    acked: u64,
    unacked: u64,
    cut: u64,
    resealed: u64,
}

fn points(kind: Kind) -> usize {
    let few = if kind == Kind::Ext4 { 40 } else { 15 };
    std::env::var("PAPERCHASE_POINTS").map_or(few, |points| points.parse().unwrap())
}

/// Every flush, or as many of them as points are wanted, evenly spread.
fn at_flushes(kind: Kind) {
    let Some(recording) = Recording::new(kind) else { return };
    let mut figures = Figures::default();
    let count = recording.flushes.len();
    let step = count.div_ceil(points(kind)).max(1);
    let mut medium = recording.place.medium();
    let mut done = 0;
    for flush in (0..count).rev().step_by(step).collect::<Vec<_>>().into_iter().rev() {
        let end = recording.flushes[flush] + 1;
        recording.log[done..end].iter().for_each(|entry| medium.apply(entry));
        done = end;
        println!("at entry {end} of {}", recording.log.len());
        recording.check(&medium, end, &mut figures);
    }
    recording.tell(kind, "at flushes", &figures);
    assert!(figures.acked > 0, "no point has an acked append");
}

/// States between two flushes.
fn between_flushes(kind: Kind) {
    let Some(recording) = Recording::new(kind) else { return };
    let mut random = Random::new();
    let mut figures = Figures::default();
    for _ in 0..points(kind) {
        let (medium, begin) = recording.any_state(&mut Random::with(random.next()));
        recording.check(&medium, begin, &mut figures);
    }
    recording.tell(kind, "between flushes", &figures);
}

/// The power is lost, and again while the log recovers from that, or soon after.
fn again_while_recovering(kind: Kind) {
    let Some(recording) = Recording::new(kind) else { return };
    let mut random = Random::new();
    let mut figures = Figures::default();
    for _ in 0..points(kind).div_ceil(AGAIN) {
        let mut random = Random::with(random.next());
        let (medium, begin) = recording.any_state(&mut random);
        let recovered = recording.recovered(&medium, begin);
        for _ in 0..AGAIN {
            let (medium, begin) = recovered.any_state(&mut random);
            recovered.check(&medium, begin, &mut figures);
        }
    }
    recording.tell(kind, "twice", &figures);
}

/// Some of a write reaches the medium: all of it with this chance in percent, and now and then some
/// of its sectors.
pub(crate) fn land(medium: &mut Medium, entry: &Entry, chance: u64, random: &mut Random) {
    let Entry::Write { offset, bytes } = entry else { return };
    let is_torn = random.below(4) == 0 && *offset >= SUPER_BLOCKS;
    let piece = if is_torn { SECTOR } else { bytes.len() };
    for (at, part) in (*offset..).step_by(piece).zip(bytes.chunks(piece)) {
        if random.below(100) < chance {
            medium.write(at, part);
        }
    }
}

#[test]
fn f03_power_is_lost_again_while_recovering_on_ext4() {
    again_while_recovering(Kind::Ext4);
}

#[test]
fn f03_power_is_lost_again_while_recovering_on_xfs() {
    again_while_recovering(Kind::Xfs);
}

#[test]
fn f03_power_is_lost_again_while_recovering_on_btrfs() {
    again_while_recovering(Kind::Btrfs);
}

#[test]
fn f11_any_unsynced_writes_land_on_ext4() {
    between_flushes(Kind::Ext4);
}

#[test]
fn f11_any_unsynced_writes_land_on_xfs() {
    between_flushes(Kind::Xfs);
}

#[test]
fn f11_any_unsynced_writes_land_on_btrfs() {
    between_flushes(Kind::Btrfs);
}

#[test]
fn f14_power_is_lost_at_each_flush_of_ext4() {
    at_flushes(Kind::Ext4);
}

#[test]
fn f14_power_is_lost_at_each_flush_of_xfs() {
    at_flushes(Kind::Xfs);
}

#[test]
fn f14_power_is_lost_at_each_flush_of_btrfs() {
    at_flushes(Kind::Btrfs);
}
