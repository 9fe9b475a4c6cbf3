//! Conditions on queries: C40 to C46.

use paperchase::{Append, AppendError, Expected, NewEvent, Position, Query};

use crate::{ask, event, exact, new_log, put, refused, to, wrong};

fn at(position: u64) -> Position {
    Position::new(position)
}

/// Expects a refusal for this query, place, and position of an event.
fn failed(refusal: &AppendError, wanted: &Query, from: u64, found: u64) {
    match refusal {
        AppendError::ConditionFailed { query, after, position } => {
            assert_eq!((query, after.get(), position.get()), (wanted, from, found));
        }
        other => panic!("{other:?}"),
    }
}

fn red(id: u64) -> NewEvent {
    event(id).tag("red")
}

#[test]
fn c40_a_condition_holds_while_no_event_came() {
    let log = new_log();
    let query = Query::tag("red");
    put(&log, "a", [1]);
    ask(&log, to("a", [2]).no_events(query.clone(), at(0))).unwrap();
    ask(&log, Append::new().event("a", red(3))).unwrap();
    put(&log, "b", [4]);
    // What stands before the place was known to the caller.
    ask(&log, to("a", [5]).no_events(query.clone(), at(3))).unwrap();
    ask(&log, to("a", [6]).no_events(query, log.view().end())).unwrap();
    ask(&log, to("a", [7]).no_events(Query::new(), log.view().end())).unwrap();
}

#[test]
fn c41_a_condition_fails_at_the_first_event_that_came() {
    let log = new_log();
    put(&log, "a", [1]);
    let events = [red(2), event(3), red(4), red(5).tag("x")];
    ask(&log, Append::new().events("b-1", events)).unwrap();
    let cases = [
        (Query::tag("red"), 0, 1),
        (Query::tag("red"), 1, 1),
        (Query::tag("red"), 2, 3),
        (Query::tag("red"), 4, 4),
        (Query::tag("red").tags(["x"]), 0, 4),
        (Query::new(), 0, 0),
        (Query::new(), 4, 4),
        (Query::stream("a").or(Query::tag("x")), 1, 4),
        (Query::stream("a").or(Query::tag("x")), 0, 0),
        (Query::category("b"), 0, 1),
        (Query::event_type("Counted").streams(["b-1"]), 2, 2),
    ];
    for (query, after, position) in cases {
        let refusal = refused(&log, to("c", [9]).no_events(query.clone(), at(after)));
        failed(&refusal, &query, after, position);
    }
}

#[test]
fn c42_a_condition_fails_for_an_event_on_its_way() {
    let log = new_log();
    let query = Query::tag("red");
    let append = |id| Append::new().event("a", red(id)).no_events(query.clone(), at(0));
    let [first, second] = [1, 2].map(|id| append(id).submit(&log).unwrap());
    let second = second.wait().unwrap_err();
    assert!(first.is_ready(), "a refusal comes after the facts it rests on");
    failed(&second, &query, 0, first.wait().unwrap().first_position.get());
}

#[test]
fn c43_an_append_does_not_stand_in_its_own_way() {
    let log = new_log();
    let append = Append::new().events("a", [red(1), red(2)]).no_events(Query::tag("red"), at(0));
    let append = append.no_events(Query::new(), at(0)).no_events(Query::stream("a"), at(0));
    assert_eq!(ask(&log, append).unwrap().last_position, at(1));
}

#[test]
fn c44_a_place_ahead_of_the_log_is_of_another_log() {
    let log = new_log();
    put(&log, "a", [1]);
    ask(&log, to("a", [2]).no_events(Query::new(), at(1))).unwrap();
    for ahead in [3, 4, u64::from(u32::MAX) + 2, u64::MAX - 1, u64::MAX] {
        let refusal = refused(&log, to("a", [3]).no_events(Query::tag("red"), at(ahead)));
        assert!(matches!(refusal, AppendError::Invalid { .. }), "{refusal:?}");
    }
}

#[test]
fn c45_an_expectation_is_told_before_a_condition() {
    let log = new_log();
    put(&log, "a", [1]);
    let append = to("a", [2]).no_events(Query::new(), at(0)).expect("a", exact(7));
    wrong(&refused(&log, append), "a", exact(7), Some(0));
    let append = to("a", [1]).no_events(Query::new(), at(0)).expect("a", Expected::NoStream);
    assert!(ask(&log, append).unwrap().repeated);
}

