//! Holds the table of decisions in `docs/conditions.md` to the log, row by row: the name of a test
//! begins with the number of its row.
//!
//! Promises: each test shows what its row says and what the answer tells, and that a refusal stores
//! nothing. Beside the rows: repeats in all their forms, races, operations over crashes, and the
//! atomicity of appends to several streams. Assumes the simulated disk, which decides as any other.

#![cfg(feature = "sim")]
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "what is wrong ends the test"
)]

#[path = "conditions/atomicity.rs"]
mod atomicity;
#[path = "conditions/consumers.rs"]
mod consumers;
#[path = "conditions/messages.rs"]
mod messages;
#[path = "conditions/operations.rs"]
mod operations;
#[path = "conditions/queries.rs"]
mod queries;
#[path = "conditions/races.rs"]
mod races;
#[path = "conditions/repeats.rs"]
mod repeats;
#[path = "conditions/streams.rs"]
mod streams;
mod support;

use paperchase::disk::sim::SimDisk;
use paperchase::{
    Append, AppendError, Appended, Expected, Log, NewEvent, Position, StreamVersion, Timestamp,
};
use uuid::Uuid;

use support::sim::open;

pub(crate) type Answer = Result<Appended, AppendError>;

pub(crate) fn new_log() -> Log {
    open(&SimDisk::new()).unwrap()
}

/// The event of this id, whose content is its id too.
pub(crate) fn event(id: u64) -> NewEvent {
    NewEvent::with_id(Uuid::from_u128(id.into()), "Counted", id.to_le_bytes())
}

pub(crate) fn exact(version: u64) -> Expected {
    Expected::Exact(StreamVersion::new(version))
}

pub(crate) fn version(number: u64) -> Option<StreamVersion> {
    Some(StreamVersion::new(number))
}

pub(crate) fn to(stream: &str, ids: impl IntoIterator<Item = u64>) -> Append {
    Append::new().events(stream, ids.into_iter().map(event))
}

pub(crate) fn ask(log: &Log, append: Append) -> Answer {
    append.submit(log)?.wait()
}

/// Appends events of these ids, whatever there is.
pub(crate) fn put(log: &Log, stream: &str, ids: impl IntoIterator<Item = u64>) -> Appended {
    ask(log, to(stream, ids)).unwrap()
}

/// Asks and expects a refusal, which stores nothing.
pub(crate) fn refused(log: &Log, append: Append) -> AppendError {
    let end = log.view().end();
    let refusal = ask(log, append).unwrap_err();
    assert_eq!(log.view().end(), end, "a refusal stores nothing: {refusal}");
    refusal
}

/// Expects a refusal for the version of a stream.
pub(crate) fn wrong(refusal: &AppendError, name: &str, wanted: Expected, found: Option<u64>) {
    match refusal {
        AppendError::WrongVersion { stream, expected, actual } => {
            let actual = actual.map(StreamVersion::get);
            assert_eq!((stream.as_str(), *expected, actual), (name, wanted, found));
        }
        other => panic!("{other:?}"),
    }
}

fn partly(refusal: &AppendError, name: &str, counts: (u64, u64), found: Option<u64>) {
    match refusal {
        AppendError::PartlyStored { stream, stored, of, actual } => {
            let actual = actual.map(StreamVersion::get);
            assert_eq!((stream.as_str(), (*stored, *of), actual), (name, counts, found));
        }
        other => panic!("{other:?}"),
    }
}

fn diverged(refusal: &AppendError, name: &str, counts: (u64, u64), at: u64) {
    match refusal {
        AppendError::Diverged { stream, stored, of, version } => {
            assert_eq!((stream.as_str(), (*stored, *of), version.get()), (name, counts, at));
        }
        other => panic!("{other:?}"),
    }
}

/// The same answer again, and nothing stored.
fn again(log: &Log, append: Append, first: &Appended) {
    let end = log.view().end();
    let mut answer = ask(log, append).unwrap();
    assert!(answer.repeated && !first.repeated);
    answer.repeated = false;
    assert_eq!(&answer, first);
    assert_eq!(log.view().end(), end, "a repeat stores nothing");
}

