//! Tests of the whole log against the model: random sequences of all operations, with stages that
//! are stepped in any order, clean closes, kills and losses of power.
//!
//! Promises: a seed plays the same sequence again. Every answer and every read is compared with the
//! model's. What was acked is there after a crash; what was not is there whole or not at all, in
//! order.

mod answers;
mod subscribed;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::random::Random;
use world::World;

/// How often what happened. The names of rows are those of `docs/conditions.md`.
type Tally = BTreeMap<&'static str, u64>;

/// What every campaign meets; otherwise it proves less than it says.
const MET: [&str; 26] = [
    "C02", "C03", "C04", "C06", "C16", "C20", "C21", "C22", "C23", "C30", "C31", "C32", "C34",
    "C40", "C41", "C44", "C50", "C52", "C53", "C60", "C61", "busy", "close", "kill", "power",
    "roll",
];

/// Most operations of a sequence that bytes decide.
const OPERATIONS_MAX: u64 = 200;

/// Plays the sequence of a seed.
fn play(seed: u64, told: bool) -> Tally {
    let operations = 20 + Random::new(seed).below(41);
    World::new(seed, told).play(operations)
}

/// Plays the sequence that these bytes mean.
pub(crate) fn play_bytes(data: &[u8]) {
    World::of(Random::of_bytes(data), false).play(OPERATIONS_MAX);
}

pub(super) fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn the_log_agrees_with_the_model() {
    if let Some(seed) = variable("PAPERCHASE_SEED") {
        println!("{:?}", play(seed, true));
        return;
    }
    let usual = if cfg!(debug_assertions) { 3_000 } else { 20_000 };
    let sequences = variable("PAPERCHASE_SEQUENCES").unwrap_or(usual);
    let (next, tally) = (AtomicU64::new(0), Mutex::new(Tally::new()));
    let work = || {
        while let seed = next.fetch_add(1, Ordering::Relaxed)
            && seed < sequences
        {
            match catch_unwind(AssertUnwindSafe(|| play(seed, false))) {
                Ok(of_one) => {
                    let mut tally = tally.lock().unwrap();
                    of_one.iter().for_each(|(what, n)| *tally.entry(what).or_default() += n);
                }
                Err(panic) => {
                    next.store(sequences, Ordering::Relaxed);
                    println!("PAPERCHASE_SEED={seed}");
                    resume_unwind(panic);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
    let tally = tally.into_inner().unwrap();
    println!("{sequences} sequences: {tally:?}");
    let missed: Vec<_> = MET.iter().filter(|what| !tally.contains_key(*what)).collect();
    assert!(missed.is_empty() || sequences < usual, "no sequence met {missed:?}");
}
