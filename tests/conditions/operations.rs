//! Operations over crashes and openings: one that is submitted again and again is stored once,
//! wherever the process stops, and all its answers agree.

use std::sync::Arc;

use paperchase::disk::sim::SimDisk;
use paperchase::{Append, AppendError, Appended, Log, NewEvent, Position};
use uuid::Uuid;

use crate::support::sim::{StoppingDisk, open, open_on};
use crate::{OPERATION, again, ask, event, put, to};

const ROUNDS_MAX: u32 = 20;
const CALLS_MAX: u64 = 500;

/// How a disk stops.
type Stops = fn(SimDisk, u64) -> StoppingDisk;

/// One event small, one that does not fit behind what is there, so that the log rolls for it, and
/// each to a stream of its own. Every attempt makes ids of its own.
fn append(operation: Uuid) -> Append {
    let large = NewEvent::new("Large", vec![9; 300 << 10]);
    let append = Append::new().event("once-1", event(1).id(Uuid::new_v4())).event("once-2", large);
    append.event("once-1", event(2).id(Uuid::new_v4())).operation(operation)
}

/// A log of which the chunk is nearly full, as a crash leaves it.
fn nearly_full() -> SimDisk {
    let disk = SimDisk::new();
    let log = open(&disk).unwrap();
    for _ in 0..4 {
        ask(&log, Append::new().event("fill", NewEvent::new("Fill", vec![1; 200 << 10]))).unwrap();
    }
    crash(&disk, log)
}

/// The disk as a process leaves it that is killed now.
fn crash(disk: &SimDisk, log: Log) -> SimDisk {
    let crashed = disk.snapshot();
    drop(log);
    crashed
}

