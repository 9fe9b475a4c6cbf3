//! Repairs in whose midst the power fails: at each call that changes something, with all or some of
//! the sets of units that are not synced yet, and sometimes once more within the repair after that.
//!
//! Promises: what is left is refused, or holds what the damaged log or the repaired one holds; a
//! second repair finishes; every event that was readable is in the log or in a whole file of
//! salvaged events. Cannot find what a disk does that lies about syncs.

use std::collections::BTreeSet;

use super::super::apply;
use super::super::plan::Plan;
use super::cut_short::{DAMAGES, EVENTS, content, look, open, repair, salvaged, sound};
use crate::disk::sim::{Landed, SimDisk, all_choices, count_choices, special_choices};

/// Most choices that are all tried at one moment.
const ALL_MAX: u64 = 16;
/// How many of the special ones, and how many samples, are tried where there are more.
const SOME: usize = 6;
/// One image in so many loses the power again while it is repaired.
const AGAIN_ONE_IN: u64 = 40;

/// Numbers by chance (splitmix64).
struct Chance(u64);

impl Chance {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

/// What a damaged log holds, and what of it must be there in the end.
struct Claim {
    before: Option<Vec<Option<u8>>>,
    after: Vec<Option<u8>>,
    readable: BTreeSet<u64>,
}

/// The states of the disk before each call of a repair that changes something, and behind the last.
fn moments(damaged: &SimDisk) -> Vec<SimDisk> {
    let disk = damaged.snapshot();
    let (survey, plan) = look(&disk);
    disk.record();
    apply::apply(&disk, survey.log.unwrap(), &plan, &mut Vec::new()).unwrap();
    let mut moments = disk.take_recorded();
    moments.push(disk);
    moments
}

fn choices(disk: &SimDisk, chance: &mut Chance) -> Vec<Landed> {
    let places = disk.places();
    if count_choices(&places).is_some_and(|count| count <= ALL_MAX) {
        return all_choices(&places).collect();
    }
    let units = disk.units();
    let mut special = special_choices(&units, || chance.number());
    let some = (0..SOME).map(|_| special.swap_remove(chance.number() as usize % special.len()));
    let mut choices = vec![Landed::none(), Landed::all(units.len())];
    choices.extend(some);
    choices.extend((0..SOME).map(|_| Landed::sample(units.len(), || chance.number())));
    choices
}

/// Loses the power at every moment of a repair; how many images there were.
fn explore(damaged: &SimDisk, claim: &Claim, chance: &mut Chance, (depth, at): (u32, &str)) -> u64 {
    let (mut images, mut known) = (0, None);
    for (number, disk) in moments(damaged).iter().enumerate() {
        let now = (disk.effective_syncs(), disk.units().len());
        if known.replace(now) == Some(now) {
            continue;
        }
        for landed in choices(disk, chance) {
            let at = format!("{at}, moment {number}, landed {landed}");
            let image = disk.crash(&landed);
            let is_again = depth > 0 && chance.number().is_multiple_of(AGAIN_ONE_IN);
            if is_again && look(&image).1 != Plan::default() {
                images += explore(&image, claim, chance, (depth - 1, &at));
            }
            judge(&image, claim, &at);
            images += 1;
        }
    }
    images
}

fn judge(image: &SimDisk, claim: &Claim, at: &str) {
    let Claim { before, after, readable } = claim;
    let found = content(image).ok();
    let is_fine = found.is_none() || found == *before || found.as_ref() == Some(after);
    assert!(is_fine, "{at}: {found:?}");
    assert!(repair(image, u64::MAX).0, "{at}: the second repair ends");
    assert_eq!(content(image).unwrap(), *after, "{at}");
    let mut kept = salvaged(image);
    kept.extend(0..after.len() as u64);
    assert!(kept.is_superset(readable), "{at}: {:?}", readable.difference(&kept));
    open(image).unwrap().close().unwrap();
    assert_eq!(look(image).1, Plan::default(), "{at}: nothing is left to do");
}

/// The positions of all events that are in the log or are salvaged when nothing comes between.
fn readable(damaged: &SimDisk, stay: usize) -> BTreeSet<u64> {
    let disk = damaged.snapshot();
    assert!(repair(&disk, u64::MAX).0);
    let mut readable = salvaged(&disk);
    readable.extend(0..stay as u64);
    readable
}

#[test]
fn a_repair_that_loses_its_power_anywhere_is_finished_by_the_next() {
    let seed = std::env::var("PAPERCHASE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(7);
    println!("PAPERCHASE_SEED={seed}");
    let (sound, mut chance, mut images) = (sound(), Chance(seed), 0);
    let whole = content(&sound).unwrap();
    assert_eq!(whole.len() as u64, EVENTS);
    for (what, damage, stay) in DAMAGES {
        for has_hint in [true, false] {
            let damaged = sound.snapshot();
            damage(&damaged);
            if !has_hint {
                damaged.remove("hint");
            }
            let claim = Claim {
                before: content(&damaged).ok(),
                after: whole[..stay].to_vec(),
                readable: readable(&damaged, stay),
            };
            let at = format!("{what}, hint {has_hint}");
            images += explore(&damaged, &claim, &mut chance, (1, &at));
        }
    }
    println!("{images} images");
    assert!(images > 500, "{images}");
}
