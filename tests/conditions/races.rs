//! Racing appends: of those that exclude each other exactly one is stored, from any number of
//! threads, on a real directory and on the simulated disk.

use std::sync::{Arc, Barrier};

use paperchase::clock::SystemClock;
use paperchase::disk::sim::SimDisk;
use paperchase::{Append, AppendError, Expected, Log, Options, Position, Query};

use crate::support::sim::small;
use crate::{Answer, OPERATION, event, exact};

const ROUNDS: u64 = 25;

/// Runs a test on both kinds of disks, with logs that roll now and then.
fn on_both(test: impl Fn(&Log)) {
    let options = || -> Options { small().group_size(4096) };
    let sim = options().open_on(Arc::new(SimDisk::new()), Arc::new(SystemClock::default()));
    test(&sim.unwrap());
    let folder = tempfile::tempdir().unwrap();
    test(&options().open(folder.path()).unwrap());
}

/// Submits one append per thread at the same moment, in rounds. Returns the answers of each.
fn race(log: &Log, threads: u64, round: u64, append: impl Fn(u64) -> Append + Sync) -> Vec<Answer> {
    let barrier = Barrier::new(threads as usize);
    std::thread::scope(|scope| {
        let racers: Vec<_> = (0..threads)
            .map(|thread| {
                let (barrier, append) = (&barrier, &append);
                scope.spawn(move || {
                    let append = append(round * threads + thread);
                    barrier.wait();
                    append.submit(log)?.wait()
                })
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).collect()
    })
}

/// The position of the only one that was stored.
fn winner(answers: &[Answer]) -> Position {
    let mut stored = answers.iter().flatten();
    let first = stored.next().expect("one is stored").first_position;
    assert!(stored.next().is_none(), "two were stored: {answers:?}");
    first
}

#[test]
fn of_appends_under_one_condition_one_is_stored() {
    on_both(|log| {
        for threads in 2..=8 {
            for round in 0..ROUNDS {
                let end = log.view().end();
                let tag = format!("name:{threads}-{round}");
                let query = Query::event_type("Counted").tags([tag.as_str()]);
                let answers = race(log, threads, round, |id| {
                    let event = event(id).tag(tag.as_str()).metadata([7; 700], Default::default());
                    let append = Append::new().event(format!("account-{id}"), event);
                    append.no_events(query.clone(), end)
                });
                let first = winner(&answers);
                for refusal in answers.into_iter().filter_map(Result::err) {
                    match refusal {
                        AppendError::ConditionFailed { position, after, .. } => {
                            assert_eq!((position, after), (first, end));
                        }
                        other => panic!("{other:?}"),
                    }
                }
                assert_eq!(log.view().read_tag(&tag, ..).unwrap().count(), 1);
            }
        }
    });
}

#[test]
fn of_appends_that_expect_one_version_one_is_stored() {
    on_both(|log| {
        let mut next = 0_u64;
        for threads in 2..=8 {
            for round in 0..ROUNDS {
                let expected = next.checked_sub(1).map_or(Expected::NoStream, exact);
                let answers = race(log, threads, round, |id| {
                    let stream = Append::new().expect("raced", expected);
                    stream.event("raced", event(id)).event(format!("own-{threads}-{id}"), event(id))
                });
                winner(&answers);
                for refusal in answers.into_iter().filter_map(Result::err) {
                    crate::wrong(&refusal, "raced", expected, Some(next));
                }
                next += 1;
            }
        }
        let streams = log.view().streams("").unwrap().len() as u64;
        assert_eq!(streams, 1 + next, "those that were refused left nothing in other streams");
    });
}

#[test]
fn of_one_append_from_many_threads_all_get_the_same_answer() {
    on_both(|log| {
        for threads in 2..=8_u64 {
            for round in 0..ROUNDS {
                let number = threads * 1000 + round;
                let id = uuid::Uuid::from_u128(OPERATION.as_u128() + u128::from(number));
                let stream = format!("once-{number}");
                let end = log.view().end().get();
                // Every second round without an operation id, by the events alone.
                let answers = race(log, threads, round, |_| {
                    let append = Append::new().events(&stream, [event(1), event(2)]);
                    match round % 2 {
                        0 => append.operation(id),
                        _ => append.expect(&stream, Expected::NoStream),
                    }
                });
                let mut answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
                let stored = answers.iter().filter(|answer| !answer.repeated).count();
                answers.iter_mut().for_each(|answer| answer.repeated = false);
                assert_eq!(stored, 1);
                assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
                assert_eq!(log.view().end().get(), end + 2);
            }
        }
    });
}
