//! Tests of the moments that matter most, each by itself and as far as possible with every subset
//! of what is not synced: a torn group, two groups, files that grow and begin, a roll, recovery.
//!
//! Promises: each test checks that it met what it is about. Replayed like the random runs, with
//! the seed that is printed.

use std::time::Duration;

use super::check::Loss;
use super::explore::{Counts, Explorer};
use super::run::{Run, Stage, options};
use super::variable;
use crate::disk::sim::UnitKind;

/// Plays a script once for each seed below `seeds`, or for the one that the environment names.
fn scripted(test: &'static str, seeds: u64, script: impl Fn(&mut Run, u64)) -> Counts {
    let mut sum = Counts::default();
    let named = variable("PAPERCHASE_SEED");
    for seed in named.map_or(0..seeds, |seed| seed..seed + 1) {
        let options = options().group_size(4096);
        let mut run = Run::new(seed, options, Explorer::new(test, seed));
        script(&mut run, seed);
        sum.add(&run.explorer.counts);
    }
    println!("{test}: {} images: {sum:?}", sum.images());
    sum
}

/// Whether a moment was met at which units of this kind were not synced; a replay meets one only.
fn met(counts: &Counts, kind: UnitKind) -> bool {
    counts.pending.get(&kind).is_some_and(|count| *count > 0) || counts.images() == 0
}

/// A log with one acked append, not tried so far.
fn begun(run: &mut Run) {
    run.explorer.is_paused = true;
    run.open();
    run.append(&[20]);
    run.settle();
    run.explorer.is_paused = false;
}

/// A log whose first chunk has room for 3,000 more bytes, and whose next chunk is ready.
fn nearly_full(run: &mut Run) {
    begun(run);
    run.explorer.is_paused = true;
    for _ in 0..3 {
        run.append(&[2_700]);
        run.settle();
        run.keep();
    }
    run.explorer.is_paused = false;
}

#[test]
fn f11_any_subset_of_the_sectors_of_a_group() {
    let counts = scripted("f11_any_subset_of_the_sectors_of_a_group", 1, |run, _| {
        begun(run);
        for size in [100, 700, 1_500, 2_800, 3_600] {
            run.append(&[size, 10]);
            run.settle();
        }
    });
    assert!(counts.exhaustive > 300 || counts.images() == 0, "{counts:?}");
    assert_eq!(counts.sampled, 0, "every subset is tried");
}

#[test]
fn f12_any_order_of_the_sectors_of_two_groups() {
    let counts = scripted("f12_any_order_of_the_sectors_of_two_groups", 1, |run, _| {
        begun(run);
        run.held(|run| {
            for _ in 0..3 {
                run.append(&[2_000]);
                run.step(Stage::Writer);
            }
            run.step(Stage::Writer);
            run.meet_now();
        });
        run.settle();
    });
    assert!(counts.exhaustive >= 512 || counts.images() == 0, "{counts:?}");
}

#[test]
fn f13_sizes_and_data_land_apart() {
    let counts = scripted("f13_sizes_and_data_land_apart", 2, |run, seed| {
        nearly_full(run);
        // The seal makes the full chunk longer; the hint and the next chunk are new files.
        run.append(&[3_100]);
        run.settle();
        run.keep();
        run.append(&[10; 3]);
        run.settle();
        if seed == 1 {
            run.close();
        }
        run.meet_now();
    });
    assert!(met(&counts, UnitKind::Size), "{counts:?}");
}

#[test]
fn f14_entries_that_are_lost() {
    let counts = scripted("f14_entries_that_are_lost", 2, |run, seed| {
        run.open();
        run.append(&[30, 30]);
        run.settle();
        if seed == 1 {
            run.close();
            run.crash(true);
            run.open();
        }
        for _ in 0..8 {
            run.append(&[2_500]);
            run.settle();
        }
        run.meet_now();
    });
    assert!(met(&counts, UnitKind::Entry), "{counts:?}");
}

/// Three steps in each of the orders that there are, of the stages that a roll concerns.
#[test]
fn f15_all_orders_around_a_roll() {
    let stages = [Stage::Writer, Stage::Chaser, Stage::Keeper];
    let counts = scripted("f15_all_orders_around_a_roll", 54, |run, seed| {
        nearly_full(run);
        run.append(&[3_100]);
        if seed >= 27 {
            run.append(&[900]);
        }
        for place in [1, 3, 9] {
            run.step(stages[(seed / place % 3) as usize]);
            run.pass(Duration::from_micros(600));
        }
        run.settle();
        run.keep();
        run.crash(true);
        run.open();
        run.keep();
        run.meet_now();
    });
    assert!(met(&counts, UnitKind::Size) && met(&counts, UnitKind::Sector), "{counts:?}");
}

#[test]
fn f16_a_lost_flush_is_told_where_a_mark_knows_of_it() {
    let counts = scripted("f16_a_lost_flush_is_told_where_a_mark_knows_of_it", 4, |run, seed| {
        run.explorer.lied = true;
        begun(run);
        run.disk.lie_about_syncs(true);
        for _ in 0..3 {
            run.append(&[600]);
            run.settle();
        }
        if seed % 2 == 1 {
            run.append(&[3_600, 10]);
            run.append(&[3_600, 10]);
            run.append(&[3_600, 10]);
            run.settle();
            run.keep();
        }
        run.disk.lie_about_syncs(seed < 2);
        run.pass(Duration::from_millis(200));
        run.keep();
        if seed >= 2 {
            run.close();
        }
        run.meet_now();
    });
    let told = |loss| counts.losses.get(&loss).is_some_and(|count| *count > 0);
    let all = [Loss::LostData, Loss::Corrupt, Loss::MissingChunk];
    assert!(all.into_iter().all(told) || counts.images() == 0, "{counts:?}");
}

#[test]
fn f03_recovery_loses_its_power_at_each_call() {
    let counts = scripted("f03_recovery_loses_its_power_at_each_call", 3, |run, seed| {
        (run.explorer.nested_one_in, run.explorer.killed_one_in) = (40, 1);
        if seed == 0 {
            run.open();
            return run.meet_now();
        }
        nearly_full(run);
        run.append(&[if seed == 1 { 2_000 } else { 3_100 }]);
        run.step(Stage::Writer);
        run.step(Stage::Keeper);
        run.step(Stage::Writer);
        run.meet_now();
    });
    assert!(counts.nested.iter().all(|images| *images > 0) || counts.images() == 0, "{counts:?}");
}