/// Submits the operation from three threads at once; the answers that tell where it is.
fn submit_at_once(log: &Log, operation: Uuid) -> Vec<Appended> {
    let answers: Vec<_> = std::thread::scope(|scope| {
        let threads = [(); 3].map(|()| scope.spawn(|| ask(log, append(operation))));
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for refusal in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        let failed = matches!(refusal, AppendError::Failed(_) | AppendError::Stopped);
        assert!(failed, "{refusal:?}");
    }
    answers.into_iter().flatten().collect()
}

/// All answers tell the same.
fn agreed(mut answers: Vec<Appended>) -> Option<Appended> {
    assert!(answers.iter().filter(|answer| !answer.repeated).count() <= 1, "{answers:?}");
    answers.iter_mut().for_each(|answer| answer.repeated = false);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    answers.pop()
}

/// The position at which the log holds the operation, whole.
fn held(log: &Log, operation: Uuid) -> Option<Position> {
    let events: Vec<_> = log.read_all(..).unwrap().map(Result::unwrap).collect();
    let is_it = |event: &&paperchase::RecordedEvent| event.operation() == Some(operation);
    let mut found = events.iter().filter(is_it).map(paperchase::RecordedEvent::position);
    let first = found.next();
    assert_eq!(found.next(), None, "the operation is stored once");
    let parts = events.iter().filter(|event| event.stream().starts_with("once-")).count();
    assert_eq!(parts, if first.is_some() { 3 } else { 0 }, "all of it or nothing");
    first
}

/// Runs the operation on a disk that stops after so many calls. Returns what was answered and what
/// the crash left; `None` of the log where everything went well, so that more calls change nothing.
fn run_until(
    start: &SimDisk,
    (stops, calls): (Stops, u64),
    operation: Uuid,
) -> (Vec<Appended>, SimDisk, bool) {
    let disk = start.snapshot();
    let Ok(log) = open_on(Arc::new(stops(disk.clone(), calls))) else {
        return (Vec::new(), disk.snapshot(), false);
    };
    let answers = submit_at_once(&log, operation);
    let complete = answers.len() == 3;
    let crashed = crash(&disk, log);
    (answers, crashed, complete)
}

/// Submits an operation while the disk stops at each call in turn. Returns how often the first
/// attempt had no answer, and the log held the operation not, and yet.
fn stop_at_every_call(stops: Stops, operation: Uuid) -> [u32; 2] {
    let start = nearly_full();
    let mut unanswered = [0, 0];
    for calls in 1..CALLS_MAX {
        let (mut answers, crashed, complete) = run_until(&start, (stops, calls), operation);
        if answers.is_empty() {
            let there = held(&open(&crashed.snapshot()).unwrap(), operation);
            unanswered[usize::from(there.is_some())] += 1;
        }
        // Stopped once more, in recovery or at the second attempt.
        let (more, crashed, _) = run_until(&crashed, (stops, calls % 37 + 1), operation);
        answers.extend(more);
        let before = answers.len();
        let log = open(&crashed).unwrap();
        let there = held(&log, operation);
        assert!(before == 0 || there.is_some(), "what was answered is there: {calls} calls");
        answers.extend(submit_at_once(&log, operation));
        assert_eq!(answers.len(), before + 3, "a sound log answers all");
        assert!(before == 0 || answers[before..].iter().all(|answer| answer.repeated));
        let answer = agreed(answers).expect("there are answers");
        assert_eq!(held(&log, operation), Some(answer.first_position));
        assert!(there.is_none_or(|there| there == answer.first_position), "{calls} calls");
        if complete {
            return unanswered;
        }
    }
    panic!("the disk stopped however many calls it was allowed");
}

/// Stops at every call, again and again until an operation without an answer was absent and, where
/// that can be, held: whether a call falls between both is up to the threads.
fn stop_until_both_are_seen(stops: Stops, id: fn() -> Uuid, can_be_held: bool) {
    let mut seen = [0, 0];
    for _ in 0..ROUNDS_MAX {
        let [absent, held] = stop_at_every_call(stops, id());
        seen = [seen[0] + absent, seen[1] + held];
        if seen[0] > 0 && (seen[1] > 0 || !can_be_held) {
            return;
        }
    }
    panic!("absent and held: {seen:?}");
}

#[test]
fn an_operation_with_a_time_ordered_id_is_stored_once_wherever_the_process_stops() {
    stop_until_both_are_seen(StoppingDisk::new, Uuid::now_v7, false);
    stop_until_both_are_seen(StoppingDisk::untold, Uuid::now_v7, true);
}

#[test]
fn an_operation_with_a_random_id_is_stored_once_wherever_the_process_stops() {
    stop_until_both_are_seen(StoppingDisk::new, Uuid::new_v4, false);
    stop_until_both_are_seen(StoppingDisk::untold, Uuid::new_v4, true);
}

/// Ids of both kinds, and made at any time, are found in chunks that are long sealed.
#[test]
fn operations_of_sealed_chunks_are_answered_again() {
    let disk = SimDisk::new();
    let log = open(&disk).unwrap();
    let made = |millis: u64| {
        uuid::Builder::from_unix_timestamp_millis(millis, &[millis as u8; 10]).into_uuid()
    };
    let ids: Vec<_> = (0..30_u64)
        .map(|number| match number % 3 {
            0 => Uuid::new_v4(),
            1 => made(1_000_000 + number),
            // Made long before or after the others of its chunk.
            _ => made(number * 7_919_000_000 % 281_474_976_710_655),
        })
        .chain([Uuid::nil(), Uuid::max()])
        .collect();
    let large = |number: u64| event(number).metadata(vec![1; 150 << 10], Default::default());
    let append = |number: u64, id: Uuid| {
        Append::new().event("a", large(number)).event("b", event(number)).operation(id)
    };
    let append_all = |log: &Log| -> Vec<_> {
        (0..).zip(&ids).map(|(number, id)| ask(log, append(number, *id)).unwrap()).collect()
    };
    let first = append_all(&log);
    assert!(log.view().chunks().len() > 4);
    let check = |log: &Log| {
        for ((number, id), first) in (0..).zip(&ids).zip(&first) {
            again(log, append(number, *id), first);
            let conflict = ask(log, to("a", [number]).operation(*id)).unwrap_err();
            let there = matches!(conflict, AppendError::OperationConflict { position, .. }
                if position == first.first_position);
            assert!(there, "{conflict:?}");
        }
    };
    check(&log);
    log.close().unwrap();
    let log = open(&disk).unwrap();
    check(&log);
    // Ids that were never stored are new, also in between the known ones.
    for id in [Uuid::new_v4(), Uuid::now_v7(), made(1_000_002), made(0)] {
        assert!(!ask(&log, to("c", [1]).operation(id)).unwrap().repeated);
    }
}

/// The id names the append, not one of its streams or events.
#[test]
fn an_operation_is_one_whatever_it_writes() {
    let log = crate::new_log();
    put(&log, "a", [1]);
    let first = ask(&log, to("a", [2]).operation(OPERATION)).unwrap();
    let conflict = ask(&log, to("b", [2]).operation(OPERATION)).unwrap_err();
    assert!(matches!(conflict, AppendError::OperationConflict { .. }), "{conflict:?}");
    // The same events without the operation, or of another one, are another append.
    assert!(!ask(&log, to("a", [2])).unwrap().repeated);
    assert!(!ask(&log, to("a", [2]).operation(Uuid::from_u128(1))).unwrap().repeated);
    again(&log, to("a", [2]).operation(OPERATION), &first);
    // By its events it is found where it says where they go, whatever operation it names.
    let by_events = to("a", [2]).expect("a", crate::exact(0)).operation(Uuid::from_u128(2));
    again(&log, by_events, &first);
}
