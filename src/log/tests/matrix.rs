//! The error matrix: every call that a script makes of the disk fails, in turn, with every error,
//! once, for ever, and with all calls after it.
//!
//! Promises: all numbers of calls are tried, and all kinds of calls of all paths are met. It finds
//! wrong answers to errors; it does not find what only threads can bring about, or files of a real
//! system.

mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::faulty::{Call, Kind, Part, Plan, Spell};
use run::Run;

/// The errors, by number and name.
const ERRORS: [(i32, &str); 8] = [
    (5, "EIO"),
    (28, "ENOSPC"),
    (122, "EDQUOT"),
    (4, "EINTR"),
    (11, "EAGAIN"),
    (30, "EROFS"),
    (24, "EMFILE"),
    (12, "ENOMEM"),
];
const SPELLS: [Spell; 3] = [Spell::Once, Spell::Always, Spell::FromThen];
const PARTS: [Part; 4] = [Part::Byte, Part::Sector, Part::Half, Part::AllButAByte];

/// What the scripts meet; otherwise the matrix proves less than it says.
const MET: [(&str, Kind); 33] = [
    ("append", Kind::WriteAt),
    ("flush", Kind::SyncData),
    ("roll", Kind::WriteAt),
    ("open", Kind::Create),
    ("open", Kind::Open),
    ("open", Kind::List),
    ("open", Kind::SyncDirectory),
    ("open", Kind::Lock),
    ("open", Kind::Page),
    ("open", Kind::Size),
    ("open", Kind::ReadAt),
    ("open", Kind::WriteAt),
    ("open", Kind::Grow),
    ("open", Kind::SyncData),
    ("open", Kind::NextData),
    ("open", Kind::NextHole),
    ("open", Kind::Map),
    ("prepare", Kind::Create),
    ("prepare", Kind::Open),
    ("prepare", Kind::SyncDirectory),
    ("prepare", Kind::Size),
    ("prepare", Kind::WriteAt),
    ("prepare", Kind::Grow),
    ("prepare", Kind::SyncData),
    ("prepare", Kind::Map),
    ("seal", Kind::Open),
    ("seal", Kind::Size),
    ("seal", Kind::WriteAt),
    ("seal", Kind::SyncData),
    ("seal", Kind::Map),
    ("hint", Kind::WriteAt),
    ("close", Kind::WriteAt),
    ("close", Kind::SyncData),
];

/// A script: what happens before anything fails, and what happens then.
struct Script {
    name: &'static str,
    before: fn() -> Run,
    then: fn(&mut Run),
}

const SCRIPTS: [Script; 7] = [
    Script { name: "create", before: Run::new, then: |run| appends(run, &[10, 700, 10, 10]) },
    Script {
        name: "roll and seal",
        before: || closed(&[20_000, 15_000]),
        then: |run| appends(run, &[9_000, 25_000, 40_000, 9_000]),
    },
    Script { name: "reopen, closed", before: two_chunks, then: |run| appends(run, &[10]) },
    Script { name: "reopen, torn", before: torn, then: |run| appends(run, &[10, 900]) },
    Script { name: "reopen, not sealed", before: not_sealed, then: |run| appends(run, &[10, 900]) },
    Script { name: "reopen, index lost", before: index_lost, then: |run| appends(run, &[10, 900]) },
    Script { name: "reopen, torn roll", before: torn_roll, then: |run| appends(run, &[10, 900]) },
];

fn appends(run: &mut Run, sizes: &[usize]) {
    if let Some(engine) = run.append(sizes) {
        run.close(engine);
    }
}

fn closed(sizes: &[usize]) -> Run {
    let mut run = Run::new();
    run.healthy(sizes);
    let disk = run.disk.seen();
    run.on(disk)
}

fn two_chunks() -> Run {
    closed(&[20_000, 30_000, 30_000])
}

/// Killed in the midst of a write.
fn torn() -> Run {
    let mut run = closed(&[500]);
    drop(run.append(&[600]));
    let disk = run.disk.seen();
    let mut chunk = disk.read_file("chunk-0000000000").unwrap();
    let end = chunk.iter().rposition(|byte| *byte != 0).unwrap().next_multiple_of(8);
    chunk[end..end + 300].fill(9);
    disk.write_file("chunk-0000000000", chunk);
    run.on(disk)
}

/// Killed before a full chunk was sealed.
fn not_sealed() -> Run {
    let run = two_chunks();
    let disk = run.disk.seen();
    let mut chunk = disk.read_file("chunk-0000000000").unwrap();
    let footer = chunk.len() - 4096;
    chunk[footer..].fill(0);
    disk.write_file("chunk-0000000000", chunk);
    run.on(disk)
}

/// A section of the index of a sealed chunk is damaged, and is made again from the events.
fn index_lost() -> Run {
    let run = two_chunks();
    let disk = run.disk.seen();
    let mut chunk = disk.read_file("chunk-0000000000").unwrap();
    let bytes = &chunk[chunk.len() - 4096..];
    let footer = crate::format::footer::Footer::decode(bytes).unwrap();
    chunk[footer.sections[1].offset as usize] ^= 1;
    disk.write_file("chunk-0000000000", chunk);
    run.on(disk)
}

/// Killed while the first group of a chunk was written, of which the header never came to the disk.
fn torn_roll() -> Run {
    let run = two_chunks();
    let disk = run.disk.seen();
    let mut next = vec![0; 64 << 10];
    next[4096..5000].fill(3);
    disk.write_file("chunk-0000000002", next);
    run.on(disk)
}

