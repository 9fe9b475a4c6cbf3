//! Tests of crashes at every call of the disk: a log is stepped by chance over a disk that may lose
//! any sector, size and entry that is not synced, and recovers from what is left.
//!
//! Promises: a seed plays the same run again, and a moment and a choice the same image. On an
//! honest disk every image opens by itself: what was durable is there, in order, once, unchanged;
//! what was not is there whole or not at all. On a disk that lies a loss is an older state of the
//! log or a report. Cannot find what takes two threads at once, or bytes that change by themselves.

mod check;
mod explore;
mod run;
mod scripted;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::options::Durability;
use check::Loss;
use explore::{Counts, Explorer, path_to_replay};
use run::{Run, options};

/// How long the form of every day takes at most.
const TIME_MAX: Duration = Duration::from_secs(30);

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Plays runs of growing seeds on all cores, until so many images were tried.
fn campaign(test: &'static str, percent: u64, play: fn(u64, Explorer) -> Counts) -> Counts {
    let one = |seed| {
        let outcome = catch_unwind(AssertUnwindSafe(|| play(seed, Explorer::new(test, seed))));
        outcome.unwrap_or_else(|panic| {
            println!("PAPERCHASE_SEED={seed} of {test}");
            resume_unwind(panic)
        })
    };
    if let Some(seed) = variable("PAPERCHASE_SEED") {
        let counts = one(seed);
        println!("{counts:?}");
        return counts;
    }
    assert!(path_to_replay().is_none(), "a crash is replayed with its seed");
    let usual = if cfg!(debug_assertions) { 10_000 } else { 200_000 };
    let long = variable("PAPERCHASE_IMAGES");
    let images = long.unwrap_or(usual) * percent / 100;
    let (clock, next, tried) = (SystemClock::default(), AtomicU64::new(0), AtomicU64::new(0));
    let start = clock.monotonic();
    let sum = Mutex::new(Counts::default());
    let work = || {
        while tried.load(Ordering::Relaxed) < images
            && (long.is_some() || clock.monotonic() - start < TIME_MAX * percent as u32 / 100)
        {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let counts = catch_unwind(AssertUnwindSafe(|| one(seed))).unwrap_or_else(|panic| {
                tried.store(images, Ordering::Relaxed);
                resume_unwind(panic)
            });
            tried.fetch_add(counts.images(), Ordering::Relaxed);
            sum.lock().unwrap().add(&counts);
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
    let (sum, seeds) = (sum.into_inner().unwrap(), next.into_inner());
    let seconds = (clock.monotonic() - start).as_secs_f64();
    let rate = sum.images() as f64 / seconds;
    println!("{test}: {seeds} seeds, {} images, {rate:.0} a second: {sum:?}", sum.images());
    sum
}

/// A log that is opened, used, closed, killed and loses its power.
fn sessions(seed: u64, explorer: Explorer, durability: Durability) -> Counts {
    let group_size = if seed.is_multiple_of(3) { 4096 } else { 16 << 10 };
    let options = options().durability(durability).group_size(group_size);
    let mut run = Run::new(seed, options, explorer);
    for _ in 0..1 + seed % 3 {
        run.open();
        for _ in 0..20 + run.random.below(50) {
            run.operate();
        }
        match run.random.below(10) {
            0..=3 => {
                run.close();
                run.crash(true);
            }
            4..=5 => run.crash(false),
            _ => run.crash(true),
        }
    }
    run.open();
    run.append(&[9]);
    run.settle();
    run.meet_now();
    run.explorer.counts
}

#[test]
fn f11_a_crash_at_every_call_of_random_runs() {
    let counts = campaign("f11_a_crash_at_every_call_of_random_runs", 70, |seed, explorer| {
        sessions(seed, explorer, Durability::Sync)
    });
    assert!(counts.images() > 0 || path_to_replay().is_some());
}

#[test]
fn f11_a_crash_at_every_call_where_acks_do_not_wait() {
    campaign("f11_a_crash_at_every_call_where_acks_do_not_wait", 15, |seed, explorer| {
        sessions(seed, explorer, Durability::Os)
    });
}

#[test]
fn f16_a_disk_that_lies_in_random_runs() {
    let counts = campaign("f16_a_disk_that_lies_in_random_runs", 15, |seed, mut explorer| {
        explorer.lied = true;
        let mut run = Run::new(seed, options(), explorer);
        run.disk.lie_about_syncs(seed.is_multiple_of(4));
        run.open();
        for _ in 0..20 + run.random.below(60) {
            if run.random.percent(8) {
                let lies = run.random.percent(70);
                run.disk.lie_about_syncs(lies);
            }
            run.operate();
        }
        if run.random.percent(50) {
            run.close();
        }
        run.meet_now();
        run.explorer.counts
    });
    let told = counts.losses.iter().filter(|(loss, _)| **loss > Loss::Untold);
    assert!(told.count() > 0 || variable("PAPERCHASE_SEED").is_some(), "{:?}", counts.losses);
}