#[test]
fn c46_of_several_conditions_the_first_that_fails_is_told() {
    let log = new_log();
    put(&log, "a", [1, 2]);
    let holds = Query::tag("red");
    let append = to("b", [3]).no_events(holds.clone(), at(0)).no_events(Query::stream("a"), at(1));
    let append = append.no_events(Query::new(), at(0)).no_events(holds, at(9));
    failed(&refused(&log, append), &Query::stream("a"), 1, 1);
}

/// As many alternatives and names as a query may have, and as many conditions as an append.
#[test]
fn large_conditions_are_decided_and_larger_ones_refused() {
    use paperchase::{APPEND_TERMS_MAX, QUERY_ITEMS_MAX, QUERY_NAMES_MAX, STREAM_NAME_MAX};
    let log = new_log();
    let names = |count: usize| (0..count).map(|number| format!("name-{number}"));
    let item =
        |tag: usize| Query::new().types(names(QUERY_NAMES_MAX - 1)).tags([format!("t{tag}")]);
    let query = (1..QUERY_ITEMS_MAX).fold(item(0), |query, tag| query.or(item(tag)));
    let check = |query: &Query| ask(&log, Append::new().no_events(query.clone(), at(0)));
    let last = NewEvent::new(format!("name-{}", QUERY_NAMES_MAX - 2), "");
    check(&query).unwrap();
    ask(&log, Append::new().event("a", last.clone().tag("x"))).unwrap();
    check(&query).unwrap();
    ask(&log, Append::new().event("a", last.tag(format!("t{}", QUERY_ITEMS_MAX - 1)))).unwrap();
    failed(&check(&query).unwrap_err(), &query, 0, 1);
    let refusal = check(&query.clone().or(Query::tag("x"))).unwrap_err();
    assert!(matches!(refusal, AppendError::Invalid { .. }), "{refusal:?}");
    let refusal = check(&Query::new().tags(names(QUERY_NAMES_MAX + 1))).unwrap_err();
    assert!(matches!(refusal, AppendError::Invalid { .. }), "{refusal:?}");
    let many = |count: usize| {
        (0..count).fold(to("b", [1]), |append, number| {
            append.no_events(Query::tag(format!("none-{number}")), at(0))
        })
    };
    ask(&log, many(APPEND_TERMS_MAX)).unwrap();
    let refusal = refused(&log, many(APPEND_TERMS_MAX + 1));
    assert!(matches!(refusal, AppendError::TooMany { .. }), "{refusal:?}");
    // Longer than any name in the log, so it would only cost the writer its hash in every chunk.
    let long = |length| to("b", [1]).no_events(Query::tag("t").types(["n".repeat(length)]), at(0));
    ask(&log, long(STREAM_NAME_MAX)).unwrap();
    let refusal = refused(&log, long(STREAM_NAME_MAX + 1));
    assert!(matches!(refusal, AppendError::TooLarge { .. }), "{refusal:?}");
}

/// Conditions see sealed chunks, the active one, and what was stored before the log was opened.
#[test]
fn conditions_reach_over_chunks_and_openings() {
    use crate::support::sim::open;
    let disk = paperchase::disk::sim::SimDisk::new();
    let query = Query::tag("red");
    let log = open(&disk).unwrap();
    for round in 0..6_u64 {
        ask(&log, Append::new().event("a", red(round))).unwrap();
        for _ in 0..3 {
            ask(&log, Append::new().event("fill", NewEvent::new("Fill", vec![1; 200 << 10])))
                .unwrap();
        }
    }
    assert!(log.view().chunks().len() > 3);
    let check = |log: &paperchase::Log| {
        for after in 0..24 {
            let answer = ask(log, Append::new().no_events(query.clone(), at(after)));
            match after.div_ceil(4) * 4 {
                24 => _ = answer.unwrap(),
                next => failed(&answer.unwrap_err(), &query, after, next),
            }
        }
    };
    check(&log);
    log.close().unwrap();
    check(&open(&disk).unwrap());
}