/// Plays a script with a fault, and holds all that can come of it against what was told.
fn play(script: &Script, plan: Plan) -> Vec<Call> {
    let mut run = (script.before)();
    run.disk.fail(Some(plan));
    (script.then)(&mut run);
    let calls = run.disk.calls();
    run.disk.fail(None);
    for left in [run.disk.left(true), run.disk.seen()] {
        run.check_left(left);
    }
    run.check_goes_on(&run.disk.left(false));
    // The same files in the same memory: bytes are visible that no disk has (R4).
    run.healthy(&[10, 2_000]);
    run.check_left(run.disk.left(false));
    calls
}

/// What is tried of a call.
fn plans(call: usize, kind: Kind) -> Vec<Plan> {
    let mut plans = Vec::new();
    for (errno, name) in ERRORS {
        for spell in SPELLS {
            let plan = |part| Plan { call, of: None, errno, spell, part, lies: false };
            plans.push(plan(Part::Nothing));
            if kind == Kind::WriteAt && ["EIO", "ENOSPC", "EDQUOT"].contains(&name) {
                plans.extend(PARTS.map(plan));
            }
        }
    }
    plans
}

/// How many runs failed which call of which path.
type Tally = BTreeMap<(&'static str, Kind), u64>;

fn try_all(script: &Script) -> Tally {
    let mut run = (script.before)();
    run.disk.fail(None);
    (script.then)(&mut run);
    let calls = run.disk.calls();
    let (next, tally) = (AtomicUsize::new(0), Mutex::new(Tally::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(call) = calls.get(number) else { return };
                    let plans = plans(number, call.kind);
                    for plan in &plans {
                        let played = catch_unwind(AssertUnwindSafe(|| play(script, *plan)));
                        let made = played.unwrap_or_else(|panic| {
                            println!("{}: {plan:?} of {call:?}", script.name);
                            resume_unwind(panic)
                        });
                        assert!(made[number].has_failed, "the script makes the same calls");
                    }
                    let met = (call.path, call.kind);
                    *tally.lock().unwrap().entry(met).or_default() += plans.len() as u64;
                }
            });
        }
    });
    assert!(next.into_inner() >= calls.len(), "every call was tried");
    tally.into_inner().unwrap()
}

#[test]
fn f31_every_error_at_every_call() {
    let mut all = Tally::new();
    for script in &SCRIPTS {
        let tally = try_all(script);
        println!("{}: {} runs", script.name, tally.values().sum::<u64>());
        for (met, runs) in tally {
            *all.entry(met).or_default() += runs;
        }
    }
    for ((path, kind), runs) in &all {
        println!("{path:8} {kind:14} {runs:6}", kind = format!("{kind:?}"));
    }
    let met: BTreeSet<_> = all.into_keys().collect();
    let missed: Vec<_> = MET.iter().filter(|call| !met.contains(call)).collect();
    assert!(missed.is_empty(), "no script makes {missed:?}");
}

#[test]
fn f26_a_write_that_did_less_than_it_claims_is_never_acked() {
    let (mut refused, mut disks, mut runs) = (0, 0, 0);
    for script in &SCRIPTS {
        let mut run = (script.before)();
        run.disk.fail(None);
        (script.then)(&mut run);
        let calls = run.disk.calls();
        let writes = calls.iter().enumerate().filter(|(_, call)| call.kind == Kind::WriteAt);
        for (call, _) in writes {
            for part in [Part::Nothing, Part::Byte, Part::Sector, Part::Half, Part::AllButAByte] {
                let spell = Spell::Once;
                let plan = Plan { call, of: None, errno: 0, spell, part, lies: true };
                let mut run = (script.before)();
                run.disk.fail(Some(plan));
                (script.then)(&mut run);
                run.disk.fail(None);
                runs += 1;
                for left in [run.disk.left(false), run.disk.left(true), run.disk.seen()] {
                    // Groups behind it say that it was durable, so it may be told as damage.
                    disks += 1;
                    refused += u64::from(!run.is_left_or_refused(left));
                }
            }
        }
    }
    println!("{runs} runs, {refused} of {disks} disks were refused");
    assert!(refused * 4 < disks, "most of what such a write leaves is opened");
}

/// With threads the calls come in another order each time, so that the same number is another call.
#[test]
fn f31_errors_at_calls_of_threads() {
    let (mut calls, mut hit) = (0, 0);
    for call in 0..60 {
        for (errno, _) in ERRORS.into_iter().skip(call % 2).step_by(2) {
            let spell = SPELLS[call % SPELLS.len()];
            let part = PARTS[call / 2 % PARTS.len()];
            let mut run = closed(&[20_000, 15_000]);
            run.disk.fail(Some(Plan { call, of: None, errno, spell, part, lies: false }));
            run.with_threads(&[9_000, 25_000, 40_000, 9_000, 10, 10]);
            calls += run.disk.calls().len();
            hit += run.disk.calls().iter().filter(|call| call.has_failed).count();
            run.disk.fail(None);
            run.check_left(run.disk.left(true));
            run.check_goes_on(&run.disk.left(false));
            run.healthy(&[10]);
            run.check_left(run.disk.left(false));
        }
    }
    println!("{hit} of {calls} calls failed");
    assert!(hit > 0);
}
