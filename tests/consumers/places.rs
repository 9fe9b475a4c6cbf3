//! Tests of the places themselves: where they are kept, how long, for whom, and which are refused.

use paperchase::disk::sim::SimDisk;
use paperchase::{Append, AppendError, Expected, Log, NewEvent, Position, Query, STREAM_NAME_MAX};

use super::support::sim::open;
use super::{RESULTS, commit, done, new_log, number, order, orders, results, told};

const NAMES: [&str; 9] =
    ["a", "a-b", "a-b-c", "-", "-a", " ", "$consumer", "\u{e4}\u{1f407}", "\n"];

#[test]
fn each_name_has_a_place_of_its_own_that_survives_reopening() {
    let disk = SimDisk::new();
    for round in 0..3_u64 {
        let log = open(&disk).unwrap();
        order(&log, 0..20);
        for (name, offset) in NAMES.iter().zip(1..) {
            let consumer = log.consumer(name).unwrap();
            let before = round.checked_sub(1).map_or(0, |before| before * 9 + offset);
            assert_eq!((consumer.name(), consumer.place().position().get()), (*name, before));
            let place = log.view().place_at(Position::new(round * 9 + offset));
            commit(&consumer, place).unwrap();
            assert_eq!(log.view().place_of_consumer(name).unwrap(), Some(place));
        }
        let listed = log.view().consumers().unwrap();
        let mut names: Vec<_> = listed.iter().map(|consumer| &*consumer.name).collect();
        names.sort_unstable();
        let mut wanted = NAMES;
        wanted.sort_unstable();
        assert_eq!(names, wanted);
        assert!(listed.iter().all(|consumer| consumer.instances == round + 1), "{listed:?}");
        // Killed or closed, it is there.
        if round == 1 {
            log.close().unwrap();
        }
    }
}

#[test]
fn a_name_that_cannot_be_kept_is_refused_at_once() {
    let log = new_log();
    let empty = log.consumer("").unwrap_err();
    assert!(matches!(empty, AppendError::Invalid { what: "the consumer's name", .. }), "{empty}");
    let room = STREAM_NAME_MAX - "$consumer-".len();
    let longest = log.consumer(&"n".repeat(room)).unwrap();
    commit(&longest, log.view().place()).unwrap();
    let end = log.view().end();
    for length in [room + 1, room + 3, room + 4, STREAM_NAME_MAX, 1 << 20] {
        let refused = log.consumer(&"n".repeat(length)).unwrap_err();
        assert!(matches!(refused, AppendError::TooLarge { .. }), "{length}: {refused}");
    }
    assert_eq!(log.view().end(), end, "nothing is left behind");
}

#[test]
fn a_place_ahead_of_the_consumed_log_is_refused() {
    let (disk, target) = (SimDisk::new(), new_log());
    let source = open(&disk).unwrap();
    order(&source, 0..10);
    let consumer = target.consumer_of("copy", &source).unwrap();
    let ahead = source.view().place_at(Position::new(11));
    let refused = commit(&consumer, ahead).unwrap_err();
    assert!(matches!(refused, AppendError::PlaceAhead { end, .. } if end == Position::new(10)));
    let refused = Append::new().commit(&consumer, ahead).event("s", NewEvent::new("A", ""));
    assert!(matches!(refused.submit(&target), Err(AppendError::PlaceAhead { .. })));
    assert_eq!(target.view().stream_version("s").unwrap(), None);
    commit(&consumer, source.view().place_at(Position::new(3))).unwrap();
    source.close().unwrap();

    let older = disk.snapshot();
    let source = open(&disk).unwrap();
    order(&source, 10..20);
    let consumer = target.consumer_of("copy", &source).unwrap();
    assert_eq!(consumer.place().position(), Position::new(3));
    commit(&consumer, source.view().place()).unwrap();
    drop(source);
    let source = open(&older).unwrap();
    match target.consumer_of("copy", &source).unwrap_err() {
        AppendError::PlaceAhead { consumer, place, end } => {
            let wanted = ("copy", Position::new(20), Position::new(10));
            assert_eq!((&*consumer, place, end), wanted);
        }
        other => panic!("{other}"),
    }
    let place = target.view().place_of_consumer("copy").unwrap().unwrap();
    assert_eq!(place.position(), Position::new(20), "what was committed stays");
}

#[test]
fn a_place_in_another_log_is_refused() {
    let (one, other, target) = (new_log(), new_log(), new_log());
    order(&one, 0..5);
    order(&other, 0..5);
    let consumer = target.consumer_of("copy", &one).unwrap();
    assert_eq!(consumer.place(), one.view().place_at(Position::START));
    for foreign in [other.view().place(), target.view().place()] {
        let refused = commit(&consumer, foreign).unwrap_err();
        let log = one.view().log_id();
        assert!(matches!(&refused, AppendError::ForeignPlace { log: of, .. } if *of == log));
        let text = refused.to_string();
        assert!(text.contains(&foreign.log().to_string()), "{text}");
    }
    commit(&consumer, one.view().place()).unwrap();
    let refused = target.consumer_of("copy", &other).unwrap_err();
    assert!(matches!(refused, AppendError::ForeignPlace { .. }), "{refused}");
    let refused = target.consumer("copy").unwrap_err();
    assert!(matches!(refused, AppendError::ForeignPlace { .. }), "{refused}");
    let place = target.consumer_of("copy", &one).unwrap().place();
    assert_eq!(place, one.view().place(), "and the right log still goes on");
}

