//! Owns the ways in which a log can crash at one moment: which images of the disk are tried, and
//! how each is named so that it can be tried again.
//!
//! Promises: all images that differ where they are at most 4096, the special ones and a seeded
//! sample where they are more; of some also each call of their recovery as a further crash, to
//! depth 3. A failure prints the command that plays this one image again.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::check::{Claim, Loss, judge, revive};
use crate::disk::sim::{Landed, SimDisk, UnitKind, all_choices, count_choices, special_choices};
use crate::log::tests::random::Random;

/// Most choices that are all tried.
const ALL_MAX: u64 = 4096;
/// How many samples are tried where there are more.
const SAMPLES: u64 = 40;
/// The same for a crash within recovery.
const NESTED_ALL_MAX: u64 = 8;
const NESTED_SAMPLES: u64 = 4;
const DEPTH_MAX: usize = 3;

/// What was tried.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) moments: u64,
    /// Images by how they were chosen.
    pub(super) exhaustive: u64,
    pub(super) special: u64,
    pub(super) sampled: u64,
    /// Images with all that was written, of which something is not durable.
    pub(super) killed: u64,
    /// Images of crashes within recovery, by depth.
    pub(super) nested: [u64; DEPTH_MAX],
    /// Moments at which units of a kind were not synced.
    pub(super) pending: BTreeMap<UnitKind, u64>,
    /// What became of images of disks that lied.
    pub(super) losses: BTreeMap<Loss, u64>,
}

impl Counts {
    pub(super) fn images(&self) -> u64 {
        self.exhaustive
            + self.special
            + self.sampled
            + self.killed
            + self.nested.iter().sum::<u64>()
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.moments += other.moments;
        self.exhaustive += other.exhaustive;
        self.special += other.special;
        self.sampled += other.sampled;
        self.killed += other.killed;
        self.nested.iter_mut().zip(other.nested).for_each(|(sum, n)| *sum += n);
        other.pending.iter().for_each(|(kind, n)| *self.pending.entry(*kind).or_default() += n);
        other.losses.iter().for_each(|(loss, n)| *self.losses.entry(*loss).or_default() += n);
    }
}

/// What a crash left.
#[derive(Clone, Debug)]
pub(super) enum Left {
    /// All that was written: the process ended, and the power did not.
    All,
    /// What was synced and what of the rest landed.
    Landed(Landed),
}

impl Left {
    fn of(&self, disk: &SimDisk) -> SimDisk {
        match self {
            Self::All => disk.killed(),
            Self::Landed(landed) => disk.crash(landed),
        }
    }
}

/// A moment and what was left, then the same within the recovery from that, and so on.
pub(super) type Path = Vec<(u64, Left)>;

/// How all that was written is named in a path.
const ALL: &str = "all";

/// The path that the environment names.
pub(super) fn path_to_replay() -> Option<Path> {
    let text = std::env::var("PAPERCHASE_CRASH").ok()?;
    let parts = text.split('/').map(|part| {
        let (moment, left) = part.split_once(':').expect("a crash is named moment:landed");
        let left = match left {
            ALL => Left::All,
            landed => Left::Landed(landed.parse().expect("landed is hexadecimal")),
        };
        (moment.parse().expect("a moment is a number"), left)
    });
    Some(parts.collect())
}

fn text_of(path: &Path) -> String {
    let parts = path.iter().map(|(moment, left)| match left {
        Left::All => format!("{moment}:{ALL}"),
        Left::Landed(landed) => format!("{moment}:{landed}"),
    });
    parts.collect::<Vec<_>>().join("/")
}

/// Tries the crashes of one run.
pub(super) struct Explorer {
    test: &'static str,
    seed: u64,
    random: Random,
    replayed: Option<Path>,
    /// The disk may have lied.
    pub(super) lied: bool,
    /// One image in so many is crashed again while it recovers.
    pub(super) nested_one_in: u64,
    /// At one moment in so many the process ends and the power fails while it recovers.
    pub(super) killed_one_in: u64,
    /// Moments are counted and not tried.
    pub(super) is_paused: bool,
    pub(super) counts: Counts,
    /// Of the last moment: what was durable, the floor, and how many units there were.
    last: Option<(u64, u64, usize)>,
    path: Path,
}

impl Explorer {
    pub(super) fn new(test: &'static str, seed: u64) -> Self {
        Self {
            test,
            seed,
            random: Random::new(!seed),
            replayed: path_to_replay(),
            lied: false,
            nested_one_in: 300,
            killed_one_in: 10,
            is_paused: false,
            counts: Counts::default(),
            last: None,
            path: Path::new(),
        }
    }

    /// Forgets the last moment, whose units are not those of the next.
    pub(super) fn begin_session(&mut self) {
        self.last = None;
    }

