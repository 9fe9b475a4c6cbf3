//! Appends to several streams, streams that are only checked, and appends without events: C30 to
//! C34 and C50 to C53.

use paperchase::{Append, AppendError, Appended, Expected, Position, Query};

use crate::{
    OPERATION, again, ask, diverged, event, exact, new_log, partly, put, refused, to, version,
    wrong,
};

/// The streams that an append wrote, each with its first and last version.
fn parts(answer: &Appended) -> Vec<(&str, u64, u64)> {
    let parts = answer.streams().iter();
    parts.map(|it| (&*it.stream, it.first_version.get(), it.last_version.get())).collect()
}

/// One event to `a`, one to `b`, one to `a`, where both are new.
fn both() -> Append {
    let append = to("a", [1]).event("b", event(2)).event("a", event(3));
    append.expect("a", Expected::NoStream).expect("b", Expected::NoStream)
}

#[test]
fn c30_all_streams_get_their_events_at_once() {
    let log = new_log();
    put(&log, "b", [7, 8]);
    put(&log, "c", [9]);
    let append = to("a", [1]).event("b", event(2)).event("a", event(3)).event("b", event(4));
    let append = append.expect("b", exact(1)).expect("c", Expected::Exists);
    let done = ask(&log, append.expect("a", Expected::NoStream).expect("d", Expected::NoStream));
    let done = done.unwrap();
    assert_eq!((done.first_position.get(), done.last_position.get(), done.events()), (3, 6, 4));
    assert_eq!((Some(done.version), done.repeated), (version(3), false));
    assert_eq!(parts(&done), [("a", 0, 1), ("b", 2, 3)]);
    assert_eq!(done.stream("a"), Some(&done.streams()[0]));
    assert_eq!((done.stream("c"), done.stream("d")), (None, None));
    let events = log.read_all(Position::new(3)..).unwrap().map(Result::unwrap);
    let read: Vec<_> =
        events.map(|it| (it.stream().to_owned(), it.version().get(), it.time())).collect();
    let wanted = [("a", 0), ("b", 2), ("a", 1), ("b", 3)];
    assert_eq!(read, wanted.map(|(stream, version)| (stream.to_owned(), version, done.time)));
}

#[test]
fn c31_one_stream_that_is_not_as_expected_refuses_all() {
    let log = new_log();
    put(&log, "b", [7]);
    let append = to("a", [1]).event("b", event(2)).expect("a", Expected::NoStream);
    let append = append.expect("c", exact(4)).expect("b", exact(3));
    wrong(&refused(&log, append), "c", exact(4), None);
    assert_eq!(log.view().stream_version("a").unwrap(), None);
    let append = to("a", [1]).expect("b", exact(0)).expect("b", Expected::NoStream);
    wrong(&refused(&log, append.expect("b", exact(9))), "b", Expected::NoStream, Some(0));
}

#[test]
fn c32_an_append_that_stands_there_in_all_streams_is_answered_again() {
    let log = new_log();
    let first = ask(&log, both()).unwrap();
    put(&log, "b", [9]);
    put(&log, "c", [9]);
    again(&log, both(), &first);
    again(&log, both().expect("c", Expected::NoStream), &first);
    again(&log, both().expect("d", Expected::Exists), &first);
    again(&log, both().no_events(Query::new(), Position::START), &first);
    // Of several expectations of a stream any that names a version says where its events go.
    let append = to("a", [1]).event("b", event(2)).event("a", event(3)).expect("a", Expected::Any);
    let append = append.expect("a", Expected::NoStream).expect("b", Expected::NoStream);
    again(&log, append, &first);
}

#[test]
fn c32_also_where_each_stream_got_its_events_apart() {
    let log = new_log();
    put(&log, "x", [7]);
    let later = put(&log, "b", [2]);
    put(&log, "x", [8]);
    let earlier = put(&log, "a", [1, 3]);
    let done = ask(&log, both()).unwrap();
    assert_eq!(
        (done.first_position, done.last_position),
        (later.first_position, earlier.last_position)
    );
    assert_eq!(parts(&done), [("a", 0, 1), ("b", 0, 0)]);
    assert_eq!((done.repeated, done.events(), Some(done.version)), (true, 3, version(1)));
    assert_eq!(log.view().end(), Position::new(5));
}

#[test]
fn c33_an_append_that_stands_there_in_some_streams_is_told_of_the_first_that_lacks_some() {
    let log = new_log();
    put(&log, "b", [2]);
    partly(&refused(&log, both()), "a", (0, 2), None);
    put(&log, "a", [1]);
    partly(&refused(&log, both()), "a", (1, 2), Some(0));
    put(&log, "a", [4]);
    diverged(&refused(&log, both()), "a", (1, 2), 1);
    let append = to("b", [2]).event("a", event(5)).expect("a", Expected::NoStream);
    diverged(&refused(&log, append.expect("b", Expected::NoStream)), "a", (0, 1), 0);
    // Where no stream has any, nothing of the append is known.
    let append = to("b", [7]).event("a", event(5)).expect("a", Expected::NoStream);
    let refusal = refused(&log, append.expect("b", Expected::NoStream));
    wrong(&refusal, "a", Expected::NoStream, Some(1));
}