#[test]
fn a_commit_to_another_log_than_the_keeper_is_refused() {
    let (source, target) = (new_log(), new_log());
    order(&source, 0..2);
    let consumer = target.consumer_of("copy", &source).unwrap();
    let (events, _) = told(&mut consumer.subscribe().unwrap());
    let end = source.view().end();
    let refused = results(&consumer, &events).submit(&source).unwrap_err();
    assert!(matches!(refused, AppendError::Invalid { what: "a consumer's place", .. }));
    assert_eq!((source.view().end(), done(&target)), (end, vec![]));
    results(&consumer, &events).submit(&target).unwrap().wait().unwrap();
    assert_eq!(done(&target), [0, 1]);
}

#[test]
fn a_consumer_that_outlives_its_log_is_stopped_and_holds_nothing() {
    let disk = SimDisk::new();
    let log = open(&disk).unwrap();
    order(&log, 0..5);
    let consumer = log.consumer("worker").unwrap();
    let place = log.view().place();
    assert!(format!("{consumer:?}").len() < 1_000, "it does not print the log");
    log.close().unwrap();
    assert!(matches!(commit(&consumer, place), Err(AppendError::Stopped)));
    let (events, _) = told(&mut consumer.subscribe().unwrap());
    assert_eq!(events.len(), 5, "what was visible stays readable");

    let again = open(&disk).expect("the old value locks nothing");
    assert!(matches!(commit(&consumer, place), Err(AppendError::Stopped)));
    let new = again.consumer("worker").unwrap();
    // The log is the same one, so it is the claim that refuses the old value.
    let refused = results(&consumer, &events).submit(&again).unwrap().wait().unwrap_err();
    assert!(matches!(refused, AppendError::Fenced { .. }), "{refused}");
    results(&new, &events).submit(&again).unwrap().wait().unwrap();
    assert_eq!(done(&again), [0, 1, 2, 3, 4]);
}

#[test]
fn a_log_is_reopened_while_others_commit_to_what_was_closed() {
    let disk = SimDisk::new();
    for _ in 0..40 {
        let log = open(&disk).unwrap();
        let consumers = ["a", "b", "c"].map(|name| log.consumer(name).unwrap());
        let place = log.view().place();
        std::thread::scope(|scope| {
            for consumer in &consumers {
                scope.spawn(move || {
                    loop {
                        match commit(consumer, place) {
                            Ok(_) => {}
                            Err(AppendError::Stopped) => return,
                            Err(other) => panic!("{other}"),
                        }
                    }
                });
            }
            log.close().unwrap();
            drop(open(&disk).unwrap());
        });
    }
}

#[test]
fn a_consumer_of_its_own_log_does_not_consume_commits() {
    let log = new_log();
    let (one, other) = (log.consumer("one").unwrap(), log.consumer("other").unwrap());
    let mut all = one.subscribe().unwrap();
    let mut some = one.subscribe_query(&orders().or(Query::category("$consumer"))).unwrap();
    for subscription in [&mut all, &mut some] {
        let (events, caught_up) = told(subscription);
        assert_eq!((events.len(), caught_up), (0, 1), "the claims are not events to consume");
    }
    assert_eq!(all.next_position(), log.view().end());
    for round in 0..5 {
        order(&log, round..round + 1);
        let (events, caught_up) = told(&mut all);
        assert_eq!((number(&events[0]), events.len(), caught_up), (round, 1, 1));
        commit(&one, one.behind(&events[0])).unwrap();
        commit(&other, other.behind(&events[0])).unwrap();
        let (events, caught_up) = told(&mut all);
        assert_eq!((events.len(), caught_up), (0, 0), "its own commits are no news");
        assert_eq!(all.next_position(), log.view().end(), "but lie behind it");
    }
    let (events, caught_up) = told(&mut some);
    assert_eq!((events.len(), caught_up), (5, 1));
    let plain = log.subscribe(Position::START).unwrap();
    let end = log.view().end().get() as usize;
    log.close().unwrap();
    assert_eq!(plain.filter(Result::is_ok).count(), end + 1, "others see them");
    assert!(all.next().is_none() && some.next().is_none());
}

#[test]
fn several_consumers_commit_in_one_append_or_none_does() {
    let log = new_log();
    order(&log, 0..3);
    let (one, other) = (log.consumer("one").unwrap(), log.consumer("other").unwrap());
    let both = |position| {
        let place = log.view().place_at(Position::new(position));
        let append = Append::new().event(RESULTS, NewEvent::new("Done", 7_u64.to_le_bytes()));
        append.commit(&one, place).commit(&other, place).submit(&log).unwrap().wait()
    };
    both(2).unwrap();
    let _new = log.consumer("other").unwrap();
    let fenced = both(3).unwrap_err();
    assert!(matches!(&fenced, AppendError::Fenced { consumer } if consumer == "other"));
    for name in ["one", "other"] {
        let place = log.view().place_of_consumer(name).unwrap().unwrap();
        assert_eq!(place.position(), Position::new(2), "{name}");
    }
    assert_eq!(done(&log), [7]);
    let wrong = Append::new().expect(RESULTS, Expected::NoStream);
    let refused = wrong.commit(&one, log.view().place()).submit(&log).unwrap().wait();
    assert!(matches!(refused, Err(AppendError::WrongVersion { .. })));
    assert_eq!(place_of(&log, "one"), 2, "a commit obeys the conditions of its append");
}

fn place_of(log: &Log, name: &str) -> u64 {
    log.view().place_of_consumer(name).unwrap().unwrap().position().get()
}