/// Expects that events are stored at the end of the log, one version of one stream after another.
fn stored(log: &Log, append: Append, first_version: u64) {
    let end = log.view().end();
    let answer = ask(log, append).unwrap();
    let count = u64::from(answer.events());
    assert!(!answer.repeated);
    assert_eq!(answer.first_position, end);
    assert_eq!(answer.last_position, Position::new(end.get() + count - 1));
    let part = &answer.streams()[0];
    assert_eq!(part.first_version.get(), first_version);
    assert_eq!(
        (part.last_version.get(), answer.version),
        (first_version + count - 1, part.last_version)
    );
    assert_eq!(log.view().end(), Position::new(end.get() + count));
}

const OPERATION: Uuid = Uuid::from_u128(0x0_7000_0000_0000);

#[test]
fn c01_an_operation_that_is_not_stored_is_decided_as_any_append() {
    let log = new_log();
    let refusal = refused(&log, to("a", [1]).operation(OPERATION).expect("a", Expected::Exists));
    wrong(&refusal, "a", Expected::Exists, None);
    stored(&log, to("a", [1, 2]).operation(OPERATION), 0);
    let events: Vec<_> = log.read_all(..).unwrap().map(Result::unwrap).collect();
    assert_eq!([events[0].operation(), events[1].operation()], [Some(OPERATION), None]);
}

#[test]
fn c02_a_stored_operation_is_answered_again_whatever_is_expected() {
    let log = new_log();
    put(&log, "b", [9]);
    let append = || to("a", [1, 2]).event("b", event(3)).event("a", event(4)).operation(OPERATION);
    let first = ask(&log, append()).unwrap();
    put(&log, "a", [5]);
    again(&log, append(), &first);
    again(&log, append().expect("a", Expected::NoStream).expect("b", exact(77)), &first);
    again(&log, append().expect("never", Expected::Exists), &first);
    again(&log, append().no_events(paperchase::Query::new(), Position::START), &first);
    again(&log, append().no_events(paperchase::Query::new(), Position::new(99)), &first);
    // Another attempt makes ids of its own.
    let other_ids = |id: u64| event(id).id(Uuid::new_v4());
    let retry = Append::new().events("a", [1, 2].map(other_ids)).event("b", other_ids(3));
    again(&log, retry.event("a", other_ids(4)).operation(OPERATION), &first);
}