#[test]
fn c34_without_a_version_of_every_stream_nothing_is_a_repeat() {
    let log = new_log();
    let append = || to("a", [1]).event("b", event(2)).expect("a", Expected::NoStream);
    ask(&log, append()).unwrap();
    wrong(&refused(&log, append()), "a", Expected::NoStream, Some(0));
    for vague in [Expected::Any, Expected::Exists] {
        wrong(&refused(&log, append().expect("b", vague)), "a", Expected::NoStream, Some(0));
    }
    assert!(ask(&log, append().expect("b", Expected::NoStream)).unwrap().repeated);
}

#[test]
fn c50_an_append_without_events_that_holds_tells_for_which_end() {
    let log = new_log();
    let check = Append::new().expect("a", Expected::NoStream);
    let done = ask(&log, check).unwrap();
    assert_eq!((done.first_position, done.last_position), (Position::START, Position::START));
    assert_eq!((done.events(), done.streams().len(), done.repeated), (0, 0, false));
    put(&log, "a", [1, 2, 3]);
    let check = Append::new().expect("a", exact(2)).expect("b", Expected::NoStream);
    let done = ask(&log, check.no_events(Query::stream("b"), Position::START)).unwrap();
    assert_eq!((done.first_position.get(), done.last_position.get()), (3, 3));
    assert_eq!((done.events(), Some(done.version), done.repeated), (0, version(2), false));
    let done = log.append("a", Expected::Exists, []).unwrap().wait().unwrap();
    assert_eq!((done.first_position.get(), done.events(), done.stream("a")), (3, 0, None));
    let condition = Append::new().no_events(Query::tag("red"), Position::START);
    assert_eq!(ask(&log, condition).unwrap().first_position.get(), 3);
    assert_eq!(log.view().end(), Position::new(3));
    put(&log, "a", [4]);
}

#[test]
fn c51_an_append_without_events_that_does_not_hold_is_refused() {
    let log = new_log();
    put(&log, "a", [1]);
    let check = || Append::new().expect("a", exact(0));
    wrong(&refused(&log, check().expect("a", exact(1))), "a", exact(1), Some(0));
    wrong(&refused(&log, check().expect("b", Expected::Exists)), "b", Expected::Exists, None);
    let refusal = refused(&log, check().no_events(Query::stream("a"), Position::START));
    assert!(matches!(refusal, AppendError::ConditionFailed { .. }), "{refusal:?}");
    let refusal = log.append("a", Expected::NoStream, []).unwrap().wait().unwrap_err();
    wrong(&refusal, "a", Expected::NoStream, Some(0));
}

#[test]
fn c52_an_append_of_nothing_that_checks_nothing_is_invalid() {
    let log = new_log();
    for nothing in [Append::new(), Append::new().expect("a", Expected::Any)] {
        let refusal = nothing.submit(&log).map(drop).unwrap_err();
        assert!(matches!(refusal, AppendError::Invalid { .. }), "{refusal:?}");
    }
    let refusal = log.append("a", Expected::Any, []).map(drop).unwrap_err();
    assert!(matches!(refusal, AppendError::Invalid { .. }), "{refusal:?}");
}

#[test]
fn c53_an_operation_without_events_is_invalid() {
    let log = new_log();
    let check = Append::new().expect("a", Expected::NoStream).operation(OPERATION);
    let refusal = check.submit(&log).map(drop).unwrap_err();
    assert!(matches!(refusal, AppendError::Invalid { .. }), "{refusal:?}");
}

/// Many streams, each written several times, and the events of each in turns with the others'.
#[test]
fn many_streams_are_numbered_and_repeated_as_one_append() {
    let log = new_log();
    let names: Vec<_> = (0..300).map(|number| format!("many-{number}")).collect();
    let append = |operation: bool| {
        let mut append = Append::new();
        for id in 0..3_000_u64 {
            append = append.event(names[(id * 7 % 300) as usize].as_str(), event(id));
        }
        match operation {
            true => append.operation(OPERATION),
            false => names.iter().fold(append, |all, it| all.expect(it, Expected::NoStream)),
        }
    };
    let first = ask(&log, append(true)).unwrap();
    assert_eq!((first.events(), first.streams().len()), (3_000, 300));
    assert!(first.streams().iter().all(|it| it.last_version.get() == 9));
    again(&log, append(true), &first);
    again(&log, append(false), &first);
}

/// Of an append in flight every event is compared with its own.
#[test]
fn a_large_append_in_flight_is_repeated() {
    let log = new_log();
    let append = || {
        let even = to("a", 0..2_000).expect("a", Expected::NoStream);
        even.events("b", (0..2_000).map(event)).expect("b", Expected::NoStream)
    };
    let acks = [0, 1].map(|_| append().submit(&log).unwrap());
    let [first, mut second] = acks.map(|ack| ack.wait().unwrap());
    assert!(std::mem::take(&mut second.repeated));
    assert_eq!(first, second);
}