    /// Tries what a loss of power at this moment may leave.
    pub(super) fn meet(&mut self, disk: &SimDisk, claim: &Claim<'_>) {
        let units = disk.units();
        let now = (disk.effective_syncs(), claim.floor, units.len());
        if self.last == Some(now) {
            return;
        }
        // What was tried at the last moment need not be tried again.
        let fresh = match self.last.replace(now) {
            Some((syncs, floor, known)) if (syncs, floor) == (now.0, now.1) => known,
            _ => 0,
        };
        let moment = self.counts.moments;
        self.counts.moments += 1;
        if let Some(path) = self.replayed.clone() {
            if path[0].0 == moment {
                self.replay(disk, claim, &path, 0);
            }
            return;
        }
        if self.is_paused {
            self.last = None;
            return;
        }
        for kind in [UnitKind::Entry, UnitKind::Size, UnitKind::Sector] {
            *self.counts.pending.entry(kind).or_default() += u64::from(units.contains(&kind));
        }
        let is_new =
            |landed: &Landed| fresh == 0 || (fresh..units.len()).any(|unit| landed.contains(unit));
        if !self.lied && !units.is_empty() && self.random.below(self.killed_one_in) == 0 {
            self.counts.killed += 1;
            self.try_one(disk, claim, (moment, Left::All));
        }
        let places = disk.places();
        if count_choices(&places).is_some_and(|count| count <= ALL_MAX) {
            for landed in all_choices(&places).filter(is_new) {
                self.counts.exhaustive += 1;
                self.try_one(disk, claim, (moment, Left::Landed(landed)));
            }
            return;
        }
        for landed in special_choices(&units, || self.random.number()).into_iter().filter(is_new) {
            self.counts.special += 1;
            self.try_one(disk, claim, (moment, Left::Landed(landed)));
        }
        for _ in 0..SAMPLES {
            let landed = Landed::sample(units.len(), || self.random.number());
            self.counts.sampled += 1;
            self.try_one(disk, claim, (moment, Left::Landed(landed)));
        }
    }

    fn try_one(&mut self, disk: &SimDisk, claim: &Claim<'_>, case: (u64, Left)) {
        let image = case.1.of(disk);
        let was_durable = matches!(case.1, Left::Landed(_));
        self.path.push(case);
        self.judge(&image, claim, was_durable);
        self.path.pop();
    }

    /// Judges an image, and sometimes crashes it again within its recovery: always where something
    /// of it is not durable.
    fn judge(&mut self, image: &SimDisk, claim: &Claim<'_>, was_durable: bool) {
        let depth = self.path.len();
        if self.lied {
            let loss = self.guarded(|| judge(image, claim));
            *self.counts.losses.entry(loss).or_default() += 1;
            return;
        }
        let chosen = !was_durable || self.random.below(self.nested_one_in) == 0;
        let nested = depth <= DEPTH_MAX && chosen;
        if nested {
            image.record();
        }
        let revived = self.guarded(|| revive(image, claim, depth));
        if nested {
            for (number, disk) in revived.moments.iter().enumerate() {
                self.nest(disk, &revived.claim(claim, number, was_durable), number as u64);
            }
        }
    }

    /// Tries some of what a loss of power within recovery may leave.
    fn nest(&mut self, disk: &SimDisk, claim: &Claim<'_>, moment: u64) {
        let places = disk.places();
        let depth = self.path.len() - 1;
        let choices: Vec<_> = match count_choices(&places) {
            Some(count) if count <= NESTED_ALL_MAX => all_choices(&places).collect(),
            _ => {
                let units = disk.units().len();
                let some = [Landed::none(), Landed::all(units)].into_iter();
                let sample = |_| Landed::sample(units, || self.random.number());
                some.chain((0..NESTED_SAMPLES).map(sample)).collect()
            }
        };
        for landed in choices {
            self.counts.nested[depth] += 1;
            self.try_one(disk, claim, (moment, Left::Landed(landed)));
        }
    }

    fn replay(&mut self, disk: &SimDisk, claim: &Claim<'_>, path: &Path, depth: usize) {
        let (moment, left) = &path[depth];
        for unit in 0..disk.units().len() {
            let fate = match left {
                Left::All => "is written",
                Left::Landed(landed) if landed.contains(unit) => "landed",
                Left::Landed(_) => "is lost",
            };
            println!("{moment}: {} {fate}", disk.describe(unit));
        }
        println!("of {} events {} must be there", claim.sent.len(), claim.floor);
        let image = left.of(disk);
        self.path.push(path[depth].clone());
        if self.lied {
            println!("{:?}", self.guarded(|| judge(&image, claim)));
            return;
        }
        image.record();
        let revived = self.guarded(|| revive(&image, claim, depth + 1));
        println!("opened with {} events", revived.sent.len() - 1);
        let Some((next, _)) = path.get(depth + 1) else { return };
        let (next, was_durable) = (*next as usize, matches!(left, Left::Landed(_)));
        let claim = revived.claim(claim, next, was_durable);
        self.replay(&revived.moments[next], &claim, path, depth + 1);
    }

    /// Runs a judgement; when it fails, tells how to see it again.
    fn guarded<T>(&self, judgement: impl FnOnce() -> T) -> T {
        catch_unwind(AssertUnwindSafe(judgement)).unwrap_or_else(|panic| {
            let (seed, crash, test) = (self.seed, text_of(&self.path), self.test);
            println!(
                "PAPERCHASE_SEED={seed} PAPERCHASE_CRASH={crash} \
                 cargo test --release --lib --all-features {test} -- --nocapture"
            );
            resume_unwind(panic)
        })
    }
}