#[test]
fn c03_a_stored_operation_with_other_content_is_a_conflict() {
    use paperchase::ContentKind::{Bytes, Json};
    let log = new_log();
    put(&log, "x", [7]);
    let base = || event(1).metadata("m", Bytes).tag("p").tag("q");
    ask(&log, Append::new().events("a", [base(), event(2)]).operation(OPERATION)).unwrap();
    let mut other_type = NewEvent::new("Other", 1_u64.to_le_bytes()).metadata("m", Bytes);
    other_type = other_type.tag("p").tag("q");
    let others = [
        to("a", [1]),
        Append::new().events("a", [base(), event(2), event(3)]),
        Append::new().events("a", [event(2), base()]),
        Append::new().events("b", [base(), event(2)]),
        Append::new().event("a", base()).event("b", event(2)),
        Append::new().events("a", [base(), event(3)]),
        Append::new().events("a", [base().tag("r"), event(2)]),
        Append::new().events("a", [event(1).metadata("m", Bytes).tag("q").tag("p"), event(2)]),
        Append::new().events("a", [base().metadata("n", Bytes), event(2)]),
        Append::new().events("a", [base().metadata("m", Json), event(2)]),
        Append::new().events("a", [base().data_kind(Json), event(2)]),
        Append::new().events("a", [other_type, event(2)]),
    ];
    for other in others {
        match refused(&log, other.operation(OPERATION)) {
            AppendError::OperationConflict { operation, position } => {
                assert_eq!((operation, position.get()), (OPERATION, 1));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn c04_an_operation_on_its_way_is_answered_after_the_first_answer() {
    let log = new_log();
    let append = |id| to("a", [id, 2]).operation(OPERATION);
    let acks: Vec<_> = [1, 1, 3].map(|id| append(id).submit(&log).unwrap()).into();
    let [first, same, other]: [_; 3] = acks.try_into().unwrap();
    let other = other.wait();
    assert!(same.is_ready() && first.is_ready(), "answers come in the order of the appends");
    let (first, mut same) = (first.wait().unwrap(), same.wait().unwrap());
    assert!(std::mem::take(&mut same.repeated));
    assert_eq!(first, same);
    let conflict = matches!(other, Err(AppendError::OperationConflict { position, .. })
        if position == first.first_position);
    assert!(conflict, "{other:?}");
    assert_eq!(log.view().end(), Position::new(2));
}

#[test]
fn c05_a_refused_operation_is_as_if_it_had_never_been() {
    let log = new_log();
    let append = || to("a", [1]).operation(OPERATION);
    refused(&log, append().expect("a", exact(3)));
    refused(&log, append().no_events(paperchase::Query::new(), Position::new(5)));
    stored(&log, to("a", [8]).operation(OPERATION), 0);
}

#[test]
fn c06_an_operation_longer_ago_than_the_horizon_is_stored_again() {
    let (disk, clock) = (SimDisk::new(), std::sync::Arc::new(paperchase::clock::SimClock::new()));
    clock.set_wall(Timestamp::from_nanos(1_000_000_000_000));
    let seconds = std::time::Duration::from_secs;
    let options = support::sim::small().operation_horizon(seconds(60));
    let reopen = || options.clone().open_on(std::sync::Arc::new(disk.clone()), clock.clone());
    let append = || to("a", [1]).operation(OPERATION);
    let log = reopen().unwrap();
    let first = ask(&log, append()).unwrap();
    clock.advance(seconds(60));
    again(&log, append(), &first);
    log.close().unwrap();
    let log = reopen().unwrap();
    again(&log, append(), &first);
    clock.advance(seconds(1));
    let second = ask(&log, append()).unwrap();
    assert_eq!((second.repeated, second.version.get()), (false, 1));
    clock.advance(seconds(30));
    again(&log, append(), &second);
    // What an operation is, is not told by the one that is forgotten.
    clock.advance(seconds(60));
    stored(&log, to("b", [2]).operation(OPERATION), 0);
}

#[test]
fn c10_any_holds_of_anything() {
    let log = new_log();
    stored(&log, to("a", [1]).expect("a", Expected::Any), 0);
    stored(&log, to("a", [2]).expect("a", Expected::Any).expect("b", Expected::Any), 1);
}

#[test]
fn c11_exists_holds_of_a_stream_with_events() {
    let log = new_log();
    put(&log, "a", [1]);
    stored(&log, to("a", [2]).expect("a", Expected::Exists), 1);
    stored(&log, to("b", [2]).expect("a", Expected::Exists), 0);
}

#[test]
fn c12_exists_does_not_hold_of_a_stream_without() {
    let log = new_log();
    put(&log, "a", [1]);
    let refusal = refused(&log, to("b", [2]).expect("b", Expected::Exists));
    wrong(&refusal, "b", Expected::Exists, None);
    let refusal = log.append("b", Expected::Exists, [event(2)]).unwrap().wait().unwrap_err();
    wrong(&refusal, "b", Expected::Exists, None);
}

#[test]
fn c13_no_stream_holds_of_a_stream_without_events() {
    let log = new_log();
    stored(&log, to("a", [1]).expect("a", Expected::NoStream), 0);
    // The events of an append are no reason against it, also of a stream named before.
    stored(&log, to("b", [1, 2]).expect("b", Expected::NoStream).event("b", event(3)), 0);
}

#[test]
fn c14_exact_holds_of_the_version_of_the_last_event() {
    let log = new_log();
    put(&log, "a", [1, 2]);
    stored(&log, to("a", [3]).expect("a", exact(1)), 2);
    stored(&log, to("a", [4]).expect("a", exact(2)).expect("a", exact(2)), 3);
}

#[test]
fn c15_no_stream_does_not_hold_of_a_stream_with_events() {
    let log = new_log();
    let first = put(&log, "a", [1, 2]);
    let refusal = refused(&log, to("a", [3]).expect("a", Expected::NoStream));
    wrong(&refusal, "a", Expected::NoStream, Some(1));
    again(&log, to("a", [1, 2]).expect("a", Expected::NoStream), &first);
}

#[test]
fn c16_exact_does_not_hold_of_a_stream_that_ends_before() {
    let log = new_log();
    let refusal = refused(&log, to("a", [1]).expect("a", exact(0)));
    wrong(&refusal, "a", exact(0), None);
    put(&log, "a", [1, 2]);
    for ahead in [2, 3, 1 << 40, u64::MAX - 1, u64::MAX] {
        let refusal = refused(&log, to("a", [1, 2]).expect("a", exact(ahead)));
        wrong(&refusal, "a", exact(ahead), Some(1));
    }
}

#[test]
fn c17_exact_does_not_hold_of_a_stream_that_goes_on() {
    let log = new_log();
    put(&log, "a", [1, 2]);
    let third = put(&log, "a", [3]);
    let refusal = refused(&log, to("a", [4]).expect("a", exact(0)));
    wrong(&refusal, "a", exact(0), Some(2));
    again(&log, to("a", [3]).expect("a", exact(1)), &third);
}

#[test]
fn c20_an_append_whose_events_all_stand_there_is_answered_again() {
    let log = new_log();
    put(&log, "b", [7]);
    let first = put(&log, "a", [1, 2]);
    let second = put(&log, "a", [3, 4]);
    put(&log, "b", [8]);
    again(&log, to("a", [1, 2]).expect("a", Expected::NoStream), &first);
    again(&log, to("a", [3, 4]).expect("a", exact(1)), &second);
    let ack = log.append("a", exact(1), [event(3), event(4)]).unwrap();
    assert_eq!(ack.wait().unwrap(), ask(&log, to("a", [3, 4]).expect("a", exact(1))).unwrap());
}

#[test]
fn c21_an_append_that_stands_there_in_part_is_told_how_far() {
    let log = new_log();
    put(&log, "a", [1, 2]);
    let refusal = refused(&log, to("a", [1, 2, 3]).expect("a", Expected::NoStream));
    partly(&refusal, "a", (2, 3), Some(1));
    let refusal = refused(&log, to("a", [2, 3, 4]).expect("a", exact(0)));
    partly(&refusal, "a", (1, 3), Some(1));
}

#[test]
fn c22_an_append_from_which_the_stream_parts_is_told_where() {
    let log = new_log();
    put(&log, "a", [1, 2, 3, 4]);
    let refusal = refused(&log, to("a", [1, 2, 9]).expect("a", Expected::NoStream));
    diverged(&refusal, "a", (2, 3), 2);
    let refusal = refused(&log, to("a", [2, 9, 4]).expect("a", exact(0)));
    diverged(&refusal, "a", (1, 3), 2);
}

#[test]
fn c23_another_event_or_none_is_a_wrong_version() {
    let log = new_log();
    put(&log, "a", [1, 2, 3]);
    let refusal = refused(&log, to("a", [2, 3]).expect("a", Expected::NoStream));
    wrong(&refusal, "a", Expected::NoStream, Some(2));
    let refusal = refused(&log, to("a", [3]).expect("a", exact(7)));
    wrong(&refusal, "a", exact(7), Some(2));
    // The same events of another stream are other events.
    put(&log, "b", [8]);
    let refusal = refused(&log, to("b", [1, 2, 3]).expect("b", Expected::NoStream));
    wrong(&refusal, "b", Expected::NoStream, Some(0));
}

#[test]
fn c24_the_same_ids_with_other_content_are_other_events() {
    let log = new_log();
    put(&log, "a", [1, 2]);
    let changed = |id: u64| event(id).tag("changed");
    let append = Append::new().event("a", event(1)).event("a", changed(2));
    diverged(&refused(&log, append.expect("a", Expected::NoStream)), "a", (1, 2), 1);
    let append = Append::new().event("a", changed(1)).event("a", event(2));
    let refusal = refused(&log, append.expect("a", Expected::NoStream));
    wrong(&refusal, "a", Expected::NoStream, Some(1));
}

#[test]
fn c25_ids_alone_make_no_repeat() {
    let log = new_log();
    put(&log, "a", [1]);
    stored(&log, to("a", [1]), 1);
    stored(&log, to("a", [1]).expect("a", Expected::Any), 2);
    stored(&log, to("a", [1]).expect("a", Expected::Exists), 3);
    let append = to("a", [1]).expect("a", Expected::Exists).expect("b", Expected::Exists);
    wrong(&refused(&log, append), "b", Expected::Exists, None);
}

#[test]
fn c26_an_append_whose_expectation_holds_is_stored_whatever_it_repeats() {
    let log = new_log();
    put(&log, "a", [1, 2]);
    stored(&log, to("a", [1, 2]).expect("a", exact(1)), 2);
    stored(&log, to("a", [1, 2]).expect("a", exact(3)), 4);
}
